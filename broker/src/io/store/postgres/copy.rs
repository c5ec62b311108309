//! Backup into a SQLite file, and restore from one: row by row, in one snapshot or transaction.

use std::path::Path;

use futures_util::StreamExt;
use rusqlite::types::Value;
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::session::{Fault, Session, wait};
use super::{PostgresStore, begin, int};
use crate::io::store::sqlite::{Values, new_backup, open_backup};
use crate::io::store::tables::{Kind, TABLES, Table, columns};
use crate::ledger::StoreError;
use crate::ledger::batch::Heads;

impl PostgresStore {
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        new_backup(path, |backup| {
            self.with(|session| {
                wait(session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))?;
                backup.fill(|backup| {
                    let mut take = |table: &Table, values| backup.insert(table, &values);
                    wait(each_row(session, &mut take)).map_err(Fault::give_up)
                })?;
                Ok(wait(session.batch("COMMIT"))?)
            })
            .map_err(Fault::give_up)
        })
    }

    pub(super) fn copy_from(&mut self, path: &Path) -> Result<(), StoreError> {
        let backup = open_backup(path)?;
        let heads = backup.last_numbers()?;
        self.with(|session| {
            if wait(begin(session))? != Heads::default() {
                wait(session.batch("ROLLBACK"))?;
                let reason = "this ledger is in use: restore into an empty database".to_owned();
                return Err(StoreError::Database { reason }.into());
            }
            let mut tables = Copying::default();
            let copied = backup.each_row(&mut |table, values| {
                wait(tables.write(session, table, &values)).map_err(Fault::give_up)
            });
            let done = copied
                .map_err(Fault::from)
                .and_then(|()| wait(tables.end()))
                .and_then(|()| wait(set_heads(session, heads)));
            wait(session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }))?;
            done
        })
        .map_err(Fault::give_up)
    }
}

/// Every row of every table, in the snapshot that is open.
async fn each_row(
    session: &Session,
    take: &mut dyn FnMut(&Table, Values) -> Result<(), StoreError>,
) -> Result<(), Fault> {
    for table in &TABLES {
        let sql = format!("SELECT {} FROM {}", columns(table), table.0);
        let mut rows = std::pin::pin!(session.stream(&sql).await?);
        while let Some(row) = rows.next().await {
            take(table, values(table, &row?)?)?;
        }
    }
    Ok(())
}

fn values(table: &Table, row: &Row) -> Result<Values, StoreError> {
    let value = |(column, (name, kind)): (usize, &(&'static str, Kind))| {
        let read = match kind {
            Kind::Int => row.try_get::<_, Option<i64>>(column).map(|v| v.map(Value::Integer)),
            Kind::Small => {
                row.try_get::<_, Option<i16>>(column).map(|v| v.map(|v| Value::Integer(v.into())))
            }
            Kind::Bool => {
                row.try_get::<_, Option<bool>>(column).map(|v| v.map(|v| Value::Integer(v.into())))
            }
            Kind::Text => row.try_get::<_, Option<String>>(column).map(|v| v.map(Value::Text)),
            Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(column).map(|v| v.map(Value::Blob)),
        };
        let damaged = |_| StoreError::Damaged { what: format!("{}.{name}", table.0) };
        read.map(|value| value.unwrap_or(Value::Null)).map_err(damaged)
    };
    table.1.iter().enumerate().map(value).collect()
}

/// The table that is being written.
#[derive(Default)]
struct Copying {
    open: Option<(&'static str, std::pin::Pin<Box<BinaryCopyInWriter>>)>,
}

impl Copying {
    async fn write(
        &mut self,
        session: &Session,
        table: &'static Table,
        values: &Values,
    ) -> Result<(), Fault> {
        if self.open.as_ref().is_none_or(|(name, _)| *name != table.0) {
            self.end().await?;
            let types: Vec<Type> = table.1.iter().map(|(_, kind)| sql_type(*kind)).collect();
            let sql = format!("COPY {} ({}) FROM STDIN BINARY", table.0, columns(table));
            let writer = BinaryCopyInWriter::new(session.copy_in(&sql).await?, &types);
            self.open = Some((table.0, Box::pin(writer)));
        }
        let Some((_, writer)) = &mut self.open else { return Ok(()) };
        let sent: Vec<Box<dyn ToSql + Sync>> =
            values.iter().zip(table.1).map(|(value, (_, kind))| sql_value(value, *kind)).collect();
        let sent: Vec<&(dyn ToSql + Sync)> = sent.iter().map(AsRef::as_ref).collect();
        Ok(writer.as_mut().write(&sent).await?)
    }

    async fn end(&mut self) -> Result<(), Fault> {
        if let Some((_, mut writer)) = self.open.take() {
            writer.as_mut().finish().await?;
        }
        Ok(())
    }
}

fn sql_type(kind: Kind) -> Type {
    match kind {
        Kind::Int => Type::INT8,
        Kind::Small => Type::INT2,
        Kind::Bool => Type::BOOL,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
    }
}

/// A value of the column's kind; one of another kind is refused by the server.
fn sql_value(value: &Value, kind: Kind) -> Box<dyn ToSql + Sync> {
    match (value, kind) {
        (Value::Integer(number), Kind::Small) => Box::new(i16::try_from(*number).ok()),
        (Value::Integer(number), Kind::Bool) => Box::new(*number != 0),
        (Value::Integer(number), _) => Box::new(*number),
        (Value::Text(text), _) => Box::new(text.clone()),
        (Value::Blob(bytes), _) => Box::new(bytes.clone()),
        (Value::Real(number), _) => Box::new(*number),
        (Value::Null, Kind::Int) => Box::new(None::<i64>),
        (Value::Null, Kind::Small) => Box::new(None::<i16>),
        (Value::Null, Kind::Bool) => Box::new(None::<bool>),
        (Value::Null, Kind::Text) => Box::new(None::<String>),
        (Value::Null, Kind::Bytes) => Box::new(None::<Vec<u8>>),
    }
}

/// Last numbers.
pub(super) async fn set_heads(session: &Session, heads: Heads) -> Result<(), Fault> {
    let sql = "UPDATE heads SET accounts = $1, packages = $2, holds = $3, records = $4,
            transfers = $5, leaves = $6, anomalies = $7
        WHERE one = 1";
    let Heads { accounts, packages, holds, records, transfers, leaves, anomalies } = heads;
    session
        .run(
            sql,
            &[
                &int(accounts),
                &int(packages),
                &int(holds),
                &int(records),
                &int(transfers),
                &int(leaves),
                &int(anomalies),
            ],
        )
        .await?;
    Ok(())
}
