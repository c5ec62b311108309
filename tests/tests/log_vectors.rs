//! The log as files, for readers that are not ours: `tests/vectors/log` holds what the broker's
//! writer, a witness's keys and the proof makers write. `tests/independent/verify_log.py` and
//! `tests/tlog` judge them. Written anew with
//! `BULLA_WRITE_VECTORS=1 cargo test -p bulla-tests --test log_vectors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulla_attestation::inclusion::{sign_inclusion, verify_inclusion_receipt};
use bulla_broker::io::log_files::LogFiles;
use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::ledger::Command;
use bulla_tlog::submission::Submission;
use bulla_tlog::{
    Checkpoint, Hash, Quorum, SignedCheckpoint, SignerKey, TlogProof, Tree, WitnessSigner,
};
use bulla_wire::units::UnixMillis;

const ORIGIN: &str = "log.bulla.test/usage";
const LEAVES: u64 = 600;
const PROVEN: u64 = 300;
const TIME_S: u64 = 1_800_000_000;

fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[21; 32]).unwrap()
}

fn witnesses() -> [WitnessSigner; 2] {
    [
        WitnessSigner::from_seed("witness.bulla.test/one", &[22; 32]).unwrap(),
        WitnessSigner::ml_dsa_44_from_seed("witness.bulla.test/two", &[23; 32]).unwrap(),
    ]
}

fn leaf(index: u64) -> Vec<u8> {
    format!("leaf {index}").into_bytes()
}

fn head(tree: &Tree, size: u64) -> SignedCheckpoint {
    let root = tree.root_at(size).unwrap();
    let mut head = Checkpoint::new(ORIGIN, size, root).unwrap().sign(&key()).unwrap();
    for witness in witnesses() {
        let line = witness.cosign(&head, TIME_S).unwrap();
        head.push_signature(line).unwrap();
    }
    head
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn write(folder: &Path) {
    let tree = Tree::from_leaf_hashes((0..LEAVES).map(|index| Hash::leaf(&leaf(index))));
    let mut store = SqliteStore::in_memory().unwrap();
    let commands: Vec<Command> =
        (0..LEAVES).map(|index| Command::LogLeaf { leaf: leaf(index) }).collect();
    store.execute(&commands, UnixMillis(TIME_S * 1000)).unwrap();
    let mut log = LogFiles::open(&folder.join("log"), key().verifier(), &store).unwrap();
    // An earlier head first, so that partial tiles have come and gone.
    log.write(&head(&tree, 250).to_bytes(), &store).unwrap();
    let newest = head(&tree, LEAVES);
    log.write(&newest.to_bytes(), &store).unwrap();
    let path = tree.inclusion_proof(PROVEN, LEAVES).unwrap();
    let proof = TlogProof::new(PROVEN, path.clone(), &newest, &leaf(PROVEN)).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    put("leaf-300.tlog-proof", proof.to_string().as_bytes());
    let hash = Hash::leaf(&leaf(PROVEN));
    put("leaf-300.cose", &sign_inclusion(&key(), &newest, hash, PROVEN, &path).unwrap());
    let consistency = tree.consistency_proof(250, LEAVES).unwrap();
    let request = Submission::new(250, consistency, &newest).unwrap();
    put("add-checkpoint", request.to_string().as_bytes());
    put("log.vkey", format!("{}\n", key().verifier()).as_bytes());
    put("checkpoint-250", &head(&tree, 250).to_bytes());
    let keys: String = witnesses().iter().map(|one| format!("{}\n", one.verifier())).collect();
    put("witnesses.vkeys", keys.as_bytes());
}

#[test]
fn the_files_are_those_that_others_judge() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/log");
    if std::env::var_os("BULLA_WRITE_VECTORS").is_some() {
        let _ = std::fs::remove_dir_all(&stored);
        std::fs::create_dir_all(&stored).unwrap();
        write(&stored);
    }
    let home = tempfile();
    write(&home);
    let relative = |root: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let named = |(path, bytes): (PathBuf, Vec<u8>)| {
            (path.strip_prefix(root).unwrap().to_owned(), bytes)
        };
        files(root).into_iter().map(named).collect()
    };
    assert!(
        relative(&home) == relative(&stored),
        "write them anew with BULLA_WRITE_VECTORS=1, and look at what changed"
    );
    std::fs::remove_dir_all(&home).unwrap();
    // And we read them ourselves.
    let read = |name: &str| std::fs::read(stored.join(name)).unwrap();
    let quorum = Quorum::new(2, witnesses().iter().map(WitnessSigner::verifier).collect()).unwrap();
    let proof = TlogProof::parse(&read("leaf-300.tlog-proof")).unwrap();
    let hash = Hash::leaf(proof.extra());
    proof.verify(hash, &key().verifier(), Some(&quorum)).unwrap();
    verify_inclusion_receipt(&read("leaf-300.cose"), hash, &key().verifier()).unwrap();
}

/// A fresh folder of our own.
fn tempfile() -> PathBuf {
    let path = std::env::temp_dir().join(format!("bulla-log-vectors-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
