//! Every parser under seeded damage: it answers with a value or an error, never a panic;
//! what it accepts it prints back byte for byte; and no damage passes a signature.

mod common;

use bulla_tlog::checkpoint::Checkpoint;
use bulla_tlog::note::NoteSignature;
use bulla_tlog::tile::{TileId, decode_bundle, encode_bundle, parse_tile};
use bulla_tlog::{
    Hash, Note, SignedCheckpoint, SignerKey, TlogProof, Tree, VerifierKey, WitnessSigner,
};
use common::{Bits, leaf};

const ROUNDS: u64 = 10_000;

/// Bytes that mean something in these formats, so that damage often stays well formed.
const TELLING: &[u8] = b"\n\n +=0123456789x/.pA\xe2\x80\x94\0\xff";

/// The same bytes with one to four small damages.
fn damaged(original: &[u8], bits: &mut Bits) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..1 + bits.below(4) {
        let at = bits.below(bytes.len() as u64 + 1) as usize;
        let telling = TELLING[bits.below(TELLING.len() as u64) as usize];
        match bits.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << bits.below(8),
            1 if at < bytes.len() => bytes[at] = telling,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, telling),
            4 => bytes.truncate(at),
            _ => {
                let tail = bytes.split_off(at);
                let again = bits.below(tail.len() as u64 + 1) as usize;
                bytes.extend_from_slice(&tail[..again]);
                bytes.extend_from_slice(&tail);
            }
        }
    }
    bytes
}

fn key() -> SignerKey {
    SignerKey::from_seed("log.example", &[3; 32]).unwrap()
}

fn checkpoint(tree: &Tree) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new("log.example", tree.size(), tree.root()).unwrap();
    let mut signed = checkpoint.sign(&key()).unwrap();
    let witness = WitnessSigner::from_seed("witness.example", &[4; 32]).unwrap();
    let cosignature = witness.cosign(&signed, 1).unwrap();
    signed.push_signature(cosignature).unwrap();
    signed
}

fn tree() -> Tree {
    Tree::from_leaf_hashes((0..5).map(|index| Hash::leaf(&leaf(index))))
}

#[test]
fn damaged_checkpoints() {
    let original = checkpoint(&tree());
    let (bytes, verifier, mut bits) = (original.to_bytes(), key().verifier(), Bits(11));
    let (mut opened, mut parsed) = (0, 0);
    for _ in 0..ROUNDS {
        let damaged = damaged(&bytes, &mut bits);
        if let Ok(note) = Note::parse(&damaged) {
            parsed += 1;
            assert_eq!(note.to_string().as_bytes(), damaged);
            if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
                assert_eq!(checkpoint.to_string(), note.text());
            }
        }
        if let Ok(checkpoint) = SignedCheckpoint::open(&damaged, &verifier) {
            opened += 1;
            assert_eq!(checkpoint.checkpoint(), original.checkpoint());
        }
    }
    // Damage to the witness's line alone leaves a note that parses and opens.
    assert!(parsed > 100 && opened > 10, "{parsed} parsed, {opened} opened");
}

#[test]
fn damaged_proofs() {
    let tree = tree();
    let hashes = tree.inclusion_proof(2, 5).unwrap();
    let original = TlogProof::new(2, hashes, &checkpoint(&tree), b"extra").unwrap();
    let (bytes, verifier) = (original.to_string().into_bytes(), key().verifier());
    let (leaf_hash, mut bits) = (Hash::leaf(&leaf(2)), Bits(12));
    let (mut parsed, mut verified) = (0, 0);
    for _ in 0..ROUNDS {
        let damaged = damaged(&bytes, &mut bits);
        let Ok(proof) = TlogProof::parse(&damaged) else {
            continue;
        };
        parsed += 1;
        assert_eq!(proof.to_string().as_bytes(), damaged);
        if proof.verify(leaf_hash, &verifier, None).is_ok() {
            verified += 1;
            assert_eq!((proof.index(), proof.hashes()), (2, original.hashes()));
        }
    }
    assert!(parsed > 100 && verified > 10, "{parsed} parsed, {verified} verified");
}

#[test]
fn damaged_keys_lines_and_paths() {
    let key = key().verifier().to_string();
    let lines: String =
        checkpoint(&tree()).note().signatures().iter().map(|line| format!("{line}\n")).collect();
    let path = "tile/entries/x001/x234/067.p/8";
    let (mut bits, mut accepted) = (Bits(13), 0);
    for _ in 0..ROUNDS {
        let text = |original: &str, bits: &mut Bits| {
            String::from_utf8_lossy(&damaged(original.as_bytes(), bits)).into_owned()
        };
        let damaged_key = text(&key, &mut bits);
        if let Ok(parsed) = VerifierKey::parse(&damaged_key) {
            assert_eq!(parsed.to_string(), key);
        }
        let damaged_lines = text(&lines, &mut bits);
        if let Ok(parsed) = NoteSignature::parse_lines(&damaged_lines) {
            let printed: String = parsed.iter().map(|line| format!("{line}\n")).collect();
            assert_eq!(printed, damaged_lines);
        }
        let damaged_path = text(path, &mut bits);
        if let Ok(parsed) = TileId::parse(&damaged_path) {
            accepted += 1;
            assert_eq!(parsed.to_string(), damaged_path);
        }
    }
    assert!(accepted > 10, "{accepted} paths accepted");
}

#[test]
fn damaged_bundles_and_tiles() {
    let leaves: Vec<_> = (0..9).map(leaf).collect();
    let bytes = encode_bundle(&leaves).unwrap();
    let tile = [Hash::leaf(b"x"); 9].map(|hash| *hash.as_bytes()).concat();
    let (mut bits, mut accepted, mut tiles) = (Bits(14), 0, 0);
    for _ in 0..ROUNDS {
        let damaged = damaged(&bytes, &mut bits);
        let width = bits.below(300) as u16;
        for width in [9, width] {
            if let Ok(leaves) = decode_bundle(&damaged, width) {
                accepted += 1;
                assert_eq!(encode_bundle(&leaves).unwrap(), damaged);
            }
        }
        let damaged = self::damaged(&tile, &mut bits);
        if let Some(hashes) = parse_tile(&damaged, 9) {
            tiles += 1;
            let printed: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(printed, damaged);
        }
    }
    assert!(tiles > 10, "{tiles} tiles accepted");
    assert!(accepted > 10, "{accepted} bundles accepted");
}
