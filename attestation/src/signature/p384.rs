//! ECDSA P-384 with SHA-384: the joint where a faster implementation goes.

use ring::signature::{ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

/// `signature` is a DER sequence of r and s; `point` is uncompressed.
pub(super) fn verifies_der(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).verify(signed, signature).is_ok()
}

/// `signature` is r || s, big-endian, 96 bytes; `point` is uncompressed.
pub(super) fn verifies_fixed(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature).is_ok()
}
