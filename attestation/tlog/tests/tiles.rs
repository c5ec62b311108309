//! A log written as tiles, and every proof read back out of them.

mod common;

use std::collections::BTreeMap;

use bulla_tlog::tile::{
    TileId, TileLevel, TileReadError, TiledTree, build_tile, decode_bundle, encode_bundle,
    new_tiles,
};
use bulla_tlog::tree::ProveError;
use bulla_tlog::{Hash, Tree, verify_consistency, verify_inclusion};
use common::leaf;

type Files = BTreeMap<String, Vec<u8>>;

/// Appends leaves up to each size in turn, and writes the files that are new at each.
fn publish(sizes: &[u64]) -> (Tree, Files) {
    let (mut tree, mut files) = (Tree::new(), Files::new());
    for &size in sizes {
        let old_size = tree.size();
        (old_size..size).for_each(|index| {
            tree.push(&leaf(index));
        });
        for id in new_tiles(old_size, size) {
            files.insert(id.to_string(), bytes_of(&tree, id));
        }
    }
    (tree, files)
}

fn bytes_of(tree: &Tree, id: TileId) -> Vec<u8> {
    if id.level() != TileLevel::Entries {
        return build_tile(tree, id).unwrap();
    }
    assert_eq!(build_tile(tree, id), None);
    let first = id.index() * 256;
    let leaves: Vec<_> = (first..first + u64::from(id.width())).map(leaf).collect();
    encode_bundle(&leaves).unwrap()
}

fn read(files: &Files) -> impl FnMut(TileId) -> Result<Vec<u8>, String> {
    |id| {
        let path = id.to_string();
        files.get(&path).cloned().ok_or(path)
    }
}

#[test]
fn proofs_out_of_tiles_are_those_of_the_tree() {
    let sizes = [0, 1, 2, 255, 256, 257, 300, 511, 512, 700];
    let (tree, files) = publish(&sizes);
    for size in sizes {
        let mut tiled = TiledTree::new(read(&files), size).unwrap();
        let root = tiled.root().unwrap();
        assert_eq!(root, tree.root_at(size).unwrap());
        for index in (0..size).step_by(7) {
            let proof = tiled.inclusion_proof(index).unwrap();
            assert_eq!(proof, tree.inclusion_proof(index, size).unwrap());
            let leaf_hash = tiled.leaf_hash(index).unwrap();
            verify_inclusion(leaf_hash, index, size, &proof, root).unwrap();
        }
        for old in (0..=size).step_by(5) {
            let proof = tiled.consistency_proof(old).unwrap();
            assert_eq!(proof, tree.consistency_proof(old, size).unwrap());
            verify_consistency(old, tree.root_at(old).unwrap(), size, root, &proof).unwrap();
        }
    }
}

#[test]
fn a_tree_of_three_levels_reads_back() {
    let size = 66_000;
    let (tree, files) = publish(&[size]);
    assert!(files.contains_key("tile/2/000.p/1"));
    let mut tiled = TiledTree::new(read(&files), size).unwrap();
    assert_eq!(tiled.root().unwrap(), tree.root());
    for index in [0, 255, 256, 65_535, 65_536, 65_999] {
        let proof = tiled.inclusion_proof(index).unwrap();
        assert_eq!(proof, tree.inclusion_proof(index, size).unwrap());
    }
    for old in [1, 256, 65_536, 65_537, 65_999] {
        let proof = tiled.consistency_proof(old).unwrap();
        assert_eq!(proof, tree.consistency_proof(old, size).unwrap());
    }
}

#[test]
fn a_full_tile_stands_in_for_a_partial_one() {
    let (tree, files) = publish(&[256]);
    let only_full = |id: TileId| {
        let path = if files.contains_key(&id.to_string()) { id } else { id.full() };
        files.get(&path.to_string()).cloned().ok_or(id)
    };
    let mut tiled = TiledTree::new(only_full, 200).unwrap();
    assert_eq!(tiled.root().unwrap(), tree.root_at(200).unwrap());
}

#[test]
fn bundles_hash_to_the_tiles_beside_them() {
    let (_, files) = publish(&[300]);
    for (path, bytes) in files.iter().filter(|(path, _)| path.contains("entries")) {
        let id = TileId::parse(path).unwrap();
        let leaves = decode_bundle(bytes, id.width()).unwrap();
        let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| *Hash::leaf(leaf).as_bytes()).collect();
        assert_eq!(files.get(&path.replace("entries", "0")), Some(&hashes));
    }
}

#[test]
fn a_false_tile_makes_a_proof_that_is_refused() {
    let (tree, mut files) = publish(&[300]);
    let tile = files.get_mut("tile/0/000").unwrap();
    tile[40] ^= 1;
    let mut tiled = TiledTree::new(read(&files), 300).unwrap();
    let proof = tiled.inclusion_proof(0).unwrap();
    let leaf_hash = Hash::leaf(&leaf(0));
    assert!(verify_inclusion(leaf_hash, 0, 300, &proof, tree.root()).is_err());
}

#[test]
fn says_which_tile_is_missing_or_cut() {
    let (_, mut files) = publish(&[300]);
    files.get_mut("tile/0/000").unwrap().pop();
    files.remove("tile/0/001.p/44");
    let mut tiled = TiledTree::new(read(&files), 300).unwrap();
    let id = TileId::parse("tile/0/000").unwrap();
    let got = 8191;
    assert_eq!(tiled.leaf_hash(3), Err(TileReadError::Length { id, got }));
    let id = TileId::parse("tile/0/001.p/44").unwrap();
    let source = id.to_string();
    assert_eq!(tiled.leaf_hash(299), Err(TileReadError::Read { id, source }));
    let (index, size) = (300, 300);
    let outside = ProveError::IndexOutOfRange { index, size };
    assert_eq!(tiled.leaf_hash(300), Err(outside.into()));
    assert!(TiledTree::new(read(&files), u64::MAX).is_err());
}

#[test]
fn builds_no_tile_beyond_the_tree() {
    let (tree, _) = publish(&[10]);
    let wide = TileId::in_tree(TileLevel::Hashes(0), 0, 11).unwrap();
    assert_eq!(build_tile(&tree, wide), None);
    let far = TileId::parse("tile/0/x018/x446/x744/x073/x709/x551/615").unwrap();
    assert_eq!(build_tile(&tree, far), None);
    let high = TileId::parse("tile/63/000.p/1").unwrap();
    assert_eq!(build_tile(&tree, high), None);
}
