//! Where the ledger lives: batches of commands in, batches of results out, durable before the
//! answer. One joint; SQLite behind it.

pub mod sqlite;

pub use sqlite::SqliteStore;

use bulla_wire::units::UnixMillis;

use crate::ledger::{Command, Outcome, Queries, Rejection, StoreError};

/// Results of a batch, in the order of its commands.
pub type Results = Vec<Result<Outcome, Rejection>>;

/// A store of the ledger and the log's leaves.
pub trait Store: Queries + Send {
    /// Carries out a batch in one durable commit. A rejected command leaves no trace and does not
    /// harm the others; on an error nothing of the batch happened.
    fn execute(&mut self, batch: &[Command], now: UnixMillis) -> Result<Results, StoreError>;
}
