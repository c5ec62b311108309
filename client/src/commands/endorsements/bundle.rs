//! `bulla endorsements bundle`: everything for one appraisal in one file.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bulla_wire::cbor::Bytes;
use bulla_wire::evidence_bundle::EvidenceBundle;
use clap::Args;
use serde_json::json;

use super::{EXIT_OK, Product, read, seconds};
use crate::commands::show::{WARN, harmless};
use crate::commands::verify::named_policy;
use crate::io::endorsements::{Cache, Gathered};
use crate::io::system::now;

/// Writes one file with evidence and its endorsements.
#[derive(Debug, Clone, Args)]
pub(super) struct Bundle {
    /// Evidence in any encoding, an aci/1 report, or a bundle to complete
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Endorsements besides those in the cache
    #[arg(long, value_name = "FILE")]
    endorsement: Vec<PathBuf>,
    /// Where to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The nonce that was sent for this evidence
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// Note the digest of this policy: a file, or one shipped with bulla
    #[arg(long, value_name = "FILE-OR-NAME")]
    policy: Option<String>,
    /// The processor, for SEV-SNP reports of version 2 that come without a certificate
    #[arg(long)]
    product: Option<Product>,
}

impl Bundle {
    pub(super) fn run(&self, cache: &Cache, json: bool) -> anyhow::Result<u8> {
        let material = read(&self.files, &self.endorsement)?;
        if material.evidence.is_empty() {
            bail!("no evidence found in these files: {}", material.left_aside.join("; "));
        }
        let at = now().seconds();
        let line = self.product.map(Into::into);
        // A bundle that is completed later is still judged as of its own time.
        let judged_at = material.collected_at.unwrap_or(at);
        let gathered = Gathered::gather(&material, Some(cache), line, seconds(judged_at))?;
        let mut bundle = material.bundle(gathered.taken().map(<[u8]>::to_vec), at);
        if let Some(nonce) = &self.nonce {
            let nonce = data_encoding::HEXLOWER_PERMISSIVE.decode(nonce.as_bytes());
            bundle.nonce = Some(Bytes(nonce.context("--nonce must be hex")?));
        }
        if let Some(name) = &self.policy {
            bundle.policy = Some(named_policy(name)?.digest());
        }
        std::fs::write(&self.output, bundle.to_vec()?)
            .with_context(|| format!("writing {}", self.output.display()))?;
        self.show(&bundle, &gathered, json);
        Ok(EXIT_OK)
    }

    fn show(&self, bundle: &EvidenceBundle, gathered: &Gathered, json: bool) {
        let (evidence, endorsements) = (bundle.evidence.len(), bundle.endorsements.len());
        let missing: Vec<String> = gathered.missing.iter().map(ToString::to_string).collect();
        if json {
            let document = json!({
                "file": self.output, "evidence": evidence, "endorsements": endorsements,
                "missing": missing, "remarks": gathered.needs.remarks,
            });
            println!("{document}");
            return;
        }
        let file = self.output.display();
        println!("{evidence} evidence, {endorsements} endorsements in {file}");
        for missing in &missing {
            anstream::println!("{WARN}missing{WARN:#}  {}", harmless(missing));
        }
        if !missing.is_empty() {
            println!("run `bulla endorsements fetch` first to have them");
        }
    }
}
