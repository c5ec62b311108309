//! Attested keys: the only keys anything is sealed to, or any receipt is verified with.
//!
//! There is no public constructor. A value of [`AttestedKeys`] exists because an appraisal
//! affirmed the evidence these keys are hashed into, under a policy that grants keys.

use bulla_wire::ids::{Digest, PublicKey};
use bulla_wire::keyset::{ALGO_ED25519, ALGO_OHTTP_CHUNKED, Keyset, Subject, TlsKey};
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER;

/// A key that signs usage receipts and epoch records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptKey {
    /// Its name inside the keyset.
    pub key_id: String,
    /// The key.
    pub public_key: PublicKey,
}

/// The keys of one enclave epoch, attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedKeys {
    keyset_digest: Digest,
    evidence_digest: Digest,
    receipt_keys: Vec<ReceiptKey>,
    key_configuration: Vec<u8>,
    tls_keys: Vec<TlsKey>,
    not_after: UnixSeconds,
    subject: Option<Subject>,
    simulated: bool,
}

impl AttestedKeys {
    /// Digest of the keyset (aci/1 §3.1): the enclave's identity.
    pub fn keyset_digest(&self) -> Digest {
        self.keyset_digest
    }

    /// Digest of the attestation report that was appraised.
    pub fn evidence_digest(&self) -> Digest {
        self.evidence_digest
    }

    /// Keys that sign usage receipts and epoch records; at least one.
    pub fn receipt_keys(&self) -> &[ReceiptKey] {
        &self.receipt_keys
    }

    /// The RFC 9458 §3 key configuration of the sealing key.
    pub fn key_configuration(&self) -> &[u8] {
        &self.key_configuration
    }

    /// TLS keys a client may meet; may be empty.
    pub fn tls_keys(&self) -> &[TlsKey] {
        &self.tls_keys
    }

    /// Whether a TLS key with this SubjectPublicKeyInfo digest may be met at `host`.
    pub fn pins_tls(&self, spki_sha256: &Digest, host: &str) -> bool {
        self.tls_keys.iter().any(|key| {
            let for_host = key.domain.as_deref().is_none_or(|domain| domain == host);
            key.spki_sha256 == *spki_sha256 && for_host
        })
    }

    /// After this instant nothing of the keyset is accepted.
    pub fn not_after(&self) -> UnixSeconds {
        self.not_after
    }

    /// Instance and chip, where the keyset's subject is in our form.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// Whether no hardware stands behind them.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }
}

/// What a keyset lacks for this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysetLacks {
    #[error("no ed25519 receipt key")]
    ReceiptKey,
    #[error("a receipt key that is not 32 bytes of hex")]
    MalformedReceiptKey,
    #[error("no {ALGO_OHTTP_CHUNKED} sealing key")]
    SealingKey,
    #[error("more than one {ALGO_OHTTP_CHUNKED} sealing key")]
    SeveralSealingKeys,
    #[error("a sealing key that is not hex")]
    MalformedSealingKey,
    #[error("one key in two roles")]
    SharedKey,
}

/// Every receipt key of a keyset that reads, whatever else the keyset lacks.
pub(crate) fn receipt_keys(keyset: &Keyset) -> Vec<PublicKey> {
    let entries = keyset.receipt_signing_keys.iter();
    let named = entries.filter(|entry| entry.algo == ALGO_ED25519);
    named.filter_map(|entry| entry.public_key.parse().ok()).collect()
}

/// The keys of `keyset`, if it holds what this protocol needs. Entries with another algorithm are
/// left aside (aci/1 §3.1).
pub(crate) fn of_keyset(
    keyset: &Keyset,
    keyset_digest: Digest,
    evidence_digest: Digest,
    simulated: bool,
) -> Result<AttestedKeys, KeysetLacks> {
    let receipt_entries =
        keyset.receipt_signing_keys.iter().filter(|entry| entry.algo == ALGO_ED25519);
    let receipt_keys = receipt_entries
        .map(|entry| {
            let public_key =
                entry.public_key.parse().map_err(|_| KeysetLacks::MalformedReceiptKey)?;
            Ok(ReceiptKey { key_id: entry.key_id.clone(), public_key })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if receipt_keys.is_empty() {
        return Err(KeysetLacks::ReceiptKey);
    }
    let is_shared = keyset.receipt_signing_keys.iter().any(|receipt| {
        keyset.e2ee_public_keys.iter().any(|sealing| sealing.public_key == receipt.public_key)
    });
    if is_shared {
        return Err(KeysetLacks::SharedKey);
    }
    let mut sealing =
        keyset.e2ee_public_keys.iter().filter(|entry| entry.algo == ALGO_OHTTP_CHUNKED);
    let entry = sealing.next().ok_or(KeysetLacks::SealingKey)?;
    if sealing.next().is_some() {
        return Err(KeysetLacks::SeveralSealingKeys);
    }
    let key_configuration = HEXLOWER
        .decode(entry.public_key.as_bytes())
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .ok_or(KeysetLacks::MalformedSealingKey)?;
    Ok(AttestedKeys {
        keyset_digest,
        evidence_digest,
        receipt_keys,
        key_configuration,
        tls_keys: keyset.tls_public_keys.clone(),
        not_after: keyset.not_after,
        subject: keyset.subject.as_deref().and_then(Subject::parse),
        simulated,
    })
}
