//! `bulla image lock`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::io::{apt::Apt, compiler, files};
use crate::lock::{Lock, MAX_LOCK_BYTES, Package};

/// The lock file in a checkout.
pub const LOCK: &str = "images/lock.toml";
/// Debian's name for "the newest kernel of this flavour".
const KERNEL: &str = "linux-image-cloud-amd64";
const FIRMWARE: &str = "ovmf";

/// Show, renew or fetch what an image is made of beside this repository.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// The checkout.
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// Lock the newest packages of this release of Debian, and this compiler.
    #[arg(long, value_name = "SUITE", num_args = 0..=1, default_missing_value = "trixie")]
    update: Option<String>,
    /// Fetch the locked packages into this folder, by this machine's apt.
    #[arg(long, value_name = "DIR")]
    fetch: Option<PathBuf>,
}

impl LockArgs {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let path = self.source.join(LOCK);
        if let Some(suite) = &self.update {
            files::write(&path, renewed(&self.source, suite)?.to_toml().as_bytes())?;
        }
        let lock = read(&self.source)?;
        print!("{}", lock.to_toml());
        if let Some(folder) = &self.fetch {
            packages(&lock, folder)?;
        }
        Ok(())
    }
}

/// The lock file of a checkout.
pub fn read(source: &Path) -> anyhow::Result<Lock> {
    let path = source.join(LOCK);
    Lock::from_toml(&files::read_text(&path, MAX_LOCK_BYTES)?)
        .with_context(|| format!("in {}", path.display()))
}

/// Kernel and firmware packages in `folder`, fetched where they are missing.
pub fn packages(lock: &Lock, folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
    files::make_folder(folder)?;
    let wanted = [&lock.kernel, &lock.firmware];
    let paths = wanted.map(|package| folder.join(package.file_name()));
    if paths.iter().all(|path| path.exists()) {
        return Ok(paths);
    }
    let folder = folder.canonicalize().with_context(|| format!("opening {}", folder.display()))?;
    let state = folder.join("apt");
    let fetched = Apt::open(&state, &lock.suite).and_then(|apt| {
        wanted.into_iter().try_for_each(|package| apt.download(package, &folder).map(drop))
    });
    // Lists of packages are large and of no further use.
    let _ = std::fs::remove_dir_all(&state);
    fetched.map(|()| paths)
}

fn renewed(source: &Path, suite: &str) -> anyhow::Result<Lock> {
    let state = std::env::temp_dir().join(format!("bulla-apt-{}", std::process::id()));
    files::make_folder(&state)?;
    let found = newest(&state, suite);
    let _ = std::fs::remove_dir_all(&state);
    let [kernel, firmware] = found?;
    let rustc = compiler::toolchain(source)?.rustc;
    Ok(Lock { rustc, suite: suite.to_owned(), kernel, firmware })
}

fn newest(state: &Path, suite: &str) -> anyhow::Result<[Package; 2]> {
    let apt = Apt::open(state, suite)?;
    let meta = apt.show(KERNEL)?;
    let depends = meta.lines().find_map(|line| line.strip_prefix("Depends: "));
    let kernel = depends
        .and_then(|list| list.split([',', ' ']).find(|name| name.starts_with("linux-image-")))
        .with_context(|| format!("{KERNEL} names no kernel"))?;
    Ok([Package::from_index(&apt.show(kernel)?)?, Package::from_index(&apt.show(FIRMWARE)?)?])
}
