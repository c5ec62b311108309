//! SM2 signatures over SM3 (GB/T 32918.2, GB/T 32905), as Hygon writes keys and signatures: numbers
//! little-endian in fields of 72 bytes, of which SM2 uses 32.

use sm2::dsa::signature::Verifier;
use sm2::dsa::{Signature, VerifyingKey};

const NUMBER_BYTES: usize = 32;
const NUMBER_FIELD_BYTES: usize = 72;
/// Length of r and s, or of x and y, together.
pub(super) const PAIR_BYTES: usize = 2 * NUMBER_FIELD_BYTES;

/// A public key with the name its signatures are bound to (the "distinguishing identifier").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Uncompressed point: 4, x, y.
    pub point: [u8; 1 + 2 * NUMBER_BYTES],
    pub user_id: String,
}

impl Key {
    /// Whether this key made `signature` (r, s, big-endian) over `signed`.
    pub fn verifies(&self, signed: &[u8], signature: &[u8; 2 * NUMBER_BYTES]) -> bool {
        let key = VerifyingKey::from_sec1_bytes(&self.user_id, &self.point);
        let signature = Signature::from_slice(signature);
        key.and_then(|key| key.verify(signed, &signature?)).is_ok()
    }

    /// A key from its fields; `None` where x and y have digits SM2 does not use.
    pub fn of(pair: &[u8; PAIR_BYTES], user_id: &str) -> Option<Key> {
        let mut point = [4; 1 + 2 * NUMBER_BYTES];
        let (_, coordinates) = point.split_first_mut()?;
        coordinates.copy_from_slice(&numbers(pair)?);
        Some(Key { point, user_id: user_id.to_owned() })
    }
}

/// Two numbers, turned big-endian; `None` where the rest of their fields is not zero.
pub(super) fn numbers(pair: &[u8; PAIR_BYTES]) -> Option<[u8; 2 * NUMBER_BYTES]> {
    let mut out = [0; 2 * NUMBER_BYTES];
    let fields = pair.chunks_exact(NUMBER_FIELD_BYTES);
    for (to, field) in out.chunks_exact_mut(NUMBER_BYTES).zip(fields) {
        let (digits, zeros) = field.split_at_checked(NUMBER_BYTES)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return None;
        }
        to.copy_from_slice(digits);
        to.reverse();
    }
    Some(out)
}
