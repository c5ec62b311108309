//! Attestation reports of any aci/1 service (§4), ours or another's.
//!
//! The specification fixes keyset, statement and restated fields, and leaves the `evidence` object
//! to each TEE and each implementation (§4.2): dstack puts a hex `quote` beside an event log and
//! what it booted, others nest, encode or name differently. So the fixed part is read strictly
//! here, and in the evidence whatever is evidence is found by [`input`]. Members
//! nobody knows are ignored, as §4.1 and Appendix B ask, but not in the keyset, whose shape is
//! fixed.
//!
//! Upstreams of aggregators have records of their own: [`session`]. Out of scope: source provenance
//! (§4.1), which only measurements in a policy can back.

pub mod session;

use bulla_wire::evidence::{
    API_VERSION, Attestation, AttestationReport, Endorsement, Evidence, MAX_ENDORSEMENTS,
    MAX_EVIDENCE_BYTES, MAX_REPORT_BYTES, ReportError, ServiceCapabilities, SourceProvenance,
};
use bulla_wire::keyset::Keyset;
use bulla_wire::statement::parse_nonce;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::input::{self, File, Role, recognise};
use crate::tee::TeeKind;

/// A report, and what stands in its evidence beside the CPU's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceReport {
    /// What [`appraise`](crate::appraise::appraise) judges.
    pub report: AttestationReport,
    /// Evidence of NVIDIA devices in the same object. How it belongs to the service is for a policy
    /// to say (§8.3); its nonce is not fixed by the specification.
    pub devices: Vec<Vec<u8>>,
    /// What in the evidence was not taken, and why.
    pub left_aside: Vec<String>,
}

/// The parts every implementation has; `evidence` as it stands.
#[derive(Deserialize)]
struct Outline<'a> {
    api_version: String,
    workload_keyset_digest: String,
    #[serde(borrow)]
    attestation: OutlineAttestation<'a>,
    #[serde(default)]
    service_capabilities: Option<Value>,
}

#[derive(Deserialize)]
struct OutlineAttestation<'a> {
    tee_type: String,
    workload_keyset: Keyset,
    report_data: String,
    /// No field of the specification: taken where it is what we write there.
    #[serde(default)]
    nonce: Option<Value>,
    #[serde(default)]
    source_provenance: Option<Value>,
    #[serde(borrow)]
    evidence: &'a RawValue,
}

/// Reads a report of any aci/1 service.
pub fn read_report(bytes: &[u8]) -> Result<ServiceReport, ReportError> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(ReportError::TooLong { got_bytes: bytes.len() });
    }
    let malformed = |reason: String| ReportError::Malformed { reason };
    let outline: Outline<'_> =
        serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
    if outline.api_version != API_VERSION {
        let got = outline.api_version.chars().take(40).collect();
        return Err(ReportError::Version { got });
    }
    let evidence = outline.attestation.evidence.get().as_bytes();
    let kind = TeeKind::from_aci_name(&outline.attestation.tee_type);
    let file = |role| File { name: "evidence", bytes: evidence, role };
    let everything = recognise(&[file(Role::Anything)], None);
    let is_device = |found: &&input::Evidence| found.kind == TeeKind::Nvidia;
    let devices = everything.evidence.iter().filter(is_device);
    let devices = devices.map(|found| found.bytes.clone()).collect();
    let left_aside = everything.left_aside.iter().map(ToString::to_string).collect();
    // Our own reports say where the evidence is, and everybody may write as we do.
    if let Ok(report) = AttestationReport::from_json(bytes) {
        return Ok(ServiceReport { report, devices, left_aside });
    }
    let found = match kind {
        Some(kind) => the_one(kind, &recognise(&[file(Role::Anything)], Some(kind)))?,
        // Nothing appraises it: the verdict says so, by its name.
        None => Vec::new(),
    };
    let endorsements = everything.endorsements.into_iter().map(|endorsement| Endorsement {
        kind: endorsement.kind.words().to_owned(),
        data: endorsement.bytes,
    });
    let report =
        outline.report(Evidence { report: found, endorsements: endorsements.collect() })?;
    Ok(ServiceReport { report, devices, left_aside })
}

/// The evidence of `kind`; several that differ would leave open which one the keyset rests on.
fn the_one(kind: TeeKind, found: &input::Recognised) -> Result<Vec<u8>, ReportError> {
    let malformed = |reason: String| Err(ReportError::Malformed { reason });
    let mut all = found.evidence.iter().map(|evidence| &evidence.bytes);
    let Some(first) = all.next() else {
        return malformed(format!("no {kind} evidence found in attestation.evidence"));
    };
    match all.all(|other| other == first) {
        true => Ok(first.clone()),
        false => malformed(format!("several pieces of {kind} evidence in attestation.evidence")),
    }
}

impl Outline<'_> {
    /// A report in our own form, within the same limits.
    fn report(self, evidence: Evidence) -> Result<AttestationReport, ReportError> {
        let Outline { api_version, workload_keyset_digest, attestation, .. } = self;
        let keyset = serde_json::to_vec(&attestation.workload_keyset)
            .map_err(|e| ReportError::Malformed { reason: e.to_string() })?;
        Keyset::from_json(&keyset)?;
        let largest = evidence.endorsements.iter().map(|e| e.data.len()).max();
        let count = evidence.endorsements.len();
        if count > MAX_ENDORSEMENTS
            || evidence.report.len().max(largest.unwrap_or(0)) > MAX_EVIDENCE_BYTES
        {
            let what = format!("{count} endorsements, or one piece too large");
            return Err(ReportError::TooMuchEvidence { what });
        }
        let nonce = attestation.nonce.as_ref().and_then(Value::as_str);
        Ok(AttestationReport {
            api_version,
            workload_keyset_digest,
            attestation: Attestation {
                tee_type: attestation.tee_type,
                workload_keyset: attestation.workload_keyset,
                nonce: nonce.filter(|nonce| parse_nonce(nonce).is_ok()).map(str::to_owned),
                report_data: attestation.report_data,
                source_provenance: provenance(attestation.source_provenance.as_ref()),
                evidence,
            },
            service_capabilities: capabilities(self.service_capabilities.as_ref()),
        })
    }
}

/// A text member, where it is one.
fn text(object: Option<&Value>, name: &str) -> Option<String> {
    object?.get(name)?.as_str().map(str::to_owned)
}

/// The service's own word about its source; what is not a text there says nothing.
fn provenance(value: Option<&Value>) -> SourceProvenance {
    SourceProvenance {
        repo_url: text(value, "repo_url"),
        repo_commit: text(value, "repo_commit"),
        image_digest: text(value, "image_digest"),
        image_provenance: value.and_then(|value| value.get("image_provenance")).cloned(),
    }
}

/// An unknown serving mode is an aggregator's (Appendix B).
fn capabilities(value: Option<&Value>) -> ServiceCapabilities {
    let versions = value.and_then(|value| value.get("supported_e2ee_versions"));
    let versions = versions.and_then(Value::as_array).cloned().unwrap_or_default();
    let serving = text(value, "serving").filter(|serving| serving == "direct");
    ServiceCapabilities {
        supported_e2ee_versions: versions
            .iter()
            .filter_map(|version| version.as_str().map(str::to_owned))
            .collect(),
        serving: serving.unwrap_or_else(|| "aggregator".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another implementation's report may hold, found in it and written in our own form.
    fn written(report_bytes: usize, pieces: &[usize]) -> Result<AttestationReport, ReportError> {
        let served = serde_json::json!({
            "api_version": API_VERSION,
            "workload_keyset_digest": "sha256:00",
            "attestation": {
                "tee_type": "tdx",
                "report_data": "00",
                "evidence": {},
                "workload_keyset": {
                    "subject": null,
                    "not_after": 1,
                    "receipt_signing_keys": [],
                    "e2ee_public_keys": [],
                    "tls_public_keys": [],
                },
            },
        });
        let served = served.to_string();
        let outline: Outline<'_> = serde_json::from_str(&served).unwrap();
        let piece = |bytes: &usize| Endorsement { kind: String::new(), data: vec![0; *bytes] };
        let endorsements = pieces.iter().map(piece).collect();
        outline.report(Evidence { report: vec![0; report_bytes], endorsements })
    }

    #[test]
    fn evidence_of_others_has_our_limits() {
        let refused = |got: Result<AttestationReport, ReportError>| {
            matches!(got, Err(ReportError::TooMuchEvidence { .. }))
        };
        assert!(written(1, &[1; MAX_ENDORSEMENTS]).is_ok());
        assert!(refused(written(1, &[1; MAX_ENDORSEMENTS + 1])));
        assert!(written(MAX_EVIDENCE_BYTES, &[]).is_ok());
        assert!(refused(written(MAX_EVIDENCE_BYTES + 1, &[])));
        assert!(written(1, &[1, MAX_EVIDENCE_BYTES]).is_ok());
        assert!(refused(written(1, &[MAX_EVIDENCE_BYTES + 1, 1])));
    }
}
