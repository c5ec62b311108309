//! Published vectors (RFC 6962 trees and the examples of the C2SP documents), read from
//! the evidence folder, which is not part of the repository.

mod common;

use bulla_tlog::checkpoint::Checkpoint;
use bulla_tlog::note::{NoteError, NoteVerifyError};
use bulla_tlog::{
    Hash, Note, SignedCheckpoint, TlogProof, VerifierKey, verify_consistency, verify_inclusion,
};
use common::evidence;
use serde_json::Value;

/// One vector's fields; `None` where one cannot even be read, which refuses it.
struct Vector<'a>(&'a Value);

impl Vector<'_> {
    fn number(&self, name: &str) -> Option<u64> {
        self.0[name].as_u64()
    }

    fn hash(&self, name: &str) -> Option<Hash> {
        Hash::from_base64(self.0[name].as_str()?)
    }

    fn proof(&self) -> Option<Vec<Hash>> {
        let lines = self.0["proof"].as_array().map_or(&[][..], Vec::as_slice);
        let hash = |line: &Value| Hash::from_base64(line.as_str()?);
        lines.iter().map(hash).collect()
    }

    fn consistency(&self, old: u64, new: u64) -> Option<bool> {
        let (old_root, new_root) = (self.hash("root1")?, self.hash("root2")?);
        Some(verify_consistency(old, old_root, new, new_root, &self.proof()?).is_ok())
    }

    fn inclusion(&self, index: u64, size: u64) -> Option<bool> {
        let (leaf_hash, root) = (self.hash("leafHash")?, self.hash("root")?);
        Some(verify_inclusion(leaf_hash, index, size, &self.proof()?, root).is_ok())
    }

    /// A leaf of an aligned subtree is a leaf of the tree that the subtree would be alone.
    fn subtree_inclusion(&self) -> Option<bool> {
        let (start, end) = (self.number("start")?, self.number("end")?);
        let size = end.checked_sub(start)?;
        let aligned = start % size.checked_next_power_of_two()? == 0;
        let index = self.number("leafIdx")?.checked_sub(start)?;
        Some(aligned && self.inclusion(index, size)?)
    }
}

#[test]
fn merkle_vectors() {
    let Some(text) = evidence("protocol/merkle_rfc6962.json") else {
        return;
    };
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let (mut accepted, mut refused, mut unread, mut skipped) = (0, 0, 0, 0);
    for vector in &vectors {
        let file = vector["_file"].as_str().unwrap();
        let fields = Vector(vector);
        let number = |name| fields.number(name).unwrap();
        let got = match file.split('/').nth(1) {
            Some("consistency") => fields.consistency(number("size1"), number("size2")),
            Some("inclusion") => fields.inclusion(number("leafIdx"), number("treeSize")),
            Some("subtreeinclusion") => fields.subtree_inclusion(),
            // A subtree from the first leaf on is an older tree; others are out of scope.
            Some("subtreeconsistency") if number("start") == 0 => {
                fields.consistency(number("end"), number("size"))
            }
            Some("subtreeconsistency") => {
                skipped += 1;
                continue;
            }
            _ => panic!("unknown kind of vector: {file}"),
        };
        match got {
            Some(true) => accepted += 1,
            Some(false) => refused += 1,
            None => unread += 1,
        }
        let expected = !vector["wantErr"].as_bool().unwrap();
        assert_eq!(got.unwrap_or(false), expected, "{file}");
    }
    println!("{accepted} accepted, {refused} refused, {unread} unreadable, {skipped} skipped");
    assert!(accepted >= 14 && refused >= 150, "the vectors were not all seen");
}

/// The fenced blocks of a Markdown document.
fn blocks(document: &str) -> Vec<String> {
    let fenced = document.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').map_or("", |(_, text)| text).to_owned()).collect()
}

#[test]
fn the_example_of_signed_note() {
    let Some(document) = evidence("protocol/c2sp/signed-note.md") else {
        return;
    };
    let blocks = blocks(&document);
    let [first, example] = blocks.as_slice() else {
        panic!("two examples are expected");
    };
    let key = document.lines().find(|line| line.starts_with("    example.com/foo+"));
    let key = key.unwrap().trim();
    let verifier = VerifierKey::parse(key).unwrap();
    assert_eq!(verifier.to_string(), key);
    let note = Note::parse(example.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    note.verify(&verifier).unwrap();
    assert_eq!(note.to_string(), *example);

    let altered = Note::parse(example.replace("an ex", "no ex").as_bytes()).unwrap();
    let got = altered.verify(&verifier);
    assert!(matches!(got, Err(NoteVerifyError::BadSignature { .. })));
    // The other example's text holds a blank line of its own.
    let other = Note::parse(first.as_bytes()).unwrap();
    assert!(other.text().contains("\n\n"));
    let got = other.verify(&verifier);
    assert!(matches!(got, Err(NoteVerifyError::NotSigned { .. })));
}

#[test]
fn the_examples_of_tlog_checkpoint_and_cosignature() {
    let (Some(checkpoint), Some(cosignature)) = (
        evidence("protocol/c2sp/tlog-checkpoint.md"),
        evidence("protocol/c2sp/tlog-cosignature.md"),
    ) else {
        return;
    };
    for (document, signatures) in [(checkpoint, 1), (cosignature, 2)] {
        let example = blocks(&document).remove(0);
        let note = Note::parse(example.as_bytes()).unwrap();
        assert_eq!(note.signatures().len(), signatures);
        assert_eq!(note.to_string(), example);
        let parsed = Checkpoint::parse(note.text()).unwrap();
        assert_eq!(parsed.origin(), "example.com/behind-the-sofa");
        assert_eq!(parsed.size(), 20_852_163);
        assert_eq!(parsed.to_string(), note.text());
        // Its keys are not published: under any other key it opens as unsigned.
        let stranger = VerifierKey::new(parsed.origin(), [9; 32]).unwrap();
        assert!(SignedCheckpoint::open(example.as_bytes(), &stranger).is_err());
    }
}

#[test]
fn the_example_of_tlog_proof_is_read_up_to_its_elided_signatures() {
    let Some(document) = evidence("protocol/c2sp/tlog-proof.md") else {
        return;
    };
    let example = blocks(&document).remove(0);
    let got = TlogProof::parse(example.as_bytes());
    let elided = NoteError::SignatureLine { line: 1 };
    assert_eq!(got, Err(elided.into()));

    let signature = "— example.com/fancylog AAAAAAAA\n";
    let (head, _) = example.split_once("— ").unwrap();
    let mut whole = format!("{head}{signature}");
    if TlogProof::parse(whole.as_bytes()).is_err() {
        // The document's extra line is cut short as well, to no whole number of bytes.
        let kept = whole.lines().filter(|line| !line.starts_with("extra "));
        whole = kept.map(|line| format!("{line}\n")).collect();
    }
    let proof = TlogProof::parse(whole.as_bytes()).unwrap();
    assert_eq!((proof.index(), proof.hashes().len()), (73_894, 5));
    assert_eq!(proof.claimed_checkpoint().size(), 109_482);
    assert_eq!(proof.to_string(), whole);
}
