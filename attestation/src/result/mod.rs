//! The Attestation Result (RFC 9334): one line per check, and a verdict that follows from them.
//!
//! A check says `pass`, `fail`, `unknown` or `not_required`. The evidence is affirmed when no
//! check failed. `unknown` is what evidence leaves open and the policy lets stay open: where the
//! policy requires an answer, its absence is a `fail` of the check that requires it, so a refusal
//! always names at least one failed check.
//!
//! Each check is about the *evidence* (is it genuine?), the *policy* (is it good enough?) or the
//! *binding* (do these keys belong to it?), so that "forged" and "refused by policy" stay apart.

mod names;

pub use names::CheckName;

use serde::Serialize;

use bulla_wire::ids::Digest;
use bulla_wire::units::UnixSeconds;

use crate::keys::AttestedKeys;
use crate::policy::{self, Policy, Purpose, RegoModule};
use crate::tee::TeeKind;
use crate::tee::azure::AzureClaims;
use crate::tee::csv::CsvClaims;
use crate::tee::nvidia::NvidiaClaims;
use crate::tee::snp::SnpClaims;
use crate::tee::tdx::TdxClaims;
use crate::tee::vtpm::VtpmClaims;

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// As expected.
    Pass,
    /// Not as expected: the evidence is refused.
    Fail,
    /// Nothing given that would tell, and the policy does not insist.
    Unknown,
    /// The policy does not ask.
    NotRequired,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Whether the evidence is genuine.
    Evidence,
    /// Whether genuine evidence is good enough for this relying party.
    Policy,
    /// Whether the keys presented with the evidence are the ones it speaks for.
    Binding,
}

impl std::fmt::Display for CheckName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for CheckName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// One line of the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which check.
    pub name: CheckName,
    /// What it found.
    pub result: CheckResult,
    /// What it is about.
    pub about: About,
    /// What would pass.
    pub expected: String,
    /// What was there.
    pub got: String,
}

impl Check {
    /// Pass or fail.
    pub(crate) fn judge(
        name: CheckName,
        passes: bool,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Check {
        let result = if passes { CheckResult::Pass } else { CheckResult::Fail };
        Check::new(name, result, expected, got)
    }

    /// Left open by the evidence, and the policy does not insist.
    pub(crate) fn unknown(
        name: CheckName,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Check {
        Check::new(name, CheckResult::Unknown, expected, got)
    }

    /// Not asked by the policy; `got` is still shown.
    pub(crate) fn not_required(name: CheckName, got: impl Into<String>) -> Check {
        Check::new(name, CheckResult::NotRequired, "not asked", got)
    }

    fn new(
        name: CheckName,
        result: CheckResult,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Check {
        Check { name, result, about: name.about(), expected: expected.into(), got: got.into() }
    }
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No check failed.
    Affirmed,
    /// At least one check failed.
    Refused,
}

/// The policy a verdict was reached under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyReference {
    /// The name the policy gives itself.
    pub name: String,
    /// Labelled digest of its text.
    pub digest: Digest,
    /// The manifests its measurements were taken from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestInForce>,
    /// The Rego modules it names, with their digests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rego: Vec<RegoModule>,
}

/// A manifest a verdict was reached with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestInForce {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its canonical form.
    pub digest: Digest,
}

impl PolicyReference {
    fn to(policy: &Policy) -> PolicyReference {
        let in_force = policy.manifests().genuine().map(|manifest| ManifestInForce {
            name: manifest.body().name.clone(),
            version: manifest.body().version,
            digest: manifest.digest(),
        });
        PolicyReference {
            name: policy.name().to_owned(),
            digest: policy.digest(),
            manifests: in_force.collect(),
            rego: policy.rego().modules.clone(),
        }
    }
}

/// What genuine evidence says; meaningless where the verdict is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Claims {
    /// AMD SEV-SNP.
    Snp(Box<SnpClaims>),
    /// Intel TDX.
    Tdx(Box<TdxClaims>),
    /// NVIDIA GPUs and switches.
    Nvidia(Box<NvidiaClaims>),
    /// An Azure confidential VM.
    Azure(Box<AzureClaims>),
    /// Hygon CSV.
    Csv(Box<CsvClaims>),
    /// A TPM without a TEE.
    Vtpm(Box<VtpmClaims>),
}

/// The outcome of one appraisal. Only [`appraise`](crate::appraise::appraise) and the raw
/// appraisals of [`tee`](crate::tee) make one, and nobody can change it afterwards.
#[derive(Debug, Clone, Serialize)]
pub struct AttestationResult {
    verdict: Verdict,
    tee: TeeKind,
    product: Option<String>,
    simulated: bool,
    policy: PolicyReference,
    appraised_at: UnixSeconds,
    checks: Vec<Check>,
    claims: Option<Claims>,
    #[serde(skip)]
    purpose: Purpose,
    #[serde(skip)]
    keys: Option<AttestedKeys>,
}

/// Evidence that yields no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Checks failed.
    #[error("evidence refused under policy {policy:?}: {}", list(.failed))]
    FailedChecks {
        /// Name of the policy.
        policy: String,
        /// The failed checks.
        failed: Vec<Check>,
    },
    /// The policy judges evidence only: it says nothing of whose workload it is.
    #[error(
        "policy {policy:?} judges evidence, not workloads: name a policy that lists measurements"
    )]
    PolicyGrantsNoKeys {
        /// Name of the policy.
        policy: String,
    },
    /// Raw evidence was appraised, without a keyset beside it.
    #[error("raw evidence carries no keyset: appraise an attestation report instead")]
    NoKeyset,
}

fn list(failed: &[Check]) -> String {
    let lines = failed
        .iter()
        .map(|check| format!("{} (expected {}, got {})", check.name, check.expected, check.got));
    lines.collect::<Vec<_>>().join("; ")
}

impl AttestationResult {
    pub(crate) fn new(
        tee: TeeKind,
        policy: &Policy,
        now: UnixSeconds,
        mut checks: Vec<Check>,
    ) -> AttestationResult {
        checks.extend(policy::pending(policy));
        let mut result = AttestationResult {
            verdict: Verdict::Refused,
            tee,
            product: None,
            simulated: false,
            policy: PolicyReference::to(policy),
            appraised_at: now,
            checks,
            claims: None,
            purpose: policy.purpose(),
            keys: None,
        };
        result.conclude();
        result
    }

    pub(crate) fn about(
        mut self,
        product: Option<String>,
        simulated: bool,
        claims: Claims,
    ) -> AttestationResult {
        self.product = product;
        self.simulated = simulated;
        self.claims = Some(claims);
        self
    }

    /// Adds `checks` and, should everything hold, the keys they bind.
    pub(crate) fn and(
        mut self,
        checks: Vec<Check>,
        keys: Option<AttestedKeys>,
    ) -> AttestationResult {
        self.checks.extend(checks);
        self.keys = keys;
        self.conclude();
        self
    }

    /// Puts `check` in the place of every check of its name.
    pub(crate) fn replace(&mut self, check: Check) {
        self.checks.retain(|other| other.name != check.name);
        self.checks.push(check);
        self.conclude();
    }

    /// Marks it as simulated, where it was not before.
    pub(crate) fn simulated_if(mut self, is_simulated: bool) -> AttestationResult {
        self.simulated |= is_simulated;
        self
    }

    fn conclude(&mut self) {
        let refused = self.checks.is_empty() || self.failed().next().is_some();
        self.verdict = if refused { Verdict::Refused } else { Verdict::Affirmed };
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the verdict is [`Verdict::Affirmed`].
    pub fn is_affirmed(&self) -> bool {
        self.verdict == Verdict::Affirmed
    }

    /// Which kind of TEE.
    pub fn tee(&self) -> TeeKind {
        self.tee
    }

    /// The product, as the vendor's line is called; `None` where the evidence did not tell.
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// Whether the evidence comes from a simulated TEE: no hardware protects anything.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// The policy it was judged under.
    pub fn policy(&self) -> &PolicyReference {
        &self.policy
    }

    /// What the policy is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// When it was judged, as the caller said.
    pub fn appraised_at(&self) -> UnixSeconds {
        self.appraised_at
    }

    /// Every check that ran, in order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The check called `name`, if it ran.
    pub fn check(&self, name: CheckName) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.result == CheckResult::Fail)
    }

    /// Whether the evidence is genuine, whatever the policy thinks of it: no check about the
    /// evidence itself failed.
    pub fn is_genuine(&self) -> bool {
        !self.checks.is_empty() && !self.failed().any(|check| check.about == About::Evidence)
    }

    /// What the evidence says; `None` where it did not even parse.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// The attested keys: the only way to obtain any.
    pub fn into_keys(self) -> Result<AttestedKeys, Refused> {
        if !self.is_affirmed() {
            let failed = self.failed().cloned().collect();
            return Err(Refused::FailedChecks { policy: self.policy.name, failed });
        }
        match (self.purpose, self.keys) {
            (Purpose::Evidence, _) => Err(Refused::PolicyGrantsNoKeys { policy: self.policy.name }),
            (Purpose::Workload, Some(keys)) => Ok(keys),
            (Purpose::Workload, None) => Err(Refused::NoKeyset),
        }
    }
}

impl std::fmt::Display for AttestationResult {
    /// A table for people: the verdict, then a line per check.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.verdict {
            Verdict::Affirmed => "AFFIRMED",
            Verdict::Refused => "REFUSED",
        };
        let product = self.product.as_deref().unwrap_or("unknown product");
        write!(f, "{verdict}  {} {product}  policy {}", self.tee, self.policy.name)?;
        if self.simulated {
            write!(f, "  SIMULATED: no hardware protects anything")?;
        }
        writeln!(f)?;
        for check in &self.checks {
            let mark = match check.result {
                CheckResult::Pass => "pass",
                CheckResult::Fail => "FAIL",
                CheckResult::Unknown => "unknown",
                CheckResult::NotRequired => "-",
            };
            write!(f, "  {mark:<8}{:<25}{}", check.name, check.got)?;
            if check.result == CheckResult::Fail || check.result == CheckResult::Unknown {
                write!(f, "  (expected {})", check.expected)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
