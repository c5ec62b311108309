//! Backups: a SQLite file, whatever store it is of. A backup is made while the ledger is written to
//! and shows one durable state of it.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{BUSY_TIMEOUT, SqliteStore, database, schema};
use crate::io::store::tables::{TABLES, Table, columns};
use crate::ledger::StoreError;

/// One row on its way between two stores, a value per column.
pub(in crate::io::store) type Values = Vec<Value>;

fn refused(reason: String) -> StoreError {
    StoreError::Backup { reason }
}

/// The backup in `path`, for reading.
pub(in crate::io::store) fn open_backup(path: &Path) -> Result<SqliteStore, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .map_err(|error| refused(format!("{}: {error}", path.display())))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
    let (got, known) = (schema::version(&conn)?, schema::known());
    if got != known {
        return Err(refused(format!(
            "{} has schema {got}, a backup of schema {known} can be restored",
            path.display()
        )));
    }
    Ok(SqliteStore { conn })
}

/// A new file for a backup; `fill` writes it. It has its name only once it is whole and on disk.
pub(in crate::io::store) fn new_backup(
    path: &Path,
    fill: impl FnOnce(&mut SqliteStore) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| refused(format!("{}: {error}", path.display()));
    if path.exists() {
        return Err(refused(format!("{} exists already: name a new file", path.display())));
    }
    let partial = path.with_extension("partial");
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(failed)?;
    }
    let conn = Connection::open(&partial).map_err(database)?;
    let mut store = SqliteStore::prepare(conn)?;
    fill(&mut store)?;
    // One file, no log beside it.
    store.conn.pragma_update(None, "journal_mode", "DELETE").map_err(database)?;
    drop(store);
    let file = std::fs::File::open(&partial).and_then(|file| file.sync_all());
    file.and_then(|()| std::fs::rename(&partial, path)).map_err(failed)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => {
            std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
        }
        None => Ok(()),
    }
}

/// All pages in one step: one state, and in WAL mode nobody waits.
fn copy(from: &Connection, to: &mut Connection) -> Result<(), StoreError> {
    let step = Backup::new(from, to).and_then(|backup| backup.step(-1)).map_err(database)?;
    match step {
        StepResult::Done => Ok(()),
        _ => Err(refused("the ledger is locked: try again in a moment".to_owned())),
    }
}

impl SqliteStore {
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        new_backup(path, |backup| copy(&self.conn, &mut backup.conn))
    }

    pub(super) fn copy_from(&mut self, path: &Path) -> Result<(), StoreError> {
        let backup = open_backup(path)?;
        let sql = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM leaves)";
        let rows: i64 = self.conn.query_row(sql, [], |row| row.get(0)).map_err(database)?;
        if rows > 0 {
            return Err(refused("this ledger is in use: restore into an empty one".to_owned()));
        }
        copy(&backup.conn, &mut self.conn)?;
        self.conn.pragma_update(None, "journal_mode", "WAL").map_err(database)
    }

    /// Takes in rows of a table, in the transaction [`SqliteStore::fill`] has open.
    pub(in crate::io::store) fn insert(
        &self,
        table: &Table,
        values: &Values,
    ) -> Result<(), StoreError> {
        let places: Vec<String> = (1..=table.1.len()).map(|place| format!("?{place}")).collect();
        let (name, columns, places) = (table.0, columns(table), places.join(", "));
        let sql = format!("INSERT INTO {name} ({columns}) VALUES ({places})");
        self.run(&sql, params_from_iter(values)).map_err(database)
    }

    /// Does `fill` in one transaction.
    pub(in crate::io::store) fn fill(
        &self,
        fill: impl FnOnce(&SqliteStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        fill(self)?;
        self.conn.execute_batch("COMMIT").map_err(database)
    }

    /// Gives out every row of every table.
    pub(in crate::io::store) fn each_row(
        &self,
        take: &mut dyn FnMut(&'static Table, Values) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for table in &TABLES {
            let sql = format!("SELECT {} FROM {}", columns(table), table.0);
            let mut statement = self.conn.prepare(&sql).map_err(database)?;
            let mut rows = statement.query([]).map_err(database)?;
            while let Some(row) = rows.next().map_err(database)? {
                let values = (0..table.1.len()).map(|column| row.get(column));
                take(table, values.collect::<Result<_, _>>().map_err(database)?)?;
            }
        }
        Ok(())
    }

    /// Last numbers, as a store keeps them that cannot look them up.
    pub(in crate::io::store) fn last_numbers(
        &self,
    ) -> Result<crate::ledger::batch::Heads, StoreError> {
        self.heads()
    }
}
