//! The models a customer can ask for, as OpenAI's API lists them: what the verified price book names
//! and some enclave serves.

use bulla_wire::price::PriceBook;
use bulla_wire::units::Unit;
use serde::Serialize;
use serde_json::{Value, json};

use crate::catalogue::Catalogue;

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models, in the order of the price book.
    pub data: Vec<Value>,
}

/// The models with a price in `unit` that somebody serves now.
pub fn models(book: &PriceBook, catalogue: &Catalogue, unit: &Unit) -> ModelList {
    let priced = book.rows.iter().filter(|row| row.unit == *unit);
    let data = priced
        .filter_map(|row| {
            let (instances, context_tokens) = catalogue.serving(&row.name, &row.model).ok()?;
            let security: Vec<_> = catalogue
                .enclaves
                .iter()
                .filter(|enclave| instances.contains(&enclave.instance))
                .map(|enclave| enclave.security)
                .collect();
            let facts = json!({
                "manifest": row.model,
                "context_tokens": context_tokens,
                "instances": instances,
                "security": security.first(),
                "unit": row.unit,
                "rates": row.rates,
            });
            Some(json!({
                "id": row.name,
                "object": "model",
                "created": book.effective_from,
                "owned_by": "bulla",
                "bulla": facts,
            }))
        })
        .collect();
    ModelList { object: "list", data }
}

impl ModelList {
    /// The entry of one model.
    pub fn entry(&self, name: &str) -> Option<&Value> {
        self.data.iter().find(|entry| entry["id"] == name)
    }
}
