//! Every kind of store, for tests that must hold on all of them.
#![allow(dead_code, unused_macros, unused_imports)] // each test file uses its part

use std::sync::atomic::{AtomicU32, Ordering};

use bulla_broker::io::store::{PostgresPlace, PostgresStore, SqliteStore, Store};
use tokio_postgres::NoTls;

/// Where a PostgreSQL for tests is: `.ci/postgres COMMAND` sets it.
pub const VARIABLE: &str = "BULLA_POSTGRES";

/// SQLite in memory.
pub fn sqlite() -> Box<dyn Store> {
    Box::new(SqliteStore::in_memory().unwrap())
}

/// A database of its own, dropped with this value.
pub struct Database {
    admin: String,
    name: String,
}

/// An empty database, or `None` with a plain line where no PostgreSQL is at hand.
pub fn postgres() -> Option<Database> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(admin) = std::env::var(VARIABLE) else {
        println!("skipped: no PostgreSQL (set {VARIABLE}, or run under .ci/postgres)");
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("bulla_test_{}_{number}", std::process::id());
    let database = Database { admin, name };
    database.order(&format!("CREATE DATABASE {}", database.name));
    Some(database)
}

impl Database {
    fn order(&self, sql: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.admin, NoTls).await.unwrap();
            let driven = tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
            drop(client);
            driven.await.unwrap().unwrap();
        });
    }

    /// URL of the database.
    pub fn url(&self) -> String {
        let (server, options) = self.admin.split_once('?').unwrap_or((&self.admin, ""));
        let (server, _) = server.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{}?{options}", self.name)
    }

    /// How a store finds it.
    pub fn place(&self) -> PostgresPlace {
        PostgresPlace::new(&self.url(), None).unwrap()
    }

    /// A store on it.
    pub fn store(&self) -> Box<dyn Store> {
        Box::new(PostgresStore::open(&self.place()).unwrap())
    }

    /// Statements as the role that owns the ledger.
    pub fn sql(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(sql).await
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.order(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// One test per store for functions that take `&mut dyn Store`.
macro_rules! on_every_store {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(&mut *super::support::sqlite());
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                if let Some(database) = super::support::postgres() {
                    super::$name(&mut *database.store());
                }
            })*
        }
    };
}
pub(crate) use on_every_store;
