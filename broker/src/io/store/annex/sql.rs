//! The two engines.

use rusqlite::types::Value;
use rusqlite::{params_from_iter, types::ValueRef};
use tokio_postgres::types::{ToSql, Type};

use super::{Annex, Cell, Statement};
use crate::io::store::postgres::{Fault, Session, wait};
use crate::io::store::{PostgresStore, SqliteStore};
use crate::ledger::StoreError;

fn database(error: rusqlite::Error) -> StoreError {
    StoreError::Database { reason: error.to_string() }
}

fn damaged() -> StoreError {
    StoreError::Damaged { what: "value beside the ledger".to_owned() }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Int(number) => Value::Integer(*number),
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
    }
}

fn read(value: ValueRef<'_>) -> Result<Cell, StoreError> {
    match value {
        ValueRef::Integer(number) => Ok(Cell::Int(number)),
        ValueRef::Text(text) => {
            String::from_utf8(text.to_vec()).map(Cell::Text).map_err(|_| damaged())
        }
        ValueRef::Blob(bytes) => Ok(Cell::Bytes(bytes.to_vec())),
        ValueRef::Null | ValueRef::Real(_) => Err(damaged()),
    }
}

impl Annex for SqliteStore {
    fn ask(&self, sql: &'static str, cells: &[Cell]) -> Result<Vec<Vec<Cell>>, StoreError> {
        let mut statement = self.connection().prepare_cached(sql).map_err(database)?;
        let columns = statement.column_count();
        let mut rows =
            statement.query(params_from_iter(cells.iter().map(value))).map_err(database)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(database)? {
            let cells = (0..columns).map(|at| read(row.get_ref(at).map_err(database)?));
            found.push(cells.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(found)
    }

    fn together(&self, statements: &[Statement]) -> Result<bool, StoreError> {
        let conn = self.connection();
        conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        let mut changed = Ok(true);
        for Statement { sql, cells } in statements {
            let run = conn.prepare_cached(sql).and_then(|mut statement| {
                statement.execute(params_from_iter(cells.iter().map(value)))
            });
            changed = run.map(|rows| rows > 0);
            if !matches!(changed, Ok(true)) {
                break;
            }
        }
        let end = if matches!(changed, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
        conn.execute_batch(end).map_err(|error| {
            let _ = conn.execute_batch("ROLLBACK");
            database(error)
        })?;
        changed.map_err(database)
    }
}

fn param(cell: &Cell) -> &(dyn ToSql + Sync) {
    match cell {
        Cell::Int(number) => number,
        Cell::Text(text) => text,
        Cell::Bytes(bytes) => bytes,
    }
}

fn params(cells: &[Cell]) -> Vec<&(dyn ToSql + Sync)> {
    cells.iter().map(param).collect()
}

fn cells(row: &tokio_postgres::Row) -> Result<Vec<Cell>, StoreError> {
    let cell = |(at, column): (usize, &tokio_postgres::Column)| match *column.type_() {
        Type::INT8 => row.try_get(at).map(Cell::Int).map_err(|_| damaged()),
        Type::TEXT => row.try_get(at).map(Cell::Text).map_err(|_| damaged()),
        Type::BYTEA => row.try_get(at).map(Cell::Bytes).map_err(|_| damaged()),
        _ => Err(damaged()),
    };
    row.columns().iter().enumerate().map(cell).collect()
}

async fn all(session: &Session, statements: &[Statement]) -> Result<bool, Fault> {
    session.batch("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    for Statement { sql, cells } in statements {
        match session.run(sql, &params(cells)).await {
            Ok(0) => {
                session.batch("ROLLBACK").await?;
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) => {
                let fault = Fault::from(error);
                if !matches!(fault, Fault::Lost(_)) {
                    session.batch("ROLLBACK").await?;
                }
                return Err(fault);
            }
        }
    }
    session.batch("COMMIT").await?;
    Ok(true)
}

impl Annex for PostgresStore {
    fn ask(&self, sql: &'static str, given: &[Cell]) -> Result<Vec<Vec<Cell>>, StoreError> {
        self.rows_of(sql, &params(given))?.iter().map(cells).collect()
    }

    /// Where the connection is lost during COMMIT the statements are run again: a user or token
    /// that is there already then changes no row, and the caller is told that it is taken.
    fn together(&self, statements: &[Statement]) -> Result<bool, StoreError> {
        self.attempt(|session| wait(all(session, statements)))
    }
}
