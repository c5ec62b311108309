//! The engine that runs models: a continuous batch over candle's tensors.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::answer::Answer;
use crate::chat::{ChatRequest, Prompt, PromptError};
use crate::contract::{Engine, EngineInfo, Finish, Output};
use crate::decoder::{KvCache, Wanted};
use crate::manifest::Manifest;
use crate::model::Model;
use crate::request::{GenerateRequest, SequenceId, SubmitError};
use crate::sampler::Sampler;

/// Tokens of a prompt computed in one pass. Every prompt is cut at multiples of it, whatever runs
/// beside: another cut may round differently in the last bit.
const PASS_TOKENS: usize = 64;

/// What an engine may hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Sequences that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Keys and values of all running sequences, in bytes of memory, reserved for the longest
    /// answer each asked for.
    pub cache_bytes: u64,
}

impl Default for EngineLimits {
    /// Fits a machine of a few gigabytes.
    fn default() -> Self {
        EngineLimits { running: 16, queued: 256, cache_bytes: 2 << 30 }
    }
}

/// Runs one [`Model`] on this machine's processors.
pub struct CandleEngine {
    model: Arc<Model>,
    limits: EngineLimits,
    queue: VecDeque<Waiting>,
    running: Vec<Running>,
    reserved_bytes: u64,
}

struct Waiting {
    answer: Answer,
    request: GenerateRequest,
    cache_bytes: u64,
    cancelled: bool,
}

struct Running {
    answer: Answer,
    prompt: Prompt,
    sampler: Sampler,
    cache: KvCache,
    cache_bytes: u64,
    /// The token chosen last, not yet in the cache; `None` while the prompt is being read.
    last: Option<u32>,
    cancelled: bool,
}

impl CandleEngine {
    /// An idle engine.
    pub fn new(model: Arc<Model>, limits: EngineLimits) -> Self {
        CandleEngine {
            model,
            limits,
            queue: VecDeque::new(),
            running: Vec::new(),
            reserved_bytes: 0,
        }
    }

    /// The model that runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn end_cancelled(&mut self, outputs: &mut Vec<Output>) {
        let mut freed = 0;
        self.running.retain_mut(|running| {
            if running.cancelled {
                outputs.push(running.answer.end(Finish::Cancelled));
                freed += running.cache_bytes;
            }
            !running.cancelled
        });
        self.reserved_bytes -= freed;
        self.queue.retain_mut(|waiting| {
            if waiting.cancelled {
                outputs.push(waiting.answer.end(Finish::Cancelled));
            }
            !waiting.cancelled
        });
    }

    /// Starts what fits, strictly in order: nobody is overtaken for ever.
    fn admit(&mut self) {
        while let Some(next) = self.queue.front() {
            let room = self.limits.cache_bytes - self.reserved_bytes;
            if self.running.len() >= self.limits.running || next.cache_bytes > room {
                return;
            }
            let Some(Waiting { answer, request, cache_bytes, cancelled }) = self.queue.pop_front()
            else {
                return;
            };
            let tokens = request.prompt.token_count() as usize + request.max_tokens as usize;
            self.reserved_bytes += cache_bytes;
            self.running.push(Running {
                answer,
                sampler: Sampler::new(request.sampling),
                cache: self.model.decoder().cache(tokens),
                cache_bytes,
                prompt: request.prompt,
                last: None,
                cancelled,
            });
        }
    }

    /// One pass for every sequence that answers, and about one pass for those that still read
    /// their prompt, oldest first, so that long prompts do not stop the others.
    fn advance(&mut self, outputs: &mut Vec<Output>) {
        let mut prompt_room = PASS_TOKENS;
        let model = &self.model;
        let mut freed = 0;
        self.running.retain_mut(|running| {
            let output = if running.last.is_some() {
                running.decode(model)
            } else if running.next_pass().len() <= prompt_room {
                prompt_room -= running.next_pass().len();
                running.prefill(model)
            } else {
                // Who does not fit is not overtaken by a shorter one either.
                prompt_room = 0;
                None
            };
            let ended = output.as_ref().is_some_and(|output| output.finish.is_some());
            outputs.extend(output);
            freed += if ended { running.cache_bytes } else { 0 };
            !ended
        });
        self.reserved_bytes -= freed;
    }
}

impl Running {
    /// The part of the prompt that the next pass reads.
    fn next_pass(&self) -> std::ops::Range<usize> {
        let from = self.cache.len();
        from..self.prompt.tokens().len().min(from + PASS_TOKENS)
    }

    /// Reads one pass of the prompt; chooses the first token when that was the last one.
    fn prefill(&mut self, model: &Model) -> Option<Output> {
        let pass = self.next_pass();
        let last = pass.end == self.prompt.tokens().len();
        let wanted = if last { Wanted::Last } else { Wanted::Nothing };
        let count = pass.len() as u32;
        let tokens = &self.prompt.tokens()[pass];
        match model.decoder().forward(tokens, &mut self.cache, wanted) {
            Ok(logits) => {
                self.answer.count_prefill(count);
                last.then(|| self.choose(model, &logits))
            }
            Err(error) => Some(self.answer.end(Finish::Error(error.to_string()))),
        }
    }

    /// Computes the token chosen last and chooses the next.
    fn decode(&mut self, model: &Model) -> Option<Output> {
        let token = self.last?;
        match model.decoder().forward(&[token], &mut self.cache, Wanted::Last) {
            Ok(logits) => Some(self.choose(model, &logits)),
            Err(error) => Some(self.answer.end(Finish::Error(error.to_string()))),
        }
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

impl Engine for CandleEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            model: self.model.name().into(),
            manifest_digest: self.model.manifest().digest(),
            context_tokens: self.model.context_tokens(),
            accel: format!("cpu:{}", std::env::consts::ARCH),
            kernel_path: "f32/gemm+dot".into(),
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
        let tokens = u64::from(request.prompt.token_count()) + u64::from(request.max_tokens);
        let cache_bytes = self.model.decoder().cache_bytes(tokens);
        if cache_bytes > self.limits.cache_bytes {
            return Err(SubmitError::CacheBytes {
                limit: self.limits.cache_bytes,
                need: cache_bytes,
            });
        }
        if self.queue.len() >= self.limits.queued {
            return Err(SubmitError::QueueFull { limit: self.limits.queued });
        }
        let answer = Answer::new(id, &request);
        self.queue.push_back(Waiting { answer, request, cache_bytes, cancelled: false });
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
