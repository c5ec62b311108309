//! The engine that runs models: a continuous batch, one pass per step for all sequences together.

use std::collections::VecDeque;
use std::sync::Arc;

use bulla_kernels::path::Path;
use bulla_kernels::pool::Pool;

use crate::answer::Answer;
use crate::chat::{ChatRequest, Prompt, PromptError};
use crate::contract::{Engine, EngineInfo, Finish, Output};
use crate::decoder::{Arena, Machine, Room, Scratch, Span, Step, Wanted, page_bytes, pages_for};
use crate::manifest::Manifest;
use crate::model::{Model, available_threads};
use crate::request::{GenerateRequest, SequenceId, SubmitError};
use crate::sampler::Sampler;

/// Tokens of prompts read in one step, besides one for every sequence that answers: what those wait
/// for. Prompts are cut wherever that comes out; no bit depends on it.
const PROMPT_TOKENS: usize = 64;

/// What an engine may hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Sequences that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Keys and values of all running sequences, in bytes of memory, reserved for the longest
    /// answer each asked for. The operating system gives memory where it is used.
    pub cache_bytes: u64,
    /// Threads that compute; `None`: as many as there are processors.
    pub threads: Option<usize>,
}

impl Default for EngineLimits {
    /// Fits a machine of a few gigabytes.
    fn default() -> Self {
        EngineLimits { running: 16, queued: 256, cache_bytes: 2 << 30, threads: None }
    }
}

/// Runs one [`Model`] on this machine's processors.
pub struct BatchEngine {
    model: Arc<Model>,
    limits: EngineLimits,
    pool: Pool,
    path: Path,
    arena: Arena,
    scratch: Scratch,
    queue: VecDeque<Waiting>,
    running: Vec<Running>,
}

struct Waiting {
    answer: Answer,
    request: GenerateRequest,
    pages: usize,
    cancelled: bool,
}

struct Running {
    answer: Answer,
    prompt: Prompt,
    sampler: Sampler,
    /// Lent by the arena, for prompt and longest answer.
    pages: Vec<u32>,
    /// Tokens whose keys and values are there.
    read: usize,
    /// The token chosen last, not read yet; `None` while the prompt is.
    last: Option<u32>,
    cancelled: bool,
}

impl BatchEngine {
    /// An idle engine.
    pub fn new(model: Arc<Model>, limits: EngineLimits) -> Self {
        let decoder = model.decoder();
        let pool = Pool::new(limits.threads.unwrap_or_else(available_threads));
        let arena = Arena::new(decoder.shape(), limits.cache_bytes);
        let rows = limits.running + PROMPT_TOKENS;
        let room = Room {
            rows,
            logits: limits.running,
            spans: limits.running,
            context: model.context_tokens() as usize,
        };
        BatchEngine {
            scratch: decoder.scratch(&pool, room),
            pool,
            path: Path::detect(),
            arena,
            limits,
            queue: VecDeque::new(),
            running: Vec::new(),
            model,
        }
    }

    /// The model that runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn end_cancelled(&mut self, outputs: &mut Vec<Output>) {
        self.running.retain_mut(|running| {
            if running.cancelled {
                outputs.push(running.answer.end(Finish::Cancelled));
                self.arena.give_back(std::mem::take(&mut running.pages));
            }
            !running.cancelled
        });
        self.queue.retain_mut(|waiting| {
            if waiting.cancelled {
                outputs.push(waiting.answer.end(Finish::Cancelled));
            }
            !waiting.cancelled
        });
    }

    /// Starts what fits, strictly in order: nobody is overtaken for ever.
    fn admit(&mut self) {
        while self.running.len() < self.limits.running {
            let Some(pages) = self.queue.front().and_then(|next| self.arena.lend(next.pages))
            else {
                return;
            };
            let Some(Waiting { answer, request, cancelled, .. }) = self.queue.pop_front() else {
                return;
            };
            self.running.push(Running {
                answer,
                sampler: Sampler::new(request.sampling),
                pages,
                read: 0,
                prompt: request.prompt,
                last: None,
                cancelled,
            });
        }
    }

    /// One pass: a token of every sequence that answers, and parts of the prompts of those that do
    /// not yet, oldest first, so that long prompts do not stop the others.
    fn advance(&mut self, outputs: &mut Vec<Output>) {
        let mut room = PROMPT_TOKENS;
        let mut spans = Vec::with_capacity(self.running.len());
        let mut takes_part = Vec::with_capacity(self.running.len());
        for running in &self.running {
            let span = running.span(&mut room);
            takes_part.push(span.map(|span| (span.tokens.len(), span.wanted)));
            spans.extend(span);
        }
        if spans.is_empty() {
            return;
        }
        let machine = Machine { pool: &self.pool, path: self.path };
        let step = Step { spans: &spans };
        let decoder = self.model.decoder();
        let logits = decoder.forward(machine, &step, &mut self.arena, &mut self.scratch);
        let mut rows = logits.chunks_exact(decoder.vocab());
        for (running, part) in self.running.iter_mut().zip(takes_part) {
            let Some((tokens, wanted)) = part else { continue };
            let row = (wanted == Wanted::Last).then(|| rows.next()).flatten();
            outputs.extend(running.take(&self.model, tokens, row));
        }
        let ended = |running: &mut Running| running.answer.has_ended();
        for mut running in self.running.extract_if(.., ended) {
            self.arena.give_back(std::mem::take(&mut running.pages));
        }
    }
}

impl Running {
    /// What the next pass reads of this sequence; takes prompt tokens out of `room`.
    fn span(&self, room: &mut usize) -> Option<Span<'_>> {
        let (tokens, wanted) = match &self.last {
            Some(token) => (std::slice::from_ref(token), Wanted::Last),
            None => {
                let rest = &self.prompt.tokens()[self.read..];
                let tokens = &rest[..rest.len().min(*room)];
                *room -= tokens.len();
                let whole = tokens.len() == rest.len();
                (tokens, if whole { Wanted::Last } else { Wanted::Nothing })
            }
        };
        let span = Span { tokens, start: self.read, pages: &self.pages, wanted };
        (!tokens.is_empty()).then_some(span)
    }

    /// A pass has read `tokens` more; `logits` where they were wanted.
    fn take(&mut self, model: &Model, tokens: usize, logits: Option<&[f32]>) -> Option<Output> {
        self.read += tokens;
        if self.last.is_none() {
            self.answer.count_prefill(tokens as u32);
        }
        Some(self.choose(model, logits?))
    }

    fn choose(&mut self, model: &Model, logits: &[f32]) -> Output {
        let Some(token) = self.sampler.choose(logits) else {
            let reason = "the model computed a number that is not finite";
            return self.answer.end(Finish::Error(reason.into()));
        };
        if model.stop_tokens().binary_search(&token).is_ok() {
            return self.answer.stop(model.detokenizer());
        }
        self.last = Some(token);
        self.answer.push(model.detokenizer(), token)
    }
}

impl Engine for BatchEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            model: self.model.name().into(),
            manifest_digest: self.model.manifest().digest(),
            context_tokens: self.model.context_tokens(),
            accel: format!("cpu:{}", std::env::consts::ARCH),
            kernel_path: self.path.name().into(),
        }
    }

    fn manifest(&self) -> &Manifest {
        self.model.manifest()
    }

    fn prompt(&self, chat: &ChatRequest) -> Result<Prompt, PromptError> {
        self.model.prompt(chat)
    }

    fn submit(&mut self, id: SequenceId, request: GenerateRequest) -> Result<(), SubmitError> {
        request.check(&self.model.manifest().digest(), self.model.context_tokens())?;
        let mut ids = self.running.iter().map(|running| running.answer.id());
        let mut waiting = self.queue.iter().map(|waiting| waiting.answer.id());
        if ids.any(|other| other == id) || waiting.any(|other| other == id) {
            return Err(SubmitError::DuplicateId { id });
        }
        let tokens = request.prompt.token_count() as usize + request.max_tokens as usize;
        let pages = pages_for(tokens);
        if pages > self.arena.pages() {
            let need = (pages * page_bytes(self.model.decoder().shape())) as u64;
            return Err(SubmitError::CacheBytes { limit: self.limits.cache_bytes, need });
        }
        if self.queue.len() >= self.limits.queued {
            return Err(SubmitError::QueueFull { limit: self.limits.queued });
        }
        let answer = Answer::new(id, &request);
        self.queue.push_back(Waiting { answer, request, pages, cancelled: false });
        Ok(())
    }

    fn cancel(&mut self, id: SequenceId) {
        for running in self.running.iter_mut().filter(|running| running.answer.id() == id) {
            running.cancelled = true;
        }
        for waiting in self.queue.iter_mut().filter(|waiting| waiting.answer.id() == id) {
            waiting.cancelled = true;
        }
    }

    fn step(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.end_cancelled(&mut outputs);
        self.admit();
        self.advance(&mut outputs);
        outputs
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.queue.is_empty()
    }
}
