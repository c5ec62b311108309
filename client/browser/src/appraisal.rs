//! One appraisal: every piece of evidence among the files, with every endorsement among them.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::appraise::{Freshness, appraise as appraise_report};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::Evidence;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw, padded};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::evidence::{AttestationReport, Endorsement};
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

use crate::pile::Pile;
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
    /// The kind of evidence, where it is not to be found out.
    #[serde(default)]
    pub tee: Option<TeeKind>,
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
    /// Report data; shorter than 64 bytes, it is filled up with zeros behind.
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
    /// An expectation that an attestation report answers by itself.
    #[error(
        "{field} can be expected of raw evidence: an attestation report binds its keyset there, and measurements are listed in the policy"
    )]
    OfRawEvidence {
        /// Which.
        field: &'static str,
    },
    /// Report data of more than 64 bytes.
    #[error("{field} has at most 64 bytes, got {got_bytes}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How many it has.
        got_bytes: usize,
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

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Evidence and endorsements, in words, with how many of each.
    pub holds: Vec<String>,
    /// What was not taken, and why.
    pub left_aside: Vec<String>,
}

/// The verdict on one piece of evidence.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Its file.
    pub name: String,
    /// Where in the file it was, and how it was wrapped.
    pub from: String,
    /// Whether it came with a keyset (aci/1), so that binding was judged too.
    pub is_report: bool,
    /// What `bulla appraise --json` prints.
    pub result: AttestationResult,
}

/// Everything about the files given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Appraised {
    /// What was found in each file, in the order given.
    pub files: Vec<Found>,
    /// One verdict per piece of evidence.
    pub verdicts: Vec<Judged>,
}

/// Appraises every piece of evidence in `request`.
pub fn appraise(request: &[u8]) -> Result<Appraised, AppraisalError> {
    let request: Request<'_, Settings> = Request::parse(request)?;
    let settings = request.settings();
    let judge = Judge {
        policy: settings.policy.policy()?,
        anchors: trust::anchors(&request, settings.vendor_roots)?,
        expectations: settings.expected.read()?,
        at: settings.at,
    };
    let files: Vec<Given<'_>> = request.given_for(Role::Judged).collect();
    let pile = Pile::sort(&files, settings.tee);
    Ok(Appraised { verdicts: judge.judge(&files, &pile)?, files: pile.found(&files) })
}

/// Who judges, and under what.
struct Judge {
    policy: Policy,
    anchors: TrustAnchors,
    expectations: Expectations,
    at: UnixSeconds,
}

impl Judge {
    fn judge(&self, files: &[Given<'_>], pile: &Pile) -> Result<Vec<Judged>, AppraisalError> {
        let name = |file: usize| files.get(file).map_or_else(String::new, |f| f.name.to_owned());
        let mut verdicts = Vec::new();
        for (file, report) in &pile.reports {
            let (name, result) = (name(*file), self.report(report, pile)?);
            verdicts.push(Judged { from: name.clone(), name, is_report: true, result });
        }
        for evidence in &pile.sorted.evidence {
            let (name, from) = (name(evidence.file), evidence.from.clone());
            let result = self.raw(evidence, pile);
            verdicts.push(Judged { name, from, is_report: false, result });
        }
        Ok(verdicts)
    }

    fn raw(&self, evidence: &Evidence, pile: &Pile) -> AttestationResult {
        let endorsements = Endorsements::sort(pile.sorted.endorsements_for(evidence));
        let (anchors, policy, bytes) = (&self.anchors, &self.policy, &evidence.bytes);
        let expected = self.expectations.of_kind(evidence.kind);
        appraise_raw(evidence.kind, bytes, &endorsements, anchors, policy, &expected, self.at)
    }

    /// An attestation report, with what else was given beside its own endorsements.
    fn report(
        &self,
        report: &AttestationReport,
        pile: &Pile,
    ) -> Result<AttestationResult, AppraisalError> {
        let expected = &self.expectations;
        for (field, is_given) in [
            ("report data", expected.report_data.is_some()),
            ("measurement", expected.measurement.is_some()),
        ] {
            if is_given {
                return Err(AppraisalError::OfRawEvidence { field });
            }
        }
        let freshness = match &expected.nonce {
            None => Freshness::Passport,
            Some(nonce) => Freshness::Nonce(fixed("nonce", nonce)?),
        };
        let mut report = report.clone();
        let beside = pile.sorted.endorsements.iter().map(|given| Endorsement {
            kind: given.kind.words().to_owned(),
            data: given.bytes.clone(),
        });
        report.attestation.evidence.endorsements.extend(beside);
        Ok(appraise_report(&report, &self.anchors, &self.policy, freshness, self.at))
    }
}

impl Expected {
    fn read(&self) -> Result<Expectations, AppraisalError> {
        let report_data = hex("report data", &self.report_data)?;
        let report_data = report_data.map(|bytes| {
            let too_long = AppraisalError::TooLong { field: "report data", got_bytes: bytes.len() };
            padded(&bytes).ok_or(too_long)
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

/// Exactly as many bytes as a field has.
fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], AppraisalError> {
    let wrong = AppraisalError::Length { field, expected_bytes: N, got_bytes: bytes.len() };
    bytes.try_into().map_err(|_| wrong)
}
