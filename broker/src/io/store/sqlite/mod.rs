//! SQLite: write-ahead log, synchronous=FULL, one writer, one transaction per batch.

mod backup;
mod load;
mod queries;
mod rows;
mod save;
mod schema;

pub(super) use backup::{Values, new_backup, open_backup};

use std::path::Path;
use std::time::Duration;

use bulla_wire::units::UnixMillis;
use rusqlite::{Connection, OpenFlags, Params};

use super::{Reader, Store};
use crate::ledger::batch::{Results, decide, parts};
use crate::ledger::{Command, MAX_AMOUNT, Queries, StoreError};

/// How long a connection waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; more than there are.
const MAX_CACHED_STATEMENTS: usize = 128;

/// A ledger in one SQLite file.
pub struct SqliteStore {
    conn: Connection,
}

fn database(error: rusqlite::Error) -> StoreError {
    StoreError::Database { reason: error.to_string() }
}

/// Times and counts are stored as signed integers; those beyond are as good as never.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl SqliteStore {
    /// Opens the ledger in `path`, or makes it there.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let conn = Connection::open(path).map_err(database)?;
        conn.pragma_update(None, "journal_mode", "WAL").map_err(database)?;
        SqliteStore::prepare(conn)
    }

    /// A ledger that lives as long as this value: for tests and the simulated world.
    pub fn in_memory() -> Result<SqliteStore, StoreError> {
        SqliteStore::prepare(Connection::open_in_memory().map_err(database)?)
    }

    /// A second connection to a ledger that exists, for questions only.
    pub fn open_reader(path: &Path) -> Result<SqliteStore, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(database)?;
        conn.pragma_update(None, "query_only", true).map_err(database)?;
        conn.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
        conn.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
        Ok(SqliteStore { conn })
    }

    fn prepare(mut conn: Connection) -> Result<SqliteStore, StoreError> {
        conn.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
        conn.pragma_update(None, "synchronous", "FULL").map_err(database)?;
        conn.pragma_update(None, "foreign_keys", true).map_err(database)?;
        conn.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
        schema::migrate(&mut conn)?;
        Ok(SqliteStore { conn })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute(params).map(|_| ())
    }

    /// Loads, decides and writes, part by part; the transaction stays open.
    fn carry_out(&self, batch: &[Command], now: UnixMillis) -> Result<Results, StoreError> {
        let mut results = Vec::with_capacity(batch.len());
        for part in parts(batch) {
            let (decided, changes) = decide(part, self.load(part, now)?, now)?;
            self.save(&changes, now).map_err(database)?;
            results.extend(decided);
        }
        Ok(results)
    }
}

impl Reader for SqliteStore {
    fn questions(&self) -> &dyn Queries {
        self
    }

    fn snapshot(
        &self,
        ask: &mut dyn FnMut(&dyn Queries) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.conn.execute_batch("BEGIN").map_err(database)?;
        let asked = ask(self);
        let ended = self.conn.execute_batch("COMMIT").map_err(database);
        asked.and(ended)
    }
}

impl Store for SqliteStore {
    fn execute(&mut self, batch: &[Command], now: UnixMillis) -> Result<Results, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        match self.carry_out(batch, now) {
            Ok(results) => {
                self.conn.execute_batch("COMMIT").map_err(|error| {
                    // A commit that failed leaves the transaction open.
                    let _ = self.conn.execute_batch("ROLLBACK");
                    database(error)
                })?;
                Ok(results)
            }
            Err(error) => {
                self.conn.execute_batch("ROLLBACK").map_err(database)?;
                Err(error)
            }
        }
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        self.copy_to(to)
    }

    fn restore(&mut self, from: &Path) -> Result<(), StoreError> {
        self.copy_from(from)
    }
}

const _: () = assert!(MAX_AMOUNT.0 == i64::MAX as u64);
