//! The writer: one thread that owns the store. It drains its queue into one batch, so that many
//! requests share one durable commit.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bulla_wire::units::UnixMillis;

use super::store::{Results, Store};
use crate::ledger::{Command, StoreError};

/// Most jobs that wait; more are turned away.
pub const MAX_QUEUED_JOBS: usize = 8192;
/// A batch takes no further job once it has this many commands.
pub const MAX_BATCH_COMMANDS: usize = 1024;

type Done = Box<dyn FnOnce(Result<Results, StoreError>) + Send>;

struct Job {
    commands: Vec<Command>,
    done: Done,
}

/// A handle to the writer thread. Jobs are carried out in the order they were submitted.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Job>,
}

impl Writer {
    /// Starts the thread. It ends when every handle is gone and the queue is empty.
    pub fn start(
        store: Box<dyn Store>,
        clock: impl Fn() -> UnixMillis + Send + 'static,
    ) -> std::io::Result<(Writer, JoinHandle<()>)> {
        let (queue, jobs) = sync_channel(MAX_QUEUED_JOBS);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || write(store, &jobs, clock))?;
        Ok((Writer { queue }, thread))
    }

    /// Submits a job; `done` is called on the writer's thread once it is durable or failed.
    pub fn submit(
        &self,
        commands: Vec<Command>,
        done: impl FnOnce(Result<Results, StoreError>) + Send + 'static,
    ) {
        let job = Job { commands, done: Box::new(done) };
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                (job.done)(Err(StoreError::Stopped));
            }
        }
    }

    /// Submits a job and waits for it.
    pub fn execute(&self, commands: Vec<Command>) -> Result<Results, StoreError> {
        let (answer, result) = sync_channel(1);
        self.submit(commands, move |results| {
            // Nobody waits any more: nothing to do.
            let _ = answer.send(results);
        });
        result.recv().unwrap_or(Err(StoreError::Stopped))
    }
}

fn write(mut store: Box<dyn Store>, jobs: &Receiver<Job>, clock: impl Fn() -> UnixMillis) {
    while let Ok(first) = jobs.recv() {
        let mut batch = first.commands;
        let mut parts = vec![(batch.len(), first.done)];
        while batch.len() < MAX_BATCH_COMMANDS {
            let Ok(job) = jobs.try_recv() else { break };
            parts.push((job.commands.len(), job.done));
            batch.extend(job.commands);
        }
        match store.execute(&batch, clock()) {
            Ok(results) => {
                let mut results = results.into_iter();
                for (count, done) in parts {
                    done(Ok(results.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                tracing::error!(%error, commands = batch.len(), "the ledger could not be written");
                for (_, done) in parts {
                    done(Err(error.clone()));
                }
            }
        }
    }
}
