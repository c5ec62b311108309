//! Rows of evidence and of signed records: appraisal, usage receipts, the enclave's gate, the log.

use std::rc::Rc;

use anyhow::ensure;
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::hash::sha256;
use bulla_attestation::seal::{Kem, Padding};
use bulla_attestation::sign::verify;
use bulla_broker::log::sign_checkpoint;
use bulla_client::io::system::SystemRng;
use bulla_enclave::admission::{Arrived, Gate};
use bulla_tlog::{SignerKey, Tree};
use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::Digest;
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::UsageReceipt;

use super::bare;
use super::row::{Row, Side};
use super::scene::{Desk, Scene, model};
use super::sealing::request;

/// The nonce a relying party would send.
const NONCE: [u8; 32] = [9; 32];
/// Name of the log.
const ORIGIN: &str = "log.bulla.bench";
/// Signatures the gate verifies: delegation, grant, order.
const GATE_SIGNATURES: usize = 3;

/// A report as a relying party gets it: read, chain and signature verified, policy applied.
pub fn appraisal(scene: &Scene) -> anyhow::Result<Vec<Row>> {
    let identity = scene.boot(Kem::XWing)?.identity;
    let report = scene.report(&identity, Some(NONCE))?;
    let anchor = bare::p384_verify(&report.attestation.evidence)?;
    let bytes = report.to_json();
    let (anchors, policy, now) = (scene.anchors.clone(), scene.policy.clone(), scene.now);
    let subject = Side::timed("appraise an SNP report, whole, with policy", move || {
        let report = AttestationReport::from_json(&bytes)?;
        let result = appraise(&report, &anchors, &policy, Freshness::Nonce(NONCE), now);
        ensure!(result.is_affirmed(), "the bench's own evidence was refused:\n{result}");
        Ok(())
    });
    Ok(vec![Row { subject, anchor }])
}

/// Sign and verify a usage receipt.
pub fn receipt(scene: &Scene) -> anyhow::Result<Vec<Row>> {
    let epoch = Rc::new(scene.boot(Kem::XWing)?);
    let desk = Desk::new(scene.now);
    let order = desk.order(1, epoch.identity.keyset_digest, sha256(b"sealed"))?;
    let receipt = desk.receipt(&order, &epoch, 1, sha256(b"the one before"))?;
    let signed = epoch.keys.receipt.sign(receipt.clone());
    let (bytes, public) = (signed.bytes().to_vec(), epoch.keys.receipt.public());
    let sign = Side::timed(format!("sign a usage receipt ({} bytes)", bytes.len()), {
        let epoch = Rc::clone(&epoch);
        move || {
            let signed = epoch.keys.receipt.sign(receipt.clone());
            ensure!(!signed.bytes().is_empty());
            Ok(())
        }
    });
    let message = bytes.clone();
    let check = Side::timed("verify a usage receipt", move || {
        verify::<UsageReceipt>(&bytes, &public)?;
        Ok(())
    });
    Ok(vec![
        Row { subject: sign, anchor: bare::ed25519_sign(message.clone()) },
        Row { subject: check, anchor: bare::ed25519_verify(message) },
    ])
}

/// What the enclave checks before it opens anything.
pub fn gate(scene: &Scene) -> anyhow::Result<Vec<Row>> {
    let epoch = scene.boot(Kem::XWing)?;
    let desk = Desk::new(scene.now);
    let (sealed, _) = epoch.attested.seal(&request(), Padding::default(), &mut SystemRng::new())?;
    let signed = desk.order(1, epoch.identity.keyset_digest, sealed.digest())?;
    let order = signed.bytes().to_vec();
    let grant = desk.grant(&signed).bytes().to_vec();
    let delegation = desk.delegation().bytes().to_vec();
    let gate = Gate {
        broker_root: desk.root.public(),
        keyset: epoch.identity.keyset_digest,
        models: vec![model()],
    };
    let (message, now) = (order.clone(), scene.now);
    let subject =
        Side::timed("admit order, grant and delegation at the enclave's gate", move || {
            let sealed = sealed.bytes();
            let arrived = Arrived { order: &order, grant: &grant, delegation: &delegation, sealed };
            gate.admit(&arrived, now)?;
            Ok(())
        });
    Ok(vec![Row { subject, anchor: bare::ed25519_verify_times(message, GATE_SIGNATURES) }])
}

/// A receipt's leaf appended, and a checkpoint over it signed: the dearest way to run a log.
pub fn log(scene: &Scene) -> anyhow::Result<Vec<Row>> {
    let key = SignerKey::from_seed(ORIGIN, &[3; 32])?;
    let epoch = scene.boot(Kem::X25519)?.identity.epoch;
    let (mut tree, mut seq, mut prev) = (Tree::new(), 0u64, Digest([0; 32]));
    let subject = Side::timed("log: append a leaf, sign a checkpoint", move || {
        seq += 1;
        let receipt = sha256(&seq.to_be_bytes());
        tree.push(&Leaf::Receipt { epoch, seq, prev, receipt }.to_vec());
        prev = receipt;
        sign_checkpoint(&key, tree.size(), tree.root())?;
        Ok(())
    });
    Ok(vec![Row { subject, anchor: bare::ed25519_sign(vec![b'n'; 128]) }])
}
