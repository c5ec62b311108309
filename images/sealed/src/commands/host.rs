//! `bulla image host`.

use std::path::PathBuf;

use clap::Args;

use super::measure::read_image;
use crate::host::{Host, Machine, commands};

/// Print the commands that start an image on an SEV-SNP or TDX host.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Which.
    host: Host,
    /// Folder with the image.
    image: PathBuf,
    /// The model's disk.
    #[arg(long, value_name = "FILE")]
    volume: PathBuf,
    /// OVMF built for this host: AmdSev on SEV-SNP, IntelTdx on TDX.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Virtual processors.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    vcpus: u32,
    /// Memory.
    #[arg(long, value_name = "MIB", default_value_t = 16_384)]
    memory_mib: u64,
    /// CPU model (SEV-SNP).
    #[arg(long, value_name = "MODEL", default_value = "EPYC-Genoa")]
    cpu_model: String,
    /// PCI address of a GPU to pass through, such as 41:00.0; again for more.
    #[arg(long = "gpu", value_name = "ADDRESS")]
    gpus: Vec<String>,
}

impl HostArgs {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let (description, ..) = read_image(&self.image)?;
        let machine = Machine {
            image: self.image.display().to_string(),
            volume: self.volume.display().to_string(),
            command_line: description.command_line,
            firmware: self.firmware.display().to_string(),
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            cpu_model: self.cpu_model,
            gpus: self.gpus,
        };
        print!("{}", commands(self.host, &machine));
        Ok(())
    }
}
