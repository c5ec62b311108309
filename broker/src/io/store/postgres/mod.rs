//! PostgreSQL, and engines that speak its protocol: several brokers over one ledger.
//!
//! A batch takes the lock on the one row of `heads`, loads what it touches in set-based statements,
//! decides in memory ([`crate::ledger::batch`]) and writes in set-based statements. So batches of
//! several brokers happen one after the other, numbers have no gaps and leaves one order; group
//! commit makes up for the wait. Balances move by one conditional update.
//!
//! Where another transaction is in the way (40001, 40P01, 55P03) the batch starts anew, a bounded
//! number of times. Where the connection is lost the batch's stamp tells whether it was committed.

mod copy;
mod doors;
mod load;
mod queries;
mod rows;
mod save;
mod schema;
mod session;
mod tls;

use std::cell::RefCell;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bulla_wire::units::UnixMillis;
use rand_core::Rng;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;
use tokio::try_join;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, Row, SimpleQueryMessage};

pub use self::doors::PostgresDoors;
pub(super) use self::session::{Fault, Session, wait};

use self::session::Param;
use self::tls::Tls;
use super::{Reader, Results, Store};
use crate::io::clock::Entropy;
use crate::ledger::batch::{Heads, decide, parts};
use crate::ledger::{Command, Queries, StoreError};

/// How often a batch is tried before its callers are told that the database failed: with the
/// pauses about half a minute, enough for a server that recovers from a crash.
pub const MAX_ATTEMPTS: u32 = 36;
/// First pause between attempts; it doubles, and a random part of it is taken.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Times and counts are stored as signed integers; those beyond are as good as never.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Where a database is and how it is spoken to.
#[derive(Clone)]
pub struct PostgresPlace {
    config: Config,
    tls: Tls,
}

impl PostgresPlace {
    /// From a URL (`postgresql://USER:PASSWORD@HOST/DATABASE`, PostgreSQL's manual, 34.1.1) and,
    /// for hosts over TCP, the certificate authority (PEM) the server's certificate must lead to.
    /// A password never leaves this machine unencrypted: without a CA only Unix sockets and
    /// loopback addresses are accepted.
    pub fn new(url: &str, ca_pem: Option<&[u8]>) -> Result<PostgresPlace, StoreError> {
        let refused = |reason: String| StoreError::Database { reason };
        let mut config = Config::from_str(url.trim())
            .map_err(|error| refused(format!("the URL does not read: {error}")))?;
        config.keepalives_idle(Duration::from_secs(10)).application_name("bulla");
        let tls = ca_pem.map(trust).transpose()?;
        match &tls {
            Some(_) => config.ssl_mode(SslMode::Require),
            None if !is_local(&config) => {
                let reason = "the database is on another machine: name its certificate authority \
                              with store.ca, a connection without TLS is not made";
                return Err(refused(reason.to_owned()));
            }
            None => config.ssl_mode(SslMode::Disable),
        };
        Ok(PostgresPlace { config, tls: Tls(tls) })
    }
}

fn is_local(config: &Config) -> bool {
    use tokio_postgres::config::Host;
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
    })
}

fn trust(pem: &[u8]) -> Result<Arc<ClientConfig>, StoreError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let refused = |reason: String| StoreError::Database { reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| refused(format!("store.ca: {e}")))?;
        roots.add(certificate).map_err(|e| refused(format!("store.ca: {e}")))?;
    }
    if roots.is_empty() {
        return Err(refused("store.ca holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Which batch of which writer something belongs to.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    writer: [u8; 16],
    batch: u64,
}

/// A ledger in a PostgreSQL database.
pub struct PostgresStore {
    place: PostgresPlace,
    session: RefCell<Option<Session>>,
    /// Drives connections; `None` only while it is dropped.
    runtime: Option<Runtime>,
    stamp: Stamp,
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // Our owner may be async itself, where waiting for the threads is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl PostgresStore {
    /// Opens the ledger, or makes it in an empty database.
    pub fn open(place: &PostgresPlace) -> Result<PostgresStore, StoreError> {
        let store = PostgresStore::open_reader(place)?;
        store.retrying(|session| wait(migrate(session)))?;
        Ok(store)
    }

    /// A connection for questions only.
    pub fn open_reader(place: &PostgresPlace) -> Result<PostgresStore, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Database { reason: error.to_string() })?;
        let mut writer = [0; 16];
        Entropy::new().fill_bytes(&mut writer);
        Ok(PostgresStore {
            place: place.clone(),
            session: RefCell::new(None),
            runtime: Some(runtime),
            stamp: Stamp { writer, batch: 0 },
        })
    }

    /// Does something with a live connection.
    fn with<T>(&self, work: impl FnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut slot = self.session.borrow_mut();
        if slot.as_ref().is_none_or(Session::is_closed) {
            let runtime = self.runtime.as_ref().ok_or(StoreError::Stopped)?;
            *slot = Some(Session::open(runtime, &self.place.config, &self.place.tls)?);
        }
        let Some(session) = slot.as_ref() else { return Err(StoreError::Stopped.into()) };
        let done = work(session);
        if matches!(done, Err(Fault::Lost(_))) {
            *slot = None;
        }
        done
    }

    /// Tries until it is done, fails for good, or [`MAX_ATTEMPTS`] are used up.
    fn retrying<T>(&self, work: impl Fn(&Session) -> Result<T, Fault>) -> Result<T, StoreError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.with(&work) {
                Ok(done) => return Ok(done),
                Err(Fault::Final(error)) => return Err(error),
                Err(fault) if attempt == MAX_ATTEMPTS => return Err(fault.give_up()),
                Err(Fault::Again(reason) | Fault::Lost(reason)) => {
                    tracing::debug!(attempt, reason, "the ledger's database is asked again");
                }
            }
            // A random part of it, so that two brokers do not meet again and again.
            let part = u32::from(Entropy::new().next_u32() as u16 % 512) + 512;
            std::thread::sleep(pause * part / 1024);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        unreachable!("the last attempt returns")
    }

    /// As [`PostgresStore::ask`], for what stands beside the ledger.
    pub(super) fn rows_of(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.ask(sql, params)
    }

    /// As [`PostgresStore::retrying`], for what stands beside the ledger.
    pub(super) fn attempt<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.retrying(work)
    }

    /// Rows of a question: of the last committed state, or of the open snapshot's.
    fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.retrying(|session| Ok(wait(session.rows(sql, params))?))
    }
}

/// Brings the schema up to date, in one transaction, one broker at a time.
async fn migrate(session: &Session) -> Result<(), Fault> {
    // Two brokers that make the same table at the same instant: one of them is told so.
    session.batch(schema::VERSIONS).await.map_err(|error| match error.code() {
        Some(
            &SqlState::UNIQUE_VIOLATION | &SqlState::DUPLICATE_TABLE | &SqlState::DUPLICATE_OBJECT,
        ) => Fault::Again(error.to_string()),
        _ => Fault::from(error),
    })?;
    session.batch("BEGIN").await?;
    let migrated = migrate_locked(session).await;
    session.batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    migrated
}

async fn migrate_locked(session: &Session) -> Result<(), Fault> {
    let sql = "SELECT version FROM schema_version WHERE one = 1 FOR UPDATE";
    let rows = session.rows(sql, &[]).await?;
    let known = schema::MIGRATIONS.len() as u32;
    let got = rows.first().map_or(Ok(0), |row| rows::count(row, "version"))?;
    let got = u32::try_from(got).unwrap_or(u32::MAX);
    if got > known {
        return Err(StoreError::NewerSchema { known, got }.into());
    }
    for step in &schema::MIGRATIONS[got as usize..] {
        session.batch(step).await?;
    }
    let sql = "UPDATE schema_version SET version = $1 WHERE one = 1";
    session.run(sql, &[&i64::from(known)]).await?;
    Ok(())
}

impl Store for PostgresStore {
    fn execute(&mut self, batch: &[Command], now: UnixMillis) -> Result<Results, StoreError> {
        self.stamp.batch += 1;
        let stamp = self.stamp;
        // What a commit would have answered whose own answer was lost.
        let unsure: RefCell<Option<Results>> = RefCell::new(None);
        self.retrying(|session| wait(carry_out(session, batch, now, stamp, &unsure)))
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        self.copy_to(to)
    }

    fn restore(&mut self, from: &Path) -> Result<(), StoreError> {
        self.copy_from(from)
    }
}

/// One attempt at a batch; after a fault the session stands outside a transaction, for the next one.
async fn carry_out(
    session: &Session,
    batch: &[Command],
    now: UnixMillis,
    stamp: Stamp,
    unsure: &RefCell<Option<Results>>,
) -> Result<Results, Fault> {
    let done = attempt(session, batch, now, stamp, unsure).await;
    if matches!(done, Err(Fault::Again(_) | Fault::Final(_))) {
        session.batch("ROLLBACK").await?;
    }
    done
}

async fn attempt(
    session: &Session,
    batch: &[Command],
    now: UnixMillis,
    stamp: Stamp,
    unsure: &RefCell<Option<Results>>,
) -> Result<Results, Fault> {
    let heads = begin(session).await?;
    // The lock is ours: the lost attempt has ended, one way or the other.
    if let Some(results) = unsure.take()
        && committed(session, stamp).await?
    {
        session.batch("ROLLBACK").await?;
        return Ok(results);
    }
    let results = decide_and_write(session, batch, heads, now, stamp).await?;
    *unsure.borrow_mut() = Some(results.clone());
    session.batch("COMMIT").await?;
    unsure.take();
    Ok(results)
}

/// Begins a transaction and takes the heads' lock, in one round trip.
async fn begin(session: &Session) -> Result<Heads, Fault> {
    let sql = "BEGIN ISOLATION LEVEL READ COMMITTED;
        SELECT accounts, packages, holds, records, transfers, leaves, anomalies FROM heads
        WHERE one = 1 FOR UPDATE";
    for message in session.simple(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let head = |column: &str| {
                let value = row.get(column).and_then(|text| text.parse().ok());
                value.ok_or_else(|| StoreError::Damaged { what: "heads".to_owned() })
            };
            return Ok(Heads {
                accounts: head("accounts")?,
                packages: head("packages")?,
                holds: head("holds")?,
                records: head("records")?,
                transfers: head("transfers")?,
                leaves: head("leaves")?,
                anomalies: head("anomalies")?,
            });
        }
    }
    Err(StoreError::Damaged { what: "heads".to_owned() }.into())
}

/// Whether this writer's last batch was this one.
async fn committed(session: &Session, stamp: Stamp) -> Result<bool, Fault> {
    let sql = "SELECT batch FROM writers WHERE writer = $1";
    let rows = session.rows(sql, &[&stamp.writer]).await?;
    let batch = rows.first().map(|row| rows::count(row, "batch")).transpose()?;
    Ok(batch == Some(stamp.batch))
}

async fn decide_and_write(
    session: &Session,
    batch: &[Command],
    mut heads: Heads,
    now: UnixMillis,
    stamp: Stamp,
) -> Result<Results, Fault> {
    let mut results = Vec::with_capacity(batch.len());
    let mut stamped = Some(stamp);
    for commands in parts(batch) {
        let rows = load::load(session, commands, heads, now).await?;
        let (decided, changes) = decide(commands, rows, now)?;
        let stamp = stamped.take();
        // In one flight: every trip to the server is a wait.
        try_join!(save::save(session, &changes, now), save_stamp(session, stamp, now))?;
        heads = changes.heads;
        results.extend(decided);
    }
    Ok(results)
}

async fn save_stamp(session: &Session, stamp: Option<Stamp>, now: UnixMillis) -> Result<(), Fault> {
    let Some(Stamp { writer, batch }) = stamp else { return Ok(()) };
    let sql = "INSERT INTO writers (writer, batch, at_ms) VALUES ($1, $2, $3)
        ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at_ms = excluded.at_ms";
    session.run(sql, &[&writer, &int(batch), &int(now.0)]).await?;
    Ok(())
}

impl Reader for PostgresStore {
    fn questions(&self) -> &dyn Queries {
        self
    }

    fn snapshot(
        &self,
        ask: &mut dyn FnMut(&dyn Queries) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        // A reader of a bundle may be slow.
        let patient = "SET LOCAL idle_in_transaction_session_timeout = '1h'";
        self.retrying(|session| {
            wait(async {
                session.batch(begin).await?;
                session.batch(patient).await
            })?;
            Ok(())
        })?;
        let asked = ask(self);
        let ended = self.with(|session| Ok(wait(session.batch("COMMIT"))?));
        asked.and(ended.map_err(Fault::give_up))
    }
}
