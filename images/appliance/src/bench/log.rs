//! `bulla bench log`: leaves per second made durable, what a head and a proof take, and how many
//! bytes a receipt costs whoever keeps it. Times are of the wall, every commit is on disk before it
//! counts.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use bulla_attestation::hash::sha256;
use bulla_attestation::inclusion::sign_inclusion;
use bulla_broker::io::log_files::LogFiles;
use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::ledger::Command;
use bulla_broker::log::sign_checkpoint;
use bulla_client::io::system::now;
use bulla_client::io::witness::WitnessFolder;
use bulla_client::witness::{Verdict, Witness};
use bulla_tlog::submission::Submission;
use bulla_tlog::{Hash, SignedCheckpoint, SignerKey, TlogProof, Tree};
use bulla_wire::ids::EpochId;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixMillis;
use clap::Args;
use serde_json::{Value, json};

use super::ledger::disk;
use super::scene::Scene;
use super::stopwatch::quantile;
use super::{bundle, folder, markdown};

const ORIGIN: &str = "log.bulla.bench";
/// Leaves in the log that proofs are made from.
const PROVEN_LEAVES: u64 = 100_000;
/// Receipts in the two bundles whose difference tells what one more costs.
const BUNDLES: [u64; 2] = [100, 600];
/// Leaves in one durable batch.
const BATCHES: [u64; 3] = [1, 64, 512];

/// Leaves per second durable, heads, proofs, bytes per receipt
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Time to spend on each row
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
}

/// One row: a rate with the time of one operation, or a size.
enum Line {
    Rate { work: String, unit: &'static str, per_second: f64, p50_ms: f64, p99_ms: f64 },
    Size { work: String, bytes: f64 },
}

impl Line {
    fn to_json(&self) -> Value {
        match self {
            Line::Rate { work, unit, per_second, p50_ms, p99_ms } => {
                json!({"work": work, "unit": unit, "per_second": per_second, "p50_ms": p50_ms, "p99_ms": p99_ms})
            }
            Line::Size { work, bytes } => json!({"work": work, "bytes": bytes}),
        }
    }

    fn cells(&self) -> [String; 4] {
        match self {
            Line::Rate { work, unit, per_second, p50_ms, p99_ms } => [
                work.clone(),
                format!("{per_second:.0} {unit}/s"),
                format!("{p50_ms:.3} ms"),
                format!("{p99_ms:.3} ms"),
            ],
            Line::Size { work, bytes } => {
                [work.clone(), format!("{bytes:.0} bytes"), String::new(), String::new()]
            }
        }
    }
}

/// Measures and prints.
pub fn execute(args: &LogArgs, data: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let time_box = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let home = data.join("log-bench");
    if home.exists() {
        std::fs::remove_dir_all(&home).with_context(|| format!("emptying {}", home.display()))?;
    }
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let mut side = disk(&home.join("sync"))?;
    let mut lines =
        vec![measure("disk: write 4 KiB, fdatasync", "syncs", 1, time_box, || (side.operation)())?];
    for batch in BATCHES {
        lines.push(durable(&home.join(format!("{batch}.sqlite")), batch, time_box)?);
    }
    lines.push(published(&home, 64, time_box)?);
    lines.push(witnessed(&home.join("witness"), time_box)?);
    lines.extend(proofs(time_box)?);
    let scene = Scene::open(&folder::simulated_tee(data), now().seconds())?;
    let mut sizes = Vec::new();
    for receipts in BUNDLES {
        sizes.push(bundle::size_bytes(&scene, receipts)? as f64);
    }
    if let [small, large] = sizes[..] {
        let bytes = (large - small) / (BUNDLES[1] - BUNDLES[0]) as f64;
        lines.push(Line::Size {
            work: "audit bundle: one more receipt, with its order and transfers".to_owned(),
            bytes,
        });
    }
    print(&lines, json);
    Ok(ExitCode::SUCCESS)
}

fn print(lines: &[Line], json: bool) {
    if json {
        anstream::println!("{}", Value::Array(lines.iter().map(Line::to_json).collect()));
        return;
    }
    let table =
        markdown::table(["work", "figure", "median", "99 % within"], lines.iter().map(Line::cells));
    table.iter().for_each(|line| anstream::println!("{line}"));
}

fn measure(
    work: impl Into<String>,
    unit: &'static str,
    per_operation: u64,
    time_box: Duration,
    mut operation: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Line> {
    operation()?;
    let (began, mut times_ms) = (Instant::now(), Vec::new());
    while began.elapsed() < time_box || times_ms.is_empty() {
        let start = Instant::now();
        operation()?;
        times_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let took_ms: f64 = times_ms.iter().sum();
    Ok(Line::Rate {
        work: work.into(),
        unit,
        per_second: times_ms.len() as f64 * per_operation as f64 * 1e3 / took_ms.max(f64::EPSILON),
        p50_ms: quantile(&mut times_ms, 0.5).unwrap_or_default(),
        p99_ms: quantile(&mut times_ms, 0.99).unwrap_or_default(),
    })
}

/// A leaf as a receipt has it.
fn leaf(number: u64) -> Vec<u8> {
    let digest = sha256(&number.to_be_bytes());
    let (epoch, seq) = (EpochId([7; 16]), number);
    Leaf::Receipt { epoch, seq, prev: digest, receipt: digest }.to_vec()
}

fn at() -> UnixMillis {
    now()
}

fn append(store: &mut SqliteStore, from: u64, batch: u64) -> anyhow::Result<()> {
    let commands: Vec<Command> =
        (from..from + batch).map(|n| Command::LogLeaf { leaf: leaf(n) }).collect();
    for result in store.execute(&commands, at())? {
        result?;
    }
    Ok(())
}

fn durable(path: &Path, batch: u64, time_box: Duration) -> anyhow::Result<Line> {
    let (mut store, mut done) = (SqliteStore::open(path)?, 0);
    measure(format!("leaves durable, batches of {batch}"), "leaves", batch, time_box, || {
        append(&mut store, done, batch)?;
        done += batch;
        Ok(())
    })
}

/// Durable, hashed into the tree, the head signed, and all of it as files.
fn published(home: &Path, batch: u64, time_box: Duration) -> anyhow::Result<Line> {
    let key = SignerKey::from_seed(ORIGIN, &[3; 32])?;
    let mut store = SqliteStore::open(&home.join("published.sqlite"))?;
    let mut files = LogFiles::open(&home.join("files"), key.verifier(), &store)?;
    let (mut tree, mut done) = (Tree::new(), 0);
    let work = format!("leaves durable, head signed, static files, batches of {batch}");
    measure(work, "leaves", batch, time_box, || {
        append(&mut store, done, batch)?;
        (done..done + batch).for_each(|number| _ = tree.push(&leaf(number)));
        done += batch;
        let head = sign_checkpoint(&key, tree.size(), tree.root())?;
        Ok(files.write(&head.to_bytes(), &store)?)
    })
}

/// A witness judges a head, makes its state durable and signs with both keys.
fn witnessed(home: &Path, time_box: Duration) -> anyhow::Result<Line> {
    let key = SignerKey::from_seed(ORIGIN, &[3; 32])?;
    let folder = WitnessFolder::open(home)?;
    let mut rng = bulla_client::io::system::SystemRng::new();
    let mut witness: Witness =
        folder.witness(Some("witness.bulla.bench"), vec![key.verifier()], &mut rng)?;
    let mut tree = Tree::new();
    measure(
        "head: witness checks, stores, cosigns (Ed25519 and ML-DSA-44)",
        "heads",
        1,
        time_box,
        || {
            let old = tree.size();
            (0..64).for_each(|number| _ = tree.push(&leaf(old + number)));
            let head = sign_checkpoint(&key, tree.size(), tree.root())?;
            let proof = tree.consistency_proof(old, tree.size())?;
            let request = Submission::new(old, proof, &head)?.to_string();
            match witness.judge(request.as_bytes(), now().seconds()) {
                Verdict::Cosign(accepted) => {
                    folder.store(accepted.state())?;
                    witness.apply(&accepted);
                    Ok(())
                }
                Verdict::Refuse(refusal, _) => Err(refusal.into()),
            }
        },
    )
}

fn proofs(time_box: Duration) -> anyhow::Result<Vec<Line>> {
    let key = SignerKey::from_seed(ORIGIN, &[3; 32])?;
    let tree = Tree::from_leaf_hashes((0..PROVEN_LEAVES).map(|n| Hash::leaf(&leaf(n))));
    let head: SignedCheckpoint = sign_checkpoint(&key, tree.size(), tree.root())?;
    let mut number = 0;
    let mut next = move || {
        number = (number + 7_919) % PROVEN_LEAVES;
        number
    };
    let (mut file, mut receipt) = (Vec::new(), Vec::new());
    let work = format!("tlog-proof in a log of {PROVEN_LEAVES} leaves");
    let mut lines = vec![measure(work, "proofs", 1, time_box, || {
        let index = next();
        let path = tree.inclusion_proof(index, tree.size())?;
        file = TlogProof::new(index, path, &head, &[])?.to_string().into_bytes();
        Ok(())
    })?];
    lines.push(measure("COSE Receipt in the same", "receipts", 1, time_box, || {
        let index = next();
        let path = tree.inclusion_proof(index, tree.size())?;
        receipt = sign_inclusion(&key, &head, Hash::leaf(&leaf(index)), index, &path)?;
        Ok(())
    })?);
    lines.push(Line::Size {
        work: "tlog-proof, log's signature alone".to_owned(),
        bytes: file.len() as f64,
    });
    lines.push(Line::Size { work: "COSE Receipt".to_owned(), bytes: receipt.len() as f64 });
    Ok(lines)
}
