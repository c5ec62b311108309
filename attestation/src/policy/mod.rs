//! Appraisal policies (RFC 9334): typed TOML that a security officer can read and sign off.
//!
//! A policy says everything: a key left out is an error, an unknown key is an error, an empty
//! list accepts nothing, and "do not ask" has to be written as `"any"` or `"not_required"`.
//! The digest of the text stands in every verdict.

mod accelerators;
mod accept;
mod azure;
mod csv;
mod finish;
mod limit;
mod nvidia;
mod reference_values;
mod rego;
mod sealing;
mod snp;
mod tdx;
mod vtpm;
mod witnesses;

pub use accelerators::{AcceleratorClaim, AcceleratorClass, AcceleratorRule, Standing};
pub use accept::Accept;
pub use azure::{AzurePolicy, PcrRule};
pub use csv::CsvPolicy;
pub(crate) use finish::{finish, pending};
pub use limit::Limit;
pub use nvidia::{NvidiaPolicy, VersionFloor};
pub use reference_values::{ManifestReference, ReferenceRule};
pub use rego::{MAX_MODULE_BYTES, RegoModule, RegoRule};
pub use sealing::{KemFloor, SealingRule};
pub use snp::{Ban, SigningKeyKind, SnpPolicy, TcbFloor};
pub use tdx::TdxPolicy;
pub use vtpm::VtpmPolicy;
pub use witnesses::{Logged, WitnessRule};

use serde::Deserialize;

use bulla_wire::ids::Digest;

use crate::hash::sha256;
use crate::reference::{ReferenceDocuments, ReferenceValues};
use crate::tee::TeeKind;

/// Largest policy text in bytes (ours; the shipped ones are under 8 KiB, chip-id lists grow).
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;
/// Longest keyset life a policy may allow, in seconds: one week. aci/1 §3.1 wants implausibly
/// distant ends refused, and a stolen key works until its keyset ends.
pub const MAX_KEYSET_LIFE_SECONDS: u64 = 7 * 24 * 3600;

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too long.
    #[error("a policy is at most {MAX_POLICY_BYTES} bytes, got {got_bytes}")]
    TooLarge {
        /// Bytes given.
        got_bytes: usize,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong kind.
    #[error("policy does not read: {reason}")]
    Syntax {
        /// What the reader says, with line and column.
        reason: String,
    },
    /// A workload policy on real hardware that would take any workload.
    #[error(
        "a workload policy must list measurements (for Azure pcrs): only one with allow_simulated = true, or with purpose = \"evidence\", may say \"any\""
    )]
    AnyMeasurement,
    /// A TPM without a TEE, in a policy that wants hardware.
    #[error(
        "tees lists vtpm-dev, which is no hardware: allow_simulated must be true, and this policy one for development"
    )]
    NoHardware,
    /// A keyset life beyond reason.
    #[error("keyset.maximum_life_seconds must be 1 to {MAX_KEYSET_LIFE_SECONDS}, got {got}")]
    KeysetLife {
        /// Seconds found.
        got: u64,
    },
    /// A product both allowed and banned.
    #[error("product {product} is both in snp.products and in snp.banned_products")]
    AllowedAndBanned {
        /// Which.
        product: String,
    },
    /// A TEE is listed without the section that says what to ask of it.
    #[error("tees lists {tee}, so the policy must have a section [{section}]")]
    MissingSection {
        /// The TEE.
        tee: TeeKind,
        /// The section it needs.
        section: &'static str,
    },
    /// A quorum that cannot be met, or one witness named twice.
    #[error("witnesses: {reason}")]
    Witnesses {
        /// What is wrong.
        reason: String,
    },
    /// Manifests named twice, or without files.
    #[error("reference_values.manifests: {reason}")]
    ReferenceValues {
        /// What is wrong.
        reason: String,
    },
    /// A file name that leads out of the policy's folder.
    #[error("{file:?} must name a file beside the policy or in a folder below it")]
    FileName {
        /// The name, cut to 80 characters.
        file: String,
    },
    /// Rego modules in a build that has no Rego.
    #[error(
        "rego.modules names modules, but this build evaluates no Rego: build with the feature `rego`"
    )]
    RegoNotBuilt,
    /// Too many Rego modules.
    #[error("rego.modules names {got} modules, too many")]
    TooManyModules {
        /// How many.
        got: usize,
    },
    /// Two floors for one generation: which one counts would be a guess.
    #[error("two nvidia.floor entries for architecture {architecture}")]
    RepeatedVersionFloor {
        /// Which.
        architecture: String,
    },
    /// Two floors for one part: which one counts would be a guess.
    #[error("two snp.floor entries for part {part}")]
    RepeatedFloor {
        /// Which.
        part: String,
    },
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Deciding whom to talk to: yields keys.
    Workload,
    /// Judging whether evidence is genuine, whosever it is: never yields keys.
    Evidence,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Its absence is a failure.
    Required,
    /// It is not asked for.
    NotRequired,
}

/// Whether something may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// Its presence is a failure.
    Refused,
    /// It may be.
    Allowed,
}

/// How fresh evidence must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshnessRule {
    /// Whether evidence must answer the verifier's own nonce. Without, a passport is taken too,
    /// and its age is bounded only by [`KeysetRule::maximum_life_seconds`].
    pub nonce: Demand,
    /// Greatest age of evidence that answers no nonce of ours, in seconds. Only a witnessed log
    /// tells an age ([`Logged`]); where none is shown and a maximum is set, the evidence is
    /// refused.
    pub maximum_age_seconds: Limit,
}

/// What the keyset must look like.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysetRule {
    /// Longest time from now to `not_after`, in seconds. Neither report nor keyset says when it
    /// was made, so this bounds how long an accepted passport can be replayed, not how old it is:
    /// an enclave that signs longer-lived keysets is refused until their last stretch, and
    /// "not older than" is what the logged epoch-open record adds.
    pub maximum_life_seconds: u64,
    /// Whether the keyset's subject must name the chip the report names.
    pub chip_id_in_subject: Demand,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    description: String,
    purpose: Purpose,
    allow_simulated: bool,
    tees: Vec<TeeKind>,
    freshness: FreshnessRule,
    keyset: KeysetRule,
    sealing: SealingRule,
    accelerators: AcceleratorRule,
    witnesses: WitnessRule,
    reference_values: ReferenceRule,
    rego: RegoRule,
    snp: Option<SnpPolicy>,
    tdx: Option<TdxPolicy>,
    nvidia: Option<NvidiaPolicy>,
    azure: Option<AzurePolicy>,
    csv: Option<CsvPolicy>,
    #[serde(rename = "vtpm-dev")]
    vtpm_dev: Option<VtpmPolicy>,
}

/// A policy, read and found consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    document: Document,
    digest: Digest,
    /// What was given beside the text.
    beside: Beside,
}

/// What a policy names and does not hold: nothing is there until it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Beside {
    manifests: ReferenceValues,
    modules: Vec<(RegoModule, String)>,
}

impl Policy {
    /// Reads a policy from its TOML text.
    pub fn from_toml(text: &str) -> Result<Policy, PolicyError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge { got_bytes: text.len() });
        }
        let document: Document = toml::from_str(text)
            .map_err(|error| PolicyError::Syntax { reason: error.to_string() })?;
        document.check()?;
        Ok(Policy { document, digest: digest_of(text), beside: Beside::default() })
    }

    /// The policy with every file it names, read by the caller from the policy's own folder. The
    /// names lead nowhere else.
    pub fn complete<E>(self, read: impl Fn(&str) -> Result<Vec<u8>, E>) -> Result<Policy, E> {
        let mut documents = ReferenceDocuments::none();
        for file in self.reference_values().manifests.iter().flat_map(|named| &named.files) {
            documents.add(file, &read(file)?);
        }
        let mut modules = Vec::new();
        for RegoModule { file, .. } in &self.rego().modules {
            // What is not text has another digest than the one named.
            let text = String::from_utf8_lossy(&read(file)?).into_owned();
            modules.push((file.clone(), text));
        }
        Ok(self.with_reference_values(&documents).with_rego(&modules))
    }

    /// The policy with the manifests it names: their measurements are taken beside those it lists
    /// itself. A manifest that is missing, forged or too old is refused at every appraisal, in the
    /// check `reference_values`.
    pub fn with_reference_values(mut self, documents: &ReferenceDocuments) -> Policy {
        let named = &self.document.reference_values.manifests;
        let values = ReferenceValues::resolve(named, documents);
        let measured = values.measured();
        if let Some(snp) = &mut self.document.snp {
            snp.measurements.extend(measured.snp);
        }
        if let Some(tdx) = &mut self.document.tdx {
            tdx.measurements.extend(measured.mrtds);
            let registers = [&mut tdx.rtmr0, &mut tdx.rtmr1, &mut tdx.rtmr2, &mut tdx.rtmr3];
            for (accepted, listed) in registers.into_iter().zip(measured.rtmrs) {
                accepted.extend(listed);
            }
        }
        if let Some(csv) = &mut self.document.csv {
            csv.measurements.extend(measured.csv);
        }
        self.beside.manifests = values;
        self
    }

    /// The policy with the Rego modules it names, as `(file, text)`. Texts that it does not name,
    /// by file and digest, are left aside; one that is missing refuses at every appraisal, in the
    /// check `rego`.
    pub fn with_rego(mut self, texts: &[(String, String)]) -> Policy {
        let named = self.document.rego.modules.iter().filter_map(|module| {
            let is_it = |(file, text): &&(String, String)| {
                *file == module.file && sha256(text.as_bytes()) == module.sha256
            };
            let (_, text) = texts.iter().find(is_it)?;
            Some((module.clone(), text.clone()))
        });
        self.beside.modules = named.collect();
        self
    }

    /// The name the policy gives itself.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// Labelled digest of its text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.document.purpose
    }

    /// Whether evidence under a simulated root is taken; the root must be named besides.
    pub fn allows_simulated(&self) -> bool {
        self.document.allow_simulated
    }

    /// Whether it takes this kind of TEE.
    pub fn allows_tee(&self, kind: TeeKind) -> bool {
        self.document.tees.contains(&kind)
    }

    /// How fresh evidence must be.
    pub fn freshness(&self) -> &FreshnessRule {
        &self.document.freshness
    }

    /// What the keyset must look like.
    pub fn keyset(&self) -> &KeysetRule {
        &self.document.keyset
    }

    /// What the sealing key must be.
    pub fn sealing(&self) -> &SealingRule {
        &self.document.sealing
    }

    /// Which accelerators the work may run on.
    pub fn accelerators(&self) -> &AcceleratorRule {
        &self.document.accelerators
    }

    /// Whose cosignatures the log must carry.
    pub fn witnesses(&self) -> &WitnessRule {
        &self.document.witnesses
    }

    /// The manifests it takes measurements from.
    pub fn reference_values(&self) -> &ReferenceRule {
        &self.document.reference_values
    }

    /// The Rego modules it names.
    pub fn rego(&self) -> &RegoRule {
        &self.document.rego
    }

    /// The kinds of TEE it takes.
    pub fn tees(&self) -> &[TeeKind] {
        &self.document.tees
    }

    /// What it is for, in its author's words.
    pub fn description(&self) -> &str {
        &self.document.description
    }

    /// The manifests given beside it, verified.
    pub(crate) fn manifests(&self) -> &ReferenceValues {
        &self.beside.manifests
    }

    /// The Rego modules given beside it.
    #[cfg(feature = "rego")]
    pub(crate) fn modules(&self) -> &[(RegoModule, String)] {
        &self.beside.modules
    }

    /// Rules for AMD SEV-SNP; always there where it is among the TEEs taken, like the others.
    pub fn snp(&self) -> Option<&SnpPolicy> {
        self.document.snp.as_ref()
    }

    /// Rules for Intel TDX.
    pub fn tdx(&self) -> Option<&TdxPolicy> {
        self.document.tdx.as_ref()
    }

    /// Rules for NVIDIA GPUs and switches.
    pub fn nvidia(&self) -> Option<&NvidiaPolicy> {
        self.document.nvidia.as_ref()
    }

    /// Rules for Azure's vTPM, beside those for the CPU evidence inside.
    pub fn azure(&self) -> Option<&AzurePolicy> {
        self.document.azure.as_ref()
    }

    /// Rules for Hygon CSV.
    pub fn csv(&self) -> Option<&CsvPolicy> {
        self.document.csv.as_ref()
    }

    /// Rules for a TPM without a TEE.
    pub fn vtpm_dev(&self) -> Option<&VtpmPolicy> {
        self.document.vtpm_dev.as_ref()
    }
}

impl Document {
    fn check(&self) -> Result<(), PolicyError> {
        for tee in &self.tees {
            self.has_sections_for(*tee)?;
        }
        if self.tees.contains(&TeeKind::VtpmDev) && !self.allow_simulated {
            return Err(PolicyError::NoHardware);
        }
        let takes_any = self.takes_any_workload();
        if self.purpose == Purpose::Workload && takes_any && !self.allow_simulated {
            return Err(PolicyError::AnyMeasurement);
        }
        let life = self.keyset.maximum_life_seconds;
        if life == 0 || life > MAX_KEYSET_LIFE_SECONDS {
            return Err(PolicyError::KeysetLife { got: life });
        }
        self.witnesses.check()?;
        self.reference_values.check()?;
        self.rego.check()?;
        self.nvidia.as_ref().map_or(Ok(()), NvidiaPolicy::check)?;
        self.snp.as_ref().map_or(Ok(()), SnpPolicy::check)
    }

    /// Whether some section lists nothing that would tell one workload from another: launch digests,
    /// and behind a paravisor, which all VMs share, the registers of the vTPM.
    fn takes_any_workload(&self) -> bool {
        self.snp.as_ref().is_some_and(|snp| snp.measurements == Accept::Any)
            || self.tdx.as_ref().is_some_and(|tdx| tdx.measurements == Accept::Any)
            || self.csv.as_ref().is_some_and(|csv| csv.measurements == Accept::Any)
            || self.azure.as_ref().is_some_and(|azure| azure.pcrs == Accept::Any)
    }

    fn has_sections_for(&self, tee: TeeKind) -> Result<(), PolicyError> {
        let section = |section: &'static str, is_there: bool| match is_there {
            true => Ok(()),
            false => Err(PolicyError::MissingSection { tee, section }),
        };
        match tee {
            TeeKind::Snp => section("snp", self.snp.is_some()),
            TeeKind::Tdx => section("tdx", self.tdx.is_some()),
            TeeKind::Nvidia => section("nvidia", self.nvidia.is_some()),
            TeeKind::AzureSnp => section("snp", self.snp.is_some())
                .and_then(|()| section("azure", self.azure.is_some())),
            TeeKind::AzureTdx => section("tdx", self.tdx.is_some())
                .and_then(|()| section("azure", self.azure.is_some())),
            TeeKind::Csv => section("csv", self.csv.is_some()),
            TeeKind::VtpmDev => section("vtpm-dev", self.vtpm_dev.is_some()),
        }
    }
}

fn digest_of(text: &str) -> Digest {
    crate::hash::labelled(bulla_wire::labels::POLICY, text.as_bytes())
}

#[cfg(test)]
mod tests;
