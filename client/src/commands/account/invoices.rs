//! `bulla account invoices` and `bulla account why`: what the broker claims, with the signatures and
//! proofs behind it checked here.

use anyhow::{Context, bail};
use bulla_attestation::sign::{Signed, verify};
use bulla_tlog::{Hash, TlogProof};
use bulla_wire::ids::{Digest, EpochId};
use bulla_wire::leaf::Leaf;
use bulla_wire::supply::InvoiceDocument;
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::commands::operation::amount;
use crate::commands::show::{FAINT, GOOD, WARN, harmless};
use crate::commands::{EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::io::client::Client;

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("")
}

/// Lists invoices and credit notes.
pub(super) async fn list(global: &GlobalArgs) -> anyhow::Result<u8> {
    let view = global.client()?.broker().invoices().await?;
    if global.json {
        println!("{}", serde_json::to_string_pretty(&view)?);
        return Ok(EXIT_OK);
    }
    for invoice in view["invoices"].as_array().into_iter().flatten() {
        let (kind, unit) = (harmless(text(invoice, "kind")), harmless(text(invoice, "unit")));
        let period = |place: usize| harmless(invoice["period"][place].as_str().unwrap_or(""));
        println!(
            "{:>6}  {kind:<11} {} to {} ({})  {} {unit}",
            invoice["number"],
            period(0),
            period(1),
            harmless(text(invoice, "zone")),
            amount(text(invoice, "total"))
        );
    }
    Ok(EXIT_OK)
}

/// The document in a signed invoice.
fn opened(client: &Client, view: &Value) -> anyhow::Result<Value> {
    let bytes = BASE64.decode(text(view, "cose").as_bytes()).context("the signed bytes")?;
    let root = client.config().broker.root_key;
    let signed: Signed<InvoiceDocument> =
        verify(&bytes, &root).context("the invoice is not signed by the pinned root key")?;
    Ok(serde_json::from_slice(&signed.document.0)?)
}

/// Shows an invoice as it was signed.
pub(super) async fn show(global: &GlobalArgs, number: u64) -> anyhow::Result<u8> {
    let client = global.client()?;
    let document = opened(&client, &client.broker().invoice(number).await?)?;
    if document["number"].as_u64() != Some(number) {
        bail!("asked for invoice {number}, the broker sent {}", document["number"]);
    }
    if global.json {
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(EXIT_OK);
    }
    anstream::println!(
        "{} {number} for {}: {} {}  {GOOD}signed by the pinned root key{GOOD:#}",
        harmless(text(&document, "kind")),
        harmless(text(&document, "name")),
        amount(text(&document, "total")),
        harmless(text(&document, "unit"))
    );
    for line in document["lines"].as_array().into_iter().flatten() {
        let (what, model) = (harmless(text(line, "what")), harmless(text(line, "model")));
        println!(
            "  {what:<9} {model:<24} {:>8} x  {}",
            line["count"],
            amount(text(line, "amount"))
        );
    }
    for receipt in document["annex"].as_array().into_iter().flatten() {
        let (hold, digest) = (harmless(text(receipt, "hold")), harmless(text(receipt, "receipt")));
        let charge = amount(text(receipt, "charge"));
        anstream::println!("{FAINT}  hold {hold} receipt {digest} charge {charge}{FAINT:#}");
    }
    Ok(EXIT_OK)
}

/// Whether the receipt's leaf is in the log the customer pinned.
async fn proven(client: &Client, told: &Value) -> anyhow::Result<Option<String>> {
    let (Some(key), Some(digest)) = (client.log_key(), told["receipt_digest"].as_str()) else {
        return Ok(None);
    };
    let (receipt, digest) = (&told["receipt"], digest.parse::<Digest>()?);
    let leaf = Leaf::Receipt {
        epoch: text(receipt, "epoch").parse::<EpochId>()?,
        seq: receipt["seq"].as_u64().context("place of the receipt")?,
        prev: text(receipt, "prev").parse::<Digest>()?,
        receipt: digest,
    };
    let proof = TlogProof::parse(&client.broker().proof(&digest).await?).context("the proof")?;
    proof
        .verify(Hash::leaf(&leaf.to_vec()), key, None)
        .context("the receipt is not proven to be in the log")?;
    Ok(Some(format!("leaf {} of the pinned log, proven", proof.index())))
}

/// Explains a charge.
pub(super) async fn why(global: &GlobalArgs, id: &str) -> anyhow::Result<u8> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        bail!("{id:?} is no hold id, receipt digest or transfer number");
    }
    let client = global.client()?;
    let told = client.broker().why(id).await?;
    let proven = proven(&client, &told).await;
    let code = if proven.is_ok() { EXIT_OK } else { EXIT_REFUSED };
    if global.json {
        let proof = proven.map_err(|error| format!("{error:#}"));
        let proof = proof.map_or_else(|no| json!({ "error": no }), |yes| json!({ "told": yes }));
        println!("{}", serde_json::to_string_pretty(&json!({ "told": told, "proof": proof }))?);
        return Ok(code);
    }
    println!("hold {}: {}", harmless(text(&told, "hold")), harmless(text(&told, "told")));
    println!("receipt {}", harmless(text(&told, "receipt_digest")));
    match proven {
        Ok(Some(proof)) => anstream::println!("  {GOOD}{proof}{GOOD:#}"),
        Ok(None) => anstream::println!("  {WARN}not proven: set log_key to check the log{WARN:#}"),
        Err(error) => anstream::println!("  {WARN}{error:#}{WARN:#}"),
    }
    let (keyset, evidence) = (text(&told, "keyset"), text(&told, "evidence"));
    println!("signed under keyset {}", harmless(keyset));
    println!("appraised with evidence {}: `bulla audit` judges it", harmless(evidence));
    Ok(code)
}
