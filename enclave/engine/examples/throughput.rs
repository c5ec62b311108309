//! How fast a model runs here: reading a prompt of 512 digits (one token each in Qwen's
//! vocabularies), and decoding alone and in company.
//!
//! `cargo run --release -p bulla-engine --example throughput -- MODEL [none|q8_0|q4_0]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bulla_engine::{
    BatchEngine, Engine, EngineLimits, GenerateRequest, Model, Quantisation, Sampling, SequenceId,
};

/// Tokens each sequence generates.
const ANSWER_TOKENS: u32 = 33;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a model: a folder or a GGUF file")?);
    let quantisation = match arguments.next().as_deref() {
        None | Some("none") => Quantisation::None,
        Some("q8_0") => Quantisation::Q8_0,
        Some("q4_0") => Quantisation::Q4_0,
        Some(other) => return Err(format!("no quantisation {other:?}").into()),
    };
    let started = Instant::now();
    let model = Arc::new(Model::load_quantised(&folder, quantisation, &mut |_| {})?);
    println!("loaded in {:.1} s", started.elapsed().as_secs_f64());
    let mut engine = BatchEngine::new(Arc::clone(&model), EngineLimits::default());
    println!("{} threads, {}", engine.threads(), engine.info().kernel_path);
    for _ in 0..3 {
        let seconds = run(&mut engine, 1, 512, 1)?;
        println!("read 512: {:.1} tokens/s", 512.0 / seconds);
        for streams in [1, 4, 16] {
            let short = run(&mut engine, streams, 8, 1)?;
            let whole = run(&mut engine, streams, 8, ANSWER_TOKENS)?;
            let tokens = streams as f64 * f64::from(ANSWER_TOKENS - 1);
            println!("decode, {streams} together: {:.1} tokens/s", tokens / (whole - short));
        }
    }
    Ok(())
}

/// Seconds until `streams` sequences have read `prompt` digits and generated `answer` tokens each.
fn run(
    engine: &mut BatchEngine,
    streams: u64,
    prompt: usize,
    answer: u32,
) -> Result<f64, Box<dyn std::error::Error>> {
    for id in 0..streams {
        let prompt = engine.model().prompt_text(&"7".repeat(prompt))?;
        let sampling = Sampling::greedy();
        let request = GenerateRequest::new(prompt, sampling, answer);
        engine.submit(SequenceId(id), request)?;
    }
    let started = Instant::now();
    while !engine.is_idle() {
        engine.step();
    }
    Ok(started.elapsed().as_secs_f64())
}
