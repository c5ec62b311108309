//! Signing by hand, one holder after the other: a document is passed round until enough have signed.

use bulla_wire::ids::{Digest, PublicKey};

use super::Instant;
use super::envelope::{Body, DocumentError, Envelope};
use super::manifest::ManifestBody;
use super::root::RootBody;
use crate::sign::SigningKey;

/// What a document says of itself. Nobody has judged its signatures.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Described {
    /// `type` of the document.
    pub kind: &'static str,
    /// Whose root, or which line of releases.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// When it ends.
    pub expires: Instant,
    /// SHA-256 of the canonical form of its signed part: what a policy pins of a root.
    pub digest: Digest,
    /// Keys whose signature is on it and verifies.
    pub signers: Vec<PublicKey>,
}

/// Describes a root document or a manifest, signed enough or not.
pub fn describe(document: &[u8]) -> Result<Described, DocumentError> {
    match root(document) {
        Ok(envelope) => {
            let RootBody { name, version, expires, .. } = &envelope.body;
            Ok(described(&envelope, name, *version, *expires))
        }
        Err(DocumentError::Kind { .. } | DocumentError::Malformed { .. }) => {
            let envelope = manifest(document)?;
            let ManifestBody { name, version, expires, .. } = &envelope.body;
            Ok(described(&envelope, name, *version, *expires))
        }
        Err(error) => Err(error),
    }
}

/// The document with a signature by `key` added; one that it already has is made again.
pub fn add_signature(document: &[u8], key: &SigningKey) -> Result<String, DocumentError> {
    match root(document) {
        Ok(envelope) => Ok(envelope.signed_also(key).to_json()),
        Err(DocumentError::Kind { .. } | DocumentError::Malformed { .. }) => {
            Ok(manifest(document)?.signed_also(key).to_json())
        }
        Err(error) => Err(error),
    }
}

fn root(document: &[u8]) -> Result<Envelope<RootBody>, DocumentError> {
    let envelope = Envelope::<RootBody>::from_json(document)?;
    envelope.body.check()?;
    Ok(envelope)
}

fn manifest(document: &[u8]) -> Result<Envelope<ManifestBody>, DocumentError> {
    let envelope = Envelope::<ManifestBody>::from_json(document)?;
    envelope.body.check()?;
    Ok(envelope)
}

fn described<B: Body>(
    envelope: &Envelope<B>,
    name: &str,
    version: u64,
    expires: Instant,
) -> Described {
    Described {
        kind: B::KIND,
        name: name.to_owned(),
        version,
        expires,
        digest: envelope.digest(),
        signers: envelope.signers(),
    }
}
