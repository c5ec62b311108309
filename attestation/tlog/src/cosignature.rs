//! Witnesses' cosignatures, version 1 with Ed25519 (C2SP tlog-cosignature, type 0x04), and
//! the rule "k of n witnesses".
//!
//! What a witness signs:
//! ```text
//! cosignature/v1
//! time 1679315147
//! broker.example/usage
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```

use std::fmt;

use crate::checkpoint::SignedCheckpoint;
use crate::key::{KEY_BYTES, KEY_ID_BYTES, KeyError, KeyType, PrivateKey, PublicKey};
use crate::note::{Note, NoteSignature, NoteVerifyError};

/// The latest time a cosignature may state, in seconds since the epoch (tlog-cosignature).
pub const MAX_TIMESTAMP_S: u64 = i64::MAX as u64;

/// Witnesses in one quorum: as many as a note holds beside the log's own signature.
pub const MAX_WITNESSES: usize = crate::note::MAX_SIGNATURES - 1;

/// Why a cosignature was not made or not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] NoteVerifyError),
    /// Not 8 bytes of time and 64 of signature.
    #[error("a cosignature by {name} has {expected} bytes, got {got}")]
    Length {
        /// The witness.
        name: String,
        /// 8 + 64.
        expected: usize,
        /// Bytes found after the key id.
        got: usize,
    },
    /// The time is zero (tlog-witness forbids it) or beyond [`MAX_TIMESTAMP_S`].
    #[error("the cosignature's time {got} is not between 1 and {MAX_TIMESTAMP_S}")]
    Timestamp {
        /// Seconds since the epoch.
        got: u64,
    },
}

/// Why a quorum of witnesses could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// A threshold of zero, or of more than there are keys.
    #[error("the threshold {threshold} is not between 1 and the {keys} witness keys given")]
    Threshold {
        /// Witnesses needed.
        threshold: usize,
        /// Keys given.
        keys: usize,
    },
    /// Too many keys.
    #[error("{got} witness keys are more than a note can satisfy ({MAX_WITNESSES})")]
    TooManyKeys {
        /// Keys given.
        got: usize,
    },
    /// Two entries with one name or one key would count one witness twice.
    #[error("witness {name} stands twice, by name or by key")]
    Duplicate {
        /// The second of the two.
        name: String,
    },
}

/// Why a checkpoint is not witnessed well enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Too few witnesses signed.
    #[error(
        "{got} of {keys} witnesses cosigned, {threshold} are needed; missing: {}",
        missing.join(", ")
    )]
    NotEnough {
        /// Witnesses needed.
        threshold: usize,
        /// Witnesses known.
        keys: usize,
        /// Witnesses whose cosignature is good.
        got: usize,
        /// Names of those that did not sign.
        missing: Vec<String>,
    },
    /// A known witness's signature is wrong, which makes the whole note suspect.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
}

const TIMESTAMP_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 64;

/// The message under a cosignature. The header parts it from every other signed text.
fn message(timestamp_s: u64, body: &str) -> String {
    format!("cosignature/v1\ntime {timestamp_s}\n{body}")
}

fn check_timestamp(timestamp_s: u64) -> Result<(), CosignatureError> {
    if timestamp_s == 0 || timestamp_s > MAX_TIMESTAMP_S {
        return Err(CosignatureError::Timestamp { got: timestamp_s });
    }
    Ok(())
}

/// The public key of a witness, under its name.
///
/// Its text form is a `vkey` of type 0x04: `name+id+base64(type || key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey(PublicKey);

impl WitnessKey {
    /// A key from its name and its 32 bytes.
    ///
    /// # Errors
    /// The variants of [`KeyError`] that concern the name.
    pub fn new(name: &str, public_key: [u8; KEY_BYTES]) -> Result<Self, KeyError> {
        PublicKey::new(name, KeyType::Cosignature, public_key).map(Self)
    }

    /// Parses `name+id+key`.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        PublicKey::parse(text, KeyType::Cosignature).map(Self)
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key's id.
    pub fn key_id(&self) -> [u8; KEY_ID_BYTES] {
        self.0.id
    }

    /// Checks this witness's cosignature and returns its time, in seconds since the epoch.
    /// Of several all must be right, and the latest counts. Whether that time is recent
    /// enough is the caller's policy.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn verify(&self, checkpoint: &SignedCheckpoint) -> Result<u64, CosignatureError> {
        self.verify_note(checkpoint.note())
    }

    fn verify_note(&self, note: &Note) -> Result<u64, CosignatureError> {
        let mut latest = None;
        for bytes in note.by(&self.0) {
            latest = latest.max(Some(self.verify_one(note.text(), bytes)?));
        }
        latest.ok_or_else(|| NoteVerifyError::not_signed(&self.0).into())
    }

    fn verify_one(&self, body: &str, bytes: &[u8]) -> Result<u64, CosignatureError> {
        let expected = TIMESTAMP_BYTES + SIGNATURE_BYTES;
        let parts = bytes.split_first_chunk::<TIMESTAMP_BYTES>();
        let Some((time, signature)) = parts.filter(|_| bytes.len() == expected) else {
            return Err(CosignatureError::Length {
                name: self.0.name.clone(),
                expected,
                got: bytes.len(),
            });
        };
        let timestamp_s = u64::from_be_bytes(*time);
        check_timestamp(timestamp_s)?;
        let message = message(timestamp_s, body);
        if !self.0.accepts(message.as_bytes(), signature) {
            return Err(NoteVerifyError::bad_signature(&self.0).into());
        }
        Ok(timestamp_s)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessKey({self})")
    }
}

/// The private key of a witness. No `Debug`; wiped on drop.
pub struct WitnessSigner(PrivateKey);

impl WitnessSigner {
    /// A key from its name and the 32-byte seed of RFC 8032. One seed serves one witness:
    /// the signed message does not hold the name.
    ///
    /// # Errors
    /// The variants of [`KeyError`] that concern the name.
    pub fn from_seed(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        PrivateKey::new(name, KeyType::Cosignature, seed).map(Self)
    }

    /// The key that verifies what this one signs.
    pub fn verifier(&self) -> WitnessKey {
        WitnessKey(self.0.public.clone())
    }

    /// Cosigns at this time, in seconds since the epoch: "this is the largest tree of that
    /// log that I have seen, and it extends all that I saw before". The caller has checked
    /// that ([`verify_consistency`](crate::verify_consistency)) and stored the checkpoint.
    ///
    /// # Errors
    /// [`CosignatureError::Timestamp`].
    pub fn cosign(
        &self,
        checkpoint: &SignedCheckpoint,
        timestamp_s: u64,
    ) -> Result<NoteSignature, CosignatureError> {
        check_timestamp(timestamp_s)?;
        let message = message(timestamp_s, checkpoint.note().text());
        let signature = self.0.sign(message.as_bytes());
        let bytes = [timestamp_s.to_be_bytes().as_slice(), &signature].concat();
        Ok(NoteSignature::by(&self.0.public, bytes))
    }
}

/// One witness that cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness's name.
    pub name: String,
    /// When it cosigned, in seconds since the epoch, by its own clock.
    pub timestamp_s: u64,
}

/// The rule "at least `threshold` of these witnesses".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    threshold: usize,
    keys: Vec<WitnessKey>,
}

impl Quorum {
    /// A rule over distinct witnesses.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn new(threshold: usize, keys: Vec<WitnessKey>) -> Result<Self, QuorumError> {
        if keys.len() > MAX_WITNESSES {
            return Err(QuorumError::TooManyKeys { got: keys.len() });
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(QuorumError::Threshold { threshold, keys: keys.len() });
        }
        for (at, key) in keys.iter().enumerate() {
            let same =
                |other: &WitnessKey| other.0.name == key.0.name || other.0.bytes == key.0.bytes;
            if keys.iter().take(at).any(same) {
                let name = key.0.name.clone();
                return Err(QuorumError::Duplicate { name });
            }
        }
        Ok(Self { threshold, keys })
    }

    /// Witnesses needed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Witnesses known.
    pub fn keys(&self) -> &[WitnessKey] {
        &self.keys
    }

    /// Checks that enough witnesses cosigned, and returns all that did.
    ///
    /// # Errors
    /// [`WitnessError::NotEnough`] names who is missing; a wrong signature by a known
    /// witness refuses the checkpoint, however many others signed.
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<Cosignature>, WitnessError> {
        let (mut cosigned, mut missing) = (Vec::new(), Vec::new());
        for key in &self.keys {
            let name = key.0.name.clone();
            match key.verify(checkpoint) {
                Ok(timestamp_s) => cosigned.push(Cosignature { name, timestamp_s }),
                Err(CosignatureError::Signature(NoteVerifyError::NotSigned { .. })) => {
                    missing.push(name);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if cosigned.len() < self.threshold {
            return Err(WitnessError::NotEnough {
                threshold: self.threshold,
                keys: self.keys.len(),
                got: cosigned.len(),
                missing,
            });
        }
        Ok(cosigned)
    }
}
