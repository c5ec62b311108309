//! The two programs inside, compiled so that two machines with the same compiler get the same
//! bytes: static (musl), linked by the linker that comes with rustc, no paths, no times.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::files;
use crate::description::Toolchain;

/// Target of both programs.
pub const TARGET: &str = "x86_64-unknown-linux-musl";
/// The profile they are compiled with (Cargo.toml).
const PROFILE: &str = "image";
/// Shorter paths, such as `/src`, may stand in a program by chance.
const MIN_TELLING_BYTES: usize = 6;
/// Largest program.
const MAX_PROGRAM_BYTES: u64 = 256 << 20;

/// The two programs.
pub struct Programs {
    /// Process 1.
    pub init: Vec<u8>,
    /// The enclave.
    pub enclave: Vec<u8>,
}

impl Programs {
    /// Takes them from a folder.
    pub fn read(folder: &Path) -> anyhow::Result<Programs> {
        let program = |name: &str| files::read(&folder.join(name), MAX_PROGRAM_BYTES);
        Ok(Programs { init: program("bulla-init")?, enclave: program("bulla-enclave")? })
    }
}

/// What compiles here.
pub fn toolchain(source: &Path) -> anyhow::Result<Toolchain> {
    let first_line = |program: &str| -> anyhow::Result<String> {
        let output = Command::new(program)
            .arg("--version")
            .current_dir(source)
            .output()
            .with_context(|| format!("running {program} --version"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    Ok(Toolchain { rustc: first_line("rustc")?, cc: first_line("cc")?, target: TARGET.to_owned() })
}

/// Compiles both programs of the sources in `source` into `target`; gives the folder they are in.
pub fn compile(source: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let source = source.canonicalize().with_context(|| format!("opening {}", source.display()))?;
    let target = &std::path::absolute(target).context("finding the target folder")?;
    let home = cargo_home()?;
    let status = Command::new("cargo")
        .args(["build", "--locked", "--profile", PROFILE, "--target", TARGET])
        .args(["-p", "bulla-init", "-p", "bulla-enclave"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&home).join("\x1f"))
        .env("SOURCE_DATE_EPOCH", "0")
        .env("CC_x86_64_unknown_linux_musl", "cc")
        .env(
            "CFLAGS_x86_64_unknown_linux_musl",
            format!("-g0 -ffile-prefix-map={}=/cargo", home.display()),
        )
        .env_remove("RUSTFLAGS")
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!(
            "the programs of the image do not compile (rustup target add {TARGET}, if that is missing)"
        );
    }
    let folder = target.join(TARGET).join(PROFILE);
    let programs = Programs::read(&folder)?;
    for place in [source.as_path(), target, &home] {
        let path = place.as_os_str().as_encoded_bytes();
        let holds = |program: &[u8]| program.windows(path.len()).any(|window| window == path);
        if path.len() >= MIN_TELLING_BYTES && (holds(&programs.init) || holds(&programs.enclave)) {
            bail!("{} stands in a program: it would differ elsewhere", place.display());
        }
    }
    Ok(folder)
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().context("HOME is not set")?.join(".cargo"),
    };
    home.canonicalize().with_context(|| format!("opening {}", home.display()))
}

/// Compiler flags. Paths of other people's sources become fixed ones; the folder of a registry
/// carries a hash of its address, so each is named on its own. Our own sources are compiled by paths
/// relative to the checkout, so another checkout has the same flags.
fn flags(home: &Path) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-Clinker=rust-lld",
        "-Clinker-flavor=ld.lld",
        "-Clink-self-contained=yes",
        "-Clink-arg=--build-id=none",
    ]
    .map(str::to_owned)
    .into();
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    remap(home, "/cargo");
    if let Ok(registries) = std::fs::read_dir(home.join("registry/src")) {
        let mut folders: Vec<PathBuf> = registries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders.iter().for_each(|folder| remap(folder, "/cargo/registry"));
    }
    flags
}
