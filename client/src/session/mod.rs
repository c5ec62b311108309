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
mod event;
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
use bulla_attestation::seal::OpenError;
use bulla_wire::ids::InstanceId;
use bulla_wire::problem::Problem;
use bulla_wire::statement::Nonce;
use bulla_wire::units::UnixMillis;
use rand_core::CryptoRng;

pub use event::{Effect, Event, Opening, Piece, SessionError, Settled, StreamId};
use exchange::Exchange;
pub use plan::{Limits, Payer, Plan};
pub use receipt::{ReceiptError, VerifiedReceipt};
pub use release::{MAX_HELD_BYTES, TooLong};
pub use resume::Differs;

/// Pause before the first refetch of an answer, in milliseconds; doubled with every further one.
const FIRST_PAUSE_MS: u64 = 250;

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
            found => Ok(self.appraise(instance, found.is_some(), now, rng)),
        }
    }

    fn appraise(
        &mut self,
        instance: InstanceId,
        fresh: bool,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Vec<Effect> {
        let mut nonce: Nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        self.wait(now, self.plan.limits.attestation_ms);
        self.state = State::Appraising { instance: instance.clone() };
        vec![Effect::FetchAttestation { instance, nonce, fresh }]
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
            Some(instance) => Ok(self.appraise(instance, false, now, rng)),
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
        let order = exchange.order().clone();
        let again = self.orders < self.plan.limits.orders;
        let is_refetch = self.is_refetch();
        match problem {
            Problem::NotFound if is_refetch => self.resend(now),
            // The broker gave this hold back uncharged, or the keys have gone: order anew.
            Problem::HoldConflict | Problem::StaleKeyset if untouched && again => {
                Ok(self.appraise(instance, true, now, rng))
            }
            Problem::Busy | Problem::Unavailable | Problem::NotFound
                if untouched && !is_refetch =>
            {
                let may_have_run = problem == Problem::Unavailable;
                let abandoned = may_have_run.then(|| Effect::Abandon(Box::new(order)));
                let error = SessionError::Problem { problem, message, settled };
                let next = self.next_enclave(error, now, rng)?;
                Ok(abandoned.into_iter().chain(next).collect())
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
        let pause_ms = FIRST_PAUSE_MS << (*refetches).min(6);
        *refetches += 1;
        *stream = id;
        exchange.restart();
        let effect = Effect::Refetch { stream: id, hold: exchange.order().hold, pause_ms };
        self.wait(now, pause_ms.saturating_add(wait_ms));
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
        order: Box::new(exchange.order().clone()),
        sealed: exchange.sealed().bytes().to_vec(),
    }
}

fn settled(exchange: &Exchange, receipt: VerifiedReceipt) -> Settled {
    Settled {
        instance: exchange.instance().clone(),
        keys: exchange.keys().clone(),
        order: exchange.order().clone(),
        receipt,
        opening: exchange.opening(),
    }
}

fn lost(exchange: &Exchange, cause: &str) -> SessionError {
    SessionError::AnswerLost {
        hold: exchange.order().hold,
        cause: cause.to_owned(),
        order: Box::new(exchange.order().clone()),
    }
}
