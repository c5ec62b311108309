//! One connection: made when it is needed, with its prepared statements, driven by a thread of its
//! own, so that the ledger can wait for it like for a disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    Client, Config, CopyInSink, Error, Row, RowStream, SimpleQueryMessage, Statement,
};

use super::tls::Tls;
use crate::ledger::StoreError;

/// A connection is made within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What every connection is told first. A transaction that waits for its client holds the heads'
/// lock, so it may not wait long; a client that vanished is found out by keep-alives.
const PREPARE: &str = "
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '5s';
";

/// A parameter of a statement.
pub(in crate::io::store) type Param<'p> = &'p (dyn ToSql + Sync);

/// What goes wrong with a statement.
#[derive(Debug)]
pub(in crate::io::store) enum Fault {
    /// Another transaction was in the way: it is tried again.
    Again(String),
    /// The connection is gone; whether a commit happened has to be looked up.
    Lost(String),
    /// Anything else is final.
    Final(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Final(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let reason = said(&error);
        // PostgreSQL's manual, appendix A. A server that stops says so (57P01..57P03, 57P05).
        match error.code() {
            Some(
                &SqlState::T_R_SERIALIZATION_FAILURE
                | &SqlState::T_R_DEADLOCK_DETECTED
                | &SqlState::LOCK_NOT_AVAILABLE,
            ) => Fault::Again(reason),
            Some(
                &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::TOO_MANY_CONNECTIONS
                | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            ) => Fault::Lost(reason),
            Some(_) => Fault::Final(StoreError::Database { reason }),
            // Without a code it was not the server that spoke.
            None if error.is_closed() || is_io(&error) => Fault::Lost(reason),
            None => Fault::Final(StoreError::Database { reason }),
        }
    }
}

impl Fault {
    /// As the end of all trying.
    pub(super) fn give_up(self) -> StoreError {
        match self {
            Fault::Again(reason) | Fault::Lost(reason) => StoreError::Database { reason },
            Fault::Final(error) => error,
        }
    }
}

fn is_io(error: &Error) -> bool {
    use std::error::Error as _;
    error.source().is_some_and(|source| source.is::<std::io::Error>())
}

/// The error with its causes: the database's own words are one level down.
fn said(error: &Error) -> String {
    use std::error::Error as _;
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// A connection with its statements.
pub(in crate::io::store) struct Session {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
}

impl Session {
    /// Connects; `runtime` drives the connection from then on.
    pub(super) fn open(runtime: &Runtime, config: &Config, tls: &Tls) -> Result<Session, Fault> {
        let (config, tls) = (config.clone(), tls.clone());
        // On the runtime's own thread: it owns the timers, and our caller may be async itself.
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, config.connect(tls)).await;
            let client = match connected {
                Err(_) => Err(Fault::Lost("the database does not answer".to_owned())),
                Ok(Err(error)) => Err(Fault::from(error)),
                Ok(Ok((client, connection))) => {
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::warn!(%error, "the connection to the ledger's database ended");
                        }
                    });
                    Ok(client)
                }
            };
            // Whoever asked waits for it.
            let _ = answer.send(client);
        });
        let gone = || Fault::Lost("the connection's thread has stopped".to_owned());
        let client = answered.recv().map_err(|_| gone())??;
        let session = Session { client, statements: RefCell::default() };
        wait(session.client.batch_execute(PREPARE))?;
        session.check_durability()?;
        Ok(session)
    }

    /// A commit must be on disk when it is answered. Engines that know no such setting have no way
    /// to switch it off.
    fn check_durability(&self) -> Result<(), Fault> {
        for setting in ["fsync", "synchronous_commit"] {
            let sql = format!("SELECT current_setting('{setting}', true)");
            let row = wait(self.client.query_one(&sql, &[]))?;
            if row.try_get::<_, Option<String>>(0)?.as_deref() == Some("off") {
                let reason = format!(
                    "{setting} is off, so a commit could be lost: set {setting} = on in \
                     postgresql.conf"
                );
                return Err(StoreError::Database { reason }.into());
            }
        }
        Ok(())
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements without parameters or answers.
    pub(in crate::io::store) async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Statements without parameters, with their answers as text.
    pub(super) async fn simple(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.client.simple_query(sql).await
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Error> {
        let known = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Rows of a question.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.client.query(&self.statement(sql).await?, params).await
    }

    /// Rows one by one, as they arrive.
    pub(super) async fn stream(&self, sql: &str) -> Result<RowStream, Error> {
        self.client.query_raw(sql, std::iter::empty::<&(dyn ToSql + Sync)>()).await
    }

    /// Takes rows in bulk.
    pub(super) async fn copy_in(&self, sql: &str) -> Result<CopyInSink<Bytes>, Error> {
        self.client.copy_in(sql).await
    }

    /// Rows changed by a statement.
    pub(in crate::io::store) async fn run(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<u64, Error> {
        self.client.execute(&self.statement(sql).await?, params).await
    }
}

/// Waits on this thread; the connection is driven by another.
pub(in crate::io::store) fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_executor::block_on(future)
}
