//! Root documents: who may sign manifests, and who may sign the next root.

use bulla_wire::ids::{Digest, PublicKey};
use serde::{Deserialize, Serialize};

use super::Instant;
use super::envelope::{Body, DocumentError, Envelope};
use crate::sign::SigningKey;

/// Most keys in one role (ours).
const MAX_KEYS: usize = 16;

/// So many of these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// How many must sign.
    pub threshold: usize,
    /// Ed25519 keys, each once.
    pub keys: Vec<PublicKey>,
}

/// The signed part of a root document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootBody {
    /// `bulla reference root v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose root: the same in every version.
    pub name: String,
    /// 1, then one more at each rotation.
    pub version: u64,
    /// After this instant it signs nothing; the next version must be published before.
    pub expires: Instant,
    /// Who signs the next root: keys kept offline.
    pub root: Role,
    /// Who signs manifests.
    pub manifests: Role,
}

impl Body for RootBody {
    const KIND: &'static str = "bulla reference root v1";
    const MAX_BYTES: usize = 64 * 1024;

    fn kind(&self) -> &str {
        &self.kind
    }
}

impl RootBody {
    /// The `type` of a root document.
    pub const KIND: &'static str = <RootBody as Body>::KIND;

    pub(super) fn check(&self) -> Result<(), DocumentError> {
        self.root.check("root")?;
        self.manifests.check("manifests")
    }
}

/// A root document whose own keys signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDocument {
    envelope: Envelope<RootBody>,
    digest: Digest,
}

/// Why a root does not follow from another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Of somebody else.
    #[error("a root named {got:?} cannot follow {expected:?}")]
    Name {
        /// The name of the older one.
        expected: String,
        /// The name of the newer one.
        got: String,
    },
    /// Versions go up by one.
    #[error("version {expected} must follow, got {got}")]
    Version {
        /// The older one's plus one.
        expected: u64,
        /// The newer one's.
        got: u64,
    },
    /// The older version's keys have not signed it.
    #[error("not signed by the version before: {0}")]
    NotSigned(DocumentError),
}

impl RootDocument {
    /// Reads a root document. It must carry the threshold of signatures by its own root keys;
    /// whether it is to be trusted is not said by that.
    pub fn from_json(bytes: &[u8]) -> Result<RootDocument, DocumentError> {
        RootDocument::checked(Envelope::from_json(bytes)?)
    }

    /// Signs a root document: by its own root keys, and by those of the version before.
    pub fn sign(body: RootBody, keys: &[&SigningKey]) -> Result<RootDocument, DocumentError> {
        RootDocument::checked(Envelope::sign(body, keys)?)
    }

    fn checked(envelope: Envelope<RootBody>) -> Result<RootDocument, DocumentError> {
        let body = &envelope.body;
        body.check()?;
        envelope.signed_by(&body.root.keys, body.root.threshold)?;
        let digest = envelope.digest();
        Ok(RootDocument { envelope, digest })
    }

    /// What it says.
    pub fn body(&self) -> &RootBody {
        &self.envelope.body
    }

    /// SHA-256 of its canonical form: what a policy pins.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The document, for people.
    pub fn to_json(&self) -> String {
        self.envelope.to_json()
    }

    /// Whether `next` follows: one version on, signed by the threshold of this version's keys.
    pub fn is_followed_by(&self, next: &RootDocument) -> Result<(), RotationError> {
        let (old, new) = (self.body(), next.body());
        if old.name != new.name {
            let (expected, got) = (old.name.clone(), new.name.clone());
            return Err(RotationError::Name { expected, got });
        }
        let expected = old.version.saturating_add(1);
        if new.version != expected {
            return Err(RotationError::Version { expected, got: new.version });
        }
        next.envelope
            .signed_by(&old.root.keys, old.root.threshold)
            .map_err(RotationError::NotSigned)
    }
}

impl Role {
    fn check(&self, role: &str) -> Result<(), DocumentError> {
        let refused = |reason| DocumentError::Inconsistent { kind: RootBody::KIND, reason };
        if self.keys.len() > MAX_KEYS {
            return Err(refused(format!("{role} has at most {MAX_KEYS} keys")));
        }
        if self.threshold == 0 || self.threshold > self.keys.len() {
            let (threshold, keys) = (self.threshold, self.keys.len());
            return Err(refused(format!("{role} asks {threshold} of {keys} keys")));
        }
        let repeats = |(index, key)| self.keys.iter().take(index).any(|earlier| earlier == key);
        if self.keys.iter().enumerate().any(repeats) {
            return Err(refused(format!("{role} lists one key twice")));
        }
        Ok(())
    }
}
