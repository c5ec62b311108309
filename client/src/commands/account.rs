//! `bulla account`: packages, balances, order keys, and every operation of the account's HTTP API.

mod dispute;
mod invoices;
pub(super) mod tokens;

use anyhow::Context;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use clap::{Args, Subcommand};
use serde_json::json;

use super::operation::{AccountOperation, Remote, print};
use super::show::{FAINT, GOOD, WARN, amount, columns, harmless, instant};
use super::{EXIT_OK, GlobalArgs};
use crate::io::broker::{Account as View, Package};
use crate::io::client::{Client, identity};
use crate::io::folder::Folder;
use crate::io::system::SystemRng;

/// Shows the account, or changes something about it.
#[derive(Debug, Clone, Args)]
pub struct Account {
    /// Address of the broker's pages and HTTP API [default: pages_url of the configuration]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// API token [default: what set-token stored, else the credential, which may only look]
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "BULLA_API_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Clone, Default, Subcommand)]
enum Action {
    /// Show packages, balances and order keys (the default)
    #[default]
    Show,
    /// Register this machine's order key with the account
    RegisterKey,
    /// Make a new order key, keep the old one beside it, and register the new one
    NewKey,
    /// Experimental: draw value of the packages as blind tokens, to be spent with `chat --anonymous`
    Draw {
        /// How much, in whole units (12.5)
        #[arg(value_parser = tokens::micro)]
        amount: MicroUnits,
        /// Unit of account [default: the configuration's]
        #[arg(long)]
        unit: Option<Unit>,
    },
    /// Show the blind tokens of this machine; finish what was left unfinished
    Wallet,
    /// Store the broker's credential, read from standard input
    SetCredential,
    /// Store an API token, read from standard input
    SetToken,
    /// List invoices and credit notes, or show one: its signature is verified under the pinned key
    Invoices {
        /// Number of the one to show
        number: Option<u64>,
    },
    /// Why was I charged: a hold, a receipt's digest or a transfer's number, down to receipt, proof
    /// and evidence
    Why {
        /// The id
        id: String,
    },
    /// Dispute a charge: it is frozen until the operator decides
    Dispute(dispute::Dispute),
    #[command(flatten)]
    Operation(AccountOperation),
}

impl Account {
    /// Does what was asked.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        match self.action.clone().unwrap_or_default() {
            Action::Show => show(global).await,
            Action::RegisterKey => register(global).await,
            Action::NewKey => {
                Folder::open(&global.client_folder())?.new_order_key(&mut SystemRng::new())?;
                register(global).await
            }
            Action::Draw { amount, unit } => tokens::draw(global, amount, unit).await,
            Action::Wallet => tokens::show(global).await,
            Action::SetCredential => set_credential(global),
            Action::SetToken => set_token(global),
            Action::Operation(AccountOperation(call)) => {
                let answer = self.remote(global)?.send(&call).await?;
                print(&call, answer, global.json).await?;
                Ok(EXIT_OK)
            }
            Action::Invoices { number: None } => invoices::list(global).await,
            Action::Invoices { number: Some(number) } => invoices::show(global, number).await,
            Action::Why { id } => invoices::why(global, &id).await,
            Action::Dispute(dispute) => dispute.run(global).await,
        }
    }
}

impl Account {
    /// The way to the account's HTTP API.
    fn remote(&self, global: &GlobalArgs) -> anyhow::Result<Remote> {
        let folder = Folder::open(&global.client_folder())?;
        let path = global.config.clone().unwrap_or_else(|| folder.config_path());
        let config = folder.config(&path)?.broker;
        let url = self.url.clone().or_else(|| config.pages_url.clone());
        let url = url.context(
            "the broker's pages are nowhere named: give --url, or set pages_url under [broker]",
        )?;
        let token = match &self.token {
            Some(token) => token.clone(),
            None => folder.api_token()?.map_or_else(|| folder.credential(), Ok)?.to_string(),
        };
        Ok(Remote::new(&url, identity(&config)?.as_ref(), token)?)
    }
}

fn set_token(global: &GlobalArgs) -> anyhow::Result<u8> {
    let text = std::io::read_to_string(std::io::stdin()).context("standard input")?;
    let folder = Folder::open(&global.client_folder())?;
    folder.store_api_token(text.trim())?;
    folder.api_token()?;
    Ok(EXIT_OK)
}

fn set_credential(global: &GlobalArgs) -> anyhow::Result<u8> {
    let text = std::io::read_to_string(std::io::stdin()).context("standard input")?;
    let folder = Folder::open(&global.client_folder())?;
    folder.store_credential(text.trim())?;
    folder.credential()?;
    Ok(EXIT_OK)
}

async fn register(global: &GlobalArgs) -> anyhow::Result<u8> {
    let client = global.client()?;
    let was_new = client.ensure_registered().await?;
    let handle = client.account();
    if global.json {
        println!("{}", json!({"account_handle": handle, "registered_now": was_new}));
    } else {
        let word = if was_new { "registered" } else { "registered already" };
        anstream::println!("{GOOD}{word}{GOOD:#}: account handle {handle}");
    }
    Ok(EXIT_OK)
}

async fn show(global: &GlobalArgs) -> anyhow::Result<u8> {
    let client = global.client()?;
    let view = client.broker().account().await?;
    if global.json {
        let handle = client.account();
        let document = json!({"account": view, "this_order_key": handle});
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(EXIT_OK);
    }
    println!("{} (account {})", harmless(&view.name), view.account);
    let head = ["PACKAGE", "AVAILABLE", "HELD", "SPENT", "GRANTED", "EXPIRES", "MEMO"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(view.packages.iter().map(row));
    print!("{}", columns(&rows));
    order_keys(&client, &view);
    Ok(EXIT_OK)
}

fn row(package: &Package) -> Vec<String> {
    let money = |micro: u64| amount(MicroUnits(micro), &package.unit);
    let expires = package.expires_at.map_or("never".to_owned(), |at| instant(UnixSeconds(at)));
    vec![
        package.number.to_string(),
        money(package.available),
        money(package.held),
        money(package.spent),
        money(package.granted),
        expires,
        harmless(package.memo.as_deref().unwrap_or("")),
    ]
}

fn order_keys(client: &Client, view: &View) {
    let own = client.account();
    for handle in &view.order_keys {
        let mark = if *handle == own { "  this machine" } else { "" };
        anstream::println!("order key {handle}{FAINT}{mark}{FAINT:#}");
    }
    if !view.order_keys.contains(&own) {
        anstream::println!(
            "{WARN}this machine's order key is not registered:{WARN:#} run `bulla account register-key`"
        );
    }
}
