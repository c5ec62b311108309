//! Sixteen clients at once: llama-server, our engine over plain HTTP, and the whole sealed path.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use bulla_engine::{BatchEngine, ChatRequest, Engine};

use super::candidate::{Candidate, digits};
use super::cost::Cost;
use super::load::{self, Load, Question, Service};
use super::plain::Plain;
use super::processor::{Account, Processor, Spent};
use super::row::{Goal, Row};
use super::shape::{Format, QWEN2_5_0_5B};
use super::{Bench, steps};
use crate::up::folders::Folders;
use crate::up::paper::Paper;
use crate::up::roles::{Home, Roles, Serving};

/// Clients, each of which asks the next question when it has the answer.
const CLIENTS: usize = 16;
/// Questions of each client in a run.
const QUESTIONS: usize = 2;
/// Tokens of a question, with the chat template.
const PROMPT_TOKENS: usize = 128;
/// Tokens of an answer.
const ANSWER_TOKENS: u32 = 64;

/// Questions of the client that is alone in a run.
const QUESTIONS_ALONE: usize = 6;
/// Tokens of an answer whose beginning counts.
const FEW_TOKENS: u32 = 8;

/// All rows of serving.
pub async fn measure(bench: &mut Bench, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let file = bench.file(&QWEN2_5_0_5B, Format::Q8_0)?;
    let candidate = Candidate::load(&file, bench.threads)?;
    // The same weights in the same memory, for both.
    let (home, engine) = (Home::With(Box::new(candidate.twin())), candidate.into_engine());
    let mut prompts = Prompts::new(&engine)?;
    let peer = match &mut bench.anchor {
        Some(anchor) => {
            let room = PROMPT_TOKENS + ANSWER_TOKENS as usize + 16;
            Some(anchor.serve(&file, CLIENTS, room)?)
        }
        None => None,
    };
    let plain_server = Plain::serve(engine).await?;
    let folders = Folders::open(folder)?;
    let (serving, mut paper) = (Serving::anywhere(), Paper::new(true));
    let mut roles = Roles::start_with(&folders, &file, home, serving, &mut paper).await?;
    let plain = Service::Plain(plain_server.address);
    let sealed = Service::Sealed(Arc::clone(&roles.client), roles.model.clone());
    let mut rows = Rows::new();
    let bar = steps(bench.runs, "16 clients");
    for service in [&plain, &sealed] {
        load::run(service, prompts.draw(1, 1), FEW_TOKENS).await?;
    }
    for _ in 0..bench.runs {
        if let Some(server) = &peer {
            let service = Service::Peer(server.address);
            let clients = prompts.draw(CLIENTS, QUESTIONS);
            rows.peer(&load::run(&service, clients, ANSWER_TOKENS).await?);
        }
        let questions = [(); 2].map(|()| prompts.draw(CLIENTS, QUESTIONS));
        let counted = plain_server.counters();
        let [(plainly, plain_spent), (sealedly, sealed_spent)] =
            both(&plain, &sealed, &questions).await?;
        rows.cost.add(&counted, &plain_server.counters());
        rows.plain(&plainly);
        rows.sealed(&sealedly);
        if let (Some(plain), Some(sealed)) = (plain_spent, sealed_spent) {
            rows.processor.add((&plain, plainly.tokens), (&sealed, sealedly.tokens));
        }
        // The same questions too, since the first text comes with the first token or with a later one.
        for question in prompts.draw(QUESTIONS_ALONE, 1) {
            let alone = load::run(&plain, vec![question.clone()], FEW_TOKENS).await?;
            let alone_sealed = load::run(&sealed, vec![question], FEW_TOKENS).await?;
            rows.alone(&alone, &alone_sealed);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    roles.stop().await?;
    Ok(rows.done())
}

/// What one side heard and used.
type Measured = (Load, Option<Spent>);

/// The same questions to both sides: plain, sealed, then others sealed, plain. A machine that grows
/// slower or faster meanwhile does so for both, and nobody is asked anything twice: prompts are kept.
async fn both(
    plain: &Service,
    sealed: &Service,
    [first, second]: &[Vec<Vec<Question>>; 2],
) -> anyhow::Result<[Measured; 2]> {
    let (mut plainly, mut sealedly) = (once(plain, first).await?, once(sealed, first).await?);
    add(&mut sealedly, once(sealed, second).await?);
    add(&mut plainly, once(plain, second).await?);
    Ok([plainly, sealedly])
}

async fn once(service: &Service, clients: &[Vec<Question>]) -> anyhow::Result<Measured> {
    let before = Account::now();
    let load = load::run(service, clients.to_vec(), ANSWER_TOKENS).await?;
    let spent = before.zip(Account::now()).map(|(before, after)| after.since(&before));
    Ok((load, spent))
}

fn add((load, spent): &mut Measured, (more, more_spent): Measured) {
    load.add(more);
    *spent = spent.zip(more_spent).map(|(spent, more)| spent.plus(more));
}

/// Questions of one length, all different.
struct Prompts {
    digits: usize,
    template: Vec<u32>,
    turn: usize,
    seed: u64,
    tokens_of: Vec<(char, u32)>,
}

impl Prompts {
    /// Learns from the engine what its template adds and how it numbers digits.
    fn new(engine: &BatchEngine) -> anyhow::Result<Prompts> {
        let whole = |text: &str| engine.prompt(&ChatRequest::user(text));
        let template = whole("00000000")?.tokens().to_vec();
        let turn =
            template.windows(8).position(|window| window.iter().all(|token| *token == window[0]));
        let turn = turn.ok_or_else(|| anyhow::anyhow!("a digit is not one token here"))?;
        let mut tokens_of = Vec::new();
        for digit in '0'..='9' {
            let prompt = whole(&digit.to_string().repeat(8))?;
            tokens_of.push((digit, prompt.tokens()[turn]));
        }
        ensure!(template.len() < PROMPT_TOKENS, "the chat template alone is too long");
        let digits = PROMPT_TOKENS - (template.len() - 8);
        Ok(Prompts { digits, template, turn, seed: 0, tokens_of })
    }

    /// Lists of questions nobody has asked.
    fn draw(&mut self, clients: usize, questions: usize) -> Vec<Vec<Question>> {
        (0..clients).map(|_| (0..questions).map(|_| self.next()).collect()).collect()
    }

    fn next(&mut self) -> Question {
        self.seed += 1;
        let text = digits(self.digits, self.seed);
        let number = |digit: char| self.tokens_of[digit as usize - '0' as usize].1;
        let (before, after) = (&self.template[..self.turn], &self.template[self.turn + 8..]);
        let tokens =
            before.iter().copied().chain(text.chars().map(number)).chain(after.iter().copied());
        Question { tokens: tokens.collect(), text }
    }
}

/// The rows while they fill.
struct Rows {
    rate: Row,
    first: Row,
    gap: Row,
    cost: Cost,
    sealed_rate: Row,
    sealed_first: Row,
    sealed_alone: Row,
    processor: Processor,
}

impl Rows {
    fn new() -> Rows {
        let over = "16 clients over HTTP";
        let through = "16 clients, sealed path";
        let (server, plain) = ("llama-server", "the same over HTTP");
        Rows {
            rate: Row::new(format!("{over}: all answers"), "tok/s", server)
                .with_goal(Goal::RatioAtLeast(2.5)),
            first: Row::new(format!("{over}: first token, median"), "ms", server)
                .with_goal(Goal::RatioAtMost(0.4)),
            gap: Row::new(format!("{over}: longest gap over the median one"), "", server)
                .with_goal(Goal::AtMost(3.0)),
            cost: Cost::new(over),
            sealed_rate: Row::new(format!("{through}: all answers"), "tok/s", plain)
                .with_goal(Goal::RatioAtLeast(0.98)),
            sealed_first: Row::new(format!("{through}: first text, median"), "ms", plain),
            sealed_alone: Row::new("1 client, sealed path: first text, median", "ms", plain)
                .with_goal(Goal::DifferenceAtMost(5.0)),
            processor: Processor::new(through, plain),
        }
    }

    fn peer(&mut self, load: &Load) {
        self.rate.anchor.push(load.tokens_per_second());
        self.first.anchor.push(load.median_first_ms());
        self.gap.anchor.push(load.worst_gap_ratio());
    }

    fn plain(&mut self, load: &Load) {
        self.rate.candidate.push(load.tokens_per_second());
        self.first.candidate.push(load.median_first_ms());
        self.gap.candidate.push(load.worst_gap_ratio());
        self.sealed_rate.anchor.push(load.tokens_per_second());
        self.sealed_first.anchor.push(load.median_first_text_ms());
    }

    fn sealed(&mut self, load: &Load) {
        self.sealed_rate.candidate.push(load.tokens_per_second());
        self.sealed_first.candidate.push(load.median_first_text_ms());
    }

    fn alone(&mut self, plain: &Load, sealed: &Load) {
        self.sealed_alone.anchor.push(plain.median_first_text_ms());
        self.sealed_alone.candidate.push(sealed.median_first_text_ms());
    }

    fn done(self) -> Vec<Row> {
        let mut rows = vec![self.rate, self.first, self.gap];
        rows.extend(self.cost.done());
        rows.extend([self.sealed_rate, self.sealed_first, self.sealed_alone]);
        rows.extend(self.processor.done());
        rows
    }
}
