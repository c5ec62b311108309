//! `bulla audit`: the broker's log and ledger, judged under keys that this person named.

mod export;
mod files;
mod html;
mod lens;
mod occasion;
mod ocsf;
mod own;
mod sarif;
#[cfg(test)]
mod tests;
mod trust;
#[cfg(test)]
pub use tests::sample;
#[cfg(test)]
pub use trust::from_file as trust_from_file;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub use export::Export;
pub use files::{audit_file, items};
pub use lens::Lens;
pub(super) use trust::client as configured;
pub use trust::trust;

use super::show::{BAD, GOOD, WARN, harmless};
use super::{EXIT_REFUSED, GlobalArgs};
use crate::audit::{AuditReport, AuditTrust, Means};
use crate::io::folder::Folder;
use crate::io::system::now;
use files::Judged;
use lens::Chores;
use occasion::Occasion;
use own::Own;

/// Audits a bundle.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    /// Make the bundle instead of judging it
    #[command(subcommand)]
    pub action: Option<Action>,
    /// A bundle in a file, of any size; fetched from the broker when left out
    pub bundle: Option<PathBuf>,
    /// Whom to believe: TOML with log_keys, broker_root and an appraisal table, instead of the
    /// client's configuration
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub trust: Option<PathBuf>,
    /// Fetch everything, not only this account's records; needs an operator's credential
    #[arg(long, conflicts_with = "bundle")]
    pub full: bool,
    /// Keep the fetched bundle in this file
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub save: Option<PathBuf>,
    /// Who reads: a customer's audit also holds the bundle against the receipts on this machine
    #[arg(long, value_enum, default_value_t = Lens::Auditor)]
    pub view: Lens,
    /// Run the request of a receipt again and compare tokens and counts: a receipt kept here, by its
    /// id, or a file of `bulla receipts prove --open`
    #[arg(long, value_name = "RECEIPT", conflicts_with_all = ["bundle", "full", "save"])]
    pub replay: Option<String>,
    /// The model to run it on: a Hugging Face folder or a GGUF file. Default: the demo model
    #[arg(long, value_name = "PATH", env = "BULLA_MODEL", requires = "replay")]
    pub model: Option<PathBuf>,
    /// What else to write.
    #[command(flatten)]
    pub reports: Reports,
}

/// Beside judging.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Write the offline bundle of a live broker
    Export(Export),
}

/// Judges one file.
#[derive(Debug, Clone, Args)]
pub struct Judge {
    /// The file
    pub file: PathBuf,
    /// Whom to believe: TOML with log_keys, broker_root and an appraisal table, instead of the
    /// client's configuration
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// What else to write.
    #[command(flatten)]
    pub reports: Reports,
}

/// What comes out besides the table.
#[derive(Debug, Clone, Args)]
pub struct Reports {
    /// Exit with 1 on warnings too: epochs still open, receipts not logged yet
    #[arg(long)]
    pub strict: bool,
    /// Write a report to print and to sign
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write the findings as OCSF 1.3 Compliance Findings, one JSON document a line
    #[arg(long, value_name = "FILE")]
    pub ocsf: Option<PathBuf>,
    /// What the broker promised: served orders per million; fewer are an error. Full bundles only
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub promised_availability: Option<u32>,
    /// Threads that check signatures beside the one that reads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory for what must be compared, about; a bundle that needs more is read several times
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY_MIB)]
    pub memory: u64,
}

/// Room for some two million receipts in one round, in MiB.
pub const DEFAULT_MEMORY_MIB: u64 = 1024;

impl Audit {
    /// Judges and shows. Exit code 0 clean, 1 errors found, 2 not readable to the end.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        if let Some(Action::Export(export)) = &self.action {
            return export.run(global).await;
        }
        if self.replay.is_some() {
            bail!("--replay needs an engine: it is a command of the `bulla` appliance");
        }
        let trust = trust(self.trust.as_deref(), global)?;
        let own = match self.view {
            Lens::Customer => Own::kept(global)?,
            Lens::Auditor | Lens::Operator => Own::default(),
        };
        let full = self.full || self.view == Lens::Operator;
        let fetched = match (&self.bundle, &self.save) {
            (None, Some(path)) => {
                export::fetch(global, full, path).await?;
                Fetched::there(path)
            }
            (bundle, _) => Fetched::bundle(bundle.as_deref(), full, global).await?,
        };
        self.reports.judge(fetched.path(), trust, own, self.view, global.json).await
    }
}

impl Judge {
    /// Judges and shows, as [`Audit::run`].
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let trust = trust(self.trust.as_deref(), global)?;
        self.reports.judge(&self.file, trust, Own::default(), Lens::Auditor, global.json).await
    }
}

impl Reports {
    async fn judge(
        &self,
        path: &Path,
        trust: AuditTrust,
        own: Own,
        lens: Lens,
        json: bool,
    ) -> anyhow::Result<u8> {
        let (threads, promised_ppm) = (self.threads(), self.promised_availability);
        let memory_bytes = Some(self.memory.saturating_mul(1 << 20));
        let file = path.to_owned();
        // Judging is long and needs cores to itself.
        let judge = move || {
            let Own { orders, showings } = &own;
            let means = Means {
                own: orders,
                showings,
                promised_ppm,
                memory_bytes,
                threads,
                one_by_one: false,
            };
            audit_file(&file, &trust, means)
        };
        let judged = tokio::task::spawn_blocking(judge).await??;
        let occasion = occasion(path, &judged, lens);
        self.write(&judged.report, &occasion)?;
        match json {
            true => println!("{}", serde_json::to_string_pretty(&document(&judged, &occasion)?)?),
            false => show(&judged.report, lens),
        }
        Ok(self.exit_code(&judged.report))
    }

    fn exit_code(&self, report: &AuditReport) -> u8 {
        match (report.exit_code(), self.strict && report.warnings().next().is_some()) {
            (0, true) => EXIT_REFUSED,
            (code, _) => code,
        }
    }

    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.threads.unwrap_or_else(cores)
    }

    /// The reports that were asked for.
    fn write(&self, report: &AuditReport, occasion: &Occasion) -> anyhow::Result<()> {
        let keep = |path: &Option<PathBuf>, text: &dyn Fn() -> anyhow::Result<String>| match path {
            Some(path) => std::fs::write(path, text()?).with_context(|| path.display().to_string()),
            None => Ok(()),
        };
        keep(&self.html, &|| Ok(html::page(report, occasion)))?;
        keep(&self.sarif, &|| Ok(serde_json::to_string_pretty(&sarif::sarif(report, occasion))?))?;
        keep(&self.ocsf, &|| {
            let lines: Vec<String> =
                ocsf::ocsf(report, occasion).iter().map(Value::to_string).collect();
            Ok(lines.join("\n") + "\n")
        })
    }
}

fn occasion(path: &Path, judged: &Judged, lens: Lens) -> Occasion {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Occasion {
        bundle: name.into_owned(),
        sha256: judged.sha256,
        bytes: judged.bytes,
        at: now(),
        lens,
    }
}

/// A bundle in a file: one that was there, or one fetched into a folder that passes.
pub struct Fetched {
    path: PathBuf,
    passing: Option<PathBuf>,
}

impl Fetched {
    fn there(path: &Path) -> Fetched {
        Fetched { path: path.to_owned(), passing: None }
    }

    /// The bundle named, else the broker's.
    pub async fn bundle(
        named: Option<&Path>,
        full: bool,
        global: &GlobalArgs,
    ) -> anyhow::Result<Fetched> {
        if let Some(path) = named {
            return Ok(Fetched::there(path));
        }
        let folder = global.client_folder().join(format!("audit-{}", std::process::id()));
        // Readable by its owner only.
        Folder::open(&folder)?;
        let path = folder.join("bundle.cborseq");
        let fetched = Fetched { path, passing: Some(folder) };
        export::fetch(global, full, &fetched.path).await?;
        Ok(fetched)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Some(folder) = &self.passing {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The report for machines; its occasion beside it.
fn document(judged: &Judged, occasion: &Occasion) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(&judged.report)?;
    document["bundle"] = json!({
        "file": occasion.bundle,
        "sha256": occasion.sha256,
        "bytes": occasion.bytes,
        "judged_at": occasion.at,
        "reader": occasion.lens.to_string(),
    });
    Ok(document)
}

fn show(report: &AuditReport, lens: Lens) {
    let text = match lens {
        Lens::Auditor => report.to_string(),
        _ => report.told(|check| lens.checks(report).any(|shown| shown.name == check)),
    };
    let text = harmless(&text);
    let (table, verdict) = text.rsplit_once('\n').unwrap_or(("", &text));
    let style = match (report.exit_code(), report.warnings().next()) {
        (0, None) => GOOD,
        (0, Some(_)) => WARN,
        _ => BAD,
    };
    println!("{table}");
    if lens == Lens::Operator {
        print!("{}", harmless(&Chores::of(report).text(report)));
    }
    anstream::println!("{style}{verdict}{style:#}");
}
