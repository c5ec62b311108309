//! `bulla audit`: the broker's log and ledger, judged under keys that this person named.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bulla_tlog::VerifierKey;
use bulla_wire::bundle::{self, Item};
use bulla_wire::ids::PublicKey;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::show::{BAD, GOOD, WARN, harmless};
use super::{EXIT_REFUSED, GlobalArgs};
use crate::audit::{AuditReport, AuditTrust, Unreadable, audit, audit_bytes};
use crate::config::AppraisalConfig;
use crate::io::broker::Broker;
use crate::io::client::{anchors, policy, transport};
use crate::io::folder::{Folder, read_limited};

/// Largest trust file, in bytes.
const MAX_TRUST_BYTES: usize = 64 * 1024;
/// How much of a bundle is read at a time, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Audits a bundle.
#[derive(Debug, Clone, Args)]
pub struct Audit {
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
    /// Exit with 1 on warnings too: epochs still open, receipts not logged yet
    #[arg(long)]
    pub strict: bool,
}

/// A trust file: all that an auditor without an account needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    /// Verifier keys of the log (C2SP signed-note).
    log_keys: Vec<String>,
    /// The broker's root key.
    broker_root: PublicKey,
    /// Paths are relative to the trust file.
    appraisal: AppraisalConfig,
}

impl Audit {
    /// Judges and shows. Exit code 0 clean, 1 errors found, 2 not readable to the end.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let report = match &self.bundle {
            Some(path) => {
                let trust = match &self.trust {
                    Some(file) => trust_from_file(file)?,
                    None => self.pinned(global)?,
                };
                // Judging is long and needs one core to itself.
                let path = path.clone();
                tokio::task::spawn_blocking(move || audit_file(&path, &trust)).await??
            }
            None => self.fetch(global).await?,
        };
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => show(&report),
        }
        Ok(match (report.exit_code(), self.strict && report.warnings().next().is_some()) {
            (0, true) => EXIT_REFUSED,
            (code, _) => code,
        })
    }

    async fn fetch(&self, global: &GlobalArgs) -> anyhow::Result<AuditReport> {
        let trust = self.pinned(global)?;
        let folder = Folder::open(&global.client_folder())?;
        let config = folder.config(&config_path(global, &folder))?;
        let credential = folder.credential()?;
        let broker = Broker::new(transport(&config.broker, Some(credential))?);
        let bundle = broker.audit_bundle(self.full).await?;
        if let Some(path) = &self.save {
            std::fs::write(path, &bundle).with_context(|| path.display().to_string())?;
        }
        Ok(tokio::task::spawn_blocking(move || audit_bytes(&bundle, &trust)).await?)
    }

    /// What the client's own configuration trusts.
    fn pinned(&self, global: &GlobalArgs) -> anyhow::Result<AuditTrust> {
        let folder = Folder::open(&global.client_folder())?;
        let config = folder.config(&config_path(global, &folder))?;
        let log_key = config.broker.log_key.as_deref().context(
            "an audit needs log_key under [broker]: the log's verifier key, from the broker's operator",
        )?;
        Ok(AuditTrust {
            log_keys: vec![VerifierKey::parse(log_key).context("log_key")?],
            broker_root: config.broker.root_key,
            anchors: anchors(&config.appraisal)?,
            policy: policy(&config.appraisal.policy)?,
        })
    }
}

fn config_path(global: &GlobalArgs, folder: &Folder) -> PathBuf {
    global.config.clone().unwrap_or_else(|| folder.config_path())
}

fn trust_from_file(path: &Path) -> anyhow::Result<AuditTrust> {
    let name = || path.display().to_string();
    let text = String::from_utf8(read_limited(path, MAX_TRUST_BYTES)?).with_context(name)?;
    let mut file: TrustFile = toml::from_str(&text).with_context(name)?;
    let base = path.parent().unwrap_or(Path::new("."));
    let absolute = |file: &mut PathBuf| *file = base.join(&*file);
    absolute(&mut file.appraisal.policy);
    file.appraisal.simulated_roots.iter_mut().for_each(absolute);
    let log_keys = file.log_keys.iter().map(|key| VerifierKey::parse(key));
    Ok(AuditTrust {
        log_keys: log_keys.collect::<Result<_, _>>().context("log_keys")?,
        broker_root: file.broker_root,
        anchors: anchors(&file.appraisal)?,
        policy: policy(&file.appraisal.policy)?,
    })
}

/// Judges a file item by item, twice over; never holds it whole.
fn audit_file(path: &Path, trust: &AuditTrust) -> anyhow::Result<AuditReport> {
    let length_bytes = File::open(path)
        .and_then(|file| file.metadata())
        .with_context(|| path.display().to_string())?
        .len();
    let progress = ProgressBar::new(length_bytes.saturating_mul(2));
    progress.set_style(
        ProgressStyle::with_template("auditing {wide_bar} {percent:>3} %  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = audit(trust, || FileItems::open(path, progress.clone()));
    progress.finish_and_clear();
    Ok(report)
}

/// The items of a bundle in a file.
struct FileItems {
    file: Option<File>,
    failed: Option<std::io::Error>,
    buffer: Vec<u8>,
    /// Where in the buffer the next item starts.
    start: usize,
    /// Where in the file it starts.
    offset: u64,
    progress: ProgressBar,
}

impl FileItems {
    fn open(path: &Path, progress: ProgressBar) -> FileItems {
        let (file, failed) = match File::open(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error)),
        };
        FileItems { file, failed, buffer: Vec::new(), start: 0, offset: 0, progress }
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> std::io::Result<bool> {
        let Some(file) = self.file.as_mut() else { return Ok(false) };
        self.buffer.drain(..self.start);
        self.start = 0;
        let more = file.take(READ_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.progress.inc(more as u64);
        Ok(more > 0)
    }

    fn stop(&mut self, reason: String) -> Option<Result<Item, Unreadable>> {
        self.file = None;
        (self.buffer, self.start) = (Vec::new(), 0);
        Some(Err(Unreadable { offset: self.offset, reason }))
    }
}

impl Iterator for FileItems {
    type Item = Result<Item, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return self.stop(error.to_string());
        }
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            match bundle::next_item(rest) {
                Ok(Some((item, taken))) => {
                    self.start += taken;
                    self.offset += taken as u64;
                    return Some(Ok(item));
                }
                Ok(None) => {}
                Err(error) => return self.stop(error.to_string()),
            }
            let waits = self.start < self.buffer.len();
            match self.fill() {
                Ok(true) => {}
                Ok(false) if waits => {
                    return self.stop("the bundle ends inside an item".to_owned());
                }
                Ok(false) => return None,
                Err(error) => return self.stop(error.to_string()),
            }
        }
    }
}

fn show(report: &AuditReport) {
    let text = harmless(&report.to_string());
    let (table, verdict) = text.rsplit_once('\n').unwrap_or(("", &text));
    let style = match (report.exit_code(), report.warnings().next()) {
        (0, None) => GOOD,
        (0, Some(_)) => WARN,
        _ => BAD,
    };
    println!("{table}");
    anstream::println!("{style}{verdict}{style:#}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Items;

    fn sample(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/bundle").join(name)
    }

    #[test]
    fn a_file_reads_like_its_bytes() {
        for name in ["full.cborseq", "account.cborseq"] {
            let bytes = std::fs::read(sample(name)).unwrap();
            let from_file: Vec<_> = FileItems::open(&sample(name), ProgressBar::hidden()).collect();
            let from_memory: Vec<_> = Items::new(&bytes).collect();
            assert!(from_file.len() > 20);
            assert_eq!(from_file, from_memory);
        }
    }

    #[test]
    fn a_file_that_ends_too_early_or_is_not_there_is_unreadable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("short.cborseq");
        let bytes = std::fs::read(sample("full.cborseq")).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let last = FileItems::open(&path, ProgressBar::hidden()).last().unwrap();
        assert!(last.unwrap_err().reason.contains("ends inside an item"));
        let missing = home.path().join("missing");
        let items: Vec<_> = FileItems::open(&missing, ProgressBar::hidden()).collect();
        assert!(matches!(items.as_slice(), [Err(_)]));
    }

    #[test]
    fn the_sample_bundles_are_judged_under_their_trust_file() {
        let trust = trust_from_file(&sample("trust.toml")).unwrap();
        for (name, code) in [("full", 0), ("account", 0), ("overcharged", 1)] {
            let report = audit_file(&sample(&format!("{name}.cborseq")), &trust).unwrap();
            assert_eq!(report.exit_code(), code, "{report}");
        }
    }

    #[test]
    fn refuses_a_trust_file_with_unknown_keys() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("trust.toml");
        let text = std::fs::read_to_string(sample("trust.toml")).unwrap();
        std::fs::write(&path, format!("everybody = true\n{text}")).unwrap();
        let error = format!("{:#}", trust_from_file(&path).unwrap_err());
        assert!(error.contains("everybody"), "{error}");
    }
}
