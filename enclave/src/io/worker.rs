//! The engines' thread: takes commands between steps, hands outputs back.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulla_engine::{
    ChatRequest, EmbedInput, EmbedRequest, EngineCounters, GenerateRequest, SequenceId,
};
use bulla_wire::ids::Digest;

use crate::Event;
use crate::served::Engines;

/// How often the counters are shown. Coarse on purpose: whoever could read them after every step
/// would learn when each token was made.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// Where the engine's counters are shown.
pub struct Board {
    shown: Mutex<(EngineCounters, Option<Instant>)>,
}

impl Board {
    /// Nothing counted yet.
    pub fn new(engines: &Engines) -> Board {
        Board { shown: Mutex::new((engines.counters(), None)) }
    }

    /// What was shown last.
    pub fn read(&self) -> EngineCounters {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn show(&self, engines: &Engines) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let due = shown.1.is_none_or(|at| at.elapsed() >= SHOWN_EVERY);
        if due {
            *shown = (engines.counters(), Some(Instant::now()));
        }
    }
}

/// What the shell asks of the engine.
pub enum Command {
    /// Apply template and tokenizer.
    Prompt(SequenceId, Digest, ChatRequest),
    /// Start a sequence.
    Submit(SequenceId, GenerateRequest),
    /// Tokenize texts.
    PromptTexts(SequenceId, Digest, Vec<EmbedInput>),
    /// Start embedding them.
    SubmitTexts(SequenceId, EmbedRequest),
    /// Stop one at the next step.
    Cancel(SequenceId),
    /// End the thread, give the engines back.
    Stop,
}

/// Runs until told to stop. `report` gets every event in the order it happened.
pub fn work(
    mut engines: Engines,
    commands: &Receiver<Command>,
    board: &Board,
    report: impl Fn(Event),
) -> Engines {
    // What an earlier epoch kept of its prompts ends with it.
    engines.forget_prefixes();
    loop {
        while let Some(command) = next(&engines, commands) {
            match command {
                Command::Prompt(sequence, model, chat) => {
                    let result = engines.prompt(&model, &chat);
                    report(Event::Prompted { sequence, result });
                }
                Command::Submit(sequence, request) => {
                    if let Err(error) = engines.submit(sequence, request) {
                        report(Event::SubmitRefused { sequence, error });
                    }
                }
                Command::PromptTexts(sequence, model, texts) => {
                    let result = engines.prompt_texts(&model, &texts);
                    report(Event::TextsPrompted { sequence, result });
                }
                Command::SubmitTexts(sequence, request) => {
                    if let Err(error) = engines.submit_texts(sequence, request) {
                        report(Event::SubmitRefused { sequence, error });
                    }
                }
                Command::Cancel(sequence) => engines.cancel(sequence),
                Command::Stop => return engines,
            }
        }
        for output in engines.step() {
            report(Event::Output(output));
        }
        board.show(&engines);
    }
}

/// The next command: waits for one when the engines are idle.
fn next(engines: &Engines, commands: &Receiver<Command>) -> Option<Command> {
    if engines.is_idle() {
        return Some(commands.recv().unwrap_or(Command::Stop));
    }
    match commands.try_recv() {
        Ok(command) => Some(command),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => Some(Command::Stop),
    }
}
