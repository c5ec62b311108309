//! The engine's thread: takes commands between steps, hands outputs back.

use std::sync::mpsc::{Receiver, TryRecvError};

use bulla_engine::{ChatRequest, Engine, GenerateRequest, SequenceId};

use crate::Event;

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
