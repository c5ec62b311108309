//! Leaves and what stands behind them: price books, keysets, checkpoints.

use bulla_wire::ids::Digest;
use bulla_wire::units::UnixMillis;
use rusqlite::{OptionalExtension, params};

use super::{Fault, SqliteStore, int};
use crate::ledger::{ArchivedReport, Outcome, Queries, Rejection};

impl SqliteStore {
    /// Appends a leaf and returns its index.
    pub(super) fn append_leaf(&self, leaf: &[u8]) -> Result<u64, Fault> {
        self.run("INSERT INTO leaves (leaf) VALUES (?1)", [leaf])?;
        Ok((self.conn.last_insert_rowid() - 1) as u64)
    }

    pub(super) fn put_price_book(
        &self,
        version: u64,
        digest: &Digest,
        book: &[u8],
        leaf: &[u8],
    ) -> Result<Outcome, Fault> {
        let known: Option<i64> = self
            .conn
            .prepare_cached("SELECT leaf FROM price_books WHERE digest = ?1")?
            .query_row([digest.0], |row| row.get(0))
            .optional()?;
        if let Some(leaf_index) = known {
            return Ok(Outcome::Logged { leaf_index: leaf_index as u64 });
        }
        let last: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(version) FROM price_books")?
            .query_row([], |row| row.get(0))?;
        let expected = last.map_or(1, |last| last as u64 + 1);
        if version != expected {
            return Err(Rejection::BookVersion { expected, got: version }.into());
        }
        let leaf_index = self.append_leaf(leaf)?;
        self.run(
            "INSERT INTO price_books (version, digest, book, leaf) VALUES (?1, ?2, ?3, ?4)",
            params![int(version), digest.0, book, int(leaf_index)],
        )?;
        Ok(Outcome::Logged { leaf_index })
    }

    pub(super) fn archive(&self, report: &ArchivedReport) -> Result<Outcome, Fault> {
        if let Some(known) = self.keyset(&report.keyset.digest)? {
            return Ok(Outcome::Logged { leaf_index: known.leaf_index });
        }
        let leaf_index = self.append_leaf(&report.leaf)?;
        let keys: Vec<u8> = report.keyset.receipt_keys.iter().flat_map(|key| key.0).collect();
        self.run(
            "INSERT INTO keysets (digest, instance, jcs, receipt_keys, simulated, not_after,
                 appraised_at, evidence, report, leaf)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                report.keyset.digest.0,
                report.keyset.instance.as_str(),
                report.keyset_jcs,
                keys,
                report.keyset.simulated,
                int(report.keyset.not_after.0),
                int(report.keyset.appraised_at.0),
                report.keyset.evidence.0,
                report.report,
                int(leaf_index)
            ],
        )?;
        Ok(Outcome::Logged { leaf_index })
    }

    pub(super) fn keep_checkpoint(&self, size: u64, note: &[u8]) -> Result<Outcome, Fault> {
        self.run(
            "INSERT INTO checkpoints (size, note) VALUES (?1, ?2) ON CONFLICT (size) DO NOTHING",
            params![int(size), note],
        )?;
        Ok(Outcome::Done)
    }

    pub(super) fn keep_anomaly(
        &self,
        what: &str,
        bytes: &[u8],
        now: UnixMillis,
    ) -> Result<Outcome, Fault> {
        self.run(
            "INSERT INTO anomalies (at_ms, what, bytes) VALUES (?1, ?2, ?3)",
            params![int(now.0), what, bytes],
        )?;
        Ok(Outcome::Done)
    }
}
