//! Hygon CSV: attestation reports under SM2 and SM3.
//!
//! The chain is HRK (Hygon's root, pinned by its bytes) → HSK → CEK (the chip) → PEK (its firmware)
//! → report. The PEK travels inside the report; HSK and CEK come in the evidence document or as
//! endorsements (the `hsk_cek.cert` that Hygon's service hands out for a chip). None of Hygon's
//! certificates has dates, and no revocation list is published, so neither is asked.
//!
//! Known from public sources only ([`certificate`], [`report`] name them), and held against one
//! real report: its own signature verifies, its chain above the PEK was not published with it.
//! Replaying an event log against the registers of version 2 is left out.

pub mod certificate;
mod chain;
mod checks;
mod claims;
mod document;
pub mod report;
mod sm2;

pub use claims::CsvClaims;
pub use document::{EvidenceError, MAX_DOCUMENT_BYTES};

use bulla_wire::units::UnixSeconds;

use self::certificate::HygonCertificate;
use self::chain::Chain;
use self::checks::Case;
use self::document::Evidence;
use super::TeeKind;
use crate::anchor::{Domain, TrustAnchor, TrustAnchors};
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// Hygon's root certificate.
const HRK: &[u8] = include_bytes!("roots/hrk.cert");

/// The vendor's roots as trust anchors: hardware, not simulated.
pub fn hygon_anchors() -> Vec<TrustAnchor> {
    vec![TrustAnchor::vendor_bytes(Domain::Hygon, "Hygon HRK", HRK)]
}

/// Appraises raw evidence at the instant `now`: the JSON document of a guest agent, or the report
/// alone. The result never yields keys.
pub fn appraise_raw(
    evidence: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let kind = TeeKind::Csv;
    let takes = policy.allows_tee(kind);
    let tee_type = Check::judge(CheckName::TeeType, takes, "a TEE the policy lists", kind.name());
    let expected = "a report of one page with a PEK certificate inside";
    let evidence = match Evidence::read(evidence) {
        Ok(evidence) => evidence,
        Err(error) => {
            let format = Check::judge(CheckName::ReportFormat, false, expected, error.to_string());
            return AttestationResult::new(kind, policy, now, vec![tee_type, format]);
        }
    };
    let report = &evidence.report;
    let got = format!("version {}", report.version);
    let format = Check::judge(CheckName::ReportFormat, true, expected, got);
    let Some(rules) = policy.csv() else {
        return AttestationResult::new(kind, policy, now, vec![tee_type, format]);
    };
    let anchors = anchors.about(Domain::Hygon);
    let given: Vec<&HygonCertificate> =
        evidence.certificates.iter().chain(&endorsements.hygon).collect();
    let chain = Chain::find(&report.pek, &given, &anchors);
    let case = Case { report, chain: &chain, policy, rules, expectations };
    let mut checks = vec![tee_type, format];
    checks.extend(checks::all(&case));
    let product = Some(report.policy.generation().name().to_owned());
    let claims = Claims::Csv(Box::new(CsvClaims::of(report, &chain)));
    AttestationResult::new(kind, policy, now, checks).about(product, chain.is_simulated(), claims)
}
