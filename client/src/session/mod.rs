//! One request, from appraisal to verified receipt: events in, effects out.
//!
//! ```text
//!  Start ─▶ FetchAttestation ─▶ Appraised ─▶ Send ─▶ AnswerBytes… ─▶ AnswerEnded ─▶ Done
//!    └── cached keys ───────────────▲          │ ▲        │
//!                                   │  Problem ┘ │        └ lost, timed out ─▶ Refetch
//!            next enclave: new hold, new seal,   └ never arrived: the same order again
//!            new order
//! ```
//!
//! * Nothing is sealed before an appraisal affirmed the keys; the types leave no other order (see
//!   [`envelope`]).
//! * A lost answer is fetched again by its hold id: same order, same bytes, charged once. Only when
//!   the broker says that no work was started does another enclave get a new order under a new
//!   hold.
//! * The last bytes of an answer wait until its usage receipt passed every check of [`receipt`].
//!
//! The session reads no clock, draws no randomness of its own and touches no network: its shell is
//! `io::driver`, or a simulated world.

pub mod envelope;
mod exchange;
mod plan;
pub mod receipt;
mod release;
mod resume;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::result::Refused;
use bulla_attestation::seal::{OpenError, SealError};
use bulla_attestation::sign::Signed;
use bulla_wire::ids::{HoldId, InstanceId};
use bulla_wire::order::Order;
use bulla_wire::problem::Problem;
use bulla_wire::statement::Nonce;
use bulla_wire::units::{UnixMillis, UnixSeconds};
use rand_core::CryptoRng;

use exchange::Exchange;
pub use plan::{Limits, Payer, Plan};
pub use receipt::{ReceiptError, VerifiedReceipt};
pub use release::{MAX_HELD_BYTES, TooLong};
pub use resume::Differs;

/// Names one telling of one answer, so that late bytes of an abandoned one are known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What happens to a session.
#[derive(Clone)]
pub enum Event {
    /// Begin; with the keys of the first instance, where an earlier appraisal still stands.
    Start {
        /// Attested keys of [`Plan::instances`]' first entry.
        cached: Option<Arc<AttestedKeys>>,
    },
    /// The attestation asked for was appraised and affirmed.
    Appraised {
        /// The keys it affirmed.
        keys: Arc<AttestedKeys>,
    },
    /// The attestation asked for was refused.
    Refused {
        /// Why.
        why: Refused,
    },
    /// Bytes of a sealed answer.
    AnswerBytes {
        /// Which telling.
        stream: StreamId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The stream of a sealed answer ended, or broke.
    AnswerEnded {
        /// Which telling.
        stream: StreamId,
    },
    /// An error came in place of what was asked for.
    Problem {
        /// Which telling; `None` for the attestation.
        stream: Option<StreamId>,
        /// What the other side says; `None` when the connection failed.
        problem: Option<Problem>,
        /// For people. Untrusted text.
        message: String,
        /// A usage receipt beside the error.
        receipt: Option<Vec<u8>>,
    },
    /// [`Session::deadline`] has passed.
    Timeout,
}

/// What the shell shall do.
#[derive(Clone)]
pub enum Effect {
    /// Fetch the attestation report of `instance` with this nonce and appraise it; answer with
    /// [`Event::Appraised`], [`Event::Refused`] or [`Event::Problem`].
    FetchAttestation {
        /// Whom to ask about.
        instance: InstanceId,
        /// Must be in the evidence.
        nonce: Nonce,
    },
    /// `POST` the sealed request with its order.
    Send {
        /// Names the answer's bytes.
        stream: StreamId,
        /// Where it goes.
        instance: InstanceId,
        /// The signed order.
        order: Signed<Order>,
        /// The sealed request.
        sealed: Vec<u8>,
        /// Size of the request before padding and sealing, in bytes: for people.
        plain_bytes: usize,
    },
    /// `GET` the sealed answer of `hold` again, from its start.
    Refetch {
        /// Names the answer's bytes.
        stream: StreamId,
        /// The hold of the order.
        hold: HoldId,
    },
    /// Pass this on to the caller.
    Deliver(Piece),
    /// Over: the answer is whole and its receipt verified. Keep both.
    Done(Box<Settled>),
}

/// A piece of the opened answer. Content: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Status and header fields.
    Head {
        /// HTTP status.
        status: u16,
        /// Header fields, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// Part of the body.
    Body(Vec<u8>),
}

/// An order with its verified receipt: worth keeping.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Who served it.
    pub instance: InstanceId,
    /// The attested keys it was sealed to.
    pub keys: Arc<AttestedKeys>,
    /// The order.
    pub order: Signed<Order>,
    /// Its usage receipt.
    pub receipt: VerifiedReceipt,
}

/// Why a session failed. It is over then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The plan names no enclave.
    #[error("no enclave serves this model now")]
    NoEnclave,
    /// Evidence was refused.
    #[error("{instance}: {why}")]
    Appraisal {
        /// The enclave.
        instance: InstanceId,
        /// Which checks failed.
        why: Box<Refused>,
    },
    /// Genuine keys, but of another instance than the one asked about.
    #[error("evidence of instance {got} in place of {expected}")]
    OtherInstance {
        /// Asked about.
        expected: InstanceId,
        /// Named in the attested keyset.
        got: InstanceId,
    },
    /// The keys end too soon to be sealed to.
    #[error("keys of {instance} end at {not_after}, too soon after {now}")]
    KeysExpire {
        /// The enclave.
        instance: InstanceId,
        /// Their end.
        not_after: UnixSeconds,
        /// Now.
        now: UnixSeconds,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The answer does not open: altered, reordered or cut.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A body without a head.
    #[error("answer has a body before its status")]
    NoHead,
    /// The answer is larger than may be held back.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The answer ended without a usage receipt.
    #[error("answer carries no usage receipt")]
    NoReceipt,
    /// The usage receipt fails a check.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The second telling of an answer differs from the first.
    #[error(transparent)]
    Differs(#[from] Differs),
    /// The broker or the enclave refused.
    #[error("{message} ({})", .problem.code())]
    Problem {
        /// What it says.
        problem: Problem,
        /// For people. Untrusted text.
        message: String,
        /// The receipt of a refusal after admission, verified.
        settled: Option<Box<Settled>>,
    },
    /// The broker cannot be reached.
    #[error("broker cannot be reached: {message}")]
    Unreachable {
        /// What the network says.
        message: String,
    },
    /// The answer stayed away. The order may have been carried out, and then it is charged once.
    #[error(
        "answer to hold {hold} was lost and could not be fetched again: {cause}; at most {} micro-{} can be charged for it", .order.max_charge, .order.unit
    )]
    AnswerLost {
        /// The hold.
        hold: HoldId,
        /// What went wrong last.
        cause: String,
        /// The order, to be kept: the broker must account for it.
        order: Box<Signed<Order>>,
    },
}

enum State {
    New,
    Appraising { instance: InstanceId },
    Answering { exchange: Box<Exchange>, stream: StreamId, refetches: u32, resent: bool },
    Over,
}

/// The state machine of one request.
pub struct Session {
    plan: Plan,
    /// Enclaves not tried yet.
    untried: VecDeque<InstanceId>,
    state: State,
    deadline: Option<UnixMillis>,
    streams: u32,
    orders: u32,
}

type Step = Result<Vec<Effect>, SessionError>;

impl Session {
    /// A session that has not begun.
    pub fn new(plan: Plan) -> Session {
        let untried = plan.instances.iter().cloned().collect();
        let state = State::New;
        Session { plan, untried, state, deadline: None, streams: 0, orders: 0 }
    }

    /// When to send [`Event::Timeout`], unless something happens before.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadline
    }

    /// True when nothing more will happen.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// One step. An error is final. Events that do not belong to what is going on (late bytes of
    /// an abandoned stream, repeated messages) change nothing.
    pub fn handle(&mut self, event: Event, now: UnixMillis, rng: &mut dyn CryptoRng) -> Step {
        let step = self.step(event, now, rng);
        if step.is_err() {
            self.state = State::Over;
        }
        if self.is_over() {
            self.deadline = None;
        }
        step
    }

    fn step(&mut self, event: Event, now: UnixMillis, rng: &mut dyn CryptoRng) -> Step {
        match event {
            Event::Start { cached } => self.start(cached, now, rng),
            Event::Appraised { keys } => self.appraised(keys, now, rng),
            Event::Refused { why } => self.refused(why, now, rng),
            Event::AnswerBytes { stream, bytes } => self.answer_bytes(stream, &bytes, now),
            Event::AnswerEnded { stream } => self.answer_ended(stream, now),
            Event::Problem { stream, problem, message, receipt } => match stream {
                None => self.attestation_failed(problem, message, now, rng),
                Some(stream) => self.problem(stream, problem, message, receipt, now, rng),
            },
            Event::Timeout => self.timed_out(now, rng),
        }
    }

    fn start(
        &mut self,
        cached: Option<Arc<AttestedKeys>>,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        if !matches!(self.state, State::New) {
            return Ok(Vec::new());
        }
        let instance = self.untried.pop_front().ok_or(SessionError::NoEnclave)?;
        match cached {
            Some(keys) if self.check_keys(&keys, &instance, now).is_ok() => {
                self.order(keys, instance, now, rng)
            }
            _ => Ok(self.appraise(instance, now, rng)),
        }
    }

    fn appraise(
        &mut self,
        instance: InstanceId,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Vec<Effect> {
        let mut nonce: Nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        self.wait(now, self.plan.limits.attestation_ms);
        self.state = State::Appraising { instance: instance.clone() };
        vec![Effect::FetchAttestation { instance, nonce }]
    }

    fn appraised(
        &mut self,
        keys: Arc<AttestedKeys>,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        let State::Appraising { instance } = &self.state else { return Ok(Vec::new()) };
        let instance = instance.clone();
        match self.check_keys(&keys, &instance, now) {
            Ok(()) => self.order(keys, instance, now, rng),
            Err(error) => self.next_enclave(error, now, rng),
        }
    }

    fn refused(&mut self, why: Refused, now: UnixMillis, rng: &mut dyn CryptoRng) -> Step {
        let State::Appraising { instance } = &self.state else { return Ok(Vec::new()) };
        let error = SessionError::Appraisal { instance: instance.clone(), why: Box::new(why) };
        self.next_enclave(error, now, rng)
    }

    fn attestation_failed(
        &mut self,
        problem: Option<Problem>,
        message: String,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        if !matches!(self.state, State::Appraising { .. }) {
            return Ok(Vec::new());
        }
        let error = match problem {
            Some(problem) => SessionError::Problem { problem, message, settled: None },
            None => SessionError::Unreachable { message },
        };
        self.next_enclave(error, now, rng)
    }

    fn check_keys(
        &self,
        keys: &AttestedKeys,
        instance: &InstanceId,
        now: UnixMillis,
    ) -> Result<(), SessionError> {
        if let Some(subject) = keys.subject()
            && subject.instance != *instance
        {
            let (expected, got) = (instance.clone(), subject.instance.clone());
            return Err(SessionError::OtherInstance { expected, got });
        }
        let not_after = keys.not_after();
        if not_after.millis().0 <= now.0.saturating_add(self.plan.limits.keys_margin_ms) {
            let (instance, now) = (instance.clone(), now.seconds());
            return Err(SessionError::KeysExpire { instance, not_after, now });
        }
        Ok(())
    }

    /// Seals, signs and sends: a new hold every time.
    fn order(
        &mut self,
        keys: Arc<AttestedKeys>,
        instance: InstanceId,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        self.orders += 1;
        let exchange = Box::new(Exchange::prepare(&self.plan, keys, instance, now, rng)?);
        let stream = self.next_stream();
        let send = send(&exchange, stream);
        self.wait(now, self.plan.limits.first_byte_ms);
        self.state = State::Answering { exchange, stream, refetches: 0, resent: false };
        Ok(vec![send])
    }

    /// Tries the next enclave, or fails with `error` when there is none.
    fn next_enclave(
        &mut self,
        error: SessionError,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        if self.orders >= self.plan.limits.orders {
            return Err(error);
        }
        match self.untried.pop_front() {
            Some(instance) => Ok(self.appraise(instance, now, rng)),
            None => Err(error),
        }
    }

    fn answer_bytes(&mut self, stream: StreamId, bytes: &[u8], now: UnixMillis) -> Step {
        let idle_ms = self.plan.limits.idle_ms;
        let Some(exchange) = self.exchange(stream) else { return Ok(Vec::new()) };
        let pieces = exchange.push(bytes)?;
        self.wait(now, idle_ms);
        Ok(pieces.into_iter().map(Effect::Deliver).collect())
    }

    fn answer_ended(&mut self, stream: StreamId, now: UnixMillis) -> Step {
        let Some(exchange) = self.exchange(stream) else { return Ok(Vec::new()) };
        let (pieces, receipt) = match exchange.finish() {
            Ok(whole) => whole,
            // A cut final chunk does not authenticate: told again, it either opens or fails for good.
            Err(SessionError::Open(OpenError::Truncated)) => {
                return self.refetch("it was cut before its end", now);
            }
            Err(error @ SessionError::Open(OpenError::Decrypt { .. })) => {
                return self.refetch(&error.to_string(), now);
            }
            Err(error) => return Err(error),
        };
        let settled = settled(exchange, receipt);
        self.state = State::Over;
        let mut effects: Vec<Effect> = pieces.into_iter().map(Effect::Deliver).collect();
        effects.push(Effect::Done(Box::new(settled)));
        Ok(effects)
    }

    fn problem(
        &mut self,
        stream: StreamId,
        problem: Option<Problem>,
        message: String,
        receipt: Option<Vec<u8>>,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Step {
        let Some(exchange) = self.exchange(stream) else { return Ok(Vec::new()) };
        let Some(problem) = problem else { return self.refetch(&message, now) };
        let settled = match receipt {
            Some(bytes) => {
                let receipt = exchange.verify_refusal(&bytes)?;
                Some(Box::new(settled(exchange, receipt)))
            }
            None => None,
        };
        let (untouched, instance) = (!exchange.has_answer(), exchange.instance().clone());
        let again = self.orders < self.plan.limits.orders;
        let is_refetch = self.is_refetch();
        match problem {
            Problem::NotFound if is_refetch => self.resend(now),
            Problem::StaleKeyset if untouched && again && !is_refetch => {
                Ok(self.appraise(instance, now, rng))
            }
            Problem::Busy | Problem::Unavailable if untouched && !is_refetch => {
                let error = SessionError::Problem { problem, message, settled };
                self.next_enclave(error, now, rng)
            }
            Problem::Busy | Problem::Unavailable => self.refetch(&message, now),
            _ => Err(SessionError::Problem { problem, message, settled }),
        }
    }

    fn timed_out(&mut self, now: UnixMillis, rng: &mut dyn CryptoRng) -> Step {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(Vec::new());
        }
        match &self.state {
            State::New | State::Over => Ok(Vec::new()),
            State::Appraising { instance } => {
                let message = format!("no attestation report of {instance} in time");
                self.next_enclave(SessionError::Unreachable { message }, now, rng)
            }
            State::Answering { .. } => self.refetch("it did not come in time", now),
        }
    }

    /// Asks for the same answer again, by hold id.
    fn refetch(&mut self, cause: &str, now: UnixMillis) -> Step {
        let id = self.next_stream();
        let (limit, wait_ms) = (self.plan.limits.refetches, self.plan.limits.first_byte_ms);
        let State::Answering { exchange, stream, refetches, .. } = &mut self.state else {
            return Ok(Vec::new());
        };
        if *refetches >= limit {
            return Err(lost(exchange, cause));
        }
        *refetches += 1;
        *stream = id;
        exchange.restart();
        let effect = Effect::Refetch { stream: id, hold: exchange.order().hold };
        self.wait(now, wait_ms);
        Ok(vec![effect])
    }

    /// The order never arrived: the same bytes once more. Broker and enclave know them by their
    /// hold, so they cannot be carried out twice.
    fn resend(&mut self, now: UnixMillis) -> Step {
        let id = self.next_stream();
        let wait_ms = self.plan.limits.first_byte_ms;
        let State::Answering { exchange, stream, resent, .. } = &mut self.state else {
            return Ok(Vec::new());
        };
        if std::mem::replace(resent, true) {
            return Err(lost(exchange, "the broker does not know the hold"));
        }
        *stream = id;
        exchange.restart();
        let effect = send(exchange, id);
        self.wait(now, wait_ms);
        Ok(vec![effect])
    }

    /// The exchange whose current telling is `stream`.
    fn exchange(&mut self, stream: StreamId) -> Option<&mut Exchange> {
        match &mut self.state {
            State::Answering { exchange, stream: current, .. } if *current == stream => {
                Some(exchange)
            }
            _ => None,
        }
    }

    fn is_refetch(&self) -> bool {
        matches!(&self.state, State::Answering { refetches, .. } if *refetches > 0)
    }

    fn next_stream(&mut self) -> StreamId {
        self.streams += 1;
        StreamId(self.streams)
    }

    fn wait(&mut self, now: UnixMillis, wait_ms: u64) {
        self.deadline = Some(UnixMillis(now.0.saturating_add(wait_ms)));
    }
}

fn send(exchange: &Exchange, stream: StreamId) -> Effect {
    Effect::Send {
        stream,
        instance: exchange.instance().clone(),
        order: exchange.order().clone(),
        sealed: exchange.sealed().bytes().to_vec(),
        plain_bytes: exchange.plain_bytes(),
    }
}

fn settled(exchange: &Exchange, receipt: VerifiedReceipt) -> Settled {
    Settled {
        instance: exchange.instance().clone(),
        keys: exchange.keys().clone(),
        order: exchange.order().clone(),
        receipt,
    }
}

fn lost(exchange: &Exchange, cause: &str) -> SessionError {
    SessionError::AnswerLost {
        hold: exchange.order().hold,
        cause: cause.to_owned(),
        order: Box::new(exchange.order().clone()),
    }
}
