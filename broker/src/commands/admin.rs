//! `bulla admin`: the operator's work on what the broker keeps.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::open_setup;
use crate::io::store::Place;
use crate::ledger::recompute::{Recomputed, recompute};

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
        let AdminCommand::Ledger(command) = &self.command;
        let mut setup = open_setup(self.data.as_deref(), self.config.as_deref())?;
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
