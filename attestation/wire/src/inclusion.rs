//! A COSE Receipt of inclusion (RFC 9942) as bulla's log writes it: COSE_Sign1 over the tree's
//! root, which is left out and computed from leaf and path.
//!
//! ```text
//! 18([ << { 1: -8, 4: kid, 15: {1: origin, 2: leaf}, 395: 1 } >>,   EdDSA, log, RFC9162_SHA256
//!      { 396: { -1: [ << [tree-size, leaf-index, [path…]] >> ] } },
//!      nil,                                                        the root, detached
//!      signature ])
//! ```
//! Anybody may write receipts otherwise; this reads only what it writes.

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::cbor::CborError;
use crate::ids::{Digest, Signature};

/// Largest receipt of inclusion, in bytes: 63 hashes of 34 bytes, an origin of 255, the frame.
pub const MAX_INCLUSION_BYTES: usize = 4096;
/// Longest origin of a log, in bytes (as checkpoints have it).
pub const MAX_ORIGIN_BYTES: usize = 255;
/// Hashes in one path (as tlog-witness has it).
const MAX_PATH_HASHES: u64 = 63;

/// Header `CWT Claims` (RFC 9597).
const HEADER_CLAIMS: i64 = 15;
/// Header `vds`, the verifiable data structure (RFC 9942 section 2).
const HEADER_VDS: i64 = 395;
/// Header `vdp`, its proofs.
const HEADER_VDP: i64 = 396;
/// `RFC9162_SHA256`.
const RFC9162_SHA256: u64 = 1;
/// Proofs of inclusion.
const PROOF_INCLUSION: i64 = -1;
const ALG_EDDSA: i64 = -8;
const TAG_SIGN1: u64 = 18;

/// Who signed what: the protected header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionHeader {
    /// Key id of the log's key, as its checkpoints have it.
    pub kid: [u8; 4],
    /// Origin of the log (claim `iss`).
    pub origin: String,
    /// Hash of the leaf, lower case hex (claim `sub`).
    pub subject: String,
}

/// A receipt of inclusion taken apart, its signature not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionReceipt {
    /// Who signed what.
    pub header: InclusionHeader,
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The leaf's index, from 0.
    pub leaf_index: u64,
    /// From the leaf's sibling up.
    pub path: Vec<Digest>,
    /// Ed25519 over [`to_be_signed`].
    pub signature: Signature,
}

type WriteResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn written(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> WriteResult) -> Vec<u8> {
    let mut bytes = Vec::new();
    match write(&mut Encoder::new(&mut bytes)) {
        Ok(()) => bytes,
        Err(never) => unreachable!("writing to memory: {never}"),
    }
}

fn malformed(e: impl std::fmt::Display) -> CborError {
    CborError::Malformed { reason: e.to_string() }
}

impl InclusionHeader {
    fn to_vec(&self) -> Vec<u8> {
        written(|e| {
            e.map(4)?.i64(1)?.i64(ALG_EDDSA)?.i64(4)?.bytes(&self.kid)?;
            e.i64(HEADER_CLAIMS)?.map(2)?.u8(1)?.str(&self.origin)?.u8(2)?.str(&self.subject)?;
            e.i64(HEADER_VDS)?.u64(RFC9162_SHA256)?;
            Ok(())
        })
    }
}

/// The bytes that are signed (RFC 9052 section 4.4) when the tree has this root.
pub fn to_be_signed(header: &InclusionHeader, root: &Digest) -> Vec<u8> {
    let protected = header.to_vec();
    written(|e| {
        e.array(4)?.str("Signature1")?.bytes(&protected)?.bytes(&[])?.bytes(&root.0)?;
        Ok(())
    })
}

impl InclusionReceipt {
    /// The receipt's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let protected = self.header.to_vec();
        let proof = written(|e| {
            e.array(3)?.u64(self.tree_size)?.u64(self.leaf_index)?;
            e.array(self.path.len() as u64)?;
            for hash in &self.path {
                e.bytes(&hash.0)?;
            }
            Ok(())
        });
        written(|e| {
            e.tag(Tag::new(TAG_SIGN1))?.array(4)?.bytes(&protected)?;
            e.map(1)?.i64(HEADER_VDP)?.map(1)?.i64(PROOF_INCLUSION)?.array(1)?.bytes(&proof)?;
            e.null()?.bytes(&self.signature.0)?;
            Ok(())
        })
    }

    /// Reads a receipt, strictly.
    pub fn from_slice(bytes: &[u8]) -> Result<InclusionReceipt, CborError> {
        if bytes.len() > MAX_INCLUSION_BYTES {
            let (max_bytes, got_bytes) = (MAX_INCLUSION_BYTES, bytes.len());
            return Err(CborError::TooLong { max_bytes, got_bytes });
        }
        let mut d = Decoder::new(bytes);
        expect(d.tag().map_err(malformed)?.as_u64(), TAG_SIGN1, "tag")?;
        expect(d.array().map_err(malformed)?, Some(4), "items")?;
        let header = read_header(d.bytes().map_err(malformed)?)?;
        expect(d.map().map_err(malformed)?, Some(1), "unprotected headers")?;
        expect(d.i64().map_err(malformed)?, HEADER_VDP, "header")?;
        expect(d.map().map_err(malformed)?, Some(1), "kinds of proof")?;
        expect(d.i64().map_err(malformed)?, PROOF_INCLUSION, "kind of proof")?;
        expect(d.array().map_err(malformed)?, Some(1), "proofs")?;
        let (tree_size, leaf_index, path) = read_proof(d.bytes().map_err(malformed)?)?;
        d.null().map_err(malformed)?;
        let signature = Signature::try_from(d.bytes().map_err(malformed)?)
            .map_err(|_| malformed("signature is not 64 bytes"))?;
        let receipt = InclusionReceipt { header, tree_size, leaf_index, path, signature };
        match receipt.to_vec() == bytes {
            true => Ok(receipt),
            false => Err(CborError::NotDeterministic),
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<InclusionHeader, CborError> {
    let mut d = Decoder::new(bytes);
    expect(d.map().map_err(malformed)?, Some(4), "protected headers")?;
    expect(d.i64().map_err(malformed)?, 1, "header")?;
    expect(d.i64().map_err(malformed)?, ALG_EDDSA, "algorithm")?;
    expect(d.i64().map_err(malformed)?, 4, "header")?;
    let kid = d.bytes().map_err(malformed)?;
    let kid = kid.try_into().map_err(|_| malformed("kid is not four bytes"))?;
    expect(d.i64().map_err(malformed)?, HEADER_CLAIMS, "header")?;
    expect(d.map().map_err(malformed)?, Some(2), "claims")?;
    expect(d.i64().map_err(malformed)?, 1, "claim")?;
    let origin = d.str().map_err(malformed)?;
    if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES {
        return Err(malformed("the issuer is no origin"));
    }
    expect(d.i64().map_err(malformed)?, 2, "claim")?;
    let subject = d.str().map_err(malformed)?.to_owned();
    expect(d.i64().map_err(malformed)?, HEADER_VDS, "header")?;
    expect(d.u64().map_err(malformed)?, RFC9162_SHA256, "verifiable data structure")?;
    Ok(InclusionHeader { kid, origin: origin.to_owned(), subject })
}

fn read_proof(bytes: &[u8]) -> Result<(u64, u64, Vec<Digest>), CborError> {
    let mut d = Decoder::new(bytes);
    expect(d.array().map_err(malformed)?, Some(3), "items of the proof")?;
    let (size, index) = (d.u64().map_err(malformed)?, d.u64().map_err(malformed)?);
    let hashes = d.array().map_err(malformed)?.unwrap_or(u64::MAX);
    if hashes > MAX_PATH_HASHES {
        return Err(malformed(format!("a path of more than {MAX_PATH_HASHES} hashes")));
    }
    let path = (0..hashes).map(|_| {
        let hash = d.bytes().map_err(malformed)?;
        hash.try_into().map(Digest).map_err(|_| malformed("a hash is not 32 bytes"))
    });
    let path = path.collect::<Result<_, _>>()?;
    expect(d.position(), bytes.len(), "bytes of the proof")?;
    Ok((size, index, path))
}

fn expect<T: PartialEq + std::fmt::Debug>(
    got: T,
    expected: T,
    what: &str,
) -> Result<(), CborError> {
    match got == expected {
        true => Ok(()),
        false => Err(malformed(format!("{what}: expected {expected:?}, got {got:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> InclusionReceipt {
        let header = InclusionHeader {
            kid: [1, 2, 3, 4],
            origin: "log.example".to_owned(),
            subject: "ab".repeat(32),
        };
        let path = vec![Digest([5; 32]), Digest([6; 32])];
        let signature = Signature([7; 64]);
        InclusionReceipt { header, tree_size: 4, leaf_index: 2, path, signature }
    }

    #[test]
    fn reads_what_it_writes() {
        let mut alone = receipt();
        (alone.tree_size, alone.leaf_index, alone.path) = (1, 0, Vec::new());
        for receipt in [receipt(), alone] {
            assert_eq!(InclusionReceipt::from_slice(&receipt.to_vec()), Ok(receipt));
        }
    }

    #[test]
    fn refuses_every_truncation_and_any_tail() {
        let bytes = receipt().to_vec();
        for cut in 0..bytes.len() {
            assert!(InclusionReceipt::from_slice(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(InclusionReceipt::from_slice(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn refuses_another_structure_algorithm_or_payload() {
        let bytes = receipt().to_vec();
        let replaced = |from: &[u8], to: &[u8]| {
            let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
            [&bytes[..at], to, &bytes[at + from.len()..]].concat()
        };
        // vds 2, algorithm -7, a payload of no bytes in the place of none, proof of consistency
        let wrong = [
            replaced(&[0x19, 0x01, 0x8b, 0x01], &[0x19, 0x01, 0x8b, 0x02]),
            replaced(&[0xa4, 0x01, 0x27], &[0xa4, 0x01, 0x26]),
            replaced(&[0xf6], &[0x40]),
            replaced(&[0xa1, 0x20], &[0xa1, 0x21]),
        ];
        for bytes in wrong {
            assert!(InclusionReceipt::from_slice(&bytes).is_err());
        }
    }
}
