//! The relay: sealed bytes in, sealed bytes out, piece by piece. What passes is never looked at,
//! only counted and hashed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bulla_attestation::hash::LabelledHasher;
use bulla_wire::cose::Sign1;
use bulla_wire::http::{
    HEADER_DELEGATION, HEADER_GRANT, HEADER_ORDER, MAX_SEALED_REQUEST_BYTES, MEDIA_SEALED_REQUEST,
    TRAILER_RECEIPT,
};
use bulla_wire::ids::{Digest, InstanceId};
use bulla_wire::labels;
use bulla_wire::order::{MAX_ORDER_BYTES, Order};
use bulla_wire::problem::{ErrorBody, Problem};
use bulla_wire::receipt::{MAX_RECEIPT_BYTES, UsageReceipt};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, Response};
use tokio::sync::mpsc;

use super::driver::{Driver, Granted, Refusal};
use super::enclave::{BodyError, EnclaveError, Enclaves, header};
use super::gate::Ticket;
use crate::broker::Event;
use crate::ledger::HoldState;

/// Longest wait for the beginning of an answer, body sent included.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest silence of an enclave inside an answer.
const ANSWER_IDLE: Duration = Duration::from_secs(120);
/// Longest wait for a customer to take a piece of its answer: a slow reader is a gone one.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait for a receipt to be durable before the answer ends without that knowledge.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// Pieces of an answer that wait for a slow reader.
const MAX_WAITING_PIECES: usize = 8;
/// Largest error object taken over from an enclave, in bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// A piece of an answer, or why it broke off.
pub type Piece = Result<Bytes, BodyError>;

/// What the relay works with.
#[derive(Clone)]
pub struct Relay {
    driver: Driver,
    enclaves: Arc<Enclaves>,
}

impl Relay {
    /// Between this driver and these enclaves.
    pub fn new(driver: Driver, enclaves: Arc<Enclaves>) -> Relay {
        Relay { driver, enclaves }
    }

    /// Carries a granted order to its enclave and the answer back. `permit` is kept until the
    /// answer has ended.
    pub async fn serve<B>(
        &self,
        granted: Granted,
        body: B,
        permit: Ticket,
    ) -> Result<mpsc::Receiver<Piece>, Refusal>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        if let Some(state) = granted.again {
            match self.enclaves.refetch(&granted.instance, &granted.hold).await {
                Ok(response) if response.status() == 200 => {
                    return Ok(self.stream(granted.instance, response, permit));
                }
                Ok(_) if state == HoldState::Active => {}
                Ok(_) => {
                    let message = "the enclave no longer keeps this answer";
                    return Err(Refusal::new(Problem::NotFound, message));
                }
                Err(error) => return Err(self.out_of_reach(&granted.instance, &error)),
            }
        }
        let response = self.send(&granted, body).await?;
        if response.status() == 200 {
            return Ok(self.stream(granted.instance, response, permit));
        }
        Err(self.refused(&granted, response).await)
    }

    async fn send<B>(&self, granted: &Granted, body: B) -> Result<Response<Incoming>, Refusal>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let incomplete = Arc::new(AtomicBool::new(true));
        let Some(digest) = ordered_digest(&granted.order) else {
            return Err(Refusal::new(Problem::Internal, "the granted order does not read"));
        };
        let mut sending = Sending {
            driver: &self.driver,
            granted,
            incomplete: incomplete.clone(),
            ended: false,
            unsent: false,
        };
        let body = OrderedBody::new(body, digest, incomplete.clone());
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (order, grant) = (encode(&granted.order), encode(&granted.grant));
        let delegation = encode(&granted.delegation);
        let headers = [
            ("content-type", MEDIA_SEALED_REQUEST),
            (HEADER_ORDER, order.as_str()),
            (HEADER_GRANT, grant.as_str()),
            (HEADER_DELEGATION, delegation.as_str()),
        ];
        let sent = self.enclaves.send(&granted.instance, &headers, body.boxed_unsync());
        let error = match tokio::time::timeout(FIRST_BYTE_TIMEOUT, sent).await {
            Ok(Ok(response)) => {
                sending.ended = true;
                return Ok(response);
            }
            Ok(Err(error)) => error,
            Err(_) => EnclaveError::Timeout(FIRST_BYTE_TIMEOUT),
        };
        sending.unsent = matches!(error, EnclaveError::Connect(_) | EnclaveError::NotAppraised(_));
        if !sending.unsent && incomplete.load(Ordering::Acquire) {
            let message =
                "the body broke off or is not the one the order was signed over: order again";
            return Err(Refusal::new(Problem::InvalidOrder, message));
        }
        Err(self.out_of_reach(&granted.instance, &error))
    }

    fn out_of_reach(&self, instance: &InstanceId, error: &EnclaveError) -> Refusal {
        tracing::warn!(%instance, %error, "enclave");
        self.driver.tell(Event::EnclaveFailed { instance: instance.clone(), refused: false });
        let message = format!("enclave {instance} cannot be reached: try again or elsewhere");
        Refusal::new(Problem::Unavailable, message)
    }

    /// The enclave said no. A receipt with it settles; a plain no before admission gives the hold
    /// back at once.
    async fn refused(&self, granted: &Granted, response: Response<Incoming>) -> Refusal {
        let status = response.status().as_u16();
        let receipt = receipt(response.headers());
        let body = Limited::new(response.into_body(), MAX_ERROR_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let error = serde_json::from_slice::<ErrorBody>(&body).ok().map(|body| body.error);
        let problem = error.as_ref().and_then(|error| error.problem());
        let problem = problem.unwrap_or(match status {
            503 => Problem::Busy,
            _ => Problem::Internal,
        });
        match &receipt {
            Some(receipt) => self.settle(receipt.clone()).await,
            None if granted.again.is_none() && is_before_admission(problem) => {
                self.driver.tell(Event::NotAdmitted { hold: granted.hold });
            }
            None => {
                let instance = granted.instance.clone();
                self.driver.tell(Event::AnswerEnded { instance });
            }
        }
        if problem == Problem::StaleKeyset {
            // New keys: appraise soon.
            let instance = granted.instance.clone();
            self.driver.tell(Event::EnclaveFailed { instance, refused: false });
        }
        let message = error.map(|error| error.message.chars().take(400).collect::<String>());
        let message = message.unwrap_or_else(|| "the enclave refused".to_owned());
        Refusal { receipt, ..Refusal::new(problem, message) }
    }

    /// The kept answer of a hold, for its owner.
    pub async fn refetch(
        &self,
        instance: InstanceId,
        hold: bulla_wire::ids::HoldId,
        permit: Ticket,
    ) -> Result<mpsc::Receiver<Piece>, Refusal> {
        match self.enclaves.refetch(&instance, &hold).await {
            Ok(response) if response.status() == 200 => Ok(self.stream(instance, response, permit)),
            Ok(_) => {
                let message = "the enclave does not keep an answer for this hold";
                Err(Refusal::new(Problem::NotFound, message))
            }
            Err(error) => Err(self.out_of_reach(&instance, &error)),
        }
    }

    fn stream(
        &self,
        instance: InstanceId,
        response: Response<Incoming>,
        permit: Ticket,
    ) -> mpsc::Receiver<Piece> {
        let (pieces, answer) = mpsc::channel(MAX_WAITING_PIECES);
        let relay = self.clone();
        tokio::spawn(async move {
            // A kept answer has its receipt in the header, a streamed one in the trailer.
            let early = receipt(response.headers());
            let mut body = response.into_body();
            let settled = relay.pump(&mut body, &pieces, early, &permit).await;
            // Dropped here, a body that has not ended resets the enclave's stream: it signs
            // `client-gone`, and the receipt comes through the outbox.
            drop(body);
            if !settled {
                relay.driver.tell(Event::AnswerEnded { instance });
            }
            drop(permit);
        });
        answer
    }

    /// Moves the answer along; true when its receipt came with it.
    async fn pump(
        &self,
        body: &mut Incoming,
        pieces: &mpsc::Sender<Piece>,
        early: Option<Vec<u8>>,
        ticket: &Ticket,
    ) -> bool {
        loop {
            let frame = tokio::select! {
                () = pieces.closed() => return false,
                frame = tokio::time::timeout(ANSWER_IDLE, body.frame()) => frame,
            };
            let broken = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let sent = pieces.send_timeout(Ok(data), WRITE_DEADLINE).await;
                        if sent.is_err() {
                            return false;
                        }
                        continue;
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let Some(receipt) = receipt(&trailers) else { continue };
                        count(ticket, &receipt);
                        // The answer ends once its receipt is durable.
                        self.settle(receipt).await;
                        return true;
                    }
                },
                Ok(None) => {
                    let Some(receipt) = early else { return false };
                    count(ticket, &receipt);
                    self.settle(receipt).await;
                    return true;
                }
                Ok(Some(Err(error))) => error.to_string(),
                Err(_) => format!("the enclave was silent for {} s", ANSWER_IDLE.as_secs()),
            };
            let _ = pieces.send_timeout(Err(broken.into()), WRITE_DEADLINE).await;
            return false;
        }
    }

    async fn settle(&self, receipt: Vec<u8>) {
        let settlement = tokio::time::timeout(SETTLE_PATIENCE, self.driver.receipt(receipt)).await;
        match settlement {
            Ok(Some(crate::ledger::Settlement::Flagged { why })) => {
                tracing::warn!(why, "receipt not charged");
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("receipt not durable in time"),
        }
    }
}

/// A request on its way. When it ends without an answer, or its customer leaves before one, the
/// broker is told what that means for the hold.
struct Sending<'a> {
    driver: &'a Driver,
    granted: &'a Granted,
    incomplete: Arc<AtomicBool>,
    ended: bool,
    unsent: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // An enclave admits only a whole body: without its end nothing runs.
        let never_admitted = self.unsent || self.incomplete.load(Ordering::Acquire);
        if never_admitted && self.granted.again.is_none() {
            self.driver.tell(Event::NotAdmitted { hold: self.granted.hold });
        } else {
            let instance = self.granted.instance.clone();
            self.driver.tell(Event::AnswerEnded { instance });
        }
    }
}

/// Problems an enclave states before it admits anything: nothing runs, no receipt follows.
fn is_before_admission(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::BadRequest
            | Problem::InvalidOrder
            | Problem::InvalidGrant
            | Problem::StaleKeyset
            | Problem::TooLarge
            | Problem::NotFound
            | Problem::Busy
    )
}

fn receipt(headers: &HeaderMap) -> Option<Vec<u8>> {
    let text = header(headers, TRAILER_RECEIPT)?;
    if text.len() > MAX_RECEIPT_BYTES * 4 / 3 + 4 {
        return None;
    }
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// What a receipt says was used; a false one moves a rate limit and nothing else.
fn count(ticket: &Ticket, bytes: &[u8]) {
    let receipt = crate::record::read_receipt(bytes);
    if let Some(receipt) = receipt.filter(UsageReceipt::is_final) {
        let usage = receipt.usage;
        ticket.used(usage.input.saturating_add(usage.output).0);
    }
}

/// The digest an order was signed over. Its signature was verified when it was granted.
fn ordered_digest(order: &[u8]) -> Option<Digest> {
    let message = Sign1::parse(order, labels::TYP_ORDER, MAX_ORDER_BYTES).ok()?;
    message.decode::<Order>().ok().map(|order| order.sealed_request)
}

/// A body that ends only if it is the ordered one; otherwise it breaks off.
struct OrderedBody<B> {
    body: Pin<Box<B>>,
    hasher: Option<LabelledHasher>,
    expected: Digest,
    left_bytes: usize,
    incomplete: Arc<AtomicBool>,
}

impl<B> OrderedBody<B> {
    fn new(body: B, expected: Digest, incomplete: Arc<AtomicBool>) -> OrderedBody<B> {
        OrderedBody {
            body: Box::pin(body),
            hasher: Some(LabelledHasher::new(labels::SEALED_REQUEST)),
            expected,
            left_bytes: MAX_SEALED_REQUEST_BYTES,
            incomplete,
        }
    }

    fn take(&mut self, data: &Bytes) -> Result<(), BodyError> {
        self.left_bytes =
            self.left_bytes.checked_sub(data.len()).ok_or("sealed request too large")?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(data);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        match self.hasher.take().map(LabelledHasher::finish) {
            Some(got) if got != self.expected => {
                Err("sealed request is not the ordered one".into())
            }
            _ => {
                self.incomplete.store(false, Ordering::Release);
                Ok(())
            }
        }
    }
}

impl<B> Body for OrderedBody<B>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = match self.body.as_mut().poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            };
            return Poll::Ready(match frame {
                None => self.finish().err().map(Err),
                Some(Err(error)) => Some(Err(error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(self.take(&data).map(|()| Frame::data(data))),
                    // A customer's trailers mean nothing here.
                    Err(_) => continue,
                },
            });
        }
    }

    /// Never true before the digest was compared: the end is what an enclave waits for.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulla_attestation::hash::labelled;
    use http_body_util::Full;

    async fn read(bytes: &'static [u8], ordered: &[u8]) -> (Result<Bytes, String>, bool) {
        let incomplete = Arc::new(AtomicBool::new(true));
        let expected = labelled(labels::SEALED_REQUEST, ordered);
        let body = OrderedBody::new(Full::new(Bytes::from(bytes)), expected, incomplete.clone());
        let read = body.collect().await.map(|body| body.to_bytes()).map_err(|e| e.to_string());
        (read, incomplete.load(Ordering::Acquire))
    }

    #[tokio::test]
    async fn passes_the_ordered_body_and_breaks_off_any_other() {
        assert_eq!(read(b"sealed", b"sealed").await, (Ok(Bytes::from("sealed")), false));
        let (other, incomplete) = read(b"sealed", b"another").await;
        assert!(other.unwrap_err().contains("not the ordered one") && incomplete);
    }
}
