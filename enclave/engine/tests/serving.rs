//! Many requests on little memory: the answers stay what each would get alone.

mod common;

use std::sync::Arc;

use bulla_engine::{
    BatchEngine, ChatRequest, Engine, EngineLimits, Finish, GenerateRequest, Model, Penalties,
    Prefix, Sampling, SequenceId, SubmitError, Tenant, TenantId, Usage,
};

use common::{GOLDEN, Told, collect, engine, greedy, model, run, told};

/// Bytes of a page of `qwen2-tied-bf16`: sixteen tokens, two layers of two heads of eight, keys
/// and values of four bytes.
const PAGE: u64 = 16 * 2 * 2 * 8 * 2 * 4;

/// Bytes of a page of any model, as the engine counts pages.
fn page_bytes(model: &Arc<Model>) -> u64 {
    let limits = EngineLimits { cache_bytes: 1 << 20, ..EngineLimits::default() };
    (1 << 20) / BatchEngine::new(Arc::clone(model), limits).counters().pages
}

fn alone(model: &Arc<Model>, request: GenerateRequest) -> Told {
    let mut engine = engine(model);
    engine.submit(SequenceId(1), request).unwrap();
    told(&mut engine, 1)
}

/// What does not depend on company: everything but how the prompt came to be read.
fn told_of(told: &Told) -> (&str, &Finish, u32, u32) {
    (&told.text, &told.finish, told.usage.input_tokens, told.usage.output_tokens)
}

fn requests(model: &Model) -> Vec<GenerateRequest> {
    let start = "Twelve jars of oil were sealed in the house of the scribe. ";
    let texts = ["", "Count them.", "Who saw it?", "And the seal? ", start, "x"];
    let request = |(at, text): (usize, &&str)| {
        let prompt = model.prompt_text(&format!("{start}{text}")).unwrap();
        let sampling = Sampling::new(1.1, 0.9, 0, at as u64).unwrap();
        let penalties = Penalties { repetition: 1.2, presence: 0.5, frequency: 0.1 };
        let sampling = match at % 3 {
            0 => Sampling::greedy(),
            1 => sampling.with_min_p(0.05).unwrap(),
            _ => sampling.with_penalties(penalties).unwrap(),
        };
        GenerateRequest::new(prompt, sampling, 25 + 3 * at as u32)
    };
    texts.iter().enumerate().map(request).collect()
}

#[test]
fn prefixes_and_preemption_change_no_answer() {
    let mut preemptions = 0;
    for name in GOLDEN {
        let model = model(name);
        let expected: Vec<Told> =
            requests(&model).into_iter().map(|request| alone(&model, request)).collect();
        for (pages, prompt_tokens) in [(14, 64), (14, 7), (40, 33)] {
            let limits = EngineLimits {
                cache_bytes: pages * page_bytes(&model),
                prompt_tokens,
                prompt_tokens_alone: prompt_tokens,
                ..EngineLimits::default()
            };
            let mut engine = BatchEngine::new(Arc::clone(&model), limits);
            let mut outputs = Vec::new();
            for round in 0..3 {
                for (at, request) in requests(&model).into_iter().enumerate() {
                    let tenant = Tenant { id: TenantId([at as u8 % 2; 32]), weight: 1 };
                    let scope = [at as u8 % 2; 32];
                    let prefix = (round > 0).then_some(Prefix { scope, keep: round == 2 });
                    let request = GenerateRequest { tenant, prefix, ..request };
                    let id = SequenceId((round * 10 + at) as u64);
                    engine.submit(id, request).unwrap();
                    outputs.extend(engine.step());
                }
            }
            outputs.extend(run(&mut engine));
            for round in 0..3 {
                for (at, expected) in expected.iter().enumerate() {
                    let got = collect(&outputs, (round * 10 + at) as u64);
                    assert_eq!(told_of(&got), told_of(expected), "{name}, {pages} pages");
                    let Usage { input_tokens, prefilled_tokens, cached_input_tokens, .. } =
                        got.usage;
                    assert_eq!(input_tokens, prefilled_tokens + cached_input_tokens);
                    assert!(round > 0 || cached_input_tokens == 0);
                }
            }
            let counters = engine.counters();
            assert!(counters.cached_tokens > 0, "{name}: {counters:?}");
            let end = outputs.iter().filter(|output| output.finish.is_some());
            let output: u64 = end.map(|output| u64::from(output.usage.output_tokens)).sum();
            assert_eq!((counters.delivered_tokens, counters.aborted_tokens), (output, 0));
            assert_eq!(counters.padded_tokens, 0);
            preemptions += counters.preemptions;
        }
    }
    assert!(preemptions > 10, "{preemptions}");
}

#[test]
fn a_kept_prefix_is_metered_as_cached_and_only_for_its_scope() {
    let model = model("qwen2-tied-bf16");
    let mut engine = engine(&model);
    let prompt = model.prompt_text(&"oil and wine ".repeat(12)).unwrap();
    let tokens = prompt.token_count();
    assert!(tokens > 32);
    let mut ask = |id, prefix| {
        let request = GenerateRequest { prefix, ..greedy(prompt.clone(), 3) };
        engine.submit(SequenceId(id), request).unwrap();
        told(&mut engine, id).usage
    };
    let scope = |name| Some(Prefix { scope: [name; 32], keep: true });
    assert_eq!(ask(1, scope(1)).cached_input_tokens, 0);
    let second = ask(2, scope(1));
    assert_eq!(second.cached_input_tokens, (tokens - 1) / 16 * 16);
    assert_eq!(second.prefilled_tokens, tokens - second.cached_input_tokens);
    assert_eq!(ask(3, scope(2)).cached_input_tokens, 0, "another tenant");
    assert_eq!(ask(4, None).cached_input_tokens, 0, "nobody");
    engine.forget_prefixes();
    assert_eq!(engine.counters().idle_pages, 0);
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    let model = model("llama-bias-f32");
    let prompt = model.prompt_text("Invoice").unwrap();
    let mut engine = engine(&model);
    let request = GenerateRequest { logprobs: Some(3), ..greedy(prompt.clone(), 4) };
    engine.submit(SequenceId(1), request).unwrap();
    let outputs = run(&mut engine);
    let first = outputs[0].logprobs.as_ref().unwrap();
    let logits = model.logits(prompt.tokens(), 64).unwrap().pop().unwrap();
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let expected = f64::from(highest) - total.ln();
    assert!((f64::from(first.chosen.logprob) - expected).abs() < 1e-4);
    assert_eq!(first.top.len(), 3);
    assert_eq!(
        (&first.top[0].text, first.top[0].logprob),
        (&first.chosen.text, first.chosen.logprob)
    );
    assert!(first.top[0].logprob >= first.top[1].logprob);
    let request = GenerateRequest { logprobs: Some(21), ..greedy(prompt, 4) };
    assert_eq!(engine.submit(SequenceId(2), request), Err(SubmitError::TopLogprobs { got: 21 }));
}

#[test]
fn refuses_a_bias_without_a_token_and_a_tenant_with_too_many_requests() {
    let model = model("qwen2-tied-bf16");
    let limits = EngineLimits { queued_per_tenant: 2, ..EngineLimits::default() };
    let mut engine = BatchEngine::new(Arc::clone(&model), limits);
    let prompt = model.prompt(&ChatRequest::user("oil")).unwrap();
    let vocab = model.logits(&[0], 1).unwrap()[0].len();
    let biased = |id| Sampling::greedy().with_logit_bias(vec![(id, 1.0)]).unwrap();
    let request = |id| GenerateRequest::new(prompt.clone(), biased(id), 4);
    let id = vocab as u32;
    let refused = engine.submit(SequenceId(1), request(id));
    assert_eq!(refused, Err(SubmitError::LogitBias { id, vocab }));
    for at in 0..2 {
        engine.submit(SequenceId(at), request(id - 1)).unwrap();
    }
    let refused = engine.submit(SequenceId(2), request(0));
    assert_eq!(refused, Err(SubmitError::TenantQueueFull { limit: 2 }));
}

#[test]
fn a_request_ends_at_its_deadline_and_time_is_shared_out() {
    let model = model("qwen2-tied-bf16");
    // Every look at the clock is a millisecond later.
    let mut now_us = 0;
    let clock = Box::new(move || {
        now_us += 1000;
        now_us
    });
    let limits = EngineLimits { cache_bytes: 40 * PAGE, ..EngineLimits::default() };
    let mut engine = BatchEngine::new(Arc::clone(&model), limits).with_clock(clock);
    let prompt = model.prompt_text("oil").unwrap();
    for (id, run_ms) in [(1, Some(20)), (2, None)] {
        let request = GenerateRequest { run_ms, ..greedy(prompt.clone(), 100) };
        engine.submit(SequenceId(id), request).unwrap();
    }
    let outputs = run(&mut engine);
    let (late, whole) = (collect(&outputs, 1), collect(&outputs, 2));
    assert_eq!(late.finish, Finish::Deadline);
    assert!(late.usage.output_tokens < 12, "{:?}", late.usage);
    assert!(whole.finish != Finish::Deadline && whole.usage.device_us > late.usage.device_us);
    let counters = engine.counters();
    assert_eq!(counters.aborted_tokens, u64::from(late.usage.output_tokens));
    assert_eq!(counters.device_us, counters.steps * 1000);
    assert!(late.usage.device_us + whole.usage.device_us <= counters.device_us);
}
