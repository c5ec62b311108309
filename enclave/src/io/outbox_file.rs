//! The durable outbox: records survive a restart of the enclave until the broker has them.
//!
//! One append-only file of CBOR records (a CBOR sequence), each synced before the answer it
//! belongs to ends. Acknowledged records are forgotten by rewriting the file when it has grown.
//! It holds signed receipts, no content and no keys. A torn last record, the mark of a crash
//! while writing, is cut off: its answer never ended, so nobody saw its receipt.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bulla_wire::cbor;
use bulla_wire::pull::{OutboxRecord, RecordPlace};

use crate::outbox::MAX_OUTBOX_RECORDS;

/// Rewrite the file when this many forgotten records are in it.
const MAX_FORGOTTEN_RECORDS: usize = 4096;
/// Largest file read at start, in bytes: every record at its largest, twice.
const MAX_FILE_BYTES: u64 = MAX_OUTBOX_RECORDS as u64 * 2 * 2300;

/// Why the durable outbox cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("outbox {path}: {reason}")]
pub struct OutboxFileError {
    path: String,
    reason: String,
}

/// The file, open for appending.
pub struct OutboxFile {
    path: PathBuf,
    file: File,
    records: Vec<OutboxRecord>,
    forgotten: usize,
}

impl OutboxFile {
    /// Opens or makes the file; gives what an earlier life could not deliver.
    pub fn open(path: &Path) -> Result<(OutboxFile, Vec<OutboxRecord>), OutboxFileError> {
        let fail = |e: &dyn std::fmt::Display| failed(path, e);
        let bytes = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > MAX_FILE_BYTES => return Err(fail(&"file is too large")),
            Ok(_) => std::fs::read(path).map_err(|e| fail(&e))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(fail(&e)),
        };
        let records = read_records(&bytes);
        let file = write_whole(path, &records).map_err(|e| fail(&e))?;
        let backlog = records.clone();
        Ok((OutboxFile { path: path.to_owned(), file, records, forgotten: 0 }, backlog))
    }

    /// Appends records and syncs them: after this returns they survive a crash.
    pub fn append(&mut self, records: &[OutboxRecord]) -> Result<(), OutboxFileError> {
        let bytes: Vec<u8> = records.iter().flat_map(cbor::to_vec).collect();
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| failed(&self.path, &e))?;
        self.records.extend_from_slice(records);
        Ok(())
    }

    /// Forgets what the broker has.
    pub fn forget(&mut self, place: &RecordPlace) -> Result<(), OutboxFileError> {
        let before = self.records.len();
        self.records.retain(|r| r.epoch != place.epoch || r.seq > place.seq);
        self.forgotten += before - self.records.len();
        if self.forgotten >= MAX_FORGOTTEN_RECORDS
            || (self.records.is_empty() && self.forgotten > 0)
        {
            self.file =
                write_whole(&self.path, &self.records).map_err(|e| failed(&self.path, &e))?;
            self.forgotten = 0;
        }
        Ok(())
    }
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> OutboxFileError {
    OutboxFileError { path: path.display().to_string(), reason: reason.to_string() }
}

/// Whole records from the start; stops at a torn one.
fn read_records(bytes: &[u8]) -> Vec<OutboxRecord> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let mut records = Vec::new();
    while decoder.position() < bytes.len() {
        match decoder.decode::<OutboxRecord>() {
            Ok(record) => records.push(record),
            Err(_) => break,
        }
    }
    records
}

/// Writes beside, syncs, renames: the file is always whole. Returns it open for appending.
fn write_whole(path: &Path, records: &[OutboxRecord]) -> std::io::Result<File> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside)?;
    let bytes: Vec<u8> = records.iter().flat_map(cbor::to_vec).collect();
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::record;
    use bulla_wire::ids::EpochId;

    fn records() -> Vec<OutboxRecord> {
        (0..3).map(|seq| record(EpochId([1; 16]), seq, &[seq as u8; 40])).collect()
    }

    #[test]
    fn records_survive_until_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.cbor");
        let (mut file, backlog) = OutboxFile::open(&path).unwrap();
        assert!(backlog.is_empty());
        file.append(&records()).unwrap();
        drop(file);
        let (mut file, backlog) = OutboxFile::open(&path).unwrap();
        assert_eq!(backlog, records());
        file.forget(&RecordPlace { epoch: EpochId([1; 16]), seq: 2 }).unwrap();
        drop(file);
        assert!(OutboxFile::open(&path).unwrap().1.is_empty());
    }

    #[test]
    fn a_crash_at_any_byte_loses_at_most_the_torn_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.cbor");
        let whole: Vec<u8> = records().iter().flat_map(cbor::to_vec).collect();
        let one = cbor::to_vec(&records()[0]).len();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (_, backlog) = OutboxFile::open(&path).unwrap();
            assert_eq!(backlog, records()[..cut / one], "cut at {cut}");
        }
    }
}
