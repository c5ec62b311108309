//! The command line.

use std::path::PathBuf;

use bulla_broker::commands::BrokerArgs;
use bulla_client::commands::ClientCommand;
use bulla_enclave::command::EnclaveArgs;
use clap::{Parser, Subcommand};

use crate::completions::CompletionsArgs;
use crate::up::UpArgs;

/// Confidential inference with signed receipts: attested, sealed, metered, audited.
#[derive(Parser)]
#[command(name = "bulla", version, propagate_version = true)]
pub struct Cli {
    /// For machines: one JSON value on standard output instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Data folder of the client; `bulla up` keeps all roles below it.
    #[arg(long, global = true, value_name = "DIR", env = "BULLA_DATA")]
    pub data: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every role, and `up`, which starts them all.
#[derive(Subcommand)]
pub enum Command {
    /// Start everything on this machine, tell the story of a first request, then serve.
    Up(UpArgs),
    /// Run one enclave.
    Enclave(EnclaveArgs),
    /// Run the broker, or set it up.
    Broker(BrokerArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Print shell completions.
    Completions(CompletionsArgs),
}
