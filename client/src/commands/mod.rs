//! What people type: each command a struct, run by the appliance (and by anyone else who mounts
//! [`ClientCommand`]).
//!
//! Results go to standard output, what is said about them to standard error; `--json` puts one JSON
//! document on standard output. Colours appear on terminals only.

mod account;
mod appraise;
mod audit;
mod chat;
mod endorsements;
mod events;
mod evidence;
mod fields;
mod key_broker;
mod models;
pub mod operation;
mod policy;
mod proxy;
mod receipts;
mod show;
#[cfg(test)]
mod tests;
mod verify;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

pub use account::Account;
pub use appraise::Appraise;
pub use audit::{
    Audit, DEFAULT_MEMORY_MIB, audit_file, items as audit_items, trust as audit_trust,
};
pub use chat::Chat;
pub use endorsements::Endorsements;
pub use evidence::Evidence;
pub use key_broker::KeyBrokerArgs;
pub use models::Models;
pub use policy::Policy;
pub use proxy::Proxy;
pub use receipts::{Receipts, find as find_receipt, kept as kept_receipts};
pub use show::{amount, failure};
pub use verify::Verify;
pub use witness::Witness;

use crate::io::client::Client;

/// Everything is well.
pub const EXIT_OK: u8 = 0;
/// Judged, and found wrong.
pub const EXIT_REFUSED: u8 = 1;
/// Could not be judged or done.
pub const EXIT_FAILED: u8 = 2;

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Data folder; the client's own files are in its subfolder `client`
    #[arg(long, global = true, value_name = "DIR", default_value = "data", env = "BULLA_DATA")]
    pub data: PathBuf,
    /// Configuration file [default for client commands: DATA/client/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

impl GlobalArgs {
    /// The client's data folder.
    pub fn client_folder(&self) -> PathBuf {
        self.data.join("client")
    }

    /// The configured client, paying with blind tokens.
    fn anonymous_client(&self) -> anyhow::Result<Arc<Client>> {
        let (folder, config) = (self.client_folder(), self.config.as_deref());
        Ok(Arc::new(Client::open_anonymous(&folder, config)?))
    }

    /// The configured client.
    fn client(&self) -> anyhow::Result<Arc<Client>> {
        Ok(Arc::new(Client::open(&self.client_folder(), self.config.as_deref())?))
    }
}

/// The client's commands.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Appraise evidence in files: is it genuine, and good enough for a policy?
    Appraise(Box<Appraise>),
    /// Look at evidence and endorsements, field by field
    Evidence(Evidence),
    /// Appraise the evidence of a live service, ours or another that speaks aci/1
    Verify(Verify),
    /// Keep, fetch and bundle what vendors say about machines
    Endorsements(Endorsements),
    /// Read appraisal policies, and try changes against recorded evidence
    Policy(Policy),
    /// Ask a model, sealed, ordered and receipted
    Chat(Chat),
    /// List, show or export the usage receipts kept on this machine
    Receipts(Receipts),
    /// The account: balances, usage, projects, budgets, invoices, disputes, access, order keys
    Account(Box<Account>),
    /// List the models you can ask, with prices
    Models(Models),
    /// Serve the local OpenAI-compatible endpoint
    Proxy(Proxy),
    /// Release the key of encrypted weights to enclaves whose evidence passes a policy
    KeyBroker(KeyBrokerArgs),
    /// Judge the broker's log and ledger, or a bundle kept in a file
    Audit(Audit),
    /// Witness logs: cosign their checkpoints, keep and show proofs of forks
    Witness(Witness),
}

/// Runs a command. The exit code says what was found; an error, that it could not be done.
pub async fn run(command: ClientCommand, global: GlobalArgs) -> anyhow::Result<ExitCode> {
    let code = match command {
        ClientCommand::Appraise(appraise) => appraise.run(&global),
        ClientCommand::Evidence(evidence) => evidence.run(&global),
        ClientCommand::Verify(verify) => verify.run(&global).await?,
        ClientCommand::Endorsements(endorsements) => endorsements.run(&global).await?,
        ClientCommand::Policy(policy) => policy.run(&global)?,
        ClientCommand::Chat(chat) => chat.run(&global).await?,
        ClientCommand::Receipts(receipts) => receipts.run(&global).await?,
        ClientCommand::Account(account) => account.run(&global).await?,
        ClientCommand::Models(models) => models.run(&global).await?,
        ClientCommand::Proxy(proxy) => proxy.run(&global).await?,
        ClientCommand::KeyBroker(keys) => keys.run(&global).await?,
        ClientCommand::Audit(audit) => audit.run(&global).await?,
        ClientCommand::Witness(witness) => witness.run(&global).await?,
    };
    Ok(ExitCode::from(code))
}
