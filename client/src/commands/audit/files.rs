//! Bundles in files: read item by item, twice or more often, never held whole.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context;
use bulla_wire::bundle;
use bulla_wire::ids::Digest;
use indicatif::{ProgressBar, ProgressStyle};
use ring::digest::{Context as Hasher, SHA256};

use crate::audit::{AuditReport, AuditTrust, Means, Pass, Read, Unreadable, audit};

/// How much of a bundle is read at a time, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// A judged file.
pub struct Judged {
    /// The verdict.
    pub report: AuditReport,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// Judges a file; its digest is of the bytes that were judged.
pub fn audit_file(path: &Path, trust: &AuditTrust, means: Means<'_>) -> anyhow::Result<Judged> {
    let bytes = File::open(path)
        .and_then(|file| file.metadata())
        .with_context(|| path.display().to_string())?
        .len();
    let progress = ProgressBar::new(bytes.saturating_mul(2));
    progress.set_style(
        ProgressStyle::with_template("auditing {wide_bar} {percent:>3} %  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = audit(trust, means, |pass| {
        if pass == Pass::Again {
            progress.inc_length(bytes);
        }
        FileItems::open(path, pass, progress.clone())
    });
    progress.finish_and_clear();
    Ok(Judged { report, sha256: digest(path)?, bytes })
}

/// SHA-256 of a file.
fn digest(path: &Path) -> anyhow::Result<Digest> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut hasher, mut buffer) = (Hasher::new(&SHA256), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(Digest::try_from(hasher.finish().as_ref())?)
}

/// Every item of a bundle in a file.
pub fn items(path: &Path) -> impl Iterator<Item = Result<bundle::Item, Unreadable>> {
    let items = FileItems::open(path, Pass::Second, ProgressBar::hidden());
    items.filter_map(Result::transpose)
}

/// The items of a bundle in a file.
struct FileItems {
    file: Option<File>,
    failed: Option<std::io::Error>,
    pass: Pass,
    buffer: Vec<u8>,
    /// Where in the buffer the next item starts.
    start: usize,
    /// Where in the file it starts.
    offset: u64,
    progress: ProgressBar,
}

impl FileItems {
    fn open(path: &Path, pass: Pass, progress: ProgressBar) -> FileItems {
        let (file, failed) = match File::open(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error)),
        };
        FileItems { file, failed, pass, buffer: Vec::new(), start: 0, offset: 0, progress }
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> std::io::Result<bool> {
        let Some(file) = self.file.as_mut() else { return Ok(false) };
        self.buffer.drain(..self.start);
        self.start = 0;
        let more = file.take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.progress.inc(more as u64);
        Ok(more > 0)
    }

    fn stop(&mut self, reason: String) -> Option<Read> {
        self.file = None;
        (self.buffer, self.start) = (Vec::new(), 0);
        Some(Err(Unreadable { offset: self.offset, reason }))
    }
}

impl Iterator for FileItems {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        if let Some(error) = self.failed.take() {
            return self.stop(error.to_string());
        }
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let pass = self.pass;
            match bundle::next_item_of(rest, |kind| pass.wants(kind)) {
                Ok(Some((item, taken))) => {
                    self.start += taken;
                    self.offset += taken as u64;
                    return Some(Ok(item));
                }
                Ok(None) => {}
                Err(error) => return self.stop(error.to_string()),
            }
            let waits = self.start < self.buffer.len();
            match self.fill() {
                Ok(true) => {}
                Ok(false) if waits => {
                    return self.stop("the bundle ends inside an item".to_owned());
                }
                Ok(false) => return None,
                Err(error) => return self.stop(error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Items;
    use crate::commands::audit::tests::sample;

    #[test]
    fn a_file_reads_like_its_bytes() {
        for name in ["full.cborseq", "account.cborseq"] {
            let bytes = std::fs::read(sample(name)).unwrap();
            for pass in [Pass::First, Pass::Second] {
                let from_file: Vec<_> =
                    FileItems::open(&sample(name), pass, ProgressBar::hidden()).collect();
                let from_memory: Vec<_> = Items::new(&bytes, pass).collect();
                assert!(from_file.len() > 20);
                assert_eq!(from_file, from_memory);
            }
        }
    }

    #[test]
    fn a_file_that_ends_too_early_or_is_not_there_is_unreadable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("short.cborseq");
        let bytes = std::fs::read(sample("full.cborseq")).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let open = |path: &Path| FileItems::open(path, Pass::Second, ProgressBar::hidden());
        let last = open(&path).last().unwrap();
        assert!(last.unwrap_err().reason.contains("ends inside an item"));
        let items: Vec<_> = open(&home.path().join("missing")).collect();
        assert!(matches!(items.as_slice(), [Err(_)]));
    }
}
