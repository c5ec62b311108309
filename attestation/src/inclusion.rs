//! COSE Receipts of inclusion (RFC 9942): that a leaf is in the log, as tools for SCITT read it.
//!
//! The signature covers the root, not the number of leaves: a receipt altered to another size with a
//! path of the same shape still holds, for the same leaf, index and root.
//!
//! The same key signs checkpoints and these. No text of a note is a `Sig_structure`: that begins
//! with the byte 0x84, which begins no UTF-8.

use bulla_tlog::tree::InclusionError;
use bulla_tlog::{Hash, IncludedLeaf, SignedCheckpoint, SignerKey, VerifierKey, verify_inclusion};
use bulla_wire::cbor::CborError;
use bulla_wire::ids::{Digest, Signature};
use bulla_wire::inclusion::{InclusionHeader, InclusionReceipt, to_be_signed};
use data_encoding::HEXLOWER;

/// Why a receipt does not convince.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionReceiptError {
    /// Not a receipt as this log writes it.
    #[error("receipt of inclusion: {0}")]
    Format(#[from] CborError),
    /// Another log's.
    #[error("receipt of inclusion in log {got:?}, expected {expected:?}")]
    Origin {
        /// The log whose key is at hand.
        expected: String,
        /// The log named.
        got: String,
    },
    /// Another key.
    #[error("receipt of inclusion under key {got}, expected {expected}")]
    Key {
        /// Id of the key at hand, in hex.
        expected: String,
        /// Id named.
        got: String,
    },
    /// About another leaf.
    #[error("receipt of inclusion of leaf {got}, expected {expected}")]
    Leaf {
        /// Hash of the leaf at hand.
        expected: String,
        /// Hash named, cut.
        got: String,
    },
    /// The path leads nowhere.
    #[error(transparent)]
    Path(#[from] InclusionError),
    /// The signature does not hold over the root that leaf and path lead to.
    #[error("the log did not sign the root that this leaf and its path lead to")]
    Signature,
}

/// Signs that the leaf with this hash is number `index` in the tree of `checkpoint`, which the
/// caller has published. `path` is its inclusion proof there.
///
/// # Errors
/// [`InclusionReceiptError::Path`] where the path does not lead to the checkpoint's root.
pub fn sign_inclusion(
    key: &SignerKey,
    checkpoint: &SignedCheckpoint,
    leaf: Hash,
    index: u64,
    path: &[Hash],
) -> Result<Vec<u8>, InclusionReceiptError> {
    checkpoint.verify_inclusion(leaf, index, path)?;
    let (verifier, root) = (key.verifier(), Digest(*checkpoint.checkpoint().root().as_bytes()));
    let header = InclusionHeader {
        kid: verifier.key_id(),
        origin: checkpoint.checkpoint().origin().to_owned(),
        subject: HEXLOWER.encode(leaf.as_bytes()),
    };
    let signed = key.sign_other(&to_be_signed(&header, &root));
    let signature =
        Signature::try_from(signed.as_slice()).map_err(|_| InclusionReceiptError::Signature)?;
    let receipt = InclusionReceipt {
        header,
        tree_size: checkpoint.checkpoint().size(),
        leaf_index: index,
        path: path.iter().map(|hash| Digest(*hash.as_bytes())).collect(),
        signature,
    };
    Ok(receipt.to_vec())
}

/// Checks a receipt for the leaf with this hash, under the log's key.
///
/// # Errors
/// One variant per failed check.
pub fn verify_inclusion_receipt(
    bytes: &[u8],
    leaf: Hash,
    key: &VerifierKey,
) -> Result<IncludedLeaf, InclusionReceiptError> {
    let receipt = InclusionReceipt::from_slice(bytes)?;
    let header = &receipt.header;
    if header.origin != key.name() {
        let (expected, got) = (key.name().to_owned(), header.origin.clone());
        return Err(InclusionReceiptError::Origin { expected, got });
    }
    if header.kid != key.key_id() {
        let (expected, got) = (HEXLOWER.encode(&key.key_id()), HEXLOWER.encode(&header.kid));
        return Err(InclusionReceiptError::Key { expected, got });
    }
    let expected = HEXLOWER.encode(leaf.as_bytes());
    if header.subject != expected {
        let got = header.subject.chars().take(64).collect();
        return Err(InclusionReceiptError::Leaf { expected, got });
    }
    let path: Vec<Hash> = receipt.path.iter().map(|hash| Hash::from_bytes(hash.0)).collect();
    let (index, size) = (receipt.leaf_index, receipt.tree_size);
    let root = implied_root(leaf, index, size, &path)?;
    let signed = to_be_signed(header, &Digest(*root.as_bytes()));
    if !key.accepts_other(&signed, &receipt.signature.0) {
        return Err(InclusionReceiptError::Signature);
    }
    Ok(verify_inclusion(leaf, index, size, &path, root)?)
}

/// The root a path leads to: the payload that the signature covers.
fn implied_root(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, InclusionError> {
    match verify_inclusion(leaf, index, size, path, Hash::empty_root()) {
        Ok(included) => Ok(included.root()),
        Err(InclusionError::RootMismatch { got, .. }) => Ok(got),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use bulla_tlog::{Checkpoint, Tree};

    use super::*;

    const ORIGIN: &str = "log.example/usage";

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    fn leaf(index: u64) -> Hash {
        Hash::leaf(&index.to_be_bytes())
    }

    fn receipt(index: u64, size: u64) -> Vec<u8> {
        let tree = Tree::from_leaf_hashes((0..size).map(leaf));
        let checkpoint = Checkpoint::new(ORIGIN, size, tree.root()).unwrap();
        let checkpoint = checkpoint.sign(&key(1)).unwrap();
        let path = tree.inclusion_proof(index, size).unwrap();
        sign_inclusion(&key(1), &checkpoint, leaf(index), index, &path).unwrap()
    }

    #[test]
    fn proves_what_is_in_the_log() {
        for (index, size) in [(0, 1), (0, 2), (6, 7), (3, 300), (299, 300)] {
            let bytes = receipt(index, size);
            let proven = verify_inclusion_receipt(&bytes, leaf(index), &key(1).verifier()).unwrap();
            assert_eq!((proven.index(), proven.size()), (index, size));
        }
    }

    #[test]
    fn refuses_every_other_leaf_key_log_and_byte() {
        use InclusionReceiptError as E;
        let bytes = receipt(3, 7);
        let judge = |bytes: &[u8], leaf, key: &SignerKey| {
            verify_inclusion_receipt(bytes, leaf, &key.verifier()).unwrap_err()
        };
        assert!(matches!(judge(&bytes, leaf(4), &key(1)), E::Leaf { .. }));
        assert!(matches!(judge(&bytes, leaf(3), &key(2)), E::Key { .. }));
        let other = SignerKey::from_seed("other.example", &[1; 32]).unwrap();
        assert!(matches!(judge(&bytes, leaf(3), &other), E::Origin { .. }));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let verdict = verify_inclusion_receipt(&changed, leaf(3), &key(1).verifier());
            // The standard signs the root, not the size: a size of the same path says nothing else.
            assert!(verdict.is_err() || verdict.is_ok_and(|leaf| leaf.size() != 7), "byte {at}");
        }
        let tree = Tree::from_leaf_hashes((0..7).map(leaf));
        let checkpoint = Checkpoint::new(ORIGIN, 7, tree.root()).unwrap().sign(&key(1)).unwrap();
        let wrong = sign_inclusion(&key(1), &checkpoint, leaf(3), 3, &[leaf(1)]);
        assert!(matches!(wrong, Err(E::Path(_))));
    }
}
