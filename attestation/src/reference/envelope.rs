//! The frame of a signed document: `{"signed": …, "signatures": [{"key": …, "signature": …}]}`.

use bulla_wire::ids::{Digest, PublicKey, Signature};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hash::sha256;
use crate::sign::SigningKey;

/// Most signatures one document carries (ours: two roles of 16 keys in a rotation).
const MAX_SIGNATURES: usize = 32;

/// What a document's signed part says of itself.
pub(super) trait Body: Serialize + DeserializeOwned {
    /// `type` of the document, and the first line of what is signed.
    const KIND: &'static str;
    /// Largest document, in bytes (ours).
    const MAX_BYTES: usize;
    /// `type` as read.
    fn kind(&self) -> &str;
}

/// One signature, and the key it is said to be of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureEntry {
    /// The signer's Ed25519 key: says which key to try, never that it may sign.
    pub key: PublicKey,
    /// Over the kind, a line feed and the JCS form of `signed`.
    pub signature: Signature,
}

/// Why bytes are not a signed document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Too long.
    #[error("a {kind} has at most {max_bytes} bytes, got {got_bytes}")]
    TooLong {
        /// The kind of document.
        kind: &'static str,
        /// Its limit.
        max_bytes: usize,
        /// Bytes given.
        got_bytes: usize,
    },
    /// Not JSON of the shape, or with unknown or repeated members.
    #[error("{kind} does not read: {reason}")]
    Malformed {
        /// The kind of document.
        kind: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// A document of another kind.
    #[error("expected a {kind}, got {got:?}")]
    Kind {
        /// The kind wanted.
        kind: &'static str,
        /// Its `type`, cut to 80 characters.
        got: String,
    },
    /// A value that contradicts another or breaks a limit.
    #[error("{kind}: {reason}")]
    Inconsistent {
        /// The kind of document.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A signature of a key that may sign does not verify.
    #[error("{kind}: the signature of key {key} does not verify")]
    BadSignature {
        /// The kind of document.
        kind: &'static str,
        /// Whose.
        key: PublicKey,
    },
    /// Too few of the keys that may sign did.
    #[error("{kind}: {threshold} of {keys} keys must sign, {got} did")]
    TooFewSignatures {
        /// The kind of document.
        kind: &'static str,
        /// How many must.
        threshold: usize,
        /// How many may.
        keys: usize,
        /// How many did.
        got: usize,
    },
}

/// A document as it came: its signed part, and what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope<B> {
    pub(super) body: B,
    canonical: Vec<u8>,
    signatures: Vec<SignatureEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<B> {
    signed: B,
    signatures: Vec<SignatureEntry>,
}

impl<B: Body> Envelope<B> {
    pub(super) fn from_json(bytes: &[u8]) -> Result<Envelope<B>, DocumentError> {
        let kind = B::KIND;
        if bytes.len() > B::MAX_BYTES {
            let (max_bytes, got_bytes) = (B::MAX_BYTES, bytes.len());
            return Err(DocumentError::TooLong { kind, max_bytes, got_bytes });
        }
        let frame: Frame<B> = serde_json::from_slice(bytes)
            .map_err(|error| DocumentError::Malformed { kind, reason: error.to_string() })?;
        if frame.signed.kind() != kind {
            let got = frame.signed.kind().chars().take(80).collect();
            return Err(DocumentError::Kind { kind, got });
        }
        if frame.signatures.len() > MAX_SIGNATURES {
            let reason = format!("at most {MAX_SIGNATURES} signatures");
            return Err(DocumentError::Inconsistent { kind, reason });
        }
        Envelope::new(frame.signed, frame.signatures)
    }

    /// Signs `body` with `keys`.
    pub(super) fn sign(body: B, keys: &[&SigningKey]) -> Result<Envelope<B>, DocumentError> {
        let unsigned = Envelope::new(body, Vec::new())?;
        let message = unsigned.to_be_signed();
        let entry = |key: &&SigningKey| SignatureEntry {
            key: key.public(),
            signature: key.sign_bytes(&message),
        };
        Ok(Envelope { signatures: keys.iter().map(entry).collect(), ..unsigned })
    }

    fn new(body: B, signatures: Vec<SignatureEntry>) -> Result<Envelope<B>, DocumentError> {
        let canonical = serde_jcs::to_vec(&body).map_err(|error| DocumentError::Malformed {
            kind: B::KIND,
            reason: error.to_string(),
        })?;
        Ok(Envelope { body, canonical, signatures })
    }

    /// The document, for people.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct View<'a, B> {
            signed: &'a B,
            signatures: &'a [SignatureEntry],
        }
        let view = View { signed: &self.body, signatures: &self.signatures };
        match serde_json::to_string_pretty(&view) {
            Ok(text) => text + "\n",
            Err(never) => unreachable!("what had a canonical form has another: {never}"),
        }
    }

    /// SHA-256 of the canonical form of the signed part.
    pub(super) fn digest(&self) -> Digest {
        sha256(&self.canonical)
    }

    fn to_be_signed(&self) -> Vec<u8> {
        [B::KIND.as_bytes(), b"\n", &self.canonical].concat()
    }

    /// The document with one more signature.
    pub(super) fn signed_also(mut self, key: &SigningKey) -> Envelope<B> {
        let signature = key.sign_bytes(&self.to_be_signed());
        self.signatures.retain(|entry| entry.key != key.public());
        self.signatures.push(SignatureEntry { key: key.public(), signature });
        self
    }

    /// Keys whose signature verifies.
    pub(super) fn signers(&self) -> Vec<PublicKey> {
        let message = self.to_be_signed();
        let verifies = |entry: &&SignatureEntry| {
            UnparsedPublicKey::new(&ED25519, entry.key.as_bytes())
                .verify(&message, entry.signature.as_bytes())
                .is_ok()
        };
        self.signatures.iter().filter(verifies).map(|entry| entry.key).collect()
    }

    /// That `threshold` different ones of `keys` signed. A wrong signature of one of them refuses
    /// the document, however many others signed; signatures of other keys say nothing.
    pub(super) fn signed_by(
        &self,
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<(), DocumentError> {
        let message = self.to_be_signed();
        let mut signers: Vec<PublicKey> = Vec::new();
        for entry in self.signatures.iter().filter(|entry| keys.contains(&entry.key)) {
            UnparsedPublicKey::new(&ED25519, entry.key.as_bytes())
                .verify(&message, entry.signature.as_bytes())
                .map_err(|_| DocumentError::BadSignature { kind: B::KIND, key: entry.key })?;
            if !signers.contains(&entry.key) {
                signers.push(entry.key);
            }
        }
        match signers.len() >= threshold {
            true => Ok(()),
            false => Err(DocumentError::TooFewSignatures {
                kind: B::KIND,
                threshold,
                keys: keys.len(),
                got: signers.len(),
            }),
        }
    }
}
