//! Asks one question: performs a session's effects and passes its answer on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bulla_attestation::sign::Signed;
use bulla_wire::ids::{HoldId, InstanceId};
use bulla_wire::order::Order;
use bulla_wire::problem::Problem;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::anonymous::{self, AnonymousError};
use super::broker::BrokerError;
use super::client::{Client, PlanError};
use super::collateral::{Appraisal, AppraisalError};
use super::folder::FolderError;
use super::openings;
use super::records::{Record, RecordError};
use super::system::{SystemRng, now};
use super::transport::TransportError;
use crate::request::ChatRequest;
use crate::session::{Effect, Event, Piece, Session, SessionError, Settled, StreamId};

/// Pieces of an answer that wait for a slow reader.
const BUFFERED_PIECES: usize = 32;
/// How long a caller that waits for nothing else waits for witnesses to take its order.
const SHOW_PATIENCE: Duration = Duration::from_secs(5);

/// What happens while a question is asked, in order.
#[derive(Clone)]
pub enum Progress {
    /// Keys stand: appraised now, or earlier and still good.
    Appraised {
        /// The verdict and its keys.
        appraisal: Appraisal,
        /// True when no new evidence was fetched.
        cached: bool,
    },
    /// Sealed, ordered, on its way.
    Ordered {
        /// To whom it is sealed.
        instance: InstanceId,
        /// The signed order.
        order: Box<Signed<Order>>,
        /// Size of the request, in bytes.
        plain_bytes: usize,
        /// Size of the sealed request, in bytes.
        sealed_bytes: usize,
    },
    /// The answer was lost and is fetched again.
    Refetching {
        /// The hold it goes by.
        hold: HoldId,
    },
    /// Part of the answer.
    Answer(Piece),
    /// The answer is whole; its receipt is verified and kept.
    Done(Box<Settled>),
}

/// Why a question has no (whole) answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be ordered; nothing was sealed or sent.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The receipt could not be kept.
    #[error("usage receipt could not be kept: {0}")]
    Record(#[from] RecordError),
    /// The wallet of blind tokens could not be written.
    #[error(transparent)]
    Anonymous(#[from] AnonymousError),
    /// What opens the receipt could not be kept.
    #[error("the opening of the usage receipt could not be kept: {0}")]
    Opening(#[from] FolderError),
    /// An internal task ended early.
    #[error("internal: {0}")]
    Internal(String),
}

impl AskError {
    /// Whether prices or the enclave list were out of date: nothing was done, and asking again with
    /// newer ones may do.
    fn is_out_of_date(&self) -> bool {
        let AskError::Session(SessionError::Problem { problem, .. }) = self else { return false };
        matches!(problem, Problem::StalePrices | Problem::NotFound)
    }
}

/// Asks. The channel ends after [`Progress::Done`] or an error; dropping it gives the question up.
pub fn ask(
    client: Arc<Client>,
    request: ChatRequest,
) -> mpsc::Receiver<Result<Progress, AskError>> {
    let (sender, receiver) = mpsc::channel(BUFFERED_PIECES);
    tokio::spawn(async move {
        let mut result = run(&client, &request, &sender).await;
        if result.as_ref().err().is_some_and(AskError::is_out_of_date) {
            client.collateral().forget_lists().await;
            result = run(&client, &request, &sender).await;
        }
        take_change(&client).await;
        if let Err(error) = result {
            // A reader that went away needs no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

type Sender = mpsc::Sender<Result<Progress, AskError>>;

async fn run(client: &Arc<Client>, request: &ChatRequest, out: &Sender) -> Result<(), AskError> {
    let plan = client.plan(request).await?;
    let first = plan.instances.first().cloned();
    let mut asking = Asking {
        client,
        out,
        model: request.model(),
        plain_bytes: request.body().len(),
        session: Session::new(plan),
        source: Source::Idle,
        sent: None,
        refused: None,
        rng: SystemRng::new(),
    };
    let cached = match &first {
        Some(instance) => client.collateral().appraisal(instance).await,
        None => None,
    };
    if let Some(appraisal) = cached.clone() {
        asking.tell(Progress::Appraised { appraisal, cached: true }).await;
    }
    let mut event = Event::Start { cached: cached.map(|found| found.keys) };
    while !asking.session.is_over() && !out.is_closed() {
        asking.step(event).await?;
        event = asking.next_event().await;
    }
    Ok(())
}

/// What pays for an order where no account does. The wallet is durable before it is sent.
async fn payment(
    client: &Client,
    order: &Signed<Order>,
) -> Result<Option<Vec<u8>>, TransportError> {
    if !client.is_anonymous() {
        return Ok(None);
    }
    anonymous::pay(client, order).await.map(Some).map_err(unsendable)
}

fn unsendable(error: AnonymousError) -> TransportError {
    TransportError::Request { reason: error.to_string() }
}

/// Takes change home. What does not come now waits in the wallet and is asked for the next time.
async fn take_change(client: &Client) {
    if !client.is_anonymous() {
        return;
    }
    if let Err(error) = anonymous::collect(client).await {
        tracing::warn!(%error, "change of blind tokens was not taken");
    }
}

/// Where the next bytes come from.
enum Source {
    Idle,
    /// A request under way.
    Waiting(StreamId, Pin<Box<dyn Future<Output = Result<Incoming, TransportError>> + Send>>),
    /// An answer being read.
    Reading(StreamId, Incoming),
    /// An event that is already there.
    Ready(Event),
}

struct Asking<'a> {
    client: &'a Arc<Client>,
    out: &'a Sender,
    model: &'a str,
    plain_bytes: usize,
    session: Session,
    source: Source,
    /// The order sent last.
    sent: Option<Box<Signed<Order>>>,
    /// What the broker has just refused it with.
    refused: Option<Problem>,
    rng: SystemRng,
}

impl Asking<'_> {
    async fn step(&mut self, event: Event) -> Result<(), AskError> {
        let effects = match self.session.handle(event, now(), &mut self.rng) {
            Ok(effects) => effects,
            Err(error) => {
                self.keep_failure(&error).await?;
                self.keep_refused().await?;
                return Err(error.into());
            }
        };
        // The receipt is durable before the last bytes are let go.
        for effect in &effects {
            match effect {
                Effect::Done(settled) => {
                    self.keep_opening(settled).await?;
                    self.keep(Record::settled(now(), self.model, settled)).await?;
                    self.note_charge(settled)?;
                }
                Effect::Abandon(order) => {
                    self.sent = None;
                    self.keep(Record::lost(now(), self.model, order)).await?;
                    self.show(order);
                }
                _ => (),
            }
        }
        self.keep_refused().await?;
        for effect in effects {
            self.perform(effect).await;
        }
        Ok(())
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::FetchAttestation { instance, nonce, fresh } => {
                self.source = Source::Ready(self.keys_of(instance, nonce, fresh).await);
            }
            Effect::Send { stream, instance, order, sealed } => {
                let (plain_bytes, sealed_bytes) = (self.plain_bytes, sealed.len());
                let (to, signed) = (instance.clone(), order.clone());
                self.sent = Some(order.clone());
                let client = self.client.clone();
                let answer = async move {
                    let payment = payment(&client, &signed).await?;
                    let paid = payment.as_deref();
                    let answer =
                        client.broker().send(&to, &signed, paid, Bytes::from(sealed)).await;
                    if let (Some(_), Err(error)) = (&payment, &answer) {
                        anonymous::refused(&client, &signed.hold, error).map_err(unsendable)?;
                    }
                    answer
                };
                self.source = Source::Waiting(stream, Box::pin(answer));
                self.tell(Progress::Ordered { instance, order, plain_bytes, sealed_bytes }).await;
            }
            Effect::Refetch { stream, hold, pause_ms } => {
                // What is said to a second telling is no decision about the order.
                self.sent = None;
                let client = self.client.clone();
                let answer = async move {
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                    client.broker().refetch(&hold).await
                };
                self.source = Source::Waiting(stream, Box::pin(answer));
                self.tell(Progress::Refetching { hold }).await;
            }
            // Kept before anything was performed.
            Effect::Abandon(_) => (),
            Effect::Deliver(piece) => self.tell(Progress::Answer(piece)).await,
            Effect::Done(settled) => self.tell(Progress::Done(settled)).await,
        }
    }

    async fn keys_of(&mut self, instance: InstanceId, nonce: [u8; 32], fresh: bool) -> Event {
        let client = self.client;
        let known = client.collateral().appraisal(&instance).await;
        if let Some(appraisal) = known.filter(|_| !fresh) {
            let keys = appraisal.keys.clone();
            self.tell(Progress::Appraised { appraisal, cached: true }).await;
            return Event::Appraised { keys };
        }
        match client.collateral().appraise(client.broker(), client.folder(), &instance, nonce).await
        {
            Ok(appraisal) => {
                let keys = appraisal.keys.clone();
                self.tell(Progress::Appraised { appraisal, cached: false }).await;
                Event::Appraised { keys }
            }
            Err(AppraisalError::Refused { why, .. }) => Event::Refused { why: *why },
            Err(AppraisalError::Broker(BrokerError::Transport(error))) => failed(None, error),
            Err(other) => Event::Problem {
                stream: None,
                problem: Some(Problem::Internal),
                message: other.to_string(),
                receipt: None,
            },
        }
    }

    /// The next thing that happens: bytes, an end, a problem, or the deadline.
    async fn next_event(&mut self) -> Event {
        if self.session.is_over() {
            return Event::Timeout;
        }
        let wait_ms = self.session.deadline().map_or(0, |at| at.saturating_sub(now()).0);
        // Bytes that are there go first: a slow reader of ours must not look like a silent broker.
        tokio::select! {
            biased;
            event = self.source.next() => {
                let (event, refused) = event;
                self.refused = refused;
                event
            }
            () = self.out.closed() => Event::Timeout,
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => Event::Timeout,
        }
    }

    async fn keep_failure(&mut self, error: &SessionError) -> Result<(), AskError> {
        match error {
            SessionError::Problem { settled: Some(settled), .. } => {
                self.keep_opening(settled).await?;
                self.keep(Record::settled(now(), self.model, settled)).await
            }
            SessionError::AnswerLost { order, .. } => {
                self.sent = None;
                self.keep(Record::lost(now(), self.model, order)).await?;
                wait_for(self.show(order)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An order that the broker has just refused without a receipt: its log must say so.
    async fn keep_refused(&mut self) -> Result<(), AskError> {
        let (Some(problem), Some(order)) = (self.refused.take(), self.sent.take()) else {
            return Ok(());
        };
        if is_decided(problem) {
            return self.keep(Record::refused(now(), self.model, &order, problem)).await;
        }
        self.keep(Record::lost(now(), self.model, &order)).await?;
        wait_for(self.show(&order)).await;
        Ok(())
    }

    /// Brings an order without an answer to the witnesses that the configuration names, if any.
    fn show(&self, order: &Signed<Order>) -> Option<JoinHandle<()>> {
        let (client, order) = (self.client.clone(), order.bytes().to_vec());
        let bring = async move { client.show(&order).await };
        self.client.shows_orders().then(|| tokio::spawn(bring))
    }

    /// The change of an anonymous order is held against its receipt.
    fn note_charge(&self, settled: &Settled) -> Result<(), AskError> {
        match self.client.is_anonymous() {
            true => {
                Ok(anonymous::charged(self.client, &settled.order.hold, settled.receipt.charge)?)
            }
            false => Ok(()),
        }
    }

    /// What opens the receipt, before the receipt: whoever has the one has the other.
    async fn keep_opening(&mut self, settled: &Settled) -> Result<(), AskError> {
        let Some(opening) = settled.opening.clone() else { return Ok(()) };
        if !self.client.config().disputes.keep_openings {
            return Ok(());
        }
        let (client, receipt) = (self.client.clone(), settled.receipt.digest());
        let keep = move || openings::keep(client.folder(), &receipt, &opening);
        let kept = tokio::task::spawn_blocking(keep).await;
        kept.map_err(|e| AskError::Internal(e.to_string()))?.map_err(AskError::from)
    }

    async fn keep(&mut self, record: Record) -> Result<(), AskError> {
        let client = self.client.clone();
        let kept = tokio::task::spawn_blocking(move || client.records().append(&record)).await;
        kept.map_err(|e| AskError::Internal(e.to_string()))?.map_err(AskError::from)
    }

    /// Passes something on; a reader that went away is noticed by the loop.
    async fn tell(&mut self, progress: Progress) {
        let _ = self.out.send(Ok(progress)).await;
    }
}

impl Source {
    /// Waits for the next event, and what the broker refused with, if it did. Safe to abandon and
    /// call again.
    async fn next(&mut self) -> (Event, Option<Problem>) {
        loop {
            match self {
                Source::Idle => std::future::pending::<()>().await,
                Source::Ready(_) => {
                    if let Source::Ready(event) = std::mem::replace(self, Source::Idle) {
                        return (event, None);
                    }
                }
                Source::Waiting(stream, answer) => {
                    let (stream, answer) = (*stream, answer.await);
                    match answer {
                        Ok(body) => *self = Source::Reading(stream, body),
                        Err(error) => {
                            *self = Source::Idle;
                            let refused = refused(&error);
                            return (failed(Some(stream), error), refused);
                        }
                    }
                }
                Source::Reading(stream, body) => {
                    let stream = *stream;
                    let Some(Ok(frame)) = body.frame().await else {
                        *self = Source::Idle;
                        return (Event::AnswerEnded { stream }, None);
                    };
                    if let Ok(bytes) = frame.into_data() {
                        return (Event::AnswerBytes { stream, bytes: bytes.to_vec() }, None);
                    }
                }
            }
        }
    }
}

/// Waits where nothing else is left to do. What witnesses could not be told now, `bulla witness show`
/// tells them.
async fn wait_for(shown: Option<JoinHandle<()>>) {
    if let Some(shown) = shown {
        let _ = tokio::time::timeout(SHOW_PATIENCE, shown).await;
    }
}

/// Problems that a broker logs as its decision about an order.
fn is_decided(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::InvalidOrder
            | Problem::NotFound
            | Problem::StaleKeyset
            | Problem::StalePrices
            | Problem::InsufficientBalance
            | Problem::HoldConflict
            | Problem::RateLimited
            | Problem::Busy
    )
}

/// What the broker says no with, where no receipt comes along.
fn refused(error: &TransportError) -> Option<Problem> {
    match error {
        TransportError::Problem(refusal) if refusal.receipt.is_none() => Some(refusal.problem),
        _ => None,
    }
}

/// A failed request as an event. Without a connection nothing was sent: another enclave, or
/// another time, may do. A connection that broke leaves open what happened.
fn failed(stream: Option<StreamId>, error: TransportError) -> Event {
    let message = error.to_string();
    let (problem, message, receipt) = match error {
        TransportError::Problem(refusal) => {
            (Some(refusal.problem), refusal.message, refusal.receipt)
        }
        TransportError::Connect { .. } => (Some(Problem::Unavailable), message, None),
        TransportError::Request { .. } => (Some(Problem::Internal), message, None),
        _ => (None, message, None),
    };
    Event::Problem { stream, problem, message, receipt }
}
