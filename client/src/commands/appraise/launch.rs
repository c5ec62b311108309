//! The launch digest an SEV-SNP guest must have, recomputed from what it was started with.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use bulla_attestation::tee::snp::launch::{
    CpuSignature, DirectBoot, LaunchInputs, MAX_FIRMWARE_BYTES, Vmm,
};
use clap::Args;

use super::arguments::HexBytes;
use crate::io::folder::read_limited;

/// Largest kernel or initial RAM disk, in bytes (ours).
const MAX_BOOT_FILE_BYTES: usize = 1 << 30;
/// SEV_FEATURES bit 0: SEV-SNP.
const SNP_ACTIVE: u64 = 1;

/// What an SEV-SNP guest was started with; its launch digest becomes the measurement expected.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "SEV-SNP launch digest, recomputed and compared")]
pub struct Launch {
    /// Firmware (OVMF) the guest was started with: MEASUREMENT must be the digest of this launch
    #[arg(long, value_name = "FILE", conflicts_with = "measurement", requires = "launch_vcpus")]
    pub launch_firmware: Option<PathBuf>,
    /// Digest after the firmware's own pages, 48 bytes, computed before: FILE may then be the end of
    /// the firmware
    #[arg(long, value_name = "HEX", requires = "launch_firmware")]
    pub launch_firmware_digest: Option<HexBytes>,
    /// Kernel given to the hypervisor, where the firmware does not boot from a disk
    #[arg(long, value_name = "FILE", requires = "launch_firmware")]
    pub launch_kernel: Option<PathBuf>,
    /// Initial RAM disk beside the kernel
    #[arg(long, value_name = "FILE", requires = "launch_kernel")]
    pub launch_initrd: Option<PathBuf>,
    /// Command line of the kernel
    #[arg(long, value_name = "TEXT", requires = "launch_kernel")]
    pub launch_cmdline: Option<String>,
    /// Number of virtual processors
    #[arg(long, value_name = "NUMBER", requires = "launch_firmware")]
    pub launch_vcpus: Option<u32>,
    /// Processor that QEMU shows the guest, such as EPYC-Milan, EPYC-Genoa, EPYC-Turin, or its CPUID
    /// signature as 0x…
    #[arg(long, value_name = "TYPE", default_value = "EPYC-v4")]
    pub launch_vcpu_type: CpuType,
    /// Hypervisor: qemu, ec2 or gce
    #[arg(long, value_name = "NAME", default_value = "qemu", value_parser = ["qemu", "ec2", "gce"])]
    pub launch_vmm: String,
    /// SEV_FEATURES of the guest; bit 0 is SEV-SNP
    #[arg(long, value_name = "HEX", default_value = "0x1", value_parser = features)]
    pub launch_guest_features: u64,
}

/// A virtual processor's CPUID signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuType(CpuSignature);

impl Default for CpuType {
    fn default() -> CpuType {
        CpuType(CpuSignature(0))
    }
}

impl FromStr for CpuType {
    type Err = String;

    fn from_str(text: &str) -> Result<CpuType, String> {
        let signature = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok().map(CpuSignature),
            None => CpuSignature::of_qemu_type(text),
        };
        let unknown = || "must be a processor QEMU knows, like EPYC-Genoa, or 0x… as CPUID says";
        signature.map(CpuType).ok_or_else(|| unknown().to_owned())
    }
}

fn features(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(features) if features & SNP_ACTIVE == SNP_ACTIVE => Ok(features),
        Ok(_) => Err("must have bit 0 (SEV-SNP) set".to_owned()),
        Err(_) => Err("must be a number in hex".to_owned()),
    }
}

impl Launch {
    /// The launch digest; `None` where no firmware is named.
    pub fn digest(&self) -> anyhow::Result<Option<[u8; 48]>> {
        let Some(path) = &self.launch_firmware else { return Ok(None) };
        let firmware = read_limited(path, MAX_FIRMWARE_BYTES)?;
        let firmware_digest = match &self.launch_firmware_digest {
            Some(HexBytes(bytes)) => Some(
                bytes.as_slice().try_into().context("--launch-firmware-digest must be 48 bytes")?,
            ),
            None => None,
        };
        let vmm = match self.launch_vmm.as_str() {
            "ec2" => Vmm::Ec2,
            "gce" => Vmm::Gce,
            _ => Vmm::Qemu { cpu: self.launch_vcpu_type.0 },
        };
        let inputs = LaunchInputs {
            firmware: &firmware,
            firmware_digest,
            boot: self.boot()?,
            vcpus: self.launch_vcpus.unwrap_or(1),
            guest_features: self.launch_guest_features,
            vmm,
        };
        let digest = inputs.digest();
        Ok(Some(digest.with_context(|| format!("launch digest of {}", path.display()))?))
    }

    fn boot(&self) -> anyhow::Result<Option<DirectBoot>> {
        let Some(kernel) = &self.launch_kernel else { return Ok(None) };
        let kernel = read_limited(kernel, MAX_BOOT_FILE_BYTES)?;
        let initrd = match &self.launch_initrd {
            Some(path) => read_limited(path, MAX_BOOT_FILE_BYTES)?,
            None => Vec::new(),
        };
        let command_line = self.launch_cmdline.as_deref().unwrap_or_default();
        Ok(Some(DirectBoot::of(&kernel, &initrd, command_line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest's vectors through the command's own arguments.
    #[test]
    fn the_digest_is_that_of_the_vectors() {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/evidence");
        let folder =
            std::env::var_os("BULLA_EVIDENCE").map_or_else(|| beside.into(), PathBuf::from);
        let folder = folder.join("measurement");
        let Ok(text) = std::fs::read(folder.join("snp_launch_digest.json")) else {
            println!("skipped: no evidence folder");
            return;
        };
        let vectors: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        let mut count = 0;
        for vector in &vectors {
            let args = &vector["args"];
            if args["mode"] != "SEV_SNP" || args["vmm_type"] != "QEMU" {
                continue;
            }
            let text = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
            let empty = tempfile::NamedTempFile::new().unwrap();
            let has_kernel = args["kernel"].is_object();
            let given = text("snp_ovmf_hash_str");
            let launch = Launch {
                launch_firmware: Some(folder.join(args["ovmf_file"]["path"].as_str().unwrap())),
                launch_firmware_digest: given.parse().ok(),
                launch_kernel: has_kernel.then(|| empty.path().to_owned()),
                launch_initrd: None,
                launch_cmdline: Some(text("append")),
                launch_vcpus: args["vcpus"].as_u64().map(|vcpus| vcpus as u32),
                launch_vcpu_type: text("vcpu_type").parse().unwrap(),
                launch_vmm: "qemu".to_owned(),
                launch_guest_features: args["guest_features"].as_u64().unwrap(),
            };
            let Ok(Some(digest)) = launch.digest() else { continue };
            let digest = data_encoding::HEXLOWER.encode(&digest);
            assert_eq!(digest, vector["launch_digest"], "{}", vector["name"]);
            count += 1;
        }
        println!("{count} launch digests recomputed");
        assert!(count >= 3);
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        let missing = Launch { launch_firmware: Some("no-such-file".into()), ..Launch::default() };
        assert!(missing.digest().is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"no firmware").unwrap();
        let short = Launch { launch_firmware: Some(file.path().to_owned()), ..Launch::default() };
        assert!(format!("{:#}", short.digest().unwrap_err()).contains("launch digest"));
        assert_eq!(Launch::default().digest().unwrap(), None);
        assert!("EPYC-Genoa".parse::<CpuType>().is_ok() && "0x800f12".parse::<CpuType>().is_ok());
        assert!("8086".parse::<CpuType>().is_err());
        assert!(features("0x21").is_ok() && features("2").is_err() && features("x").is_err());
    }
}
