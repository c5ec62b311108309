//! Performs effects. The core decides; this carries out, in the order given.

use std::collections::HashMap;
use std::sync::mpsc::Sender as CommandSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::sync::watch;

use super::clock::Clock;
use super::outbox_file::OutboxFile;
use super::worker::Command;
use crate::answers::StoredAnswer;
use crate::{ConnId, Effect, Enclave, Event};
use bulla_wire::problem::Problem;

/// Sealed chunks that may wait for a slow reader before it is given up: at 512 bytes and 20 chunks
/// a second, more than three minutes of answer.
const MAX_UNREAD_CHUNKS: usize = 4096;

/// What a connection receives.
pub enum Part {
    /// A problem instead of an answer, perhaps with a zero-charge receipt.
    Problem(Problem, String, Option<Vec<u8>>),
    /// A whole body.
    Reply(Vec<u8>),
    /// A stored answer.
    Answer(StoredAnswer),
    /// A sealed chunk.
    Chunk(Vec<u8>),
    /// The end, with the receipt.
    End(Vec<u8>),
}

/// The core with everything its effects need.
pub struct Shell {
    core: Mutex<Enclave>,
    connections: Mutex<HashMap<ConnId, Sender<Part>>>,
    next_connection: Mutex<u64>,
    commands: CommandSender<Command>,
    persist: CommandSender<Persisting>,
    closed: watch::Sender<bool>,
    clock: Clock,
}

/// Effects behind a record that must be durable before they happen.
pub struct Persisting(Vec<Effect>);

impl Shell {
    /// A shell around `core`.
    pub fn new(
        core: Enclave,
        commands: CommandSender<Command>,
        persist: CommandSender<Persisting>,
        clock: Clock,
    ) -> Arc<Shell> {
        Arc::new(Shell {
            core: Mutex::new(core),
            connections: Mutex::default(),
            next_connection: Mutex::new(0),
            commands,
            persist,
            closed: watch::Sender::new(false),
            clock,
        })
    }

    /// Runs a read-only look at the core.
    pub fn look<T>(&self, look: impl FnOnce(&Enclave) -> T) -> T {
        look(&locked(&self.core))
    }

    /// Resolves when the epoch is closed.
    pub async fn epoch_closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// A new connection and where its parts arrive.
    pub fn connect(&self) -> (ConnId, Receiver<Part>) {
        let mut next = locked(&self.next_connection);
        *next += 1;
        let conn = ConnId(*next);
        let (sender, receiver) = channel(MAX_UNREAD_CHUNKS);
        locked(&self.connections).insert(conn, sender);
        (conn, receiver)
    }

    /// Forgets a connection; true when it had not received its end.
    pub fn disconnect(&self, conn: ConnId) -> bool {
        locked(&self.connections).remove(&conn).is_some()
    }

    /// Hands an event to the core and performs what it says.
    pub fn dispatch(&self, event: Event) {
        let effects = locked(&self.core).handle(event, self.clock.now());
        self.perform(effects);
    }

    /// Performs effects up to the first that waits for the disk; the outbox thread goes on there.
    fn perform(&self, effects: Vec<Effect>) {
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Persist(_) | Effect::Forget(_) => {
                    let rest = std::iter::once(effect).chain(effects).collect();
                    if self.persist.send(Persisting(rest)).is_err() {
                        tracing::error!("outbox thread has ended; the answer cannot end");
                    }
                    return;
                }
                Effect::Prompt { sequence, model, chat } => {
                    self.command(Command::Prompt(sequence, model, chat));
                }
                Effect::PromptTexts { sequence, model, texts } => {
                    self.command(Command::PromptTexts(sequence, model, texts));
                }
                Effect::SubmitTexts { sequence, request } => {
                    self.command(Command::SubmitTexts(sequence, request));
                }
                Effect::Submit { sequence, request } => {
                    self.command(Command::Submit(sequence, request));
                }
                Effect::Cancel { sequence } => self.command(Command::Cancel(sequence)),
                Effect::Problem { conn, problem, message, receipt } => {
                    self.end(conn, Part::Problem(problem, message, receipt));
                }
                Effect::Reply { conn, body } => self.end(conn, Part::Reply(body)),
                Effect::ReplyAnswer { conn, answer } => self.end(conn, Part::Answer(answer)),
                Effect::Chunk { conn, bytes } => self.chunk(conn, bytes),
                Effect::EndAnswer { conn, receipt } => self.end(conn, Part::End(receipt)),
                Effect::EpochClosed => {
                    self.closed.send_replace(true);
                }
            }
        }
    }

    fn command(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("engine thread has ended");
        }
    }

    fn end(&self, conn: ConnId, part: Part) {
        if let Some(sender) = locked(&self.connections).remove(&conn) {
            // A reader that went away meanwhile needs no answer.
            let _ = sender.try_send(part);
        }
    }

    fn chunk(&self, conn: ConnId, bytes: Vec<u8>) {
        let sender = locked(&self.connections).get(&conn).cloned();
        let Some(sender) = sender else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) =
            sender.try_send(Part::Chunk(bytes))
        {
            locked(&self.connections).remove(&conn);
            self.dispatch(Event::ReaderGone { conn });
        }
    }
}

/// The outbox thread: syncs many records at once, then lets their answers end.
pub fn keep_outbox(
    shell: &Shell,
    mut file: OutboxFile,
    queue: &std::sync::mpsc::Receiver<Persisting>,
) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter());
        let records: Vec<_> = batch.iter().flat_map(|p| records_of(&p.0)).collect();
        if let Err(error) = file.append(&records) {
            // Without a durable record no answer may end: its readers see a cut answer, and the
            // broker releases their holds.
            tracing::error!(%error, "receipts cannot be kept; answers are withheld");
            continue;
        }
        for Persisting(effects) in batch {
            let mut rest = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Persist(_) => {}
                    Effect::Forget(place) => {
                        if let Err(error) = file.forget(&place) {
                            tracing::warn!(%error, "outbox could not be shortened");
                        }
                    }
                    other => rest.push(other),
                }
            }
            shell.perform(rest);
        }
    }
}

fn records_of(effects: &[Effect]) -> Vec<bulla_wire::pull::OutboxRecord> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        })
        .collect()
}

/// Locks; a thread that panicked while holding the lock leaves state that is still consistent,
/// because the core changes it only through `handle`.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
