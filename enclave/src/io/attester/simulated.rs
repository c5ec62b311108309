//! The simulated TEE with its keys in a data folder: for machines without hardware.
//!
//! The folder holds ark.key, ask.key (PKCS#8), vcek.key (48 bytes), chip.id (64 bytes), all for the
//! owner's eyes only, and ark.der, ask.der, vcek.der. A relying party has to name ark.der.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bulla_attestation::tee::snp::product::ProductLine;
use bulla_wire::evidence::{Evidence, TEE_SEV_SNP};
use bulla_wire::units::UnixSeconds;
use rand_core::CryptoRng;

use super::{Attester, AttesterError};
use crate::simulated_tee::{
    Authority, AuthorityError, Chip, ChipError, Node, ReportTemplate, Validity,
};

/// The product line it imitates.
const LINE: ProductLine = ProductLine::Genoa;
/// Life of the simulated authorities, as AMD's.
const AUTHORITY_YEARS: i64 = 25;
/// Life of the simulated leaf, as AMD's.
const LEAF_YEARS: i64 = 7;
/// Length of a chip id in a report.
const CHIP_ID_BYTES: usize = 64;
/// Longest file read (ours; a PKCS#8 RSA-4096 key is 2.4 KiB).
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why there is no simulated TEE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulatedTeeError {
    /// A file could not be read or written.
    #[error("simulated TEE: {operation} {path}: {reason}")]
    File {
        /// read, write or create.
        operation: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A secret file that others may read.
    #[error("simulated TEE: {path} has mode {mode:o}, expected 600: chmod 600 it")]
    Permissions {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// A file of the wrong length.
    #[error("simulated TEE: {path} has {got_bytes} bytes, expected {expected_bytes}")]
    Length {
        /// The file.
        path: String,
        /// Bytes wanted.
        expected_bytes: usize,
        /// Bytes found.
        got_bytes: usize,
    },
    /// The authority's keys.
    #[error("simulated TEE: {0}")]
    Authority(#[from] AuthorityError),
    /// The chip's key.
    #[error("simulated TEE: {0}")]
    Chip(#[from] ChipError),
}

/// A simulated TEE: it signs what it is asked to.
pub struct SimulatedTee {
    node: Node,
    chip_id: String,
    root_certificate: Vec<u8>,
}

impl SimulatedTee {
    /// Loads the one in `folder`, or makes one there; making takes some seconds.
    pub fn open(
        folder: &Path,
        now: UnixSeconds,
        rng: &mut impl CryptoRng,
    ) -> Result<SimulatedTee, SimulatedTeeError> {
        // vcek.der is written last: with it the folder is complete.
        if folder.join("vcek.der").exists() {
            SimulatedTee::load(folder)
        } else {
            SimulatedTee::generate(folder, now, rng)
        }
    }

    /// Makes keys and certificates and writes them to `folder`.
    pub fn generate(
        folder: &Path,
        now: UnixSeconds,
        rng: &mut impl CryptoRng,
    ) -> Result<SimulatedTee, SimulatedTeeError> {
        let now = i64::try_from(now.0).unwrap_or(i64::MAX / 2);
        let authority = Authority::generate(LINE, Validity::years_from(now, AUTHORITY_YEARS), rng)?;
        SimulatedTee::generate_under(&authority, folder, now, rng)
    }

    fn generate_under(
        authority: &Authority,
        folder: &Path,
        now: i64,
        rng: &mut impl CryptoRng,
    ) -> Result<SimulatedTee, SimulatedTeeError> {
        let node = Node::new(authority, Validity::years_from(now, LEAF_YEARS), rng);
        let files = Folder(folder.to_owned());
        files.create()?;
        files.write("ark.key", &authority.ark_pkcs8()?)?;
        files.write("ask.key", &authority.ask_pkcs8()?)?;
        files.write("vcek.key", &node.chip.scalar())?;
        files.write("chip.id", &node.template.chip_id)?;
        files.write("ark.der", authority.ark_certificate())?;
        files.write("ask.der", authority.ask_certificate())?;
        files.write("vcek.der", node.chip.certificate())?;
        SimulatedTee::load(folder)
    }

    /// Loads what [`generate`](SimulatedTee::generate) wrote.
    pub fn load(folder: &Path) -> Result<SimulatedTee, SimulatedTeeError> {
        let files = Folder(folder.to_owned());
        let mut chip_id = [0; CHIP_ID_BYTES];
        chip_id.copy_from_slice(&files.read_secret("chip.id", Some(CHIP_ID_BYTES))?);
        let leaf = files.read("vcek.der")?;
        let chip = Chip::from_stored(&files.read_secret("vcek.key", None)?, leaf.clone())?;
        let root_certificate = files.read("ark.der")?;
        let endorsements = vec![leaf, files.read("ask.der")?, root_certificate.clone()];
        let template = ReportTemplate::of_chip(LINE, chip_id);
        let node = Node { chip, template, endorsements };
        Ok(SimulatedTee { chip_id: node.chip_id(), node, root_certificate })
    }

    /// The root certificate, DER: what a relying party has to name before it believes anything
    /// signed here.
    pub fn root_certificate(&self) -> &[u8] {
        &self.root_certificate
    }
}

impl Attester for SimulatedTee {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, AttesterError> {
        Ok(self.node.evidence(report_data))
    }

    fn tee_type(&self) -> &'static str {
        TEE_SEV_SNP
    }

    fn chip_id(&self) -> &str {
        &self.chip_id
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

/// The data folder.
struct Folder(PathBuf);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn error(
        &self,
        operation: &'static str,
        name: &str,
        error: &std::io::Error,
    ) -> SimulatedTeeError {
        let path = self.path(name).display().to_string();
        SimulatedTeeError::File { operation, path, reason: error.to_string() }
    }

    fn create(&self) -> Result<(), SimulatedTeeError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| self.error("create", "", &error))
    }

    /// Writes beside and renames, so that a crash leaves no half file.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SimulatedTeeError> {
        let beside = format!("{name}.new");
        let fail = |error: std::io::Error| self.error("write", name, &error);
        match fs::remove_file(self.path(&beside)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(&beside))
            .map_err(fail)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(self.path(&beside), self.path(name)).map_err(fail)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, SimulatedTeeError> {
        let fail = |error: std::io::Error| self.error("read", name, &error);
        let length = fs::metadata(self.path(name)).map_err(fail)?.len();
        if length > MAX_FILE_BYTES {
            return Err(SimulatedTeeError::Length {
                path: self.path(name).display().to_string(),
                expected_bytes: MAX_FILE_BYTES as usize,
                got_bytes: usize::try_from(length).unwrap_or(usize::MAX),
            });
        }
        fs::read(self.path(name)).map_err(fail)
    }

    fn read_secret(
        &self,
        name: &str,
        length: Option<usize>,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, SimulatedTeeError> {
        let path = self.path(name).display().to_string();
        let metadata =
            fs::metadata(self.path(name)).map_err(|error| self.error("read", name, &error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SimulatedTeeError::Permissions { path, mode });
        }
        let bytes = zeroize::Zeroizing::new(self.read(name)?);
        match length {
            Some(expected_bytes) if bytes.len() != expected_bytes => {
                Err(SimulatedTeeError::Length { path, expected_bytes, got_bytes: bytes.len() })
            }
            _ => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
