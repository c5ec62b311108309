//! Every parser of hostile input, by name. A parser must return on any bytes, without panicking and
//! without using memory out of proportion; where it accepts them, what it read must be consistent.
//!
//! Used by the fuzz targets, and by `attestation/tests/fuzz_corpus.rs`, which feeds it the corpus.

use std::sync::LazyLock;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::ocsp::OcspAnswer;
use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::endorsement::{Certificate, Crl, Endorsements};
use bulla_attestation::input::{self, File, Role};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::seal::KeyConfiguration;
use bulla_attestation::sign::verify_order;
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::csv::certificate::HygonCertificate;
use bulla_attestation::tee::nvidia::spdm;
use bulla_attestation::tee::snp::report::Report;
use bulla_attestation::tee::tdx::event_log::EventLog;
use bulla_attestation::tee::tdx::quote::Quote;
use bulla_attestation::tee::tpm::{TpmKey, ecdsa_signature};
use bulla_attestation::tee::vtpm::VtpmEvidence;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::evidence_bundle::EvidenceBundle;
use bulla_wire::keyset::Keyset;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixSeconds;

/// What is fed bytes.
pub type Parser = fn(&[u8]);

/// All of them; each has a fuzz target and a corpus folder of its name.
pub const PARSERS: &[(&str, Parser)] = &[
    ("snp_report", snp_report),
    ("tdx_quote", tdx_quote),
    ("tdx_event_log", tdx_event_log),
    ("endorsements", endorsements),
    ("certificate", certificate),
    ("crl", crl),
    ("ocsp", ocsp),
    ("rim", rim),
    ("nvidia_evidence", nvidia_evidence),
    ("azure_evidence", azure_evidence),
    ("vtpm_evidence", vtpm_evidence),
    ("csv_evidence", csv_evidence),
    ("recognise", recognise),
    ("wire_cbor", wire_cbor),
    ("wire_json", wire_json),
    ("policy", policy),
];

/// Feeds `bytes` to the parser called `name`.
pub fn feed(name: &str, bytes: &[u8]) {
    let found = PARSERS.iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no parser is called {name}")).1(bytes);
}

/// 2026-11-20T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);

/// Read once: a fuzzer calls a thousand times a second.
static AUTHENTIC: LazyLock<Policy> = LazyLock::new(|| {
    let policy = include_str!("../policies/appraisal/authentic.toml");
    Policy::from_toml(policy).expect("the shipped policy reads")
});
static VENDORS: LazyLock<TrustAnchors> = LazyLock::new(TrustAnchors::vendors);

/// A whole appraisal under the policy that asks least; no fuzzer forges a signature.
fn appraise(kind: TeeKind, evidence: &[u8]) {
    let (none, expected) = (Endorsements::default(), Expectations::default());
    let result = appraise_raw(kind, evidence, &none, &VENDORS, &AUTHENTIC, &expected, NOW);
    assert!(!result.is_affirmed(), "no evidence here is signed under a vendor's root");
}

fn snp_report(bytes: &[u8]) {
    if let Ok(report) = Report::parse(bytes) {
        assert_eq!(report.signed_bytes(), &bytes[..0x2a0]);
    }
    appraise(TeeKind::Snp, bytes);
}

fn tdx_quote(bytes: &[u8]) {
    if let Ok(quote) = Quote::parse(bytes) {
        assert!(bytes.starts_with(quote.signed));
    }
    appraise(TeeKind::Tdx, bytes);
}

fn tdx_event_log(bytes: &[u8]) {
    let _ = EventLog::read(bytes);
}

fn endorsements(bytes: &[u8]) {
    let first = Endorsements::sort([bytes]);
    assert_eq!(first, Endorsements::sort([bytes]));
}

fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        assert_eq!(certificate.der, bytes);
        let _ = certificate.is_signed_by(&certificate.public_key);
    }
    let _ = HygonCertificate::read(bytes);
}

fn crl(bytes: &[u8]) {
    if let Ok(crl) = Crl::from_der(bytes) {
        let _ = crl.revokes(&[1], 0);
    }
}

fn ocsp(bytes: &[u8]) {
    let _ = OcspAnswer::from_der(bytes);
}

fn rim(bytes: &[u8]) {
    if let Ok(rim) = Rim::read(bytes) {
        let _ = rim.is_signed();
    }
}

fn nvidia_evidence(bytes: &[u8]) {
    let _ = spdm::Report::parse(bytes);
    appraise(TeeKind::Nvidia, bytes);
}

fn azure_evidence(bytes: &[u8]) {
    appraise(TeeKind::AzureSnp, bytes);
    appraise(TeeKind::AzureTdx, bytes);
}

fn vtpm_evidence(bytes: &[u8]) {
    if let Ok(evidence) = VtpmEvidence::from_json(bytes) {
        assert_eq!(VtpmEvidence::from_json(&evidence.to_json()), Ok(evidence.clone()));
        let _ = (evidence.report_data(), TpmKey::parse(&evidence.public));
        let _ = ecdsa_signature(&evidence.signature);
    }
    let _ = (TpmKey::parse(bytes), ecdsa_signature(bytes));
    appraise(TeeKind::VtpmDev, bytes);
}

fn csv_evidence(bytes: &[u8]) {
    appraise(TeeKind::Csv, bytes);
}

fn recognise(bytes: &[u8]) {
    let file = File { name: "file", bytes, role: Role::Anything };
    let found = input::recognise(&[file], None);
    for evidence in &found.evidence {
        let _ = found.endorsements_for(evidence);
    }
    let _ = input::certificate_table(bytes);
}

fn wire_cbor(bytes: &[u8]) {
    let _ = verify_order(bytes);
    let _ = bulla_wire::bundle::next_item(bytes);
    let _ = KeyConfiguration::parse(bytes);
    if let Ok(leaf) = Leaf::from_slice(bytes) {
        assert_eq!(leaf.to_vec(), bytes, "one encoding per value");
    }
    if let Ok(bundle) = EvidenceBundle::from_slice(bytes) {
        assert_eq!(bundle.to_vec().expect("it was read"), bytes, "one encoding per value");
    }
}

fn wire_json(bytes: &[u8]) {
    let _ = Keyset::from_json(bytes);
    let _ = AttestationReport::from_json(bytes);
    let _ = bulla_attestation::aci::read_report(bytes);
}

fn policy(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Policy::from_toml(text);
    }
}
