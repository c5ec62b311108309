//! What there is to say about each thing found in files.

use std::collections::BTreeMap;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::ocsp::OcspAnswer;
use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::endorsement::{Certificate, Crl, rfc3339};
use bulla_attestation::hash::sha256;
use bulla_attestation::input::{self, EndorsementKind, File, LeftAside};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::csv::certificate::HygonCertificate;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};

use super::{certificate, claims, snp};
use crate::commands::appraise::Named;

/// Most rows of a long list shown: revoked serials, events.
const MAX_ROWS: usize = 1000;

/// One thing.
#[derive(Debug, Serialize)]
pub struct Description {
    /// What it is.
    pub what: String,
    /// Where it was and how it was wrapped.
    pub from: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; bytes as lower-case hex.
    pub value: Value,
    /// What it means.
    pub words: &'static str,
}

impl Field {
    /// A field.
    pub fn new(name: &str, value: impl Into<Value>, words: &'static str) -> Field {
        Field { name: name.to_owned(), value: value.into(), words }
    }
}

/// Everything in `files`, and what was not taken.
pub fn describe(files: &[Named]) -> (Vec<Description>, Vec<LeftAside>) {
    let views: Vec<File<'_>> = files
        .iter()
        .map(|file| File { name: &file.name, bytes: &file.bytes, role: file.role })
        .collect();
    let found = input::recognise(&views, None);
    let evidence = found.evidence.iter().map(|evidence| Description {
        what: format!("{} evidence", evidence.kind),
        from: evidence.from.clone(),
        fields: match evidence.kind {
            TeeKind::Snp => snp::fields(&evidence.bytes),
            _ => claims::fields(&found, evidence),
        },
    });
    let endorsements = found.endorsements.iter().map(|endorsement| Description {
        what: endorsement.kind.words().to_owned(),
        from: endorsement.from.clone(),
        fields: endorsement_fields(endorsement.kind, &endorsement.bytes),
    });
    (evidence.chain(endorsements).collect(), found.left_aside.clone())
}

fn hygon_fields(certificate: &HygonCertificate) -> Vec<Field> {
    let anchors = TrustAnchors::vendors();
    let pinned = anchors.iter().find(|anchor| anchor.matches_bytes(&certificate.bytes));
    let pinned = pinned.map(|anchor| anchor.label().to_owned());
    let digest = sha256(&certificate.bytes).to_string();
    vec![
        Field::new("usage", certificate.usage.name(), "what its key is for"),
        Field::new("user_id", certificate.user_id(), "the name its key signs under (SM2)"),
        Field::new("signed_by", certificate.signer().name(), "what the key is for that signed it"),
        Field::new("sha256", digest, "SHA-256 of the whole"),
        Field::new("pinned", pinned, "the vendor's root shipped with bulla that it is, if any"),
    ]
}

fn endorsement_fields(kind: EndorsementKind, bytes: &[u8]) -> Vec<Field> {
    let fields = match kind {
        EndorsementKind::Certificate => {
            Certificate::from_der(bytes).ok().map(|certificate| certificate::fields(&certificate))
        }
        EndorsementKind::Crl => Crl::from_der(bytes).ok().map(|crl| crl_fields(&crl)),
        EndorsementKind::Ocsp => OcspAnswer::from_der(bytes).map(|answer| ocsp_fields(&answer)),
        EndorsementKind::Rim => Rim::read(bytes).ok().map(|rim| rim_fields(&rim)),
        EndorsementKind::IntelCollateral => serde_json::from_slice(bytes).ok().map(json_fields),
        EndorsementKind::EventLog => Some(event_log_fields(bytes)),
        EndorsementKind::HygonCertificate => HygonCertificate::read(bytes)
            .map(|certificates| certificates.iter().flat_map(hygon_fields).collect()),
    };
    fields.unwrap_or_else(|| {
        let words = "the content, which does not read as what it seems to be";
        vec![Field::new("bytes", bytes.len(), words)]
    })
}

fn crl_fields(crl: &Crl) -> Vec<Field> {
    let revoked: Vec<String> = crl
        .revoked
        .iter()
        .take(MAX_ROWS)
        .map(|entry| format!("{} since {}", HEXLOWER.encode(&entry.serial), rfc3339(entry.since)))
        .collect();
    vec![
        Field::new("issuer", crl.issuer.common_name.as_str(), "the authority that signed it"),
        Field::new("this_update", rfc3339(crl.this_update), "made at"),
        Field::new("next_update", crl.next_update.map(rfc3339), "the next one is due"),
        Field::new("revoked_count", crl.revoked.len(), "how many certificates it revokes"),
        Field::new("revoked", revoked, "their serial numbers, and since when"),
        Field::new(
            "usable",
            !crl.has_unknown_critical,
            "no for delta or partial lists, which carry critical extensions not followed here",
        ),
    ]
}

fn ocsp_fields(answer: &OcspAnswer) -> Vec<Field> {
    let entries: Vec<Value> = answer
        .entries
        .iter()
        .map(|entry| {
            json!({
                "status": format!("{:?}", entry.status).to_lowercase(),
                "this_update": rfc3339(entry.this_update),
                "next_update": entry.next_update.map(rfc3339),
            })
        })
        .collect();
    vec![
        Field::new("answers", entries, "what it says, certificate by certificate, and until when"),
        Field::new(
            "usable",
            !answer.has_unknown_critical,
            "no where it carries a critical extension not followed here",
        ),
    ]
}

fn rim_fields(rim: &Rim) -> Vec<Field> {
    let rows: Value = match &rim.rows {
        Ok(rows) => rows
            .iter()
            .map(|(index, row)| {
                let values = row.alternatives.iter().map(|value| HEXLOWER.encode(value));
                (format!("{index}"), values.collect::<Vec<_>>())
            })
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(index, values)| (index, Value::from(values)))
            .collect(),
        Err(error) => Value::from(error.to_string()),
    };
    let signers: Vec<String> = rim
        .certificates
        .iter()
        .map(|certificate| {
            let name = &certificate.subject.common_name;
            format!("{name}, valid to {}", rfc3339(certificate.not_after))
        })
        .collect();
    let signature = match &rim.signature {
        Ok(_) => "one that can be checked".to_owned(),
        Err(error) => error.to_string(),
    };
    vec![
        Field::new("product", rim.product.as_str(), "chip it is for"),
        Field::new("edition", rim.edition.as_str(), "kind of device"),
        Field::new("version", rim.version.as_str(), "driver or VBIOS version it is for"),
        Field::new("id", rim.id.clone(), "name under which the vendor's service gave it"),
        Field::new("signature", signature, "its XML signature"),
        Field::new("certificates", signers, "the signer's first"),
        Field::new("rows", rows, "accepted values by index; row i is about measurement i + 1"),
    ]
}

/// A JSON document as it stands; JSON inside its texts is opened.
fn json_fields(document: Value) -> Vec<Field> {
    let Value::Object(members) = document else { return Vec::new() };
    let opened = |value: Value| match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    let words = |name: &str| match name {
        "tcbInfo" | "tcb_info" => "security versions and what Intel says of each (signed)",
        "enclaveIdentity" | "qe_identity" => "the quoting enclaves Intel made (signed)",
        "signature" | "tcb_info_signature" | "qe_identity_signature" => {
            "ECDSA P-256, r and s, over the exact text"
        }
        "pck_crl" => "certificates of platforms that are revoked (DER)",
        "root_ca_crl" => "authorities that are revoked (DER)",
        _ if name.ends_with("chain") => "certificates up to Intel's root (PEM)",
        _ => "",
    };
    let field = |(name, value): (String, Value)| Field::new(&name, opened(value), words(&name));
    members.into_iter().map(field).collect()
}

fn event_log_fields(bytes: &[u8]) -> Vec<Field> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Array(events)) => {
            let count = events.len();
            let events: Vec<Value> = events.into_iter().take(MAX_ROWS).collect();
            vec![
                Field::new("count", count, "how many events"),
                Field::new("events", events, "each as the guest's agent wrote it"),
            ]
        }
        _ => vec![Field::new(
            "bytes",
            bytes.len(),
            "a firmware event log (TCG crypto-agile format); `bulla appraise` replays it",
        )],
    }
}
