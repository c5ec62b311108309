//! What quantisation costs in accuracy: how far the distribution of the next token moves from the
//! one that 32-bit weights give, ours and the peer's on the same file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bulla_engine::{ChatRequest, Model};
use serde_json::{Value, json};

use super::anchor::{Anchor, Server};
use super::load::post;
use super::row::{Goal, Row};
use super::{Bench, steps, trained};
use crate::up::find_model;

/// Conversations that are read, each with its answer.
const CONVERSATIONS: usize = 6;
/// Tokens of a pass of ours.
const PASS_TOKENS: usize = 128;
/// Formats, as `llama-quantize` spells them.
const FORMATS: [&str; 2] = ["Q8_0", "Q4_0"];

/// All rows of accuracy: mean divergence (Kullback-Leibler, in millionths of a nat) from the 32-bit
/// logits, over every position of the conversations.
pub async fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let Some(anchor) = &mut bench.anchor else {
        anstream::eprintln!(
            "accuracy: left out, its files are made by the anchor's llama-quantize"
        );
        return Ok(Vec::new());
    };
    let folder = find_model(None)?;
    let exact = bench.models.join("demo-f32.gguf");
    trained::write(&folder, &exact)?;
    let texts = conversations(&folder)?;
    let reference = ours(&exact, &texts)?;
    let mut rows = Vec::new();
    let bar = steps(1 + FORMATS.len(), "accuracy");
    let same = divergence(&reference, &theirs(anchor, &exact, &texts).await?);
    let mut row =
        Row::new("divergence of its 32-bit logits from ours, demo", "µnat", "llama-server");
    row.anchor.push(same);
    row.candidate.push(0.0);
    rows.push(row);
    bar.inc(1);
    for format in FORMATS {
        let file = anchor.quantize(&exact, format)?;
        let mut row = Row::new(
            format!("divergence from 32-bit logits, demo {format}"),
            "µnat",
            "llama-server",
        )
        .with_goal(Goal::RatioAtMost(1.0));
        row.anchor.push(divergence(&reference, &theirs(anchor, &file, &texts).await?));
        row.candidate.push(divergence(&reference, &ours(&file, &texts)?));
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// Log-probabilities after each token, of each text.
type Distributions = Vec<Vec<f64>>;

/// Questions nobody trained on, with their answers, as tokens.
fn conversations(folder: &Path) -> anyhow::Result<Vec<Vec<u32>>> {
    let held_out = folder.parent().map(|demo| demo.join("held-out.jsonl")).unwrap_or_default();
    let lines = std::fs::read_to_string(&held_out)
        .with_context(|| format!("reading {}", held_out.display()))?;
    let model = load(folder)?;
    let tokens = |line: &str| -> anyhow::Result<Vec<u32>> {
        let line: Value = serde_json::from_str(line)?;
        let text = |key: &str| line[key].as_str().with_context(|| key.to_owned());
        let question = model.prompt(&ChatRequest::user(text("text")?))?;
        let answer = model.prompt_text(text("expected")?)?;
        Ok([question.tokens(), answer.tokens()].concat())
    };
    lines.lines().take(CONVERSATIONS).map(tokens).collect()
}

fn load(path: &Path) -> anyhow::Result<Model> {
    Model::load(path, &mut |_| {}).with_context(|| format!("loading {}", path.display()))
}

fn ours(file: &Path, texts: &[Vec<u32>]) -> anyhow::Result<Distributions> {
    let model = load(file)?;
    let mut all = Vec::new();
    for text in texts {
        all.extend(model.logits(text, PASS_TOKENS)?.iter().map(|row| log_probabilities(row)));
    }
    Ok(all)
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let above = |logit: &f32| f64::from(logit - highest);
    let total: f64 = logits.iter().map(|logit| above(logit).exp()).sum();
    logits.iter().map(|logit| above(logit) - total.ln()).collect()
}

/// The peer's server is asked for one token after every beginning of a text; what stands in its
/// cache is not read again.
async fn theirs(
    anchor: &mut Anchor,
    file: &Path,
    texts: &[Vec<u32>],
) -> anyhow::Result<Distributions> {
    let room = texts.iter().map(Vec::len).max().unwrap_or_default() + 16;
    let server = anchor.serve(file, 1, room)?;
    let mut all = Vec::new();
    for text in texts {
        for end in 1..=text.len() {
            all.push(next(&server, &text[..end]).await?);
        }
    }
    Ok(all)
}

async fn next(server: &Server, tokens: &[u32]) -> anyhow::Result<Vec<f64>> {
    /// More than the vocabulary of any model that accuracy is measured on.
    const ALL: usize = 1 << 20;
    let body = json!({
        "prompt": tokens, "n_predict": 1, "temperature": 0, "ignore_eos": false,
        "n_probs": ALL, "cache_prompt": true,
    });
    let answer = post(server.address, "/completion", &body).await?;
    let listed = answer["completion_probabilities"][0]["top_logprobs"].as_array();
    let listed = listed.context("llama-server gave no probabilities")?;
    let mut row = vec![f64::NEG_INFINITY; listed.len()];
    for entry in listed {
        let place = entry["id"].as_u64().and_then(|id| row.get_mut(id as usize));
        *place.context("a token numbered beyond the list")? =
            entry["logprob"].as_f64().context("a probability that is no number")?;
    }
    ensure!(row.iter().all(|p| p.is_finite()), "llama-server left out a token");
    Ok(row)
}

/// Mean Kullback-Leibler divergence of `other` from `reference`, in millionths of a nat.
fn divergence(reference: &Distributions, other: &Distributions) -> f64 {
    let of_row = |(p, q): (&Vec<f64>, &Vec<f64>)| -> f64 {
        p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
    };
    let total: f64 = reference.iter().zip(other).map(of_row).sum();
    1e6 * total / reference.len() as f64
}

impl Anchor {
    /// A quantised copy beside `file`, by the peer's own tool.
    fn quantize(&self, file: &Path, format: &str) -> anyhow::Result<PathBuf> {
        let copy = file.with_file_name(format!("demo-{}.gguf", format.to_lowercase()));
        let mut command = self.tool("llama-quantize");
        let status = command.arg(file).arg(&copy).arg(format).output()?.status;
        ensure!(status.success(), "llama-quantize ended with {status}");
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_nothing_from_itself_and_something_from_others() {
        let even = vec![log_probabilities(&[1.0, 1.0])];
        let uneven = vec![log_probabilities(&[0.0, 3f32.ln()])];
        assert_eq!(divergence(&even, &even), 0.0);
        // Half ln(1/2 / 1/4) and half ln(1/2 / 3/4).
        let expected = 0.5 * 2f64.ln() + 0.5 * (2f64 / 3.0).ln();
        assert!((divergence(&even, &uneven) - 1e6 * expected).abs() < 1.0);
    }
}
