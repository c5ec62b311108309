//! `bulla image measure`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bulla_attestation::reference::{Instant, Manifest};
use bulla_wire::units::UnixSeconds;
use clap::Args;

use crate::description::{Description, FILE, INITRAMFS, KERNEL, MAX_DESCRIPTION_BYTES};
use crate::hash::{hex, sha256};
use crate::io::files;
use crate::measurement::{self, Issue, SnpMachines};

/// Largest kernel, RAM disk or firmware.
const MAX_ARTEFACT_BYTES: u64 = 512 << 20;
const DAY_SECONDS: u64 = 86_400;

/// Compute what hardware will measure, as a manifest of reference values.
#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Folder with the image.
    image: PathBuf,
    /// The manifest to write, unsigned: `bulla policy reference FILE --sign KEY` signs it, once per
    /// holder of a key.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Version of the manifest: it only grows.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    number: u64,
    /// When it is issued, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    issued: u64,
    /// How long it vouches, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u64,
    /// OVMF with a place for the kernel's hashes (AmdSev): launch digests are computed for it.
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
    /// CPU models as QEMU names them.
    #[arg(long, value_name = "MODEL", value_delimiter = ',', default_value = "EPYC-Genoa")]
    cpu_models: Vec<String>,
    /// Numbers of virtual processors.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_value = "1,2,4,8,16")]
    vcpus: Vec<u32>,
}

impl MeasureArgs {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let (description, kernel, initramfs) = read_image(&self.image)?;
        let firmware = self.firmware.as_deref().map(|path| files::read(path, MAX_ARTEFACT_BYTES));
        let firmware = firmware.transpose()?;
        let machines = firmware.as_deref().map(|firmware| SnpMachines {
            firmware,
            cpu_models: &self.cpu_models,
            vcpus: &self.vcpus,
        });
        let image = measurement::image(&description, &kernel, &initramfs, machines.as_ref())?;
        println!("image    {}", image.name);
        for values in &image.snp {
            println!("snp      {} {} x {}", values.measurement, values.vcpus, values.cpu_model);
        }
        if image.snp.is_empty() {
            println!("snp      not computed: no --firmware given");
        }
        println!("tdx      not computed");
        let registers = image.vtpm.iter().flat_map(|values| &values.pcrs);
        registers.for_each(|(register, value)| println!("vtpm     PCR {register} {value}"));
        let expires = self.issued.saturating_add(self.days.saturating_mul(DAY_SECONDS));
        let issue = Issue {
            name: description.name.clone(),
            version: self.number,
            issued: Instant(UnixSeconds(self.issued)),
            expires: Instant(UnixSeconds(expires)),
        };
        let manifest = Manifest::sign(measurement::manifest(issue, image), &[])?;
        println!("digest   {}", manifest.digest());
        files::write(&self.out, manifest.to_json().as_bytes())
    }
}

/// An image as published: its description, kernel and RAM disk, which must be those described.
pub fn read_image(folder: &Path) -> anyhow::Result<(Description, Vec<u8>, Vec<u8>)> {
    let path = folder.join(FILE);
    let description = Description::from_json(&files::read(&path, MAX_DESCRIPTION_BYTES)?)
        .with_context(|| format!("in {}", path.display()))?;
    let artefact = |name: &str| {
        let bytes = files::read(&folder.join(name), MAX_ARTEFACT_BYTES)?;
        let described = description.artefact(name).map(|artefact| artefact.sha256.as_str());
        let got = hex(&sha256(&bytes));
        if described != Some(&got) {
            bail!("{name}: {FILE} says {}, got {got}", described.unwrap_or("nothing"));
        }
        Ok(bytes)
    };
    let (kernel, initramfs) = (artefact(KERNEL)?, artefact(INITRAMFS)?);
    Ok((description, kernel, initramfs))
}
