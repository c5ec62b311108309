//! Views as people and programs read them. Amounts are integers in micro-units of their unit of
//! account; instants are RFC 3339 in UTC.

use bulla_wire::bundle::{Transfer, TransferKind};
use bulla_wire::units::{MicroUnits, UnixSeconds};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::account::Account;
use crate::ledger::{HoldState, StoredHold, Totals};
use crate::package::{Package, Purpose};

/// An instant in RFC 3339, UTC, whole seconds.
pub fn instant(at: UnixSeconds) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let text =
        OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("second {at} of the Unix epoch"))
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeView {
    /// The user's or token's name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// The account a customer's role is bound to.
    pub account: Option<u64>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountView {
    /// Its number.
    pub account: u64,
    /// Its name.
    pub name: String,
    /// Whether its credentials may see every account.
    pub operator: bool,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> AccountView {
        let Account { number, name, operator } = account;
        AccountView { account: number.0, name: name.clone(), operator: *operator }
    }
}

/// Where the value of one unit of account is: issued = available + held + spent + expired.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BalanceView {
    /// Unit of account: TOK, CU, or a currency.
    pub unit: String,
    /// Ever issued, in micro-units.
    #[schema(value_type = u64)]
    pub issued: u128,
    /// Free now, in micro-units; what is not effective yet is counted too.
    #[schema(value_type = u64)]
    pub available: u128,
    /// Set aside for orders, in micro-units.
    #[schema(value_type = u64)]
    pub held: u128,
    /// Spent, in micro-units; refunds taken off.
    #[schema(value_type = u64)]
    pub spent: u128,
    /// Lapsed, in micro-units.
    #[schema(value_type = u64)]
    pub expired: u128,
}

impl BalanceView {
    /// Of one unit's sums.
    pub fn of(unit: &str, sums: &Totals) -> BalanceView {
        let Totals { issued, available, held, spent, expired } = *sums;
        BalanceView { unit: unit.to_owned(), issued, available, held, spent, expired }
    }
}

/// The balances of some packages, one per unit of account, by unit.
pub fn balances(packages: &[Package]) -> Vec<BalanceView> {
    let mut units = std::collections::BTreeMap::new();
    for package in packages.iter().filter(|package| !is_owed(package)) {
        let sums: &mut Totals = units.entry(package.unit.as_str()).or_default();
        sums.issued += u128::from(package.granted.0);
        sums.available += u128::from(package.available.0);
        sums.held += u128::from(package.held.0);
        sums.spent += u128::from(package.spent.0);
        sums.expired += u128::from(package.expired.0);
    }
    units.iter().map(|(unit, sums)| BalanceView::of(unit, sums)).collect()
}

/// How a package stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    /// Pays for orders.
    Usable,
    /// Not effective yet.
    Future,
    /// Nothing is free: spent or set aside.
    UsedUp,
    /// Lapsed.
    Expired,
    /// What a party of charges is owed: no order burns it, and it is no part of a balance.
    Owed,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PackageView {
    /// Its number.
    pub package: u64,
    /// Unit of account.
    pub unit: String,
    /// What it is.
    pub memo: String,
    /// How it stands.
    pub state: PackageState,
    /// Place in the burn order of its unit, from 1, while it is usable.
    pub burns: Option<u32>,
    /// Issued, in micro-units.
    pub granted: u64,
    /// Free, in micro-units.
    pub available: u64,
    /// Set aside, in micro-units.
    pub held: u64,
    /// Spent, in micro-units.
    pub spent: u64,
    /// Lapsed, in micro-units.
    pub expired: u64,
    /// Lower numbers burn first.
    pub priority: u8,
    /// A gift: burns before anything paid.
    pub promotional: bool,
    /// Not used before (RFC 3339).
    #[schema(format = DateTime)]
    pub effective_from: String,
    /// Lapses then (RFC 3339).
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// Names of the models it pays for; every model when empty.
    pub models: Vec<String>,
    /// How often it comes again, and in which time zone, such as `month (Asia/Hong_Kong)`.
    pub comes_again: Option<String>,
}

/// Packages in burn order: usable ones first, unit by unit; then future, used up and lapsed ones.
pub fn packages(packages: &[Package], now: UnixSeconds) -> Vec<PackageView> {
    let mut sorted: Vec<&Package> = packages.iter().collect();
    sorted.sort_by(|a, b| {
        let rank = |p: &Package| (state(p, now) as u8, p.unit.clone());
        rank(a).cmp(&rank(b)).then(a.burns_before(b))
    });
    let mut place = (String::new(), 0);
    let view = |package: &Package| {
        let state = state(package, now);
        let burns = (state == PackageState::Usable).then(|| {
            let unit = package.unit.to_string();
            place = if place.0 == unit { (unit, place.1 + 1) } else { (unit, 1) };
            place.1
        });
        let every = |renewal: &crate::package::Renewal| {
            format!("{:?} ({})", renewal.every, renewal.zone).to_lowercase_first()
        };
        PackageView {
            package: package.number.0,
            unit: package.unit.to_string(),
            memo: package.memo.clone(),
            state,
            burns,
            granted: package.granted.0,
            available: package.available.0,
            held: package.held.0,
            spent: package.spent.0,
            expired: package.expired.0,
            priority: package.priority,
            promotional: package.promotional,
            effective_from: instant(package.effective_from),
            expires_at: package.expires_at.map(instant),
            models: package.terms.models.clone(),
            comes_again: package.terms.renewal.as_ref().map(every),
        }
    };
    sorted.into_iter().map(view).collect()
}

trait LowercaseFirst {
    fn to_lowercase_first(self) -> String;
}

impl LowercaseFirst for String {
    fn to_lowercase_first(mut self) -> String {
        if let Some(first) = self.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        self
    }
}

fn is_owed(package: &Package) -> bool {
    package.terms.purpose == Purpose::Payable
}

fn state(package: &Package, now: UnixSeconds) -> PackageState {
    if is_owed(package) {
        PackageState::Owed
    } else if package.expires_at.is_some_and(|end| end <= now) {
        PackageState::Expired
    } else if package.available == MicroUnits(0) {
        PackageState::UsedUp
    } else if package.effective_from > now {
        PackageState::Future
    } else {
        PackageState::Usable
    }
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HoldView {
    /// Place in the order of creation: the cursor of lists.
    pub number: u64,
    /// Its id, hex.
    pub hold: String,
    /// Who pays.
    pub account: u64,
    /// Unit of account.
    pub unit: String,
    /// Set aside, in micro-units.
    pub amount: u64,
    /// `active`, `settled`, `released` or `expired`.
    pub state: String,
    /// Charged at settlement, in micro-units.
    pub charged: Option<u64>,
    /// Digest of the receipt that settled it, hex.
    pub receipt: Option<String>,
    /// Given back then without a receipt (RFC 3339).
    #[schema(format = DateTime)]
    pub settle_by: String,
    /// The enclave it was sent to.
    pub instance: String,
}

/// The name of a hold's state.
pub fn hold_state(state: HoldState) -> &'static str {
    match state {
        HoldState::Active => "active",
        HoldState::Settled => "settled",
        HoldState::Released => "released",
        HoldState::Expired => "expired",
    }
}

impl From<&StoredHold> for HoldView {
    fn from(hold: &StoredHold) -> HoldView {
        HoldView {
            number: hold.number,
            hold: hold.hold.to_string(),
            account: hold.account.0,
            unit: hold.unit.to_string(),
            amount: hold.amount.0,
            state: hold_state(hold.state).to_owned(),
            charged: hold.charged.map(|charged| charged.0),
            receipt: hold.receipt.map(|digest| digest.to_string()),
            settle_by: instant(hold.settle_by),
            instance: hold.instance.to_string(),
        }
    }
}

/// A transfer: never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferView {
    /// Place in the ledger, from 1, without gaps: the cursor of lists.
    pub number: u64,
    /// When it was committed (RFC 3339).
    #[schema(format = DateTime)]
    pub at: String,
    /// `issue`, `hold`, `settle`, `release`, `expire` or `refund`.
    pub kind: String,
    /// Whose.
    pub account: u64,
    /// Which package.
    pub package: u64,
    /// Unit of account.
    pub unit: String,
    /// How much, in micro-units.
    pub amount: u64,
    /// The hold, hex.
    pub hold: Option<String>,
    /// Digest of the receipt that settled it, hex.
    pub receipt: Option<String>,
    /// Why.
    pub memo: Option<String>,
}

/// The name of a transfer's kind.
pub fn transfer_kind(kind: TransferKind) -> String {
    format!("{kind:?}").to_lowercase_first()
}

impl From<&Transfer> for TransferView {
    fn from(transfer: &Transfer) -> TransferView {
        TransferView {
            number: transfer.number,
            at: instant(transfer.at.seconds()),
            kind: transfer_kind(transfer.kind),
            account: transfer.account_number,
            package: transfer.package_number,
            unit: transfer.unit.to_string(),
            amount: transfer.amount.0,
            hold: transfer.hold.map(|hold| hold.to_string()),
            receipt: transfer.receipt.map(|digest| digest.to_string()),
            memo: transfer.memo.clone(),
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Ask again with `after` set to this; absent on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of `items` out of a list that was asked for one more than `limit`.
    pub fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Page { items, next }
    }

    /// All there is.
    pub fn whole(items: Vec<T>) -> Page<T> {
        Page { items, next: None }
    }
}

/// An enclave as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnclaveView {
    /// Its name.
    pub instance: String,
    /// `not appraised`, `archiving`, `opening its epoch`, or `ready`.
    pub stage: String,
    /// `hardware` or `simulated`; nothing protects anything in a simulated one.
    pub security: Option<String>,
    /// Digest of its keyset, hex.
    pub keyset: Option<String>,
    /// End of its keyset (RFC 3339).
    #[schema(format = DateTime)]
    pub not_after: Option<String>,
    /// Names of its models.
    pub models: Vec<String>,
    /// Its accelerator classes.
    pub accelerators: Vec<String>,
}

/// A keyset that was appraised and archived with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeysetView {
    /// Its digest, hex.
    pub keyset: String,
    /// The enclave.
    pub instance: String,
    /// `hardware` or `simulated`.
    pub security: String,
    /// When the broker appraised it (RFC 3339).
    #[schema(format = DateTime)]
    pub appraised_at: String,
    /// Its end (RFC 3339).
    #[schema(format = DateTime)]
    pub not_after: String,
    /// Digest of the evidence, hex.
    pub evidence: String,
    /// Its leaf in the log.
    pub leaf_index: u64,
}

/// `hardware` or `simulated`.
pub fn security(simulated: bool) -> &'static str {
    if simulated { "simulated" } else { "hardware" }
}

impl From<&crate::ledger::ArchivedKeyset> for KeysetView {
    fn from(keyset: &crate::ledger::ArchivedKeyset) -> KeysetView {
        KeysetView {
            keyset: keyset.digest.to_string(),
            instance: keyset.instance.to_string(),
            security: security(keyset.simulated).to_owned(),
            appraised_at: instant(keyset.appraised_at),
            not_after: instant(keyset.not_after),
            evidence: keyset.evidence.to_string(),
            leaf_index: keyset.leaf_index,
        }
    }
}

/// The log's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogView {
    /// The log's origin.
    pub origin: String,
    /// Leaves under the newest checkpoint.
    pub size: u64,
    /// The newest checkpoint: a signed note (C2SP).
    pub checkpoint: String,
    /// What verifies it.
    pub verifier: String,
}

/// A price of the book in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceView {
    /// The model's name.
    pub model: String,
    /// Digest of its manifest, hex.
    pub manifest: String,
    /// Unit of account.
    pub unit: String,
    /// Micro-units per million input tokens.
    pub input: u64,
    /// Micro-units per million cached input tokens.
    pub cached_input: u64,
    /// Micro-units per million output tokens.
    pub output: u64,
    /// Micro-units per million reasoning tokens.
    pub reasoning: u64,
    /// Micro-units per request.
    pub per_request: u64,
}

/// A price book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceBookView {
    /// Its version.
    pub version: u64,
    /// Its digest, hex: every order and receipt repeats it.
    pub digest: String,
    /// From when it holds (RFC 3339).
    #[schema(format = DateTime)]
    pub effective_from: String,
    /// Its prices.
    pub prices: Vec<PriceView>,
}

/// What computing every balance anew found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecomputedView {
    /// Transfers summed.
    pub transfers: u64,
    /// Packages compared.
    pub packages: u64,
    /// Holds compared.
    pub holds: u64,
    /// What differs, at most a hundred lines; empty when the ledger holds.
    pub differences: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{AccountNumber, IssuePackage, PackageNumber};
    use bulla_wire::units::Unit;

    fn package(number: u64, unit: &str, priority: u8, from: u64, until: Option<u64>) -> Package {
        let issue = IssuePackage {
            key: [0; 16],
            account: AccountNumber(1),
            unit: unit.parse::<Unit>().unwrap(),
            amount: MicroUnits(5),
            priority,
            promotional: false,
            effective_from: UnixSeconds(from),
            expires_at: until.map(UnixSeconds),
            memo: "m".into(),
            terms: Default::default(),
        };
        let mut package = Package::issued(PackageNumber(number), &issue);
        (package.granted, package.available) = (issue.amount, issue.amount);
        package
    }

    #[test]
    fn packages_come_in_the_order_in_which_they_burn() {
        let mut empty = package(5, "TOK", 0, 0, None);
        empty.available = MicroUnits(0);
        let mut owed = package(7, "TOK", 0, 0, None);
        owed.terms.purpose = Purpose::Payable;
        let all = [
            owed,
            package(1, "TOK", 9, 0, None),
            package(2, "HKD", 9, 0, None),
            package(3, "TOK", 1, 0, None),
            package(4, "TOK", 0, 99, None),
            empty,
            package(6, "TOK", 0, 0, Some(50)),
        ];
        let views = packages(&all, UnixSeconds(50));
        let flat: Vec<_> = views.iter().map(|v| (v.package, v.burns)).collect();
        let none = None;
        assert_eq!(
            flat,
            [(2, Some(1)), (3, Some(1)), (1, Some(2)), (4, none), (5, none), (6, none), (7, none)]
        );
        let states: Vec<_> = views.iter().map(|v| v.state).collect();
        use PackageState::{Expired, Future, Owed, Usable, UsedUp};
        assert_eq!(states, [Usable, Usable, Usable, Future, UsedUp, Expired, Owed]);
        let sums = balances(&all);
        assert_eq!(
            sums.iter().map(|s| (s.unit.as_str(), s.issued)).collect::<Vec<_>>(),
            [("HKD", 5), ("TOK", 25)]
        );
    }

    #[test]
    fn amounts_and_instants_are_exact() {
        assert_eq!(instant(UnixSeconds(1_800_000_000)), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn the_last_page_names_no_next() {
        let page = Page::of(vec![1, 2, 3], 2, |n| n.to_string());
        assert_eq!((page.items, page.next), (vec![1, 2], Some("2".into())));
        assert_eq!(Page::of(vec![1, 2], 2, |n| n.to_string()).next, None);
    }
}
