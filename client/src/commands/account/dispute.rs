//! `bulla account dispute`: a charge is frozen until the operator decides, and what was asked and
//! answered is shown where the customer wants that.

use anyhow::Context;
use bulla_wire::bundle::Item;
use bulla_wire::cbor::{self, Bytes};
use bulla_wire::units::{MicroUnits, decimal};
use clap::Args;
use data_encoding::BASE64;
use serde_json::json;

use super::super::receipts::{find, kept, opening};
use super::super::show::harmless;
use super::super::{EXIT_OK, GlobalArgs};
use super::tokens;
use crate::io::folder::Folder;

/// A charge that is disputed.
#[derive(Debug, Clone, Args)]
pub(super) struct Dispute {
    /// Receipt id, digest or hold, or the beginning of one
    id: String,
    /// Why
    #[arg(long)]
    memo: String,
    /// How much of it, in whole units (12.5); all that is left of it when left out
    #[arg(long, value_parser = tokens::micro)]
    amount: Option<MicroUnits>,
    /// Show the broker request and answer, as they were kept on this machine: it compares them with
    /// what the receipt commits to
    #[arg(long)]
    open: bool,
}

impl Dispute {
    /// Sends it.
    pub(super) async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let folder = Folder::open(&global.client_folder())?;
        let records = kept(&folder)?;
        let record = find(&records, &self.id)?;
        let hold = record.hold().context("the record kept names no hold")?;
        let file = match self.open {
            true => {
                let digest = record.receipt_digest();
                let digest = digest.context("its answer was lost: there is no receipt to open")?;
                let receipt = Item::Receipt(Bytes(record.receipt.clone()));
                Some([receipt, opening(&folder, &digest)?].map(|item| cbor::to_vec(&item)).concat())
            }
            false => None,
        };
        let mut asked = json!({ "hold": hold, "memo": self.memo });
        if let Some(amount) = self.amount {
            asked["amount"] = json!(amount);
        }
        if let Some(file) = &file {
            asked["opening"] = json!(BASE64.encode(file));
        }
        let told = global.client()?.broker().dispute(&asked).await?;
        if global.json {
            println!("{}", serde_json::to_string_pretty(&told)?);
            return Ok(EXIT_OK);
        }
        let unit = harmless(told["unit"].as_str().unwrap_or_default());
        let frozen = decimal(told["disputed"].as_u64().unwrap_or_default().into());
        println!("{frozen} {unit} are frozen until it is decided");
        match told["opened"].is_object() {
            true => println!("request and answer are those the receipt commits to"),
            false => println!("request and answer were not opened: `--open` shows them"),
        }
        Ok(EXIT_OK)
    }
}
