//! The client's memory of heads, against a broker that serves tiles over a socket.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use bulla_tlog::tile::build_tile;
use bulla_tlog::{Checkpoint, SignedCheckpoint, SignerKey, Tree, WitnessSigner};
use tokio::net::TcpListener;

use super::*;
use crate::io::transport::Transport;
use crate::log::LogConfig;
use crate::testing::policy;

/// Leaves of the longest log here: two levels of tiles.
const LEAVES: u64 = 700;

fn key() -> SignerKey {
    SignerKey::from_seed("log.example", &[1; 32]).unwrap()
}

/// A log whose leaves from `fork` on are its own.
fn tree(size: u64, fork: u64) -> Tree {
    let mut tree = Tree::new();
    for n in 0..size {
        let own = if n >= fork { fork + 1 } else { 0 };
        tree.push(format!("{n} {own}").as_bytes());
    }
    tree
}

fn head(tree: &Tree) -> SignedCheckpoint {
    let signer = key();
    let head = Checkpoint::new(signer.verifier().name(), tree.size(), tree.root()).unwrap();
    head.sign(&signer).unwrap()
}

fn rule() -> LogRule {
    let witness = WitnessSigner::from_seed("w.example", &[2; 32]).unwrap().verifier();
    let (witnesses, maximum_age_seconds) = (vec![witness.to_string()], None);
    let config = LogConfig { quorum: 1, witnesses, maximum_age_seconds };
    LogRule::of(&config, Some(key().verifier()), &policy()).unwrap().unwrap()
}

/// What a broker serves as tiles.
enum Tiles {
    Of(Tree),
    Cut(Tree),
    None,
}

type Served = Arc<Mutex<Tiles>>;

async fn tile(State(tiles): State<Served>, Path(path): Path<String>) -> (StatusCode, Vec<u8>) {
    let id = TileId::parse(&format!("tile/{path}")).unwrap();
    match &*tiles.lock().unwrap() {
        Tiles::Of(tree) => (StatusCode::OK, build_tile(tree, id).unwrap()),
        Tiles::Cut(tree) => (StatusCode::OK, build_tile(tree, id).unwrap()[1..].to_vec()),
        Tiles::None => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

struct World {
    _home: tempfile::TempDir,
    folder: Folder,
    broker: Broker,
    tiles: Served,
}

impl World {
    async fn start() -> World {
        let tiles: Served = Arc::new(Mutex::new(Tiles::None));
        let router =
            Router::new().route("/v1/log/tile/{*path}", get(tile)).with_state(tiles.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let broker = Broker::new(Transport::new(&url, None, None).unwrap());
        World { _home: home, folder, broker, tiles }
    }

    fn serve(&self, tiles: Tiles) {
        *self.tiles.lock().unwrap() = tiles;
    }

    async fn shown(&self, head: &SignedCheckpoint) -> Result<(), LogError> {
        extends_what_was_seen(&self.broker, &self.folder, &rule(), head).await
    }

    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.file(name)).ok()
    }
}

#[tokio::test]
async fn a_head_that_extends_the_one_kept_takes_its_place() {
    let world = World::start().await;
    // Across tiles, inside one, and the same once more.
    for size in [3, 255, 256, 300, LEAVES, LEAVES] {
        let tree = tree(size, LEAVES);
        let head = head(&tree);
        world.serve(Tiles::Of(tree));
        world.shown(&head).await.unwrap();
        assert_eq!(world.kept(HEAD), Some(head.to_bytes()), "{size}");
    }
    assert_eq!(world.kept(FORK), None);
}

#[tokio::test]
async fn less_than_was_seen_is_refused_and_the_memory_stays() {
    let world = World::start().await;
    let seen = head(&tree(300, LEAVES));
    world.shown(&seen).await.unwrap();
    let error = world.shown(&head(&tree(299, LEAVES))).await.unwrap_err();
    let rewound = LogRefusal::Rewound { seen: 300, got: 299 };
    assert!(matches!(&error, LogError::Refused(why) if *why == rewound), "{error}");
    assert_eq!((world.kept(HEAD), world.kept(FORK)), (Some(seen.to_bytes()), None));
}

#[tokio::test]
async fn another_history_is_a_fork_and_kept() {
    for (size, fork) in [(300, 7), (LEAVES, 299), (LEAVES, 0)] {
        let world = World::start().await;
        let seen = head(&tree(300, LEAVES));
        world.shown(&seen).await.unwrap();
        let other = tree(size, fork);
        let shown = head(&other);
        // The tiles of its own lie: they lead to its root, and not to the head seen.
        world.serve(Tiles::Of(other));
        let error = world.shown(&shown).await.unwrap_err();
        let forked = matches!(error, LogError::Refused(LogRefusal::Forked { .. }));
        assert!(forked, "{size} {fork}: {error}");
        assert_eq!(world.kept(HEAD), Some(seen.to_bytes()));
        assert_eq!(world.kept(FORK), Some(shown.to_bytes()));
    }
}

#[tokio::test]
async fn tiles_of_the_honest_history_do_not_help_a_fork() {
    let world = World::start().await;
    world.shown(&head(&tree(300, LEAVES))).await.unwrap();
    world.serve(Tiles::Of(tree(LEAVES, LEAVES)));
    let error = world.shown(&head(&tree(LEAVES, 299))).await.unwrap_err();
    assert!(matches!(error, LogError::Refused(LogRefusal::Forked { .. })), "{error}");
}

#[tokio::test]
async fn without_a_proof_a_larger_head_is_not_believed() {
    let world = World::start().await;
    let seen = head(&tree(300, LEAVES));
    world.shown(&seen).await.unwrap();
    let larger = head(&tree(LEAVES, LEAVES));
    let error = world.shown(&larger).await.unwrap_err();
    assert!(matches!(error, LogError::Transport(_)), "{error}");
    world.serve(Tiles::Cut(tree(LEAVES, LEAVES)));
    let error = world.shown(&larger).await.unwrap_err();
    assert!(matches!(error, LogError::Tiles { .. }), "{error}");
    assert_eq!((world.kept(HEAD), world.kept(FORK)), (Some(seen.to_bytes()), None));
}

#[tokio::test]
async fn a_head_of_another_log_is_nothing_to_compare_with() {
    let world = World::start().await;
    let other = SignerKey::from_seed("other.example", &[9; 32]).unwrap();
    let before = tree(LEAVES, 0);
    let foreign = Checkpoint::new("other.example", before.size(), before.root()).unwrap();
    write_private(&world.folder.file(HEAD), &foreign.sign(&other).unwrap().to_bytes()).unwrap();
    let first = head(&tree(3, LEAVES));
    world.shown(&first).await.unwrap();
    assert_eq!(world.kept(HEAD), Some(first.to_bytes()));
}
