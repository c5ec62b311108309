//! The end of every request: outcome, charge, receipt, last chunk. In that order.

use bulla_engine::{Finish, Output, SequenceId};
use bulla_wire::ids::{Digest, ReceiptId};
use bulla_wire::price::TokenUsage;
use bulla_wire::problem::Problem;
use bulla_wire::receipt::{OrderMode, Outcome, RECEIPT_PROFILE, UsageReceipt};
use bulla_wire::units::{TokenCount, UnixMillis};

use super::{ConnId, Effect, Enclave};
use crate::admission::AdmittedOrder;
use crate::answers::StoredAnswer;
use crate::chain::Link;
use crate::chat::MAX_CHOICES;
use crate::meter;
use crate::outbox::record;
use crate::session::Session;

/// A refusal after order and grant held: what the peer is told, what the operator reads.
pub(super) struct Refusal {
    pub problem: Problem,
    pub message: &'static str,
    pub reason: String,
}

impl Refusal {
    pub fn new(problem: Problem, message: &'static str) -> Refusal {
        Refusal { problem, message, reason: message.to_owned() }
    }
}

/// What a receipt says beyond order and link.
#[derive(Default)]
struct Account {
    usage: TokenUsage,
    generated: u64,
    sent: u64,
    device_time_ms: u64,
    commit_request: Option<Digest>,
    commit_response: Option<Digest>,
}

/// The session a sequence belongs to, by its first sequence, and which of its choices it is.
pub(super) fn session_of(sequence: SequenceId) -> (SequenceId, usize) {
    let index = sequence.0 % u64::from(MAX_CHOICES);
    (SequenceId(sequence.0 - index), index as usize)
}

impl Enclave {
    pub(super) fn output(&mut self, output: Output, now: UnixMillis) -> Vec<Effect> {
        let coalescing = self.settings.limits.coalescing;
        let (sequence, index) = session_of(output.id);
        let Some(session) = self.sessions.get_mut(&sequence) else { return Vec::new() };
        let (conn, failed) = (session.conn, matches!(output.finish, Some(Finish::Error(_))));
        let bytes = session.take_output(index, output, &coalescing, now);
        let mut effects = Vec::new();
        if !bytes.is_empty() {
            effects.push(Effect::Chunk { conn, bytes });
        }
        if failed {
            effects.extend(session.running().map(|sequence| Effect::Cancel { sequence }));
        }
        if let Some(outcome) = session.outcome() {
            effects.extend(self.finish(sequence, outcome, now));
        }
        effects
    }

    /// Stops a running request from outside. One that has not reached the engine ends at once.
    pub(super) fn stop(
        &mut self,
        sequence: SequenceId,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Some(session) = self.sessions.get_mut(&sequence) else { return Vec::new() };
        session.ending = Some(outcome);
        if session.asked.is_some() {
            return self.finish(sequence, outcome, now);
        }
        session.running().map(|sequence| Effect::Cancel { sequence }).collect()
    }

    pub(super) fn finish(
        &mut self,
        sequence: SequenceId,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Some(mut session) = self.sessions.remove(&sequence) else { return Vec::new() };
        let bytes = session.complete(outcome);
        self.end(session, bytes, outcome, now)
    }

    pub(super) fn finish_with_error(
        &mut self,
        sequence: SequenceId,
        status: u16,
        body: &[u8],
        outcome: Outcome,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Some(mut session) = self.sessions.remove(&sequence) else { return Vec::new() };
        let bytes = session.error(status, body);
        self.end(session, bytes, outcome, now)
    }

    /// Signs the receipt first, then lets the last chunk go with the receipt inside.
    fn end(
        &mut self,
        session: Session,
        mut bytes: Vec<u8>,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let usage = session.usage();
        let account = Account {
            usage: meter::usage(&usage),
            generated: u64::from(usage.output_tokens),
            sent: session.sent_tokens,
            device_time_ms: usage.device_us.div_ceil(1000),
            commit_request: Some(session.commit_request),
            commit_response: session.stream.commitment(),
        };
        let (conn, hold) = (session.conn, session.hold());
        let Some((receipt, persist)) = self.sign(&session.order, outcome, account, now) else {
            return Vec::new();
        };
        let (last, all) = session.stream.finish(&receipt);
        bytes.extend_from_slice(&last);
        let until = UnixMillis(now.0.saturating_add(self.settings.limits.refetch_ms));
        let stored = StoredAnswer { sealed: all, receipt: receipt.clone() };
        self.answers.keep(hold, stored, until);
        vec![persist, Effect::Chunk { conn, bytes }, Effect::EndAnswer { conn, receipt }]
    }

    /// Turns an admitted order away with a receipt over nothing.
    pub(super) fn refuse(
        &mut self,
        conn: ConnId,
        order: &AdmittedOrder,
        refusal: Refusal,
        now: UnixMillis,
    ) -> Vec<Effect> {
        tracing::warn!(hold = %order.order().hold, reason = refusal.reason, "request refused");
        let (problem, message) = (refusal.problem, refusal.message.to_owned());
        match self.sign(order, Outcome::Refused, Account::default(), now) {
            Some((receipt, persist)) => {
                let receipt = Some(receipt);
                vec![persist, Effect::Problem { conn, problem, message, receipt }]
            }
            None => vec![Effect::Problem { conn, problem, message, receipt: None }],
        }
    }

    fn sign(
        &mut self,
        order: &AdmittedOrder,
        outcome: Outcome,
        account: Account,
        now: UnixMillis,
    ) -> Option<(Vec<u8>, Effect)> {
        let mut id = [0u8; 16];
        self.rng.fill_bytes(&mut id);
        let mut nonce = [0u8; 32];
        self.rng.fill_bytes(&mut nonce);
        let security = self.identity.security;
        let served = self.served(&order.order().model)?;
        let (accelerator, kernel_path) = (served.accelerator.clone(), served.kernel_path.clone());
        let receipt = self.chain.receipt(now.seconds(), |link: Link| UsageReceipt {
            issuer: link.issuer,
            issued_at: link.issued_at,
            id: ReceiptId(id),
            nonce: Digest(nonce),
            profile: RECEIPT_PROFILE.to_owned(),
            hold: order.order().hold,
            keyset: link.keyset,
            model: order.order().model,
            unit: order.order().unit.clone(),
            rates: order.order().rates,
            price_book: order.order().price_book,
            order: order.order().digest(),
            epoch: link.epoch,
            seq: link.seq,
            prev: link.prev,
            account: order.account(),
            accelerator,
            device_time_ms: account.device_time_ms,
            usage: account.usage,
            charge: meter::charge(order.order(), &account.usage, outcome),
            outcome,
            generated_tokens: TokenCount(account.generated),
            sent_tokens: TokenCount(account.sent),
            commit_request: account.commit_request,
            commit_response: account.commit_response,
            configuration: link.configuration,
            security,
            mode: OrderMode::Ordered,
            interim: None,
            kernel_path: Some(kernel_path),
        })?;
        let entry = record(self.identity.epoch, receipt.seq, receipt.bytes());
        self.outbox.push_reserved(entry.clone());
        Some((receipt.bytes().to_vec(), Effect::Persist(entry)))
    }
}
