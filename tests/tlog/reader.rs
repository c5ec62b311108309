//! Reads `tests/vectors/log` with `signed_note` and `tlog_tiles`: note, checkpoint, tiles, inclusion
//! and consistency. They know no cosignatures, and must pass over those.

use std::path::{Path, PathBuf};

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree,
    prove_record, prove_tree, record_hash, tree_hash,
};

struct Files(PathBuf);

impl TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(tiles.iter().map(|tile| read(&self.0.join(path(tile)))).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The crate's paths name the height, as Go's did; C2SP's do not.
fn path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(path: &Path) -> String {
    String::from_utf8(read(path)).expect("text")
}

fn head(note: &str, key: &str) -> Checkpoint {
    let verifier = StandardVerifier::new(key.trim()).expect("a verifier key");
    let note = Note::from_bytes(note.as_bytes()).expect("a signed note");
    let (verified, unknown) =
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("the log's signature");
    assert_eq!((verified.len(), unknown.len()), (1, 2), "the log signed, two witnesses cosigned");
    Checkpoint::from_bytes(note.text()).expect("a checkpoint")
}

fn hashes<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<Hash> {
    lines.map(|line| Hash::parse_hash(line).expect("a hash")).collect()
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder"));
    let key = text(&folder.join("log.vkey"));
    let newest = head(&text(&folder.join("log/checkpoint")), &key);
    let (size, root) = (newest.size(), *newest.hash());
    let files = Files(folder.join("log"));
    let tree = TileHashReader::new(size, root, &files);
    assert_eq!(tree_hash(size, &tree).expect("tiles"), root, "the tiles lead to the root");

    let leaf = record_hash(b"leaf 300");
    let proof = text(&folder.join("leaf-300.tlog-proof"));
    let (lines, note) = proof.split_once("\n\n").expect("a separator");
    let ours = hashes(lines.lines().skip(3));
    assert_eq!(head(note, &key).hash(), &root);
    assert_eq!(prove_record(size, 300, &tree).expect("tiles"), ours, "the same proof");
    check_record(&ours, size, root, 300, leaf).expect("inclusion");
    assert!(check_record(&ours, size, root, 301, leaf).is_err(), "not as another leaf");

    let request = text(&folder.join("add-checkpoint"));
    let (lines, _) = request.split_once("\n\n").expect("a separator");
    let ours = hashes(lines.lines().skip(1));
    let old = head(&text(&folder.join("checkpoint-250")), &key);
    assert_eq!(prove_tree(size, old.size(), &tree).expect("tiles"), ours, "the same proof");
    check_tree(&ours, size, root, old.size(), *old.hash()).expect("consistency");
    assert!(check_tree(&ours, size, root, old.size(), root).is_err(), "not from another root");
    println!("signed_note and tlog_tiles: {size} leaves, one inclusion, one consistency proof");
}
