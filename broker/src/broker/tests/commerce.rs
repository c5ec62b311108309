//! Money as the broker's state machine sees it: budgets refuse orders, splits earn, days are stated,
//! charges are explained and invoiced.

use bulla_wire::decision::Decision;
use bulla_wire::leaf::Leaf;
use bulla_wire::supply::SupplyStatement;

use super::*;
use crate::account::Account;
use crate::invoice::{self, InvoiceError, Period};
use crate::ledger::{Correction, SetBudget};
use crate::payable::{Party, SplitTerms};
use crate::project::{Scope, Spender};
use crate::reservation::Booking;
use crate::why::{WhyError, why};

const DAY_SECONDS: u64 = 24 * 3600;

impl Town {
    fn command(&mut self, command: Command) -> Outcome {
        self.store.execute(&[command], self.now).unwrap().remove(0).unwrap()
    }

    fn acme(&self) -> Account {
        self.store.account(self.account).unwrap().unwrap()
    }

    /// An order of a project's credential, answered with seven tokens.
    fn answered(&mut self, hold: u8, project: Option<u64>) -> Signed<Order> {
        let order = self.order(hold, |_| {});
        let (account, spender) = (self.account, Spender { project, credential: None });
        let (instance, bytes) = (instance(), order.bytes().to_vec());
        let request = REQUEST;
        self.happen(Event::OrderReceived { request, account, spender, instance, order: bytes });
        self.out.clear();
        let receipt = self.enclave.receipt(&order, 7, |_| {});
        assert!(matches!(self.settle(receipt), Settlement::Settled { .. }));
        order
    }
}

fn correction(order: &Signed<Order>, key: u8, tokens: u64) -> Correction {
    let amount = MicroUnits(tokens * 1_000_000);
    Correction { key: [key; 16], hold: order.hold, amount, memo: "goodwill".into() }
}

#[test]
fn an_order_beyond_its_projects_budget_is_refused_in_words() {
    let mut town = Town::open(1000);
    let account = town.account;
    let open = Command::OpenProject { account, name: "search".into() };
    let Outcome::ProjectOpened { project } = town.command(open) else { panic!() };
    let scope = Scope { project: Some(project), credential: None };
    town.command(Command::SetBudget(SetBudget {
        account,
        scope,
        unit: Unit::tokens(),
        every: None,
        zone: "UTC".into(),
        soft: None,
        hard: Some(MicroUnits(60_000_000)),
    }));
    town.answered(1, Some(project));
    let order = town.order(2, |_| {});
    let spender = Spender { project: Some(project), credential: None };
    let (instance, bytes) = (instance(), order.bytes().to_vec());
    let request = REQUEST;
    town.happen(Event::OrderReceived { request, account, spender, instance, order: bytes });
    let (problem, message) = town.take(|effect| match effect {
        Effect::Refuse { problem, message, .. } => Some((*problem, message.clone())),
        _ => None,
    });
    assert_eq!(problem, Problem::InsufficientBalance);
    assert!(message.contains("budget 1 allows 43 TOK more, "), "{message}");
    // The same order without the project is covered.
    town.granted(&order);
    let of_this: Vec<Decision> = town.decisions().into_iter().map(|(_, why)| why).skip(1).collect();
    assert_eq!(of_this, [Decision::OverBudget, Decision::Granted]);
}

#[test]
fn a_charge_is_explained_down_to_receipt_leaf_and_evidence() {
    let mut town = Town::open(1000);
    let account = town.account;
    town.command(Command::OpenProject { account, name: "search".into() });
    let order = town.answered(1, Some(1));
    let told = why(&town.store, Some(account), &order.hold.to_string()).unwrap();
    assert_eq!((told.charged, told.project.as_deref()), (MicroUnits(17_000_000), Some("search")));
    assert_eq!((told.model.as_str(), told.order.as_ref()), ("demo", Some(&*order)));
    assert_eq!(told.receipt.as_ref().unwrap().usage.output, TokenCount(7));
    assert_eq!((told.keyset, told.evidence), (Some(KEYSET), Some(Digest([0xee; 32]))));
    assert!(told.told.contains("10 input tokens"), "{}", told.told);
    let leaf = town.store.leaves(told.leaf_index.unwrap(), 1).unwrap().remove(0);
    let digest = told.receipt_digest.unwrap();
    assert!(
        matches!(Leaf::from_slice(&leaf), Ok(Leaf::Receipt { receipt, .. }) if receipt == digest)
    );
    assert_eq!(told.transfers.len(), 3, "hold, settle, release");
    // Receipt and transfer lead to the same charge; nobody else's does.
    let number = told.transfers[1].number;
    for id in [digest.to_string(), number.to_string()] {
        assert_eq!(why(&town.store, None, &id).unwrap(), told);
    }
    let other = why(&town.store, Some(AccountNumber(99)), &number.to_string());
    assert!(matches!(other, Err(WhyError::Unknown { .. })));
    assert!(matches!(why(&town.store, None, "x"), Err(WhyError::NotAnId { .. })));
}

#[test]
fn an_invoice_has_its_receipts_and_later_corrections_stand_on_a_credit_note() {
    let mut town = Town::open(1000);
    let (first, second) = (town.answered(1, None), town.answered(2, None));
    town.command(Command::RefundHold(correction(&first, 1, 2)));
    // Within the life of the enclave's keys.
    const HOUR_SECONDS: u64 = 3600;
    let day = UnixSeconds(town.now.seconds().0 - HOUR_SECONDS);
    let next = UnixSeconds(town.now.seconds().0 + HOUR_SECONDS);
    let period = Period { from: day, until: next, zone: "Asia/Hong_Kong".into() };
    let (unit, issuer) = (Unit::tokens(), town.broker.keys().root_public());
    let acme = town.acme();
    let make = |town: &Town, number, period: &Period| {
        let now = town.now.seconds();
        invoice::invoice(&town.store, &acme, &unit, period, (number, issuer), now)
    };
    let early = make(&town, 1, &period);
    assert_eq!(early, Err(InvoiceError::NotOver { until: next }));
    town.now = next.millis();
    // Later something else is charged, and something of before given back.
    let third = town.answered(3, None);
    town.command(Command::RefundHold(correction(&second, 2, 17)));
    let document = make(&town, 1, &period).unwrap();
    let amounts = (&document.charged[..], &document.refunded[..], &document.total[..]);
    assert_eq!(amounts, ("34000000", "2000000", "32000000"));
    let holds: Vec<_> = document.annex.iter().map(|annexed| annexed.hold).collect();
    assert_eq!(holds, [first.hold, second.hold]);
    assert_eq!(document.lines.len(), 2);
    let text = String::from_utf8(document.canonical()).unwrap();
    assert!(text.starts_with("{\"account\":1,\"annex\":[{\"charge\":\"17000000\""), "{text}");
    let keep = |town: &mut Town, document: &invoice::Document| {
        let signed = invoice::sign(town.broker.keys().root(), document, town.now.seconds());
        town.command(Command::PutInvoice {
            number: document.number,
            account: acme.number,
            key: invoice::invoice_key(document),
            document: signed.bytes().to_vec(),
        })
    };
    assert_eq!(keep(&mut town, &document), Outcome::Entered { number: 1 });
    assert_eq!(keep(&mut town, &document), Outcome::Entered { number: 1 }, "made once");
    let (kept, _) = invoice::find(&town.store, 1, &issuer).unwrap();
    assert_eq!(kept, document);
    let overlapping = Period { from: UnixSeconds(day.0 + 1), ..period.clone() };
    assert_eq!(make(&town, 2, &overlapping), Err(InvoiceError::Overlaps { number: 1 }));

    let now = town.now.seconds();
    let note = invoice::credit_note(&town.store, &acme, &kept, (2, issuer), now).unwrap();
    assert_eq!((&note.total[..], note.corrects), ("-17000000", Some(1)));
    assert_eq!(note.corrections.len(), 1);
    assert_eq!(keep(&mut town, &note), Outcome::Entered { number: 2 });
    let again = invoice::credit_note(&town.store, &acme, &kept, (3, issuer), now);
    assert_eq!(again, Err(InvoiceError::NothingCorrected { number: 1 }));
    // The next period's invoice has its own charge and nothing of the one before.
    let tomorrow = Period { from: next, until: UnixSeconds(next.0 + HOUR_SECONDS), ..period };
    town.now = tomorrow.until.millis();
    let document = make(&town, 3, &tomorrow).unwrap();
    assert_eq!((&document.charged[..], &document.refunded[..]), ("17000000", "0"));
    assert_eq!(document.annex[0].hold, third.hold);
    let forged = invoice::find(&town.store, 1, &SigningKey::from_seed([9; 32]).public());
    assert!(matches!(forged, Err(InvoiceError::Damaged { number: 1, .. })));
}

#[test]
fn a_day_that_passed_is_stated_and_logged_once() {
    let mut town = Town::open(1000);
    town.answered(1, None);
    let root = town.broker.keys().root_public();
    let stated = |town: &Town| -> Vec<Signed<SupplyStatement>> {
        let leaves = town.store.leaves(0, 100).unwrap();
        let read = |leaf: &Vec<u8>| match Leaf::from_slice(leaf) {
            Ok(Leaf::Supply { statement }) => Some(verify(&statement.0, &root).unwrap()),
            _ => None,
        };
        leaves.iter().filter_map(read).collect()
    };
    town.happen(Event::Tick);
    assert_eq!(stated(&town).len(), 0, "the day is not over");
    town.now.0 += DAY_SECONDS * 1000;
    for _ in 0..3 {
        town.happen(Event::Tick);
    }
    town.crash();
    town.happen(Event::Tick);
    let found = stated(&town);
    assert_eq!(found.len(), 1);
    let row = &found[0].rows[0];
    assert_eq!((row.issued.0, row.burned.0), (1_000_000_000, 17_000_000));
    assert!(row.balances());
    assert_eq!(town.broker.log().size(), town.store.leaf_count().unwrap());
    town.now.0 += DAY_SECONDS * 1000;
    town.happen(Event::Tick);
    let found = stated(&town);
    assert_eq!(found[1].previous, Some(found[0].digest()));
}

#[test]
fn orders_carry_their_models_split_and_booked_slots_are_known() {
    let mut town = Town::open(1000);
    let account = town.account;
    let open = |name: &str| Command::OpenAccount { name: name.into(), operator: false };
    let Outcome::AccountOpened { account: owner } = town.command(open("owner")) else { panic!() };
    let party = Party { role: "model owner".into(), account: owner, ppm: 600_000, package: None };
    town.command(Command::SetSplit(SplitTerms {
        model: "*".into(),
        unit: Unit::tokens(),
        parties: vec![party],
        platform: account,
        platform_package: None,
    }));
    let from = town.now.seconds();
    let until = UnixSeconds(from.0 + 60);
    town.command(Command::Reserve(Booking {
        key: [7; 16],
        account,
        slots: 3,
        bookable: 10,
        from,
        until,
        unit: Unit::tokens(),
        price: MicroUnits(5_000_000),
        memo: "booked".into(),
    }));
    assert_eq!(town.broker.booked_slots(account, from), 0, "not before it was looked at");
    town.happen(Event::Tick);
    assert_eq!(town.broker.booked_slots(account, from), 3);
    assert_eq!(town.broker.booked_slots(account, until), 0);
    town.answered(1, None);
    let owed = town.store.packages(owner).unwrap();
    assert_eq!(owed[0].available, MicroUnits(10_200_000), "60 % of 17 tokens");
}
