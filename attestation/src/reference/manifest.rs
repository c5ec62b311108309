//! Manifests: the images of one line of releases, and what the hardware measures of each.

use std::collections::BTreeMap;

use bulla_wire::ids::Digest;
use serde::{Deserialize, Serialize};

use super::Instant;
use super::envelope::{Body, DocumentError, Envelope};
use super::root::Role;
use crate::hex::Hex;
use crate::sign::SigningKey;

/// Most images, models, and value sets per image in one manifest (ours: a set per vCPU count, CPU
/// model and firmware).
const MAX_ENTRIES: usize = 4096;
/// PCRs a TPM 2.0 bank has.
const PCRS: usize = 24;

/// The signed part of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestBody {
    /// `bulla reference values v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The line of releases: a policy names it.
    pub name: String,
    /// Grows with every issue.
    pub version: u64,
    /// When it was issued.
    pub issued: Instant,
    /// After this instant it vouches for nothing.
    pub expires: Instant,
    /// What may run. An image left out of a later version is withdrawn.
    pub images: Vec<Image>,
    /// Models these images may load, by the digest that receipts carry.
    pub models: Vec<Model>,
}

/// One image: each list holds alternatives, and evidence must match one of them wholly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name and version, for people.
    pub name: String,
    /// AMD SEV-SNP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snp: Vec<SnpValues>,
    /// Intel TDX.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tdx: Vec<TdxValues>,
    /// A vTPM: beside a TEE's own evidence (Azure), or alone (vtpm-dev).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vtpm: Vec<VtpmValues>,
    /// Hygon CSV.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub csv: Vec<CsvValues>,
}

/// A SEV-SNP launch digest, with the machine it was computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpValues {
    /// The launch digest.
    pub measurement: Hex<48>,
    /// Virtual processors.
    pub vcpus: u32,
    /// CPU model as QEMU names it.
    pub cpu_model: String,
    /// SHA-256 of the firmware (OVMF) file.
    pub ovmf_sha256: Digest,
}

/// Intel TDX measurement registers; one left out is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxValues {
    /// The TD's initial contents.
    pub mrtd: Hex<48>,
    /// Firmware configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr0: Option<Hex<48>>,
    /// Boot loader and kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr1: Option<Hex<48>>,
    /// Command line and initial file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr2: Option<Hex<48>>,
    /// The workload's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr3: Option<Hex<48>>,
}

impl TdxValues {
    /// The four registers in order.
    pub(super) fn rtmrs(&self) -> [&Option<Hex<48>>; 4] {
        [&self.rtmr0, &self.rtmr1, &self.rtmr2, &self.rtmr3]
    }
}

/// PCRs of the SHA-256 bank; one left out is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VtpmValues {
    /// By number, `"0"` to `"23"`.
    pub pcrs: BTreeMap<String, Digest>,
}

/// A Hygon CSV launch digest (SM3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvValues {
    /// The launch digest.
    pub measurement: Hex<32>,
}

/// A model by the digest of its manifest: weights, tokenizer, template, configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name, for people.
    pub name: String,
    /// Digest of the model manifest, as orders and receipts carry it.
    pub manifest: Digest,
}

impl Body for ManifestBody {
    const KIND: &'static str = "bulla reference values v1";
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    fn kind(&self) -> &str {
        &self.kind
    }
}

impl ManifestBody {
    /// The `type` of a manifest.
    pub const KIND: &'static str = <ManifestBody as Body>::KIND;
}

/// A manifest as it came; who signed it is for a root to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    envelope: Envelope<ManifestBody>,
    digest: Digest,
}

impl Manifest {
    /// Reads a manifest. Its signatures are not looked at yet.
    pub fn from_json(bytes: &[u8]) -> Result<Manifest, DocumentError> {
        Manifest::checked(Envelope::from_json(bytes)?)
    }

    /// Signs a manifest.
    pub fn sign(body: ManifestBody, keys: &[&SigningKey]) -> Result<Manifest, DocumentError> {
        Manifest::checked(Envelope::sign(body, keys)?)
    }

    fn checked(envelope: Envelope<ManifestBody>) -> Result<Manifest, DocumentError> {
        envelope.body.check()?;
        let digest = envelope.digest();
        Ok(Manifest { envelope, digest })
    }

    /// What it says.
    pub fn body(&self) -> &ManifestBody {
        &self.envelope.body
    }

    /// SHA-256 of its canonical form.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The document, for people.
    pub fn to_json(&self) -> String {
        self.envelope.to_json()
    }

    /// That the threshold of a role signed it.
    pub(super) fn signed_by(&self, role: &Role) -> Result<(), DocumentError> {
        self.envelope.signed_by(&role.keys, role.threshold)
    }
}

impl ManifestBody {
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let refused = |reason| Err(DocumentError::Inconsistent { kind: Self::KIND, reason });
        let image_entries =
            |image: &Image| [image.snp.len(), image.tdx.len(), image.vtpm.len(), image.csv.len()];
        let counts = self.images.iter().flat_map(image_entries);
        if counts.chain([self.images.len(), self.models.len()]).any(|count| count > MAX_ENTRIES) {
            return refused(format!("a list has more than {MAX_ENTRIES} entries"));
        }
        if self.expires <= self.issued {
            return refused(format!(
                "expires {} before it is issued {}",
                self.expires, self.issued
            ));
        }
        let pcrs = self.images.iter().flat_map(|image| &image.vtpm).flat_map(|v| v.pcrs.keys());
        for pcr in pcrs {
            let number = pcr.parse::<usize>().ok().filter(|number| number.to_string() == *pcr);
            if number.is_none_or(|number| number >= PCRS) {
                return refused(format!("a TPM has PCRs 0 to 23, got {pcr:?}"));
            }
        }
        Ok(())
    }
}
