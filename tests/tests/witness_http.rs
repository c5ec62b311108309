//! The broker's way to a witness, and the witness behind it, over a real socket.

use std::net::SocketAddr;

use bulla_attestation::sign::{Signed, SigningKey, verify};
use bulla_broker::broker::Event;
use bulla_broker::config::{LogConfig, WitnessConfig};
use bulla_broker::io::witness::Witnesses;
use bulla_broker::log::WitnessAnswer;
use bulla_client::io::folder::Folder;
use bulla_client::io::showings::{Said, Showings};
use bulla_client::io::system::SystemRng;
use bulla_client::io::witness::{WitnessFolder, serve};
use bulla_tests::rig::{LOG_ORIGIN, log_signer};
use bulla_tlog::submission::Submission;
use bulla_tlog::{Checkpoint, Hash, Quorum, SignedCheckpoint, Tree};
use bulla_wire::ids::{Digest, HoldId, PublicKey};
use bulla_wire::order::Order;
use bulla_wire::price::Rates;
use bulla_wire::showing::Showing;
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

fn request(old: u64, size: u64, salt: u8) -> (SignedCheckpoint, Vec<u8>) {
    let tree = Tree::from_leaf_hashes((0..size).map(|index| Hash::leaf(&[salt, index as u8])));
    let head = Checkpoint::new(LOG_ORIGIN, size, tree.root()).unwrap().sign(&log_signer()).unwrap();
    let proof = tree.consistency_proof(old, size).unwrap();
    let request = Submission::new(old, proof, &head).unwrap().to_string();
    (head, request.into_bytes())
}

async fn ask(witnesses: &Witnesses, body: Vec<u8>) -> (WitnessAnswer, Vec<Vec<u8>>) {
    match witnesses.add_checkpoint(0, body).await {
        Event::WitnessAnswered { witness: 0, answer, orders } => (answer, orders),
        other => panic!("{other:?}"),
    }
}

async fn see(witnesses: &Witnesses) -> Result<Option<Vec<u8>>, String> {
    match witnesses.see(0).await {
        Event::WitnessSeen { witness: 0, newest } => newest,
        other => panic!("{other:?}"),
    }
}

/// A customer's order of now.
fn order() -> Signed<Order> {
    let key = SigningKey::from_seed([9; 32]);
    let now = bulla_client::io::system::now().seconds();
    let digest = Digest([1; 32]);
    key.sign(Order {
        not_after: UnixSeconds(now.0 + 60),
        issued_at: now,
        hold: HoldId([7; 16]),
        order_key: key.public(),
        sealed_request: digest,
        keyset: digest,
        model: digest,
        ceiling_input_tokens: TokenCount(1),
        ceiling_output_tokens: TokenCount(1),
        unit: Unit::tokens(),
        rates: Rates { input: 1, cached_input: 1, output: 1, reasoning: 1, per_request: 1 },
        price_book: digest,
        max_charge: MicroUnits(9),
    })
}

async fn speak() {
    let home = std::env::temp_dir().join(format!("bulla-witness-http-{}", std::process::id()));
    let folder = WitnessFolder::open(&home).unwrap();
    let logs = vec![log_signer().verifier()];
    let witness = folder.witness(Some("witness.test"), logs, &mut SystemRng::new()).unwrap();
    let keys = witness.keys();
    let (ready, address) = tokio::sync::oneshot::channel();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let serving = tokio::spawn(serve(witness, folder, any, ready, std::future::pending()));
    let url = format!("http://{}/", address.await.unwrap());
    let named = |url: String| LogConfig {
        quorum: 1,
        witnesses: vec![WitnessConfig { vkey: keys[0].to_string(), url }],
    };
    let base = url.clone();
    let base = base.trim_end_matches('/');
    let witnesses = Witnesses::new(&named(url), LOG_ORIGIN).unwrap();
    assert_eq!(see(&witnesses).await, Ok(None));
    let (mut head, body) = request(0, 5, 0);
    let client = Folder::open(&home.join("client")).unwrap();
    let (showings, order) = (Showings::of(&client), order());
    let bring = || showings.show_one(base, LOG_ORIGIN, order.bytes());
    assert_eq!(bring().await.unwrap(), Said::Waits);
    let (WitnessAnswer::Cosigned(lines), handed) = ask(&witnesses, body.clone()).await else {
        panic!("refused")
    };
    // The order goes with the very answer the log asked for; then the witness says so.
    assert_eq!(handed, [order.bytes()]);
    let Said::Handed(said) = bring().await.unwrap() else { panic!("handed over") };
    assert_eq!((said.order, said.size), (order.digest(), 5));
    let word = showings.all().unwrap().remove(0);
    let key = PublicKey(*keys[0].ed25519().unwrap());
    assert_eq!(*verify::<Showing>(&word, &key).unwrap(), said);
    assert!(showings.show_one(base, "log.elsewhere", order.bytes()).await.is_err());
    assert!(showings.show_one(base, LOG_ORIGIN, b"no order").await.is_err());
    for line in bulla_tlog::note::NoteSignature::parse_lines(&lines).unwrap() {
        head.push_signature(line).unwrap();
    }
    for key in keys.clone() {
        assert!(Quorum::new(1, vec![key]).unwrap().check(&head).is_ok());
    }
    assert_eq!(see(&witnesses).await, Ok(Some(head.to_bytes())));
    assert_eq!(ask(&witnesses, body).await, (WitnessAnswer::Conflict(5), Vec::new()));
    let (forked, _) = ask(&witnesses, request(5, 9, 1).1).await;
    assert!(matches!(forked, WitnessAnswer::Refused { status: 422, .. }), "{forked:?}");
    serving.abort();
    let nobody = Witnesses::new(&named("http://127.0.0.1:1".to_owned()), LOG_ORIGIN).unwrap();
    assert!(see(&nobody).await.is_err());
    assert!(matches!(ask(&nobody, Vec::new()).await.0, WitnessAnswer::Unreachable(_)));
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn broker_and_witness_speak_over_http() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(speak());
}
