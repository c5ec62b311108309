//! `bulla bench engine`: the engine beside llama.cpp on the same files, run by run in turn.

mod accuracy;
mod anchor;
mod bandwidth;
mod calibrate;
mod candidate;
mod cost;
mod gguf;
mod load;
mod memory;
mod plain;
mod processor;
mod row;
mod serving;
mod shape;
mod speed;
mod synthetic;
mod trained;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use bulla_client::commands::GlobalArgs;
use bulla_engine::Sampling;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;

use anchor::Anchor;
pub use calibrate::{CalibrateArgs, execute as calibrate};
use candidate::Candidate;
use row::{Goal, Row};
use shape::{Format, QWEN2_5_0_5B, QWEN3_0_6B, Shape};

/// What the process reads and writes whose memory is measured, in tokens.
const MEMORY_TOKENS: (usize, usize) = (512, 32);

/// Measure the engine beside llama.cpp on the same files
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// The folder with llama.cpp's tools; without it ours is measured alone
    #[arg(long, value_name = "DIR")]
    anchor: Option<PathBuf>,
    /// Where files of noise in the shape of real models are kept; those missing are written (0.3 to
    /// 1 GB each). Default: bench/models in the data folder
    #[arg(long, value_name = "DIR", env = "BULLA_BENCH_MODELS")]
    models: Option<PathBuf>,
    /// Runs of each side
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Threads of each side
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Measure this only; may be given more than once
    #[arg(long, value_name = "WORK", value_enum)]
    only: Vec<Work>,
    /// Load this file, read and answer once, and end: what is started to measure memory
    #[arg(long, value_name = "FILE", hide = true)]
    once: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Read a prompt, decode alone and in company: Qwen2.5-0.5B, Q8_0
    Speed,
    /// The same in Q4_0 and bf16, and Qwen3-0.6B in Q4_K_M
    Formats,
    /// 16 clients over HTTP, and through the whole sealed path
    Serving,
    /// What quantisation costs in accuracy, on the demo model
    Accuracy,
    /// Peak memory
    Memory,
}

/// What a measurement needs.
struct Bench {
    anchor: Option<Anchor>,
    models: PathBuf,
    runs: usize,
    threads: usize,
    /// Our arithmetic, once a file is loaded.
    kernel_path: Option<String>,
}

/// Runs `bulla bench engine`.
pub async fn execute(args: EngineArgs, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let threads = args.threads as usize;
    if let Some(file) = args.once {
        let mut candidate = Candidate::load(&file, threads)?;
        candidate.read(MEMORY_TOKENS.0)?;
        candidate.decode(1, 1, MEMORY_TOKENS.1, &Sampling::greedy())?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = super::folder::prepare(&global.data)?;
    let models = args.models.unwrap_or_else(|| folder.join("models"));
    std::fs::create_dir_all(&models).with_context(|| format!("making {}", models.display()))?;
    let anchor = args.anchor.map(|folder| Anchor::open(&folder, threads)).transpose()?;
    let mut bench = Bench { anchor, models, runs: args.runs as usize, threads, kernel_path: None };
    let works = match args.only.is_empty() {
        true => Work::value_variants().to_vec(),
        false => args.only,
    };
    let mut rows = Vec::new();
    for work in works {
        rows.extend(bench.measure(work, &folder).await?);
    }
    print(&rows, &bench, global.json);
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    async fn measure(&mut self, work: Work, folder: &Path) -> anyhow::Result<Vec<Row>> {
        match work {
            Work::Speed => speed::measure(self, &QWEN2_5_0_5B, Format::Q8_0, true),
            Work::Formats => {
                let mut rows = speed::measure(self, &QWEN2_5_0_5B, Format::Q4_0, false)?;
                rows.extend(speed::measure(self, &QWEN2_5_0_5B, Format::Bf16, false)?);
                rows.extend(speed::measure(self, &QWEN3_0_6B, Format::Q4KM, false)?);
                Ok(rows)
            }
            Work::Serving => serving::measure(self, folder).await,
            Work::Accuracy => accuracy::measure(self).await,
            Work::Memory => self.memory(),
        }
    }

    /// The file of a shape, written where it is missing.
    fn file(&self, shape: &Shape, format: Format) -> anyhow::Result<PathBuf> {
        let file = self.models.join(shape.file_name(format));
        if !file.is_file() {
            let bar = ProgressBar::new(shape.pass_bytes(format) as u64);
            bar.set_message(format!("writing {}", file.display()));
            synthetic::write(&file, shape, format, &mut |done| bar.set_position(done))
                .with_context(|| format!("writing {}", file.display()))?;
            bar.finish_and_clear();
        }
        Ok(file)
    }

    /// Peak memory of reading and decoding, each side in a process of its own.
    fn memory(&mut self) -> anyhow::Result<Vec<Row>> {
        let file = self.file(&QWEN2_5_0_5B, Format::Q8_0)?;
        let mut row = Row::new("peak memory, Qwen2.5-0.5B Q8_0", "MB", "llama-bench")
            .with_goal(Goal::RatioAtMost(1.1));
        let mut ours = Command::new(std::env::current_exe().context("finding this program")?);
        ours.args(["bench", "engine", "--threads", &self.threads.to_string(), "--once"]).arg(&file);
        let peak = memory::peak_of(ours)?.context("our own process died of a signal")?;
        row.candidate.push(peak as f64 / 1e6);
        if let Some(anchor) = &mut self.anchor {
            let (prompt, answer) = MEMORY_TOKENS;
            row.anchor.push(anchor.peak_bytes(&file, prompt, answer)? as f64 / 1e6);
        }
        Ok(vec![row])
    }
}

/// One step of a long measurement, on terminals.
fn steps(count: usize, what: &str) -> ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}");
    let bar = ProgressBar::new(count as u64).with_message(what.to_owned());
    bar.with_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()))
}

fn print(rows: &[Row], bench: &Bench, json: bool) {
    if json {
        let array: Vec<_> = rows.iter().map(Row::to_json).collect();
        anstream::println!("{}", serde_json::Value::Array(array));
        return;
    }
    row::table(rows).iter().for_each(|line| anstream::println!("{line}"));
    anstream::println!();
    anstream::println!(
        "medians of {} runs of each side, compared turn by turn; {} threads each; weights are noise in the shape \
         of the model named (accuracy: trained ones), the same file for both",
        bench.runs,
        bench.threads,
    );
    if let Some(path) = &bench.kernel_path {
        anstream::println!("ours computes by {path}");
    }
    match &bench.anchor {
        None => anstream::println!("no anchor: name the folder with llama.cpp's tools by --anchor"),
        Some(anchor) => {
            anchor.remark().iter().for_each(|remark| anstream::println!("{remark}"));
        }
    }
    if cfg!(debug_assertions) {
        anstream::println!("not the release profile: only that one counts");
    }
}
