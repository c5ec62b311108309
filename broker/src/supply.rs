//! The daily supply statement: issued = burned + held + expired + outstanding, per unit of account.
//! The broker signs one for every day (UTC) that has passed and logs it; who has the ledger
//! computes it anew from the transfers up to the number it names.

use bulla_attestation::hash::labelled;
use bulla_attestation::sign::{Signed, SigningKey};
use bulla_wire::labels;
use bulla_wire::supply::{Sum, SupplyRow, SupplyStatement};
use bulla_wire::units::{Unit, UnixSeconds};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::ledger::{Queries, StoreError, Totals};
use crate::register::EntryKind;

/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;

/// A statement as the register keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Begin of its day.
    pub day: UnixSeconds,
    /// The signed statement, base64.
    pub statement: String,
    /// Its leaf.
    pub leaf_index: u64,
}

impl Kept {
    /// A statement with its leaf.
    pub fn new(day: UnixSeconds, statement: &[u8], leaf_index: u64) -> Kept {
        Kept { day, statement: BASE64.encode(statement), leaf_index }
    }

    /// The signed statement.
    pub fn bytes(&self) -> Vec<u8> {
        BASE64.decode(self.statement.as_bytes()).unwrap_or_default()
    }
}

/// The newest statement, if there is one.
pub fn newest(view: &dyn Queries) -> Result<Option<Kept>, StoreError> {
    let number = view.newest_entry(EntryKind::Supply)?;
    let last = view.entries(EntryKind::Supply, None, number.saturating_sub(1), 1)?;
    last.first().map(|entry| entry.read()).transpose()
}

/// The begin of the day before the one of `now`: the day a statement closes.
pub fn day_closed(now: UnixSeconds) -> UnixSeconds {
    UnixSeconds((now.0 / DAY_SECONDS).saturating_sub(1) * DAY_SECONDS)
}

/// One row per unit.
pub fn rows(totals: &[(Unit, Totals)]) -> Vec<SupplyRow> {
    let row = |(unit, totals): &(Unit, Totals)| SupplyRow {
        unit: unit.clone(),
        issued: Sum(totals.issued),
        burned: Sum(totals.spent),
        held: Sum(totals.held),
        expired: Sum(totals.expired),
        outstanding: Sum(totals.available),
    };
    totals.iter().map(row).collect()
}

/// Signs the statement of a day.
pub fn state(
    view: &dyn Queries,
    root: &SigningKey,
    day: UnixSeconds,
    now: UnixSeconds,
) -> Result<Signed<SupplyStatement>, StoreError> {
    let previous = newest(view)?.map(|kept| labelled(labels::RECORD, &kept.bytes()));
    let (transfers, totals) = view.supply()?;
    let rows = rows(&totals);
    Ok(root.sign(SupplyStatement { issued_at: now, day, transfers, previous, rows }))
}

/// Whether a day that is closed waits for its statement: it has none, and value moved before its
/// end.
pub fn is_due(view: &dyn Queries, day: UnixSeconds) -> Result<bool, StoreError> {
    if newest(view)?.is_some_and(|kept| kept.day >= day) {
        return Ok(false);
    }
    let end = day.saturating_add(UnixSeconds(DAY_SECONDS));
    let first = view.transfers(None, 0, 1)?;
    Ok(first.first().is_some_and(|transfer| transfer.at.seconds() < end))
}
