//! SQLite: write-ahead log, synchronous=FULL, one writer, one transaction per batch and a
//! savepoint per command.

mod accounts;
mod holds;
mod log;
mod queries;
mod records;
mod rows;
mod schema;

use std::path::Path;
use std::time::Duration;

use bulla_wire::units::{MicroUnits, UnixMillis};
use rusqlite::{Connection, OpenFlags, Params};

use super::{Results, Store};
use crate::ledger::{Command, MAX_AMOUNT, Outcome, Rejection, StoreError};

/// How long a connection waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; more than there are.
const MAX_CACHED_STATEMENTS: usize = 128;

/// A ledger in one SQLite file.
pub struct SqliteStore {
    conn: Connection,
}

/// Why a command stops: it is rejected, or the database failed.
enum Fault {
    Rejected(Rejection),
    Store(StoreError),
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Fault {
        Fault::Rejected(rejection)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Store(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Store(database(error))
    }
}

fn database(error: rusqlite::Error) -> StoreError {
    StoreError::Database { reason: error.to_string() }
}

/// Times and counts are stored as signed integers; those beyond are as good as never.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An amount that moves.
fn amount(value: MicroUnits) -> Result<i64, Rejection> {
    match i64::try_from(value.0) {
        Ok(signed) if signed > 0 => Ok(signed),
        _ => Err(Rejection::Amount { got: value }),
    }
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

    /// All questions asked inside `ask` are answered from one and the same durable state.
    pub fn snapshot<T>(
        &self,
        ask: impl FnOnce(&SqliteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.execute_batch("BEGIN").map_err(database)?;
        let answer = ask(self);
        self.conn.execute_batch("COMMIT").map_err(database)?;
        answer
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, rusqlite::Error> {
        self.conn.prepare_cached(sql)?.execute(params)
    }

    fn apply(&self, command: &Command, now: UnixMillis) -> Result<Outcome, Fault> {
        match command {
            Command::OpenAccount { name, operator } => self.open_account(name, *operator, now),
            Command::AddCredential { account, digest, label, expires_at } => {
                self.add_credential(*account, digest, label, *expires_at)
            }
            Command::RevokeCredential { digest } => self.revoke_credential(digest, now),
            Command::RegisterOrderKey { account, order_key, handle } => {
                self.register_order_key(*account, order_key, handle, now)
            }
            Command::IssuePackage(package) => self.issue(package, now),
            Command::Hold(hold) => self.hold_amount(hold, now),
            Command::Record(record) => self.take_in(record, now),
            Command::Release { hold } => self.release(hold, now),
            Command::ExpireDue => self.expire_due(now),
            Command::Refund { key, package, amount, memo } => {
                self.refund(key, *package, *amount, memo, now)
            }
            Command::LogLeaf { leaf } => {
                Ok(Outcome::Logged { leaf_index: self.append_leaf(leaf)? })
            }
            Command::PutPriceBook { version, digest, book, leaf } => {
                self.put_price_book(*version, digest, book, leaf)
            }
            Command::ArchiveEvidence(report) => self.archive(report),
            Command::KeepCheckpoint { size, note } => self.keep_checkpoint(*size, note),
            Command::KeepAnomaly { what, bytes } => self.keep_anomaly(what, bytes, now),
        }
    }

    /// One command in its savepoint.
    fn attempt(
        &self,
        command: &Command,
        now: UnixMillis,
    ) -> Result<Result<Outcome, Rejection>, StoreError> {
        self.run("SAVEPOINT command", []).map_err(database)?;
        let result = match self.apply(command, now) {
            Ok(outcome) => Ok(outcome),
            Err(Fault::Rejected(rejection)) => {
                self.run("ROLLBACK TO command", []).map_err(database)?;
                Err(rejection)
            }
            Err(Fault::Store(error)) => return Err(error),
        };
        self.run("RELEASE command", []).map_err(database)?;
        Ok(result)
    }
}

impl Store for SqliteStore {
    fn execute(&mut self, batch: &[Command], now: UnixMillis) -> Result<Results, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        let results: Result<Results, StoreError> =
            batch.iter().map(|command| self.attempt(command, now)).collect();
        match results {
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
}

const _: () = assert!(MAX_AMOUNT.0 == i64::MAX as u64);
