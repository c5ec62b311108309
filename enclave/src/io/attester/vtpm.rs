//! `vtpm-dev`: a TPM's quote instead of a TEE's report. No hardware protects anything; it has to be
//! asked for by name.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bulla_attestation::tee::tpm::TpmKey;
use bulla_attestation::tee::vtpm::VtpmEvidence;
use bulla_wire::evidence::{Evidence, TEE_VTPM_DEV};

use super::{Attester, AttesterError};
use crate::tpm::{self, Code, Created, MAX_ANSWER_BYTES, QUOTED_REGISTERS};

/// Where the kernel has TPMs: behind its resource manager first, which lets others use it too.
pub const TPM_DEVICES: [&str; 2] = ["/dev/tpmrm0", "/dev/tpm0"];

/// Sends a TPM one command and takes its answer.
pub trait Channel {
    /// The answer to `command`.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// A device file or a socket: one write, one read.
impl<T: Read + Write> Channel for T {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.write_all(command)?;
        let mut answer = vec![0; MAX_ANSWER_BYTES];
        let length = self.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// A TPM and what its attestation key is called.
#[derive(Debug)]
pub struct VtpmDev {
    device: PathBuf,
    key: TpmKey,
    key_digest: String,
    /// The device without a resource manager has one user at a time.
    turn: Mutex<()>,
}

impl VtpmDev {
    /// Finds the first of `devices` ([`TPM_DEVICES`] outside tests) and makes its key.
    pub fn open(devices: &[&Path]) -> Result<VtpmDev, AttesterError> {
        let found = devices.iter().find(|device| device.exists());
        let Some(device) = found else {
            let names: Vec<String> = devices.iter().map(|d| d.display().to_string()).collect();
            let reason = format!("no TPM: {} are not there", names.join(" and "));
            return Err(AttesterError::NoTee { reason });
        };
        let key = attestation_key(&mut open(device)?)?;
        let key_digest = key.digest().to_string();
        Ok(VtpmDev { device: device.to_path_buf(), key, key_digest, turn: Mutex::new(()) })
    }

    /// DER SubjectPublicKeyInfo of its attestation key: what a relying party names.
    pub fn root(&self) -> Vec<u8> {
        self.key.spki()
    }
}

fn open(device: &Path) -> Result<std::fs::File, AttesterError> {
    let opened = OpenOptions::new().read(true).write(true).open(device);
    opened.map_err(|error| AttesterError::Interface {
        operation: "open",
        path: device.display().to_string(),
        reason: error.to_string(),
    })
}

impl Attester for VtpmDev {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, AttesterError> {
        let (digest, padding) = report_data.split_at(32);
        let digest: [u8; 32] = digest.try_into().unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(unusable("it signs a statement digest, 32 bytes, and nothing longer"));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let evidence = evidence(&mut open(&self.device)?, &digest)?;
        if evidence.report_data().as_ref() != Some(report_data) {
            return Err(unusable("it signs other data than was asked for"));
        }
        Ok(Evidence { report: evidence.to_json(), endorsements: Vec::new() })
    }

    fn tee_type(&self) -> &'static str {
        TEE_VTPM_DEV
    }

    fn chip_id(&self) -> &str {
        &self.key_digest
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

fn unusable(reason: impl Into<String>) -> AttesterError {
    AttesterError::BadReport { reason: reason.into() }
}

fn ask(tpm: &mut impl Channel, command: &[u8]) -> Result<Vec<u8>, AttesterError> {
    tpm.transmit(command).map_err(|error| unusable(format!("asking the TPM: {error}")))
}

/// The attestation key of a TPM, which its seed and our template decide: the same at every start.
pub fn attestation_key(tpm: &mut impl Channel) -> Result<TpmKey, AttesterError> {
    let created = create(tpm)?;
    forget(tpm, &created)?;
    TpmKey::parse(&created.public).map_err(|error| unusable(error.to_string()))
}

/// A quote over `digest` with everything a verifier needs.
pub fn evidence(tpm: &mut impl Channel, digest: &[u8; 32]) -> Result<VtpmEvidence, AttesterError> {
    let key = create(tpm)?;
    let quoted = ask(tpm, &tpm::quote(key.handle, digest, QUOTED_REGISTERS))
        .and_then(|answer| tpm::quoted(&answer).map_err(|error| unusable(error.to_string())));
    forget(tpm, &key)?;
    let quoted = quoted?;
    let pcrs = registers(tpm)?;
    let (quote, signature) = (quoted.quote, quoted.signature);
    Ok(VtpmEvidence { public: key.public, quote, signature, pcrs })
}

fn create(tpm: &mut impl Channel) -> Result<Created, AttesterError> {
    let answer = ask(tpm, &tpm::create_attestation_key())?;
    tpm::created(&answer).map_err(|error| unusable(error.to_string()))
}

fn forget(tpm: &mut impl Channel, key: &Created) -> Result<(), AttesterError> {
    let answer = ask(tpm, &tpm::flush(key.handle))?;
    tpm::done(Code::FlushContext, &answer).map_err(|error| unusable(error.to_string()))
}

/// All registers that are quoted, in order. A TPM gives some at a time.
fn registers(tpm: &mut impl Channel) -> Result<Vec<[u8; 32]>, AttesterError> {
    let mut values = [None; QUOTED_REGISTERS.end];
    loop {
        let missing: Vec<usize> =
            QUOTED_REGISTERS.filter(|register| values[*register].is_none()).collect();
        if missing.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        let answer = ask(tpm, &tpm::read_registers(missing.iter().copied()))?;
        let given = tpm::registers(&answer).map_err(|error| unusable(error.to_string()))?;
        let mut has_new = false;
        for (register, value) in given {
            if missing.contains(&register) {
                values[register] = Some(value);
                has_new = true;
            }
        }
        if !has_new {
            return Err(unusable("the TPM does not give the registers it quotes"));
        }
    }
}

#[cfg(test)]
mod tests;
