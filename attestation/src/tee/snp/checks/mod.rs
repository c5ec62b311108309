//! The checks on SEV-SNP evidence: one function each, in the order they are reported.

mod certificates;
mod guest;
mod platform;
mod revocation;
mod signature;

use super::chain::Chain;
use super::product::ProductLine;
use super::report::Report;
use crate::endorsement::{Crl, Endorsements};
use crate::policy::{Policy, SnpPolicy};
use crate::raw::Expectations;
use crate::result::Check;
use crate::tee::TeeKind;

/// What the checks look at.
pub(super) struct Case<'a> {
    pub report: &'a Report,
    pub chain: &'a Chain<'a>,
    pub endorsements: &'a Endorsements,
    pub policy: &'a Policy,
    /// Its section for SEV-SNP.
    pub rules: &'a SnpPolicy,
    pub expectations: &'a Expectations,
    /// Revocation lists that carry the name of this chain's root, and whether it signed them.
    pub crls: Vec<(&'a Crl, bool)>,
    /// Seconds since 1970, the instant the evidence is judged at.
    pub now: i64,
}

impl Case<'_> {
    /// The product line: as the report says since version 3, before that as the chain says.
    pub fn line(&self) -> Option<ProductLine> {
        match self.report.cpu {
            Some(cpu) => cpu.line(),
            None => self.chain.line(),
        }
    }
}

/// The revocation lists about this chain, each verified once.
pub(super) fn crls<'a>(chain: &Chain<'a>, endorsements: &'a Endorsements) -> Vec<(&'a Crl, bool)> {
    revocation::lists(chain, endorsements)
}

/// Got-text for what depends on a missing piece.
const NO_LEAF: &str = "no VCEK or VLEK certificate";
const NO_INTERMEDIATE: &str = "no ASK or ASVK certificate";
const NO_ROOT: &str = "no root certificate";

/// Every check on a report that parsed.
pub(super) fn all(case: &Case<'_>) -> Vec<Check> {
    let evidence: [fn(&Case<'_>) -> Check; 15] = [
        signature::algorithm,
        signature::signing_key,
        signature::report_signature,
        certificates::leaf_signature,
        certificates::intermediate_signature,
        certificates::root_pinned,
        certificates::names,
        certificates::dates,
        certificates::constraints,
        revocation::crl_signature,
        revocation::revocation,
        platform::product_line,
        platform::hardware_id,
        platform::tcb_in_certificate,
        guest::debug,
    ];
    let policy: [fn(&Case<'_>) -> Check; 20] = [
        certificates::simulated_root,
        revocation::revocation_known,
        platform::report_version,
        signature::signing_key_allowed,
        platform::product_allowed,
        platform::product_banned,
        guest::migration_agent,
        guest::smt,
        guest::single_socket,
        guest::vmpl,
        platform::alias_check_complete,
        platform::minimum_reported_tcb,
        platform::minimum_launch_tcb,
        platform::minimum_committed_tcb,
        platform::minimum_current_tcb,
        platform::tcb_order,
        guest::measurement,
        guest::host_data,
        platform::chip_id_masked,
        platform::chip_id_pinned,
    ];
    let mut checks: Vec<Check> = evidence.iter().chain(&policy).map(|check| check(case)).collect();
    checks.extend(guest::report_data(case));
    checks
}

/// Whether the policy takes this TEE at all.
pub(super) fn tee_type(policy: &Policy) -> Check {
    use crate::result::CheckName::TeeType;
    let takes = policy.allows_tee(TeeKind::Snp);
    Check::judge(TeeType, takes, "a TEE the policy lists", TeeKind::Snp.to_string())
}
