//! Usage receipts, each by itself: signature, epoch, usage, charge.

use std::sync::Arc;

use bulla_attestation::hash::Commitment;
use bulla_attestation::sign::{Loose, Unverified, read};
use bulla_wire::bundle::Opening;
use bulla_wire::ids::{Digest, EpochId, HoldId, ReceiptId};
use bulla_wire::labels;
use bulla_wire::price::{Rates, TokenUsage};
use bulla_wire::receipt::{
    MAX_CLASS_BYTES, MAX_KERNEL_PATH_BYTES, OrderMode, Outcome, RECEIPT_PROFILE, SecurityMode,
    UsageReceipt,
};
use bulla_wire::units::{MicroUnits, UnixSeconds};

use super::epoch::Epoch;
use super::kept::Kept;
use super::order::{Terms, TermsPool};
use super::report::{Sheet, View};
use super::walk::Desk;
use super::{CheckName, Record};

/// What is kept of a receipt.
#[derive(Debug)]
pub(super) struct ReceiptFact {
    /// Place among the receipts of the bundle.
    pub(super) ordinal: u64,
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
    pub(super) count: u64,
    /// What the receipts of a proof commit to: few, and not kept elsewhere.
    committed: Vec<(Record, Commitments)>,
    opening: Option<Opening>,
}

/// To the request and to the answer.
type Commitments = (Option<Digest>, Option<Digest>);

impl Receipts {
    /// Takes a receipt.
    pub(super) fn add(&mut self, desk: &mut Desk<'_, '_>, kept: &mut Kept<'_>, bytes: &[u8]) {
        let ordinal = self.count;
        self.count += 1;
        let (number, context) = (desk.number, desk.context);
        let (receipt, digest, signature) = match read::<UsageReceipt>(bytes) {
            Ok(Unverified { value, digest, signature }) => (value, digest, signature),
            Err(reason) => {
                let record = Record::Item { number };
                return desk.sheet.fail(CheckName::ReceiptFormat, record, reason.to_string());
            }
        };
        let sheet = &mut *desk.sheet;
        let record =
            Record::Receipt { id: receipt.id, epoch: receipt.epoch, seq: receipt.seq, digest };
        judge_format(sheet, &receipt, &record);
        judge_usage(sheet, &receipt, &record);
        judge_charge(sheet, &receipt, &record);
        match context.epochs.get(&receipt.epoch) {
            Some(epoch) => judge_epoch(desk, signature, &receipt, epoch, &record),
            None => {
                let message = "its epoch has no epoch-open record: there is no attested key";
                desk.sheet.fail(CheckName::ReceiptSignature, record.clone(), message);
            }
        }
        if context.view == View::Receipt {
            let commitments = (receipt.commit_request, receipt.commit_response);
            self.committed.push((record, commitments));
        }
        kept.receipt(desk.sheet, ordinal, digest, receipt);
    }
}

impl Receipts {
    /// Takes what the customer opens.
    pub(super) fn open(&mut self, sheet: &mut Sheet, number: u64, opening: Opening) {
        let first = self.opening.is_none();
        sheet.judge(
            CheckName::ReceiptOpening,
            first,
            || Record::Item { number },
            || "a second opening".to_owned(),
        );
        self.opening.get_or_insert(opening);
    }

    /// A proof is of one receipt; and what is opened is what it commits to.
    pub(super) fn conclude(&self, sheet: &mut Sheet, view: View) {
        if view == View::Receipt {
            let count = self.count;
            let one = || format!("a proof is of one receipt, got {count}");
            sheet.judge(CheckName::BundleFormat, count == 1, || Record::Bundle, one);
        }
        let Some(opening) = &self.opening else { return };
        let check = CheckName::ReceiptOpening;
        let Some((record, (request, answer))) = self.committed.first() else {
            return sheet.fail(check, Record::Bundle, "an opening without its receipt");
        };
        let commit = |label, bytes: &[u8]| {
            let mut commitment = Commitment::new(label, &opening.salt);
            commitment.update(bytes);
            commitment.finish()
        };
        let asked = *request == Some(commit(labels::COMMIT_REQUEST, &opening.request.0));
        sheet.judge(
            check,
            asked,
            || record.clone(),
            || "the receipt commits to another request than the one shown".to_owned(),
        );
        let shown = opening.answer.as_ref().map(|a| commit(labels::COMMIT_RESPONSE, &a.0));
        sheet.judge(
            check,
            *answer == shown,
            || record.clone(),
            || "the receipt commits to another answer than the one shown".to_owned(),
        );
    }
}

/// What is kept of a receipt.
pub(super) fn fact(ordinal: u64, receipt: UsageReceipt, pool: &mut TermsPool) -> ReceiptFact {
    let terms = pool.share(Terms {
        account: receipt.account,
        keyset: receipt.keyset,
        model: receipt.model,
        unit: receipt.unit,
        rates: receipt.rates,
        price_book: receipt.price_book,
    });
    ReceiptFact {
        ordinal,
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
    let path_bytes = receipt.kernel_path.as_ref().map_or(0, String::len);
    sheet.judge(
        check,
        path_bytes <= MAX_KERNEL_PATH_BYTES,
        || record.clone(),
        || {
            format!(
                "kernel path of {path_bytes} bytes, at most {MAX_KERNEL_PATH_BYTES} are allowed"
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
    desk: &mut Desk<'_, '_>,
    signature: Loose,
    receipt: &UsageReceipt,
    epoch: &Epoch,
    record: &Record,
) {
    let sheet = &mut *desk.sheet;
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
    let claim = signature.by(&keys.receipt_keys);
    let place = (desk.number, record.clone());
    desk.signatures.add(sheet, CheckName::ReceiptSignature, place, claim);
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
