//! A wallet against a broker that is one key.

use bulla_attestation::blind::{Ristretto255, Scheme, is_tag};
use bulla_attestation::sign::{Signed, SigningKey};
use bulla_wire::blind::{
    BlindKeys, Change, DenominationKey, DrawRequest, Drawn, DrawnPart, MAX_DRAW_BYTES,
    MAX_PAYMENT_BYTES, Payment,
};
use bulla_wire::cbor;
use bulla_wire::ids::{Digest, DrawId, GroupElement, HoldId, TokenInput};
use bulla_wire::order::Order;
use bulla_wire::price::Rates;
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

use super::{Wallet, WalletError};
use crate::testing::rng;

const NOW: UnixSeconds = UnixSeconds(1_000);
const END: UnixSeconds = UnixSeconds(9_000);

type Key = <Ristretto255 as Scheme>::SecretKey;

fn secret(epoch: u64, value: MicroUnits) -> Key {
    Ristretto255::derive_key(&[7; 32], format!("{epoch} {value}").as_bytes()).unwrap()
}

fn keys(epoch: u64) -> BlindKeys {
    let key = |n: u32| {
        let value = MicroUnits(10 << n);
        DenominationKey { value, key: Ristretto255::public_key(&secret(epoch, value)) }
    };
    BlindKeys {
        issued_at: NOW,
        unit: Unit::tokens(),
        epoch,
        issue_until: END,
        redeem_until: END,
        previous: None,
        keys: (0..5).map(key).collect(),
    }
}

fn part(epoch: u64, value: MicroUnits, blinded: &[GroupElement]) -> DrawnPart {
    let evaluation = Ristretto255::evaluate(&secret(epoch, value), blinded).unwrap();
    DrawnPart { value, evaluated: evaluation.elements, proof: evaluation.proof }
}

fn answer(request: &[u8]) -> Drawn {
    let asked: DrawRequest = cbor::from_slice(request, MAX_DRAW_BYTES).unwrap();
    let parts = asked.parts.iter().map(|one| part(asked.epoch, one.value, &one.blinded));
    Drawn { epoch: asked.epoch, parts: parts.collect() }
}

/// A wallet as it is after the process died: what the file holds.
fn reopened(wallet: &Wallet) -> Wallet {
    serde_json::from_slice(&serde_json::to_vec(wallet).unwrap()).unwrap()
}

fn drawn(amount: u64, seed: u8) -> Wallet {
    let mut wallet = Wallet::default();
    let draw = wallet.begin_draw(&keys(1), MicroUnits(amount), &mut rng(seed)).unwrap();
    let answer = answer(&wallet.draws()[0].request);
    assert_eq!(wallet.finish_draw(&draw, &keys(1), &answer), Ok(MicroUnits(amount)));
    wallet
}

fn worth(wallet: &Wallet) -> u64 {
    wallet.holdings(NOW).first().map_or(0, |holding| holding.amount.0)
}

fn order(hold: u8, max_charge: u64) -> Signed<Order> {
    let key = SigningKey::from_seed([hold; 32]);
    key.sign(Order {
        not_after: UnixSeconds(2_000),
        issued_at: NOW,
        hold: HoldId([hold; 16]),
        order_key: key.public(),
        sealed_request: Digest([1; 32]),
        keyset: Digest([2; 32]),
        model: Digest([3; 32]),
        ceiling_input_tokens: TokenCount(1),
        ceiling_output_tokens: TokenCount(1),
        unit: Unit::tokens(),
        rates: Rates::default(),
        price_book: Digest([4; 32]),
        max_charge: MicroUnits(max_charge),
    })
}

fn payment(bytes: &[u8]) -> Payment {
    cbor::from_slice(bytes, MAX_PAYMENT_BYTES).unwrap()
}

fn change(hold: u8, paid: &Payment, charged: u64) -> Change {
    let blanks = paid.change.as_ref().unwrap();
    let worth = paid.value().unwrap();
    let left = worth.saturating_sub(MicroUnits(charged));
    let (counts, kept) = keys(blanks.epoch).change(left, blanks.blinded.len());
    let (mut parts, mut used) = (Vec::new(), 0);
    for (value, count) in counts {
        parts.push(part(blanks.epoch, value, &blanks.blinded[used..used + count]));
        used += count;
    }
    let (epoch, charged) = (Some(blanks.epoch), MicroUnits(charged));
    Change { hold: HoldId([hold; 16]), epoch, parts, paid: worth, charged, kept }
}

#[test]
fn what_was_spent_before_is_set_aside_and_the_rest_pays() {
    let mut wallet = drawn(150, 1);
    let mut copy = reopened(&wallet);
    let spent = payment(&wallet.begin_spend(&keys(1), &order(1, 20), NOW, &mut rng(2)).unwrap());
    let [spent] = &spent.tokens[..] else { panic!("one token of 20") };
    // A copy of the wallet pays with the same token, and another one.
    copy.begin_spend(&keys(1), &order(2, 30), NOW, &mut rng(3)).unwrap();
    let hold = HoldId([2; 16]);
    copy.set_aside(&hold, &[TokenInput([0; 32])]);
    assert_eq!((copy.spends().len(), copy.spent_before().len()), (1, 0), "not one of these");
    copy.set_aside(&hold, &[spent.input]);
    let mut copy = reopened(&copy);
    assert_eq!((copy.spends().len(), copy.spent_before().len()), (0, 1));
    assert_eq!(worth(&copy), 150 - 20);
    let again = payment(&copy.begin_spend(&keys(1), &order(3, 30), NOW, &mut rng(4)).unwrap());
    assert!(again.tokens.iter().all(|token| token.input != spent.input));
    copy.drop_lapsed(END);
    assert_eq!(copy.spent_before().len(), 0);
}

#[test]
fn a_draw_that_lost_its_answer_is_asked_for_again() {
    let mut wallet = Wallet::default();
    let draw = wallet.begin_draw(&keys(1), MicroUnits(1_230), &mut rng(1)).unwrap();
    let request = wallet.draws()[0].request.clone();
    let mut wallet = reopened(&wallet);
    assert!(wallet.draws()[0].request == request, "the same request, byte for byte");
    let honest = answer(&request);
    let mut wrong = honest.clone();
    wrong.parts[0].evaluated.swap(0, 1);
    assert!(matches!(wallet.finish_draw(&draw, &keys(1), &wrong), Err(WalletError::Blind(_))));
    let mut fewer = honest.clone();
    fewer.parts.pop();
    let got = wallet.finish_draw(&draw, &keys(1), &fewer);
    assert!(matches!(got, Err(WalletError::Answer { .. })));
    // Made under other keys than the published ones.
    let got = wallet.finish_draw(&draw, &BlindKeys { epoch: 1, ..keys(2) }, &honest);
    assert!(matches!(got, Err(WalletError::Blind(_))));
    assert_eq!((wallet.draws().len(), worth(&wallet)), (1, 0), "nothing was taken");
    assert_eq!(wallet.finish_draw(&draw, &keys(1), &honest), Ok(MicroUnits(1_230)));
    assert_eq!(worth(&reopened(&wallet)), 1_230);
    let got = wallet.finish_draw(&DrawId([9; 16]), &keys(1), &honest);
    assert!(matches!(got, Err(WalletError::Unknown { .. })));
}

#[test]
fn only_what_tokens_make_can_be_drawn() {
    let mut wallet = Wallet::default();
    for amount in [0, 5, 11, 160 * 257] {
        let got = wallet.begin_draw(&keys(1), MicroUnits(amount), &mut rng(1));
        assert!(matches!(got, Err(WalletError::Amount { .. })), "{amount}");
    }
    assert!(wallet.draws().is_empty());
}

#[test]
fn a_payment_covers_its_order_and_comes_back_but_for_the_charge() {
    for (drawn_amount, needed, charged) in
        [(310, 100, 37), (310, 310, 310), (320, 1, 0), (160, 160, 7), (310, 0, 0), (470, 333, 333)]
    {
        let mut wallet = drawn(drawn_amount, 3);
        let order = order(8, needed);
        let bytes = wallet.begin_spend(&keys(1), &order, NOW, &mut rng(4)).unwrap();
        let paid = payment(&bytes);
        assert!(paid.value().unwrap().0 >= needed.max(1));
        for token in &paid.tokens {
            let key = secret(token.epoch, token.value);
            let output = Ristretto255::output(&key, &token.input.0).unwrap();
            assert!(is_tag(&output, &order.digest(), &token.tag));
        }
        // What is set aside is spent nowhere else, and the same order has the same payment.
        let mut wallet = reopened(&wallet);
        assert_eq!(worth(&wallet) + paid.value().unwrap().0, drawn_amount);
        assert!(wallet.begin_spend(&keys(1), &order, NOW, &mut rng(5)).unwrap() == bytes);
        wallet.charged(&order.hold, MicroUnits(charged));
        let change = change(8, &paid, charged);
        let back = wallet.finish_spend(&keys(1), &change).unwrap();
        assert_eq!(back.0 + charged + change.kept.0, paid.value().unwrap().0);
        assert!(change.kept.0 < 10, "less than the smallest value is kept");
        assert_eq!(worth(&wallet) + charged + change.kept.0, drawn_amount);
        assert!(wallet.spends().is_empty());
    }
}

#[test]
fn change_that_is_not_what_was_left_is_refused() {
    let mut wallet = drawn(310, 3);
    let bytes = wallet.begin_spend(&keys(1), &order(8, 100), NOW, &mut rng(4)).unwrap();
    let paid = payment(&bytes);
    wallet.charged(&HoldId([8; 16]), MicroUnits(30));
    let honest = change(8, &paid, 30);
    let more = change(8, &paid, 40);
    let got = wallet.finish_spend(&keys(1), &more);
    assert!(matches!(got, Err(WalletError::Charged { .. })), "more than the receipt says");
    let mut short = honest.clone();
    let last = short.parts.pop().unwrap();
    short.kept = MicroUnits(short.kept.0 + last.value.0 * last.evaluated.len() as u64);
    let mut other = honest.clone();
    other.paid = MicroUnits(other.paid.0 - 10);
    for wrong in [short, other] {
        let got = wallet.finish_spend(&keys(1), &wrong);
        assert!(matches!(got, Err(WalletError::Answer { .. })));
    }
    let mut forged = honest.clone();
    forged.parts[0].proof.0[0] ^= 1;
    let got = wallet.finish_spend(&keys(1), &forged);
    assert!(matches!(got, Err(WalletError::Blind(_))));
    assert_eq!(wallet.spends().len(), 1, "it waits still");
    assert!(wallet.finish_spend(&keys(1), &honest).is_ok());
}

#[test]
fn tokens_come_back_where_the_order_was_never_held() {
    let mut wallet = drawn(310, 3);
    wallet.begin_spend(&keys(1), &order(8, 310), NOW, &mut rng(4)).unwrap();
    let hold = HoldId([8; 16]);
    assert!(!wallet.give_up(&hold, UnixSeconds(2_000)), "it may still be granted");
    assert_eq!(worth(&wallet), 0);
    assert!(wallet.give_up(&hold, UnixSeconds(2_601)));
    assert_eq!(worth(&wallet), 310);
}

#[test]
fn too_few_tokens_and_lapsed_ones_pay_nothing() {
    let mut wallet = drawn(310, 3);
    let got = wallet.begin_spend(&keys(1), &order(8, 311), NOW, &mut rng(4)).err();
    let expected = WalletError::Insufficient {
        needed: MicroUnits(311),
        available: MicroUnits(310),
        waiting: MicroUnits(0),
        unit: Unit::tokens(),
    };
    assert_eq!(got, Some(expected));
    let got = wallet.begin_spend(&keys(1), &order(8, 1), END, &mut rng(4));
    assert!(matches!(got, Err(WalletError::Insufficient { .. })));
    assert!(wallet.drop_lapsed(END) > 0 && wallet.holdings(NOW).is_empty());
}

#[test]
fn an_epoch_has_one_document_for_ever() {
    let mut wallet = Wallet::default();
    let (one, other) = (Digest([1; 32]), Digest([2; 32]));
    assert_eq!(wallet.see(4, one), Ok(()));
    assert_eq!(reopened(&wallet).see(4, one), Ok(()));
    let got = wallet.see(4, other);
    assert_eq!(got, Err(WalletError::KeysDiffer { epoch: 4, seen: one, got: other }));
    assert_eq!(wallet.see(5, other), Ok(()));
}

/// Nothing the broker saw when it made a token is in the payment that spends it.
#[test]
fn no_byte_of_a_draw_is_in_a_payment() {
    for seed in 0..12 {
        let mut wallet = Wallet::default();
        let draw = wallet.begin_draw(&keys(1), MicroUnits(310), &mut rng(seed)).unwrap();
        let request = wallet.draws()[0].request.clone();
        let answer = answer(&request);
        wallet.finish_draw(&draw, &keys(1), &answer).unwrap();
        let paid =
            wallet.begin_spend(&keys(1), &order(8, 310), NOW, &mut rng(seed ^ 0x80)).unwrap();
        let paid = payment(&paid);
        let seen = [request, cbor::to_vec(&answer)].concat();
        let blanks = paid.change.unwrap().blinded;
        let tokens = paid.tokens.iter().flat_map(|token| [token.input.0, token.tag.0]);
        for shown in tokens.chain(blanks.iter().map(|blank| blank.0)) {
            for window in shown.windows(6) {
                assert!(!seen.windows(6).any(|part| part == window), "seed {seed}");
            }
        }
    }
}
