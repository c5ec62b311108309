//! The session against a simulated enclave: what is accepted, and every refusal.

use std::sync::Arc;

use bulla_attestation::sign::{Signed, SigningKey};
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::order::Order;
use bulla_wire::price::{PriceBook, PriceRow, Rates};
use bulla_wire::receipt::{OrderMode, Outcome, SecurityMode, UsageReceipt};
use bulla_wire::units::{MicroUnits, TokenCount, Unit};

use super::*;
use crate::price::{self, SpendingCap};
use crate::request::ChatRequest;
use crate::testing::{Enclave, NOW, SSE, Tamper, rng};

const BODY: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":9}"#;

fn plan(instances: &[&str]) -> Plan {
    let root = SigningKey::from_seed([1; 32]);
    let rates = Rates { input: 2_000_000, output: 8_000_000, ..Rates::default() };
    let (model, unit, name) = (Digest([5; 32]), Unit::tokens(), "m".to_owned());
    let rows = vec![PriceRow { model, unit, rates, name }];
    let (issued_at, effective_from) = (NOW.seconds(), NOW.seconds());
    let book = root.sign(PriceBook { issued_at, version: 1, effective_from, rows, variants: None });
    let cap = SpendingCap::default();
    let offer = price::choose(&book, "m", None, &Unit::tokens(), &cap).unwrap();
    let request = ChatRequest::read(BODY).unwrap();
    let ceilings =
        price::ceilings(&request, TokenCount(4096), TokenCount(100), &offer, &cap).unwrap();
    Plan {
        path: "/v1/chat/completions".to_owned(),
        body: BODY.to_vec(),
        offer,
        ceilings,
        instances: instances.iter().map(|name| name.parse().unwrap()).collect(),
        payer: Payer::new(Arc::new(SigningKey::from_seed([7; 32])), None),
        padding: Default::default(),
        limits: Limits::default(),
    }
}

struct Run {
    session: Session,
    rng: rand_chacha::ChaCha20Rng,
    delivered: Vec<u8>,
    status: Option<u16>,
    done: Option<Settled>,
}

impl Run {
    fn new(instances: &[&str]) -> Run {
        let session = Session::new(plan(instances));
        Run { session, rng: rng(1), delivered: Vec::new(), status: None, done: None }
    }

    /// One event; keeps what is delivered, returns the first other effect.
    fn step(&mut self, event: Event) -> Result<Option<Effect>, SessionError> {
        self.step_at(event, NOW)
    }

    fn step_at(&mut self, event: Event, now: UnixMillis) -> Result<Option<Effect>, SessionError> {
        let mut other = None;
        for effect in self.session.handle(event, now, &mut self.rng)? {
            match effect {
                Effect::Deliver(Piece::Head { status, .. }) => self.status = Some(status),
                Effect::Deliver(Piece::Body(bytes)) => self.delivered.extend(bytes),
                Effect::Done(settled) => self.done = Some(*settled),
                effect => other = Some(effect),
            }
        }
        Ok(other)
    }

    /// To the sent order, with the keys of `enclave` cached.
    fn send(&mut self, enclave: &Enclave) -> Sent {
        let effect = self.step(Event::Start { cached: Some(enclave.keys()) }).unwrap();
        Sent::of(effect)
    }

    fn feed(&mut self, stream: StreamId, pieces: &[Vec<u8>]) -> Result<(), SessionError> {
        for bytes in pieces {
            self.step(Event::AnswerBytes { stream, bytes: bytes.clone() })?;
        }
        Ok(())
    }

    fn end(&mut self, stream: StreamId) -> Result<Option<Effect>, SessionError> {
        self.step(Event::AnswerEnded { stream })
    }

    fn problem(
        &mut self,
        stream: StreamId,
        problem: Problem,
    ) -> Result<Option<Effect>, SessionError> {
        self.step(Event::Problem {
            stream: Some(stream),
            problem: Some(problem),
            message: "no".to_owned(),
            receipt: None,
        })
    }
}

struct Sent {
    stream: StreamId,
    instance: InstanceId,
    order: Signed<Order>,
    sealed: Vec<u8>,
}

impl Sent {
    fn of(effect: Option<Effect>) -> Sent {
        let Some(Effect::Send { stream, instance, order, sealed, .. }) = effect else {
            panic!("expected a sent order")
        };
        Sent { stream, instance, order: *order, sealed }
    }
}

fn enclave() -> Enclave {
    Enclave::new("one", 1)
}

/// Runs a whole request whose receipt `tamper` makes wrong.
fn judged(tamper: Tamper) -> Result<Run, SessionError> {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, tamper);
    run.feed(sent.stream, &pieces)?;
    run.end(sent.stream)?;
    Ok(run)
}

fn receipt_error(tamper: Tamper) -> ReceiptError {
    match judged(tamper) {
        Err(SessionError::Receipt(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn an_answer_with_its_receipt_is_delivered_whole() {
    let run = judged(|_| ()).unwrap();
    assert_eq!(run.delivered, SSE.concat().as_bytes());
    assert_eq!(run.status, Some(200));
    let settled = run.done.unwrap();
    assert_eq!(settled.receipt.charge, MicroUnits(22 + 16));
    assert_eq!(settled.receipt.order, settled.order.digest());
    assert!(run.session.is_over());
}

#[test]
fn nothing_is_sent_before_an_appraisal() {
    let enclave = enclave();
    let mut run = Run::new(&["one"]);
    let effect = run.step(Event::Start { cached: None }).unwrap();
    let Some(Effect::FetchAttestation { nonce, .. }) = effect else { panic!("sent unasked") };
    assert!(enclave.report(Some(nonce)).nonce().unwrap() == Some(nonce));
    let sent = Sent::of(run.step(Event::Appraised { keys: enclave.keys() }).unwrap());
    assert_eq!(sent.order.keyset, enclave.keys().keyset_digest());
}

#[test]
fn the_end_of_a_stream_waits_for_the_receipt() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    run.feed(sent.stream, &pieces).unwrap();
    assert_eq!(run.delivered, SSE[..2].concat().as_bytes());
    run.end(sent.stream).unwrap();
    assert_eq!(run.delivered, SSE.concat().as_bytes());
}

#[test]
fn a_false_receipt_releases_no_end() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let document = ["{\"answer\":", "42}"];
    let pieces = enclave.answer_with(
        "application/json",
        &document,
        sent.order.bytes(),
        &sent.sealed,
        |receipt| receipt.charge = MicroUnits(1),
    );
    run.feed(sent.stream, &pieces).unwrap();
    assert!(run.end(sent.stream).is_err());
    assert_eq!(run.delivered, b"");
    assert!(run.session.is_over());
}

#[test]
fn refuses_a_receipt_of_another_request() {
    use ReceiptError as E;
    assert!(matches!(receipt_error(|r| r.order = Digest([9; 32])), E::Order { .. }));
    assert!(matches!(receipt_error(|r| r.hold = HoldId([9; 16])), E::Hold { .. }));
    assert!(matches!(receipt_error(|r| r.account.0 = [9; 32]), E::Account { .. }));
    assert!(matches!(receipt_error(|r| r.model = Digest([9; 32])), E::Model { .. }));
    assert!(matches!(receipt_error(|r| r.unit = "HKD".parse().unwrap()), E::Unit { .. }));
    assert!(matches!(receipt_error(|r| r.rates.input += 1), E::Rates { .. }));
    assert!(matches!(receipt_error(|r| r.price_book = Digest([9; 32])), E::PriceBook { .. }));
    assert!(matches!(receipt_error(|r| r.commit_request = None), E::RequestCommitment));
    let other = |r: &mut UsageReceipt| r.commit_response = Some(Digest([9; 32]));
    assert!(matches!(receipt_error(other), E::ResponseCommitment));
}

#[test]
fn refuses_a_receipt_of_another_enclave_epoch_or_kind() {
    use ReceiptError as E;
    assert!(matches!(receipt_error(|r| r.issuer = "two".parse().unwrap()), E::Instance { .. }));
    assert!(matches!(receipt_error(|r| r.keyset = Digest([9; 32])), E::Keyset { .. }));
    assert!(matches!(receipt_error(|r| r.epoch.0 = [9; 16]), E::Epoch { .. }));
    assert!(matches!(receipt_error(|r| r.profile = "other".to_owned()), E::Profile { .. }));
    assert!(matches!(receipt_error(|r| r.interim = Some(0)), E::Interim { index: 0 }));
    let hardware = |r: &mut UsageReceipt| r.security = SecurityMode::Hardware;
    assert!(matches!(receipt_error(hardware), E::Security { .. }));
    let vouched = |r: &mut UsageReceipt| r.mode = OrderMode::BrokerVouched;
    assert!(matches!(receipt_error(vouched), E::Mode { .. }));
}

#[test]
fn refuses_wrong_counts_and_charges() {
    use ReceiptError as E;
    let input = |r: &mut UsageReceipt| r.usage.input = TokenCount(4097);
    assert!(matches!(receipt_error(input), E::InputAboveCeiling { .. }));
    let output = |r: &mut UsageReceipt| r.usage.output = TokenCount(10);
    assert!(matches!(receipt_error(output), E::OutputAboveCeiling { .. }));
    let parts = |r: &mut UsageReceipt| r.usage.cached_input = TokenCount(12);
    assert!(matches!(receipt_error(parts), E::Usage(_)));
    assert!(matches!(receipt_error(|r| r.charge = MicroUnits(39)), E::Charge { .. }));
    let unpaid = |r: &mut UsageReceipt| r.outcome = Outcome::EnclaveError;
    assert!(matches!(receipt_error(unpaid), E::Charge { expected: MicroUnits(0), .. }));
}

#[test]
fn refuses_a_receipt_signed_by_another_key() {
    let mut enclave = enclave();
    let mut run = Run::new(&["one"]);
    let sent = run.send(&enclave);
    enclave.receipts = SigningKey::from_seed([99; 32]);
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    run.feed(sent.stream, &pieces).unwrap();
    let error = run.end(sent.stream).err().unwrap();
    assert!(matches!(error, SessionError::Receipt(ReceiptError::Signature(_))), "{error}");
}

#[test]
fn refuses_an_altered_answer() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let mut pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    let last = pieces[1].len() - 1;
    pieces[1][last] ^= 1;
    let error = run.feed(sent.stream, &pieces).err().unwrap();
    assert!(matches!(error, SessionError::Open(OpenError::Decrypt { .. })), "{error}");
}

#[test]
fn a_truncated_answer_is_fetched_again_and_not_repeated() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    run.feed(sent.stream, &pieces[..2]).unwrap();
    assert_eq!(run.delivered, SSE[0].as_bytes());
    let Some(Effect::Refetch { stream, hold, .. }) = run.end(sent.stream).unwrap() else {
        panic!("no refetch")
    };
    assert_eq!(hold, sent.order.hold);
    run.feed(sent.stream, &pieces[2..]).unwrap(); // late bytes of the abandoned stream
    run.feed(stream, &pieces).unwrap();
    run.end(stream).unwrap();
    assert_eq!(run.delivered, SSE.concat().as_bytes());
    assert!(run.done.is_some());
}

#[test]
fn an_answer_without_its_end_fails_by_its_hold() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    let mut stream = sent.stream;
    let error = loop {
        run.feed(stream, &pieces[..3]).unwrap();
        match run.end(stream) {
            Ok(Some(Effect::Refetch { stream: next, .. })) => stream = next,
            Ok(_) => panic!("accepted"),
            Err(error) => break error,
        }
    };
    let SessionError::AnswerLost { hold, .. } = error else { panic!("{error}") };
    assert_eq!(hold, sent.order.hold);
    assert_eq!(run.delivered, SSE[..2].concat().as_bytes());
}

#[test]
fn an_order_that_never_arrived_is_sent_again_once() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    let deadline = run.session.deadline().unwrap();
    assert!(run.step(Event::Timeout).unwrap().is_none(), "too early");
    let effect = run.step_at(Event::Timeout, deadline).unwrap();
    let Some(Effect::Refetch { stream, .. }) = effect else { panic!("no refetch") };
    let again = Sent::of(run.problem(stream, Problem::NotFound).unwrap());
    assert_eq!(again.order, sent.order);
    assert_eq!(again.sealed, sent.sealed);
    let error = run.problem(again.stream, Problem::NotFound).err().unwrap();
    assert!(matches!(error, SessionError::AnswerLost { .. }), "{error}");
}

#[test]
fn failover_makes_a_new_hold_a_new_seal_and_a_new_order() {
    let (one, two) = (enclave(), Enclave::new("two", 2));
    let mut run = Run::new(&["one", "two"]);
    let first = run.send(&one);
    let effect = run.problem(first.stream, Problem::Busy).unwrap();
    let Some(Effect::FetchAttestation { instance, fresh, .. }) = effect else {
        panic!("no failover")
    };
    assert_eq!((instance.as_str(), fresh), ("two", false));
    let second = Sent::of(run.step(Event::Appraised { keys: two.keys() }).unwrap());
    assert_eq!(second.instance, instance);
    assert_ne!(second.order.hold, first.order.hold);
    assert_ne!(second.sealed, first.sealed);
    let error = run.problem(second.stream, Problem::Busy).err().unwrap();
    assert!(matches!(error, SessionError::Problem { problem: Problem::Busy, .. }), "{error}");
}

#[test]
fn an_order_that_may_have_run_is_kept_at_failover() {
    let one = enclave();
    let mut run = Run::new(&["one", "two"]);
    let first = run.send(&one);
    let (stream, problem) = (Some(first.stream), Some(Problem::Unavailable));
    let gone = Event::Problem { stream, problem, message: "gone".to_owned(), receipt: None };
    let effects = run.session.handle(gone, NOW, &mut run.rng).unwrap();
    let [Effect::Abandon(order), Effect::FetchAttestation { .. }] = effects.as_slice() else {
        panic!("no abandoned order")
    };
    assert_eq!(order.digest(), first.order.digest());
}

#[test]
fn a_stale_keyset_is_appraised_again() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let first = run.send(&enclave);
    let effect = run.problem(first.stream, Problem::StaleKeyset).unwrap();
    assert!(matches!(effect, Some(Effect::FetchAttestation { fresh: true, .. })));
    let second = Sent::of(run.step(Event::Appraised { keys: enclave.keys() }).unwrap());
    assert_ne!(second.order.hold, first.order.hold);
}

#[test]
fn a_hold_given_back_uncharged_is_ordered_anew() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let first = run.send(&enclave);
    let effect = run.problem(first.stream, Problem::HoldConflict).unwrap();
    assert!(matches!(effect, Some(Effect::FetchAttestation { .. })));
    let second = Sent::of(run.step(Event::Appraised { keys: enclave.keys() }).unwrap());
    assert_ne!(second.order.hold, first.order.hold);
    let pieces = enclave.answer(second.order.bytes(), &second.sealed, |_| ());
    run.feed(second.stream, &pieces[..2]).unwrap();
    let error = run.problem(second.stream, Problem::HoldConflict).err().unwrap();
    assert!(matches!(error, SessionError::Problem { .. }), "{error}");
}

#[test]
fn refuses_keys_of_another_instance_and_keys_that_end() {
    let mut run = Run::new(&["two"]);
    run.step(Event::Start { cached: None }).unwrap();
    let error = run.step(Event::Appraised { keys: enclave().keys() }).err().unwrap();
    assert!(matches!(error, SessionError::OtherInstance { .. }), "{error}");
    let mut run = Run::new(&["one"]);
    run.step(Event::Start { cached: None }).unwrap();
    let late = UnixMillis(NOW.0 + 3_590_000);
    let error = run.step_at(Event::Appraised { keys: enclave().keys() }, late).err().unwrap();
    assert!(matches!(error, SessionError::KeysExpire { .. }), "{error}");
}

#[test]
fn a_refusal_keeps_its_receipt_and_a_false_one_is_an_error() {
    let refuse = |outcome: Outcome, charge: u64| {
        let (enclave, mut run) = (enclave(), Run::new(&["one"]));
        let sent = run.send(&enclave);
        let mut receipt = enclave.receipt(sent.order.bytes(), None, None);
        receipt.outcome = outcome;
        receipt.charge = MicroUnits(charge);
        let receipt = Some(enclave.receipts.sign(receipt).bytes().to_vec());
        let (stream, problem) = (Some(sent.stream), Some(Problem::SealedRequestRefused));
        run.step(Event::Problem { stream, problem, message: "no".to_owned(), receipt })
    };
    let error = refuse(Outcome::Refused, 0).err().unwrap();
    let SessionError::Problem { settled: Some(settled), .. } = error else { panic!("{error}") };
    assert_eq!(settled.receipt.outcome, Outcome::Refused);
    let error = refuse(Outcome::Refused, 5).err().unwrap();
    assert!(matches!(error, SessionError::Receipt(ReceiptError::Charge { .. })), "{error}");
}

#[test]
fn repeated_and_late_events_change_nothing() {
    let (enclave, mut run) = (enclave(), Run::new(&["one"]));
    let sent = run.send(&enclave);
    assert!(run.step(Event::Start { cached: None }).unwrap().is_none());
    assert!(run.step(Event::Appraised { keys: enclave.keys() }).unwrap().is_none());
    let pieces = enclave.answer(sent.order.bytes(), &sent.sealed, |_| ());
    run.feed(sent.stream, &pieces).unwrap();
    run.end(sent.stream).unwrap();
    let delivered = run.delivered.clone();
    run.feed(sent.stream, &pieces).unwrap();
    run.end(sent.stream).unwrap();
    assert_eq!(run.delivered, delivered);
}
