//! `bulla audit`: the broker's log and ledger, judged under the keys this client pinned.

use std::path::PathBuf;

use anyhow::Context;
use bulla_tlog::VerifierKey;
use clap::Args;

use super::GlobalArgs;
use crate::audit::{AuditTrust, audit_bytes};
use crate::io::broker::{Broker, MAX_BUNDLE_BYTES};
use crate::io::client::{anchors, policy, transport};
use crate::io::folder::{Folder, read_limited};

/// Audits a bundle.
#[derive(Debug, Clone, Args)]
pub struct Audit {
    /// A bundle in a file; fetched from the broker when left out
    pub bundle: Option<PathBuf>,
    /// Fetch everything, not only this account's records; needs an operator's credential
    #[arg(long)]
    pub full: bool,
    /// Keep the fetched bundle in this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

impl Audit {
    /// Judges and shows. Exit code 0 clean, 1 errors found, 2 not readable to the end.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let folder = Folder::open(&global.client_folder())?;
        let path = global.config.clone().unwrap_or_else(|| folder.config_path());
        let config = folder.config(&path)?;
        let log_key = config.broker.log_key.as_deref();
        let log_key = log_key.context("an audit needs log_key under [broker]: the log's verifier key, from the broker's operator")?;
        let trust = AuditTrust {
            log_keys: vec![VerifierKey::parse(log_key).context("log_key")?],
            broker_root: config.broker.root_key,
            anchors: anchors(&config.appraisal)?,
            policy: policy(&config.appraisal.policy)?,
        };
        let bundle = match &self.bundle {
            Some(path) => read_limited(path, MAX_BUNDLE_BYTES)?,
            None => {
                let credential = folder.credential()?;
                let broker = Broker::new(transport(&config.broker, Some(credential))?);
                broker.audit_bundle(self.full).await?.to_vec()
            }
        };
        if let Some(path) = &self.save {
            std::fs::write(path, &bundle).with_context(|| path.display().to_string())?;
        }
        let report = audit_bytes(&bundle, &trust);
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => println!("{}", super::show::harmless(&report.to_string())),
        }
        Ok(report.exit_code())
    }
}
