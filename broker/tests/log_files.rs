//! The log as static files: what is written verifies, a crash at any file and byte is a start.

use std::path::{Path, PathBuf};

use bulla_broker::io::log_files::{LogFiles, LogFilesError, LogFilesWriter, file};
use bulla_broker::io::store::{Reader, SqliteStore, Store};
use bulla_broker::ledger::{Command, Queries};
use bulla_broker::log::{Log, LogRule};
use bulla_tlog::tile::{TileId, TileLevel, TiledTree, decode_bundle, new_tiles};
use bulla_tlog::{Hash, SignedCheckpoint, SignerKey, verify_inclusion};
use bulla_wire::units::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn key() -> SignerKey {
    SignerKey::from_seed("log.example/usage", &[1; 32]).unwrap()
}

fn grow(store: &mut SqliteStore, leaves: u64) {
    let from = store.leaf_count().unwrap();
    let commands: Vec<Command> = (from..from + leaves)
        .map(|n| Command::LogLeaf { leaf: format!("leaf {n}").into_bytes() })
        .collect();
    assert!(store.execute(&commands, NOW).unwrap().iter().all(Result::is_ok));
}

fn head(store: &dyn Queries) -> Vec<u8> {
    let log = Log::resume(&LogRule::default(), &key(), store).unwrap();
    log.published().unwrap().to_bytes()
}

fn open(root: &Path, store: &dyn Reader) -> Result<LogFiles, LogFilesError> {
    LogFiles::open(root, key().verifier(), store)
}

/// Everything that the checkpoint in the folder needs is there and leads to its root.
fn verify(root: &Path) -> u64 {
    let note = std::fs::read(root.join("checkpoint")).unwrap();
    let head = SignedCheckpoint::open(&note, &key().verifier()).unwrap();
    let (size, claimed) = (head.checkpoint().size(), head.checkpoint().root());
    let read = |id: TileId| {
        let full = || file(root, &id.full().to_string());
        file(root, &id.to_string()).or_else(full).ok_or_else(|| id.to_string())
    };
    let mut tree = TiledTree::new(read, size).unwrap();
    assert_eq!(tree.root().unwrap(), claimed);
    for index in [0, size / 3, size / 2, size.saturating_sub(1)] {
        if index < size {
            let (leaf, proof) =
                (tree.leaf_hash(index).unwrap(), tree.inclusion_proof(index).unwrap());
            verify_inclusion(leaf, index, size, &proof, claimed).unwrap();
        }
    }
    for id in new_tiles(0, size).filter(|id| id.level() == TileLevel::Entries) {
        let bytes = read(id).unwrap();
        for (at, leaf) in (id.index() * 256..).zip(decode_bundle(&bytes, id.width()).unwrap()) {
            assert_eq!(tree.leaf_hash(at).unwrap(), Hash::leaf(leaf));
        }
    }
    size
}

fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(all_files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn files_grow_with_the_log_and_verify_at_every_head() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("log");
    let mut store = SqliteStore::in_memory().unwrap();
    let mut files = open(&root, &store).unwrap();
    for leaves in [1, 1, 5, 248, 1, 1, 255, 700] {
        grow(&mut store, leaves);
        files.write(&head(&store), &store).unwrap();
        assert_eq!(verify(&root), store.leaf_count().unwrap());
        // Another process goes on where this one stopped.
        assert_eq!(open(&root, &store).unwrap().size(), files.size());
    }
    // Partial tiles whose full ones are there are gone.
    assert!(root.join("tile/0/000").exists() && !root.join("tile/0/000.p").exists());
    assert!(!root.join("tile/entries/000.p").exists());
    assert_eq!(file(&root, "../checkpoint"), None);
    assert_eq!(file(&root, "tile/0/../../checkpoint"), None);
}

#[test]
fn heads_in_a_row_are_one_set_of_files_and_the_last_is_written_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let (root, ledger) = (home.path().join("log"), home.path().join("ledger"));
    let mut store = SqliteStore::open(&ledger).unwrap();
    let reader = || SqliteStore::open_reader(&ledger).unwrap();
    let files = open(&root, &reader()).unwrap();
    let (writer, thread) = LogFilesWriter::start(files, Box::new(reader())).unwrap();
    for _ in 0..40 {
        grow(&mut store, 3);
        writer.publish(head(&store));
    }
    drop(writer);
    thread.join().unwrap();
    assert_eq!(verify(&root), 120);
    // One partial tile for each head that was written, and not one for each that was published.
    let partial = std::fs::read_dir(root.join("tile/0/000.p")).unwrap().count();
    assert!((1..40).contains(&partial), "{partial}");
}

#[test]
fn a_crash_at_any_file_and_byte_is_the_normal_start() {
    let home = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::in_memory().unwrap();
    grow(&mut store, 250);
    let before = home.path().join("before");
    open(&before, &store).unwrap().write(&head(&store), &store).unwrap();
    grow(&mut store, 10);
    let after = home.path().join("after");
    open(&after, &store).unwrap().write(&head(&store), &store).unwrap();
    let written: Vec<PathBuf> =
        all_files(&after).into_iter().filter(|path| !path.ends_with("checkpoint")).collect();
    for (number, path) in written.iter().enumerate() {
        let relative = path.strip_prefix(&after).unwrap();
        let bytes = std::fs::read(path).unwrap();
        for cut in (0..=bytes.len()).step_by(1997).chain([bytes.len()]) {
            // The old files, some of the new ones, and a part of the next one under its first name.
            let crashed = home.path().join("crashed");
            copy(&before, &crashed);
            for done in &written[..number] {
                let to = crashed.join(done.strip_prefix(&after).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(done, to).unwrap();
            }
            let partial = crashed.join(relative).with_extension("partial");
            std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
            std::fs::write(&partial, &bytes[..cut]).unwrap();
            assert_eq!(verify(&crashed), 250, "the old head still verifies");
            let mut files = open(&crashed, &store).unwrap();
            files.write(&head(&store), &store).unwrap();
            assert_eq!(verify(&crashed), 260);
            std::fs::remove_dir_all(&crashed).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for file in all_files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

#[test]
fn refuses_files_that_do_not_fit_their_head_and_heads_that_do_not_fit_the_ledger() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("log");
    let mut store = SqliteStore::in_memory().unwrap();
    grow(&mut store, 300);
    open(&root, &store).unwrap().write(&head(&store), &store).unwrap();
    let tile = root.join("tile/0/001.p/44");
    let good = std::fs::read(&tile).unwrap();
    let mut changed = good.clone();
    changed[40] ^= 1;
    std::fs::write(&tile, &changed).unwrap();
    assert!(matches!(open(&root, &store), Err(LogFilesError::Tiles { .. })));
    std::fs::write(&tile, &good[..good.len() - 1]).unwrap();
    assert!(matches!(open(&root, &store), Err(LogFilesError::Tiles { .. })));
    std::fs::remove_file(&tile).unwrap();
    assert!(matches!(open(&root, &store), Err(LogFilesError::Io { .. })));
    std::fs::write(&tile, &good).unwrap();
    let note = root.join("checkpoint");
    let signed = std::fs::read(&note).unwrap();
    std::fs::write(&note, &signed[..signed.len() / 2]).unwrap();
    assert!(matches!(open(&root, &store), Err(LogFilesError::AnotherLog { .. })));
    std::fs::write(&note, &signed).unwrap();
    let mut files = open(&root, &store).unwrap();
    let mut other = SqliteStore::in_memory().unwrap();
    other.execute(&[Command::LogLeaf { leaf: b"other".to_vec() }], NOW).unwrap();
    grow(&mut other, 309);
    grow(&mut store, 10);
    let fork = files.write(&head(&other), &store);
    assert!(matches!(fork, Err(LogFilesError::Root { size: 310, .. })), "{fork:?}");
    // A ledger from an old backup, beside files that show what was published since.
    let mut restored = SqliteStore::in_memory().unwrap();
    grow(&mut restored, 299);
    let rewound = open(&root, &restored).err();
    assert_eq!(rewound, Some(LogFilesError::Rewound { published: 300, ledger: 299 }));
    let mut files = open(&root, &store).unwrap();
    let rewound = files.write(&head(&restored), &store);
    assert_eq!(rewound, Err(LogFilesError::Rewound { published: 300, ledger: 299 }));
}
