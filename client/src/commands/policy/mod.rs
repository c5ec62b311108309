//! `bulla policy`: what does a policy demand, and what would break if it demanded more?

mod check;
mod overrides;
mod reference;
#[cfg(test)]
mod tests;
mod whatif;
mod words;

use std::path::{Path, PathBuf};

use anyhow::Context;
use bulla_attestation::policy::{MAX_POLICY_BYTES, Policy as Rules};
use clap::{Args, Subcommand};

use super::verify::SHIPPED;
use super::{EXIT_OK, GlobalArgs};
use crate::io::rules;

/// Reads policies and tries changes of them.
#[derive(Debug, Clone, Args)]
pub struct Policy {
    /// What to do
    #[command(subcommand)]
    pub action: PolicyAction,
}

/// What can be done with policies.
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyAction {
    /// Read a policy and say in words what it demands
    Check(Check),
    /// Judge recorded evidence under a policy and a changed one: what would break?
    Test(whatif::Test),
    /// Describe a document of reference values, or add a signature to it
    Reference(reference::Reference),
}

/// Reads one policy.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// A file, or a policy shipped with bulla: authentic, standard, strict, development
    #[arg(value_name = "FILE-OR-NAME")]
    pub policy: String,
}

impl Policy {
    /// Does it. Exit code of `test`: 1 where something affirmed would be refused.
    pub fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        match &self.action {
            PolicyAction::Check(check) => check.run(global),
            PolicyAction::Test(test) => test.run(global),
            PolicyAction::Reference(reference) => reference.run(global),
        }
    }
}

impl Check {
    fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let source = Source::named(&self.policy)?;
        let policy = source.policy()?;
        match global.json {
            true => println!("{}", check::document(&source.text, &policy)?),
            false => print!("{}", super::show::harmless(&check::in_words(&source.text, &policy)?)),
        }
        Ok(EXIT_OK)
    }
}

/// A policy's text, and where the files it names are.
struct Source {
    name: String,
    text: String,
    folder: PathBuf,
}

impl Source {
    /// A shipped policy, or a file.
    fn named(name: &str) -> anyhow::Result<Source> {
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        let path = Path::new(name);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None => rules::text(path, MAX_POLICY_BYTES)?,
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Source { name: name.to_owned(), text, folder })
    }

    fn policy(&self) -> anyhow::Result<Rules> {
        let policy = Rules::from_toml(&self.text).with_context(|| self.name.clone())?;
        Ok(rules::complete(policy, &self.folder)?)
    }
}
