//! Azure confidential VMs: SEV-SNP or TDX behind Microsoft's paravisor.
//!
//! The guest never speaks to the hardware. At the highest privilege level runs the paravisor (HCL,
//! OpenHCL), which keeps a vTPM and has the hardware sign a digest of its *runtime data*: the
//! vTPM's keys, the VM's configuration and 64 bytes the guest wrote. Evidence is that report, and a
//! quote the vTPM signed with the key it names. Judged here, each by its own check:
//!
//! 1. report and runtime data are well-formed ([`hcl`]), and the hardware signed their digest;
//! 2. the hardware's report was asked for by the paravisor (VMPL 0), or is a TD report that was
//!    quoted; it is then appraised as any other SNP report or TD quote, in the same verdict, under
//!    the policy's section for that CPU;
//! 3. the vTPM's quote is one ([`tpm`](crate::tee::tpm)), signed by the key in the runtime data, over the register
//!    values given beside it;
//! 4. the `[azure]` section of the policy.
//!
//! What a caller may expect: `nonce` is the quote's extra data; `report_data` is the user data in
//! the runtime data, or the hardware's own report data; `measurement` is the hardware's, which
//! measures the paravisor. What the guest booted is in the registers, not in the measurement.
//!
//! That the paravisor is Microsoft's follows from its measurement, or from the key that signed its
//! ID block: a policy that lists neither takes the word of whoever launched the VM.
//!
//! Left out, visibly: certificates of the attestation key (the runtime data vouches for it), banks
//! of registers other than SHA-256, and replaying the boot's event log against the registers.

mod checks;
mod claims;
mod evidence;
pub mod hcl;
mod runtime;
mod td_report;

pub use claims::{AzureClaims, CpuClaims};
pub use evidence::{EvidenceError, MAX_DOCUMENT_BYTES, kind_of};
pub use runtime::RuntimeDataError;

use bulla_wire::units::UnixSeconds;

use self::checks::Case;
use self::evidence::Evidence;
use self::hcl::{HARDWARE_REPORT_BYTES, Hcl};
use self::runtime::RuntimeData;
use super::snp::report::Report;
use super::{TeeKind, snp, tdx};
use crate::anchor::TrustAnchors;
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};
use crate::tee::tpm::Quote;

/// Appraises raw evidence at the instant `now`: the JSON document of a guest agent, or the
/// paravisor's report alone. `kind` is [`TeeKind::AzureSnp`] or [`TeeKind::AzureTdx`]. The result
/// never yields keys.
pub fn appraise_raw(
    kind: TeeKind,
    evidence: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let takes = policy.allows_tee(kind);
    let tee_type = Check::judge(CheckName::TeeType, takes, "a TEE the policy lists", kind.name());
    let expected = "a paravisor's report (HCLA), alone or in a JSON document";
    let malformed = |got: String| {
        let format = Check::judge(CheckName::HclFormat, false, expected, got);
        AttestationResult::new(kind, policy, now, vec![tee_type.clone(), format])
    };
    let evidence = match Evidence::read(evidence) {
        Ok(evidence) => evidence,
        Err(error) => return malformed(error.to_string()),
    };
    let hcl = match Hcl::parse(&evidence.hcl) {
        Ok(hcl) => hcl,
        Err(error) => return malformed(error.to_string()),
    };
    let got = format!("{} bytes of runtime data", hcl.runtime_data.len());
    let format = Check::judge(CheckName::HclFormat, true, expected, got);
    let Some(rules) = policy.azure() else {
        return AttestationResult::new(kind, policy, now, vec![tee_type, format]);
    };
    let mut runtime = RuntimeData::parse(hcl.runtime_data);
    if let Ok(data) = &mut runtime {
        data.attestation_key.remember_in(&endorsements.memory);
    }
    let case = Case {
        kind,
        evidence: &evidence,
        hcl: &hcl,
        runtime,
        parsed_quote: evidence.quote.as_ref().map(|quote| Quote::parse(&quote.message)),
        snp: snp_report(&hcl).and_then(|report| Report::parse(report).ok()),
        rules,
        expectations,
    };
    let inner = Inner { endorsements, anchors, policy, expectations, now };
    let cpu = inner.appraise(&evidence, &hcl);
    let mut checks = vec![tee_type, format];
    checks.extend(checks::all(&case));
    let Some(cpu) = cpu else {
        return AttestationResult::new(kind, policy, now, checks);
    };
    // A report or quote that does not even read has one check, and that one counts.
    let is_read = cpu.claims().is_some();
    let counts = |check: &&Check| !is_read || !is_ours(check.name);
    checks.extend(cpu.checks().iter().filter(counts).cloned());
    let result = AttestationResult::new(kind, policy, now, checks);
    let product = cpu.product().map(str::to_owned);
    match cpu.claims().cloned().and_then(CpuClaims::of) {
        Some(claims) => {
            let claims = Claims::Azure(Box::new(AzureClaims::of(&case, claims)));
            result.about(product, cpu.is_simulated(), claims)
        }
        None => result,
    }
}

/// The SNP report inside, where the report is about SNP.
fn snp_report<'a>(hcl: &Hcl<'a>) -> Option<&'a [u8]> {
    (hcl.kind == TeeKind::AzureSnp).then_some(hcl.hardware_report.get(..HARDWARE_REPORT_BYTES)?)
}

/// Checks that are made for the VM as a whole, and not for the CPU inside.
fn is_ours(name: CheckName) -> bool {
    matches!(name, CheckName::TeeType | CheckName::ReportData | CheckName::Nonce)
}

/// Everything the appraisal of the CPU inside needs.
struct Inner<'a> {
    endorsements: &'a Endorsements,
    anchors: &'a TrustAnchors,
    policy: &'a Policy,
    expectations: &'a Expectations,
    now: UnixSeconds,
}

impl Inner<'_> {
    /// `None` where there is nothing to appraise: a TD report without a quote.
    fn appraise(&self, evidence: &Evidence, hcl: &Hcl<'_>) -> Option<AttestationResult> {
        let Inner { anchors, policy, now, .. } = *self;
        let endorsements = self.with_those_inside(evidence);
        let measurement = self.expectations.measurement.clone();
        let expectations = Expectations { measurement, ..Expectations::default() };
        match (snp_report(hcl), &evidence.td_quote) {
            (Some(report), _) => {
                Some(snp::appraise_raw(report, &endorsements, anchors, policy, &expectations, now))
            }
            (None, Some(quote)) => {
                Some(tdx::appraise_raw(quote, &endorsements, anchors, policy, &expectations, now))
            }
            (None, None) => None,
        }
    }

    /// The endorsements given, and those that travel inside the evidence.
    fn with_those_inside(&self, evidence: &Evidence) -> Endorsements {
        let mut all = self.endorsements.clone();
        let mut inside = Endorsements::sort(evidence.certificates.as_deref());
        inside.remember_in(&all.memory);
        for certificate in inside.certificates {
            if !all.certificates.contains(&certificate) {
                all.certificates.push(certificate);
            }
        }
        all
    }
}
