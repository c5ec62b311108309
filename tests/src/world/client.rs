//! Customers and their requests: one session each, its effects performed in the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::seal::Padding;
use bulla_attestation::sign::SigningKey;
use bulla_broker::ledger::AccountNumber;
use bulla_client::price::{SpendingCap, ceilings, choose, read_book};
use bulla_client::request::ChatRequest;
use bulla_client::session::{
    Effect, Event, Limits, Payer, Piece, Plan, Session, SessionError, Settled, StreamId,
};
use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::{HoldId, InstanceId};
use bulla_wire::problem::Problem;
use bulla_wire::statement::Nonce;
use bulla_wire::units::{TokenCount, Unit, UnixMillis};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::broker::BrokerHost;
use super::enclave::{instance, policy};
use super::faults::Sabotage;
use super::network::{Conn, Message, Party};
use super::street::{Happening, Street};
use super::{CANARY, MODEL};

/// Patience of a client.
const LIMITS: Limits = Limits {
    attestation_ms: 6_000,
    first_byte_ms: 15_000,
    idle_ms: 6_000,
    order_life_ms: 40_000,
    keys_margin_ms: 300_000,
    refetches: 3,
    orders: 4,
};
/// Context of the model, in tokens.
const CONTEXT: TokenCount = TokenCount(32_768);

/// Somebody with an account.
pub struct Customer {
    order_key: Arc<SigningKey>,
    account: AccountNumber,
    keys: BTreeMap<InstanceId, Arc<AttestedKeys>>,
}

impl Customer {
    /// Opens an account.
    pub fn new(number: usize, street: &mut Street, broker: &mut BrokerHost) -> Customer {
        let mut seed = [0; 32];
        street.rng.fill_bytes(&mut seed);
        let order_key = Arc::new(SigningKey::from_seed(seed));
        let account = broker.open_account(street, number, &order_key);
        Customer { order_key, account, keys: BTreeMap::new() }
    }

    /// The account.
    pub fn account(&self) -> AccountNumber {
        self.account
    }

    /// Starts over without appraisals from before.
    pub fn forget(&mut self) {
        self.keys.clear();
    }
}

/// How a request ended.
enum End {
    Done(Box<Settled>),
    Failed(String),
    Left,
}

/// What a request waits for.
enum Awaited {
    Evidence { instance: InstanceId, nonce: Nonce },
    Answer { stream: StreamId, begun: bool },
}

/// One request.
pub struct Ask {
    /// Whose.
    pub customer: usize,
    /// Asked after the network healed.
    pub is_last: bool,
    number: usize,
    stream: bool,
    prompt: String,
    rng: ChaCha20Rng,
    account: Option<AccountNumber>,
    session: Option<Session>,
    awaited: Option<(Option<Conn>, Awaited)>,
    deadline: Option<UnixMillis>,
    body: Vec<u8>,
    status: u16,
    end: Option<End>,
}

impl Ask {
    /// A request to come.
    pub fn new(number: usize, customer: usize, stream: bool, street: &mut Street) -> Ask {
        let mut seed = [0; 32];
        street.rng.fill_bytes(&mut seed);
        let words = 1 + street.draw(12);
        let noise: Vec<String> = (0..words).map(|_| street.draw(10_000).to_string()).collect();
        Ask {
            customer,
            is_last: false,
            number,
            stream,
            prompt: format!("{CANARY} asks {}", noise.join(" ")),
            rng: ChaCha20Rng::from_seed(seed),
            account: None,
            session: None,
            awaited: None,
            deadline: None,
            body: Vec::new(),
            status: 0,
            end: None,
        }
    }

    fn me(&self) -> Party {
        Party::Client(self.number)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// Whether it has its answer and its receipt.
    pub fn is_done(&self) -> bool {
        matches!(self.end, Some(End::Done(_)))
    }

    /// The order and receipt it holds at the end.
    pub fn settled(&self) -> Option<&Settled> {
        match &self.end {
            Some(End::Done(settled)) => Some(settled),
            _ => None,
        }
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        match &self.end {
            Some(End::Done(settled)) => format!("done: {}", settled.receipt.outcome),
            Some(End::Failed(why)) => format!("failed: {why}"),
            Some(End::Left) => "left".to_owned(),
            None => "open".to_owned(),
        }
    }

    /// What was asked, and the opened answer.
    pub fn conversation(&self) -> (&str, bool, u16, &[u8]) {
        (&self.prompt, self.stream, self.status, &self.body)
    }

    /// Begins.
    pub fn start(&mut self, street: &mut Street, customer: &Customer, broker: &BrokerHost) {
        let Some(book) = broker.price_book(street) else {
            return self.finish(street, End::Failed("no price book: broker is away".to_owned()));
        };
        let plan = self.plan(street, customer, broker.root_public(), &book);
        let cached = customer.keys.get(&plan.instances[0]).cloned();
        self.account = Some(customer.account);
        self.session = Some(Session::new(plan));
        self.tell(street, Event::Start { cached });
    }

    fn plan(
        &self,
        street: &mut Street,
        customer: &Customer,
        root: bulla_wire::ids::PublicKey,
        book: &[u8],
    ) -> Plan {
        let body = serde_json::json!({
            "model": MODEL,
            "messages": [{"role": "user", "content": self.prompt}],
            "stream": self.stream,
            "temperature": 0,
            "max_tokens": 60,
        });
        let request = ChatRequest::read(body.to_string().as_bytes()).expect("a chat request");
        let cap = SpendingCap::default();
        let book = read_book(book, &root, 0, street.now.seconds()).expect("the broker's own book");
        let offer = choose(&book, MODEL, None, &Unit::tokens(), &cap).expect("a price");
        let ceilings =
            ceilings(&request, CONTEXT, TokenCount(60), &offer, &cap).expect("small numbers");
        let mut instances: Vec<InstanceId> = (0..street.enclaves).map(instance).collect();
        let turn = street.draw(instances.len() as u64) as usize;
        instances.rotate_left(turn);
        Plan {
            path: "/v1/chat/completions".to_owned(),
            body: request.body().to_vec(),
            offer,
            ceilings,
            instances,
            payer: Payer::new(customer.order_key.clone(), None),
            padding: Padding::default(),
            limits: LIMITS,
        }
    }

    fn tell(&mut self, street: &mut Street, event: Event) {
        let Some(session) = &mut self.session else { return };
        match session.handle(event, street.now, &mut self.rng) {
            Ok(effects) => {
                for effect in effects {
                    self.perform(street, effect);
                }
            }
            Err(error) => self.fail(street, &error),
        }
        let deadline = self.session.as_ref().and_then(Session::deadline);
        if deadline != self.deadline {
            self.deadline = deadline;
            if let Some(at) = deadline {
                let wait_ms = at.saturating_sub(street.now).0;
                street.after(wait_ms, Happening::AskDeadline(self.number));
            }
        }
    }

    fn fail(&mut self, street: &mut Street, error: &SessionError) {
        // What must never come from honest roles, whatever the network does.
        if matches!(
            error,
            SessionError::Receipt(_)
                | SessionError::NoReceipt
                | SessionError::Differs(_)
                | SessionError::OtherInstance { .. }
                | SessionError::Appraisal { .. }
        ) {
            street.blame("role-error", format!("client {}: {error}", self.number));
        }
        self.finish(street, End::Failed(error.to_string()));
    }

    fn finish(&mut self, street: &mut Street, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            street.note(format_args!("{:?} {}", self.me(), self.ending()));
        }
        self.session = None;
        self.stop_listening(street);
    }

    fn stop_listening(&mut self, street: &mut Street) {
        if let Some((Some(conn), _)) = self.awaited.take() {
            street.hang_up(conn, self.me());
        }
    }

    fn perform(&mut self, street: &mut Street, effect: Effect) {
        match effect {
            Effect::FetchAttestation { instance, nonce, .. } => {
                let message = Message::AskEvidence { instance: instance.clone(), nonce };
                self.call(street, Awaited::Evidence { instance, nonce }, message);
            }
            Effect::Send { stream, instance, order, mut sealed } => {
                if street.sabotage == Some(Sabotage::SpeaksInTheOpen) {
                    sealed.extend(self.prompt.as_bytes());
                }
                let account = self.account.expect("set at the start");
                let order = order.bytes().to_vec();
                let message = Message::Order { account, instance, order, sealed };
                self.call(street, Awaited::Answer { stream, begun: false }, message);
            }
            Effect::Refetch { stream, hold, pause_ms } => {
                self.stop_listening(street);
                self.awaited = Some((None, Awaited::Answer { stream, begun: false }));
                street.after(pause_ms, Happening::AskSends { ask: self.number, stream, hold });
            }
            Effect::Deliver(Piece::Head { status, .. }) => self.status = status,
            Effect::Deliver(Piece::Body(bytes)) => self.body.extend(bytes),
            // Kept by a customer's records; here the ledger is judged as a whole.
            Effect::Abandon(_) => {}
            Effect::Done(settled) => self.finish(street, End::Done(settled)),
        }
    }

    fn call(&mut self, street: &mut Street, awaited: Awaited, message: Message) {
        self.stop_listening(street);
        let conn = street.connect(self.me(), Party::Broker);
        self.awaited = Some((Some(conn), awaited));
        street.send(conn, self.me(), message);
    }

    /// After its pause, a refetch goes out; unless something else is awaited by now.
    pub fn refetch(&mut self, street: &mut Street, stream: StreamId, hold: HoldId) {
        if let Some((None, Awaited::Answer { stream: current, .. })) = &self.awaited
            && *current == stream
        {
            let message = Message::Again { account: self.account, hold };
            self.call(street, Awaited::Answer { stream, begun: false }, message);
        }
    }

    /// Its deadline may have passed.
    pub fn deadline(&mut self, street: &mut Street) {
        let deadline = self.session.as_ref().and_then(Session::deadline);
        if deadline.is_some_and(|at| at <= street.now) {
            self.tell(street, Event::Timeout);
        }
    }

    /// The customer closes the window.
    pub fn leave(&mut self, street: &mut Street) {
        if self.session.is_some() {
            street.tally.given_up += 1;
            self.finish(street, End::Left);
        }
    }

    /// A message arrived.
    pub fn hear(
        &mut self,
        street: &mut Street,
        customer: &mut Customer,
        conn: Conn,
        message: Message,
    ) {
        match &mut self.awaited {
            Some((Some(current), Awaited::Answer { stream, begun })) if *current == conn => {
                let stream = *stream;
                let event = match message {
                    Message::Chunk(bytes) => {
                        *begun = true;
                        Event::AnswerBytes { stream, bytes }
                    }
                    Message::End(_) => {
                        self.awaited = None;
                        Event::AnswerEnded { stream }
                    }
                    Message::Problem { problem, message, receipt } => {
                        self.awaited = None;
                        let (stream, problem) = (Some(stream), Some(problem));
                        Event::Problem { stream, problem, message, receipt }
                    }
                    _ => return,
                };
                self.tell(street, event);
            }
            Some((Some(current), Awaited::Evidence { instance, nonce })) if *current == conn => {
                let (instance, nonce) = (instance.clone(), *nonce);
                self.awaited = None;
                let event = evidence(street, customer, &instance, nonce, message);
                self.tell(street, event);
            }
            _ => {}
        }
    }

    /// A connection broke.
    pub fn broke(&mut self, street: &mut Street, conn: Conn, unreached: bool) {
        let event = match &self.awaited {
            Some((Some(current), awaited)) if *current == conn => match awaited {
                Awaited::Answer { stream, begun: true } => Event::AnswerEnded { stream: *stream },
                Awaited::Answer { stream, .. } => lost(Some(*stream), unreached),
                Awaited::Evidence { .. } => lost(None, unreached),
            },
            _ => return,
        };
        self.awaited = None;
        self.tell(street, event);
    }
}

/// Without a connection nothing was sent; a connection that broke leaves open what happened.
fn lost(stream: Option<StreamId>, unreached: bool) -> Event {
    let problem = unreached.then_some(Problem::Unavailable);
    let message = "connection lost".to_owned();
    Event::Problem { stream, problem, message, receipt: None }
}

/// Evidence goes through the shipped verifier.
fn evidence(
    street: &Street,
    customer: &mut Customer,
    instance: &InstanceId,
    nonce: Nonce,
    message: Message,
) -> Event {
    let failed = |problem, message| Event::Problem {
        stream: None,
        problem: Some(problem),
        message,
        receipt: None,
    };
    let report = match message {
        Message::Body(report) => report,
        Message::Problem { problem, message, .. } => return failed(problem, message),
        _ => return failed(Problem::Internal, "not a report".to_owned()),
    };
    let Ok(report) = AttestationReport::from_json(&report) else {
        return failed(Problem::Internal, "report does not read".to_owned());
    };
    let (anchors, policy) = policy();
    let now = street.now.seconds();
    let result = appraise(&report, anchors, policy, Freshness::Nonce(nonce), now);
    match result.into_keys() {
        Ok(keys) => {
            let keys = Arc::new(keys);
            customer.keys.insert(instance.clone(), keys.clone());
            Event::Appraised { keys }
        }
        Err(why) => Event::Refused { why },
    }
}
