//! Rows beside the ledger: users, sessions, tokens, webhooks. They are no money, so they do not go
//! through the ledger's batches: each change is one short transaction of its own. The same SQL runs
//! on every store: `$n` parameters in the order of their first use, whole numbers, texts, bytes.

pub mod hooks;
pub mod people;
mod sql;

pub use hooks::{Delivery, DeliveryState, Hook, RaisedAlert};

use crate::ledger::StoreError;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A statement with its values.
pub struct Statement {
    /// The SQL.
    pub sql: &'static str,
    /// Values of `$1`, `$2`, …
    pub cells: Vec<Cell>,
}

/// A store's second room.
pub trait Annex: Send {
    /// Rows of a question.
    fn ask(&self, sql: &'static str, cells: &[Cell]) -> Result<Vec<Vec<Cell>>, StoreError>;

    /// All statements in one durable transaction. Where one of them changes no row nothing happens,
    /// and the answer is false.
    fn together(&self, statements: &[Statement]) -> Result<bool, StoreError>;
}

/// A statement on its own; whether it changed anything.
pub(super) fn change(
    annex: &dyn Annex,
    sql: &'static str,
    cells: Vec<Cell>,
) -> Result<bool, StoreError> {
    annex.together(&[Statement { sql, cells }])
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<&[u8; 32]> for Cell {
    fn from(bytes: &[u8; 32]) -> Cell {
        Cell::Bytes(bytes.to_vec())
    }
}

/// Takes a row apart, value by value.
pub(super) struct Row(std::vec::IntoIter<Cell>);

impl Row {
    fn damaged() -> StoreError {
        StoreError::Damaged { what: "row beside the ledger".to_owned() }
    }

    pub(super) fn of(cells: Vec<Cell>) -> Row {
        Row(cells.into_iter())
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        match self.0.next() {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(Row::damaged()),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        match self.0.next() {
            Some(Cell::Int(number)) => u64::try_from(number).map_err(|_| Row::damaged()),
            _ => Err(Row::damaged()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.0.next() {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            _ => Err(Row::damaged()),
        }
    }

    /// 0 stands for none.
    pub(super) fn some_number(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.number()?).filter(|number| *number > 0))
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?.parse().map_err(|_| Row::damaged())
    }
}
