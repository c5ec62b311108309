//! `bulla bench audit`: receipts per second of a whole audit, every signature checked, one by one and
//! in batches, on one core and on all, against its goal; peak memory and bytes per receipt.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bulla_client::audit::{AuditTrust, Means};
use bulla_client::commands::{DEFAULT_MEMORY_MIB, audit_file};
use bulla_client::io::system::now;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::bundle;
use super::scene::Scene;
use super::stopwatch::time_on_processor;
use super::{folder, markdown};

/// What an auditor may expect of one core.
const GOAL_PER_CORE: f64 = 15_000.0;
/// Signatures of one receipt with its order: order, grant, receipt.
const SIGNATURES: f64 = 3.0;
/// Most receipts of a bundle made here.
const MAX_RECEIPTS: u64 = 100_000_000;

/// Receipts audited per second, every signature checked: one by one, in batches, on all cores
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Receipts in the bundle, each with order, grant, two leaves and three transfers
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_RECEIPTS))]
    receipts: u64,
    /// Runs of each row; the median counts
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(1..=99))]
    runs: u64,
    /// Memory for what must be compared, about, in MiB; less is paid for with more readings
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY_MIB)]
    memory: u64,
}

/// One way to audit.
struct Way {
    work: &'static str,
    threads: usize,
    one_by_one: bool,
    goal: Option<f64>,
}

/// What it took.
struct Took {
    wall: Duration,
    /// On a processor, where all of it is done by one thread.
    processor: Option<Duration>,
}

/// Makes the bundle, audits it in turn in every way, and prints.
pub fn execute(args: &AuditArgs, folder: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let scene = Scene::open(&folder::simulated_tee(folder), now().seconds())?;
    let path = folder.join("audit.cborseq");
    let trust = make(&scene, args.receipts, &path)?;
    let bytes = path.metadata()?.len();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let ways = [
        Way { work: "one core, one by one", threads: 0, one_by_one: true, goal: None },
        Way { work: "one core, batches", threads: 0, one_by_one: false, goal: Some(GOAL_PER_CORE) },
        Way { work: "all cores, batches", threads: cores, one_by_one: false, goal: None },
    ];
    let memory_bytes = Some(args.memory.saturating_mul(1 << 20));
    let mut times: Vec<Vec<Took>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.runs {
        for (way, times) in ways.iter().zip(&mut times) {
            let took = run(&path, &trust, way, (args.receipts, memory_bytes))?;
            tell(way, &took, args.receipts);
            times.push(took);
        }
    }
    std::fs::remove_file(&path)?;
    let per_receipt = bytes as f64 / args.receipts as f64;
    let rows: Vec<Value> =
        ways.iter().zip(&times).map(|(way, times)| row(way, times, args.receipts)).collect();
    print(&rows, args.receipts, per_receipt, json);
    Ok(ExitCode::SUCCESS)
}

fn make(scene: &Scene, receipts: u64, path: &Path) -> anyhow::Result<AuditTrust> {
    let progress = ProgressBar::new(receipts);
    progress.set_style(
        ProgressStyle::with_template("signing a bundle {wide_bar} {percent:>3} %  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut out = BufWriter::new(file);
    let trust = bundle::write(scene, receipts, &mut out, &mut |n| progress.set_position(n))?;
    progress.finish_and_clear();
    out.into_inner().map_err(|e| e.into_error())?;
    Ok(trust)
}

fn run(
    path: &Path,
    trust: &AuditTrust,
    way: &Way,
    (receipts, memory_bytes): (u64, Option<u64>),
) -> anyhow::Result<Took> {
    let Way { threads, one_by_one, .. } = *way;
    let means = Means { threads, one_by_one, memory_bytes, ..Means::default() };
    let (began, before) = (Instant::now(), time_on_processor());
    let judged = audit_file(path, trust, means)?;
    let after = time_on_processor().filter(|_| way.threads == 0);
    let processor = after.zip(before).map(|(after, before)| after.saturating_sub(before));
    let report = judged.report;
    ensure!(report.is_clean(), "the bench's own bundle was refused:\n{report}");
    ensure!(report.counts.receipts == receipts, "receipts are missing");
    Ok(Took { wall: began.elapsed(), processor })
}

/// What each run came to, as soon as it has: a large bundle takes minutes.
fn tell(way: &Way, took: &Took, receipts: u64) {
    let (seconds, peak) = (took.wall.as_secs_f64(), megabytes(peak_bytes()));
    let rate = receipts as f64 / seconds;
    anstream::eprintln!("{}: {seconds:.1} s, {rate:.0} receipts/s, peak {peak}", way.work);
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000))
}

fn row(way: &Way, times: &[Took], receipts: u64) -> Value {
    let median = |of: &dyn Fn(&Took) -> Option<Duration>| {
        let mut all: Vec<f64> =
            times.iter().filter_map(|took| Some(of(took)?.as_secs_f64())).collect();
        super::stopwatch::quantile(&mut all, 0.5)
    };
    let rate = |seconds: f64| (receipts as f64 / seconds).round();
    let wall = median(&|took| Some(took.wall)).map(rate);
    let core = median(&|took| took.processor).map(rate);
    let per_core = core.or(wall.filter(|_| way.threads == 0));
    json!({
        "work": way.work,
        "receipts_per_second": wall,
        "receipts_per_core_second": core,
        "signatures_per_core_second": core.map(|rate| rate * SIGNATURES),
        "goal": way.goal,
        "met": way.goal.zip(per_core).map(|(goal, rate)| rate >= goal),
        "release_profile": !cfg!(debug_assertions),
    })
}

fn print(rows: &[Value], receipts: u64, bytes_per_receipt: f64, json: bool) {
    let peak = peak_bytes();
    if json {
        let document = json!({
            "receipts": receipts,
            "bytes_per_receipt": bytes_per_receipt.round(),
            "peak_bytes": peak,
            "rows": rows,
        });
        anstream::println!("{document}");
        return;
    }
    let headings = ["work", "receipts/s", "per second on a core", "goal", "met"];
    let cell = |value: &Value| value.as_f64().map_or_else(String::new, |n| format!("{n:.0}"));
    let cells = rows.iter().map(|row| {
        let met = row["met"].as_bool().map_or("", |met| if met { "yes" } else { "no" });
        [
            row["work"].as_str().unwrap_or_default().to_owned(),
            cell(&row["receipts_per_second"]),
            cell(&row["receipts_per_core_second"]),
            cell(&row["goal"]),
            met.to_owned(),
        ]
    });
    markdown::table(headings, cells).iter().for_each(|line| anstream::println!("{line}"));
    let (peak, each) = (megabytes(peak), peak.map_or(0, |bytes| bytes / receipts.max(1)));
    anstream::println!(
        "{receipts} receipts, {bytes_per_receipt:.0} bytes each; peak memory {peak}, {each} bytes \
         for each receipt"
    );
}

/// The most memory this process has had in RAM, in bytes (Linux).
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
