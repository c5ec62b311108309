//! One sealed order and its answer: opened as it comes, released as far as it may be, ended by a
//! verified usage receipt.

use std::sync::Arc;

use bulla_attestation::hash::Commitment;
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::seal::{AnswerEvent, AnswerOpener, SealError, SealedRequest};
use bulla_attestation::sign::Signed;
use bulla_wire::ids::{AccountHandle, Digest, InstanceId};
use bulla_wire::labels;
use bulla_wire::order::Order;
use bulla_wire::units::UnixMillis;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::envelope;
use super::plan::Plan;
use super::receipt::{self, Answer, Expected, ReceiptError, VerifiedReceipt};
use super::release::Release;
use super::resume::Delivered;
use super::{Opening, Piece, SessionError};

/// Longest answer kept for disputes, in bytes: with its request it fits into one item of a bundle.
pub const MAX_KEPT_BYTES: usize = 4 << 20;

/// An order under way.
pub struct Exchange {
    keys: Arc<AttestedKeys>,
    instance: InstanceId,
    account: AccountHandle,
    order: Signed<Order>,
    sealed: SealedRequest,
    salt: Digest,
    commit_request: Digest,
    request: Zeroizing<Vec<u8>>,
    opener: AnswerOpener,
    telling: Telling,
    delivered: Delivered,
    head_delivered: bool,
}

/// What was opened since the answer (re)started.
struct Telling {
    commitment: Commitment,
    /// The answer's body, for disputes; `None` once it is longer than [`MAX_KEPT_BYTES`].
    body: Option<Zeroizing<Vec<u8>>>,
    has_body: bool,
    release: Option<Release>,
    receipt: Option<Vec<u8>>,
    bytes: u64,
}

impl Telling {
    fn new(salt: &Digest) -> Telling {
        let commitment = Commitment::new(labels::COMMIT_RESPONSE, salt);
        let body = Some(Zeroizing::default());
        Telling { commitment, body, has_body: false, release: None, receipt: None, bytes: 0 }
    }
}

impl Telling {
    /// Grown by hand: a vector that grows by itself leaves its old content behind.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(body) = &mut self.body else { return };
        let length = body.len() + bytes.len();
        if length > MAX_KEPT_BYTES {
            self.body = None;
            return;
        }
        if length > body.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity((2 * length).min(MAX_KEPT_BYTES)));
            larger.extend_from_slice(body);
            *body = larger;
        }
        body.extend_from_slice(bytes);
    }
}

impl Exchange {
    /// Seals and orders. The keys come from an affirmed appraisal, or they would not exist.
    pub fn prepare(
        plan: &Plan,
        keys: Arc<AttestedKeys>,
        instance: InstanceId,
        now: UnixMillis,
        rng: &mut dyn CryptoRng,
    ) -> Result<Exchange, SealError> {
        let envelope = envelope::prepare(plan, &keys, now, rng)?;
        Ok(Exchange {
            keys,
            instance,
            account: plan.payer.account(),
            telling: Telling::new(&envelope.salt),
            delivered: Delivered::nothing(envelope.salt),
            order: envelope.order,
            sealed: envelope.sealed,
            salt: envelope.salt,
            commit_request: envelope.commit_request,
            request: Zeroizing::new(plan.body.clone()),
            opener: envelope.opener,
            head_delivered: false,
        })
    }

    pub fn order(&self) -> &Signed<Order> {
        &self.order
    }

    pub fn sealed(&self) -> &SealedRequest {
        &self.sealed
    }

    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    pub fn keys(&self) -> &Arc<AttestedKeys> {
        &self.keys
    }

    /// What opens the commitments of its receipt.
    pub fn opening(&self) -> Option<Opening> {
        let kept = self.telling.body.as_ref()?;
        Some(Opening {
            salt: Zeroizing::new(self.salt.0),
            request: self.request.clone(),
            answer: self.telling.has_body.then(|| kept.clone()),
        })
    }

    /// True once a byte of the answer has come in this telling.
    pub fn has_answer(&self) -> bool {
        self.telling.bytes > 0 || self.head_delivered
    }

    /// The answer was lost and will be told again from its start.
    pub fn restart(&mut self) {
        self.opener.restart();
        self.telling = Telling::new(&self.salt);
        self.delivered.restart();
    }

    /// Takes sealed bytes; gives what may reach the caller.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, SessionError> {
        self.telling.bytes += bytes.len() as u64;
        let events = self.opener.push(bytes)?;
        self.take(events)
    }

    /// The connection ended: opens the final chunk, verifies the receipt, and only then gives the
    /// rest of the answer.
    pub fn finish(&mut self) -> Result<(Vec<Piece>, VerifiedReceipt), SessionError> {
        let events = self.opener.finish()?;
        let mut pieces = self.take(events)?;
        let bytes = self.telling.receipt.take().ok_or(SessionError::NoReceipt)?;
        let commit_response = self.telling.has_body.then(|| self.telling.commitment.finish());
        let receipt = self.verify(&bytes, Answer::Opened { commit_response })?;
        let rest = self.telling.release.take().map(Release::finish).unwrap_or_default();
        self.deliver(&rest, &mut pieces)?;
        self.delivered.finish()?;
        Ok((pieces, receipt))
    }

    /// Verifies the receipt that came with a problem, in place of an answer.
    pub fn verify_refusal(&self, bytes: &[u8]) -> Result<VerifiedReceipt, ReceiptError> {
        self.verify(bytes, Answer::Problem)
    }

    fn verify(&self, bytes: &[u8], answer: Answer) -> Result<VerifiedReceipt, ReceiptError> {
        let expected = Expected {
            keys: &self.keys,
            order: &self.order,
            account: self.account,
            commit_request: self.commit_request,
            answer,
        };
        receipt::verify(bytes, &expected)
    }

    fn take(&mut self, events: Vec<AnswerEvent>) -> Result<Vec<Piece>, SessionError> {
        let mut pieces = Vec::new();
        for event in events {
            match event {
                AnswerEvent::Head { status, headers } => {
                    self.telling.release = Some(Release::for_headers(&headers));
                    if !std::mem::replace(&mut self.head_delivered, true) {
                        pieces.push(Piece::Head { status, headers });
                    }
                }
                AnswerEvent::Body(bytes) => {
                    self.telling.commitment.update(&bytes);
                    self.telling.has_body = true;
                    self.telling.keep(&bytes);
                    let release = self.telling.release.as_mut().ok_or(SessionError::NoHead)?;
                    let free = release.push(&bytes)?;
                    self.deliver(&free, &mut pieces)?;
                }
                AnswerEvent::Receipt(bytes) => self.telling.receipt = Some(bytes),
            }
        }
        Ok(pieces)
    }

    fn deliver(&mut self, released: &[u8], pieces: &mut Vec<Piece>) -> Result<(), SessionError> {
        let new = self.delivered.push(released)?;
        if !new.is_empty() {
            pieces.push(Piece::Body(new));
        }
        Ok(())
    }
}
