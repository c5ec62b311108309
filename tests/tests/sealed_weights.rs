//! Encrypted weights, end to end: an enclave that waits, a key broker that appraises it, and the
//! model served afterwards.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::policy::Policy;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::weights::{CHUNK_BYTES, SUFFIX, WeightsKey};
use bulla_client::io::key_broker::{KeyBroker, OneKey, ReleaseError};
use bulla_enclave::command::{EnclaveArgs, execute};
use bulla_enclave::config::{EnclaveConfig, TeeChoice};
use bulla_enclave::simulated_tee::{Authority, Node, Validity};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::sync::watch;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/demo/bulla-demo");
const DEVELOPMENT: &str = include_str!("../../policies/appraisal/development.toml");
const STRICT: &str = include_str!("../../policies/appraisal/strict.toml");

macro_rules! stored {
    ($name:literal) => {
        include_bytes!(concat!("../vectors/simulated-chain/genoa-", $name))
    };
}

/// The stored authority, and a chip under it, as a data folder keeps them.
fn simulated_tee(folder: &Path) -> Vec<u8> {
    let (ark, ask) = (stored!("WORTHLESS-ark.key"), stored!("WORTHLESS-ask.key"));
    let (root, intermediate) = (stored!("ark.der").to_vec(), stored!("ask.der").to_vec());
    let authority =
        Authority::from_stored(ProductLine::Genoa, ark, ask, root.clone(), intermediate.clone())
            .unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let node = Node::new(&authority, Validity::years_from(now.as_secs() as i64, 7), &mut rng);
    fs::create_dir_all(folder).unwrap();
    let files: [(&str, Vec<u8>); 7] = [
        ("ark.key", ark.to_vec()),
        ("ask.key", ask.to_vec()),
        ("vcek.key", node.chip.scalar().to_vec()),
        ("chip.id", node.template.chip_id.to_vec()),
        ("ark.der", root.clone()),
        ("ask.der", intermediate),
        ("vcek.der", node.chip.certificate().to_vec()),
    ];
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    root
}

/// The demo model with every file encrypted.
fn encrypt(key: &WeightsKey, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(MODEL).unwrap().flatten() {
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let plain = fs::read(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        let full = format!("bulla-demo/{name}");
        let mut salter = key.salter(&full);
        salter.update(&plain);
        let (header, mut sealer) = key.sealer(&full, salter.finish());
        let mut out = header.to_vec();
        let chunks: Vec<&[u8]> = plain.chunks(CHUNK_BYTES).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut chunk = chunk.to_vec();
            sealer.seal(&mut chunk, index + 1 == chunks.len()).unwrap();
            out.extend(chunk);
        }
        fs::write(to.join(format!("{name}{SUFFIX}")), out).unwrap();
    }
}

struct World {
    folder: tempfile::TempDir,
    url: String,
    root: Vec<u8>,
    stop: watch::Sender<bool>,
    enclave: tokio::task::JoinHandle<Result<(), String>>,
}

impl World {
    fn start(key: &WeightsKey) -> World {
        let folder = tempfile::tempdir().unwrap();
        encrypt(key, &folder.path().join("bulla-demo"));
        let root = simulated_tee(&folder.path().join("data/simulated-tee"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = bulla_tlog::SignerKey::from_seed("log.example", &[4; 32]).unwrap();
        let config = EnclaveConfig {
            listen: format!("127.0.0.1:{port}"),
            tee: TeeChoice::Simulated,
            sealed_weights: true,
            cache_mib: 64,
            ..EnclaveConfig::local(
                "enclave-1".parse().unwrap(),
                PathBuf::from("data"),
                PathBuf::from("bulla-demo"),
                bulla_wire::ids::PublicKey([7; 32]),
                log.verifier().to_string(),
            )
        };
        let path = folder.path().join("enclave.toml");
        fs::write(&path, config.to_toml().unwrap()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = execute(EnclaveArgs { config: path }, stopped);
        let enclave = tokio::spawn(async { running.await.map_err(|error| format!("{error:#}")) });
        World { folder, url: format!("https://127.0.0.1:{port}"), root, stop, enclave }
    }

    fn broker(&self, policy: &str, key: &WeightsKey) -> KeyBroker<OneKey> {
        let root = TrustAnchor::simulated("test", &self.root).unwrap();
        KeyBroker {
            policy: Policy::from_toml(policy).unwrap(),
            anchors: TrustAnchors::vendors().with(root),
            source: OneKey(key.clone()),
        }
    }

    /// Until the enclave says that it waits, or that it does not.
    async fn until(&self, waiting: bool) {
        let broker = self.broker(DEVELOPMENT, &WeightsKey::from_bytes([0; 32]));
        for _ in 0..600 {
            if broker.is_waiting(&self.url).await.is_ok_and(|is| is == waiting) {
                return;
            }
            assert!(!self.enclave.is_finished(), "the enclave ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the enclave did not say waiting = {waiting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_open_for_an_enclave_whose_evidence_passed_and_for_no_other() {
    let key = WeightsKey::from_bytes([7; 32]);
    let world = World::start(&key);
    world.until(true).await;

    // A policy that takes no simulated TEE: nothing is sent.
    let refused = world.broker(STRICT, &key).release(&world.url).await.unwrap_err();
    let ReleaseError::Refused { result, .. } = refused else { panic!("{refused}") };
    assert!(result.failed().any(|check| check.name.as_str() == "simulated_root"), "{result}");

    // Another key: the enclave says no and goes on waiting.
    let other = WeightsKey::from_bytes([8; 32]);
    let refused = world.broker(DEVELOPMENT, &other).release(&world.url).await.unwrap_err();
    assert!(matches!(refused, ReleaseError::Transport(_)), "{refused}");
    world.until(true).await;

    let released = world.broker(DEVELOPMENT, &key).release(&world.url).await.unwrap();
    assert_eq!((released.key, released.simulated), (key.id(), true));
    world.until(false).await;
    assert!(!world.folder.path().join("data/weights").exists(), "opened files are removed");
    world.stop.send_replace(true);
    world.enclave.await.unwrap().unwrap();
}
