//! AMD SEV-SNP: reports of versions 2 to 5 from Milan, Genoa and Turin, under VCEK or VLEK.
//!
//! A report behind Azure's paravisor is judged in [`azure`](super::azure), which asks here about
//! the CPU. [`launch`] recomputes launch digests from image inputs.

pub(crate) mod chain;
mod checks;
mod claims;
pub mod launch;
mod leaf;
pub mod product;
pub mod report;
pub mod roots;
pub mod tcb;

pub use claims::SnpClaims;
pub use leaf::Leaf;

use bulla_wire::units::UnixSeconds;

use self::chain::Chain;
use self::checks::Case;
use self::report::Report;
use super::TeeKind;
use crate::anchor::{Domain, TrustAnchors};
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// Appraises one raw report at the instant `now`. The result never yields keys: nothing is bound
/// to the report here.
pub fn appraise_raw(
    report: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let tee_type = checks::tee_type(policy);
    let expected = "a report of 1184 bytes, version 2 to 5";
    let report = match Report::parse(report) {
        Ok(report) => report,
        Err(error) => {
            let format = Check::judge(CheckName::ReportFormat, false, expected, error.to_string());
            return AttestationResult::new(TeeKind::Snp, policy, now, vec![tee_type, format]);
        }
    };
    let got = format!("version {}", report.version);
    let format = Check::judge(CheckName::ReportFormat, true, expected, got);
    let anchors = anchors.about(Domain::Amd);
    let Some(rules) = policy.snp() else {
        return AttestationResult::new(TeeKind::Snp, policy, now, vec![tee_type, format]);
    };
    let chain = Chain::find(&report, endorsements, &anchors);
    // A date past the year 292 billion is past every certificate.
    let now_seconds = i64::try_from(now.0).unwrap_or(i64::MAX);
    let case = Case {
        report: &report,
        chain: &chain,
        endorsements,
        policy,
        rules,
        expectations,
        crls: checks::crls(&chain, endorsements),
        now: now_seconds,
    };
    let mut all = vec![tee_type, format];
    all.extend(checks::all(&case));
    let product = case.line().map(|line| line.to_string());
    let claims = Claims::Snp(Box::new(SnpClaims::of(&report, case.line())));
    AttestationResult::new(TeeKind::Snp, policy, now, all).about(
        product,
        chain.is_simulated(),
        claims,
    )
}
