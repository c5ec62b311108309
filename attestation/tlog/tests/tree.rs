//! The tree against the RFC's definition, and every proof of every small tree.

mod common;

use bulla_tlog::tree::{ConsistencyError, InclusionError, ProveError};
use bulla_tlog::{
    Frontier, Hash, MAX_PROOF_HASHES, MAX_TREE_SIZE, Tree, verify_consistency, verify_inclusion,
};
use common::{Bits, definition, leaf};

const LARGEST: u64 = 300;

fn tree_of(size: u64) -> Tree {
    let mut tree = Tree::new();
    for index in 0..size {
        assert_eq!(tree.push(&leaf(index)), index);
    }
    tree
}

#[test]
fn agrees_with_the_definition() {
    let leaves: Vec<Vec<u8>> = (0..70).map(leaf).collect();
    let (tree, mut frontier) = (tree_of(70), Frontier::new());
    for size in 0..=leaves.len() {
        let now = &leaves[..size];
        let size = size as u64;
        assert_eq!(tree.root_at(size).unwrap(), definition::root(now));
        assert_eq!(frontier.root(), definition::root(now));
        for index in 0..size {
            let expected = definition::path(index as usize, now);
            assert_eq!(tree.inclusion_proof(index, size).unwrap(), expected);
        }
        for old in 1..=size {
            let expected = definition::proof(old as usize, now);
            assert_eq!(tree.consistency_proof(old, size).unwrap(), expected);
        }
        frontier.push(&leaf(size));
    }
}

#[test]
fn accepts_every_inclusion_proof_up_to_the_largest_size() {
    let tree = tree_of(LARGEST);
    for size in 1..=LARGEST {
        let root = tree.root_at(size).unwrap();
        for index in 0..size {
            let proof = tree.inclusion_proof(index, size).unwrap();
            let leaf_hash = Hash::leaf(&leaf(index));
            let included = verify_inclusion(leaf_hash, index, size, &proof, root).unwrap();
            let (got, at) = (included.leaf_hash(), (included.index(), included.size()));
            assert_eq!((got, at, included.root()), (leaf_hash, (index, size), root));
        }
    }
}

#[test]
fn accepts_every_consistency_proof_up_to_the_largest_size() {
    let tree = tree_of(LARGEST);
    let roots: Vec<Hash> = (0..=LARGEST).map(|n| tree.root_at(n).unwrap()).collect();
    for new in 0..=LARGEST {
        for old in 0..=new {
            let proof = tree.consistency_proof(old, new).unwrap();
            let (old_root, new_root) = (roots[old as usize], roots[new as usize]);
            verify_consistency(old, old_root, new, new_root, &proof).unwrap();
        }
    }
}

#[test]
fn a_frontier_and_a_restored_tree_follow_the_tree() {
    let (mut tree, mut frontier) = (Tree::new(), Frontier::new());
    for index in 0..LARGEST {
        tree.push(&leaf(index));
        frontier.push(&leaf(index));
        assert_eq!((frontier.size(), frontier.root()), (tree.size(), tree.root()));
        assert_eq!(tree.frontier(), frontier);
    }
    let restored = Tree::from_leaf_hashes((0..LARGEST).map(|i| Hash::leaf(&leaf(i))));
    assert_eq!(restored, tree);
}

#[test]
fn refuses_every_altered_inclusion_proof() {
    let (tree, mut bits) = (tree_of(LARGEST), Bits(1));
    for _ in 0..500 {
        let size = 1 + bits.below(LARGEST);
        let index = bits.below(size);
        let root = tree.root_at(size).unwrap();
        let leaf_hash = tree.leaf_hash(index).unwrap();
        let proof = tree.inclusion_proof(index, size).unwrap();
        let check = |leaf_hash, index, proof: &[Hash], root| {
            verify_inclusion(leaf_hash, index, size, proof, root).map(|_| ())
        };
        let mismatch = |got| matches!(got, Err(InclusionError::RootMismatch { .. }));
        let wrong_length = |got| matches!(got, Err(InclusionError::WrongLength { .. }));
        assert!(mismatch(check(bits.flip(leaf_hash), index, &proof, root)));
        assert!(mismatch(check(leaf_hash, index, &proof, bits.flip(root))));
        for at in 0..proof.len() {
            let mut altered = proof.clone();
            altered[at] = bits.flip(proof[at]);
            assert!(mismatch(check(leaf_hash, index, &altered, root)));
            let mut shorter = proof.clone();
            shorter.remove(at);
            assert!(wrong_length(check(leaf_hash, index, &shorter, root)));
        }
        for at in 0..=proof.len() {
            let mut longer = proof.clone();
            longer.insert(at, root);
            assert!(wrong_length(check(leaf_hash, index, &longer, root)));
        }
        for other in (0..size).filter(|other| *other != index) {
            assert!(check(leaf_hash, other, &proof, root).is_err());
        }
    }
}

#[test]
fn refuses_every_altered_consistency_proof() {
    let (tree, mut bits) = (tree_of(LARGEST), Bits(2));
    for _ in 0..500 {
        let new = 2 + bits.below(LARGEST - 1);
        let old = 1 + bits.below(new - 1);
        let (old_root, new_root) = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
        let proof = tree.consistency_proof(old, new).unwrap();
        let check = |old_root, new_root, proof: &[Hash]| {
            verify_consistency(old, old_root, new, new_root, proof)
        };
        // Where the old tree is a power of two its root is the seed of the new one's too.
        assert!(check(bits.flip(old_root), new_root, &proof).is_err());
        assert!(matches!(
            check(old_root, bits.flip(new_root), &proof),
            Err(ConsistencyError::NewRootMismatch { .. })
        ));
        assert!(check(new_root, old_root, &proof).is_err());
        for at in 0..proof.len() {
            let mut altered = proof.clone();
            altered[at] = bits.flip(proof[at]);
            assert!(check(old_root, new_root, &altered).is_err());
            let mut shorter = proof.clone();
            shorter.remove(at);
            let got = check(old_root, new_root, &shorter);
            assert!(matches!(got, Err(ConsistencyError::WrongLength { .. })));
        }
        for at in 0..=proof.len() {
            let mut longer = proof.clone();
            longer.insert(at, old_root);
            let got = check(old_root, new_root, &longer);
            assert!(matches!(got, Err(ConsistencyError::WrongLength { .. })));
        }
    }
}

#[test]
fn a_changed_past_breaks_consistency() {
    let honest = tree_of(40);
    let mut forked = Tree::new();
    for index in 0..60 {
        forked.push(&leaf(if index == 17 { 1000 } else { index }));
    }
    let proof = forked.consistency_proof(40, 60).unwrap();
    let got = verify_consistency(40, honest.root(), 60, forked.root(), &proof);
    let (expected, old_got) = (honest.root(), forked.root_at(40).unwrap());
    let error = ConsistencyError::OldRootMismatch { expected, got: old_got };
    assert_eq!(got, Err(error));
}

#[test]
fn each_inclusion_check_has_its_error() {
    let tree = tree_of(5);
    let (leaf_hash, root) = (tree.leaf_hash(4).unwrap(), tree.root());
    let check = |index, size, proof: &[Hash]| {
        verify_inclusion(leaf_hash, index, size, proof, root).unwrap_err()
    };
    let got = MAX_TREE_SIZE + 1;
    assert_eq!(check(0, got, &[]), InclusionError::SizeTooLarge { got });
    let (index, size) = (u64::MAX, 5);
    let out_of_range = InclusionError::IndexOutOfRange { index, size };
    assert_eq!(check(index, size, &[]), out_of_range);
    let got = MAX_PROOF_HASHES + 1;
    let too_long = InclusionError::TooLong { got };
    assert_eq!(check(4, 5, &vec![root; got]), too_long);
    let (expected, got) = (1, 0);
    let wrong_length = InclusionError::WrongLength { expected, got };
    assert_eq!(check(4, 5, &[]), wrong_length);
    // The longest path there can be has exactly as many hashes as a proof may have.
    let deepest = vec![root; MAX_PROOF_HASHES];
    let mismatch = check(0, MAX_TREE_SIZE, &deepest);
    assert!(matches!(mismatch, InclusionError::RootMismatch { .. }));
}

#[test]
fn each_consistency_check_has_its_error() {
    let tree = tree_of(5);
    let (root, empty) = (tree.root(), Hash::empty_root());
    let three = tree.root_at(3).unwrap();
    let check = |old, old_root, new, new_root, proof: &[Hash]| {
        verify_consistency(old, old_root, new, new_root, proof).unwrap_err()
    };
    let got = u64::MAX;
    let too_large = ConsistencyError::SizeTooLarge { got };
    assert_eq!(check(1, root, got, root, &[]), too_large);
    let (old_size, new_size) = (5, 3);
    let shrank = ConsistencyError::OldBeyondNew { old_size, new_size };
    assert_eq!(check(5, root, 3, three, &[]), shrank);
    let not_empty = ConsistencyError::EmptyRootMismatch { expected: empty, got: root };
    assert_eq!(check(0, root, 5, root, &[]), not_empty);
    assert_eq!(check(0, empty, 0, root, &[]), not_empty);
    let got = MAX_PROOF_HASHES + 1;
    let too_long = ConsistencyError::TooLong { got };
    assert_eq!(check(3, three, 5, root, &vec![root; got]), too_long);
    let wrong_length = |expected, got| ConsistencyError::WrongLength { expected, got };
    assert_eq!(check(0, empty, 5, root, &[root]), wrong_length(0, 1));
    assert_eq!(check(5, root, 5, root, &[root]), wrong_length(0, 1));
    assert_eq!(check(3, three, 5, root, &[]), wrong_length(4, 0));
    let forked = ConsistencyError::ForkedRoot { old_root: three, new_root: root };
    assert_eq!(check(5, three, 5, root, &[]), forked);
}

#[test]
fn refuses_to_prove_what_the_tree_has_not() {
    let tree = tree_of(5);
    let (size, available) = (6, 5);
    let beyond = ProveError::SizeBeyondTree { size, available };
    assert_eq!(tree.root_at(6), Err(beyond));
    assert_eq!(tree.inclusion_proof(0, 6), Err(beyond));
    assert_eq!(tree.consistency_proof(0, 6), Err(beyond));
    let (index, size) = (3, 3);
    let outside = ProveError::IndexOutOfRange { index, size };
    assert_eq!(tree.inclusion_proof(3, 3), Err(outside));
    let (old_size, new_size) = (4, 3);
    let shrank = ProveError::OldBeyondNew { old_size, new_size };
    assert_eq!(tree.consistency_proof(4, 3), Err(shrank));
}
