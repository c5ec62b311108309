//! The folder at every byte of a crash, and the protocol over HTTP.

use std::net::SocketAddr;

use bulla_tlog::submission::Submission;
use bulla_tlog::{Checkpoint, Hash, SignedCheckpoint, SignerKey, Tree};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

use super::{WitnessFolder, WitnessFolderError, serve};
use crate::testing::rng;
use crate::witness::{ForkProof, Verdict, Witness, hash_of};
use bulla_wire::units::UnixSeconds;

const ORIGIN: &str = "log.example/usage";
const NAME: &str = "w.example";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn request(old: u64, size: u64, salt: u8) -> String {
    let tree = Tree::from_leaf_hashes((0..size).map(|index| Hash::leaf(&[salt, index as u8])));
    let checkpoint = Checkpoint::new(ORIGIN, size, tree.root()).unwrap().sign(&log_key()).unwrap();
    let proof = tree.consistency_proof(old, size).unwrap();
    Submission::new(old, proof, &checkpoint).unwrap().to_string()
}

fn open(folder: &WitnessFolder) -> Result<Witness, WitnessFolderError> {
    folder.witness(Some(NAME), vec![log_key().verifier()], &mut rng(1))
}

/// Cosigns as the server does, and says the size known afterwards.
fn cosign(folder: &WitnessFolder, witness: &mut Witness, old: u64, size: u64) {
    let body = request(old, size, 0);
    let Verdict::Cosign(accepted) = witness.judge(body.as_bytes(), UnixSeconds(1_800_000_000))
    else {
        panic!("{old} to {size} refused")
    };
    folder.store(accepted.state()).unwrap();
    witness.apply(&accepted);
}

#[test]
fn a_witness_is_made_once_and_remembers() {
    let home = tempfile::tempdir().unwrap();
    let folder = WitnessFolder::open(&home.path().join("witness")).unwrap();
    let nameless = folder.witness(None, Vec::new(), &mut rng(1));
    assert!(matches!(nameless, Err(WitnessFolderError::NoName)));
    let mut first = open(&folder).unwrap();
    cosign(&folder, &mut first, 0, 5);
    let mut again = folder.witness(None, vec![log_key().verifier()], &mut rng(2)).unwrap();
    assert_eq!(again.keys(), first.keys());
    cosign(&folder, &mut again, 5, 6);
    let renamed = folder.witness(Some("other.example"), Vec::new(), &mut rng(1));
    assert!(matches!(renamed, Err(WitnessFolderError::OtherName { .. })));
}

#[test]
fn a_crash_at_any_byte_of_the_state_leaves_the_old_or_the_new_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("witness");
    let folder = WitnessFolder::open(&path).unwrap();
    let mut witness = open(&folder).unwrap();
    cosign(&folder, &mut witness, 0, 5);
    let old = std::fs::read(path.join("witness.state")).unwrap();
    cosign(&folder, &mut witness, 5, 9);
    let new = std::fs::read(path.join("witness.state")).unwrap();
    let size =
        |folder: &WitnessFolder| folder.state().unwrap().unwrap().head(ORIGIN).unwrap().size();
    for cut in 0..=new.len() {
        // What a crash while writing leaves: the old file, and a part of the new one beside it.
        std::fs::write(path.join("witness.state"), &old).unwrap();
        std::fs::write(path.join("witness.partial"), &new[..cut]).unwrap();
        assert_eq!(size(&folder), 5);
        // A file that a broken disk cut is refused: nothing is cosigned by half a memory.
        std::fs::write(path.join("witness.state"), &new[..cut]).unwrap();
        match cut == new.len() {
            true => assert_eq!(size(&folder), 9),
            false => assert!(folder.state().is_err(), "cut at {cut}"),
        }
    }
    std::fs::write(path.join("witness.state"), &new[..new.len() - 1]).unwrap();
    assert!(matches!(open(&folder), Err(WitnessFolderError::State { .. })));
    std::fs::write(path.join("witness.state"), &old).unwrap();
    cosign(&folder, &mut open(&folder).unwrap(), 5, 9);
}

#[test]
fn a_crash_at_any_moment_of_the_first_start_makes_no_witness_that_forgets() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("witness");
    let folder = WitnessFolder::open(&path).unwrap();
    open(&folder).unwrap();
    let key = std::fs::read(path.join("witness.key")).unwrap();
    // The state is written first: without a key nothing has been cosigned, and one is made.
    std::fs::remove_file(path.join("witness.key")).unwrap();
    std::fs::write(path.join("witness.partial"), &key[..key.len() / 2]).unwrap();
    open(&folder).unwrap();
    std::fs::remove_file(path.join("witness.state")).unwrap();
    assert!(matches!(open(&folder), Err(WitnessFolderError::Forgotten { .. })));
}

struct Served {
    _home: tempfile::TempDir,
    path: std::path::PathBuf,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

async fn served() -> Served {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("witness");
    let folder = WitnessFolder::open(&path).unwrap();
    let witness = open(&folder).unwrap();
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    tokio::spawn(serve(witness, folder, any, ready, shutdown));
    Served { _home: home, path, address: address.await.unwrap(), _stop: stop }
}

impl Served {
    async fn ask(&self, method: Method, path: &str, body: String) -> (u16, String, String) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let media = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, media.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn add(&self, body: String) -> (u16, String, String) {
        self.ask(Method::POST, "/add-checkpoint", body).await
    }
}

#[tokio::test]
async fn speaks_the_protocol_over_http_and_keeps_forks() {
    let served = served().await;
    let monitor = format!("/{}/checkpoint", hash_of(ORIGIN));
    assert_eq!(served.ask(Method::GET, &monitor, String::new()).await.0, 404);
    let (status, _, lines) = served.add(request(0, 7, 0)).await;
    assert_eq!((status, lines.lines().count()), (200, 2), "{lines}");
    assert_eq!(served.add(request(0, 7, 0)).await, (409, "text/x.tlog.size".into(), "7\n".into()));
    assert_eq!(served.add("old".to_owned()).await.0, 400);
    assert_eq!(served.add(request(7, 9, 1)).await.0, 422);
    let (status, _, note) = served.ask(Method::GET, &monitor, String::new()).await;
    assert_eq!(status, 200);
    let opened = SignedCheckpoint::open(note.as_bytes(), &log_key().verifier()).unwrap();
    assert_eq!((opened.checkpoint().size(), opened.note().signatures().len()), (7, 3));
    let (_, _, keys) = served.ask(Method::GET, "/vkeys", String::new()).await;
    assert_eq!(keys.lines().count(), 2);
    // Durable before it was said: another witness over the same folder knows it.
    let folder = WitnessFolder::open(&served.path).unwrap();
    assert!(open(&folder).unwrap().newest(&hash_of(ORIGIN)).unwrap() == note);
    let forks: Vec<_> = std::fs::read_dir(served.path.join("forks")).unwrap().collect();
    assert_eq!(forks.len(), 1);
    let kept = std::fs::read(forks[0].as_ref().unwrap().path()).unwrap();
    let forked = ForkProof::from_json(&kept).unwrap().verify(&[log_key().verifier()]).unwrap();
    assert_eq!(forked.first.checkpoint().size(), 7);
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_not_cosigned() {
    let served = served().await;
    // A folder in the state's place: it cannot be replaced by a file.
    std::fs::remove_file(served.path.join("witness.state")).unwrap();
    std::fs::create_dir(served.path.join("witness.state")).unwrap();
    let (status, _, text) = served.add(request(0, 7, 0)).await;
    assert_eq!(status, 500, "{text}");
    let monitor = format!("/{}/checkpoint", hash_of(ORIGIN));
    assert_eq!(served.ask(Method::GET, &monitor, String::new()).await.0, 404);
}
