//! A simulated enclave for tests: real-format evidence under a test root, the real sealing key, and
//! receipts that can be made wrong one field at a time.

pub mod world;

use std::sync::Arc;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::hash::{self, Commitment};
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::policy::Policy;
use bulla_attestation::seal::{Aead, AnswerWriter, Kem, SealingKey};
use bulla_attestation::sign::{SigningKey, verify_order};
use bulla_wire::cbor;
use bulla_wire::evidence::*;
use bulla_wire::http::HEADER_TERMS;
use bulla_wire::ids::*;
use bulla_wire::keyset::*;
use bulla_wire::labels;
use bulla_wire::price::TokenUsage;
use bulla_wire::receipt::*;
use bulla_wire::statement::{Nonce, Statement, report_data};
use bulla_wire::terms::{MAX_TERMS_BYTES, SealedTerms};
use bulla_wire::units::*;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};

/// The simulated root.
pub const ARK: &[u8] = include_bytes!("../../tests/fixtures/ark.der");
pub const ASK: &[u8] = include_bytes!("../../tests/fixtures/ask.der");
pub const VCEK: &[u8] = include_bytes!("../../tests/fixtures/vcek.der");
const VCEK_KEY: &[u8] = include_bytes!("../../tests/fixtures/vcek.pk8");
/// A policy that takes it.
pub const POLICY: &str = include_str!("../../../policies/appraisal/development.toml");

/// The instant of every test: inside the certificates' dates.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// The body of a streamed answer.
pub const SSE: [&str; 3] = ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n", "data: [DONE]\n\n"];

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub fn anchors() -> TrustAnchors {
    TrustAnchors::none().with(TrustAnchor::simulated("test root", ARK).unwrap())
}

pub fn policy() -> Policy {
    Policy::from_toml(POLICY).unwrap()
}

/// An enclave that answers everything with the same text.
pub struct Enclave {
    pub instance: InstanceId,
    pub sealing: SealingKey,
    pub receipts: SigningKey,
    pub keyset: Keyset,
}

/// What a receipt says, before it is signed: a test makes one field wrong.
pub type Tamper = fn(&mut UsageReceipt);

impl Enclave {
    pub fn new(instance: &str, seed: u8) -> Enclave {
        Enclave::at(instance, seed, NOW)
    }

    /// With a keyset that begins `now`.
    pub fn at(instance: &str, seed: u8, now: UnixMillis) -> Enclave {
        let sealing = SealingKey::generate(1, Kem::X25519, Aead::Aes128Gcm, &mut rng(seed));
        let receipts = SigningKey::from_seed([seed; 32]);
        let instance: InstanceId = instance.parse().unwrap();
        let chip_id = HEXLOWER.encode(&chip_id());
        let entry = |key_id: &str, algo: &str, public_key: String| KeyEntry {
            key_id: key_id.to_owned(),
            algo: algo.to_owned(),
            public_key,
        };
        let keyset = Keyset {
            subject: Some(Subject { instance: instance.clone(), chip_id }.to_string()),
            not_after: UnixSeconds(now.seconds().0 + 3600),
            receipt_signing_keys: vec![entry("r", ALGO_ED25519, receipts.public().to_string())],
            e2ee_public_keys: vec![entry(
                "s",
                ALGO_OHTTP_CHUNKED,
                HEXLOWER.encode(&sealing.configuration().to_vec()),
            )],
            tls_public_keys: Vec::new(),
        };
        Enclave { instance, sealing, receipts, keyset }
    }

    pub fn report(&self, nonce: Option<Nonce>) -> AttestationReport {
        let keyset_digest = hash::keyset_digest(&self.keyset);
        let statement = Statement { keyset_digest, nonce };
        let slot = report_data(&hash::statement_digest(&statement));
        let endorse = |data: &[u8]| Endorsement { kind: "certificate".into(), data: data.to_vec() };
        AttestationReport {
            api_version: API_VERSION.into(),
            workload_keyset_digest: keyset_digest.prefixed(),
            attestation: Attestation {
                tee_type: TEE_SEV_SNP.into(),
                workload_keyset: self.keyset.clone(),
                nonce: nonce.map(|nonce| HEXLOWER.encode(&nonce)),
                report_data: HEXLOWER.encode(&slot[..32]),
                source_provenance: SourceProvenance::default(),
                evidence: Evidence {
                    report: snp_report(slot),
                    endorsements: vec![endorse(ASK), endorse(VCEK)],
                },
            },
            service_capabilities: ServiceCapabilities {
                supported_e2ee_versions: vec!["bulla/1".into()],
                serving: "direct".into(),
            },
        }
    }

    pub fn keys(&self) -> Arc<AttestedKeys> {
        let nonce = [3; 32];
        let report = self.report(Some(nonce));
        let freshness = Freshness::Nonce(nonce);
        let result = appraise(&report, &anchors(), &policy(), freshness, NOW.seconds());
        Arc::new(result.into_keys().unwrap())
    }

    /// Opens a sealed request and answers it in pieces, the last one with the receipt.
    pub fn answer(&self, order: &[u8], sealed: &[u8], tamper: Tamper) -> Vec<Vec<u8>> {
        self.answer_with("text/event-stream", &SSE, order, sealed, tamper)
    }

    pub fn answer_with(
        &self,
        media: &str,
        body: &[&str],
        order: &[u8],
        sealed: &[u8],
        tamper: Tamper,
    ) -> Vec<Vec<u8>> {
        let opened = self.sealing.open(sealed, &mut rng(9)).unwrap();
        let terms = opened.request.header(HEADER_TERMS).unwrap();
        let terms = BASE64URL_NOPAD.decode(terms.as_bytes()).unwrap();
        let terms: SealedTerms = cbor::from_slice(&terms, MAX_TERMS_BYTES).unwrap();
        let mut request = Commitment::new(labels::COMMIT_REQUEST, &terms.salt);
        request.update(&opened.request.body);
        let mut response = Commitment::new(labels::COMMIT_RESPONSE, &terms.salt);
        let mut sealer = opened.answer;
        let mut pieces = vec![sealer.seal(&AnswerWriter::head(200, &[("content-type", media)]))];
        for part in body {
            response.update(part.as_bytes());
            pieces.push(sealer.seal(&AnswerWriter::body(part.as_bytes())));
        }
        let mut receipt = self.receipt(order, Some(request.finish()), Some(response.finish()));
        tamper(&mut receipt);
        let receipt = self.receipts.sign(receipt);
        pieces.push(sealer.finish(&AnswerWriter::end(receipt.bytes(), 256)));
        pieces
    }

    pub fn receipt(
        &self,
        order: &[u8],
        commit_request: Option<Digest>,
        commit_response: Option<Digest>,
    ) -> UsageReceipt {
        let order = verify_order(order).unwrap();
        let keyset = hash::keyset_digest(&self.keyset);
        let usage = TokenUsage {
            input: TokenCount(11),
            cached_input: TokenCount(0),
            output: TokenCount(2),
            reasoning: TokenCount(0),
        };
        UsageReceipt {
            issuer: self.instance.clone(),
            issued_at: NOW.seconds(),
            id: ReceiptId([1; 16]),
            nonce: Digest([2; 32]),
            profile: RECEIPT_PROFILE.to_owned(),
            hold: order.hold,
            keyset,
            model: order.model,
            unit: order.unit.clone(),
            rates: order.rates,
            price_book: order.price_book,
            order: order.digest(),
            epoch: EpochId::of_keyset(&keyset),
            seq: 1,
            prev: Digest([0; 32]),
            account: hash::account_handle(&order.order_key),
            accelerator: "cpu:test".to_owned(),
            device_time_ms: 1,
            charge: order.rates.charge(&usage).unwrap(),
            usage,
            outcome: Outcome::Complete,
            generated_tokens: TokenCount(2),
            sent_tokens: TokenCount(2),
            commit_request,
            commit_response,
            configuration: Digest([4; 32]),
            security: SecurityMode::Simulated,
            mode: OrderMode::Ordered,
            interim: None,
            kernel_path: None,
        }
    }
}

fn chip_id() -> [u8; 64] {
    std::array::from_fn(|i| i as u8)
}

/// A version 5 SEV-SNP report over `slot`, signed with the fixture's VCEK.
fn snp_report(slot: [u8; 64]) -> Vec<u8> {
    let mut report = vec![0u8; 0x4a0];
    let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
    let tcb = [10, 0, 0, 0, 0, 0, 25, 84];
    put(0x000, &5u32.to_le_bytes());
    put(0x008, &0x3_0000u64.to_le_bytes());
    put(0x034, &1u32.to_le_bytes());
    put(0x040, &(1u64 << 5).to_le_bytes());
    put(0x050, &slot);
    put(0x188, &[0x19, 0x11, 1]);
    put(0x1a0, &chip_id());
    for at in [0x038, 0x180, 0x1e0, 0x1f0] {
        put(at, &tcb);
    }
    let random = ring::rand::SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, VCEK_KEY, &random);
    let signature = key.unwrap().sign(&random, &report[..0x2a0]).unwrap();
    for (at, scalar) in [0x2a0, 0x2e8].into_iter().zip(signature.as_ref().chunks(48)) {
        let little_endian: Vec<u8> = scalar.iter().rev().copied().collect();
        report[at..at + 48].copy_from_slice(&little_endian);
    }
    report
}
