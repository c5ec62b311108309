//! Entries of the register: read, made, rewritten, and what was done before under a key.

use super::{Batch, Fault};
use crate::budget::Budget;
use crate::ledger::{AccountNumber, Outcome, Rejection, StoreError};
use crate::register::{Entry, EntryKind, body};

/// What was done under an idempotency key: the request, and its outcome's number.
#[derive(serde::Serialize, serde::Deserialize)]
struct Deed {
    request: String,
    number: u64,
}

impl Batch<'_> {
    /// The entry of a kind under a key.
    pub(super) fn entry(&self, kind: EntryKind, key: &[u8]) -> Option<&Entry> {
        let number = self.rows.entry_keys.get(&(kind, key.to_vec()))?;
        self.rows.entries.get(&(kind, *number))
    }

    /// Entries of a kind that an account has.
    pub(super) fn entries_of(
        &self,
        kind: EntryKind,
        account: AccountNumber,
    ) -> impl Iterator<Item = &Entry> {
        let all = self.rows.entries.range((kind, 0)..=(kind, u64::MAX)).map(|(_, entry)| entry);
        all.filter(move |entry| entry.account == account)
    }

    /// The number the next entry of a kind has.
    pub(super) fn next_entry(&self, kind: EntryKind) -> u64 {
        self.rows.entry_heads.get(&kind).copied().unwrap_or(0) + 1
    }

    /// Makes an entry.
    pub(super) fn enter_entry(
        &mut self,
        kind: EntryKind,
        account: AccountNumber,
        key: Vec<u8>,
        body: String,
    ) -> u64 {
        let number = self.next_entry(kind);
        self.rows.entry_heads.insert(kind, number);
        self.put_entry(Entry { kind, number, account, key, body });
        number
    }

    /// Rewrites an entry.
    pub(super) fn put_entry(&mut self, entry: Entry) {
        let place = (entry.kind, entry.number);
        self.rows.entry_keys.insert((entry.kind, entry.key.clone()), entry.number);
        self.changes.entries.insert(place, entry.clone());
        self.rows.entries.insert(place, entry);
    }

    /// The number of the first time, when this was done before under this key.
    pub(super) fn done_before(
        &self,
        account: AccountNumber,
        key: &[u8],
        request: &str,
    ) -> Result<Option<u64>, Fault> {
        let Some(entry) = self.entry(EntryKind::Deed, &deed_key(account, key)) else {
            return Ok(None);
        };
        let deed: Deed = entry.read()?;
        match deed.request == request {
            true => Ok(Some(deed.number)),
            false => Err(Rejection::KeyConflict.into()),
        }
    }

    /// Writes down what is done now, so that it is done once.
    pub(super) fn note(
        &mut self,
        account: AccountNumber,
        key: &[u8],
        request: String,
        number: u64,
    ) {
        let deed = body(&Deed { request, number });
        self.enter_entry(EntryKind::Deed, account, deed_key(account, key), deed);
    }

    /// A budget as it stands in this batch.
    pub(super) fn budget(&mut self, number: u64) -> Result<Option<&mut Budget>, StoreError> {
        if !self.budgets.contains_key(&number) {
            let Some(entry) = self.rows.entries.get(&(EntryKind::Budget, number)) else {
                return Ok(None);
            };
            self.budgets.insert(number, entry.read()?);
        }
        Ok(self.budgets.get_mut(&number))
    }

    /// Budgets that changed become entries again.
    pub(super) fn write_budgets(&mut self) {
        for (number, budget) in std::mem::take(&mut self.budgets) {
            let place = (EntryKind::Budget, number);
            if let Some(entry) = self.rows.entries.get(&place) {
                let entry = Entry { body: body(&budget), ..entry.clone() };
                if self.rows.entries.get(&place) != Some(&entry) {
                    self.put_entry(entry);
                }
            }
        }
    }

    /// Does something once under a client's key.
    pub(super) fn once(
        &mut self,
        account: AccountNumber,
        key: &[u8],
        request: String,
        perform: impl FnOnce(&mut Self) -> Result<Outcome, Fault>,
    ) -> Result<Outcome, Fault> {
        if let Some(number) = self.done_before(account, key, &request)? {
            return Ok(Outcome::Entered { number });
        }
        let outcome = perform(self)?;
        self.note(account, key, request, number_of(&outcome));
        Ok(outcome)
    }
}

/// The number an outcome carries; 0 for those that have none.
fn number_of(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::AccountOpened { account } => account.0,
        Outcome::ProjectOpened { project } => *project,
        Outcome::PackageIssued { package } => package.0,
        Outcome::Entered { number } => *number,
        Outcome::Logged { leaf_index } => *leaf_index,
        _ => 0,
    }
}

/// Keys are made by whoever asks, so they are kept apart by account.
pub(super) fn deed_key(account: AccountNumber, key: &[u8]) -> Vec<u8> {
    let mut bytes = account.0.to_be_bytes().to_vec();
    bytes.extend(key);
    bytes
}
