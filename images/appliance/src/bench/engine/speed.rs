//! Reading and decoding, engine against engine.

use bulla_engine::Sampling;

use super::candidate::Candidate;
use super::row::{Goal, Row};
use super::shape::{Format, Shape};
use super::{Bench, bandwidth, steps};

/// Tokens of the prompt that is read.
const READ_TOKENS: usize = 512;
/// Tokens decoded by one stream.
const DECODE_TOKENS: usize = 64;
/// Answers together.
const STREAMS: usize = 16;
/// Tokens of their prompts, and of the answers.
const TOGETHER_TOKENS: (usize, usize) = (32, 32);

/// Rows of one file; only the main one is held to goals.
pub fn measure(
    bench: &mut Bench,
    shape: &Shape,
    format: Format,
    has_goals: bool,
) -> anyhow::Result<Vec<Row>> {
    let file = bench.file(shape, format)?;
    let mut candidate = Candidate::load(&file, bench.threads)?;
    bench.kernel_path = Some(candidate.kernel_path());
    let model = format!("{} {}", shape.name, format.name());
    let goal = |row: Row, goal: Goal| if has_goals { row.with_goal(goal) } else { row };
    let mut read = goal(
        Row::new(format!("prefill {READ_TOKENS}, {model}"), "tok/s", "llama-bench"),
        Goal::RatioAtLeast(2.5),
    );
    let mut alone = goal(
        Row::new(format!("decode, 1 stream, {model}"), "tok/s", "llama-bench"),
        Goal::RatioAtLeast(1.05),
    );
    let mut share = goal(
        Row::new(format!("weights read decoding, {model} (stretch)"), "GB/s", "memory bandwidth"),
        Goal::RatioAtLeast(0.85),
    );
    let mut together = goal(
        Row::new(format!("decode, {STREAMS} streams, {model}"), "tok/s", "llama-batched-bench"),
        Goal::RatioAtLeast(2.5),
    );
    // As the protocol's defaults are: a draw from the whole vocabulary at every token.
    let drawn = Sampling::new(1.0, 1.0, 0, 1)?;
    let mut sampled = goal(
        Row::new(format!("the same, drawn at temperature 1, {model}"), "tok/s", "greedy"),
        Goal::RatioAtLeast(0.97),
    );
    // Once for nothing: pages of both are then where they belong.
    candidate.read(READ_TOKENS)?;
    let gigabytes = shape.pass_bytes(format) as f64 / 1e9;
    let bar = steps(bench.runs, &model);
    for _ in 0..bench.runs {
        if let Some(anchor) = &mut bench.anchor {
            read.anchor.push(anchor.read(&file, READ_TOKENS)?);
        }
        read.candidate.push(candidate.read(READ_TOKENS)?);
        if let Some(anchor) = &mut bench.anchor {
            alone.anchor.push(anchor.decode(&file, DECODE_TOKENS)?);
        }
        alone.candidate.push(candidate.decode(1, 1, DECODE_TOKENS, &Sampling::greedy())?);
        share.anchor.push(bandwidth::read_bytes_per_second(bench.threads) / 1e9);
        let (prompt, answer) = TOGETHER_TOKENS;
        if let Some(anchor) = &mut bench.anchor {
            together.anchor.push(anchor.decode_together(&file, STREAMS, prompt, answer)?);
        }
        let greedy = candidate.decode(STREAMS, prompt, answer, &Sampling::greedy())?;
        together.candidate.push(greedy);
        sampled.anchor.push(greedy);
        sampled.candidate.push(candidate.decode(STREAMS, prompt, answer, &drawn)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    share.candidate = alone.candidate.iter().map(|rate| rate * gigabytes).collect();
    Ok(vec![read, alone, share, together, sampled])
}
