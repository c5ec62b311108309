//! `bulla witness show`: orders without a signed answer are brought to witnesses.

use anyhow::{Context, bail};
use bulla_attestation::hash::account_handle;
use bulla_attestation::sign::{Signed, verify_order};
use bulla_wire::order::Order;
use bulla_wire::units::UnixSeconds;
use clap::Args;
use serde_json::json;

use super::super::audit::configured;
use super::super::show::{columns, harmless, instant};
use super::super::{EXIT_FAILED, EXIT_OK, GlobalArgs};
use crate::io::folder::Folder;
use crate::io::records::Records;
use crate::io::showings::{Said, ShowError, Showings};
use crate::io::system::now;
use crate::witness::MAX_ORDER_AGE_S;

/// Brings every order of the last day that has neither answer nor refusal to witnesses, which hand
/// them to the log's operator, and keeps what they say of it
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Address of a witness, beside those under [disputes] in the configuration
    #[arg(long = "to", value_name = "URL")]
    to: Vec<String>,
}

impl Show {
    /// Brings, and says what came of it.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let (folder, config) = configured(global)?;
        let mut witnesses = config.disputes.witnesses.clone();
        witnesses.extend(self.to.iter().cloned());
        if witnesses.is_empty() {
            bail!("name a witness: --to URL, or witnesses under [disputes]");
        }
        let log = config.broker.log()?.context(
            "log_key under [broker] must name the log whose order it is: name+id+key, from the broker's operator",
        )?;
        let showings = Showings::of(&folder);
        let mut rows = Vec::new();
        for order in unanswered(&folder, now().seconds())? {
            for (url, said) in showings.show(&witnesses, &log, order.bytes()).await {
                rows.push((order.digest(), url, said));
            }
        }
        let failed = rows.iter().any(|(.., said)| said.is_err());
        match global.json {
            true => {
                let told = rows.iter().map(|(order, url, said)| {
                    json!({"order": order, "witness": url, "said": state(said), "handed_at": at(said)})
                });
                println!("{}", json!({"orders": told.collect::<Vec<_>>()}));
            }
            false if rows.is_empty() => {
                println!("no order of the last day stayed without an answer: nothing to bring");
            }
            false => {
                let line = |(order, url, said): &(_, String, _)| {
                    vec![format!("order {order}"), harmless(url), harmless(&sentence(said))]
                };
                print!("{}", columns(&rows.iter().map(line).collect::<Vec<_>>()));
            }
        }
        Ok(if failed { EXIT_FAILED } else { EXIT_OK })
    }
}

/// Own orders of the last day that nobody answered.
fn unanswered(folder: &Folder, now: UnixSeconds) -> anyhow::Result<Vec<Signed<Order>>> {
    let own = folder.order_handles()?;
    let records = Records::at(folder.file("receipts.jsonl")).read()?;
    let mut orders = Vec::new();
    for record in records.iter().filter(|record| record.is_lost()) {
        let order = verify_order(&record.order)?;
        let young = now.0.saturating_sub(order.issued_at.0) <= MAX_ORDER_AGE_S;
        // What was paid with blind tokens is signed with a key that is nobody's.
        if young && own.contains(&account_handle(&order.order_key)) {
            orders.push(order);
        }
    }
    Ok(orders)
}

fn state(said: &Result<Said, ShowError>) -> &'static str {
    match said {
        Ok(Said::Handed(_)) => "handed",
        Ok(Said::Waits) => "waits",
        Err(_) => "failed",
    }
}

fn at(said: &Result<Said, ShowError>) -> Option<UnixSeconds> {
    match said {
        Ok(Said::Handed(word)) => Some(word.shown_at),
        _ => None,
    }
}

fn sentence(said: &Result<Said, ShowError>) -> String {
    match said {
        Ok(Said::Handed(word)) => {
            let (witness, at) = (&word.witness, instant(word.shown_at));
            format!("{witness} handed it to the log's operator at {at}; its word is kept")
        }
        Ok(Said::Waits) => "waits for the log's next request: ask again".to_owned(),
        Err(error) => error.to_string(),
    }
}
