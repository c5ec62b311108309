//! `bulla key-broker`: releases the key of encrypted weights to enclaves whose evidence passes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::weights::WeightsKey;
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::verify::named_policy;
use super::{EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::io::folder::read_limited;
use crate::io::key_broker::{KeyBroker, OneKey, ReleaseError};
use crate::io::system::now;

/// Largest root certificate or key, in bytes.
const MAX_ROOT_BYTES: usize = 1 << 20;
/// A weights key and one byte more.
const MAX_KEY_BYTES: usize = 33;

/// Release the key of encrypted weights to enclaves whose evidence passes a policy
#[derive(Debug, Clone, Args)]
pub struct KeyBrokerArgs {
    /// Address of an enclave (`https://HOST:PORT`); several, or one option each
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',')]
    pub enclave: Vec<String>,
    /// The appraisal policy: a shipped one by name, or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub policy: String,
    /// Root certificate, or public key, (DER) of a simulated TEE to trust besides
    #[arg(long, value_name = "FILE")]
    pub simulated_root: Vec<PathBuf>,
    /// The key, as `bulla image volume --new-key` writes it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Go on: look at every enclave again after so many seconds, and give the key to those that wait
    #[arg(long, value_name = "SECONDS")]
    pub watch: Option<u64>,
}

impl KeyBrokerArgs {
    /// Once, or for ever. Every release and every refusal is one line of JSON.
    pub async fn run(&self, _: &GlobalArgs) -> anyhow::Result<u8> {
        let broker = self.broker()?;
        loop {
            let mut code = EXIT_OK;
            for url in &self.enclave {
                let line = match self.attend(&broker, url).await {
                    Ok(line) => line,
                    Err(error) => {
                        code = EXIT_REFUSED;
                        Some(refusal(&error))
                    }
                };
                if let Some(mut line) = line {
                    line["enclave"] = json!(url);
                    line["time"] = json!(now().seconds());
                    println!("{line}");
                }
            }
            match self.watch {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.max(1))).await,
                None => return Ok(code),
            }
        }
    }

    /// Nothing to say of an enclave that is watched and does not wait.
    async fn attend(
        &self,
        broker: &KeyBroker<OneKey>,
        url: &str,
    ) -> Result<Option<Value>, ReleaseError> {
        if self.watch.is_some() && !broker.is_waiting(url).await? {
            return Ok(None);
        }
        let released = broker.release(url).await?;
        let (policy, digest) = released.policy;
        Ok(Some(json!({
            "released": released.key,
            "keyset": released.keyset,
            "evidence": released.evidence,
            "policy": policy,
            "policy_digest": digest,
            "simulated": released.simulated,
        })))
    }

    fn broker(&self) -> anyhow::Result<KeyBroker<OneKey>> {
        let mut anchors = TrustAnchors::vendors();
        for path in &self.simulated_root {
            let label = path.display().to_string();
            let root = TrustAnchor::simulated(&label, &read_limited(path, MAX_ROOT_BYTES)?);
            anchors = anchors.with(root.with_context(|| label)?);
        }
        let bytes = Zeroizing::new(read_limited(&self.key, MAX_KEY_BYTES)?);
        let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) else {
            bail!("{}: a weights key has 32 bytes, got {}", self.key.display(), bytes.len())
        };
        let source = OneKey(WeightsKey::from_bytes(key));
        Ok(KeyBroker { policy: named_policy(&self.policy)?, anchors, source })
    }
}

fn refusal(error: &ReleaseError) -> Value {
    let failed = match error {
        ReleaseError::Refused { result, .. } => {
            result.failed().map(|check| check.name.as_str()).collect()
        }
        _ => Vec::new(),
    };
    json!({ "refused": error.to_string(), "failed_checks": failed })
}
