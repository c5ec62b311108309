//! `bulla endorsements fetch`: what evidence needs, from the vendors' services.

use std::path::PathBuf;

use anyhow::bail;
use bulla_wire::units::UnixSeconds;
use clap::Args;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{EXIT_FAILED, EXIT_OK, Product, read, seconds};
use crate::commands::show::{BAD, FAINT, GOOD, WARN, harmless};
use crate::endorsements::{Material, Need, Request};
use crate::io::endorsements::{Cache, FetchError, Fetcher, Gathered};
use crate::io::system::now;

/// Rounds of fetching: a manifest that was fetched has signers to ask about.
const MAX_ROUNDS: usize = 2;

/// Fetches what evidence needs.
#[derive(Debug, Clone, Args)]
pub(super) struct Fetch {
    /// Evidence in any encoding; endorsements in the same files count as given
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Endorsements that are at hand already
    #[arg(long, value_name = "FILE")]
    endorsement: Vec<PathBuf>,
    /// The processor, for SEV-SNP reports of version 2 that come without a certificate
    #[arg(long)]
    product: Option<Product>,
    /// Only say what would be asked, and where
    #[arg(long)]
    dry_run: bool,
}

/// What became of one need.
struct Told {
    need: Need,
    outcome: Outcome,
}

enum Outcome {
    Given,
    Kept,
    Fetched,
    Missing(Option<FetchError>),
}

impl Fetch {
    pub(super) async fn run(&self, cache: &Cache, json: bool) -> anyhow::Result<u8> {
        self.run_with(cache, &Fetcher::public(), json).await
    }

    /// With a fetcher of the caller's.
    pub(super) async fn run_with(
        &self,
        cache: &Cache,
        fetcher: &Fetcher,
        json: bool,
    ) -> anyhow::Result<u8> {
        let material = read(&self.files, &self.endorsement)?;
        if material.evidence.is_empty() {
            bail!("no evidence found in these files: {}", material.left_aside.join("; "));
        }
        let at = now().seconds();
        let mut told = Vec::new();
        let mut gathered = self.gather(&material, cache, at)?;
        for _ in 0..MAX_ROUNDS {
            let new: Vec<Need> = (gathered.missing.iter())
                .filter(|need| told.iter().all(|told: &Told| told.need != **need))
                .cloned()
                .collect();
            if new.is_empty() {
                break;
            }
            for need in new {
                let outcome = match self.dry_run {
                    true => Outcome::Missing(Request::of(&need).err().map(FetchError::from)),
                    false => fetch(cache, fetcher, &need, seconds(at)).await?,
                };
                told.push(Told { need, outcome });
            }
            gathered = self.gather(&material, cache, at)?;
        }
        let told = everything(&gathered, told, seconds(at));
        show(&told, &gathered.needs.remarks, json)?;
        let is_done = self.dry_run || told.iter().all(|told| !told.is_missing());
        Ok(if is_done { EXIT_OK } else { EXIT_FAILED })
    }

    fn gather(
        &self,
        material: &Material,
        cache: &Cache,
        at: UnixSeconds,
    ) -> anyhow::Result<Gathered> {
        let line = self.product.map(Into::into);
        Ok(Gathered::gather(material, Some(cache), line, seconds(at))?)
    }
}

async fn fetch(cache: &Cache, fetcher: &Fetcher, need: &Need, now: i64) -> anyhow::Result<Outcome> {
    match fetcher.fetch(need, now).await {
        Ok(pieces) => {
            for piece in pieces {
                cache.put(&piece)?;
            }
            Ok(Outcome::Fetched)
        }
        Err(error) => Ok(Outcome::Missing(Some(error))),
    }
}

/// What was tried, and what did not have to be.
fn everything(gathered: &Gathered, tried: Vec<Told>, now: i64) -> Vec<Told> {
    let untried =
        gathered.needs.needs.iter().filter(|need| tried.iter().all(|told| told.need != **need));
    let mut all: Vec<Told> = untried
        .map(|need| {
            let outcome = if gathered.is_given(need, now) { Outcome::Given } else { Outcome::Kept };
            Told { need: need.clone(), outcome }
        })
        .collect();
    all.extend(tried);
    all
}

impl Told {
    fn is_missing(&self) -> bool {
        matches!(self.outcome, Outcome::Missing(_))
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Given => "given",
            Outcome::Kept => "kept",
            Outcome::Fetched => "fetched",
            Outcome::Missing(_) => "missing",
        }
    }

    fn error(&self) -> Option<&FetchError> {
        match &self.outcome {
            Outcome::Missing(error) => error.as_ref(),
            _ => None,
        }
    }

    fn document(&self) -> Value {
        let request = Request::of(&self.need).ok();
        json!({
            "need": self.need.to_string(),
            "status": self.word(),
            "service": request.as_ref().map(|request| request.service.name),
            "method": request.as_ref().map(Request::method),
            "url": request.as_ref().map(Request::url),
            "body": request.as_ref().and_then(|r| r.body.as_ref()).map(|body| BASE64.encode(body)),
            "error": self.error().map(ToString::to_string),
        })
    }
}

fn show(told: &[Told], remarks: &[String], json: bool) -> anyhow::Result<()> {
    if json {
        let needs: Vec<Value> = told.iter().map(Told::document).collect();
        let document = json!({ "needs": needs, "remarks": remarks });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    for told in told {
        let style = if told.is_missing() { WARN } else { GOOD };
        let need = harmless(&told.need.to_string());
        anstream::println!("{style}{:8}{style:#} {need}", told.word());
        if !told.is_missing() {
            continue;
        }
        if let Ok(request) = Request::of(&told.need) {
            anstream::println!("         {FAINT}{} {}{FAINT:#}", request.method(), request.url());
        }
        if let Some(error) = told.error() {
            anstream::println!("         {BAD}{}{BAD:#}", harmless(&error.to_string()));
        }
    }
    for remark in remarks {
        anstream::println!("{WARN}remark{WARN:#}   {}", harmless(remark));
    }
    let is_offline = told.iter().filter_map(Told::error).any(FetchError::is_offline);
    if is_offline {
        anstream::eprintln!(
            "This machine does not reach the vendors' services. Fetch the addresses above on one that does \
             (a POST with its body from --json), bring the files here, and run\n  bulla endorsements import FILE..."
        );
    }
    Ok(())
}
