//! The driver: one thread that owns the state machine, feeds it events one by one and performs its
//! effects. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulla_wire::decision::Decision;
use bulla_wire::ids::{HoldId, InstanceId, TokenInput};
use bulla_wire::problem::Problem;
use tokio::sync::{mpsc, oneshot};

use super::clock;
use super::log_files::LogFilesWriter;
use super::puller::Puller;
use super::store::Reader;
use super::writer::Writer;
use crate::anonymous::{Evaluated, Redeemed};
use crate::broker::{Broker, Effect, Event, RequestId};
use crate::ledger::{AccountNumber, HoldState, Queries, Settlement};
use crate::limit::Standings;
use crate::project::Spender;
use crate::register::Once;

/// A no to a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which problem.
    pub problem: Problem,
    /// For people.
    pub message: String,
    /// The enclave's receipt over nothing, where it signed one.
    pub receipt: Option<Vec<u8>>,
    /// When to try again, in seconds.
    pub retry_seconds: Option<u64>,
    /// Where the sender stands with its limits.
    pub standings: Box<Standings>,
    /// Blind tokens it is about: those that were spent before.
    pub spent: Vec<TokenInput>,
}

impl Refusal {
    /// A refusal.
    pub fn new(problem: Problem, message: impl ToString) -> Refusal {
        Refusal {
            problem,
            message: message.to_string(),
            receipt: None,
            retry_seconds: None,
            standings: Box::default(),
            spent: Vec::new(),
        }
    }

    pub(super) fn stopping() -> Refusal {
        Refusal::new(Problem::Unavailable, "the broker is stopping: try again in a moment")
    }
}

/// An order that may be sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The enclave.
    pub instance: InstanceId,
    /// The hold.
    pub hold: HoldId,
    /// The order.
    pub order: Vec<u8>,
    /// The grant.
    pub grant: Vec<u8>,
    /// The delegation.
    pub delegation: Vec<u8>,
    /// Granted before, and where its hold stands.
    pub again: Option<HoldState>,
}

type Question = Box<dyn FnOnce(&Broker, &dyn Queries) + Send>;

enum Message {
    Event(Event),
    Waiting(RequestId, Waiting, Event),
    Ask(Question),
}

/// Who waits for the end of a request.
enum Waiting {
    Grant(oneshot::Sender<Result<Granted, Refusal>>),
    Done(oneshot::Sender<Result<(), Refusal>>),
    Settlement(oneshot::Sender<Settlement>),
}

/// A handle to the driver.
#[derive(Clone)]
pub struct Driver {
    messages: mpsc::UnboundedSender<Message>,
    next_request: Arc<AtomicU64>,
}

impl Driver {
    /// Starts the thread. It ends when every handle is gone.
    pub fn start(
        broker: Broker,
        reader: Box<dyn Reader>,
        writer: Writer,
        puller: Puller,
        files: Option<LogFilesWriter>,
        runtime: tokio::runtime::Handle,
    ) -> std::io::Result<(Driver, std::thread::JoinHandle<()>)> {
        let (messages, inbox) = mpsc::unbounded_channel();
        let driver = Driver { messages, next_request: Arc::default() };
        // The thread holds no handle of its own, or it would never end.
        let back = driver.messages.downgrade();
        let shell = Shell { writer, puller, files, runtime, back, waiting: BTreeMap::new() };
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || drive(broker, &*reader, shell, inbox))?;
        Ok((driver, thread))
    }

    /// Tells the broker that something happened.
    pub fn tell(&self, event: Event) {
        // A broker that stopped needs no news.
        let _ = self.messages.send(Message::Event(event));
    }

    async fn wait<T>(
        &self,
        waiting: impl FnOnce(oneshot::Sender<T>) -> Waiting,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Option<T> {
        let request = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let message = Message::Waiting(request, waiting(answer), event(request));
        self.messages.send(message).ok()?;
        answered.await.ok()
    }

    /// Places an order's hold.
    pub async fn order(
        &self,
        account: AccountNumber,
        spender: Spender,
        instance: InstanceId,
        order: Vec<u8>,
    ) -> Result<Granted, Refusal> {
        let event = |request| Event::OrderReceived { request, account, spender, instance, order };
        self.wait(Waiting::Grant, event).await.unwrap_or_else(|| Err(Refusal::stopping()))
    }

    /// Has the log say that an order was refused at the door, and waits until it is durable.
    pub async fn turned_away(&self, account: AccountNumber, order: Vec<u8>, decision: Decision) {
        let event = |request| Event::OrderTurnedAway { request, account, order, decision };
        // The customer is refused in any case.
        let _ = self.wait(Waiting::Done, event).await;
    }

    /// Places the hold of an order that is paid with blind tokens.
    pub async fn anonymous_order(
        &self,
        instance: InstanceId,
        order: Vec<u8>,
        payment: Redeemed,
    ) -> Result<Granted, Refusal> {
        let payment = Box::new(payment);
        let event = |request| Event::AnonymousOrder { request, instance, order, payment };
        self.wait(Waiting::Grant, event).await.unwrap_or_else(|| Err(Refusal::stopping()))
    }

    /// Pays for blind tokens that were made.
    pub async fn draw(
        &self,
        account: AccountNumber,
        spender: Spender,
        draw: Evaluated,
    ) -> Result<(), Refusal> {
        let draw = Box::new(draw);
        let event = |request| Event::DrawEvaluated { request, account, spender, draw };
        self.wait(Waiting::Done, event).await.unwrap_or_else(|| Err(Refusal::stopping()))
    }

    /// Registers an order key.
    pub async fn register(
        &self,
        account: AccountNumber,
        registration: Vec<u8>,
        once: Option<Once>,
    ) -> Result<(), Refusal> {
        let event = |request| Event::OrderKeyOffered { request, account, registration, once };
        self.wait(Waiting::Done, event).await.unwrap_or_else(|| Err(Refusal::stopping()))
    }

    /// Takes in a receipt and waits until it is durable.
    pub async fn receipt(&self, record: Vec<u8>) -> Option<Settlement> {
        let event = |request| Event::RecordReceived { request: Some(request), record };
        self.wait(Waiting::Settlement, event).await
    }

    /// Asks the broker and the ledger something, between two events.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Broker, &dyn Queries) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |broker, store| {
            // Whoever asked may have gone.
            let _ = answer.send(question(broker, store));
        });
        self.messages.send(Message::Ask(question)).map_err(|_| Refusal::stopping())?;
        answered.await.map_err(|_| Refusal::stopping())
    }
}

/// What performs effects.
struct Shell {
    writer: Writer,
    puller: Puller,
    files: Option<LogFilesWriter>,
    runtime: tokio::runtime::Handle,
    back: mpsc::WeakUnboundedSender<Message>,
    waiting: BTreeMap<RequestId, Waiting>,
}

fn drive(
    mut broker: Broker,
    reader: &dyn Reader,
    mut shell: Shell,
    mut inbox: mpsc::UnboundedReceiver<Message>,
) {
    while let Some(message) = inbox.blocking_recv() {
        let (request, event) = match message {
            Message::Ask(question) => {
                question(&broker, reader.questions());
                continue;
            }
            Message::Event(event) => (None, event),
            Message::Waiting(request, waiting, event) => {
                shell.waiting.insert(request, waiting);
                (Some(request), event)
            }
        };
        match broker.handle(event, reader.questions(), clock::now()) {
            Ok(effects) => effects.into_iter().for_each(|effect| shell.perform(effect)),
            Err(error) => {
                tracing::error!(%error, "the broker could not handle an event");
                if let Some(request) = request {
                    let message = "the ledger does not answer: try again later";
                    shell.refuse(request, Refusal::new(Problem::Internal, message));
                }
            }
        }
    }
}

impl Shell {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Commit { batch, commands } => {
                let back = self.back.clone();
                self.writer.submit(commands, move |results| {
                    let event = match results {
                        Ok(results) => Event::Committed { batch, results },
                        Err(_) => Event::CommitFailed { batch },
                    };
                    if let Some(back) = back.upgrade() {
                        let _ = back.send(Message::Event(event));
                    }
                });
            }
            Effect::Forward { request, instance, hold, order, grant, delegation, again } => {
                if let Some(Waiting::Grant(answer)) = self.waiting.remove(&request) {
                    let granted = Granted { instance, hold, order, grant, delegation, again };
                    // Gone while the hold was placed: nothing was sent, the hold is given back.
                    if answer.send(Ok(granted)).is_err() && again.is_none() {
                        self.tell(Event::NotAdmitted { hold });
                    }
                }
            }
            Effect::Refuse { request, problem, message, spent } => {
                self.refuse(request, Refusal { spent, ..Refusal::new(problem, message) });
            }
            Effect::Settled { request, settlement } => {
                if let Some(Waiting::Settlement(answer)) = self.waiting.remove(&request) {
                    let _ = answer.send(settlement);
                }
            }
            Effect::Done { request } => {
                if let Some(Waiting::Done(answer)) = self.waiting.remove(&request) {
                    let _ = answer.send(Ok(()));
                }
            }
            // Answers come from the broker's own log (see `Driver::ask`); files follow.
            Effect::PublishCheckpoint { note } => {
                if let Some(files) = &self.files {
                    files.publish(note);
                }
            }
            Effect::SeeWitness { witness } => self.spawn(|p| p.see_witness(witness)),
            Effect::AskWitness { witness, request } => {
                self.spawn(|p| p.ask_witness(witness, request));
            }
            Effect::SigningHalted { why } => tracing::error!("{why}"),
            Effect::Appraise { instance } => self.spawn(|p| p.appraise(instance)),
            Effect::OpenEpoch { instance, offer, delegation } => {
                self.spawn(|p| p.open_epoch(instance, offer, delegation));
            }
            Effect::Pull { instance, pull, delegation } => {
                self.spawn(|p| p.pull(instance, pull, delegation));
            }
        }
    }

    fn tell(&self, event: Event) {
        if let Some(back) = self.back.upgrade() {
            let _ = back.send(Message::Event(event));
        }
    }

    fn spawn<F>(&self, work: impl FnOnce(Puller) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let (work, back) = (work(self.puller.clone()), self.back.clone());
        self.runtime.spawn(async move {
            let event = work.await;
            if let Some(back) = back.upgrade() {
                let _ = back.send(Message::Event(event));
            }
        });
    }

    fn refuse(&mut self, request: RequestId, refusal: Refusal) {
        match self.waiting.remove(&request) {
            Some(Waiting::Grant(answer)) => {
                let _ = answer.send(Err(refusal));
            }
            Some(Waiting::Done(answer)) => {
                let _ = answer.send(Err(refusal));
            }
            Some(Waiting::Settlement(answer)) => {
                let _ = answer.send(Settlement::Flagged { why: refusal.message });
            }
            None => {}
        }
    }
}
