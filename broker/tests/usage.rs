//! Usage by day and model, and why a receipt was charged, over a ledger with signed receipts.

use std::collections::BTreeMap;

use bulla_attestation::sign::SigningKey;
use bulla_broker::api::alert::alerts;
use bulla_broker::api::charge::explain;
use bulla_broker::api::usage::{Days, Names, Tally, usage};
use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::ledger::{
    AccountNumber, ArchivedKeyset, ArchivedReport, Charge, Command, Hold, Queries, Record,
    RecordKind,
};
use bulla_broker::package::PackageOffer;
use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, PublicKey, ReceiptId};
use bulla_wire::price::{Rates, TokenUsage};
use bulla_wire::receipt::{OrderMode, Outcome, RECEIPT_PROFILE, SecurityMode, UsageReceipt};
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

const KEYSET: Digest = Digest([9; 32]);
/// Who pays, as receipts name it.
const PAYER: AccountHandle = AccountHandle([4; 32]);
const DAY: u64 = 24 * 3600;
/// 2026-11-20 00:00 UTC.
const START: u64 = 1_795_132_800;

/// A ledger with one account, and the epoch its receipts stand in.
struct Books {
    store: SqliteStore,
    account: AccountNumber,
    key: SigningKey,
    seq: u64,
    tip: Option<Digest>,
}

fn only(store: &mut SqliteStore, command: Command, at: u64) {
    let now = UnixSeconds(at).millis();
    let results = store.execute(&[command], now).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

impl Books {
    fn open() -> Books {
        let mut store = SqliteStore::in_memory().unwrap();
        let open = Command::OpenAccount { name: "acme".into(), operator: false };
        only(&mut store, open, START);
        let account = AccountNumber(1);
        let offer = PackageOffer::plain(Unit::tokens(), MicroUnits(1_000_000_000), "package");
        let issue = offer.issue([1; 16], account, UnixSeconds(START - 1));
        only(&mut store, Command::IssuePackage(issue), START);
        let order_key = PublicKey([4; 32]);
        let register = Command::RegisterOrderKey { account, order_key, handle: PAYER };
        only(&mut store, register, START);
        let keyset = ArchivedKeyset {
            digest: KEYSET,
            instance: "node-1".parse().unwrap(),
            receipt_keys: vec![],
            simulated: true,
            not_after: UnixSeconds(u64::MAX >> 1),
            appraised_at: UnixSeconds(START),
            evidence: Digest([7; 32]),
            leaf_index: 0,
        };
        let (keyset_jcs, report) = (b"{}".to_vec(), b"{}".to_vec());
        let report = ArchivedReport { keyset, keyset_jcs, report, leaf: vec![1] };
        only(&mut store, Command::ArchiveEvidence(Box::new(report)), START);
        let key = SigningKey::from_seed([5; 32]);
        let mut books = Books { store, account, key, seq: 0, tip: None };
        books.record(RecordKind::Open, Digest([1; 32]), vec![0], Charge::None, START);
        books
    }

    fn record(
        &mut self,
        kind: RecordKind,
        digest: Digest,
        bytes: Vec<u8>,
        charge: Charge,
        at: u64,
    ) {
        let record = Record {
            kind,
            epoch: EpochId::of_keyset(&KEYSET),
            seq: self.seq,
            prev: self.tip,
            digest,
            keyset: KEYSET,
            leaf: [&[2u8][..], &digest.0].concat(),
            bytes,
            handle: (kind == RecordKind::Receipt).then_some(PAYER),
            charge,
        };
        (self.seq, self.tip) = (self.seq + 1, Some(digest));
        only(&mut self.store, Command::Record(Box::new(record)), at);
    }

    fn hold(&mut self, n: u8, at: u64) -> HoldId {
        let hold = HoldId([n; 16]);
        let place = Hold {
            hold,
            account: self.account,
            model: "model".into(),
            unit: Unit::tokens(),
            amount: MicroUnits(50_000_000),
            settle_by: UnixSeconds(at + 600),
            order_digest: Digest([n; 32]),
            order: vec![1],
            grant: vec![2],
            delegation: vec![3],
            instance: "node-1".parse().unwrap(),
            spender: Default::default(),
            split: Vec::new(),
        };
        only(&mut self.store, Command::Hold(Box::new(place)), at);
        hold
    }

    /// A receipt over so many output tokens; interim where it has an index.
    fn receipt(
        &mut self,
        hold: HoldId,
        model: u8,
        output: u64,
        interim: Option<u64>,
        at: u64,
    ) -> Digest {
        let rates = Rates { input: 1_000_000, output: 2_000_000, ..Rates::default() };
        let usage = TokenUsage {
            input: TokenCount(10),
            output: TokenCount(output),
            ..TokenUsage::default()
        };
        let charge = rates.charge(&usage).unwrap();
        let receipt = UsageReceipt {
            issuer: "node-1".parse().unwrap(),
            issued_at: UnixSeconds(at),
            id: ReceiptId([self.seq as u8; 16]),
            nonce: Digest([self.seq as u8; 32]),
            profile: RECEIPT_PROFILE.to_owned(),
            hold,
            keyset: KEYSET,
            model: Digest([model; 32]),
            unit: Unit::tokens(),
            rates,
            price_book: Digest([6; 32]),
            order: Digest([hold.0[0]; 32]),
            epoch: EpochId::of_keyset(&KEYSET),
            seq: self.seq,
            prev: self.tip.unwrap(),
            account: PAYER,
            accelerator: "cpu:test".into(),
            device_time_ms: 5,
            usage,
            charge,
            outcome: Outcome::Complete,
            generated_tokens: TokenCount(output),
            sent_tokens: TokenCount(output),
            commit_request: None,
            commit_response: None,
            configuration: Digest([3; 32]),
            security: SecurityMode::Simulated,
            mode: OrderMode::Ordered,
            interim,
            kernel_path: None,
        };
        let signed = self.key.sign(receipt);
        let digest = signed.digest();
        let charge = match interim {
            None => Charge::Final { hold, amount: charge },
            Some(index) => Charge::Interim { hold, index, amount: charge },
        };
        self.record(RecordKind::Receipt, digest, signed.bytes().to_vec(), charge, at);
        digest
    }
}

fn days(from: &str, to: &str, zone: &str) -> Days {
    Days::parse(Some(from), Some(to), zone, UnixSeconds(START)).unwrap()
}

#[test]
fn every_hold_counts_once_on_the_day_of_its_receipt() {
    let mut books = Books::open();
    let first = books.hold(1, START + 60);
    books.receipt(first, 1, 5, Some(0), START + 61);
    let mut tally = Tally::default();
    assert!(tally.advance(&books.store, books.account, 1000).unwrap());
    let names: Names = BTreeMap::from([(Digest([1; 32]), "one".to_owned())]);
    let both = days("2026-11-20", "2026-11-21", "UTC");
    assert!(usage(&tally, &both, &names).rows.is_empty(), "its hold is still active");
    books.receipt(first, 1, 20, None, START + 62);
    let late = books.hold(2, START + DAY - 30);
    books.receipt(late, 1, 7, None, START + DAY - 1);
    let next = books.hold(3, START + DAY);
    books.receipt(next, 2, 1, None, START + DAY);
    // Of a long answer that broke off, the last interim receipt counts, once its hold has ended.
    let broken = books.hold(4, START + DAY + 10);
    books.receipt(broken, 2, 2, Some(0), START + DAY + 11);
    books.receipt(broken, 2, 3, Some(1), START + DAY + 12);
    assert!(!tally.advance(&books.store, books.account, 2).unwrap(), "in parts");
    assert!(tally.advance(&books.store, books.account, 1000).unwrap());
    only(&mut books.store, Command::ExpireDue, START + DAY + 10_000);
    assert!(tally.advance(&books.store, books.account, 1000).unwrap());
    let flat = |days: &Days| -> Vec<(String, String, u64, u128, u128)> {
        let rows = usage(&tally, days, &names).rows.into_iter();
        rows.map(|r| (r.day, r.model[..3].to_owned(), r.requests, r.output_tokens, r.charge))
            .collect()
    };
    let row = |day: &str, model: &str, requests, output, charge| {
        (day.to_owned(), model.to_owned(), requests, output, charge)
    };
    let expected = [
        row("2026-11-20", "one", 2, 27, 2 * 10 + 2 * 27),
        row("2026-11-21", "020", 2, 4, 2 * 10 + 2 * 4),
    ];
    assert_eq!(flat(&both), expected);
    let hong_kong = days("2026-11-20", "2026-11-21", "Asia/Hong_Kong");
    let expected = [
        row("2026-11-20", "one", 1, 20, 50),
        row("2026-11-21", "020", 2, 4, 28),
        row("2026-11-21", "one", 1, 7, 24),
    ];
    assert_eq!(flat(&hong_kong), expected, "the same seconds are another day elsewhere");
    let spent: u128 = flat(&both).iter().map(|row| row.4).sum();
    let packages = books.store.packages(books.account).unwrap();
    assert_eq!(u128::from(packages[0].spent.0), spent, "usage and ledger agree");
    assert!(alerts(&packages, &[("TOK".into(), spent)], UnixSeconds(START + DAY)).is_empty());
}

#[test]
fn a_charge_is_explained_to_its_payer_alone() {
    let mut books = Books::open();
    let mut last = None;
    // Other holds before and after it, over months: its transfers are found among them.
    for n in 1..=60u8 {
        let at = START + u64::from(n) * DAY;
        let hold = books.hold(n, at);
        let digest = books.receipt(hold, 1, u64::from(n), None, at + 1);
        if n == 40 {
            last = Some((hold, digest));
        }
    }
    let (hold, digest) = last.unwrap();
    let names = Names::new();
    let why = explain(&books.store, Some(books.account), &digest, &names).unwrap().unwrap();
    assert!(why.settled);
    assert_eq!((why.computed, why.receipt.charge), (90, 90), "10 in, 40 out at twice the rate");
    let kinds: Vec<&str> = why.transfers.iter().map(|t| t.kind.as_str()).collect();
    assert_eq!(kinds, ["hold", "settle", "release"]);
    assert!(why.transfers.iter().all(|t| t.hold == Some(hold.to_string())));
    assert_eq!(why.lines.iter().map(|line| line.product).sum::<u128>(), 90_000_000);
    assert_eq!(why.keyset.map(|keyset| keyset.security), Some("simulated".to_owned()));
    let other = explain(&books.store, Some(AccountNumber(2)), &digest, &names).unwrap();
    assert!(other.is_none(), "another account's receipt is as good as none");
    assert!(explain(&books.store, None, &digest, &names).unwrap().is_some(), "operators see all");
    assert!(explain(&books.store, None, &Digest([0; 32]), &names).unwrap().is_none());
}
