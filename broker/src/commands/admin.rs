//! `bulla admin`: the operator's work on what the broker keeps.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bulla_attestation::reference::describe;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::commerce::CommerceCommand;
use super::open_setup;
use crate::io::setup::Setup;
use crate::io::store::Place;
use crate::ledger::recompute::{Recomputed, recompute};

/// Longest document of reference values (a manifest's own limit), in bytes, and one more.
const MAX_DOCUMENT_BYTES: u64 = (4 << 20) + 1;
/// Differences that are printed; the rest is counted.
const MAX_SHOWN: usize = 100;

/// Work on what a broker keeps. The broker may run meanwhile.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The broker's configuration file.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The broker's data folder, where it is not the configuration's.
    #[arg(long = "broker-data", value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// On what.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What there is to work on.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// The ledger as a whole.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// The public log.
    #[command(subcommand)]
    Log(LogCommand),
    /// Who may sign in on the pages.
    #[command(subcommand)]
    User(super::UserCommand),
    /// Organisations, money out, the market's other side.
    #[command(flatten)]
    Commerce(Box<CommerceCommand>),
}

/// The public log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Log a manifest or root document of reference values by its digest, once.
    ReferenceValues {
        /// The document (JSON), as `bulla image measure` or `bulla policy reference` writes it.
        file: PathBuf,
    },
}

/// The ledger as a whole.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Compute every balance anew from the transfers and name what differs.
    Recompute,
    /// Write a backup into a new file while the broker goes on, and check it.
    Backup {
        /// The file: a ledger in SQLite, whatever the store is.
        file: PathBuf,
    },
    /// Fill an empty ledger from a backup, and check it.
    Restore {
        /// The backup.
        file: PathBuf,
    },
}

impl AdminArgs {
    /// Does what was asked; `json` writes one JSON object instead of text.
    pub fn execute(&self, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut setup = open_setup(self.data.as_deref(), self.config.as_deref())?;
        let command = match &self.command {
            AdminCommand::Ledger(command) => command,
            AdminCommand::User(command) => {
                let (text, value) = command.perform(&setup)?;
                match json {
                    true => writeln!(out, "{value}")?,
                    false => writeln!(out, "{text}")?,
                }
                return Ok(());
            }
            AdminCommand::Log(LogCommand::ReferenceValues { file }) => {
                return log_reference_values(&mut setup, file, json, out);
            }
            AdminCommand::Commerce(command) => {
                let (text, view) = command.perform(&mut setup)?;
                match json {
                    true => writeln!(out, "{view}")?,
                    false => writeln!(out, "{text}")?,
                }
                return Ok(());
            }
        };
        let (done, found) = match command {
            LedgerCommand::Recompute => ("recomputed".to_owned(), setup.recompute()?),
            LedgerCommand::Backup { file } => {
                setup.back_up(file)?;
                (format!("backup in {}", file.display()), recompute_file(file.clone())?)
            }
            LedgerCommand::Restore { file } => {
                setup.restore(file)?;
                (format!("restored from {}", file.display()), setup.recompute()?)
            }
        };
        match json {
            true => writeln!(out, "{}", view(&found))?,
            false => writeln!(out, "{done}: {}", tell(&found))?,
        }
        match found.differences.len() {
            0 => Ok(()),
            count => bail!("{count} differences: stop the broker and restore a backup"),
        }
    }
}

/// Nobody's signature is judged here: the log says what was published, roots say who may.
fn log_reference_values(
    setup: &mut Setup,
    file: &Path,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).with_context(|| format!("reading {shown}"))?;
    opened.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
    let described = describe(&bytes).with_context(|| shown.to_string())?;
    let (leaf, is_new) = setup.log_reference_values(described.digest)?;
    let (kind, name, version, digest) =
        (described.kind, described.name, described.version, described.digest);
    match json {
        true => writeln!(
            out,
            "{}",
            json!({ "document": digest, "name": name, "version": version, "leaf": leaf, "new": is_new })
        )?,
        false => {
            let when = if is_new { "logged" } else { "was logged before" };
            writeln!(
                out,
                "{kind} {name}, version {version}\ndigest {digest}\n{when}: leaf {leaf}"
            )?;
        }
    }
    Ok(())
}

fn recompute_file(file: PathBuf) -> anyhow::Result<Recomputed> {
    Ok(recompute(Place::Sqlite(file).open_reader()?.questions())?)
}

fn tell(found: &Recomputed) -> String {
    let Recomputed { transfers, packages, holds, differences } = found;
    let mut text =
        format!("{transfers} transfers make the balances of {packages} packages and {holds} holds");
    if differences.is_empty() {
        text.push_str(" exactly");
    }
    for difference in differences.iter().take(MAX_SHOWN) {
        text.push_str(&format!("\n{difference}"));
    }
    text
}

fn view(found: &Recomputed) -> Value {
    let Recomputed { transfers, packages, holds, differences } = found;
    let shown: Vec<String> = differences.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    json!({
        "transfers": transfers,
        "packages": packages,
        "holds": holds,
        "differences": differences.len(),
        "shown": shown,
    })
}
