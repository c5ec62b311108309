//! The client's configuration file: TOML, every key known, nothing guessed.
//!
//! ```toml
//! [broker]
//! url = "https://broker.example:8443"
//! spki_sha256 = "…64 hex…"      # the broker's TLS key, or ca_file = "ca.pem"
//! root_key = "…64 hex…"         # signs price books; from the broker's operator, out of band
//! log_key = "name+hash+key"     # optional: the log's verifier key, for `bulla audit`
//! # earlier_log_keys = ["…"]    # of a log that took another origin: its keys before
//! # pages_url = "https://…"     # pages and HTTP API, known as the broker is: for `bulla account …`
//!
//! [appraisal]
//! policy = "policy.toml"        # paths are relative to this file
//! vendor_roots = true           # the roots of the hardware vendors, shipped with bulla
//! simulated_roots = []          # DER files of simulated TEEs; the policy must allow them besides
//! published_reference_values = false  # whether manifests the policy names must be in the log
//!
//! [log]                         # optional: an epoch is believed only when it is logged and witnessed
//! quorum = 2
//! witnesses = ["witness.example/w1+…"]   # as `bulla witness` prints them
//! maximum_age_seconds = 3600    # the newest cosigned head may be so old
//!
//! [spending]
//! unit = "TOK"
//! default_max_tokens = 512
//! # max_charge = 1000000        # no single request may cost more, in micro-units
//! # max_rates = { input = 1, cached_input = 1, output = 1, reasoning = 0, per_request = 0 }
//!
//! [models."demo"]               # optional: the only manifest taken under this name
//! manifest = "…64 hex…"
//!
//! [disputes]
//! keep_openings = true          # keep what shows a judge what was asked and answered
//! # witnesses = ["http://…"]    # orders without an answer are brought there; needs log_key
//!
//! [proxy]
//! listen = "127.0.0.1:8118"
//! # local_credential = "…"      # callers must send it as their API key
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use bulla_attestation::seal::Padding;
use bulla_tlog::VerifierKey;
use bulla_tlog::key::KeyError;
use bulla_wire::ids::{Digest, PublicKey};
use bulla_wire::price::Rates;
use bulla_wire::units::{MicroUnits, TokenCount, Unit};
use serde::{Deserialize, Serialize};

use crate::log::LogConfig;
use crate::price::SpendingCap;

/// Largest configuration file, in bytes.
pub const MAX_CONFIG_BYTES: usize = 256 * 1024;
/// Shortest local credential: 128 bits in base64url have 22 characters.
pub const MIN_LOCAL_CREDENTIAL_CHARS: usize = 16;

/// Everything the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Whom to reach and how to know it.
    pub broker: BrokerConfig,
    /// What evidence must show.
    pub appraisal: AppraisalConfig,
    /// Who must have witnessed the log.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: LogConfig,
    /// What may be spent.
    #[serde(default)]
    pub spending: SpendingConfig,
    /// What sizes may tell.
    #[serde(default)]
    pub privacy: PrivacyConfig,
    /// What is kept for disputes.
    #[serde(default)]
    pub disputes: DisputeConfig,
    /// The local endpoint.
    #[serde(default)]
    pub proxy: ProxyConfig,
    /// Models pinned by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelPin>,
}

/// Whom to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Base address, `https://HOST[:PORT]`; `http://` only on loopback.
    pub url: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the broker's TLS key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spki_sha256: Option<Digest>,
    /// Certificates (PEM) of the authorities that may vouch for the broker's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The root key that signs price books and delegations.
    pub root_key: PublicKey,
    /// The log's verifier key (C2SP signed-note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_key: Option<String>,
    /// Verifier keys under which the same log was known before: audits believe them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_log_keys: Vec<String>,
    /// Base address of its pages and HTTP API; its TLS key is the broker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_url: Option<String>,
}

/// What evidence must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppraisalConfig {
    /// The appraisal policy.
    pub policy: PathBuf,
    /// Whether the hardware vendors' roots are trusted.
    pub vendor_roots: bool,
    /// Root certificates (DER) of simulated TEEs. They prove the protocol and protect nothing.
    #[serde(default)]
    pub simulated_roots: Vec<PathBuf>,
    /// Whether manifests of reference values that the policy names must be in the public log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published_reference_values: bool,
}

/// What may be spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendingConfig {
    /// Unit of account that orders are made in.
    #[serde(default = "Unit::tokens")]
    pub unit: Unit,
    /// Output ceiling of requests that name none, in tokens.
    #[serde(default = "default_max_tokens")]
    pub default_max_tokens: u64,
    /// Most for one request, in micro-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_charge: Option<u64>,
    /// No rate may be above these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rates: Option<Rates>,
}

/// What sizes may tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Requests are padded to powers of two, at least this many bytes; 0 switches padding off.
    pub padding_least_bytes: usize,
    /// Seal a cache secret, so that this customer's own prefixes may be cached for it.
    pub prefix_cache: bool,
}

/// What is kept for disputes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeConfig {
    /// Keep salt, request and answer of every receipt, in clear, in files only their owner can
    /// read. Without them nobody can be shown what a receipt's commitments stand for, and no
    /// request can be run again.
    #[serde(default = "default_keep_openings")]
    pub keep_openings: bool,
    /// Addresses of witnesses that orders without an answer are brought to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
}

fn default_keep_openings() -> bool {
    true
}

impl Default for DisputeConfig {
    fn default() -> Self {
        DisputeConfig { keep_openings: default_keep_openings(), witnesses: Vec::new() }
    }
}

/// The local endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Loopback address to listen on; port 0 picks one.
    pub listen: SocketAddr,
    /// When set, callers must send it as `Authorization: Bearer`. Without it any program on this
    /// machine can spend the account's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_credential: Option<String>,
}

/// The only manifest taken under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPin {
    /// Digest of the model manifest.
    pub manifest: Digest,
}

fn is_default(log: &LogConfig) -> bool {
    *log == LogConfig::default()
}

fn default_max_tokens() -> u64 {
    512
}

impl Default for SpendingConfig {
    fn default() -> Self {
        let (unit, default_max_tokens) = (Unit::tokens(), default_max_tokens());
        SpendingConfig { unit, default_max_tokens, max_charge: None, max_rates: None }
    }
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        PrivacyConfig { padding_least_bytes: 2048, prefix_cache: false }
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        ProxyConfig { listen: SocketAddr::from(([127, 0, 0, 1], 8118)), local_credential: None }
    }
}

/// Why a text is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Longer than [`MAX_CONFIG_BYTES`].
    #[error("configuration has {got_bytes} bytes, at most {MAX_CONFIG_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong kind.
    #[error("configuration does not read: {reason}")]
    Syntax {
        /// What the reader says, with line and column.
        reason: String,
    },
    /// Neither or both ways of knowing the broker.
    #[error("[broker] needs exactly one of spki_sha256 and ca_file for an https:// address")]
    BrokerIdentity,
    /// The log has to be asked, and nobody said whose it is.
    #[error("[appraisal] published_reference_values needs log_key in [broker]")]
    NoLogKey,
    /// Orders are brought to witnesses of a log, and nobody said whose it is.
    #[error("[disputes] witnesses needs log_key in [broker]: orders are brought as this log's")]
    NoLogKeyForWitnesses,
    /// The log's key does not read.
    #[error(
        "[broker] log_key or earlier_log_keys does not read: {0}; copy the whole line, name+id+key, that the broker's operator gives"
    )]
    LogKey(KeyError),
    /// No root at all would be trusted.
    #[error("[appraisal] trusts no root: set vendor_roots = true or name simulated_roots")]
    NoRoots,
    /// The endpoint would be reachable from outside this machine.
    #[error("[proxy] listen must be a loopback address, got {got}: requests arrive there unsealed")]
    NotLoopback {
        /// The address.
        got: SocketAddr,
    },
    /// A local credential that can be guessed.
    #[error("[proxy] local_credential must have at least {MIN_LOCAL_CREDENTIAL_CHARS} characters")]
    WeakLocalCredential,
}

impl BrokerConfig {
    /// The key of the broker's log, where one is named.
    pub fn log(&self) -> Result<Option<VerifierKey>, ConfigError> {
        let key = self.log_key.as_deref().map(VerifierKey::parse);
        key.transpose().map_err(ConfigError::LogKey)
    }

    /// All keys under which the log is known, today's first.
    pub fn logs(&self) -> Result<Vec<VerifierKey>, ConfigError> {
        let earlier = self.earlier_log_keys.iter().map(|key| VerifierKey::parse(key));
        let earlier = earlier.map(|key| key.map_err(ConfigError::LogKey));
        self.log()?.map(Ok).into_iter().chain(earlier).collect()
    }
}

impl ClientConfig {
    /// Reads a configuration.
    pub fn from_toml(text: &str) -> Result<ClientConfig, ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong { got_bytes: text.len() });
        }
        let config: ClientConfig =
            toml::from_str(text).map_err(|e| ConfigError::Syntax { reason: e.to_string() })?;
        config.check()?;
        Ok(config)
    }

    /// Writes it.
    pub fn to_toml(&self) -> String {
        match toml::to_string_pretty(self) {
            Ok(text) => text,
            Err(never) => unreachable!("a configuration is texts, numbers and tables: {never}"),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let broker = &self.broker;
        let is_https = broker.url.starts_with("https://");
        if is_https && broker.spki_sha256.is_some() == broker.ca_file.is_some() {
            return Err(ConfigError::BrokerIdentity);
        }
        if !self.appraisal.vendor_roots && self.appraisal.simulated_roots.is_empty() {
            return Err(ConfigError::NoRoots);
        }
        if self.appraisal.published_reference_values && broker.log_key.is_none() {
            return Err(ConfigError::NoLogKey);
        }
        if broker.log()?.is_none() && !self.disputes.witnesses.is_empty() {
            return Err(ConfigError::NoLogKeyForWitnesses);
        }
        if !self.proxy.listen.ip().is_loopback() {
            return Err(ConfigError::NotLoopback { got: self.proxy.listen });
        }
        match &self.proxy.local_credential {
            Some(text) if text.len() < MIN_LOCAL_CREDENTIAL_CHARS => {
                Err(ConfigError::WeakLocalCredential)
            }
            _ => Ok(()),
        }
    }

    /// The customer's own caps.
    pub fn cap(&self) -> SpendingCap {
        let SpendingConfig { max_rates, max_charge, .. } = &self.spending;
        SpendingCap { rates: *max_rates, max_charge: max_charge.map(MicroUnits) }
    }

    /// Output ceiling of requests that name none.
    pub fn default_output(&self) -> TokenCount {
        TokenCount(self.spending.default_max_tokens)
    }

    /// The manifest pinned under `name`.
    pub fn pinned(&self, name: &str) -> Option<Digest> {
        self.models.get(name).map(|pin| pin.manifest)
    }

    /// How request sizes are hidden.
    pub fn padding(&self) -> Padding {
        match self.privacy.padding_least_bytes {
            0 => Padding::None,
            least_bytes => Padding::PowerOfTwo { least_bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [broker]
        url = "https://127.0.0.1:8443"
        spki_sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
        root_key = "2222222222222222222222222222222222222222222222222222222222222222"
        [appraisal]
        policy = "policy.toml"
        vendor_roots = true
    "#;

    fn refusal(text: &str) -> ConfigError {
        ClientConfig::from_toml(text).unwrap_err()
    }

    #[test]
    fn accepts_the_short_form_and_writes_what_it_reads() {
        let config = ClientConfig::from_toml(GOOD).unwrap();
        assert_eq!(config.spending.unit, Unit::tokens());
        assert_eq!(config.padding(), Padding::default());
        assert_eq!(ClientConfig::from_toml(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn refuses_unknown_keys_by_name() {
        for (table, key) in [("[broker]", "urls = 1"), ("[appraisal]", "polcy = 1")] {
            let text = GOOD.replacen(table, &format!("{table}\n{key}"), 1);
            let ConfigError::Syntax { reason } = refusal(&text) else { panic!("{text}") };
            let name = key.split(' ').next().unwrap();
            assert!(reason.contains(name) && reason.contains("unknown field"), "{reason}");
        }
        let ConfigError::Syntax { reason } = refusal(&format!("{GOOD}\n[prox]\n")) else {
            panic!("accepted an unknown table")
        };
        assert!(reason.contains("prox"), "{reason}");
    }

    #[test]
    fn refuses_no_or_two_ways_of_knowing_the_broker() {
        let none = GOOD.lines().filter(|line| !line.contains("spki")).collect::<Vec<_>>();
        assert_eq!(refusal(&none.join("\n")), ConfigError::BrokerIdentity);
        let two = GOOD.replacen("[broker]", "[broker]\nca_file = \"ca.pem\"", 1);
        assert_eq!(refusal(&two), ConfigError::BrokerIdentity);
    }

    #[test]
    fn refuses_a_log_key_that_does_not_read_and_witnesses_of_no_log() {
        let key = "log.example/bulla+84cf087a+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
        let named =
            |key: &str| GOOD.replacen("[broker]", &format!("[broker]\nlog_key = {key:?}"), 1);
        let log = ClientConfig::from_toml(&named(key)).unwrap().broker.log().unwrap();
        assert_eq!(log.unwrap().name(), "log.example/bulla");
        for broken in ["log.example/bulla", &key[..key.len() - 4], &key.replace("84cf", "84ce")] {
            let error = refusal(&named(broken));
            assert!(matches!(error, ConfigError::LogKey(_)), "{error}");
            assert!(error.to_string().contains("[broker] log_key"), "{error}");
        }
        let witnesses = "[disputes]\nwitnesses = [\"http://127.0.0.1:8139\"]";
        assert!(ClientConfig::from_toml(&format!("{}\n{witnesses}", named(key))).is_ok());
        assert_eq!(refusal(&format!("{GOOD}\n{witnesses}")), ConfigError::NoLogKeyForWitnesses);
    }

    #[test]
    fn refuses_an_open_endpoint_a_weak_credential_and_no_roots() {
        let open = format!("{GOOD}\n[proxy]\nlisten = \"0.0.0.0:80\"");
        assert!(matches!(refusal(&open), ConfigError::NotLoopback { .. }));
        let weak = format!("{GOOD}\n[proxy]\nlisten = \"[::1]:80\"\nlocal_credential = \"x\"");
        assert_eq!(refusal(&weak), ConfigError::WeakLocalCredential);
        let rootless = GOOD.replace("vendor_roots = true", "vendor_roots = false");
        assert_eq!(refusal(&rootless), ConfigError::NoRoots);
    }
}
