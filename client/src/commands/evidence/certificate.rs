//! The fields of a certificate, vendors' extensions decoded.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::{Certificate, rfc3339};
use bulla_attestation::hash::sha256;
use bulla_attestation::signature::PublicKey;
use bulla_attestation::tee::snp::Leaf;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::describe::Field;

/// Every field.
pub fn fields(certificate: &Certificate) -> Vec<Field> {
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let anchors = TrustAnchors::vendors();
    let pinned = anchors.pinning(certificate).map(|anchor| anchor.label().to_owned());
    let usages = certificate
        .key_usage
        .map(|usage| json!({ "certificates": usage.signs_certificates, "crls": usage.signs_crls }));
    let mut fields = vec![
        Field::new("subject", certificate.subject.common_name.as_str(), "whom it is about"),
        Field::new("issuer", certificate.issuer.common_name.as_str(), "who signed it"),
        Field::new("serial", hex(&certificate.serial), "serial number"),
        Field::new("not_before", rfc3339(certificate.not_before), "valid from"),
        Field::new("not_after", rfc3339(certificate.not_after), "valid to"),
        Field::new("public_key", key(&certificate.public_key), "kind of key"),
        Field::new("algorithm", format!("{:?}", certificate.algorithm), "how it is signed"),
        Field::new("is_ca", certificate.is_ca, "whether it may issue certificates"),
        Field::new("signs", usages, "what its key may sign"),
        Field::new(
            "spki_sha256",
            sha256(&certificate.spki).to_string(),
            "SHA-256 of its key, as pins state it",
        ),
        Field::new("sha256", sha256(&certificate.der).to_string(), "SHA-256 of the whole"),
        Field::new("pinned", pinned, "the vendor's root shipped with bulla that it is, if any"),
    ];
    fields.extend(Leaf::of(certificate).map(|leaf| amd(&leaf)).into_iter().flatten());
    fields.extend(intel(certificate));
    let extensions: Vec<Value> = certificate
        .extensions
        .iter()
        .map(|extension| {
            json!({ "oid": extension.oid, "critical": extension.critical, "value": hex(&extension.value) })
        })
        .collect();
    fields.push(Field::new("extensions", extensions, "every extension as it stands"));
    fields
}

fn key(key: &PublicKey) -> String {
    let text = format!("{key:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// AMD's extensions (AMD 57230).
fn amd(leaf: &Leaf) -> Vec<Field> {
    let chip = leaf.hardware_id.as_ref().map(|id| HEXLOWER.encode(id));
    vec![
        Field::new(
            "amd_kind",
            leaf.kind.to_string(),
            "VCEK: the chip's own key; VLEK: a provider's",
        ),
        Field::new("amd_product", leaf.product_name.as_str(), "product the key is for"),
        Field::new("amd_hardware_id", chip, "chip the key lives in"),
        Field::new("amd_provider", leaf.provider_id.clone(), "provider the key was given to"),
        Field::new(
            "amd_tcb",
            serde_json::to_value(leaf.tcb).unwrap_or_default(),
            "firmware the key is derived for",
        ),
    ]
}

/// Intel's SGX extensions (Intel, *SGX PCK Certificate and CRL Specification*).
fn intel(certificate: &Certificate) -> Vec<Field> {
    const SGX_EXTENSIONS: &str = "1.2.840.113741.1.13.1";
    let Some(_) = certificate.extension(SGX_EXTENSIONS) else { return Vec::new() };
    let Some(platform) = bulla_attestation::tee::tdx::Platform::of(certificate) else {
        return vec![Field::new("intel", Value::Null, "SGX extensions that do not read")];
    };
    vec![
        Field::new("intel_fmspc", HEXLOWER.encode(&platform.fmspc), "kind of platform"),
        Field::new(
            "intel_pce_id",
            HEXLOWER.encode(&platform.pce_id),
            "kind of provisioning enclave",
        ),
        Field::new(
            "intel_pce_svn",
            platform.pce_svn,
            "security version of the provisioning enclave",
        ),
        Field::new(
            "intel_cpu_svn",
            HEXLOWER.encode(&platform.cpu_svn),
            "security versions of the processor",
        ),
    ]
}
