//! The engine that runs models: a continuous batch, one pass per step for all sequences together.

use std::sync::Arc;

use bulla_kernels::path::Path;
use bulla_kernels::pool::Pool;

use crate::answer::Answer;
use crate::chat::{ChatRequest, Prompt, PromptError};
use crate::contract::{Engine, EngineInfo, Finish, Output, Task, TokenLogprob, TokenLogprobs};
use crate::counters::EngineCounters;
use crate::decoder::{Arena, Machine, Room, Scratch, Span, Step, Wanted, page_bytes, pages_for};
use crate::grammar::Grammar;
use crate::manifest::Manifest;
use crate::model::{Model, available_threads};
use crate::request::{GenerateRequest, SequenceId, SubmitError};
use crate::sampler::{Allowed, LogSoftmax, Sampler};
use crate::serving::{Arrival, End, Overload, Part, Progress, Scheduler, SchedulerLimits, Secret};

/// What an engine may hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Sequences that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Requests of one tenant that wait.
    pub queued_per_tenant: usize,
    /// Keys and values of all running sequences and of kept prefixes, in bytes of memory. The
    /// operating system gives memory where it is used.
    pub cache_bytes: u64,
    /// Tokens of prompts read in one step, besides one for every sequence that answers: what those
    /// wait for. Prompts are cut wherever that comes out; no bit depends on it.
    pub prompt_tokens: usize,
    /// The same while no sequence answers; what a cancellation waits for.
    pub prompt_tokens_alone: usize,
    /// Threads that compute; `None`: as many as there are processors.
    pub threads: Option<usize>,
    /// The instructions that compute; `None`, and those that this processor lacks: the fastest it
    /// has. No bit depends on it.
    pub kernel_path: Option<Path>,
}

impl EngineLimits {
    /// The instructions that compute.
    pub(crate) fn path(&self) -> Path {
        self.kernel_path.filter(|path| path.is_available()).unwrap_or_else(Path::detect)
    }
}

impl Default for EngineLimits {
    /// Fits a machine of a few gigabytes.
    fn default() -> Self {
        EngineLimits {
            running: 16,
            queued: 256,
            queued_per_tenant: 128,
            cache_bytes: 2 << 30,
            prompt_tokens: 32,
            prompt_tokens_alone: 256,
            threads: None,
            kernel_path: None,
        }
    }
}

/// Tells the time in microseconds since any moment, never backwards.
pub type EngineClock = Box<dyn FnMut() -> u64 + Send>;

/// Runs one [`Model`] on this machine's processors.
pub struct BatchEngine {
    model: Arc<Model>,
    limits: EngineLimits,
    pool: Pool,
    path: Path,
    arena: Arena,
    scratch: Scratch,
    scheduler: Scheduler<Job>,
    clock: EngineClock,
    counters: EngineCounters,
    /// Empty between steps; their memory stays.
    parts: Vec<Part>,
    spans: Vec<Span<'static>>,
}

/// What belongs to a sequence beside its tokens.
struct Job {
    answer: Answer,
    sampler: Sampler,
    logprobs: Option<u8>,
    reasoning: Option<Reasoning>,
    grammar: Option<Grammar>,
    /// Which row of this step's logits is its own.
    row: Option<usize>,
    /// The token drawn from it, or why there is none.
    drawn: Option<Result<u32, String>>,
}

/// Where an answer stands in its reasoning, for models that mark it with tokens.
struct Reasoning {
    opens: u32,
    closes: u32,
    inside: bool,
}

impl Reasoning {
    fn of(model: &Model, prompt: &Prompt) -> Option<Reasoning> {
        let (opens, closes) = model.reasoning_tokens()?;
        Some(Reasoning { opens, closes, inside: prompt.opens_reasoning() })
    }

    /// Whether the next token belongs to it.
    fn takes(&mut self, token: u32) -> bool {
        let belongs = self.inside || token == self.opens;
        self.inside = belongs && token != self.closes;
        belongs
    }
}

impl BatchEngine {
    /// An idle engine without a clock.
    pub fn new(model: Arc<Model>, limits: EngineLimits) -> Self {
        let decoder = model.decoder();
        let pool = Pool::new(limits.threads.unwrap_or_else(available_threads));
        let arena = Arena::new(decoder.shape(), limits.cache_bytes);
        let room = Room {
            rows: limits.running + limits.prompt_tokens.max(limits.prompt_tokens_alone),
            logits: limits.running,
            spans: limits.running,
            context: model.context_tokens() as usize,
        };
        BatchEngine {
            scratch: decoder.scratch(&pool, room),
            scheduler: Scheduler::new(of_engine(&limits), arena.pages(), Secret([0; 32])),
            pool,
            path: limits.path(),
            arena,
            parts: Vec::with_capacity(limits.running),
            spans: Vec::with_capacity(limits.running),
            clock: Box::new(|| 0),
            counters: EngineCounters::default(),
            limits,
            model,
        }
    }

    /// With a clock for deadlines and device time.
    pub fn with_clock(self, clock: EngineClock) -> Self {
        BatchEngine { clock, ..self }
    }

    /// With random bytes that go into the names of shared pages. For an engine that has not run.
    pub fn with_secret(self, secret: [u8; 32]) -> Self {
        let limits = of_engine(&self.limits);
        let scheduler = Scheduler::new(limits, self.arena.pages(), Secret(secret));
        BatchEngine { scheduler, ..self }
    }

    /// The model that runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn end_from_outside(&mut self, now_us: u64, outputs: &mut Vec<Output>) {
        let counters = &mut self.counters;
        self.scheduler.reap(now_us, &mut self.arena, |mut job, end| {
            counters.count_end(false, job.answer.usage().output_tokens);
            outputs.push(job.answer.end(match end {
                End::Cancelled => Finish::Cancelled,
                End::Late => Finish::Deadline,
            }));
        });
    }

    /// One pass: the parts of all sequences that take part.
    fn advance(&mut self, started_us: u64, outputs: &mut Vec<Output>) {
        self.parts.clear();
        self.parts.extend_from_slice(self.scheduler.plan(&mut self.arena));
        if self.parts.is_empty() {
            return;
        }
        let mut spans = emptied(std::mem::take(&mut self.spans));
        spans.extend(self.parts.iter().map(|part| {
            let sequence = &self.scheduler.running()[part.index];
            Span {
                tokens: sequence.tokens(*part),
                start: sequence.read(),
                pages: sequence.table(),
                wanted: if part.whole { Wanted::Last } else { Wanted::Nothing },
            }
        }));
        let machine = Machine { pool: &self.pool, path: self.path };
        let step = Step { spans: &spans };
        let decoder = self.model.decoder();
        let logits = decoder.forward(machine, &step, &mut self.arena, &mut self.scratch);
        let took_us = (self.clock)().saturating_sub(started_us);
        self.counters.count_step(took_us);
        let read: usize = self.parts.iter().map(|part| part.tokens).sum();
        self.spans = emptied(spans);
        let mut rows = 0;
        for part in &self.parts {
            let progress = self.scheduler.advance(*part);
            count(&mut self.counters, progress);
            let job = &mut self.scheduler.running_mut(part.index).cargo;
            job.count(progress, took_us * part.tokens as u64 / read as u64);
            job.row = part.whole.then_some(rows);
            rows += usize::from(part.whole);
        }
        let row = |at: usize| &logits[at * decoder.vocab()..(at + 1) * decoder.vocab()];
        let running = self.scheduler.all_running_mut();
        self.pool.run_each(logits.len(), running, &|sequence| {
            let job = &mut sequence.cargo;
            job.drawn = job.row.map(|at| job.draw(row(at)));
        });
        for part in &self.parts {
            let job = &mut self.scheduler.running_mut(part.index).cargo;
            let Some((at, drawn)) = job.row.take().zip(job.drawn.take()) else { continue };
            let (token, output) = job.write(&self.model, drawn, row(at));
            if let Some(finish) = &output.finish {
                let delivered = !matches!(finish, Finish::Error(_));
                self.counters.count_end(delivered, output.usage.output_tokens);
            } else if let Some(token) = token {
                self.scheduler.push(part.index, token);
            }
            outputs.push(output);
        }
        self.scheduler.retire(&mut self.arena, |job| job.answer.has_ended());
    }

    fn check(&self, id: SequenceId, request: &GenerateRequest) -> Result<(), SubmitError> {
        let (digest, vocab) = (self.model.manifest().digest(), self.model.decoder().vocab());
        request.check(&digest, self.model.context_tokens(), vocab)?;
        if self.scheduler.has(id) {
            return Err(SubmitError::DuplicateId { id });
        }
        let tokens = request.prompt.token_count() as usize + request.max_tokens as usize;
        let pages = pages_for(tokens);
        if pages > self.arena.pages() {
            let need = (pages * page_bytes(self.model.decoder().shape())) as u64;
            return Err(SubmitError::CacheBytes { limit: self.limits.cache_bytes, need });
        }
        Ok(())
    }
}

/// The same memory for spans of another life.
#[allow(clippy::unnecessary_filter_map, reason = "the spans' lifetime changes")]
fn emptied<'b>(mut spans: Vec<Span<'_>>) -> Vec<Span<'b>> {
    spans.clear();
    spans.into_iter().filter_map(|_| None).collect()
}

fn of_engine(limits: &EngineLimits) -> SchedulerLimits {
    SchedulerLimits {
        running: limits.running,
        queued: limits.queued,
        queued_per_tenant: limits.queued_per_tenant,
        prompt_tokens: limits.prompt_tokens,
        prompt_tokens_alone: limits.prompt_tokens_alone,
    }
}

fn count(counters: &mut EngineCounters, progress: Progress) {
    counters.prompt_tokens += progress.prompt as u64;
    counters.cached_tokens += progress.cached as u64;
    counters.recomputed_tokens += progress.recomputed as u64;
}

impl Job {
    fn count(&mut self, progress: Progress, device_us: u64) {
        self.answer.count_prefill(progress.prompt as u32);
        self.answer.count_cached(progress.cached as u32);
        self.answer.count_recomputed(progress.recomputed as u32);
        self.answer.count_time(device_us);
    }

    /// What the next token does to the answer.
    fn write(
        &mut self,
        model: &Model,
        drawn: Result<u32, String>,
        logits: &[f32],
    ) -> (Option<u32>, Output) {
        let token = match drawn {
            Ok(token) => token,
            Err(reason) => return (None, self.answer.end(Finish::Error(reason))),
        };
        if model.stop_tokens().binary_search(&token).is_ok() {
            return (None, self.answer.stop(model.detokenizer()));
        }
        if self.reasoning.as_mut().is_some_and(|reasoning| reasoning.takes(token)) {
            self.answer.count_reasoning();
        }
        let mut output = self.answer.push(model.detokenizer(), token);
        if self.grammar.as_ref().is_some_and(Grammar::is_complete) {
            output = self.answer.close(model.detokenizer(), output);
        }
        output.logprobs = self.logprobs.map(|count| {
            Box::new(logprobs(model, &self.sampler.log_softmax(logits), token, count))
        });
        (Some(token), output)
    }

    /// A token, within the grammar unless the model still reasons.
    fn draw(&mut self, logits: &[f32]) -> Result<u32, String> {
        let reasons = self.reasoning.as_ref().is_some_and(|reasoning| reasoning.inside);
        let grammar = self.grammar.as_mut().filter(|_| !reasons);
        let not_finite = || "the model computed a number that is not finite".to_owned();
        let Some(grammar) = grammar else {
            return self.sampler.choose(logits, None).ok_or_else(not_finite);
        };
        let allowed = grammar.allowed()?;
        let token = self.sampler.choose(logits, Some(Allowed(&allowed))).ok_or_else(not_finite)?;
        grammar.take(token)?;
        Ok(token)
    }
}

fn logprobs(model: &Model, soft: &LogSoftmax<'_>, token: u32, count: u8) -> TokenLogprobs {
    let told = |(id, logprob): (u32, f32)| TokenLogprob {
        text: model.detokenizer().text(&[id]).unwrap_or_default(),
        logprob,
    };
    TokenLogprobs {
        chosen: told((token, soft.of(token))),
        top: soft.top(usize::from(count)).into_iter().map(told).collect(),
    }
}

impl Engine for BatchEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            model: self.model.name().into(),
            manifest_digest: self.model.manifest().digest(),
            task: Task::Generate,
            context_tokens: self.model.context_tokens(),
            accel: format!("cpu:{}", std::env::consts::ARCH),
            family: self.model.manifest().architecture().into(),
            quantisation: self.model.manifest().quantisation().into(),
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
        self.check(id, &request)?;
        let answer = Answer::new(id, &request);
        let grammar =
            request.schema.as_deref().map(|schema| self.model.grammar(schema)).transpose()?;
        let GenerateRequest {
            prompt, sampling, tenant, prefix, run_ms, logprobs, max_tokens, ..
        } = request;
        let reasoning = Reasoning::of(&self.model, &prompt);
        // Room for the whole answer, which `check` has bounded: no step makes any.
        let mut tokens = Vec::with_capacity(prompt.tokens().len() + max_tokens as usize);
        tokens.extend_from_slice(prompt.tokens());
        let sampler = Sampler::new(sampling, &tokens, self.path);
        let late = |run_ms: u64| (self.clock)().saturating_add(run_ms.saturating_mul(1000));
        let late_at_us = run_ms.map(late);
        let (row, drawn) = (None, None);
        let cargo = Job { answer, sampler, logprobs, reasoning, grammar, row, drawn };
        let arrival = Arrival { id, tenant, prefix, tokens, late_at_us, cargo };
        self.scheduler.submit(arrival).map_err(|overload| match overload {
            Overload::Queue => SubmitError::QueueFull { limit: self.limits.queued },
            Overload::Tenant => {
                SubmitError::TenantQueueFull { limit: self.limits.queued_per_tenant }
            }
        })
    }

    fn cancel(&mut self, id: SequenceId) {
        self.scheduler.cancel(id);
    }

    fn step(&mut self) -> Vec<Output> {
        let started_us = (self.clock)();
        let mut outputs = Vec::with_capacity(self.limits.running);
        self.end_from_outside(started_us, &mut outputs);
        self.advance(started_us, &mut outputs);
        outputs
    }

    fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    fn forget_prefixes(&mut self) {
        self.scheduler.forget_prefixes(&mut self.arena);
    }

    fn counters(&self) -> EngineCounters {
        let pages = self.scheduler.pages();
        EngineCounters {
            preemptions: self.scheduler.preemptions(),
            waiting: self.scheduler.waiting() as u64,
            running: self.scheduler.running().len() as u64,
            available_pages: pages.available() as u64,
            idle_pages: pages.idle() as u64,
            pages: pages.count() as u64,
            ..self.counters
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use super::*;
    use crate::request::Prefix;
    use crate::sampling::Sampling;

    /// Whatever ended, however it ended, leaves nothing on the pages but kept prefixes.
    #[test]
    fn keys_and_values_are_wiped_when_their_last_holder_ends() {
        let golden = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("golden/llama-tied-f32");
        let model = Arc::new(Model::load(&golden, &mut |_| {}).unwrap());
        let page = page_bytes(model.decoder().shape()) as u64;
        let limits = EngineLimits { cache_bytes: 12 * page, ..EngineLimits::default() };
        let mut engine = BatchEngine::new(Arc::clone(&model), limits);
        for round in 0..20_u64 {
            for id in 0..4 {
                let text = "Twelve jars of oil. ".repeat(1 + (round as usize + id) % 5);
                let prompt = model.prompt_text(&text).unwrap();
                let keep = id % 2 == 0;
                let prefix = Some(Prefix { scope: [id as u8; 32], keep });
                let request = GenerateRequest::new(prompt, Sampling::greedy(), 20);
                let id = SequenceId(round * 4 + id as u64);
                engine.submit(id, GenerateRequest { prefix, ..request }).unwrap();
            }
            for step in 0.. {
                if step == 5 {
                    engine.cancel(SequenceId(round * 4 + round % 4));
                }
                if engine.is_idle() {
                    break;
                }
                engine.step();
                let pages = engine.scheduler.pages();
                let free = pages.free();
                let held: Vec<u32> = (0..12).filter(|page| !free.contains(page)).collect();
                assert!(engine.arena.is_empty_beside(&held));
            }
        }
        let counters = engine.counters();
        assert!(counters.preemptions > 0 && counters.recomputed_tokens > 0, "{counters:?}");
        assert!(counters.cached_tokens > 0 && counters.idle_pages > 0);
        engine.forget_prefixes();
        assert!(engine.arena.is_empty_beside(&[]) && engine.counters().available_pages == 12);
    }
}
