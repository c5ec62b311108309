//! Files, bounded, with their names in every error.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bulla_attestation::weights::{SUFFIX, WeightsKey, sealed_length};

use super::encrypted::Encrypted;
use crate::erofs::{Layout, MAX_ENTRIES, Planned};
use crate::verity::Tree;

/// Deepest folder in a model (ours; against loops of mounts).
const MAX_DEPTH: usize = 16;

/// A whole file of at most `max_bytes`.
pub fn read(path: &Path, max_bytes: u64) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("reading {shown}"))?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).with_context(|| format!("reading {shown}"))?;
    if bytes.len() as u64 > max_bytes {
        bail!("{shown} has more than {max_bytes} bytes");
    }
    Ok(bytes)
}

/// A whole text of at most `max_bytes`.
pub fn read_text(path: &Path, max_bytes: u64) -> anyhow::Result<String> {
    let bytes = read(path, max_bytes)?;
    String::from_utf8(bytes).with_context(|| format!("{} is no UTF-8 text", path.display()))
}

/// Writes a file whole.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Makes a folder, and those above it.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))
}

/// Files of a folder by name, each of at most `max_bytes`, in the order of their names.
pub fn folder(path: &Path, max_bytes: u64) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for file in regular_files(path)? {
        found.push((file.path.clone(), read(&path.join(&file.path), max_bytes)?));
    }
    Ok(found)
}

/// Regular files below a folder, in the order of their paths. Anything else in it is an error: what
/// a link points to would not be what was measured.
fn regular_files(root: &Path) -> anyhow::Result<Vec<Planned>> {
    let mut files = Vec::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((below, depth)) = open.pop() {
        let folder = root.join(&below);
        let shown = folder.display().to_string();
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {shown}"))? {
            let entry = entry.with_context(|| format!("reading {shown}"))?;
            let path = below.join(entry.file_name());
            let kind = entry.file_type().with_context(|| format!("reading {shown}"))?;
            let Some(name) = path.to_str() else { bail!("{} is no UTF-8 name", path.display()) };
            if kind.is_dir() && depth < MAX_DEPTH {
                open.push((path, depth + 1));
            } else if kind.is_file() {
                let length = entry.metadata().with_context(|| name.to_owned())?.len();
                files.push(Planned { path: name.to_owned(), length });
            } else {
                bail!(
                    "{name} in {} is neither a file nor a folder: copy what it links to",
                    root.display()
                );
            }
            if files.len() > MAX_ENTRIES {
                bail!("{} holds more than {MAX_ENTRIES} files", root.display());
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// The name of a model: that of its folder. It is part of what orders and receipts name.
pub fn model_name(model: &Path) -> anyhow::Result<String> {
    let whole = model.canonicalize().with_context(|| format!("opening {}", model.display()))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} has no UTF-8 name", whole.display()))
}

/// Writes a folder, under its own name, as a volume with its hash tree behind it; every file
/// encrypted where there is a key.
pub fn write_volume(model: &Path, volume: &Path, key: Option<&WeightsKey>) -> anyhow::Result<Tree> {
    let name = model_name(model)?;
    let below = |file: Planned| match key {
        None => Planned { path: format!("{name}/{}", file.path), ..file },
        Some(_) => Planned {
            path: format!("{name}/{}{SUFFIX}", file.path),
            length: sealed_length(file.length),
        },
    };
    let layout = Layout::plan(regular_files(model)?.into_iter().map(below).collect())?;
    let shown = volume.display().to_string();
    let file = File::create(volume).with_context(|| format!("writing {shown}"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    layout
        .write(&mut out, |path| -> io::Result<Box<dyn Read>> {
            let below = &path[name.len() + 1..];
            let Some(key) = key else { return Ok(Box::new(File::open(model.join(below))?)) };
            let below = below.strip_suffix(SUFFIX).unwrap_or(below);
            Ok(Box::new(Encrypted::open(&model.join(below), &format!("{name}/{below}"), key)?))
        })
        .with_context(|| format!("packing {}", model.display()))?;
    out.flush().with_context(|| format!("writing {shown}"))?;
    let data = File::open(volume).with_context(|| format!("reading {shown}"))?;
    let tree = Tree::over(std::io::BufReader::with_capacity(1 << 20, data))
        .with_context(|| format!("hashing {shown}"))?;
    let mut file = out.into_inner().with_context(|| format!("writing {shown}"))?;
    file.write_all(&tree.blocks).with_context(|| format!("writing {shown}"))?;
    file.sync_all().with_context(|| format!("writing {shown}"))?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_and_touched_folder_gives_the_same_volume() {
        let folder = tempfile::tempdir().unwrap();
        let model = |name: &str| {
            let path = folder.path().join(name).join("the-model");
            fs::create_dir_all(path.join("sub")).unwrap();
            fs::write(path.join("weights"), vec![3; 9000]).unwrap();
            fs::write(path.join("sub/config.json"), b"{}").unwrap();
            path
        };
        let volumes = ["one", "two"].map(|name| {
            let volume = folder.path().join(format!("{name}.img"));
            let tree = write_volume(&model(name), &volume, None).unwrap();
            (tree.command_line_value(), fs::read(volume).unwrap())
        });
        assert_eq!(volumes[0], volumes[1]);
    }

    #[test]
    fn links_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("weights")).unwrap();
        let error = write_volume(folder.path(), &folder.path().join("out"), None).unwrap_err();
        assert!(error.to_string().contains("weights"), "{error}");
    }
}
