//! The one hash of this crate: SHA-256, with the domain bytes of RFC 6962 section 2.1.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ring::digest::{Context, SHA256};

use crate::strict;

/// Bytes in a hash (SHA-256).
pub const HASH_BYTES: usize = 32;

/// Domain byte in front of a leaf (RFC 6962 section 2.1).
const LEAF_PREFIX: u8 = 0x00;
/// Domain byte in front of an inner node (RFC 6962 section 2.1).
const NODE_PREFIX: u8 = 0x01;

/// A SHA-256 hash of the tree: of a leaf, of a node, or of the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Takes 32 bytes as a hash.
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// The hash of a leaf's bytes: SHA-256(0x00 || leaf).
    pub fn leaf(leaf: &[u8]) -> Self {
        sha256(&[&[LEAF_PREFIX], leaf])
    }

    /// The hash of an inner node: SHA-256(0x01 || left || right).
    pub fn node(left: &Self, right: &Self) -> Self {
        sha256(&[&[NODE_PREFIX], &left.0, &right.0])
    }

    /// The root of the tree without leaves: SHA-256 of nothing.
    pub fn empty_root() -> Self {
        sha256(&[])
    }

    /// Standard base64 with padding (RFC 4648 section 4), as in checkpoints and proofs.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads what [`Hash::to_base64`] writes; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        strict::base64(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for Hash {
    /// Base64, the form in which people meet it in checkpoints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// SHA-256 over the parts, one after the other. The caller separates domains.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; HASH_BYTES];
    // SHA-256 yields exactly 32 bytes, so the two slices are of one length.
    bytes.copy_from_slice(context.finish().as_ref());
    Hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_published_hashes() {
        // SHA-256("") and SHA-256(0x00), the well-known first two of RFC 6962.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(HEXLOWER.encode(Hash::empty_root().as_bytes()), empty);
        assert_eq!(HEXLOWER.encode(Hash::leaf(b"").as_bytes()), leaf);
    }

    #[test]
    fn refuses_base64_that_is_not_canonical_or_not_32_bytes() {
        let text = Hash::leaf(b"x").to_base64();
        assert_eq!(Hash::from_base64(&text), Some(Hash::leaf(b"x")));
        assert_eq!(Hash::from_base64(text.trim_end_matches('=')), None);
        assert_eq!(Hash::from_base64(&format!("{text}\n")), None);
        assert_eq!(Hash::from_base64("AAAA"), None);
        assert_eq!(Hash::from_base64(""), None);
        // 32 zero bytes whose last character carries set bits beyond the data
        let slack = format!("{}B=", "A".repeat(42));
        assert_eq!(Hash::from_base64(&slack), None);
    }
}
