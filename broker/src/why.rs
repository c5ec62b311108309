//! "Why was I charged?": one charge, down to order, receipt, proof and evidence.

use bulla_attestation::sign::verify_order;
use bulla_wire::bundle::Transfer;
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::order::Order;
use bulla_wire::receipt::UsageReceipt;
use bulla_wire::units::MicroUnits;
use serde::Serialize;

use crate::dispute::{Exhibit, exhibit};
use crate::ledger::{
    AccountNumber, ArchivedKeyset, HoldState, Queries, StoreError, StoredHold, StoredRecord,
};
use crate::project::projects;
use crate::record::read_receipt;

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyError {
    /// The ledger did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Neither hold, receipt nor transfer.
    #[error("{id:?} is no hold id (32 hex characters), receipt digest (64) or transfer number")]
    NotAnId {
        /// The text, cut.
        id: String,
    },
    /// Nothing of this account has it.
    #[error("nothing of this account has the id {id}")]
    Unknown {
        /// The text.
        id: String,
    },
}

/// One charge explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The hold.
    pub hold: HoldId,
    /// How it ended.
    pub state: HoldState,
    /// Number of the account.
    pub account: AccountNumber,
    /// Name of the project whose credential ordered.
    pub project: Option<String>,
    /// Name of the model.
    pub model: String,
    /// Unit of account.
    pub unit: String,
    /// Set aside, in micro-units.
    pub held: MicroUnits,
    /// Charged.
    pub charged: MicroUnits,
    /// Given back since.
    pub credited: MicroUnits,
    /// In dispute.
    pub disputed: MicroUnits,
    /// In words.
    pub told: String,
    /// What the customer signed.
    pub order: Option<Order>,
    /// Digest of the order.
    pub order_digest: Digest,
    /// What the enclave signed.
    pub receipt: Option<UsageReceipt>,
    /// Digest of the receipt.
    pub receipt_digest: Option<Digest>,
    /// Where the receipt stands in the log: `GET /v1/log/proof/DIGEST` proves it.
    pub leaf_index: Option<u64>,
    /// The keyset whose key signed it.
    pub keyset: Option<Digest>,
    /// Digest of the evidence the keyset was appraised with.
    pub evidence: Option<Digest>,
    /// Leaf of keyset and evidence.
    pub keyset_leaf_index: Option<u64>,
    /// No hardware stands behind the keyset.
    pub simulated: Option<bool>,
    /// What was shown of request and answer, where the charge was disputed and they were opened.
    pub exhibit: Option<Exhibit>,
    /// The movements of value it made.
    pub transfers: Vec<Transfer>,
}

/// Explains a charge: `id` is a hold's, a receipt's digest or a transfer's number. With an account
/// given, only what is its own is known.
pub fn why(
    view: &dyn Queries,
    account: Option<AccountNumber>,
    id: &str,
) -> Result<Explanation, WhyError> {
    let unknown = || WhyError::Unknown { id: id.chars().take(80).collect() };
    let hold = hold_of(view, id)?.ok_or_else(unknown)?;
    let hold = view.hold(&hold)?.ok_or_else(unknown)?;
    if account.is_some_and(|account| account != hold.account) {
        return Err(unknown());
    }
    let record = hold.receipt.map(|digest| view.record(&digest)).transpose()?.flatten();
    let behind = Behind::of(view, Some(&hold), record)?;
    explain(view, &hold, behind)
}

/// What stands behind a hold or a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The receipt as kept.
    pub record: Option<StoredRecord>,
    /// The receipt.
    pub receipt: Option<UsageReceipt>,
    /// The keyset whose key signed it.
    pub keyset: Option<ArchivedKeyset>,
    /// What moved for the hold, on the payer's side, oldest first.
    pub transfers: Vec<Transfer>,
}

impl Behind {
    /// Of a hold and the receipt that settled it, or of a receipt and the hold it names.
    pub fn of(
        view: &dyn Queries,
        hold: Option<&StoredHold>,
        record: Option<StoredRecord>,
    ) -> Result<Behind, StoreError> {
        let keyset = record.as_ref().map(|record| view.keyset(&record.keyset));
        let transfers = hold.map(|hold| view.hold_transfers(hold.account, &hold.hold));
        Ok(Behind {
            receipt: record.as_ref().and_then(|record| read_receipt(&record.bytes)),
            record,
            keyset: keyset.transpose()?.flatten(),
            transfers: transfers.transpose()?.unwrap_or_default(),
        })
    }
}

fn hold_of(view: &dyn Queries, id: &str) -> Result<Option<HoldId>, WhyError> {
    if let Ok(hold) = id.parse::<HoldId>() {
        return Ok(Some(hold));
    }
    if let Ok(digest) = id.parse::<Digest>() {
        let record = view.record(&digest)?;
        return Ok(record
            .and_then(|record| read_receipt(&record.bytes))
            .map(|receipt| receipt.hold));
    }
    if let Ok(number) = id.parse::<u64>() {
        let found = view.transfers(None, number.saturating_sub(1), 1)?;
        let transfer = found.into_iter().find(|transfer| transfer.number == number);
        return Ok(transfer.and_then(|transfer| transfer.hold));
    }
    Err(WhyError::NotAnId { id: id.chars().take(80).collect() })
}

fn explain(
    view: &dyn Queries,
    hold: &StoredHold,
    Behind { record, receipt, keyset, transfers }: Behind,
) -> Result<Explanation, WhyError> {
    let order = verify_order(&hold.order).ok().map(|order| (*order).clone());
    let project = match hold.spender.project {
        None => None,
        Some(number) => {
            let known = projects(view, hold.account)?;
            known.into_iter().find(|project| project.number == number).map(|p| p.name)
        }
    };
    Ok(Explanation {
        hold: hold.hold,
        state: hold.state,
        account: hold.account,
        project,
        model: hold.model.clone(),
        unit: hold.unit.to_string(),
        held: hold.amount,
        charged: hold.charged.unwrap_or_default(),
        credited: hold.credited,
        disputed: hold.disputed,
        told: tell(hold, receipt.as_ref()),
        order,
        order_digest: hold.order_digest,
        receipt,
        receipt_digest: hold.receipt,
        leaf_index: record.as_ref().and_then(|record| record.leaf_index),
        keyset: keyset.as_ref().map(|keyset| keyset.digest),
        evidence: keyset.as_ref().map(|keyset| keyset.evidence),
        keyset_leaf_index: keyset.as_ref().map(|keyset| keyset.leaf_index),
        simulated: keyset.map(|keyset| keyset.simulated),
        exhibit: exhibit(view, &hold.hold)?,
        transfers,
    })
}

/// The charge in one sentence, the arithmetic with it.
fn tell(hold: &StoredHold, receipt: Option<&UsageReceipt>) -> String {
    let charged = hold.charged.unwrap_or_default();
    let (unit, state) = (&hold.unit, hold.state);
    let Some(receipt) = receipt else {
        let held = hold.amount.of(unit);
        return format!("{held} were held, the hold is {state}: nothing was charged");
    };
    let usage = receipt.usage;
    let full = receipt.rates.charge(&usage).map_or_else(|e| e.to_string(), |sum| sum.of(unit));
    format!(
        "{} input tokens ({} of them cached) and {} output tokens ({} of them reasoning) make {full} \
         at the ordered rates; it ended {}, {} were charged of {} held",
        usage.input,
        usage.cached_input,
        usage.output,
        usage.reasoning,
        receipt.outcome,
        charged.of(unit),
        hold.amount.of(unit)
    )
}
