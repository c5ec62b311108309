//! `bulla chat`: one question, sealed, ordered, answered and receipted.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::account::tokens;
use super::events::{EventText, Said, whole};
use super::show::{self, FAINT, WARN};
use super::{EXIT_FAILED, EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::io::ask::{Progress, ask};
use crate::io::client::Client;
use crate::io::proxy;
use crate::request::ChatRequest;
use crate::session::{Piece, Settled};

/// Asks a model.
#[derive(Debug, Clone, Args)]
pub struct Chat {
    /// What to ask; `-` reads it from standard input
    pub prompt: String,
    /// Model; the first one listed when left out
    #[arg(long)]
    pub model: Option<String>,
    /// System message
    #[arg(long)]
    pub system: Option<String>,
    /// Most tokens of the answer
    #[arg(long)]
    pub max_tokens: Option<u64>,
    /// 0 always gives the same answer
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Wait for the whole answer instead of showing it as it comes
    #[arg(long)]
    pub no_stream: bool,
    /// Experimental: pay with blind tokens (`bulla account draw`) and name no account
    #[arg(long)]
    pub anonymous: bool,
}

/// What came of a question.
#[derive(Default)]
struct Outcome {
    text: String,
    error: Option<String>,
    security: Option<&'static str>,
    settled: Option<Box<Settled>>,
}

impl Chat {
    /// Asks and shows the answer.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let client = match self.anonymous {
            true => global.anonymous_client()?,
            false => global.client()?,
        };
        let request = ChatRequest::read(self.body(&client).await?.to_string().as_bytes())?;
        let outcome = self.converse(client.clone(), request, global.json).await?;
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&outcome.to_json())?),
            false if self.anonymous => {
                anstream::eprintln!("{FAINT}{}{FAINT:#}", tokens::left(&client)?);
            }
            false => (),
        }
        match (&outcome.error, &outcome.settled) {
            (Some(error), _) => {
                anstream::eprintln!("{WARN}the enclave answers with an error:{WARN:#} {error}");
                Ok(EXIT_REFUSED)
            }
            (None, Some(_)) => Ok(EXIT_OK),
            (None, None) => Ok(EXIT_FAILED),
        }
    }

    async fn body(&self, client: &Client) -> anyhow::Result<Value> {
        let prompt = match self.prompt.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).context("standard input")?,
            text => text.to_owned(),
        };
        let model = match &self.model {
            Some(model) => model.clone(),
            None => first_model(client).await?,
        };
        let mut messages = Vec::new();
        if let Some(system) = &self.system {
            messages.push(json!({"role": "system", "content": system}));
        }
        messages.push(json!({"role": "user", "content": prompt}));
        let mut body = json!({"model": model, "messages": messages, "stream": !self.no_stream});
        if let Some(max_tokens) = self.max_tokens {
            body["max_tokens"] = json!(max_tokens);
        }
        if let Some(temperature) = self.temperature {
            body["temperature"] = json!(temperature);
        }
        Ok(body)
    }

    async fn converse(
        &self,
        client: Arc<Client>,
        request: ChatRequest,
        quiet: bool,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut events = EventText::default();
        let mut document = Vec::new();
        let mut is_stream = false;
        let mut answer = ask(client, request);
        while let Some(progress) = answer.recv().await {
            match progress? {
                Progress::Answer(Piece::Head { headers, .. }) => {
                    is_stream = headers.iter().any(|(name, value)| {
                        name == "content-type" && value.starts_with("text/event-stream")
                    });
                }
                Progress::Answer(Piece::Body(bytes)) if is_stream => {
                    events.push(&bytes).into_iter().for_each(|said| outcome.take(said, quiet));
                }
                Progress::Answer(Piece::Body(bytes)) => document.extend(bytes),
                Progress::Done(settled) => {
                    whole(&document).into_iter().for_each(|said| outcome.take(said, quiet));
                    outcome.end(settled, quiet);
                }
                other => outcome.tell(&other, quiet),
            }
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// What happens before the answer, on standard error.
    fn tell(&mut self, progress: &Progress, quiet: bool) {
        if let Progress::Appraised { appraisal, .. } = progress {
            let simulated = appraisal.result.is_simulated();
            self.security = Some(if simulated { "simulated" } else { "hardware" });
        }
        if quiet {
            return;
        }
        match progress {
            Progress::Appraised { appraisal, .. } => {
                let (result, keys) = (&appraisal.result, &appraisal.keys);
                let instance = keys.subject().map_or("?", |subject| subject.instance.as_str());
                let checks = result.checks().len();
                let mode = crate::session::receipt::security_of(keys);
                anstream::eprintln!(
                    "{FAINT}{instance}: evidence affirmed, {checks} checks, policy {}, keyset {}{FAINT:#} {}",
                    result.policy().name,
                    keys.keyset_digest(),
                    show::security(mode),
                );
            }
            Progress::Ordered { order, plain_bytes, sealed_bytes, .. } => anstream::eprintln!(
                "{FAINT}sealed {plain_bytes} bytes into {sealed_bytes}, ordered for at most {}{FAINT:#}",
                show::amount(order.max_charge, &order.unit),
            ),
            Progress::Refetching { hold } => {
                anstream::eprintln!(
                    "{FAINT}answer lost, fetching it again by hold {hold}{FAINT:#}"
                );
            }
            _ => (),
        }
    }

    fn take(&mut self, said: Said, quiet: bool) {
        match said {
            Said::Text(text) => {
                let text = show::harmless(&text);
                if !quiet {
                    print!("{text}");
                    // An answer that cannot be shown any more is still receipted.
                    let _ = std::io::stdout().flush();
                }
                self.text.push_str(&text);
            }
            Said::Error(message) => self.error = Some(show::harmless(&message)),
        }
    }

    fn end(&mut self, settled: Box<Settled>, quiet: bool) {
        if !quiet {
            println!();
            anstream::eprintln!("{}", show::receipt_line(&settled.receipt));
        }
        self.settled = Some(settled);
    }

    fn to_json(&self) -> Value {
        let settled = self.settled.as_ref();
        json!({
            "answer": self.text,
            "error": self.error,
            "security": self.security,
            "instance": settled.map(|settled| settled.instance.to_string()),
            "receipt_digest": settled.map(|settled| settled.receipt.digest()),
            "receipt": settled.map(|settled| (*settled.receipt).clone()),
        })
    }
}

async fn first_model(client: &Client) -> anyhow::Result<String> {
    let list = proxy::list(client).await.map_err(|f| anyhow::anyhow!(f.body.error.message))?;
    let name = list.data.first().and_then(|entry| entry["id"].as_str()).map(str::to_owned);
    name.context("no model is served now: try again later, or see `bulla models`")
}
