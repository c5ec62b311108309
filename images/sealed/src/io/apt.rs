//! Debian packages by the machine's own apt, in a folder of its own: nothing is installed, no
//! setting of the machine is touched, and no host stands here. Where the machine runs another
//! release of Debian than the image, its own sources are read under the image's release name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::files;
use crate::deb::MAX_PACKAGE_BYTES;
use crate::hash::sha256;
use crate::lock::Package;

/// Where apt keeps its sources.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
/// Largest list of sources.
const MAX_SOURCES_BYTES: u64 = 1 << 20;

/// apt, with its state in a folder.
pub struct Apt {
    state: PathBuf,
}

impl Apt {
    /// Prepares apt for `suite` in `state` and fetches its lists.
    pub fn open(state: &Path, suite: &str) -> anyhow::Result<Apt> {
        let own = release_of(&files::read_text(Path::new("/etc/os-release"), MAX_SOURCES_BYTES)?)
            .context(
            "this machine is no Debian: fetch the locked packages elsewhere, by their hash",
        )?;
        for folder in
            ["etc/apt/sources.list.d", "lists/partial", "archives/partial", "etc/apt/apt.conf.d"]
        {
            files::make_folder(&state.join(folder))?;
        }
        files::write(&state.join("status"), b"")?;
        let mut found = 0;
        for (name, text) in sources()? {
            if text.contains(&own) {
                let path = state.join("etc/apt/sources.list.d").join(name);
                files::write(&path, text.replace(&own, suite).as_bytes())?;
                found += 1;
            }
        }
        if found == 0 {
            bail!("apt has no source for {own} on this machine");
        }
        let apt = Apt { state: state.canonicalize()? };
        apt.run("apt-get", &["update"], &apt.state)?;
        Ok(apt)
    }

    /// What apt tells of the newest version of a package.
    pub fn show(&self, name: &str) -> anyhow::Result<String> {
        self.run("apt-cache", &["show", "--no-all-versions", name], &self.state)
    }

    /// Downloads the locked package into `folder` and checks its hash.
    pub fn download(&self, package: &Package, folder: &Path) -> anyhow::Result<PathBuf> {
        let wanted = format!("{}={}", package.name, package.version);
        self.run("apt-get", &["download", &wanted], folder).with_context(|| {
            format!(
                "{wanted} is not to be had: mirrors drop old packages. Take it from an archive by \
                 its hash, or lock a newer one with `bulla image lock --update`"
            )
        })?;
        let path = folder.join(package.file_name());
        package.check(sha256(&files::read(&path, MAX_PACKAGE_BYTES)?))?;
        Ok(path)
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> anyhow::Result<String> {
        let state = self.state.display();
        let options = [
            format!("Dir::Etc={state}/etc/apt"),
            format!("Dir::State::lists={state}/lists"),
            format!("Dir::State::status={state}/status"),
            format!("Dir::Cache={state}"),
            "Dir::Etc::trustedparts=/etc/apt/trusted.gpg.d".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new(program);
        for option in &options {
            command.args(["-o", option]);
        }
        let output = command
            .args(["-q"])
            .args(arguments)
            .current_dir(folder)
            .output()
            .with_context(|| format!("running {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {}: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The name of Debian's release in os-release(5).
fn release_of(text: &str) -> Option<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    value("VERSION_CODENAME").filter(|_| value("ID").as_deref() == Some("debian"))
}

fn sources() -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = vec![PathBuf::from(SOURCES[0])];
    if let Ok(entries) = fs::read_dir(SOURCES[1]) {
        paths.extend(entries.flatten().map(|entry| entry.path()));
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_list = path.extension().is_some_and(|e| e == "list" || e == "sources");
        if is_list && path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, files::read_text(&path, MAX_SOURCES_BYTES)?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debian_and_nothing_else() {
        let debian = "PRETTY_NAME=\"x\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(release_of(debian).as_deref(), Some("bookworm"));
        assert_eq!(release_of(&debian.replace("ID=debian", "ID=other")), None);
    }
}
