//! One appraisal: every piece of evidence among the files, with every endorsement among them.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::appraise::{Freshness, appraise as appraise_report};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

use crate::auditing::is_bundle;
use crate::request::{Given, Request, RequestError, Role};
use crate::trust::{self, PolicyChoice, TrustError};

/// Settings of an appraisal.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Under which policy.
    pub policy: PolicyChoice,
    /// As of when: seconds since 1970, UTC.
    pub at: UnixSeconds,
    /// Whether the hardware vendors' roots are trusted.
    pub vendor_roots: bool,
    /// What the evidence must show, in hex; empty: nothing is expected.
    #[serde(default)]
    pub expected: Expected,
}

/// Expectations as typed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Expected {
    /// The verifier's nonce.
    #[serde(default)]
    pub nonce: String,
    /// All 64 bytes of report data.
    #[serde(default)]
    pub report_data: String,
    /// The launch digest.
    #[serde(default)]
    pub measurement: String,
}

/// Why nothing was appraised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppraisalError {
    /// The page asked wrongly.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// Nobody to believe, or no policy.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// An expectation that is not hex.
    #[error("{field} must be hex, two digits a byte")]
    NotHex {
        /// Which.
        field: &'static str,
    },
    /// An expectation of the wrong length.
    #[error("{field} must have {expected_bytes} bytes, got {got_bytes}")]
    Length {
        /// Which.
        field: &'static str,
        /// How many it must have.
        expected_bytes: usize,
        /// How many it has.
        got_bytes: usize,
    },
}

/// What a file was taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// In words.
    pub kind: String,
    /// Whether it is an audit bundle: to be audited, not appraised.
    pub is_bundle: bool,
}

/// The verdict on one piece of evidence.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Its file.
    pub name: String,
    /// What `bulla appraise --json` prints.
    pub result: AttestationResult,
}

/// Everything about the files given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Appraised {
    /// What each file was taken for, in the order given.
    pub files: Vec<Taken>,
    /// One verdict per piece of evidence.
    pub verdicts: Vec<Judged>,
}

/// Appraises every piece of evidence in `request`.
pub fn appraise(request: &[u8]) -> Result<Appraised, AppraisalError> {
    let request: Request<'_, Settings> = Request::parse(request)?;
    let settings = request.settings();
    let desk = Desk {
        policy: settings.policy.policy()?,
        anchors: trust::anchors(&request, settings.vendor_roots)?,
        expectations: settings.expected.read()?,
        at: settings.at,
        endorsements: Endorsements::sort(request.given_for(Role::Judged).map(|file| file.bytes)),
    };
    let mut appraised = Appraised::default();
    for file in request.given_for(Role::Judged) {
        let (kind, result) = desk.look_at(file);
        let is_bundle = kind == AUDIT_BUNDLE;
        let name = file.name.to_owned();
        appraised.files.push(Taken { name: name.clone(), kind: kind.to_owned(), is_bundle });
        appraised.verdicts.extend(result.map(|result| Judged { name, result }));
    }
    Ok(appraised)
}

const AUDIT_BUNDLE: &str = "audit bundle";

struct Desk {
    policy: Policy,
    anchors: TrustAnchors,
    expectations: Expectations,
    at: UnixSeconds,
    endorsements: Endorsements,
}

impl Desk {
    fn look_at(&self, file: Given<'_>) -> (&'static str, Option<AttestationResult>) {
        if is_bundle(file.bytes) {
            return (AUDIT_BUNDLE, None);
        }
        if let Ok(report) = AttestationReport::from_json(file.bytes) {
            let nonce = self.expectations.nonce.as_deref().and_then(|n| n.try_into().ok());
            let freshness = nonce.map_or(Freshness::Passport, Freshness::Nonce);
            let result = appraise_report(&report, &self.anchors, &self.policy, freshness, self.at);
            return ("attestation report (aci/1)", Some(result));
        }
        if file.bytes.len() == 1184 {
            let result = appraise_raw(
                TeeKind::Snp,
                file.bytes,
                &self.endorsements,
                &self.anchors,
                &self.policy,
                &self.expectations,
                self.at,
            );
            return ("SEV-SNP report", Some(result));
        }
        ("endorsement", None)
    }
}

impl Expected {
    fn read(&self) -> Result<Expectations, AppraisalError> {
        let report_data = hex("report data", &self.report_data)?;
        let report_data = report_data.map(|bytes| {
            <[u8; 64]>::try_from(bytes).map_err(|bytes| AppraisalError::Length {
                field: "report data",
                expected_bytes: 64,
                got_bytes: bytes.len(),
            })
        });
        Ok(Expectations {
            report_data: report_data.transpose()?,
            nonce: hex("nonce", &self.nonce)?,
            measurement: hex("measurement", &self.measurement)?,
        })
    }
}

/// Hex as people paste it: in any case, with white space; nothing at all expects nothing.
fn hex(field: &'static str, text: &str) -> Result<Option<Vec<u8>>, AppraisalError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    if digits.is_empty() {
        return Ok(None);
    }
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    bytes.map(Some).map_err(|_| AppraisalError::NotHex { field })
}
