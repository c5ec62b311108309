//! The evidence of the sample bundle in `vectors/bundle`: two epochs of one simulated machine.
//!
//! Stored, because the audit's own tests may not import the enclave that makes it. To make it
//! anew: `BULLA_WRITE_VECTORS=1 cargo test -p bulla-tests --test audit_evidence`, and afterwards
//! the vectors of `bulla-client` in the same way.

use std::path::PathBuf;

use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::hash::{keyset_digest, statement_digest};
use bulla_attestation::sign::SigningKey;
use bulla_enclave::simulated_tee::Node;
use bulla_tests::chip::{START_S, anchors, node, policy};
use bulla_wire::evidence::{
    API_VERSION, Attestation, AttestationReport, ServiceCapabilities, SourceProvenance, TEE_SEV_SNP,
};
use bulla_wire::keyset::{ALGO_ED25519, ALGO_OHTTP_CHUNKED, KeyEntry, Keyset, Subject};
use bulla_wire::statement::{Statement, report_data};
use bulla_wire::units::UnixSeconds;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Seeds of the usage-receipt keys: 32 times the byte.
const RECEIPT_SEEDS: [u8; 2] = [6, 7];

fn path(epoch: usize) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/bundle");
    folder.join(format!("evidence-{epoch}.json"))
}

fn keyset(epoch: usize, node: &Node) -> Keyset {
    let entry = |key_id: &str, algo: &str, public_key: String| KeyEntry {
        key_id: key_id.to_owned(),
        algo: algo.to_owned(),
        public_key,
    };
    let receipt_key = SigningKey::from_seed([RECEIPT_SEEDS[epoch]; 32]).public();
    let subject = Subject { instance: "enclave-1".parse().unwrap(), chip_id: node.chip_id() };
    Keyset {
        subject: Some(subject.to_string()),
        not_after: UnixSeconds(START_S + 3600 * (epoch as u64 + 1)),
        receipt_signing_keys: vec![entry("receipt", ALGO_ED25519, receipt_key.to_string())],
        // Nothing is ever sealed to it.
        e2ee_public_keys: vec![entry("seal", ALGO_OHTTP_CHUNKED, format!("{epoch:064x}"))],
        tls_public_keys: vec![],
    }
}

fn report(epoch: usize, node: &Node) -> AttestationReport {
    let keyset = keyset(epoch, node);
    let digest = keyset_digest(&keyset);
    let statement = statement_digest(&Statement { keyset_digest: digest, nonce: None });
    AttestationReport {
        api_version: API_VERSION.to_owned(),
        workload_keyset_digest: digest.prefixed(),
        attestation: Attestation {
            tee_type: TEE_SEV_SNP.to_owned(),
            workload_keyset: keyset,
            nonce: None,
            report_data: statement.to_string(),
            source_provenance: SourceProvenance::default(),
            evidence: node.evidence(&report_data(&statement)),
        },
        service_capabilities: ServiceCapabilities {
            supported_e2ee_versions: vec![ALGO_OHTTP_CHUNKED.to_owned()],
            serving: "direct".to_owned(),
        },
    }
}

#[test]
fn the_stored_evidence_is_affirmed_and_says_simulated() {
    if std::env::var_os("BULLA_WRITE_VECTORS").is_some() {
        let node = node(&mut ChaCha20Rng::seed_from_u64(8));
        (0..2).for_each(|n| std::fs::write(path(n), report(n, &node).to_json()).unwrap());
    }
    for (epoch, seed) in RECEIPT_SEEDS.into_iter().enumerate() {
        let report = AttestationReport::from_json(&std::fs::read(path(epoch)).unwrap()).unwrap();
        let now = UnixSeconds(START_S + 60);
        let result =
            appraise(&report, &anchors(), &policy("development"), Freshness::Passport, now);
        assert!(result.is_affirmed() && result.is_simulated(), "{result}");
        let expected = SigningKey::from_seed([seed; 32]).public();
        assert_eq!(result.into_keys().unwrap().receipt_keys()[0].public_key, expected);
    }
}
