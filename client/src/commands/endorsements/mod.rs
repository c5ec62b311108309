//! `bulla endorsements`: what vendors say about machines, kept on this one.
//!
//! Nothing kept is believed: the verifier checks every signature each time. The cache saves
//! fetching, and makes appraisals possible where there is no network.

mod bundle;
mod fetch;
#[cfg(test)]
pub(super) mod tests;

use std::path::{Path, PathBuf};

use anyhow::Context;
use bulla_attestation::input::{MAX_FILE_BYTES, Role};
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_wire::units::UnixSeconds;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::bundle::Bundle;
use self::fetch::Fetch;
use super::show::{FAINT, harmless};
use super::{EXIT_FAILED, EXIT_OK, GlobalArgs};
use crate::endorsements::Material;
use crate::io::endorsements::{Cache, CacheError};
use crate::io::folder::{Folder, read_limited};
use crate::io::system::now;

/// Keeps, fetches and bundles endorsements.
#[derive(Debug, Clone, Args)]
pub struct Endorsements {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// List what is kept, and until when it is worth keeping
    List,
    /// Keep the endorsements in these files: which is which is found out
    Import {
        /// Certificates, chains, revocation lists, collateral, manifests, OCSP answers, bundles
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Drop what is over: revocation lists, collateral and OCSP answers past their next update
    Prune,
    /// Fetch what evidence needs and is not kept yet, from the vendors' services
    Fetch(Fetch),
    /// Write one file with evidence and all its endorsements, to be judged offline at any time
    Bundle(Bundle),
}

/// A product line, for reports that do not name theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Product {
    Milan,
    Genoa,
    Turin,
}

impl From<Product> for ProductLine {
    fn from(product: Product) -> ProductLine {
        match product {
            Product::Milan => ProductLine::Milan,
            Product::Genoa => ProductLine::Genoa,
            Product::Turin => ProductLine::Turin,
        }
    }
}

impl Endorsements {
    /// Does it. Exit code 0 done, 2 not everything could be done.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let cache = Cache::open(&Folder::open(&global.client_folder())?)?;
        match &self.what {
            What::List => list(&cache, global.json),
            What::Import { files } => import(&cache, files, global.json),
            What::Prune => prune(&cache, global.json),
            What::Fetch(fetch) => fetch.run(&cache, global.json).await,
            What::Bundle(bundle) => bundle.run(&cache, global.json),
        }
    }
}

fn list(cache: &Cache, json: bool) -> anyhow::Result<u8> {
    let all = cache.all()?;
    let now = seconds(now().seconds());
    if json {
        let entries = all.iter().map(|kept| {
            json!({
                "sha256": kept.digest,
                "bytes": kept.bytes.len(),
                "what": kept.piece.words(),
                "keep": kept.keep().to_string(),
                "over": !kept.keep().is_on(now),
            })
        });
        let document = json!({ "folder": cache.path(), "kept": entries.collect::<Vec<_>>() });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(EXIT_OK);
    }
    for kept in &all {
        let over = if kept.keep().is_on(now) { "" } else { " (over)" };
        let digest = kept.digest.to_string();
        let short = digest.get(..12).unwrap_or(&digest);
        let (words, keep) = (harmless(&kept.piece.words()), kept.keep());
        anstream::println!("{FAINT}{short}{FAINT:#}  {words}  {FAINT}{keep}{over}{FAINT:#}");
    }
    println!("{} kept in {}", all.len(), cache.path().display());
    Ok(EXIT_OK)
}

fn import(cache: &Cache, files: &[PathBuf], json: bool) -> anyhow::Result<u8> {
    let material = read(&[], files)?;
    let (mut kept, mut left_aside) = (Vec::new(), material.left_aside);
    for bytes in &material.endorsements {
        match cache.put(bytes) {
            Ok(digest) => kept.push(digest),
            Err(CacheError::NoEndorsement) => {
                left_aside.push("something that says nothing about a machine".to_owned());
            }
            Err(error) => return Err(error.into()),
        }
    }
    kept.sort();
    kept.dedup();
    match json {
        true => println!("{}", json!({ "kept": kept, "left_aside": left_aside })),
        false => println!("{} kept in {}", kept.len(), cache.path().display()),
    }
    for left in &left_aside {
        anstream::eprintln!("{FAINT}left aside  {}{FAINT:#}", harmless(left));
    }
    Ok(if kept.is_empty() { EXIT_FAILED } else { EXIT_OK })
}

fn prune(cache: &Cache, json: bool) -> anyhow::Result<u8> {
    let pruned = cache.prune(seconds(now().seconds()))?;
    let (ended, damaged, kept) = (pruned.ended, pruned.damaged, pruned.kept);
    match json {
        true => println!("{}", json!({ "ended": ended, "damaged": damaged, "kept": kept })),
        false => println!("{ended} over, {damaged} damaged, {kept} kept"),
    }
    Ok(EXIT_OK)
}

/// Reads files of evidence and of endorsements.
fn read(evidence: &[PathBuf], endorsements: &[PathBuf]) -> anyhow::Result<Material> {
    let mut material = Material::default();
    let roles = [(evidence, Role::Anything), (endorsements, Role::Endorsement)];
    for (files, role) in roles {
        for path in files {
            let name = shown(path);
            let bytes = read_limited(path, MAX_FILE_BYTES)?;
            material.add(&name, &bytes, role).with_context(|| name.clone())?;
        }
    }
    Ok(material)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Seconds since 1970 as certificates count them.
fn seconds(at: UnixSeconds) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
