//! Whom an audit believes: the client's configuration, or a trust file of the auditor's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bulla_tlog::VerifierKey;
use bulla_wire::ids::PublicKey;
use serde::Deserialize;

use super::super::GlobalArgs;
use crate::audit::AuditTrust;
use crate::config::{AppraisalConfig, ClientConfig};
use crate::io::client::{anchors, policy};
use crate::io::folder::{Folder, read_limited};

/// Largest trust file, in bytes.
const MAX_TRUST_BYTES: usize = 64 * 1024;

/// Where nobody is named.
const NOBODY: &str = "whom to believe is not said: name a trust file with --trust FILE (docs/audit.md), or \
                      a client's configuration";

/// A trust file: all that an auditor without an account needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    /// Verifier keys of the log (C2SP signed-note).
    log_keys: Vec<String>,
    /// The broker's root key.
    broker_root: PublicKey,
    /// Paths are relative to the trust file.
    appraisal: AppraisalConfig,
}

/// The client's folder and configuration.
pub fn client(global: &GlobalArgs) -> anyhow::Result<(Folder, ClientConfig)> {
    let folder = Folder::open(&global.client_folder())?;
    let path = global.config.clone().unwrap_or_else(|| folder.config_path());
    let config = folder.config(&path)?;
    Ok((folder, config))
}

/// From a trust file, or what the client's own configuration trusts.
pub fn trust(file: Option<&Path>, global: &GlobalArgs) -> anyhow::Result<AuditTrust> {
    match file {
        Some(file) => from_file(file),
        None => pinned(&client(global).context(NOBODY)?.1),
    }
}

fn pinned(config: &ClientConfig) -> anyhow::Result<AuditTrust> {
    ensure!(
        config.broker.log_key.is_some(),
        "an audit needs log_key under [broker]: the log's verifier key, from the broker's operator"
    );
    Ok(AuditTrust {
        log_keys: config.broker.logs()?,
        broker_root: config.broker.root_key,
        anchors: anchors(&config.appraisal)?,
        policy: policy(&config.appraisal.policy)?,
    })
}

/// Reads a trust file.
pub fn from_file(path: &Path) -> anyhow::Result<AuditTrust> {
    let name = || path.display().to_string();
    let text = String::from_utf8(read_limited(path, MAX_TRUST_BYTES)?).with_context(name)?;
    let mut file: TrustFile = toml::from_str(&text).with_context(name)?;
    let base = path.parent().unwrap_or(Path::new("."));
    let absolute = |file: &mut PathBuf| *file = base.join(&*file);
    absolute(&mut file.appraisal.policy);
    file.appraisal.simulated_roots.iter_mut().for_each(absolute);
    let log_keys = file.log_keys.iter().map(|key| VerifierKey::parse(key));
    Ok(AuditTrust {
        log_keys: log_keys.collect::<Result<_, _>>().context("log_keys")?,
        broker_root: file.broker_root,
        anchors: anchors(&file.appraisal)?,
        policy: policy(&file.appraisal.policy)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::audit::tests::sample;

    #[test]
    fn refuses_a_trust_file_with_unknown_keys() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("trust.toml");
        let text = std::fs::read_to_string(sample("trust.toml")).unwrap();
        std::fs::write(&path, format!("everybody = true\n{text}")).unwrap();
        let error = format!("{:#}", from_file(&path).unwrap_err());
        assert!(error.contains("everybody"), "{error}");
    }
}
