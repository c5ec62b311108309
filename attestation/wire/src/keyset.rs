//! The workload keyset of aci/1 (§3.1): an enclave's identity is the digest of this document.

use serde::{Deserialize, Serialize};

use crate::accelerator::{self, Accelerator, AcceleratorError};
use crate::ids::{Digest, InstanceId};
use crate::units::UnixSeconds;

/// Largest keyset document, in bytes. An X-Wing key is 1,216 bytes, written in hex.
pub const MAX_KEYSET_BYTES: usize = 32 * 1024;
/// Most entries in each key list.
pub const MAX_KEYS_PER_ROLE: usize = 8;
/// Longest text field, in bytes.
pub const MAX_FIELD_BYTES: usize = 8 * 1024;

/// `algo` of the sealing key: chunked OHTTP; `public_key` is the hex of an RFC 9458 §3 key
/// configuration, so KEM, KDF and AEAD are named inside the attested bytes.
pub const ALGO_OHTTP_CHUNKED: &str = "ohttp-chunked";
/// `algo` of the usage-receipt key (aci/1 Appendix B).
pub const ALGO_ED25519: &str = "ed25519";

/// The public keys of one enclave epoch. The digest of its JCS form goes into REPORT_DATA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyset {
    /// Who the enclave says it is: see [`Subject`]. Attested, still judged by policy.
    pub subject: Option<String>,
    /// After this instant nothing of this keyset is accepted.
    pub not_after: UnixSeconds,
    /// Keys that sign usage receipts and epoch records, and nothing else.
    pub receipt_signing_keys: Vec<KeyEntry>,
    /// Sealing keys.
    pub e2ee_public_keys: Vec<KeyEntry>,
    /// TLS keys a client may meet.
    pub tls_public_keys: Vec<TlsKey>,
}

/// One public key with its algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Stable name inside the keyset.
    pub key_id: String,
    /// Algorithm; entries with an unknown one are ignored.
    pub algo: String,
    /// Lower-case hex, in the algorithm's own encoding.
    pub public_key: String,
}

/// One TLS key, by the digest of its SubjectPublicKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKey {
    /// SHA-256 of the SubjectPublicKeyInfo (DER).
    pub spki_sha256: Digest,
    /// Restricts the entry to one host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Why a document is not a keyset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysetError {
    /// Larger than [`MAX_KEYSET_BYTES`].
    #[error("keyset has {got_bytes} bytes, at most {MAX_KEYSET_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// Not JSON of the aci/1 shape.
    #[error("malformed keyset: {reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// A list with more than [`MAX_KEYS_PER_ROLE`] entries.
    #[error("{role} lists {got} keys, at most {MAX_KEYS_PER_ROLE} are allowed")]
    TooManyKeys {
        /// The list.
        role: &'static str,
        /// Its length.
        got: usize,
    },
    /// A text longer than [`MAX_FIELD_BYTES`].
    #[error("{field} has {got_bytes} bytes, at most {MAX_FIELD_BYTES} are allowed")]
    FieldTooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        got_bytes: usize,
    },
}

impl Keyset {
    /// Parses a keyset in any JSON encoding. Unknown and repeated members are errors.
    pub fn from_json(bytes: &[u8]) -> Result<Keyset, KeysetError> {
        if bytes.len() > MAX_KEYSET_BYTES {
            return Err(KeysetError::TooLong { got_bytes: bytes.len() });
        }
        let keyset: Keyset = serde_json::from_slice(bytes)
            .map_err(|e| KeysetError::Malformed { reason: e.to_string() })?;
        keyset.check_limits()?;
        Ok(keyset)
    }

    pub(crate) fn check_limits(&self) -> Result<(), KeysetError> {
        let roles = [
            ("receipt_signing_keys", self.receipt_signing_keys.len()),
            ("e2ee_public_keys", self.e2ee_public_keys.len()),
            ("tls_public_keys", self.tls_public_keys.len()),
        ];
        for (role, got) in roles {
            if got > MAX_KEYS_PER_ROLE {
                return Err(KeysetError::TooManyKeys { role, got });
            }
        }
        let entries = self.receipt_signing_keys.iter().chain(&self.e2ee_public_keys);
        let texts = entries
            .flat_map(|k| [("key_id", &k.key_id), ("algo", &k.algo), ("public_key", &k.public_key)])
            .chain(self.tls_public_keys.iter().filter_map(|k| Some(("domain", k.domain.as_ref()?))))
            .chain(self.subject.iter().map(|s| ("subject", s)));
        for (field, text) in texts {
            if text.len() > MAX_FIELD_BYTES {
                return Err(KeysetError::FieldTooLong { field, got_bytes: text.len() });
            }
        }
        Ok(())
    }

    /// The JCS form (RFC 8785): what is hashed, whatever encoding was served.
    pub fn jcs(&self) -> Vec<u8> {
        match serde_jcs::to_vec(self) {
            Ok(bytes) => bytes,
            Err(never) => unreachable!("a keyset has only texts and integers: {never}"),
        }
    }

    /// The accelerators the enclave says it uses; `None` where the subject is not in our form and
    /// so says nothing of them.
    pub fn accelerators(&self) -> Result<Option<Vec<Accelerator>>, AcceleratorError> {
        match self.subject.as_deref() {
            Some(subject) if Subject::parse(subject).is_some() => {
                accelerator::of_subject(subject).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The subject bulla enclaves write: `bulla://INSTANCE/CHIP-ID`, chip id as the TEE reports it. A
/// part after a question mark names [accelerators](Keyset::accelerators).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The instance.
    pub instance: InstanceId,
    /// Hardware identity in lower-case hex, as in the evidence; 128 digits for SEV-SNP.
    pub chip_id: String,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bulla://{}/{}", self.instance, self.chip_id)
    }
}

impl Subject {
    /// Reads a subject; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Subject> {
        let address = text.split_once('?').map_or(text, |(address, _)| address);
        let (instance, chip_id) = address.strip_prefix("bulla://")?.split_once('/')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if chip_id.len() > 128 || !chip_id.bytes().all(hex) {
            return None;
        }
        Some(Subject { instance: instance.parse().ok()?, chip_id: chip_id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// aci/1 test vectors §1.
    const VECTOR: &str = r#"{"e2ee_public_keys":[{"algo":"x25519-aes-256-gcm-hkdf-sha256","key_id":"e2ee-1","public_key":"5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22"}],"not_after":1800000000,"receipt_signing_keys":[{"algo":"ed25519","key_id":"receipt-1","public_key":"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"}],"subject":"dstack-app://example-app","tls_public_keys":[{"domain":"api.example.com","spki_sha256":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"}]}"#;

    #[test]
    fn canonical_form_is_the_published_vector() {
        let keyset = Keyset::from_json(VECTOR.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(keyset.jcs()).unwrap(), VECTOR);
        let pretty = serde_json::to_string_pretty(&keyset).unwrap();
        assert_eq!(Keyset::from_json(pretty.as_bytes()).unwrap(), keyset);
    }

    #[test]
    fn refuses_unknown_and_repeated_members() {
        let unknown = VECTOR.replacen('{', r#"{"extra":1,"#, 1);
        let repeated = VECTOR.replacen('{', r#"{"not_after":1,"#, 1);
        for bad in [unknown, repeated] {
            let got = Keyset::from_json(bad.as_bytes()).unwrap_err();
            assert!(matches!(got, KeysetError::Malformed { .. }), "{got}");
        }
    }

    #[test]
    fn refuses_too_many_keys() {
        let mut keyset = Keyset::from_json(VECTOR.as_bytes()).unwrap();
        keyset.tls_public_keys = vec![keyset.tls_public_keys[0].clone(); 9];
        let got = Keyset::from_json(&serde_json::to_vec(&keyset).unwrap()).unwrap_err();
        assert_eq!(got, KeysetError::TooManyKeys { role: "tls_public_keys", got: 9 });
    }

    #[test]
    fn subject_round_trips() {
        let subject = Subject { instance: "enclave-1".parse().unwrap(), chip_id: "ab".repeat(64) };
        assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        assert_eq!(Subject::parse("dstack-app://example-app"), None);
    }
}
