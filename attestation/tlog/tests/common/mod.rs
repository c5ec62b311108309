//! What several test files need: seeded bits, the RFC's definitions, the evidence folder.
// Each test file uses its own part; only tests read files and the environment.
#![allow(dead_code, clippy::disallowed_methods)]

use std::path::PathBuf;

use bulla_tlog::Hash;

/// SplitMix64: the same bits from the same seed, on every machine.
pub struct Bits(pub u64);

impl Bits {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// The same hash with one bit turned.
    pub fn flip(&mut self, hash: Hash) -> Hash {
        let mut bytes = *hash.as_bytes();
        let bit = self.below(256) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::from_bytes(bytes)
    }
}

/// Leaf number `index` of every test tree.
pub fn leaf(index: u64) -> Vec<u8> {
    format!("leaf {index}").into_bytes()
}

/// MTH, PATH and PROOF, written down as RFC 6962 section 2.1 defines them, so that the
/// crate's own way can be compared with the definition.
pub mod definition {
    use bulla_tlog::Hash;

    fn split(leaves: usize) -> usize {
        leaves.next_power_of_two() / 2
    }

    pub fn root(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Hash::empty_root(),
            [leaf] => Hash::leaf(leaf),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                Hash::node(&root(left), &root(right))
            }
        }
    }

    pub fn path(index: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let at = split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut hashes, sibling) = if index < at {
            (path(index, left), root(right))
        } else {
            (path(index - at, right), root(left))
        };
        hashes.push(sibling);
        hashes
    }

    pub fn proof(old_size: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
        subproof(old_size, leaves, true)
    }

    fn subproof(old_size: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Hash> {
        if old_size == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let at = split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut hashes, sibling) = if old_size <= at {
            (subproof(old_size, left, whole), root(right))
        } else {
            (subproof(old_size - at, right, false), root(left))
        };
        hashes.push(sibling);
        hashes
    }
}

/// A file of the evidence folder; prints why not, where there is none.
pub fn evidence(path: &str) -> Option<String> {
    let folder = std::env::var_os("BULLA_EVIDENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/evidence"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join(path)).ok();
    if text.is_none() {
        println!("skipped: no evidence folder (set BULLA_EVIDENCE); wanted {path}");
    }
    text
}
