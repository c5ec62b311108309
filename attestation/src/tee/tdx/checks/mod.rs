//! The checks on TDX evidence: one function each, in the order they are reported.

mod certificates;
mod collateral;
mod revocation;
mod signatures;
mod td;

pub(super) use collateral::{NotEvaluated, evaluation, signer_fault};
pub(super) use revocation::RevocationLists;
pub(super) use signatures::quote_is_signed;

use super::Material;
use super::quote::Quote;
use super::tcb::Evaluation;
use crate::policy::{Policy, TdxPolicy};
use crate::raw::Expectations;
use crate::result::{Check, CheckName};
use crate::tee::TeeKind;

/// What the checks look at.
pub(super) struct Case<'a> {
    pub quote: &'a Quote<'a>,
    pub material: &'a Material<'a>,
    /// What the collateral makes of this platform.
    pub evaluation: Result<Evaluation, NotEvaluated>,
    pub policy: &'a Policy,
    /// Its section for TDX.
    pub rules: &'a TdxPolicy,
    pub expectations: &'a Expectations,
    /// Seconds since 1970, the instant the evidence is judged at.
    pub now: i64,
}

/// Got-text for what depends on a missing piece.
const NO_LEAF: &str = "no PCK certificate in the quote or among the endorsements";

/// Every check on a quote that parsed.
pub(super) fn all(case: &Case<'_>) -> Vec<Check> {
    let evidence: [fn(&Case<'_>) -> Check; 21] = [
        signatures::algorithm,
        signatures::qe_vendor,
        signatures::report_signature,
        signatures::attestation_key,
        signatures::signing_key,
        signatures::qe_report_signature,
        certificates::leaf_signature,
        certificates::intermediate_signature,
        certificates::root_pinned,
        certificates::names,
        certificates::dates,
        certificates::constraints,
        certificates::platform,
        revocation::crl_signature,
        revocation::revocation,
        collateral::collateral_signature,
        collateral::collateral_signer,
        collateral::qe_identity,
        collateral::tdx_module,
        td::debug,
        td::event_log,
    ];
    let policy: [fn(&Case<'_>) -> Check; 21] = [
        certificates::simulated_root,
        revocation::revocation_known,
        td::quote_version,
        collateral::tcb_level,
        collateral::tcb_status,
        collateral::evaluation_number,
        collateral::advisories,
        collateral::collateral_age,
        td::sept_ve_disable,
        td::profiling,
        td::migration,
        td::service_td,
        td::measurement,
        td::rtmr0,
        td::rtmr1,
        td::rtmr2,
        td::rtmr3,
        td::mrseam,
        td::mrconfigid,
        td::mrowner,
        td::mrownerconfig,
    ];
    let mut checks: Vec<Check> = evidence.iter().chain(&policy).map(|check| check(case)).collect();
    checks.push(td::chip_id(case));
    checks.extend(td::report_data(case));
    checks
}

/// Whether the policy takes this TEE at all.
pub(super) fn tee_type(policy: &Policy) -> Check {
    let takes = policy.allows_tee(TeeKind::Tdx);
    Check::judge(CheckName::TeeType, takes, "a TEE the policy lists", TeeKind::Tdx.to_string())
}
