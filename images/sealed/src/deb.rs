//! Debian packages: an `ar` archive that holds a `tar` archive, compressed with xz (deb(5)).

use std::io::{self, Read};

use lzma_rust2::XzReader;

/// Largest package, in bytes (ours; Debian's cloud kernels have 35 MB).
pub const MAX_PACKAGE_BYTES: u64 = 512 << 20;
/// Largest file taken out of a package, in bytes (ours; a kernel has 12 MB, firmware 16).
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest sum of files unpacked, in bytes (ours; against packages that unpack without end).
const MAX_UNPACKED_BYTES: u64 = 4 << 30;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;

/// Why a package does not read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// Not an `ar` archive, or a broken one.
    #[error("not a Debian package: {reason}")]
    Archive {
        /// What is wrong.
        reason: &'static str,
    },
    /// A compression this reads not.
    #[error("the package's files are in {member}; data.tar.xz is what this reads")]
    Compression {
        /// Name of the member found.
        member: String,
    },
    /// A file of the package is larger than any should be.
    #[error("{path} has {got} bytes, at most {MAX_FILE_BYTES} are taken")]
    TooLarge {
        /// Which.
        path: String,
        /// Its length.
        got: u64,
    },
    /// The compressed archive inside.
    #[error("the package's files do not unpack: {0}")]
    Unpack(#[from] io::Error),
}

/// Regular files of a package whose path (without the leading `./`) `wanted` takes, in the order of
/// the archive.
pub fn files(
    package: &[u8],
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, DebError> {
    let data = data_member(package)?;
    let unpacked = XzReader::new(data, true).take(MAX_UNPACKED_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    let mut found = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").to_owned();
        if !entry.header().entry_type().is_file() || !wanted(&path) {
            continue;
        }
        let got = entry.size();
        if got > MAX_FILE_BYTES {
            return Err(DebError::TooLarge { path, got });
        }
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents)?;
        found.push((path, contents));
    }
    Ok(found)
}

/// The `data.tar.xz` of a package.
fn data_member(package: &[u8]) -> Result<&[u8], DebError> {
    let broken = |reason| DebError::Archive { reason };
    let mut rest = package.strip_prefix(MAGIC).ok_or(broken("it does not begin with !<arch>"))?;
    while !rest.is_empty() {
        let (header, after) =
            rest.split_at_checked(HEADER_BYTES).ok_or(broken("a header is cut off"))?;
        let text = |from: usize, to: usize| String::from_utf8_lossy(&header[from..to]);
        let name = text(0, 16).trim_end_matches([' ', '/']).to_owned();
        let length: usize =
            text(48, 58).trim().parse().map_err(|_| broken("a length is no number"))?;
        let contents = after.get(..length).ok_or(broken("a member is cut off"))?;
        match name.as_str() {
            "data.tar.xz" => return Ok(contents),
            other if other.starts_with("data.tar") => {
                return Err(DebError::Compression { member: name });
            }
            _ => {}
        }
        rest = after.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Err(broken("there is no data.tar in it"))
}

/// Unpacks one xz file, such as a kernel module.
pub fn unxz(bytes: &[u8]) -> Result<Vec<u8>, DebError> {
    let mut unpacked = Vec::new();
    XzReader::new(bytes, true).take(MAX_FILE_BYTES).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lzma_rust2::{XzOptions, XzWriter};
    use std::io::Write;

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn package(name: &str) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, contents) in [("./boot/vmlinuz-6", &b"kernel"[..]), ("./usr/doc", b"words")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, contents).unwrap();
        }
        let data = xz(&archive.into_inner().unwrap());
        let mut package = MAGIC.to_vec();
        for (name, contents) in [("debian-binary", &b"2.0\n"[..]), (name, &data)] {
            package.extend(format!("{name:<16}{:<32}{:<10}`\n", 0, contents.len()).bytes());
            package.extend(contents);
            package.resize(package.len().next_multiple_of(2), b'\n');
        }
        package
    }

    #[test]
    fn finds_the_files_asked_for() {
        let found = files(&package("data.tar.xz"), |path| path.starts_with("boot/")).unwrap();
        assert_eq!(found, [("boot/vmlinuz-6".to_owned(), b"kernel".to_vec())]);
    }

    #[test]
    fn says_why_it_does_not_read() {
        let all = |bytes: &[u8]| files(bytes, |_| true);
        assert!(matches!(all(b"zip"), Err(DebError::Archive { .. })));
        assert!(matches!(all(&package("data.tar.zst")), Err(DebError::Compression { .. })));
        assert!(matches!(all(&package("control.tar")), Err(DebError::Archive { .. })));
        let whole = package("data.tar.xz");
        for length in [MAGIC.len() + 3, whole.len() / 2, whole.len() - 8] {
            assert!(all(&whole[..length]).is_err(), "{length}");
        }
    }
}
