//! The mathematics and the formats of a transparency log, and nothing else: no files, no
//! clock, no network, no randomness. A leaf is bytes; what the bytes mean is not said here.
//!
//! | Standard | Module | In scope | Left out |
//! |---|---|---|---|
//! | RFC 6962 section 2.1, RFC 9162 section 2.1 | [`tree`] | SHA-256 tree, inclusion and consistency proofs, made and verified | their TLS structures and HTTP interface |
//! | C2SP signed-note | [`note`], [`key`] | parse, print, sign, verify; Ed25519 (type 0x01); verifier keys | every other signature type: kept and ignored |
//! | C2SP tlog-checkpoint | [`checkpoint`] | all of it | – |
//! | C2SP tlog-tiles | [`tile`] | paths, tiles, entry bundles, partial tiles, proofs out of tiles | HTTP, compression, pruning |
//! | C2SP tlog-proof | [`proof`] | all of it | witness policies other than k of n |
//! | C2SP tlog-cosignature | [`cosignature`], [`mldsa`] | Ed25519 (type 0x04), ML-DSA-44 (type 0x06); k-of-n quorum | cosignatures of subtrees |
//! | C2SP tlog-witness | [`note::NoteSignature::parse_lines`], [`submission`] | requests and answers of add-checkpoint | sign-subtree; state and HTTP are the witness's (`bulla-client`) |
//!
//! # A checkpoint, as text
//! ```text
//! broker.example/usage                                  origin: which log
//! 20852163                                              size: leaves in the tree
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=          root, base64
//!
//! — broker.example/usage Az3grlgtzPICa5OS8npVmf1M…      the log's signature
//! — witness.example/w1 jWbPPwAAAABkGFDLEZMHwSRaJN…      a witness's cosignature
//! ```
//!
//! # What is trusted when
//! Parsed things ([`Note`], [`Checkpoint`], [`TlogProof`]) are claims. A
//! [`SignedCheckpoint`] carries a verified signature of the log, an [`IncludedLeaf`] a
//! verified path to a root, a [`ProvenLeaf`](proof::ProvenLeaf) both. None of the three
//! can be made in another way.
//!
//! ```
//! use bulla_tlog::{Checkpoint, Hash, SignedCheckpoint, SignerKey, Tree, verify_consistency};
//!
//! let key = SignerKey::from_seed("broker.example/usage", &[7; 32])?;
//! let mut tree = Tree::new();
//! tree.push(b"first");
//! let old = Checkpoint::new("broker.example/usage", tree.size(), tree.root())?.sign(&key)?;
//! tree.push(b"second");
//! let new = Checkpoint::new("broker.example/usage", tree.size(), tree.root())?.sign(&key)?;
//!
//! // The other side has bytes and the log's public key.
//! let new = SignedCheckpoint::open(&new.to_bytes(), &key.verifier())?;
//! let proof = tree.inclusion_proof(1, 2)?;
//! let leaf = new.verify_inclusion(Hash::leaf(b"second"), 1, &proof)?;
//! assert_eq!(leaf.index(), 1);
//! let (old, new) = (old.checkpoint(), new.checkpoint());
//! let proof = tree.consistency_proof(old.size(), new.size())?;
//! verify_consistency(old.size(), old.root(), new.size(), new.root(), &proof)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod cosignature;
mod hash;
pub mod key;
pub mod mldsa;
pub mod note;
pub mod proof;
mod strict;
pub mod submission;
pub mod tile;
pub mod tree;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use cosignature::{Quorum, WitnessKey, WitnessSigner};
pub use hash::{HASH_BYTES, Hash};
pub use note::{Note, SignerKey, VerifierKey};
pub use proof::TlogProof;
pub use tree::{
    Frontier, IncludedLeaf, MAX_PROOF_HASHES, MAX_TREE_SIZE, Tree, verify_consistency,
    verify_inclusion,
};
