//! Linux configfs-tsm (Documentation/ABI/testing/configfs-tsm-report, since kernel 6.7): one
//! interface for SEV-SNP and TDX guests.
//!
//! A directory made under `report/` is one report entry: `inblob` takes the 64 bytes to be signed,
//! `outblob` gives the report, `auxblob` what endorses it, `provider` names the driver, and
//! `generation` counts writes, so that somebody else's write in between is noticed.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bulla_attestation::input::certificate_table;
use bulla_attestation::tee::snp::report::Report;
use bulla_attestation::tee::tdx::platform_of;
use bulla_attestation::tee::tdx::quote::Quote;
use bulla_wire::evidence::{Endorsement, Evidence, MAX_EVIDENCE_BYTES, TEE_SEV_SNP, TEE_TDX};
use data_encoding::HEXLOWER;

use super::{Attester, AttesterError};

/// Where the kernel has it.
pub const CONFIGFS_TSM_REPORT: &str = "/sys/kernel/config/tsm/report";

/// Longest blob taken, in bytes: the kernel's own limits are 32 KiB for each blob, rounded up.
const MAX_BLOB_BYTES: u64 = 64 * 1024;
const _: () = assert!(MAX_BLOB_BYTES as usize <= MAX_EVIDENCE_BYTES);
/// `ENXIO`: the kernel's answer where no driver has registered as a provider.
const ENXIO: i32 = 6;

/// `kind` beside an endorsement: where it comes from, a hint for people.
const FROM_HOST: &str = "certificate from the host";
/// See [`FROM_HOST`].
const CONFIGURED: &str = "configured";

/// Which driver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CpuTee {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

/// The TEE this machine is a guest of.
#[derive(Debug)]
pub struct ConfigfsTsm {
    root: PathBuf,
    kind: CpuTee,
    chip_id: String,
    entries: AtomicU64,
    endorsements: Vec<Vec<u8>>,
}

impl ConfigfsTsm {
    /// Finds out which TEE answers under `root` ([`CONFIGFS_TSM_REPORT`] outside tests) and which
    /// chip it runs on, with one report over zeros.
    pub fn open(root: &Path) -> Result<ConfigfsTsm, AttesterError> {
        let mut tsm = ConfigfsTsm {
            root: root.to_owned(),
            kind: CpuTee::Snp,
            chip_id: String::new(),
            entries: AtomicU64::new(0),
            endorsements: Vec::new(),
        };
        let answer = tsm.ask(&Kernel, &[0; 64])?;
        tsm.kind = answer.kind;
        tsm.chip_id = chip_id(&answer)?;
        Ok(tsm)
    }

    /// Sends `endorsements` (certificates and revocation lists, DER or PEM) along with every report:
    /// many hosts give none, and no verifier fetches any.
    pub fn with_endorsements(mut self, endorsements: Vec<Vec<u8>>) -> ConfigfsTsm {
        self.endorsements = endorsements;
        self
    }

    fn ask(&self, tree: &impl Tree, report_data: &[u8; 64]) -> Result<Answer, AttesterError> {
        if !tree.is_folder(&self.root) {
            let reason = format!("{} is not there", self.root.display());
            return Err(AttesterError::NoTee { reason });
        }
        // A name of our own: entries of other processes are not ours to write to.
        let number = self.entries.fetch_add(1, Ordering::Relaxed);
        let name = format!("bulla-{}-{number}", std::process::id());
        let entry = Entry { tree, folder: self.root.join(name) };
        entry.create()?;
        let answer = entry.ask(report_data);
        entry.remove()?;
        answer
    }
}

impl Attester for ConfigfsTsm {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, AttesterError> {
        let answer = self.ask(&Kernel, report_data)?;
        let signed = match answer.kind {
            CpuTee::Snp => parse(&answer.report)?.report_data,
            CpuTee::Tdx => parse_quote(&answer.report)?.body.report_data,
        };
        if signed != *report_data {
            let reason = "it signs other data than was asked for".to_owned();
            return Err(AttesterError::BadReport { reason });
        }
        let from_host = answer.endorsements.into_iter().map(|data| (FROM_HOST, data));
        let configured = self.endorsements.iter().map(|data| (CONFIGURED, data.clone()));
        let endorsements = from_host
            .chain(configured)
            .map(|(kind, data)| Endorsement { kind: kind.to_owned(), data })
            .collect();
        Ok(Evidence { report: answer.report, endorsements })
    }

    fn tee_type(&self) -> &'static str {
        match self.kind {
            CpuTee::Snp => TEE_SEV_SNP,
            CpuTee::Tdx => TEE_TDX,
        }
    }

    fn chip_id(&self) -> &str {
        &self.chip_id
    }

    fn is_simulated(&self) -> bool {
        false
    }
}

/// What the kernel gave.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    kind: CpuTee,
    report: Vec<u8>,
    endorsements: Vec<Vec<u8>>,
}

fn parse(report: &[u8]) -> Result<Report, AttesterError> {
    Report::parse(report).map_err(|error| AttesterError::BadReport { reason: error.to_string() })
}

fn parse_quote(quote: &[u8]) -> Result<Quote<'_>, AttesterError> {
    Quote::parse(quote).map_err(|error| AttesterError::BadReport { reason: error.to_string() })
}

fn chip_id(answer: &Answer) -> Result<String, AttesterError> {
    match answer.kind {
        CpuTee::Snp => Ok(HEXLOWER.encode(&parse(&answer.report)?.chip_id)),
        // A TDX quote names its platform inside the PCK certificate it carries. Where a host leaves
        // that out, the keyset names no chip, and a verifier that asks for one refuses.
        CpuTee::Tdx => {
            let platform = platform_of(&answer.report);
            Ok(platform.map_or_else(String::new, |platform| HEXLOWER.encode(&platform.id())))
        }
    }
}

/// One report entry.
struct Entry<'a, T> {
    tree: &'a T,
    folder: PathBuf,
}

impl<T: Tree> Entry<'_, T> {
    fn create(&self) -> Result<(), AttesterError> {
        self.tree.create_folder(&self.folder).map_err(|error| self.error("create", "", &error))
    }

    fn remove(&self) -> Result<(), AttesterError> {
        self.tree.remove_folder(&self.folder).map_err(|error| self.error("remove", "", &error))
    }

    fn ask(&self, report_data: &[u8; 64]) -> Result<Answer, AttesterError> {
        let kind = self.provider()?;
        let expected = self.generation()?.saturating_add(1);
        let inblob = self.folder.join("inblob");
        self.tree
            .write(&inblob, report_data)
            .map_err(|error| self.error("write", "inblob", &error))?;
        let report = self.read("outblob")?;
        let aux = self.read_optional("auxblob")?;
        let got = self.generation()?;
        if got != expected {
            return Err(AttesterError::Conflict { expected, got });
        }
        let endorsements = match kind {
            CpuTee::Snp => certificate_table(&aux).into_iter().map(<[u8]>::to_vec).collect(),
            CpuTee::Tdx => Vec::new(),
        };
        Ok(Answer { kind, report, endorsements })
    }

    fn provider(&self) -> Result<CpuTee, AttesterError> {
        let bytes = self.read("provider")?;
        match String::from_utf8_lossy(&bytes).trim() {
            "sev_guest" => Ok(CpuTee::Snp),
            "tdx_guest" => Ok(CpuTee::Tdx),
            other => {
                let provider = other.chars().take(40).collect();
                Err(AttesterError::UnknownProvider { provider })
            }
        }
    }

    fn generation(&self) -> Result<u64, AttesterError> {
        let bytes = self.read("generation")?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map_err(|_| AttesterError::Interface {
            operation: "read",
            path: self.folder.join("generation").display().to_string(),
            reason: "not a number".to_owned(),
        })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, AttesterError> {
        let bytes = self.tree.read(&self.folder.join(name));
        bytes.map_err(|error| self.error("read", name, &error))
    }

    /// A file the provider may not have, or may have nothing for.
    fn read_optional(&self, name: &str) -> Result<Vec<u8>, AttesterError> {
        match self.tree.read(&self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| self.error("read", name, &error)),
        }
    }

    fn error(&self, operation: &'static str, name: &str, error: &io::Error) -> AttesterError {
        if error.raw_os_error() == Some(ENXIO) {
            let reason = "the kernel has no report provider".to_owned();
            return AttesterError::NoTee { reason };
        }
        let path = self.folder.join(name).display().to_string();
        AttesterError::Interface { operation, path, reason: error.to_string() }
    }
}

/// The few file operations the interface is made of, so that a test can play the kernel: a folder
/// made in an ordinary file system grows no attributes.
trait Tree {
    fn is_folder(&self, path: &Path) -> bool;
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// The kernel's configfs.
struct Kernel;

impl Tree for Kernel {
    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_BLOB_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BLOB_BYTES {
            return Err(io::Error::other(format!("longer than {MAX_BLOB_BYTES} bytes")));
        }
        Ok(bytes)
    }

    /// One write: the kernel takes a blob whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::OpenOptions::new().write(true).open(path)?.write_all(bytes)
    }
}

#[cfg(test)]
mod tests;
