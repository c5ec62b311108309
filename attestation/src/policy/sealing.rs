//! Policy for the sealing key: which key encapsulation a request may be sealed with.

use serde::Deserialize;

use bulla_wire::keyset::{ALGO_OHTTP_CHUNKED, Keyset};
use data_encoding::HEXLOWER;

use crate::result::{Check, CheckName};

/// HPKE KEM id of X-Wing: ML-KEM-768 with X25519.
const KEM_X_WING: u16 = 0x647a;
/// HPKE KEM id of DHKEM(X25519, HKDF-SHA256) (RFC 9180 §7.1).
const KEM_X25519: u16 = 0x0020;

/// The weakest key encapsulation taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KemFloor {
    /// Not asked.
    Any,
    /// Hybrid post-quantum: what is recorded today stays closed to a later quantum computer.
    Hybrid,
}

/// What the sealing key must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealingRule {
    /// The weakest key encapsulation taken.
    pub kem: KemFloor,
}

impl SealingRule {
    /// Judges the sealing key of an attested keyset. Whether there is one, and one only, is the
    /// check `keyset_keys`.
    pub(crate) fn judge(&self, keyset: &Keyset) -> Check {
        let name = CheckName::SealingKem;
        let expected = "a hybrid post-quantum KEM (X-Wing, 0x647a)";
        let kem = kem_of(keyset);
        let got = match kem {
            Some(KEM_X_WING) => "X-Wing (0x647a)".to_owned(),
            Some(KEM_X25519) => "X25519 (0x0020), which a quantum computer opens".to_owned(),
            Some(other) => format!("KEM 0x{other:04x}"),
            None => "no sealing key".to_owned(),
        };
        match (self.kem, kem) {
            (KemFloor::Any, _) => Check::not_required(name, got),
            (KemFloor::Hybrid, None) => Check::unknown(name, expected, got),
            (KemFloor::Hybrid, Some(kem)) => Check::judge(name, kem == KEM_X_WING, expected, got),
        }
    }
}

/// The KEM of the first sealing key: bytes 1 and 2 of its key configuration (RFC 9458 §3.1).
fn kem_of(keyset: &Keyset) -> Option<u16> {
    let entry = keyset.e2ee_public_keys.iter().find(|entry| entry.algo == ALGO_OHTTP_CHUNKED)?;
    let configuration = HEXLOWER.decode(entry.public_key.as_bytes()).ok()?;
    let (&[_, high, low], _) = configuration.split_first_chunk::<3>()?;
    Some(u16::from_be_bytes([high, low]))
}
