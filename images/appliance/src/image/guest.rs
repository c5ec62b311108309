//! A development image and the machine it runs in.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bulla_attestation::weights::WeightsKey;
use bulla_broker::Setup;
use bulla_client::io::system::{SystemRng, now};
use bulla_enclave::config::{EnclaveConfig, TeeChoice};
use bulla_enclave::io::attester::SimulatedTee;
use bulla_image::commands::{BuildArgs, Built, assemble};
use bulla_image::description::{INITRAMFS, KERNEL};
use bulla_image::io::encrypted::make_key;
use bulla_image::io::tpm::SoftwareTpm;
use bulla_image::io::{files, qemu};
use bulla_image::recipe::{DATA, LISTEN, MODEL, Recipe};

use super::run::{RunArgs, Tamper};
use crate::up::folders::Folders;
use crate::up::roles::INSTANCE;

/// The guest's address in QEMU's own network.
const ADDRESS: &str = "10.0.2.15/24";
const GATEWAY: &str = "10.0.2.2";
/// Enough for the demo model, in a small machine.
const CACHE_MIB: u64 = 64;
/// Name of the recipe and of what it names, in the image's folder.
const RECIPE: &str = "recipe.toml";
const ENCLAVE: &str = "enclave.toml";
const SIMULATED_TEE: &str = "../enclave/simulated-tee";
/// Memory for the demo model while it is opened.
const WEIGHTS_MIB: u64 = 32;
/// The weights' key, beside the image.
const KEY: &str = "weights.key";
const VOLUME: &str = "model.img";

/// A development image, built and written.
pub struct Guest {
    /// Folder with the image.
    pub folder: PathBuf,
    /// What was built.
    pub built: Built,
    /// The key of its weights, where they are encrypted.
    pub key: Option<WeightsKey>,
    /// Port of this machine that leads to the enclave.
    pub port: u16,
}

impl Guest {
    /// Builds the image for the broker of these folders: recipe, configuration, volume, artefacts.
    pub fn build(folders: &Folders, model: &Path, args: &RunArgs) -> anyhow::Result<Guest> {
        let folder = folders.root().join("image");
        files::make_folder(&folder)?;
        if !args.measured {
            let simulated = folders.enclave().join("simulated-tee");
            SimulatedTee::open(&simulated, now().seconds(), &mut SystemRng::new())?;
        }
        let key = match args.sealed_weights {
            true => Some(fresh_key(&folder.join(KEY))?),
            false => None,
        };
        let tree = files::write_volume(model, &folder.join(VOLUME), key.as_ref())?;
        let recipe = Recipe {
            name: "bulla-development".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            development: true,
            model: tree.command_line_value(),
            weights_mib: args.sealed_weights.then_some(WEIGHTS_MIB),
            address: ADDRESS.to_owned(),
            gateway: Some(GATEWAY.to_owned()),
            enclave: ENCLAVE.to_owned(),
            simulated_tee: (!args.measured).then(|| SIMULATED_TEE.to_owned()),
        };
        let tee = if args.measured { TeeChoice::VtpmDev } else { TeeChoice::Auto };
        let configuration = EnclaveConfig {
            sealed_weights: args.sealed_weights,
            ..configuration(folders, model, tee)?
        };
        let configuration = configuration.to_toml()?;
        files::write(&folder.join(ENCLAVE), configuration.as_bytes())?;
        files::write(&folder.join(RECIPE), toml::to_string(&recipe)?.as_bytes())?;
        let built = assemble(&BuildArgs {
            recipe: folder.join(RECIPE),
            out: folder.clone(),
            packages: args.packages.clone(),
            source: args.source.clone(),
            programs: args.programs.clone(),
        })?;
        built.write(&folder)?;
        Ok(Guest { folder, built, key, port: free_port()? })
    }

    /// The machine, tampered with as asked.
    pub fn machine(
        &self,
        args: &RunArgs,
        tpm: Option<&SoftwareTpm>,
    ) -> anyhow::Result<qemu::Machine> {
        let mut volume = self.folder.join(VOLUME);
        let mut command_line = self.built.description.command_line.clone();
        match args.tamper {
            None => {}
            Some(Tamper::Volume) => volume = flipped(&volume)?,
            Some(Tamper::RootHash) => command_line = other_root(&command_line),
            Some(Tamper::CommandLine) => command_line += " loglevel=7",
        }
        Ok(qemu::Machine {
            kernel: self.folder.join(KERNEL),
            initramfs: self.folder.join(INITRAMFS),
            command_line,
            volume,
            memory_mib: args.memory_mib,
            port: self.port,
            console: self.folder.join("console.log"),
            measured: tpm.map(|tpm| self.measured(&args.firmware, tpm)).transpose()?,
        })
    }

    /// Firmware with variables of its own, and the TPM it measures into.
    fn measured(&self, firmware: &Path, tpm: &SoftwareTpm) -> anyhow::Result<qemu::Measured> {
        let variables = self.folder.join("variables.fd");
        let fresh = firmware.join("OVMF_VARS_4M.fd");
        fs::copy(&fresh, &variables)
            .with_context(|| format!("copying {} (Debian: ovmf)", fresh.display()))?;
        let code = firmware.join("OVMF_CODE_4M.fd");
        Ok(qemu::Measured { code, variables, tpm: tpm.socket().to_owned() })
    }

    /// Where the enclave is reached.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

fn configuration(folders: &Folders, model: &Path, tee: TeeChoice) -> anyhow::Result<EnclaveConfig> {
    let setup = Setup::open(&folders.broker())?;
    let local = EnclaveConfig::local(
        INSTANCE.parse()?,
        DATA.into(),
        format!("{MODEL}{}", files::model_name(model)?).into(),
        setup.root_public_key(),
        setup.log_verifier().to_string(),
    );
    Ok(EnclaveConfig { listen: LISTEN.to_owned(), tee, cache_mib: CACHE_MIB, ..local })
}

/// Another key than last time.
fn fresh_key(path: &Path) -> anyhow::Result<WeightsKey> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => make_key(path),
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A copy of the volume with one bit turned in the middle of its data.
fn flipped(volume: &Path) -> anyhow::Result<PathBuf> {
    let copy = volume.with_extension("flipped");
    let mut bytes = fs::read(volume).with_context(|| format!("reading {}", volume.display()))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    files::write(&copy, &bytes)?;
    Ok(copy)
}

/// The command line with another root hash.
fn other_root(command_line: &str) -> String {
    let turned = |word: &str| match word.strip_prefix("bulla.model=") {
        Some(model) => {
            let first = if model.starts_with('0') { '1' } else { '0' };
            format!("bulla.model={first}{}", &model[1..])
        }
        None => word.to_owned(),
    };
    command_line.split(' ').map(turned).collect::<Vec<_>>().join(" ")
}
