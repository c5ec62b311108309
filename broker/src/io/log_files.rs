//! The log as static files (C2SP tlog-tiles), for anybody's web server and for our own.
//!
//! ```text
//! log/checkpoint                    the published head, replaced as a whole, written last
//! log/tile/0/000.p/17               tiles of hashes, 256 wide once full
//! log/tile/entries/000.p/17         the leaves themselves
//! ```
//! Everything that a checkpoint needs is durable before the checkpoint is, so a crash at any byte
//! leaves a log that verifies, and the next start writes on from its checkpoint. Files are named by
//! their content's place and never change; a partial tile goes once its full one is there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bulla_tlog::checkpoint::OpenError;
use bulla_tlog::note::MAX_NOTE_BYTES;
use bulla_tlog::tile::{EdgeError, TILE_WIDTH, TileEdge, TileId, TileLevel, encode_bundle};
use bulla_tlog::{Hash, SignedCheckpoint, VerifierKey};

use super::store::Reader;
use crate::ledger::StoreError;
use crate::log::PAGE_LEAVES;

/// Heads that wait to be written; while there is one, newer heads stand for older ones.
const MAX_WAITING_HEADS: usize = 64;
/// Least time between two heads in the files. Each costs half a dozen syncs whatever it adds, and
/// whoever asks the broker itself gets the newest head from its memory.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Folder below the data folder.
pub const FOLDER: &str = "log";
const CHECKPOINT: &str = "checkpoint";

/// Why the files could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFilesError {
    /// The system says no.
    #[error("{path:?}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint on disk is not this log's.
    #[error(
        "{}: {source}; where the log took another origin, move this folder to where the old one stays published and start again (docs/log.md, \"Another origin\"); else restore it", .path.display()
    )]
    AnotherLog {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: OpenError,
    },
    /// The checkpoint to be written is not this log's.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] OpenError),
    /// The tiles on disk do not fit their checkpoint.
    #[error("tiles of the log: {reason}; remove the folder, it is written anew from the ledger")]
    Tiles {
        /// What is wrong.
        reason: String,
    },
    /// The ledger went back: what was published is not in it.
    #[error(
        "the log's files show {published} leaves, the ledger has {ledger}: it was restored from an old backup; restore a newer one, or see docs/log.md, \"After a restore\""
    )]
    Rewound {
        /// Leaves published.
        published: u64,
        /// Leaves in the ledger.
        ledger: u64,
    },
    /// The head to be written does not follow from the leaves.
    #[error("the leaves lead to root {got} over {size} leaves, the published head says {expected}")]
    Root {
        /// Leaves.
        size: u64,
        /// Root of the head.
        expected: Hash,
        /// Root of the leaves.
        got: Hash,
    },
}

fn failed(path: &Path, error: impl std::fmt::Display) -> LogFilesError {
    LogFilesError::Io { path: path.to_owned(), reason: error.to_string() }
}

/// Writes a log's files.
pub struct LogFiles {
    root: PathBuf,
    key: VerifierKey,
    edge: TileEdge,
    /// Leaves of the partial bundle.
    entries: Vec<Vec<u8>>,
}

impl LogFiles {
    /// Takes up the files in `root`, or begins them.
    pub fn open(
        root: &Path,
        key: VerifierKey,
        store: &dyn Reader,
    ) -> Result<LogFiles, LogFilesError> {
        fs::create_dir_all(root).map_err(|error| failed(root, error))?;
        let mut files =
            LogFiles { root: root.to_owned(), key, edge: TileEdge::new(), entries: Vec::new() };
        let path = root.join(CHECKPOINT);
        if !path.exists() {
            return Ok(files);
        }
        let head = SignedCheckpoint::open(&read(&path)?, &files.key);
        let head = head.map_err(|source| LogFilesError::AnotherLog { path, source })?;
        let head = head.checkpoint();
        let tile = |id: TileId| read(&root.join(id.to_string()));
        files.edge = TileEdge::resume(head.size(), tile).map_err(|error| match error {
            EdgeError::Read { source, .. } => source,
            other => LogFilesError::Tiles { reason: other.to_string() },
        })?;
        if files.edge.root() != head.root() {
            let reason = format!("they do not lead to the root of {} leaves", head.size());
            return Err(LogFilesError::Tiles { reason });
        }
        let (published, ledger) = (head.size(), store.leaf_count()?);
        if ledger < published {
            return Err(LogFilesError::Rewound { published, ledger });
        }
        let partial = head.size() % u64::from(TILE_WIDTH);
        files.entries = store.leaves(head.size() - partial, partial as usize)?;
        Ok(files)
    }

    /// Leaves in the files.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Writes everything up to a published head, then the head.
    pub fn write(&mut self, note: &[u8], store: &dyn Reader) -> Result<(), LogFilesError> {
        let head = SignedCheckpoint::open(note, &self.key)?;
        let (size, expected) = (head.checkpoint().size(), head.checkpoint().root());
        if size < self.edge.size() {
            let (published, ledger) = (self.edge.size(), size);
            return Err(LogFilesError::Rewound { published, ledger });
        }
        let mut filled = Vec::new();
        while self.edge.size() < size {
            let from = self.edge.size();
            let limit = usize::try_from(size - from).unwrap_or(PAGE_LEAVES).min(PAGE_LEAVES);
            let page = store.leaves(from, limit)?;
            if page.is_empty() {
                let reason = format!("the ledger has {from} leaves, the head {size}");
                return Err(LogFilesError::Tiles { reason });
            }
            for leaf in page {
                self.push(leaf, &mut filled)?;
            }
        }
        if self.edge.root() != expected {
            return Err(LogFilesError::Root { size, expected, got: self.edge.root() });
        }
        for (id, bytes) in self.edge.partial() {
            self.put(id, &bytes)?;
        }
        self.put_entries()?;
        write_durable(&self.root.join(CHECKPOINT), note)?;
        // Nobody needs what was partial before, now that the head leads to the full one.
        for id in filled {
            let partial = self.root.join(format!("{id}.p"));
            if partial.exists() {
                fs::remove_dir_all(&partial).map_err(|error| failed(&partial, error))?;
            }
        }
        Ok(())
    }

    fn push(&mut self, leaf: Vec<u8>, filled: &mut Vec<TileId>) -> Result<(), LogFilesError> {
        let full = self.edge.push(Hash::leaf(&leaf));
        self.entries.push(leaf);
        if self.entries.len() == usize::from(TILE_WIDTH) {
            filled.extend(self.put_entries()?);
            self.entries.clear();
        }
        for (id, bytes) in full {
            self.put(id, &bytes)?;
            filled.push(id);
        }
        Ok(())
    }

    /// The newest bundle of leaves, full or not.
    fn put_entries(&self) -> Result<Option<TileId>, LogFilesError> {
        let Some(last) = self.edge.size().checked_sub(1) else { return Ok(None) };
        let index = last / u64::from(TILE_WIDTH);
        let id = TileId::in_tree(TileLevel::Entries, index, self.edge.size());
        let Some(id) = id.filter(|id| usize::from(id.width()) == self.entries.len()) else {
            return Ok(None);
        };
        let bytes = encode_bundle(&self.entries)
            .map_err(|error| LogFilesError::Tiles { reason: error.to_string() })?;
        self.put(id, &bytes)?;
        Ok(Some(id))
    }

    fn put(&self, id: TileId, bytes: &[u8]) -> Result<(), LogFilesError> {
        let path = self.root.join(id.to_string());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        }
        write_durable(&path, bytes)
    }
}

/// A file of the log, by its path below the log's prefix; `None` where there is none.
pub fn file(root: &Path, path: &str) -> Option<Vec<u8>> {
    // Only what names a tile is looked for: no path leads out of the folder.
    let id = TileId::parse(path).ok()?;
    fs::read(root.join(id.to_string())).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, LogFilesError> {
    let length = fs::metadata(path).map_err(|error| failed(path, error))?.len();
    if length > MAX_NOTE_BYTES as u64 {
        return Err(failed(path, format!("has {length} bytes, more than any of these")));
    }
    fs::read(path).map_err(|error| failed(path, error))
}

fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), LogFilesError> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error: std::io::Error| failed(path, error))
}

/// A handle to the thread that writes the files.
#[derive(Clone)]
pub struct LogFilesWriter {
    heads: SyncSender<Vec<u8>>,
}

impl LogFilesWriter {
    /// Starts the thread. It ends when every handle is gone.
    pub fn start(
        mut files: LogFiles,
        store: Box<dyn Reader>,
    ) -> std::io::Result<(LogFilesWriter, JoinHandle<()>)> {
        let (heads, waiting) = sync_channel(MAX_WAITING_HEADS);
        let thread = std::thread::Builder::new()
            .name("log-files".to_owned())
            .spawn(move || write_all(&mut files, &*store, &waiting))?;
        Ok((LogFilesWriter { heads }, thread))
    }

    /// A head is published. Never waits: a head that finds no room is followed by another.
    pub fn publish(&self, note: Vec<u8>) {
        match self.heads.try_send(note) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn write_all(files: &mut LogFiles, store: &dyn Reader, waiting: &Receiver<Vec<u8>>) {
    let mut next = waiting.recv().ok();
    while let Some(mut newest) = next.take() {
        newest = waiting.try_iter().last().unwrap_or(newest);
        let begun = Instant::now();
        if let Err(error) = files.write(&newest, store) {
            tracing::error!(%error, "the log's files could not be written");
        }
        next = newest_after(waiting, begun + WRITE_EVERY);
    }
}

/// The newest head once it is time for one; the last one at once when no more will come.
fn newest_after(waiting: &Receiver<Vec<u8>>, time: Instant) -> Option<Vec<u8>> {
    let mut newest = None;
    loop {
        match waiting.recv_timeout(time.saturating_duration_since(Instant::now())) {
            Ok(head) => newest = Some(head),
            Err(RecvTimeoutError::Timeout) if newest.is_none() => return waiting.recv().ok(),
            Err(_) => return newest,
        }
    }
}
