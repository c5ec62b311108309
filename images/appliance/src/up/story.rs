//! The story of one request, told with its real values; it fails where a step fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bulla_client::audit::{AuditReport, AuditTrust, audit_bytes};
use bulla_client::commands::amount;
use bulla_client::io::ask::{Progress, ask};
use bulla_client::io::broker::Account;
use bulla_client::io::system::SystemRng;
use bulla_client::request::ChatRequest;
use bulla_client::session::{Piece, Settled};
use bulla_tlog::{SignedCheckpoint, VerifierKey};
use bulla_wire::units::MicroUnits;
use rand_core::Rng;
use serde_json::json;

use super::paper::Paper;
use super::roles::Roles;

/// What is asked when nobody says what to ask.
const DEFAULT_PROMPT: &str =
    "Invoice 2026-0417 from Alder & Sons: 12 x toner cartridge at EUR 45.50, due 2026-12-01";
/// How long settlement and logging may take after the answer.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Tells it.
pub async fn tell(roles: &Roles, prompt: Option<&str>, paper: &mut Paper) -> anyhow::Result<()> {
    appraise(roles, paper).await?;
    let before = roles.client.broker().account().await?;
    let settled = converse(roles, prompt.unwrap_or(DEFAULT_PROMPT), paper).await?;
    tell_receipt(&settled, paper);
    settlement(roles, &before, &settled, paper).await?;
    let report = logged_and_audited(roles, paper).await?;
    paper.step("Audit: everything above, judged from one file, offline");
    paper.block("audit", &report.to_string());
    if !report.is_clean() {
        bail!("the audit found {} errors", report.errors().count());
    }
    let simulated = roles.enclave.security;
    paper.verdict(&format!("clean ({simulated} TEE)"));
    Ok(())
}

async fn appraise(roles: &Roles, paper: &mut Paper) -> anyhow::Result<()> {
    paper.step("Appraise: the client checks the evidence, fresh, before it says a word");
    let instance = &roles.enclave.instance;
    let client = &roles.client;
    let mut nonce = [0u8; 32];
    SystemRng::new().fill_bytes(&mut nonce);
    let (collateral, broker) = (client.collateral(), client.broker());
    let appraisal = collateral.appraise(broker, client.folder(), instance, nonce).await?;
    paper.fact("nonce", data_encoding::HEXLOWER.encode(&nonce));
    paper.block("checks", &appraisal.result.to_string());
    let made = roles.enclave.keyset_digest;
    if made.is_some_and(|made| appraisal.keys.keyset_digest() != made) {
        bail!("the attested keyset is not the one the enclave made");
    }
    Ok(())
}

async fn converse(roles: &Roles, prompt: &str, paper: &mut Paper) -> anyhow::Result<Settled> {
    let body = json!({
        "model": roles.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "stream": true,
    });
    let request = ChatRequest::read(body.to_string().as_bytes())?;
    let mut progress = ask(Arc::clone(&roles.client), request);
    let mut lines = SseText::default();
    let mut has_begun = false;
    while let Some(step) = progress.recv().await {
        match step? {
            Progress::Appraised { .. } => {}
            Progress::Ordered { instance, order, plain_bytes, sealed_bytes } => {
                paper.step(
                    "Seal and order: ciphertext for the enclave, a signed order for the broker",
                );
                paper.fact("prompt", prompt);
                paper.fact("sealed to", instance);
                paper.fact("sizes", format!("{plain_bytes} bytes in, {sealed_bytes} bytes sealed"));
                paper.fact("order", order.digest());
                paper.fact("hold id", order.hold);
                let (input, output) = (order.ceiling_input_tokens, order.ceiling_output_tokens);
                paper.fact("ceilings", format!("{input} tokens in, {output} tokens out"));
                paper.fact("at most", amount(order.max_charge, &order.unit));
            }
            Progress::Refetching { hold } => paper.fact("refetching", hold),
            Progress::Answer(Piece::Head { status, .. }) => {
                tell_hold(roles, paper).await?;
                paper.step("Run: the enclave checks order and grant, opens, and the answer streams back sealed");
                paper.fact("status", status);
                if status != 200 {
                    bail!("the enclave answered {status}");
                }
            }
            Progress::Answer(Piece::Body(bytes)) => {
                for text in lines.push(&bytes) {
                    if !has_begun {
                        paper.stream("    ");
                        has_begun = true;
                    }
                    paper.stream(&text);
                }
            }
            Progress::Done(settled) => {
                paper.stream("\n");
                return Ok(*settled);
            }
        }
    }
    bail!("the answer ended without a receipt")
}

async fn tell_hold(roles: &Roles, paper: &mut Paper) -> anyhow::Result<()> {
    let account = roles.client.broker().account().await?;
    paper.step(
        "Hold: the broker sets the most it may cost aside, then forwards what it cannot read",
    );
    for package in account.packages.iter().filter(|p| p.held > 0) {
        let held = amount(MicroUnits(package.held), &package.unit);
        let memo = package.memo.as_deref().unwrap_or("no remark");
        paper.fact("held", format!("{held} of package {} ({memo})", package.number));
    }
    Ok(())
}

fn tell_receipt(settled: &Settled, paper: &mut Paper) {
    let receipt = &settled.receipt;
    paper.step("Receipt: signed by the attested key before the last chunk left");
    paper.fact("receipt", receipt.id);
    paper.fact("place", format!("epoch {} seq {}", receipt.epoch, receipt.seq));
    let usage = &receipt.usage;
    paper.fact("usage", format!("{} tokens in, {} tokens out", usage.input, usage.output));
    paper.fact("charge", amount(receipt.charge, &receipt.unit));
    paper.fact("outcome", receipt.outcome);
    paper.fact("ran on", format!("{} for {} ms", receipt.accelerator, receipt.device_time_ms));
    paper.fact("security", receipt.security);
    paper.fact("digest", receipt.digest());
}

async fn settlement(
    roles: &Roles,
    before: &Account,
    settled: &Settled,
    paper: &mut Paper,
) -> anyhow::Result<()> {
    paper.step("Settle: the used part is spent, the rest returns");
    let started = Instant::now();
    let after = loop {
        let account = roles.client.broker().account().await?;
        if account.packages.iter().all(|p| p.held == 0) {
            break account;
        }
        if started.elapsed() > SETTLED_WITHIN {
            bail!("the hold was not settled within {} s", SETTLED_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let unit = &settled.receipt.unit;
    let available = |account: &Account| -> u64 {
        account.packages.iter().filter(|p| p.unit == *unit).map(|p| p.available).sum()
    };
    let (had, has) = (available(before), available(&after));
    paper.fact("before", amount(MicroUnits(had), unit));
    paper.fact("after", amount(MicroUnits(has), unit));
    let charge = settled.receipt.charge;
    if had.checked_sub(has) != Some(charge.0) {
        bail!("the balance moved by something else than the charge of {charge}");
    }
    Ok(())
}

/// Waits until every receipt is in the log, and audits what the broker exports.
async fn logged_and_audited(roles: &Roles, paper: &mut Paper) -> anyhow::Result<AuditReport> {
    let trust = trust(roles)?;
    let started = Instant::now();
    loop {
        let bundle = roles.operator.broker().audit_bundle(true).await?;
        let report = audit_bytes(&bundle, &trust);
        if report.is_clean() || started.elapsed() > SETTLED_WITHIN {
            let note = roles.client.broker().checkpoint().await?;
            let key = trust.log_keys.first().context("no log key")?;
            let signed = SignedCheckpoint::open(&note, key)?;
            paper.step("Log: the receipt's hash is a leaf; the broker signs a checkpoint");
            paper.block("checkpoint", &String::from_utf8_lossy(&note));
            paper.fact("leaves", signed.checkpoint().size());
            return Ok(report);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn trust(roles: &Roles) -> anyhow::Result<AuditTrust> {
    let config = roles.client.config();
    let log_key = config.broker.log_key.as_deref().context("no log key in the configuration")?;
    let collateral = roles.client.collateral();
    Ok(AuditTrust {
        log_keys: vec![VerifierKey::parse(log_key)?],
        broker_root: config.broker.root_key,
        anchors: collateral.anchors().clone(),
        policy: collateral.policy().clone(),
    })
}

/// Picks the text out of server-sent events, whatever the cuts.
#[derive(Default)]
pub struct SseText {
    buffer: String,
}

impl SseText {
    /// The texts that became whole with these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.push_str(&String::from_utf8_lossy(bytes));
        let mut texts = Vec::new();
        while let Some(end) = self.buffer.find('\n') {
            let line: String = self.buffer.drain(..=end).collect();
            let Some(data) = line.trim_end().strip_prefix("data: ") else { continue };
            let Ok(event) = serde_json::from_str::<serde_json::Value>(data) else { continue };
            let text = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            if !text.is_empty() {
                texts.push(text.to_owned());
            }
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_whatever_the_cuts() {
        let stream =
            "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n:  \n\ndata: [DONE]\n\n";
        for step in 1..stream.len() {
            let mut text = SseText::default();
            let got: String = stream.as_bytes().chunks(step).flat_map(|c| text.push(c)).collect();
            assert_eq!(got, "ab");
        }
    }
}
