//! The shipped demo model does what its card says, through the engine that serves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_engine::{
    BatchEngine, ChatRequest, Engine, EngineLimits, GenerateRequest, Model, Sampling, SequenceId,
};

/// Cases taken, evenly spread over the held-out file: enough to notice a broken engine or model,
/// few enough for every test run.
const CASES: usize = 40;
/// The card says 93.5 %. With 40 cases, fewer than 34 right has a chance of about one in a hundred.
const LEAST_RIGHT: usize = 34;
const MAX_ANSWER_TOKENS: u32 = 200;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo")
}

fn cases() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder().join("held-out.jsonl")).expect("held-out cases");
    let all: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("one case a line")).collect();
    let step = all.len() / CASES;
    let field = |case: &serde_json::Value, name: &str| case[name].as_str().expect(name).to_owned();
    all.iter()
        .step_by(step)
        .take(CASES)
        .map(|case| (field(case, "text"), field(case, "expected")))
        .collect()
}

/// Answers all prompts in one batch.
fn answers(engine: &mut BatchEngine, prompts: &[String]) -> Vec<String> {
    let mut texts = vec![String::new(); prompts.len()];
    for (i, text) in prompts.iter().enumerate() {
        let prompt = engine.prompt(&ChatRequest::user(text.clone())).expect("a prompt");
        let room = engine.info().context_tokens - prompt.token_count();
        let max_tokens = MAX_ANSWER_TOKENS.min(room);
        let sampling = Sampling::greedy();
        let request = GenerateRequest::new(prompt, sampling, max_tokens);
        engine.submit(SequenceId(i as u64), request).expect("room in the queue");
    }
    while !engine.is_idle() {
        for output in engine.step() {
            texts[output.id.0 as usize].push_str(&output.text);
        }
    }
    texts
}

#[test]
fn the_demo_model_reads_held_out_invoice_lines() {
    let model = Model::load(&folder().join("bulla-demo"), &mut |_| {}).expect("the shipped model");
    let mut engine = BatchEngine::new(Arc::new(model), EngineLimits::default());
    let cases = cases();
    let prompts: Vec<_> = cases.iter().map(|(text, _)| text.clone()).collect();
    let answers = answers(&mut engine, &prompts);
    let right = answers.iter().zip(&cases).filter(|(got, (_, expected))| *got == expected).count();
    println!("{right} of {} held-out cases exactly right", cases.len());
    assert!(right >= LEAST_RIGHT, "{right} of {} right, at least {LEAST_RIGHT}", cases.len());
}
