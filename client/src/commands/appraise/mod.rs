//! `bulla appraise`: is this evidence genuine, and good enough for this policy?
//!
//! Files only: no network, no configuration. Exit code 0: every piece of evidence is affirmed. 1: one
//! is refused, and its JSON has a failed check. 2: something could not be read, or was asked wrongly;
//! with `--json` standard output then has `{"error": …, "left_aside": […]}`. The reason is on
//! standard error either way.

mod arguments;
mod document;
mod ear;
mod hints;
mod judge;
mod launch;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_wire::units::UnixSeconds;
use clap::Args;

pub(super) use self::arguments::instant;
use self::arguments::{HexBytes, ReportData, Tee};
use self::ear::EarOutput;
pub(super) use self::ear::signing_key;
#[cfg(test)]
pub(super) use self::ear::tests::ED25519;
use self::judge::{Appraisal, Question, judge};
pub use self::judge::{Named, Unreadable, read};
use self::launch::Launch;
use super::show::{BAD, WARN, harmless};
use super::verify::named_policy;
use super::{EXIT_FAILED, EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::io::folder::read_limited;
use crate::io::system::now;

/// Largest simulated root, in bytes.
const MAX_ROOT_BYTES: usize = 64 * 1024;

/// Appraises evidence in files.
#[derive(Debug, Clone, Args)]
pub struct Appraise {
    /// Evidence, with or without what endorses it: raw, hex, base64, PEM, protobuf, CBOR, or JSON as
    /// the vendors' tools write it; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the evidence must be: snp, tdx, nvidia, azure-snp, azure-tdx, csv, or auto to find out
    #[arg(long, default_value = "auto")]
    pub tee: Tee,
    /// Certificates, chains, revocation lists, collateral, manifests, OCSP answers, event logs: which
    /// is which is found out
    #[arg(long, value_name = "FILE")]
    pub endorsement: Vec<PathBuf>,
    /// Policy: a file, or one shipped with bulla: authentic, standard, strict, development
    #[arg(long, default_value = "authentic", value_name = "FILE-OR-NAME")]
    pub policy: String,
    /// Judge as of this instant (RFC 3339, any offset) [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub at: Option<UnixSeconds>,
    /// The nonce that was sent: a device's request, a vTPM quote's extra data. Reports and quotes of a
    /// CPU have none of their own: REPORT_DATA must be it, unless --report-data says otherwise
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<HexBytes>,
    /// What REPORT_DATA must be, at most 64 bytes; a shorter value is filled up with zeros behind
    #[arg(long, value_name = "HEX")]
    pub report_data: Option<ReportData>,
    /// What the launch digest must be: SNP's measurement, TDX's MRTD
    #[arg(long, value_name = "HEX")]
    pub measurement: Option<HexBytes>,
    /// Root certificate (DER) of a simulated TEE to trust besides; the policy must allow it
    #[arg(long, value_name = "FILE")]
    pub simulated_root: Vec<PathBuf>,
    /// What an SEV-SNP guest was started with.
    #[command(flatten)]
    pub launch: Launch,
    /// The verdict as an EAR
    #[command(flatten)]
    pub ear: EarOutput,
}

impl Appraise {
    /// Reads, judges, shows. Never an error: what goes wrong is exit code 2.
    pub fn run(&self, global: &GlobalArgs) -> u8 {
        match self.appraise() {
            Ok(appraisal) => {
                let nonce = self.nonce.as_ref().map(|HexBytes(bytes)| bytes.as_slice());
                if let Err(error) = self.ear.write(&appraisal, nonce) {
                    complain(&Unreadable::of(error), global.json);
                    return EXIT_FAILED;
                }
                show(&appraisal, global.json);
                if appraisal.is_affirmed() { EXIT_OK } else { EXIT_REFUSED }
            }
            Err(error) => {
                complain(&error, global.json);
                EXIT_FAILED
            }
        }
    }

    fn appraise(&self) -> Result<Appraisal, Unreadable> {
        let question = self.question().map_err(|error| Unreadable::because(&error))?;
        let files = read(&self.files, &self.endorsement)?;
        judge(&files, &question)
    }

    /// What is asked of the evidence.
    fn question(&self) -> anyhow::Result<Question> {
        let mut anchors = TrustAnchors::vendors();
        for path in &self.simulated_root {
            let label = path.display().to_string();
            let root = TrustAnchor::simulated(&label, &read_limited(path, MAX_ROOT_BYTES)?)
                .map_err(|error| anyhow::anyhow!("{label}: {error}"))?;
            anchors = anchors.with(root);
        }
        let measurement = self.measurement.clone().map(|HexBytes(bytes)| bytes);
        Ok(Question {
            tee: self.tee.0,
            policy: named_policy(&self.policy)?,
            anchors,
            nonce: self.nonce.clone().map(|HexBytes(bytes)| bytes),
            report_data: self.report_data.as_ref().map(|ReportData(bytes)| *bytes),
            measurement: measurement.or(self.launch.digest()?.map(Vec::from)),
            at: self.at.unwrap_or_else(|| now().seconds()),
        })
    }
}

fn show(appraisal: &Appraisal, json: bool) {
    match json {
        true => println!("{}", document::of(appraisal)),
        false => anstream::print!("{}", table::of(appraisal)),
    }
    for left in &appraisal.left_aside {
        anstream::eprintln!("{WARN}left aside{WARN:#}  {}", harmless(&left.to_string()));
    }
}

fn complain(error: &Unreadable, json: bool) {
    if json {
        println!("{}", document::of_error(error));
    }
    anstream::eprintln!("{BAD}bulla: {}{BAD:#}", harmless(&error.reason));
    for left in &error.left_aside {
        anstream::eprintln!("  {}", harmless(&left.to_string()));
    }
}
