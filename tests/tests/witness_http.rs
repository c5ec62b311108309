//! The broker's way to a witness, and the witness behind it, over a real socket.

use std::net::SocketAddr;

use bulla_broker::broker::Event;
use bulla_broker::config::{LogConfig, WitnessConfig};
use bulla_broker::io::witness::Witnesses;
use bulla_broker::log::WitnessAnswer;
use bulla_client::io::system::SystemRng;
use bulla_client::io::witness::{WitnessFolder, serve};
use bulla_tests::rig::{LOG_ORIGIN, log_signer};
use bulla_tlog::submission::Submission;
use bulla_tlog::{Checkpoint, Hash, Quorum, SignedCheckpoint, Tree};

fn request(old: u64, size: u64, salt: u8) -> (SignedCheckpoint, Vec<u8>) {
    let tree = Tree::from_leaf_hashes((0..size).map(|index| Hash::leaf(&[salt, index as u8])));
    let head = Checkpoint::new(LOG_ORIGIN, size, tree.root()).unwrap().sign(&log_signer()).unwrap();
    let proof = tree.consistency_proof(old, size).unwrap();
    let request = Submission::new(old, proof, &head).unwrap().to_string();
    (head, request.into_bytes())
}

async fn ask(witnesses: &Witnesses, body: Vec<u8>) -> WitnessAnswer {
    match witnesses.add_checkpoint(0, body).await {
        Event::WitnessAnswered { witness: 0, answer } => answer,
        other => panic!("{other:?}"),
    }
}

async fn see(witnesses: &Witnesses) -> Result<Option<Vec<u8>>, String> {
    match witnesses.see(0).await {
        Event::WitnessSeen { witness: 0, newest } => newest,
        other => panic!("{other:?}"),
    }
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
    let witnesses = Witnesses::new(&named(url), LOG_ORIGIN).unwrap();
    assert_eq!(see(&witnesses).await, Ok(None));
    let (mut head, body) = request(0, 5, 0);
    let WitnessAnswer::Cosigned(lines) = ask(&witnesses, body.clone()).await else {
        panic!("refused")
    };
    for line in bulla_tlog::note::NoteSignature::parse_lines(&lines).unwrap() {
        head.push_signature(line).unwrap();
    }
    for key in keys.clone() {
        assert!(Quorum::new(1, vec![key]).unwrap().check(&head).is_ok());
    }
    assert_eq!(see(&witnesses).await, Ok(Some(head.to_bytes())));
    assert_eq!(ask(&witnesses, body).await, WitnessAnswer::Conflict(5));
    let forked = ask(&witnesses, request(5, 9, 1).1).await;
    assert!(matches!(forked, WitnessAnswer::Refused { status: 422, .. }), "{forked:?}");
    serving.abort();
    let nobody = Witnesses::new(&named("http://127.0.0.1:1".to_owned()), LOG_ORIGIN).unwrap();
    assert!(see(&nobody).await.is_err());
    assert!(matches!(ask(&nobody, Vec::new()).await, WitnessAnswer::Unreachable(_)));
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn broker_and_witness_speak_over_http() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(speak());
}
