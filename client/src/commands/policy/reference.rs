//! `bulla policy reference`: root documents and manifests, looked at and signed.

use std::path::PathBuf;

use anyhow::Context;
use bulla_attestation::reference::{Described, add_signature, describe};
use clap::Args;

use crate::commands::appraise::signing_key;
use crate::commands::show::harmless;
use crate::commands::{EXIT_OK, GlobalArgs};
use crate::io::folder::read_limited;
use crate::io::rules::MAX_DOCUMENT_BYTES;

/// Describes a document of reference values.
#[derive(Debug, Clone, Args)]
pub struct Reference {
    /// A root document or a manifest (JSON)
    pub file: PathBuf,
    /// Sign it with this Ed25519 key (PKCS #8) and write it back
    #[arg(long, value_name = "KEY")]
    pub sign: Option<PathBuf>,
}

impl Reference {
    pub(super) fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let name = || self.file.display().to_string();
        let mut document = read_limited(&self.file, MAX_DOCUMENT_BYTES)?;
        if let Some(key) = &self.sign {
            document = add_signature(&document, &signing_key(key)?).with_context(name)?.into();
            std::fs::write(&self.file, &document).with_context(name)?;
        }
        let described = describe(&document).with_context(name)?;
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&described)?),
            false => print!("{}", harmless(&in_words(&described))),
        }
        Ok(EXIT_OK)
    }
}

fn in_words(described: &Described) -> String {
    let Described { kind, name, version, expires, digest, signers } = described;
    let signers: String = signers.iter().map(|key| format!("signed   {key}\n")).collect();
    format!(
        "{kind}\nname     {name}\nversion  {version}\nexpires  {expires}\ndigest   {digest}\n{signers}"
    )
}
