//! `bulla models`: what can be asked, and what it costs.

use bulla_wire::price::Rates;
use bulla_wire::units::{MicroUnits, Unit};
use clap::Args;
use serde_json::Value;

use super::show::{amount, columns};
use super::{EXIT_OK, GlobalArgs};
use crate::io::proxy;

/// Lists models.
#[derive(Debug, Clone, Args)]
pub struct Models {}

impl Models {
    /// Fetches the list and shows it.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let client = global.client()?;
        let list = proxy::list(&client).await;
        let list = list.map_err(|failure| anyhow::anyhow!(failure.body.error.message))?;
        if global.json {
            println!("{}", serde_json::to_string_pretty(&list)?);
            return Ok(EXIT_OK);
        }
        let unit = &client.config().spending.unit;
        let head = ["MODEL", "CONTEXT", "SECURITY", "INPUT/M", "OUTPUT/M", "MANIFEST"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(list.data.iter().map(|entry| row(entry, unit)));
        print!("{}", columns(&rows));
        Ok(EXIT_OK)
    }
}

fn row(entry: &Value, unit: &Unit) -> Vec<String> {
    let facts = &entry["bulla"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rates: Rates = serde_json::from_value(facts["rates"].clone()).unwrap_or_default();
    vec![
        text(&entry["id"]),
        facts["context_tokens"].to_string(),
        text(&facts["security"]),
        amount(MicroUnits(rates.input), unit),
        amount(MicroUnits(rates.output), unit),
        text(&facts["manifest"]),
    ]
}
