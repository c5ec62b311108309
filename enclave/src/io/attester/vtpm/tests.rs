//! A played TPM for what can go wrong, and a software TPM (swtpm) where there is one: its quote must
//! pass the shipped verifier.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::Claims;
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;

use super::*;

/// Answers in the order they are given, whatever is asked.
struct Canned {
    answers: Vec<Vec<u8>>,
    asked: Vec<Vec<u8>>,
}

impl Channel for Canned {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.asked.push(command.to_vec());
        match self.answers.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(self.answers.remove(0)),
        }
    }
}

/// An answer to TPM2_CreatePrimary with a public area that is none, and to TPM2_FlushContext.
fn created_and_flushed() -> Vec<Vec<u8>> {
    let created = [
        &[0x80, 2, 0, 0, 0, 25, 0, 0, 0, 0][..],
        &[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 1, 9, 0, 0, 1, 0],
    ];
    vec![created.concat(), vec![0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]]
}

#[test]
fn a_machine_without_a_tpm_is_no_tee() {
    let got = VtpmDev::open(&[Path::new("/dev/no-tpm"), Path::new("/dev/none")]).unwrap_err();
    let reason = "no TPM: /dev/no-tpm and /dev/none are not there".to_owned();
    assert_eq!(got, AttesterError::NoTee { reason });
}

#[test]
fn the_key_is_forgotten_even_where_the_quote_fails() {
    let [created, flushed] = created_and_flushed().try_into().unwrap();
    let refused = vec![0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x22];
    let mut tpm = Canned { answers: vec![created, refused, flushed], asked: Vec::new() };
    let got = evidence(&mut tpm, &[7; 32]).unwrap_err();
    assert!(got.to_string().contains("TPM2_Quote"), "{got}");
    assert_eq!(tpm.asked.last(), Some(&tpm::flush(0x8000_0000)));
}

#[test]
fn a_key_of_another_kind_and_a_silent_tpm_are_errors() {
    let mut tpm = Canned { answers: created_and_flushed(), asked: Vec::new() };
    assert!(matches!(attestation_key(&mut tpm), Err(AttesterError::BadReport { .. })));
    assert!(matches!(attestation_key(&mut tpm), Err(AttesterError::BadReport { .. })));
}

/// swtpm with fresh state, on a socket.
struct Software {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Software {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Software {
    fn start() -> Option<Software> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", folder.path().display())])
            .args(["--server", &format!("type=unixio,path={}", at("tpm"))])
            .args(["--ctrl", &format!("type=unixio,path={}", at("control"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Software { child, folder })
    }

    fn connect(&self) -> UnixStream {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(self.folder.path().join("tpm")) {
                Ok(stream) => return stream,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "swtpm: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_software_tpm_makes_evidence_the_shipped_verifier_takes() {
    let Some(software) = Software::start() else {
        println!("skipped: swtpm is not here (Debian: swtpm)");
        return;
    };
    let mut tpm = software.connect();
    let key = attestation_key(&mut tpm).unwrap();
    assert_eq!(attestation_key(&mut tpm).unwrap(), key, "the same at every start");
    let evidence = evidence(&mut tpm, &[7; 32]).unwrap();
    let mut slot = [0; 64];
    slot[..32].fill(7);
    assert_eq!(evidence.report_data(), Some(slot));
    let root = TrustAnchor::simulated("swtpm", &key.spki()).unwrap();
    let policy = include_str!("../../../../../policies/appraisal/development.toml");
    let result = appraise_raw(
        TeeKind::VtpmDev,
        &evidence.to_json(),
        &Endorsements::default(),
        &TrustAnchors::none().with(root),
        &Policy::from_toml(policy).unwrap(),
        &Expectations { report_data: Some(slot), ..Expectations::default() },
        UnixSeconds(1_795_132_800),
    );
    assert!(result.is_affirmed() && result.is_simulated(), "{result}");
    let Some(Claims::Vtpm(claims)) = result.claims() else { panic!("{result}") };
    assert_eq!(claims.pcrs.len(), 16);
}
