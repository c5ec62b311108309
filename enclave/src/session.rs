//! One request from admission to receipt: what was counted, sent and promised.

use bulla_attestation::hash::Commitment;
use bulla_attestation::seal::{AnswerSealer, AnswerWriter};
use bulla_engine::{Prefix, SequenceId, Usage};
use bulla_wire::http::MAX_CHUNK_BYTES;
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::receipt::Outcome;
use bulla_wire::units::UnixMillis;

use crate::admission::AdmittedOrder;
use crate::answer::AnswerShape;
use crate::chat::ChatOrder;
use crate::enclave::ConnId;

/// Sealed answers are padded to multiples of this many bytes at their end.
const END_BUCKET_BYTES: usize = 512;

/// A request that was admitted and has no receipt yet.
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) sequence: SequenceId,
    pub(crate) order: AdmittedOrder,
    pub(crate) admitted_at: UnixMillis,
    pub(crate) commit_request: Digest,
    pub(crate) usage: Usage,
    /// Set when generation is being stopped from outside: how it will end.
    pub(crate) ending: Option<Outcome>,
    /// Whose prompts it shares pages with.
    pub(crate) prefix: Option<Prefix>,
    /// Taken when the prompt is ready to be asked for.
    pub(crate) asked: Option<ChatOrder>,
    pub(crate) shape: AnswerShape,
    pub(crate) sent_tokens: u64,
    pub(crate) stream: AnswerStream,
    unsent: Unsent,
}

/// Text that was generated and not yet sealed.
#[derive(Default)]
struct Unsent {
    text: String,
    tokens: u64,
    since: Option<UnixMillis>,
}

/// The sealed side of a session's answer.
pub(crate) struct AnswerStream {
    sealer: AnswerSealer,
    commitment: Commitment,
    has_body: bool,
    /// Everything sent so far, for refetching.
    pub(crate) sent: Vec<u8>,
    pub(crate) started: bool,
}

impl AnswerStream {
    pub(crate) fn new(sealer: AnswerSealer, commitment: Commitment) -> AnswerStream {
        AnswerStream { sealer, commitment, has_body: false, sent: Vec::new(), started: false }
    }

    /// Seals the head.
    fn start(&mut self, status: u16, content_type: &str) -> Vec<u8> {
        self.started = true;
        let head = AnswerWriter::head(status, &[("content-type", content_type)]);
        let sealed = self.sealer.seal(&head);
        self.sent.extend_from_slice(&sealed);
        sealed
    }

    /// Seals a piece of the body.
    fn body(&mut self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in body.chunks(MAX_CHUNK_BYTES - 8) {
            self.commitment.update(piece);
            self.has_body = true;
            out.extend(self.sealer.seal(&AnswerWriter::body(piece)));
        }
        self.sent.extend_from_slice(&out);
        out
    }

    /// What the receipt says of the answer's content.
    pub(crate) fn commitment(&self) -> Option<Digest> {
        self.has_body.then(|| self.commitment.finish())
    }

    /// Seals the end with the receipt inside. Returns the last bytes and all bytes.
    pub(crate) fn finish(self, receipt: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let last = self.sealer.finish(&AnswerWriter::end(receipt, END_BUCKET_BYTES));
        let mut all = self.sent;
        all.extend_from_slice(&last);
        (last, all)
    }
}

/// How much is gathered before a chunk is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Coalescing {
    /// Seal when this many tokens are waiting.
    pub tokens: u64,
    /// Or when the oldest of them waited this long.
    pub wait_ms: u64,
}

impl Session {
    #[allow(clippy::too_many_arguments)] // a record being made, each part once
    pub(crate) fn new(
        conn: ConnId,
        sequence: SequenceId,
        order: AdmittedOrder,
        admitted_at: UnixMillis,
        commit_request: Digest,
        asked: Option<ChatOrder>,
        shape: AnswerShape,
        stream: AnswerStream,
    ) -> Session {
        Session {
            conn,
            sequence,
            order,
            admitted_at,
            commit_request,
            usage: Usage::default(),
            ending: None,
            prefix: None,
            asked,
            shape,
            sent_tokens: 0,
            stream,
            unsent: Unsent::default(),
        }
    }

    pub(crate) fn hold(&self) -> HoldId {
        self.order.order().hold
    }

    /// Milliseconds it may still run: the grant's, at most ours.
    pub(crate) fn run_ms(&self, most_ms: u64, now: UnixMillis) -> u64 {
        let granted = self.order.grant().run_until.millis().saturating_sub(now).0;
        let ours = most_ms.saturating_sub(now.saturating_sub(self.admitted_at).0);
        granted.min(ours)
    }

    /// Takes generated text; returns sealed bytes when it is time to send some.
    pub(crate) fn take_text(
        &mut self,
        text: &str,
        tokens: u32,
        coalescing: &Coalescing,
        now: UnixMillis,
    ) -> Vec<u8> {
        self.unsent.text.push_str(text);
        self.unsent.tokens += u64::from(tokens);
        let since = *self.unsent.since.get_or_insert(now);
        if !self.shape.is_stream() {
            return Vec::new();
        }
        let first = self.sent_tokens == 0;
        let waited = now.saturating_sub(since).0 >= coalescing.wait_ms;
        let many = self.unsent.tokens >= coalescing.tokens;
        if self.unsent.text.is_empty() || !(first || waited || many) {
            return Vec::new();
        }
        self.flush_text()
    }

    /// Seals what waits as one event.
    fn flush_text(&mut self) -> Vec<u8> {
        let unsent = std::mem::take(&mut self.unsent);
        self.sent_tokens += unsent.tokens;
        let mut out = self.start_if_needed(200);
        if !unsent.text.is_empty() {
            out.extend(self.stream.body(&self.shape.text_event(&unsent.text)));
        }
        out
    }

    fn start_if_needed(&mut self, status: u16) -> Vec<u8> {
        if self.stream.started {
            return Vec::new();
        }
        let mut out = self.stream.start(status, self.shape.content_type());
        if self.shape.is_stream() {
            out.extend(self.stream.body(&self.shape.first_event()));
        }
        out
    }

    /// Seals the rest of the answer for an outcome, all but its receipt.
    pub(crate) fn complete(&mut self, outcome: Outcome) -> Vec<u8> {
        let usage = crate::meter::usage(&self.usage);
        if outcome == Outcome::EnclaveError {
            return self.complete_with_fault();
        }
        if self.shape.is_stream() {
            let mut out = self.flush_text();
            out.extend(self.stream.body(&self.shape.last_events(outcome, &usage)));
            return out;
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.sent_tokens += unsent.tokens;
        let mut out = self.start_if_needed(200);
        out.extend(self.stream.body(&self.shape.whole(&unsent.text, outcome, &usage)));
        out
    }

    fn complete_with_fault(&mut self) -> Vec<u8> {
        const FAULT: &str = "the engine failed; nothing is charged, please try again";
        if self.stream.started {
            let event = self.shape.error_event(FAULT);
            return self.stream.body(&event);
        }
        self.error(500, &crate::answer::fault_body(FAULT))
    }

    /// Seals an error instead of an answer.
    pub(crate) fn error(&mut self, status: u16, body: &[u8]) -> Vec<u8> {
        let mut out = self.stream.start(status, "application/json");
        out.extend(self.stream.body(body));
        out
    }
}
