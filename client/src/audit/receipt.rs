//! Usage receipts, each by itself: signature, epoch, usage, charge.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bulla_attestation::hash::labelled;
use bulla_attestation::sign::verify_any;
use bulla_wire::ids::{Digest, EpochId, HoldId, ReceiptId};
use bulla_wire::labels;
use bulla_wire::price::{Rates, TokenUsage};
use bulla_wire::receipt::{
    MAX_CLASS_BYTES, OrderMode, Outcome, RECEIPT_PROFILE, SecurityMode, UsageReceipt,
};
use bulla_wire::units::{MicroUnits, UnixSeconds};

use super::epoch::{Epoch, peek};
use super::order::{Terms, TermsPool};
use super::report::Sheet;
use super::survey::Context;
use super::{CheckName, Record};

/// What is kept of a receipt.
#[derive(Debug)]
pub(super) struct ReceiptFact {
    pub(super) id: ReceiptId,
    pub(super) epoch: EpochId,
    pub(super) seq: u64,
    pub(super) prev: Digest,
    pub(super) issued_at: UnixSeconds,
    pub(super) hold: HoldId,
    pub(super) order: Digest,
    pub(super) terms: Arc<Terms>,
    pub(super) usage: TokenUsage,
    pub(super) charge: MicroUnits,
    pub(super) mode: OrderMode,
    pub(super) interim: Option<u64>,
}

impl ReceiptFact {
    pub(super) fn record(&self, digest: Digest) -> Record {
        Record::Receipt { id: self.id, epoch: self.epoch, seq: self.seq, digest }
    }
}

/// All receipts read so far.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    pub(super) by_digest: HashMap<Digest, ReceiptFact>,
    ids: HashSet<ReceiptId>,
    pub(super) count: u64,
}

impl Receipts {
    /// Takes a receipt.
    pub(super) fn add(
        &mut self,
        sheet: &mut Sheet,
        context: &Context,
        pool: &mut TermsPool,
        number: u64,
        bytes: &[u8],
    ) {
        self.count += 1;
        let receipt = match peek::<UsageReceipt>(bytes) {
            Ok(receipt) => receipt,
            Err(reason) => {
                return sheet.fail(CheckName::ReceiptFormat, Record::Item { number }, reason);
            }
        };
        let digest = labelled(labels::RECORD, bytes);
        let record =
            Record::Receipt { id: receipt.id, epoch: receipt.epoch, seq: receipt.seq, digest };
        let new = self.ids.insert(receipt.id) && !self.by_digest.contains_key(&digest);
        sheet.judge(
            CheckName::ReceiptOnce,
            new,
            || record.clone(),
            || "another receipt of the bundle has the same id".to_owned(),
        );
        judge_format(sheet, &receipt, &record);
        judge_usage(sheet, &receipt, &record);
        judge_charge(sheet, &receipt, &record);
        match context.epochs.get(&receipt.epoch) {
            Some(epoch) => judge_epoch(sheet, bytes, &receipt, epoch, &record),
            None => {
                let message = "its epoch has no epoch-open record: there is no attested key";
                sheet.fail(CheckName::ReceiptSignature, record, message);
            }
        }
        let fact = keep(receipt, pool);
        self.by_digest.entry(digest).or_insert(fact);
    }
}

fn keep(receipt: UsageReceipt, pool: &mut TermsPool) -> ReceiptFact {
    let terms = pool.share(Terms {
        account: receipt.account,
        keyset: receipt.keyset,
        model: receipt.model,
        unit: receipt.unit,
        rates: receipt.rates,
        price_book: receipt.price_book,
    });
    ReceiptFact {
        id: receipt.id,
        epoch: receipt.epoch,
        seq: receipt.seq,
        prev: receipt.prev,
        issued_at: receipt.issued_at,
        hold: receipt.hold,
        order: receipt.order,
        terms,
        usage: receipt.usage,
        charge: receipt.charge,
        mode: receipt.mode,
        interim: receipt.interim,
    }
}

fn judge_format(sheet: &mut Sheet, receipt: &UsageReceipt, record: &Record) {
    let check = CheckName::ReceiptFormat;
    sheet.judge(
        check,
        receipt.profile == RECEIPT_PROFILE,
        || record.clone(),
        || format!("expected profile {RECEIPT_PROFILE}, got {:?}", receipt.profile),
    );
    let class_bytes = receipt.accelerator.len();
    sheet.judge(
        check,
        class_bytes <= MAX_CLASS_BYTES,
        || record.clone(),
        || {
            format!(
                "accelerator class of {class_bytes} bytes, at most {MAX_CLASS_BYTES} are allowed"
            )
        },
    );
    let answered = matches!(receipt.outcome, Outcome::Complete | Outcome::Length);
    let committed = receipt.commit_request.is_some() && receipt.commit_response.is_some();
    let holds = committed || !answered || receipt.mode == OrderMode::BrokerVouched;
    sheet.judge(
        check,
        holds,
        || record.clone(),
        || format!("outcome {} without commitments to request and answer", receipt.outcome),
    );
}

fn judge_epoch(
    sheet: &mut Sheet,
    bytes: &[u8],
    receipt: &UsageReceipt,
    epoch: &Epoch,
    record: &Record,
) {
    let same = receipt.issuer == epoch.issuer
        && receipt.keyset == epoch.keyset
        && receipt.configuration == epoch.configuration;
    sheet.judge(CheckName::EpochIdentity, same, || record.clone(), || {
        format!(
            "issuer, keyset or configuration is not its epoch's: expected {} {} {}, got {} {} {}",
            epoch.issuer, epoch.keyset, epoch.configuration,
            receipt.issuer, receipt.keyset, receipt.configuration
        )
    });
    let Some(keys) = &epoch.keys else {
        let reason = "an epoch has no attested key: see epoch-evidence and epoch-appraisal";
        sheet.leave_open(CheckName::ReceiptSignature, reason);
        return sheet.leave_open(CheckName::ReceiptSecurity, reason);
    };
    let signed = verify_any::<UsageReceipt>(bytes, &keys.receipt_keys);
    sheet.judge(
        CheckName::ReceiptSignature,
        signed.is_ok(),
        || record.clone(),
        || signed.as_ref().err().map_or_else(String::new, |e| e.to_string()),
    );
    let expected = match keys.simulated {
        true => SecurityMode::Simulated,
        false => SecurityMode::Hardware,
    };
    sheet.judge(
        CheckName::ReceiptSecurity,
        receipt.security == expected,
        || record.clone(),
        || format!("says {}, its evidence is {expected}", receipt.security),
    );
    let (from, until, at) = (epoch.opened_at, keys.not_after, receipt.issued_at);
    sheet.judge(
        CheckName::ChainTime,
        from <= at && at <= until,
        || record.clone(),
        || format!("signed at {at}, its epoch runs from {from} to {until} at most"),
    );
}

fn judge_usage(sheet: &mut Sheet, receipt: &UsageReceipt, record: &Record) {
    let TokenUsage { input, cached_input, output, reasoning } = receipt.usage;
    let parts = cached_input <= input && reasoning <= output;
    sheet.judge(
        CheckName::ReceiptUsage,
        parts,
        || record.clone(),
        || format!("a part exceeds its whole: {:?}", receipt.usage),
    );
    let (generated, sent) = (receipt.generated_tokens, receipt.sent_tokens);
    let counted = output <= generated && sent <= generated;
    sheet.judge(
        CheckName::ReceiptUsage,
        counted,
        || record.clone(),
        || format!("{output} output tokens billed and {sent} sent of {generated} generated"),
    );
}

fn judge_charge(sheet: &mut Sheet, receipt: &UsageReceipt, record: &Record) {
    let expected = expected_charge(receipt.outcome, &receipt.rates, &receipt.usage);
    let charge = receipt.charge;
    // An enclave may waive a customer's error.
    let waived = receipt.outcome == Outcome::CustomerError && charge == MicroUnits(0);
    let holds = waived || expected.as_ref().is_ok_and(|expected| *expected == charge);
    sheet.judge(
        CheckName::ReceiptCharge,
        holds,
        || record.clone(),
        || match expected {
            Ok(expected) => format!("outcome {} costs {expected}, got {charge}", receipt.outcome),
            Err(reason) => reason,
        },
    );
}

fn expected_charge(
    outcome: Outcome,
    rates: &Rates,
    usage: &TokenUsage,
) -> Result<MicroUnits, String> {
    if !outcome.is_charged() {
        return Ok(MicroUnits(0));
    }
    rates.charge(usage).map_err(|e| e.to_string())
}
