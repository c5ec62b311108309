//! Asks a model folder one question and prints its answer as it comes.
//!
//! `cargo run --release -p bulla-engine --example generate -- DIR "question" [MAX_TOKENS]`
//! A model without chat template continues the text instead.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bulla_engine::{
    BatchEngine, ChatRequest, Engine, EngineLimits, GenerateRequest, Model, PromptError, Sampling,
    SequenceId,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, question, rest @ ..] = arguments.as_slice() else {
        return Err("usage: generate DIR \"question\" [MAX_TOKENS]".into());
    };
    let asked: u32 = rest.first().map_or(Ok(256), |tokens| tokens.parse())?;
    let start = Instant::now();
    let model = Arc::new(Model::load(Path::new(folder), &mut |_| {})?);
    eprintln!("{}: loaded in {:.1?}", model.name(), start.elapsed());
    eprintln!("{}", String::from_utf8_lossy(model.manifest().bytes()));

    let prompt = match model.prompt(&ChatRequest::user(question)) {
        Err(PromptError::NoTemplate) => model.prompt_text(question)?,
        other => other?,
    };
    let max_tokens = asked.min(model.context_tokens() - prompt.token_count());
    let request = GenerateRequest::new(prompt, Sampling::greedy(), max_tokens);
    let mut engine = BatchEngine::new(model, EngineLimits::default());
    engine.submit(SequenceId(1), request)?;
    let start = Instant::now();
    let mut first = None;
    while !engine.is_idle() {
        for output in engine.step() {
            first.get_or_insert_with(|| start.elapsed());
            print!("{}", output.text);
            std::io::stdout().flush()?;
            if let Some(finish) = output.finish {
                let usage = output.usage;
                let later = start.elapsed() - first.unwrap_or_default();
                let speed = f64::from(usage.output_tokens.saturating_sub(1)) / later.as_secs_f64();
                println!();
                eprintln!("{finish:?}, {usage:?}");
                eprintln!(
                    "first token after {:.1?}, then {speed:.0} tokens/s",
                    first.unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}
