//! What this machine kept of its own orders: the customer's side of an audit.

use bulla_attestation::hash::account_handle;
use bulla_attestation::sign::verify_order;

use super::super::GlobalArgs;
use crate::audit::OwnOrder;
use crate::io::folder::Folder;
use crate::io::records::{Record, Records};

/// Every order in the client's records.
pub fn kept(global: &GlobalArgs) -> anyhow::Result<Vec<OwnOrder>> {
    let folder = Folder::open(&global.client_folder())?;
    let records = Records::at(folder.file("receipts.jsonl")).read()?;
    records.iter().map(of_record).collect()
}

fn of_record(record: &Record) -> anyhow::Result<OwnOrder> {
    let order = verify_order(&record.order)?;
    Ok(OwnOrder {
        order: order.digest(),
        hold: order.hold,
        account: account_handle(&order.order_key),
        receipt: record.receipt_digest(),
    })
}
