//! What the parties share: time, the queue of what happens next, and the lines between them.

use std::collections::BTreeMap;

use bulla_attestation::hash::sha256;
use bulla_broker::broker::BatchId;
use bulla_broker::ledger::{Outcome, Rejection};
use bulla_client::session::StreamId;
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::units::UnixMillis;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::faults::Sabotage;
use super::invariants::{Violation, Witness};
use super::network::{Conn, Fate, Message, Party, Weather};
use super::{Ended, START, Tally, below, chance};

/// Lines of trace shown when a seed fails.
const SHOWN_LINES: usize = 60;

/// Something that will happen.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Happening {
    Heard { conn: Conn, by: Party, message: Message },
    Broke { conn: Conn, by: Party, unreached: bool },
    BrokerTick,
    Writer { life: u64 },
    Durable { life: u64, batch: BatchId, results: Option<Vec<Result<Outcome, Rejection>>> },
    EnclaveTick(usize),
    EngineStep { which: usize, life: u64 },
    Disk { which: usize, life: u64 },
    AskStarts(usize),
    AskSends { ask: usize, stream: StreamId, hold: HoldId },
    AskDeadline(usize),
    AskLeaves(usize),
    Crash(Party),
    Rise(Party),
    Close(usize),
    NewPrices,
    Cut { between: (Party, Party), for_ms: u64 },
    Heal,
    LastAsk,
}

/// A connection.
struct Line {
    from: Party,
    to: Party,
    /// Whether the first message was sent.
    begun: bool,
    /// Where the initiator is not there: a copy of somebody's request.
    is_copy: bool,
    /// When the last message in each direction arrives: bytes of a connection keep their order.
    arrival_ms: [u64; 2],
}

/// Time, queue, lines, dice.
pub struct Street {
    /// Now.
    pub now: UnixMillis,
    /// The dice.
    pub rng: ChaCha20Rng,
    /// Who watches.
    pub witness: Witness,
    /// In numbers.
    pub tally: Tally,
    /// What is performed wrongly, to see whether anybody notices.
    pub sabotage: Option<Sabotage>,
    /// How the network behaves.
    pub weather: Weather,
    /// How many enclaves there are.
    pub enclaves: usize,
    queue: BTreeMap<(u64, u64, u64), Happening>,
    serial: u64,
    lines: BTreeMap<Conn, Line>,
    trace: Vec<String>,
    trace_digest: Digest,
    aloud: bool,
}

impl Street {
    /// An empty street.
    pub fn new(
        rng: ChaCha20Rng,
        enclaves: usize,
        weather: Weather,
        sabotage: Option<Sabotage>,
        aloud: bool,
    ) -> Street {
        Street {
            now: START,
            rng,
            witness: Witness::default(),
            tally: Tally::default(),
            sabotage,
            weather,
            enclaves,
            queue: BTreeMap::new(),
            serial: 0,
            lines: BTreeMap::new(),
            trace: Vec::new(),
            trace_digest: Digest([0; 32]),
            aloud,
        }
    }

    /// A line of trace.
    pub fn note(&mut self, what: impl std::fmt::Display) {
        let line = format!("{:>9.3} {what}", (self.now.0 - START.0) as f64 / 1000.0);
        if self.aloud {
            println!("{line}");
        }
        let mut bytes = self.trace_digest.0.to_vec();
        bytes.extend(line.as_bytes());
        self.trace_digest = sha256(&bytes);
        self.trace.push(line);
    }

    /// An invariant is broken. The first one counts.
    pub fn blame(&mut self, invariant: &'static str, what: String) {
        self.note(format_args!("BROKEN {invariant}: {what}"));
        self.witness.blame(invariant, what);
    }

    /// Ends the story.
    pub fn conclude(mut self, seed: u64) -> Result<Ended, Box<Violation>> {
        let Some((invariant, what)) = self.witness.take_blame() else {
            return Ok(Ended { trace: self.trace_digest, tally: self.tally });
        };
        let trace = self.trace.split_off(self.trace.len().saturating_sub(SHOWN_LINES));
        Err(Box::new(Violation { seed, invariant, what, trace }))
    }

    /// Something happens later; what happens at the same time is ordered by the dice.
    pub fn after(&mut self, ms: u64, happening: Happening) {
        let tie = self.rng.next_u64();
        self.serial += 1;
        self.queue.insert((self.now.0 + ms, tie, self.serial), happening);
    }

    /// The next happening; time moves on to it.
    pub fn next_happening(&mut self) -> Option<Happening> {
        loop {
            let ((at, _, _), happening) = self.queue.pop_first()?;
            self.now = UnixMillis(at);
            match &happening {
                Happening::Heard { conn, by, message } => {
                    let Some(line) = self.lines.get(conn) else { continue };
                    let from = if *by == line.from { line.to } else { line.from };
                    if message.is_last() {
                        self.lines.remove(conn);
                    }
                    self.note(format_args!("{from:?} -> {by:?} #{} {}", conn.0, message.name()));
                }
                Happening::Broke { conn, by, .. } => {
                    self.note(format_args!("{by:?} #{} broke", conn.0));
                }
                _ => {}
            }
            return Some(happening);
        }
    }

    /// A new connection.
    pub fn connect(&mut self, from: Party, to: Party) -> Conn {
        self.line(from, to, false)
    }

    fn line(&mut self, from: Party, to: Party, is_copy: bool) -> Conn {
        self.serial += 1;
        let conn = Conn(self.serial);
        self.lines.insert(conn, Line { from, to, begun: false, is_copy, arrival_ms: [0; 2] });
        conn
    }

    /// True while nothing has ended it.
    pub fn is_open(&self, conn: Conn) -> bool {
        self.lines.contains_key(&conn)
    }

    /// Sends on a connection; on one that has ended nothing happens.
    pub fn send(&mut self, conn: Conn, by: Party, mut message: Message) {
        self.tally.messages += 1;
        if let Some(what) = Witness::plaintext_in(&message) {
            self.blame("no-plaintext", what);
        }
        let Some(line) = self.lines.get_mut(&conn) else { return };
        let (is_answer, to) = (by == line.to, if by == line.to { line.from } else { line.to });
        if line.is_copy && is_answer {
            if message.is_last() {
                self.lines.remove(&conn);
            }
            return;
        }
        let is_request = !std::mem::replace(&mut line.begun, true);
        match self.weather.fate(&mut self.rng, by, to, self.now, is_request) {
            Fate::Unreached => {
                self.tally.unreached += 1;
                self.snap(conn, true);
            }
            Fate::Lost => {
                self.tally.lost += 1;
                self.note(format_args!("{by:?} -> {to:?} #{} {} LOST", conn.0, message.name()));
                self.snap(conn, false);
            }
            Fate::Arrives { delay_ms, twice } => {
                if delay_ms >= 500 {
                    self.tally.delayed += 1;
                }
                if twice {
                    self.copy(by, to, message.clone());
                }
                if let (Message::Chunk(bytes), Party::Client(_)) = (&mut message, to)
                    && self.weather.mangle(&mut self.rng, bytes)
                {
                    self.tally.mangled += 1;
                    self.note(format_args!("#{} chunk MANGLED", conn.0));
                }
                self.deliver(conn, is_answer, to, delay_ms, message);
            }
        }
    }

    fn deliver(&mut self, conn: Conn, is_answer: bool, by: Party, ms: u64, message: Message) {
        let Some(line) = self.lines.get_mut(&conn) else { return };
        let last = &mut line.arrival_ms[usize::from(is_answer)];
        *last = (self.now.0 + ms).max(*last + 1);
        let wait_ms = *last - self.now.0;
        self.after(wait_ms, Happening::Heard { conn, by, message });
    }

    /// Another copy of a request arrives on a line of its own; nobody hears the answer.
    fn copy(&mut self, from: Party, to: Party, message: Message) {
        self.tally.duplicated += 1;
        let conn = self.line(from, to, true);
        let delay_ms = 1 + below(&mut self.rng, 5000);
        self.deliver(conn, false, to, delay_ms, message);
    }

    /// A connection breaks; both ends learn of it, sooner or much later.
    fn snap(&mut self, conn: Conn, unreached: bool) {
        let Some(line) = self.lines.remove(&conn) else { return };
        if !line.is_copy {
            let ms = self.notice_ms();
            self.after(ms, Happening::Broke { conn, by: line.from, unreached });
        }
        if !unreached {
            let ms = self.notice_ms();
            self.after(ms, Happening::Broke { conn, by: line.to, unreached: false });
        }
    }

    fn notice_ms(&mut self) -> u64 {
        match chance(&mut self.rng, 800) {
            true => 1 + below(&mut self.rng, 300),
            false => 8_000 + below(&mut self.rng, 8_000),
        }
    }

    /// One end goes; the other one learns of it.
    pub fn hang_up(&mut self, conn: Conn, by: Party) {
        let Some(line) = self.lines.remove(&conn) else { return };
        if line.is_copy {
            return;
        }
        let other = if by == line.from { line.to } else { line.from };
        let ms = self.notice_ms();
        self.after(ms, Happening::Broke { conn, by: other, unreached: false });
    }

    /// A party is not there: whoever called it has reached nobody.
    pub fn refuse(&mut self, conn: Conn) {
        self.snap(conn, true);
    }

    /// A party dies with all its connections.
    pub fn cut_off(&mut self, party: Party) {
        let of_party = |line: &Line| line.from == party || line.to == party;
        let all: Vec<Conn> =
            self.lines.iter().filter(|(_, line)| of_party(line)).map(|(conn, _)| *conn).collect();
        all.into_iter().for_each(|conn| self.hang_up(conn, party));
    }

    /// A link goes down for a while.
    pub fn cut(&mut self, between: (Party, Party), for_ms: u64) {
        self.note(format_args!("CUT {between:?} for {for_ms} ms"));
        self.weather.cuts.push((between, UnixMillis(self.now.0 + for_ms)));
    }

    /// Good weather from now on.
    pub fn heal(&mut self) {
        self.note("HEAL");
        self.weather = Weather::default();
        // What was drawn to go wrong later does not.
        self.queue.retain(|_, happening| {
            !matches!(happening, Happening::Crash(_) | Happening::Close(_) | Happening::Cut { .. })
        });
    }

    /// A number below `bound`, from the dice.
    pub fn draw(&mut self, bound: u64) -> u64 {
        below(&mut self.rng, bound)
    }
}
