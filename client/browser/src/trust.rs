//! Whom the person at the page believes: a policy, roots, and for audits the log's and broker's keys.

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::{Policy, PolicyError};
use bulla_tlog::VerifierKey;
use bulla_wire::ids::PublicKey;
use serde::{Deserialize, Serialize};

use crate::request::{Given, Request, Role};

/// Largest file that names keys, in bytes (ours; a client's whole configuration is under 8 KiB).
pub const MAX_TRUST_BYTES: usize = 64 * 1024;

/// The policies built in, by file name.
const SHIPPED: [(&str, &str); 4] = [
    ("authentic", include_str!("../../../policies/appraisal/authentic.toml")),
    ("standard", include_str!("../../../policies/appraisal/standard.toml")),
    ("strict", include_str!("../../../policies/appraisal/strict.toml")),
    ("development", include_str!("../../../policies/appraisal/development.toml")),
];

/// Why nothing can be judged yet: something about trust is missing or does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No such built-in policy.
    #[error("there is no built-in policy called {name:?}")]
    NoSuchPolicy {
        /// The name asked for.
        name: String,
    },
    /// The policy given is none.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// A simulated root that is not a certificate.
    #[error("{name} is no certificate in DER or PEM: {reason}")]
    Root {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// A file of keys that does not read.
    #[error("{name} names no keys: {reason}")]
    KeyFile {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// A log key that is none.
    #[error("the log's key does not read: {reason}")]
    LogKey {
        /// Why.
        reason: String,
    },
    /// A broker's key that is none.
    #[error("the broker's root key does not read: {reason}")]
    BrokerRoot {
        /// Why.
        reason: String,
    },
    /// Two root keys that differ.
    #[error("two different root keys of the broker are named: give one")]
    TwoBrokerRoots,
    /// An audit without a log key.
    #[error("name the log's key: an audit believes no key that comes inside the bundle")]
    NoLogKey,
    /// An audit without the broker's root key.
    #[error("name the broker's root key: an audit believes no key that comes inside the bundle")]
    NoBrokerRoot,
}

/// A policy: built in, or the person's own text.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyChoice {
    /// By file name.
    Shipped(String),
    /// TOML.
    Own(String),
}

impl PolicyChoice {
    /// The policy.
    pub fn policy(&self) -> Result<Policy, TrustError> {
        let text = match self {
            PolicyChoice::Own(text) => text,
            PolicyChoice::Shipped(name) => SHIPPED
                .into_iter()
                .find(|(shipped, _)| shipped == name)
                .map(|(_, text)| text)
                .ok_or_else(|| TrustError::NoSuchPolicy { name: name.clone() })?,
        };
        Ok(Policy::from_toml(text)?)
    }
}

/// A built-in policy, for showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shipped {
    /// By which name it is chosen.
    pub name: &'static str,
    /// What it says of itself.
    pub description: String,
    /// Its text.
    pub text: &'static str,
    /// Whether it takes evidence of a simulated TEE.
    pub allows_simulated: bool,
}

/// The built-in policies.
pub fn shipped() -> Result<Vec<Shipped>, TrustError> {
    #[derive(Deserialize)]
    struct Described {
        description: String,
    }
    let shipped = SHIPPED.into_iter().map(|(name, text)| {
        let policy = Policy::from_toml(text)?;
        let described = toml::from_str::<Described>(text).map(|own| own.description);
        let description = described.unwrap_or_default();
        Ok(Shipped { name, description, text, allows_simulated: policy.allows_simulated() })
    });
    shipped.collect()
}

/// The vendors' roots where wanted, and the simulated roots in `request`.
pub fn anchors<S>(request: &Request<'_, S>, vendors: bool) -> Result<TrustAnchors, TrustError> {
    let start = if vendors { TrustAnchors::vendors() } else { TrustAnchors::none() };
    request
        .given_for(Role::SimulatedRoot)
        .try_fold(start, |anchors, file| Ok(anchors.with(simulated_root(file)?)))
}

/// A root out of a file, DER or PEM. It counts as simulated: hardware roots are built in.
fn simulated_root(file: Given<'_>) -> Result<TrustAnchor, TrustError> {
    let refuse = |reason: String| TrustError::Root { name: file.name.to_owned(), reason };
    let sorted = Endorsements::sort([file.bytes]);
    match sorted.certificates.as_slice() {
        [root] => {
            TrustAnchor::simulated(file.name, &root.der).map_err(|error| refuse(error.to_string()))
        }
        [] => Err(refuse("nothing in it parses".to_owned())),
        several => Err(refuse(format!("it holds {}: give the root alone", several.len()))),
    }
}

/// Keys as typed into the page, one of the log's per line.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TypedKeys {
    /// Verifier keys (C2SP signed-note), one per line.
    #[serde(default)]
    pub log_keys: String,
    /// The broker's root key in hex.
    #[serde(default)]
    pub broker_root: String,
}

/// The keys an audit rests on.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The log's.
    pub log_keys: Vec<VerifierKey>,
    /// The broker's.
    pub broker_root: PublicKey,
}

/// Where keys stand in a file: a trust file (TOML or JSON), or a client's own configuration.
#[derive(Debug, Default, Deserialize)]
struct KeyFile {
    log_key: Option<String>,
    #[serde(default)]
    log_keys: Vec<String>,
    broker_root: Option<String>,
    broker: Option<BrokerSection>,
}

#[derive(Debug, Default, Deserialize)]
struct BrokerSection {
    log_key: Option<String>,
    root_key: Option<String>,
}

impl KeyFile {
    fn read(file: Given<'_>) -> Result<KeyFile, TrustError> {
        let refuse = |reason: String| TrustError::KeyFile { name: file.name.to_owned(), reason };
        if file.bytes.len() > MAX_TRUST_BYTES {
            return Err(refuse(format!("at most {MAX_TRUST_BYTES} bytes are read")));
        }
        let text = std::str::from_utf8(file.bytes).map_err(|error| refuse(error.to_string()))?;
        let keys: KeyFile = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?,
            false => toml::from_str(text).map_err(|error| refuse(error.to_string()))?,
        };
        match keys.named().next().is_some() || keys.root().next().is_some() {
            true => Ok(keys),
            false => Err(refuse("no log_key, log_keys or broker_root in it".to_owned())),
        }
    }

    fn named(&self) -> impl Iterator<Item = &str> {
        let of_broker = self.broker.as_ref().and_then(|broker| broker.log_key.as_deref());
        let own = self.log_keys.iter().map(String::as_str);
        own.chain(self.log_key.as_deref()).chain(of_broker)
    }

    fn root(&self) -> impl Iterator<Item = &str> {
        let of_broker = self.broker.as_ref().and_then(|broker| broker.root_key.as_deref());
        self.broker_root.as_deref().into_iter().chain(of_broker)
    }
}

/// Every key named, in the page's fields and in trust files together.
pub fn keys<S>(request: &Request<'_, S>, typed: &TypedKeys) -> Result<Keys, TrustError> {
    let files: Vec<KeyFile> =
        request.given_for(Role::Trust).map(KeyFile::read).collect::<Result<_, _>>()?;
    let mut log_keys: Vec<VerifierKey> = Vec::new();
    let lines = typed.log_keys.lines().map(str::trim).filter(|line| !line.is_empty());
    for text in lines.chain(files.iter().flat_map(KeyFile::named)) {
        let key = VerifierKey::parse(text)
            .map_err(|error| TrustError::LogKey { reason: error.to_string() })?;
        if !log_keys.contains(&key) {
            log_keys.push(key);
        }
    }
    let own = Some(typed.broker_root.trim()).filter(|text| !text.is_empty());
    let mut broker_root: Option<PublicKey> = None;
    for text in own.into_iter().chain(files.iter().flat_map(KeyFile::root)) {
        let key = text.parse::<PublicKey>();
        let key = key.map_err(|error| TrustError::BrokerRoot { reason: error.to_string() })?;
        if broker_root.replace(key).is_some_and(|other| other != key) {
            return Err(TrustError::TwoBrokerRoots);
        }
    }
    if log_keys.is_empty() {
        return Err(TrustError::NoLogKey);
    }
    Ok(Keys { log_keys, broker_root: broker_root.ok_or(TrustError::NoBrokerRoot)? })
}
