//! The bench's own folder, below the data folder: every run starts with empty ledgers and accounts,
//! and keeps the simulated TEE, whose keys take seconds to make.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What a run leaves behind and the next one clears away.
const CLEARED: [&str; 5] = ["broker", "client", "operator", "ledger", "appraisal.toml"];
/// The last file of a simulated TEE to be written: with it the folder is complete.
const LAST_FILE: &str = "vcek.der";

/// Makes or clears `bench` below the data folder; takes over the simulated TEE of `bulla up`.
pub fn prepare(data: &Path) -> anyhow::Result<PathBuf> {
    let folder = data.join("bench");
    for name in CLEARED {
        remove(&folder.join(name))?;
    }
    let enclave = folder.join("enclave");
    fs::create_dir_all(&enclave).with_context(|| format!("making {}", enclave.display()))?;
    for entry in fs::read_dir(&enclave)?.flatten() {
        if entry.path() != simulated_tee(&folder) {
            remove(&entry.path())?;
        }
    }
    let (from, to) = (data.join("enclave/simulated-tee"), simulated_tee(&folder));
    if from.join(LAST_FILE).exists() && !to.join(LAST_FILE).exists() {
        copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(folder)
}

/// Where the simulated TEE is kept: where an enclave in this folder looks for it too.
pub fn simulated_tee(folder: &Path) -> PathBuf {
    folder.join("enclave/simulated-tee")
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clearing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Copies files with their modes, the last one last.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != LAST_FILE {
            fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    fs::copy(from.join(LAST_FILE), to.join(LAST_FILE)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_starts_clean_and_keeps_the_simulated_tee() {
        let data = tempfile::tempdir().unwrap();
        let tee = data.path().join("enclave/simulated-tee");
        fs::create_dir_all(&tee).unwrap();
        fs::write(tee.join("ark.der"), "root").unwrap();
        fs::write(tee.join(LAST_FILE), "leaf").unwrap();
        fs::create_dir_all(data.path().join("bench/ledger")).unwrap();
        fs::create_dir_all(data.path().join("bench/enclave/outbox")).unwrap();
        let folder = prepare(data.path()).unwrap();
        assert!(!folder.join("ledger").exists());
        assert!(!folder.join("enclave/outbox").exists());
        assert_eq!(fs::read(simulated_tee(&folder).join("ark.der")).unwrap(), b"root");
        fs::write(simulated_tee(&folder).join("ark.der"), "ours").unwrap();
        prepare(data.path()).unwrap();
        assert_eq!(fs::read(simulated_tee(&folder).join("ark.der")).unwrap(), b"ours");
        assert!(tee.join(LAST_FILE).exists());
    }
}
