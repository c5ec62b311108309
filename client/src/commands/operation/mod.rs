//! Every operation of the broker's HTTP API as a command: `bulla account …` for customers, `bulla
//! admin …` for operators. The commands are made from the API's own description, so an operation
//! without a command cannot be; nothing here knows what any of them does.

mod arguments;
mod description;
mod show;
#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::Context;
use axum::body::Body;
use bytes::Bytes;
use clap::{ArgMatches, Command, FromArgMatches, Subcommand};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use zeroize::Zeroizing;

pub use arguments::{Call, call, with_operations};
pub use description::{Operation, Side};
pub use show::amount;

use crate::io::tls::ServerIdentity;
use crate::io::transport::{Transport, TransportError};

/// Largest JSON answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Operations a customer's commands do by hand, with signatures and proofs checked: `invoices`,
/// `invoices NUMBER`, `why`, `dispute` (which may open what a receipt commits to).
pub const CHECKED_BY_HAND: [&str; 4] =
    ["account.invoices", "account.invoice", "account.why", "account.open-dispute"];

/// A running broker's HTTP API.
pub struct Remote {
    transport: Transport,
}

impl Remote {
    /// At `url`, known by `identity`, entered with `token`.
    pub fn new(
        url: &str,
        identity: Option<&ServerIdentity>,
        token: String,
    ) -> Result<Remote, TransportError> {
        let transport = Transport::new(url, identity, Some(Zeroizing::new(token)))?;
        Ok(Remote { transport })
    }

    /// Sends a request; gives the answer's body.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Body> {
        let method: Method = call.operation.method.parse().context("the method")?;
        let path = match call.query.is_empty() {
            true => call.path.clone(),
            false => format!("{}?{}", call.path, call.query),
        };
        let headers: &[(&str, &str)] = match call.operation.body {
            Some(_) => &[("content-type", "application/json")],
            None => &[],
        };
        let body = Bytes::from(call.body.clone());
        Ok(Body::new(self.transport.begin(method, &path, headers, body).await?))
    }
}

/// Prints an answer: JSON as text, or as it came; a file as it comes.
pub async fn print(call: &Call, answer: Body, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if call.operation.media != "application/json" {
        let mut answer = answer;
        while let Some(frame) = answer.frame().await {
            if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                out.write_all(&data)?;
            }
        }
        return Ok(out.flush()?);
    }
    let read = Limited::new(answer, MAX_ANSWER_BYTES).collect().await;
    let bytes = read.map_err(|error| anyhow::anyhow!("the answer: {error}"))?.to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).context("the answer")?;
    match json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?,
        false => write!(out, "{}", show::text(&value, &call.operation.amounts))?,
    }
    Ok(())
}

macro_rules! side {
    ($(#[$meta:meta])* $name:ident $side:expr, $by_hand:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Call);

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                use clap::error::ErrorKind;
                let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
                let called = call($side, matches.subcommand().ok_or_else(missing)?);
                let wrong = |e: anyhow::Error| clap::Error::raw(ErrorKind::InvalidValue, format!("{e:#}\n"));
                called.map_err(wrong)?.map($name).ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }

        impl Subcommand for $name {
            fn augment_subcommands(command: Command) -> Command {
                with_operations(command, $side, $by_hand)
            }

            fn augment_subcommands_for_update(command: Command) -> Command {
                Self::augment_subcommands(command)
            }

            fn has_subcommand(name: &str) -> bool {
                let mut operations = $side.operations();
                operations.any(|o| o.words[0] == name && !$by_hand.contains(&o.id.as_str()))
            }
        }
    };
}

side! {
    /// An operation of a customer.
    AccountOperation Side::Account, &CHECKED_BY_HAND
}
side! {
    /// An operation of the operator.
    AdminOperation Side::Admin, &[]
}
