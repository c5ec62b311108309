//! Invoices, refunds, disputes, credits for availability.

use bulla_wire::bundle::Transfer;
use bulla_wire::ids::HoldId;
use bulla_wire::units::{MicroUnits, UnixSeconds};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::market::instant_of;
use super::organisation::{decimal_of, period_of};
use super::query::{ApiError, MAX_LIMIT, bad};
use super::view::{Page, TransferView, instant};
use crate::availability::Tier;
use crate::calendar::window;
use crate::dispute::exhibit;
use crate::invoice::{Document, Period};
use crate::ledger::{AccountNumber, Correction, Corrections, Queries, StoredHold};

/// An invoice to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvoice {
    /// Unit of account.
    pub unit: String,
    /// Of a `day`, `week`, `month` or `year`; a month when left out.
    pub every: Option<String>,
    /// Any instant in it (RFC 3339), such as 2026-10-01T00:00:00+08:00; the period before this one
    /// when left out.
    pub at: Option<String>,
    /// Time zone it begins and ends in (IANA); UTC when left out.
    pub zone: Option<String>,
}

/// An invoice or credit note, in short. Amounts are decimal texts: they may exceed 53 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceView {
    /// Its number.
    pub number: u64,
    /// `invoice` or `credit-note`.
    pub kind: String,
    /// The invoice a credit note corrects.
    pub corrects: Option<u64>,
    /// Number of the account.
    pub account: u64,
    /// Name of the account.
    pub name: String,
    /// Begin of the period, in its time zone.
    pub from: String,
    /// End of the period, in its time zone.
    pub until: String,
    /// The time zone (IANA).
    pub zone: String,
    /// Unit of account.
    pub unit: String,
    /// Charged, in micro-units.
    pub charged: String,
    /// Given back, in micro-units.
    pub refunded: String,
    /// Charged less what was given back, in micro-units; negative on a credit note.
    pub total: String,
    /// When it was issued (RFC 3339).
    #[schema(format = DateTime)]
    pub issued_at: String,
}

impl From<&Document> for InvoiceView {
    fn from(document: &Document) -> InvoiceView {
        let [from, until] = document.period.clone();
        InvoiceView {
            number: document.number,
            kind: document.kind.clone(),
            corrects: document.corrects,
            account: document.account,
            name: document.name.clone(),
            from,
            until,
            zone: document.zone.clone(),
            unit: document.unit.clone(),
            charged: document.charged.clone(),
            refunded: document.refunded.clone(),
            total: document.total.clone(),
            issued_at: instant(UnixSeconds(document.issued_at)),
        }
    }
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceLine {
    /// `usage`, `purchase` or `refund`.
    pub what: String,
    /// The model; empty for what is of none.
    pub model: String,
    /// How many.
    pub count: u64,
    /// How much, in micro-units.
    pub amount: String,
}

/// A receipt behind a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AnnexLine {
    /// When it was charged (RFC 3339).
    #[schema(format = DateTime)]
    pub charged_at: String,
    /// The model.
    pub model: String,
    /// How the request ended.
    pub outcome: String,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Charged, in micro-units.
    pub charge: String,
    /// The hold it settled, hex.
    pub hold: String,
    /// Its digest, hex.
    pub receipt: String,
    /// Its leaf in the log.
    pub leaf_index: Option<u64>,
}

/// A correction on a credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CorrectionLine {
    /// The hold whose charge was corrected, hex.
    pub hold: Option<String>,
    /// The transfer that did it.
    pub transfer: u64,
    /// Why.
    pub memo: String,
    /// Given back, in micro-units.
    pub amount: String,
}

/// An invoice or credit note with everything on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceSheet {
    /// In short.
    pub invoice: InvoiceView,
    /// Who issued it: the broker's root key, hex.
    pub issuer: String,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
    /// The receipts behind the charges.
    pub annex: Vec<AnnexLine>,
    /// The corrections of a credit note.
    pub corrections: Vec<CorrectionLine>,
    /// The signed document (COSE_Sign1 over RFC 8785 JSON), base64: it counts, not this view.
    pub cose: String,
}

impl InvoiceSheet {
    /// Of a verified document and its signed bytes.
    pub fn new(document: &Document, bytes: &[u8]) -> InvoiceSheet {
        let line = |line: &crate::invoice::Line| InvoiceLine {
            what: line.what.clone(),
            model: line.model.clone(),
            count: line.count,
            amount: line.amount.clone(),
        };
        let annexed = |annexed: &crate::invoice::Annexed| AnnexLine {
            charged_at: instant(UnixSeconds(annexed.charged_at_ms / 1000)),
            model: annexed.model.clone(),
            outcome: annexed.outcome.clone(),
            input_tokens: annexed.usage.input.0,
            output_tokens: annexed.usage.output.0,
            charge: annexed.charge.clone(),
            hold: annexed.hold.to_string(),
            receipt: annexed.receipt.to_string(),
            leaf_index: annexed.leaf_index,
        };
        let corrected = |corrected: &crate::invoice::Corrected| CorrectionLine {
            hold: corrected.hold.map(|hold| hold.to_string()),
            transfer: corrected.transfer,
            memo: corrected.memo.clone(),
            amount: corrected.amount.clone(),
        };
        InvoiceSheet {
            invoice: InvoiceView::from(document),
            issuer: document.issuer.to_string(),
            lines: document.lines.iter().map(line).collect(),
            annex: document.annex.iter().map(annexed).collect(),
            corrections: document.corrections.iter().map(corrected).collect(),
            cose: BASE64.encode(bytes),
        }
    }
}

/// A charge to be given back or disputed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCorrection {
    /// How much, in whole units, an exact decimal; all that is left of the charge when left out.
    pub amount: Option<String>,
    /// Why.
    pub memo: String,
    /// Idempotency key: 32 hex characters; the same key with the same request is done once.
    pub key: Option<String>,
}

/// What was given back or frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CorrectedView {
    /// The hold that was charged, hex.
    pub hold: String,
    /// Unit of account.
    pub unit: String,
    /// How much, in micro-units.
    pub amount: u64,
}

/// A dispute's end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    /// For the customer: what was frozen comes back; else it is spent again.
    pub upheld: bool,
    /// Why.
    pub memo: String,
}

/// A disputed charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DisputeView {
    /// The hold that was charged, hex.
    pub hold: String,
    /// Number of the transfer that opened it: the cursor of lists.
    pub transfer: u64,
    /// Whose.
    pub account: u64,
    /// When it was opened (RFC 3339).
    #[schema(format = DateTime)]
    pub opened_at: String,
    /// Whether it waits for a decision.
    pub open: bool,
    /// The model.
    pub model: String,
    /// Unit of account.
    pub unit: String,
    /// The charge, in micro-units.
    pub charged: u64,
    /// Frozen of it now, in micro-units.
    pub frozen: u64,
    /// Given back of it, in micro-units.
    pub given_back: u64,
    /// Digest of the receipt it is about, hex.
    pub receipt: Option<String>,
    /// Whether request and answer were opened, and are those the receipt commits to.
    pub opened: bool,
    /// Why.
    pub memo: String,
}

/// A credit to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredit {
    /// Unit of account.
    pub unit: String,
    /// Of a `day`, `week`, `month` or `year`; a month when left out.
    pub every: Option<String>,
    /// Any instant in it (RFC 3339); the period before this one when left out.
    pub at: Option<String>,
    /// Time zone it begins and ends in (IANA); UTC when left out.
    pub zone: Option<String>,
    /// What is credited below which availability; the one that gives most counts.
    pub tiers: Vec<NewTier>,
    /// Only say what it would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// Below so many served per million, so much per million of the charges is credited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTier {
    /// Served per million requests.
    pub below_ppm: u32,
    /// Credited of the charges, in parts per million.
    pub credit_ppm: u32,
}

impl From<&NewTier> for Tier {
    fn from(tier: &NewTier) -> Tier {
        Tier { below_ppm: tier.below_ppm, credit_ppm: tier.credit_ppm }
    }
}

/// A period's availability, by the outcomes enclaves signed, and its credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CreditView {
    /// Requests answered, or ended by the customer.
    pub served: u64,
    /// Requests that ended by a fault of the enclave.
    pub failed: u64,
    /// Requests refused at admission.
    pub refused: u64,
    /// Served per million.
    pub served_ppm: u32,
    /// Unit of account.
    pub unit: String,
    /// The credit, in micro-units.
    pub credit: u64,
    /// The package it was issued as.
    pub package: Option<u64>,
}

/// The period an invoice or credit is for.
pub fn period(
    every: Option<&str>,
    at: Option<&str>,
    zone: Option<&str>,
    now: UnixSeconds,
) -> Result<Period, ApiError> {
    let (every, zone) = (period_of(every.unwrap_or("month"))?, zone.unwrap_or("UTC"));
    let at = match at {
        Some(text) => instant_of("at", text)?,
        None => UnixSeconds(window(now, every, zone).map_err(bad)?.0.0.saturating_sub(1)),
    };
    let (from, until) = window(at, every, zone).map_err(bad)?;
    Ok(Period { from, until, zone: zone.to_owned() })
}

/// A hold of an account, or of anybody for an operator.
fn hold_of(
    view: &dyn Queries,
    account: Option<AccountNumber>,
    hold: &HoldId,
) -> Result<StoredHold, ApiError> {
    let found = view.hold(hold)?;
    // Another account's hold is as good as none.
    let found = found.filter(|found| account.is_none_or(|account| found.account == account));
    found.ok_or_else(|| ApiError::NotFound(format!("no hold {hold}")))
}

/// What is to be given back or frozen: all that is left of the charge where no amount is named.
pub fn correction(
    view: &dyn Queries,
    account: Option<AccountNumber>,
    hold: &str,
    key: [u8; 16],
    new: &NewCorrection,
) -> Result<(Correction, CorrectedView), ApiError> {
    let hold: HoldId = hold.parse().map_err(bad)?;
    let found = hold_of(view, account, &hold)?;
    let left = || found.left_of_charge().map_err(|error| ApiError::Conflict(error.to_string()));
    let amount: MicroUnits = new.amount.as_deref().map_or_else(left, decimal_of)?;
    let told =
        CorrectedView { hold: hold.to_string(), unit: found.unit.to_string(), amount: amount.0 };
    Ok((Correction { key, hold, amount, memo: new.memo.clone() }, told))
}

/// A page of disputes.
pub fn dispute_page(
    view: &dyn Queries,
    account: Option<AccountNumber>,
    (after, limit): (u64, usize),
) -> Result<Page<DisputeView>, ApiError> {
    let found = view.corrections(Corrections::Disputes, account, after, limit)?;
    let next = next_of(&found, limit);
    Ok(Page { items: dispute_views(view, found)?, next })
}

/// A page of what was given back.
pub fn refund_page(
    view: &dyn Queries,
    account: Option<AccountNumber>,
    (after, limit): (u64, usize),
) -> Result<Page<TransferView>, ApiError> {
    let found = view.corrections(Corrections::Refunds, account, after, limit)?;
    let items = found.iter().map(TransferView::from).collect();
    Ok(Page { items, next: next_of(&found, limit) })
}

/// The newest disputes and what was newest given back, oldest first.
pub fn newest_corrections(
    view: &dyn Queries,
    account: Option<AccountNumber>,
) -> Result<(Vec<DisputeView>, Vec<TransferView>), ApiError> {
    let newest = |which| view.newest_corrections(which, account, MAX_LIMIT);
    let disputes = dispute_views(view, newest(Corrections::Disputes)?)?;
    let refunds = newest(Corrections::Refunds)?;
    Ok((disputes, refunds.iter().map(TransferView::from).collect()))
}

fn next_of(found: &[Transfer], limit: usize) -> Option<String> {
    let last = found.last().filter(|_| found.len() == limit);
    last.map(|transfer| transfer.number.to_string())
}

/// A charge that is frozen from several packages is one dispute.
fn dispute_views(view: &dyn Queries, found: Vec<Transfer>) -> Result<Vec<DisputeView>, ApiError> {
    let mut items: Vec<DisputeView> = Vec::new();
    for transfer in found {
        let Some(id) = transfer.hold else { continue };
        let Some(hold) = view.hold(&id)? else { continue };
        if items.last().is_some_and(|last| last.hold == id.to_string()) {
            continue;
        }
        items.push(DisputeView {
            hold: id.to_string(),
            transfer: transfer.number,
            account: hold.account.0,
            opened_at: instant(transfer.at.seconds()),
            open: hold.disputed > MicroUnits(0),
            model: hold.model,
            unit: hold.unit.to_string(),
            charged: hold.charged.unwrap_or_default().0,
            frozen: hold.disputed.0,
            given_back: hold.credited.0,
            receipt: hold.receipt.map(|digest| digest.to_string()),
            opened: exhibit(view, &id)?.is_some(),
            memo: transfer.memo.unwrap_or_default(),
        });
    }
    Ok(items)
}
