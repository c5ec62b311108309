//! Orders, grants and delegations: what the customer signed, and who was allowed to act on it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bulla_attestation::hash::{account_handle, labelled};
use bulla_attestation::sign::{Unverified, read, verify};
use bulla_wire::bundle::Ordered;
use bulla_wire::grant::{Delegation, Grant};
use bulla_wire::ids::{AccountHandle, Digest, HoldId, PublicKey};
use bulla_wire::labels;
use bulla_wire::order::Order;
use bulla_wire::price::Rates;
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

use super::epoch::peek;
use super::kept::Kept;
use super::report::Sheet;
use super::survey::Context;
use super::walk::Desk;
use super::{CheckName, Record};

/// How far a customer's clock may run ahead of the broker's, in seconds.
pub const MAX_CLOCK_SKEW_SECONDS: u64 = 300;

/// What order and receipt must agree on beside the hold; shared, for many requests have the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) account: AccountHandle,
    pub(super) keyset: Digest,
    pub(super) model: Digest,
    pub(super) unit: Unit,
    pub(super) rates: Rates,
    pub(super) price_book: Digest,
}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.account, self.keyset, self.model, &self.unit, self.price_book).hash(state);
    }
}

/// One copy of each set of terms.
#[derive(Debug, Default)]
pub(super) struct TermsPool(HashSet<Arc<Terms>>);

impl TermsPool {
    pub(super) fn share(&mut self, terms: Terms) -> Arc<Terms> {
        if let Some(known) = self.0.get(&terms) {
            return Arc::clone(known);
        }
        let terms = Arc::new(terms);
        self.0.insert(Arc::clone(&terms));
        terms
    }
}

/// What is kept of an order.
#[derive(Debug)]
pub(super) struct OrderFact {
    pub(super) hold: HoldId,
    pub(super) terms: Arc<Terms>,
    pub(super) ceiling_input: TokenCount,
    pub(super) ceiling_output: TokenCount,
    pub(super) max_charge: MicroUnits,
    /// What has to be held: the most the order can cost, within its own maximum.
    pub(super) to_hold: u64,
    /// When the hold has to be released at the latest; `None` where the grant does not parse.
    pub(super) settle_by: Option<UnixSeconds>,
    /// When it was granted, by the grant.
    pub(super) granted_at: UnixSeconds,
    /// Leaf of the delegation.
    pub(super) delegation_leaf: Option<u64>,
}

/// All orders read so far.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// The most input tokens that were granted of a model, by keyset and model.
    pub(super) offers: BTreeMap<(Digest, Digest), TokenCount>,
    delegations: HashMap<Digest, Option<Delegation>>,
    pub(super) count: u64,
}

impl Orders {
    /// Takes an order as it was granted.
    pub(super) fn add(
        &mut self,
        desk: &mut Desk<'_, '_>,
        root: &PublicKey,
        kept: &mut Kept<'_>,
        ordered: &Ordered,
    ) {
        let number = desk.number;
        self.count += 1;
        let (order, digest, signature) = match read::<Order>(&ordered.order.0) {
            Ok(Unverified { value, digest, signature }) => (value, digest, signature),
            Err(reason) => {
                let (check, record) = (CheckName::OrderSignature, Record::Item { number });
                return desk.sheet.fail(check, record, reason.to_string());
            }
        };
        let record = || Record::Order { hold: order.hold, digest };
        let claim = signature.by(&[order.order_key]);
        desk.signatures.add(desk.sheet, CheckName::OrderSignature, (number, record()), claim);
        let (grant, delegation_leaf) = self.grant(desk, root, ordered, (&order, digest));
        let terms = terms(&order);
        desk.context.books.judge(desk.sheet, &terms, granted_at(&order, grant.as_ref()), record);
        let offered = self.offers.entry((order.keyset, order.model)).or_default();
        *offered = order.ceiling_input_tokens.max(*offered);
        kept.order(desk.sheet, (order.hold, digest), |pool| {
            fact(&order, pool.share(terms), grant.as_ref(), delegation_leaf)
        });
    }

    /// Judges grant and delegation; returns the grant and where the delegation is logged.
    fn grant(
        &mut self,
        desk: &mut Desk<'_, '_>,
        root: &PublicKey,
        ordered: &Ordered,
        (order, digest): (&Order, Digest),
    ) -> (Option<Grant>, Option<u64>) {
        let record = || Record::Order { hold: order.hold, digest };
        let delegation_digest = labelled(labels::RECORD, &ordered.delegation.0);
        let sheet = &mut *desk.sheet;
        let leaf = desk.context.delegations.get(&delegation_digest).copied();
        let delegation = self.delegations.entry(delegation_digest).or_insert_with(|| {
            judge_delegation(sheet, root, &ordered.delegation.0, leaf, record())
        });
        let (grant, signature) = match read::<Grant>(&ordered.grant.0) {
            Ok(Unverified { value, signature, .. }) => (value, signature),
            Err(reason) => {
                sheet.fail(CheckName::GrantSignature, record(), reason.to_string());
                return (None, leaf);
            }
        };
        match delegation {
            Some(delegation) => {
                let claim = signature.by(&[delegation.grant_key]);
                let place = (desk.number, record());
                desk.signatures.add(sheet, CheckName::GrantSignature, place, claim);
                let (from, until, at) =
                    (delegation.issued_at, delegation.not_after, grant.issued_at);
                sheet.judge(CheckName::Delegation, from <= at && at <= until, record, || {
                    format!("granted at {at}, the delegation holds from {from} to {until}")
                });
            }
            None => sheet.leave_open(CheckName::GrantSignature, "a delegation does not parse"),
        }
        judge_terms(sheet, &grant, order, digest);
        (Some(grant), leaf)
    }
}

/// Keeps an order that was judged in an earlier reading.
pub(super) fn keep(sheet: &mut Sheet, context: &Context, kept: &mut Kept<'_>, ordered: &Ordered) {
    let Ok(Unverified { value: order, digest, .. }) = read::<Order>(&ordered.order.0) else {
        return;
    };
    kept.order(sheet, (order.hold, digest), |pool| {
        let grant = read::<Grant>(&ordered.grant.0).ok().map(|grant| grant.value);
        let delegation = labelled(labels::RECORD, &ordered.delegation.0);
        let leaf = context.delegations.get(&delegation).copied();
        fact(&order, pool.share(terms(&order)), grant.as_ref(), leaf)
    });
}

fn terms(order: &Order) -> Terms {
    Terms {
        account: account_handle(&order.order_key),
        keyset: order.keyset,
        model: order.model,
        unit: order.unit.clone(),
        rates: order.rates,
        price_book: order.price_book,
    }
}

fn granted_at(order: &Order, grant: Option<&Grant>) -> UnixSeconds {
    grant.map_or(order.issued_at, |grant| grant.issued_at)
}

fn fact(
    order: &Order,
    terms: Arc<Terms>,
    grant: Option<&Grant>,
    delegation_leaf: Option<u64>,
) -> OrderFact {
    let most = order.rates.most(order.ceiling_input_tokens, order.ceiling_output_tokens);
    OrderFact {
        hold: order.hold,
        terms,
        ceiling_input: order.ceiling_input_tokens,
        ceiling_output: order.ceiling_output_tokens,
        max_charge: order.max_charge,
        to_hold: most.map_or(order.max_charge, |most| most.min(order.max_charge)).0,
        settle_by: grant.map(|grant| grant.settle_by),
        granted_at: granted_at(order, grant),
        delegation_leaf,
    }
}

/// Each delegation is judged once, at the first order that brings it.
fn judge_delegation(
    sheet: &mut Sheet,
    root: &PublicKey,
    bytes: &[u8],
    leaf: Option<u64>,
    record: Record,
) -> Option<Delegation> {
    let signed = verify::<Delegation>(bytes, root);
    sheet.judge(
        CheckName::Delegation,
        signed.is_ok(),
        || record.clone(),
        || signed.as_ref().err().map_or_else(String::new, |e| format!("delegation: {e}")),
    );
    sheet.judge(
        CheckName::Delegation,
        leaf.is_some(),
        || record.clone(),
        || "the delegation of its grant is not in the log".to_owned(),
    );
    peek(bytes).ok()
}

fn judge_terms(sheet: &mut Sheet, grant: &Grant, order: &Order, digest: Digest) {
    let record = || Record::Order { hold: order.hold, digest };
    let check = CheckName::GrantTerms;
    sheet.judge(check, grant.order == digest, record, || {
        format!("the grant is for order {}", grant.order)
    });
    sheet.judge(check, grant.keyset == order.keyset, record, || {
        format!("granted to keyset {}, ordered from {}", grant.keyset, order.keyset)
    });
    let in_time = order.issued_at <= order.not_after && grant.issued_at <= order.not_after;
    sheet.judge(check, in_time, record, || {
        format!("granted at {}, the order ended at {}", grant.issued_at, order.not_after)
    });
    let latest = UnixSeconds(grant.issued_at.0.saturating_add(MAX_CLOCK_SKEW_SECONDS));
    sheet.judge(check, order.issued_at <= latest, record, || {
        format!("granted at {}, ordered later, at {}", grant.issued_at, order.issued_at)
    });
    let instants = [grant.issued_at, grant.admit_by, grant.run_until, grant.settle_by];
    sheet.judge(check, instants.is_sorted(), record, || {
        format!("its instants (signed, admit, run, settle) are out of order: {instants:?}")
    });
}
