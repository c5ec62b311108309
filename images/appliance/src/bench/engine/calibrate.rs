//! `bulla bench calibrate`: what an hour of this machine is worth in compute units. One unit is an
//! hour of the reference accelerator, so a class of machines has the share of the reference that it
//! reaches, in the one of arithmetic and memory where it reaches less.

use std::path::{Path, PathBuf};

use bulla_client::commands::GlobalArgs;
use bulla_engine::Sampling;
use clap::Args;
use serde_json::json;

use super::super::markdown;
use super::super::stopwatch::quantile;
use super::candidate::Candidate;
use super::shape::{Format, QWEN2_5_0_5B, Shape};
use super::{Bench, steps};

/// The reference: NVIDIA H100 SXM, dense BF16 arithmetic without sparsity (NVIDIA H100 data sheet).
const REFERENCE_TERAFLOPS: f64 = 989.4;
/// Its memory in GB/s (the same data sheet).
const REFERENCE_GIGABYTES: f64 = 3350.0;
/// Tokens of the prompt that is read.
const READ_TOKENS: usize = 512;
/// Tokens that are decoded.
const DECODE_TOKENS: usize = 64;

/// Measure what an hour of this machine is worth in compute units
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Where the file of noise is kept that is run; written where it is missing (0.5 GB). Default:
    /// bench/models in the data folder
    #[arg(long, value_name = "DIR", env = "BULLA_BENCH_MODELS")]
    models: Option<PathBuf>,
    /// Runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Threads; default: all there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
}

/// Runs `bulla bench calibrate`.
pub fn execute(args: CalibrateArgs, folder: &Path, global: &GlobalArgs) -> anyhow::Result<()> {
    let threads = match args.threads {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism()?.get(),
    };
    let models = args.models.unwrap_or_else(|| folder.join("models"));
    std::fs::create_dir_all(&models)?;
    let bench =
        Bench { anchor: None, models, runs: args.runs as usize, threads, kernel_path: None };
    let (shape, format) = (&QWEN2_5_0_5B, Format::Q8_0);
    let mut candidate = Candidate::load(&bench.file(shape, format)?, threads)?;
    let (mut read, mut decoded) = (Vec::new(), Vec::new());
    candidate.read(READ_TOKENS)?;
    let bar = steps(bench.runs, "calibrating");
    for _ in 0..bench.runs {
        read.push(candidate.read(READ_TOKENS)?);
        decoded.push(candidate.decode(1, 1, DECODE_TOKENS, &Sampling::greedy())?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let median = |values: &mut [f64]| quantile(values, 0.5).unwrap_or_default();
    let worth = Worth::of(shape, format, median(&mut read), median(&mut decoded));
    worth.print(&candidate.kernel_path(), threads, global.json);
    Ok(())
}

/// What was reached.
struct Worth {
    teraflops: f64,
    gigabytes: f64,
}

impl Worth {
    /// From tokens per second of a prompt and of one stream's answer.
    fn of(shape: &Shape, format: Format, read: f64, decoded: f64) -> Worth {
        // Two operations per weight and token; a prompt needs the last layer once only.
        let weights = shape
            .tensors(format)
            .iter()
            .filter(|t| t.name.starts_with("blk."))
            .map(|tensor| tensor.dimensions.iter().product::<usize>())
            .sum::<usize>();
        Worth {
            teraflops: read * 2.0 * weights as f64 / 1e12,
            gigabytes: decoded * shape.pass_bytes(format) as f64 / 1e9,
        }
    }

    fn share(&self) -> f64 {
        (self.teraflops / REFERENCE_TERAFLOPS).min(self.gigabytes / REFERENCE_GIGABYTES)
    }

    /// Millionths of a compute unit that an hour of this machine is: a price book's multiplier.
    fn ppm(&self) -> u64 {
        (self.share() * 1e6).round() as u64
    }

    fn print(&self, kernel_path: &str, threads: usize, json: bool) {
        if json {
            let document = json!({
                "kernel_path": kernel_path, "threads": threads,
                "teraflops": self.teraflops, "reference_teraflops": REFERENCE_TERAFLOPS,
                "gigabytes_per_second": self.gigabytes,
                "reference_gigabytes_per_second": REFERENCE_GIGABYTES,
                "compute_units_per_hour_ppm": self.ppm(),
                "is_release": !cfg!(debug_assertions),
            });
            anstream::println!("{document}");
            return;
        }
        let row = |what: &str, got: String, reference: String, share: f64| {
            [what.to_owned(), got, reference, format!("{:.4} %", 100.0 * share)]
        };
        let rows = [
            row(
                "arithmetic, reading a prompt",
                format!("{:.3} TFLOP/s", self.teraflops),
                format!("{REFERENCE_TERAFLOPS} TFLOP/s"),
                self.teraflops / REFERENCE_TERAFLOPS,
            ),
            row(
                "memory, decoding one stream",
                format!("{:.1} GB/s", self.gigabytes),
                format!("{REFERENCE_GIGABYTES} GB/s"),
                self.gigabytes / REFERENCE_GIGABYTES,
            ),
        ];
        let head = ["work", "this machine", "reference (H100 SXM)", "share"];
        markdown::table(head, rows).iter().for_each(|line| anstream::println!("{line}"));
        anstream::println!();
        anstream::println!(
            "an hour of this machine ({kernel_path}, {threads} threads) is {} millionths of a compute \
             unit: the smaller share",
            self.ppm()
        );
        if cfg!(debug_assertions) {
            anstream::println!("not the release profile: only that one counts");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_share_counts() {
        let worth = Worth { teraflops: REFERENCE_TERAFLOPS / 2.0, gigabytes: 33.5 };
        assert_eq!(worth.ppm(), 10_000);
        let worth = Worth { teraflops: REFERENCE_TERAFLOPS / 1e3, gigabytes: 3350.0 };
        assert_eq!(worth.ppm(), 1000);
    }

    #[test]
    fn work_follows_the_shape() {
        // 24 layers of 14,909,312 weights (biases and norms included), 531 MB a pass.
        let worth = Worth::of(&QWEN2_5_0_5B, Format::Q8_0, 1.0, 1.0);
        assert!((worth.teraflops * 1e12 / 2.0 - 357_900_000.0).abs() < 1e6, "{}", worth.teraflops);
        assert!((0.5..0.55).contains(&worth.gigabytes), "{}", worth.gigabytes);
    }
}
