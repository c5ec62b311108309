//! Packages drawn as blind tokens, with every role in its place: the customer draws, orders without
//! a name, is answered and receipted, and has its change; the broker cannot be cheated, and forgets
//! nothing when it dies between any two steps.

use bulla_broker::ledger::HoldState;
use bulla_client::audit::CheckName;
use bulla_client::wallet::Wallet;
use bulla_tests::world::town::{Town, shows};
use bulla_wire::blind::{BlindKeys, MAX_PAYMENT_BYTES, Payment};
use bulla_wire::bundle::{Item, next_item};
use bulla_wire::cbor;
use bulla_wire::problem::Problem;
use bulla_wire::units::{MicroUnits, UnixSeconds};

const PROMPT: &str = "who asks this is nobody's business";
const NOW: UnixSeconds = UnixSeconds(bulla_tests::world::START.0 / 1000);

/// A town whose enclave serves and whose broker has signed its first keys.
fn town() -> Town {
    let mut town = Town::found_anonymous();
    town.broker_publishes();
    town.broker_ticks(bulla_tests::world::START.0);
    town
}

fn draw(town: &mut Town, wallet: &mut Wallet, amount: u64) {
    let keys = town.blind_keys().pop().expect("an epoch");
    let draw = wallet.begin_draw(&keys, MicroUnits(amount), town.rng()).unwrap();
    let request = wallet.draws()[0].request.clone();
    let answer = town.broker_draws(&request).unwrap();
    assert_eq!(wallet.finish_draw(&draw, &keys, &answer), Ok(MicroUnits(amount)));
}

fn worth(wallet: &Wallet) -> u64 {
    wallet.holdings(NOW).first().map_or(0, |holding| holding.amount.0)
}

fn pay(
    town: &mut Town,
    wallet: &mut Wallet,
    order: &bulla_attestation::sign::Signed<bulla_wire::order::Order>,
) -> Vec<u8> {
    let keys = town.blind_keys().pop().expect("an epoch");
    wallet.begin_spend(&keys, order, NOW, town.rng()).unwrap()
}

fn payment(bytes: &[u8]) -> Payment {
    cbor::from_slice(bytes, MAX_PAYMENT_BYTES).unwrap()
}

fn keys_of(town: &Town, epoch: u64) -> BlindKeys {
    let keys = town.blind_keys().into_iter().find(|keys| keys.epoch == epoch);
    (*keys.expect("an epoch in use")).clone()
}

fn items(mut bundle: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some((item, taken)) = next_item(bundle).unwrap() {
        items.push(item);
        bundle = &bundle[taken..];
    }
    items
}

#[test]
fn a_request_is_paid_answered_receipted_and_changed_without_a_name() {
    let mut town = town();
    let mut wallet = Wallet::default();
    let before = town.packages();
    draw(&mut town, &mut wallet, 1_000_000_000);
    assert_eq!((town.packages(), town.pools()), (before - 1_000_000_000, 1_000_000_000));
    assert!(town.balance().balances(), "issued = burned + held + expired + outstanding");

    let keys = town.client_appraises().unwrap();
    town.client_hides();
    let (order, sealed) = town.client_orders(PROMPT, &keys);
    let paid = pay(&mut town, &mut wallet, &order);
    let granted = town.broker_redeems(&order, &paid).unwrap();
    assert_eq!(town.balance().held, u128::from(order.max_charge.0));
    assert_eq!(town.broker_changes(&order.hold), None, "while it is active");
    town.enclave_admits(&granted, &sealed);
    let told = town.enclave_answers();
    let (text, settled) = town.client_opens(&told.answer);
    assert_eq!(text, PROMPT, "the enclave takes it for an order like any other");
    town.broker_settles(&told.trailer);

    let charge = settled.receipt.charge;
    wallet.charged(&order.hold, charge);
    let change = town.broker_changes(&order.hold).unwrap();
    let value = payment(&paid).value().unwrap();
    let epoch = keys_of(&town, change.epoch.unwrap());
    let back = wallet.finish_spend(&epoch, &change).unwrap();
    assert_eq!(back.0 + change.kept.0, value.0 - charge.0);
    assert_eq!(worth(&wallet) + change.kept.0 + charge.0, 1_000_000_000, "nothing is lost");
    assert_eq!(town.pools(), worth(&wallet) + change.kept.0, "and all of it is backed");
    assert!(town.balance().balances());

    // The whole log and ledger, judged by a stranger: nobody's account, and nothing wrong with it.
    town.enclave_closes();
    let bundle = town.export();
    let verdict = town.audit(&bundle);
    assert!(verdict.is_clean(), "{verdict}");
    let of_account = |item: &Item| match item {
        Item::Invoice(invoice) if invoice.charged > MicroUnits(0) => Some(invoice.account_number),
        _ => None,
    };
    assert_eq!(items(&bundle).iter().find_map(of_account), Some(0), "charged to nobody");
    assert!(!shows(&bundle, PROMPT));
    keep(&town, &bundle);
}

/// With `BULLA_WRITE_BUNDLE` set to a folder, the bundle is kept there for other verifiers, with whom
/// to believe (`tests/independent/verify_bundle.py bundle`).
fn keep(town: &Town, bundle: &[u8]) {
    let Some(folder) = std::env::var_os("BULLA_WRITE_BUNDLE") else { return };
    let folder = std::path::Path::new(&folder);
    let trust = town.trust(bulla_tests::chip::policy("development"));
    let (log, root) = (&trust.log_keys[0], trust.broker_root);
    let trust = format!("{{\"log_key\": \"{log}\", \"broker_root\": \"{root}\"}}\n");
    std::fs::write(folder.join("anonymous.cborseq"), bundle).unwrap();
    std::fs::write(folder.join("trust.json"), trust).unwrap();
}

#[test]
fn whatever_is_asked_again_is_answered_the_same_and_paid_once() {
    let mut town = town();
    let mut wallet = Wallet::default();
    let keys = town.blind_keys().pop().unwrap();
    let draw = wallet.begin_draw(&keys, MicroUnits(800_000_000), town.rng()).unwrap();
    let request = wallet.draws()[0].request.clone();
    let first = town.broker_draws(&request).unwrap();
    let after = town.packages();
    // The client lost the answer, and the broker died: the same bytes again.
    town.broker_crashes();
    town.broker_publishes();
    assert_eq!(town.broker_draws(&request).unwrap(), first);
    assert_eq!(town.packages(), after, "paid once");
    wallet.finish_draw(&draw, &keys, &first).unwrap();
    // The same draw with another request is no draw.
    let mut other: bulla_wire::blind::DrawRequest = cbor::from_slice(&request, 1 << 16).unwrap();
    other.parts[0].blinded.pop();
    other.parts.retain(|part| !part.blinded.is_empty());
    let no = town.broker_draws(&cbor::to_vec(&other)).unwrap_err();
    assert_eq!(no.0, Problem::IdempotencyConflict, "{}", no.1);

    let keys = town.client_appraises().unwrap();
    town.client_hides();
    let (order, _) = town.client_orders(PROMPT, &keys);
    let paid = pay(&mut town, &mut wallet, &order);
    town.broker_redeems(&order, &paid).unwrap();
    let pools = town.pools();
    town.broker_redeems(&order, &paid).expect("the same order again");
    assert_eq!(town.pools(), pools, "held once");
    // Nothing ran: the hold expires, and all of the payment comes back, whenever it is asked for.
    let settle_by = town.hold(&order.hold).settle_by;
    town.broker_expires(UnixSeconds(settle_by.0 + 1));
    assert_eq!(town.hold(&order.hold).state, HoldState::Expired);
    let change = town.broker_changes(&order.hold).unwrap();
    town.broker_crashes();
    town.broker_ticks((settle_by.0 + 2) * 1000);
    assert_eq!(town.broker_changes(&order.hold).as_ref(), Some(&change));
    let epoch = keys_of(&town, change.epoch.unwrap());
    wallet.finish_spend(&epoch, &change).unwrap();
    assert_eq!(worth(&wallet), 800_000_000);
    assert!(town.balance().balances());
}

#[test]
fn a_token_is_spent_once_whoever_comes_first() {
    let mut town = town();
    let mut wallet = Wallet::default();
    draw(&mut town, &mut wallet, 1_638_400_000);
    let copy = wallet.clone();
    let keys = town.client_appraises().unwrap();
    town.client_hides();
    let (first, _) = town.client_orders(PROMPT, &keys);
    town.client_hides();
    let (second, _) = town.client_orders(PROMPT, &keys);
    let paid = pay(&mut town, &mut wallet, &first);
    let mut thief = copy;
    let again = pay(&mut town, &mut thief, &second);
    let inputs = |bytes: &[u8]| payment(bytes).tokens.iter().map(|t| t.input).collect::<Vec<_>>();
    assert!(inputs(&paid).iter().any(|input| inputs(&again).contains(input)));
    town.broker_redeems(&first, &paid).unwrap();
    let pools = town.pools();
    let no = town.broker_redeems(&second, &again).err().unwrap();
    assert!(no.0 == Problem::Replayed && no.1.contains("spent before"), "{no:?}");
    assert_eq!(town.pools(), pools, "a refused order leaves no trace");
    // A payment shown for one order pays for no other, whoever saw it.
    let no = town.broker_redeems(&second, &paid).err().unwrap();
    assert!(no.1.contains("not shown for this order"), "{no:?}");
}

#[test]
fn what_nobody_was_given_pays_for_nothing() {
    let mut town = town();
    let mut wallet = Wallet::default();
    draw(&mut town, &mut wallet, 1_000_000_000);
    let keys = town.client_appraises().unwrap();
    town.client_hides();
    let (order, _) = town.client_orders(PROMPT, &keys);
    let honest = payment(&pay(&mut town, &mut wallet, &order));
    let alter = |change: &dyn Fn(&mut Payment)| {
        let mut payment = honest.clone();
        change(&mut payment);
        cbor::to_vec(&payment)
    };
    let cases: [(&str, Vec<u8>); 8] = [
        ("not one of ours", alter(&|p| p.tokens[0].input.0[0] ^= 1)),
        ("not one of ours", alter(&|p| p.tokens[0].tag.0[0] ^= 1)),
        // A token of one value shown as one of twice its worth.
        ("not one of ours", alter(&|p| p.tokens[0].value.0 *= 2)),
        ("are no value", alter(&|p| p.tokens[0].value.0 += 1)),
        ("no blind tokens of epoch 9", alter(&|p| p.tokens[0].epoch = 9)),
        ("1 to 32 blind tokens", alter(&|p| p.tokens.clear())),
        ("spent before", alter(&|p| p.tokens.push(p.tokens[0].clone()))),
        ("canonical", alter(&|p| p.change.as_mut().unwrap().blinded[0].0 = [0xff; 32])),
    ];
    for (why, bytes) in cases {
        let no = town.broker_redeems(&order, &bytes).err().unwrap_or_else(|| panic!("{why}"));
        assert!(no.1.contains(why), "{why}: {no:?}");
    }
    // Too little.
    let short = alter(&|p| {
        p.tokens.sort_by_key(|token| token.value);
        p.tokens.truncate(1);
    });
    let no = town.broker_redeems(&order, &short).err().unwrap();
    assert_eq!(no.0, Problem::InsufficientBalance, "{}", no.1);
    // A key that belongs to an account says whose order it is: refused, for the customer's sake.
    assert_eq!(town.pools(), 1_000_000_000);
    town.broker_redeems(&order, &cbor::to_vec(&honest)).expect("and nothing of it was spent");
}

#[test]
fn epochs_end_and_their_tokens_lapse() {
    let mut town = town();
    let mut wallet = Wallet::default();
    draw(&mut town, &mut wallet, 800_000_000);
    let first = town.blind_keys().pop().unwrap();
    // The next epoch: tokens of the first are taken, and its change is of the second.
    let later = first.issue_until.0 + 1;
    town.broker_ticks(later * 1000);
    let both = town.blind_keys();
    assert_eq!(both.iter().map(|keys| keys.epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(both[1].previous, Some(both[0].digest()));
    assert_ne!(both[0].keys, both[1].keys, "new keys");
    let mut late = Wallet::default();
    late.begin_draw(&first, MicroUnits(100_000_000), town.rng()).unwrap();
    let request = late.draws()[0].request.clone();
    let no = town.broker_draws(&request).unwrap_err();
    assert!(no.1.contains("has ended"), "{no:?}");
    // And then they lapse: as any package does, and the supply says where they went.
    town.broker_ticks((first.redeem_until.0 + 1) * 1000);
    assert_eq!(town.blind_keys().iter().map(|keys| keys.epoch).next(), Some(2));
    let totals = town.balance();
    assert_eq!((totals.expired, town.pools()), (800_000_000, 0));
    let order = {
        let keys = town.client_appraises().unwrap();
        town.client_hides();
        town.client_orders(PROMPT, &keys).0
    };
    let mut cheat = wallet.clone();
    let paid = cheat.begin_spend(&first, &order, NOW, town.rng()).unwrap();
    let no = town.broker_redeems(&order, &paid).err().unwrap();
    assert!(no.1.contains("of epoch 1"), "{no:?}");
}

#[test]
fn keys_that_are_not_everybodys_are_found() {
    let mut town = town();
    let mut wallet = Wallet::default();
    let shown = town.blind_keys().pop().unwrap();
    wallet.see(shown.epoch, shown.digest()).unwrap();
    assert!(town.audit(&town.export()).errors().all(|f| f.check != CheckName::BlindKeys));
    // A broker that signs and logs a second document for the same epoch, for one customer.
    let root = bulla_attestation::sign::SigningKey::from_seed([1; 32]);
    let mut other = (*shown).clone();
    other.keys.swap(0, 1);
    let (low, high) = (other.keys[0].value, other.keys[1].value);
    (other.keys[0].value, other.keys[1].value) = (high, low);
    let second = root.sign(other);
    assert!(wallet.see(second.epoch, second.digest()).is_err(), "the customer who saw both");
    let keys = cbor::Bytes(second.bytes().to_vec());
    let leaf = bulla_wire::leaf::Leaf::BlindKeys { keys }.to_vec();
    town.forge(&leaf);
    let verdict = town.audit(&town.export());
    let found = verdict.errors().find(|finding| finding.check == CheckName::BlindKeys);
    assert!(found.is_some() && verdict.to_string().contains("a second time"), "{verdict}");
}
