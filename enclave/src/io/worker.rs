//! The engine's thread: takes commands between steps, hands outputs back.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulla_engine::{ChatRequest, Engine, EngineCounters, GenerateRequest, SequenceId};

use crate::Event;

/// How often the counters are shown. Coarse on purpose: whoever could read them after every step
/// would learn when each token was made.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// Where the engine's counters are shown.
pub struct Board {
    shown: Mutex<(EngineCounters, Option<Instant>)>,
}

impl Board {
    /// Nothing counted yet.
    pub fn new(engine: &dyn Engine) -> Board {
        Board { shown: Mutex::new((engine.counters(), None)) }
    }

    /// What was shown last.
    pub fn read(&self) -> EngineCounters {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn show(&self, engine: &dyn Engine) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let due = shown.1.is_none_or(|at| at.elapsed() >= SHOWN_EVERY);
        if due {
            *shown = (engine.counters(), Some(Instant::now()));
        }
    }
}

/// What the shell asks of the engine.
pub enum Command {
    /// Apply template and tokenizer.
    Prompt(SequenceId, ChatRequest),
    /// Start a sequence.
    Submit(SequenceId, GenerateRequest),
    /// Stop one at the next step.
    Cancel(SequenceId),
    /// End the thread, give the engine back.
    Stop,
}

/// Runs until told to stop. `report` gets every event in the order it happened.
pub fn work(
    mut engine: Box<dyn Engine>,
    commands: &Receiver<Command>,
    board: &Board,
    report: impl Fn(Event),
) -> Box<dyn Engine> {
    // What an earlier epoch kept of its prompts ends with it.
    engine.forget_prefixes();
    loop {
        while let Some(command) = next(&*engine, commands) {
            match command {
                Command::Prompt(sequence, chat) => {
                    let result = engine.prompt(&chat);
                    report(Event::Prompted { sequence, result });
                }
                Command::Submit(sequence, request) => {
                    if let Err(error) = engine.submit(sequence, request) {
                        report(Event::SubmitRefused { sequence, error });
                    }
                }
                Command::Cancel(sequence) => engine.cancel(sequence),
                Command::Stop => return engine,
            }
        }
        for output in engine.step() {
            report(Event::Output(output));
        }
        board.show(&*engine);
    }
}

/// The next command: waits for one when the engine is idle.
fn next(engine: &dyn Engine, commands: &Receiver<Command>) -> Option<Command> {
    if engine.is_idle() {
        return Some(commands.recv().unwrap_or(Command::Stop));
    }
    match commands.try_recv() {
        Ok(command) => Some(command),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => Some(Command::Stop),
    }
}
