//! Notes, checkpoints, cosignatures and proof files, made, read and refused.

mod common;

use bulla_tlog::checkpoint::{CheckpointError, OpenError};
use bulla_tlog::cosignature::{CosignatureError, QuorumError, WitnessError};
use bulla_tlog::key::{KeyError, MAX_VERIFIER_KEY_BYTES};
use bulla_tlog::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, NoteVerifyError};
use bulla_tlog::proof::{ProofError, ProofFormatError};
use bulla_tlog::tree::InclusionError;
use bulla_tlog::{
    Checkpoint, Hash, Note, Quorum, SignedCheckpoint, SignerKey, TlogProof, Tree, VerifierKey,
    WitnessKey, WitnessSigner,
};
use common::leaf;

const ORIGIN: &str = "broker.example/usage";
const TIME_S: u64 = 1_679_315_147;

// Made by a Python program of fifteen lines over `hashlib` and `cryptography`, not by this
// crate: seeds of 32 bytes 1 (log) and 2 (witness), leaves "leaf 0" to "leaf 2".
const LOG_KEY: &str = "broker.example/usage+b7fc92ff+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS_KEY: &str =
    "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
const PROOF: &str = "\
c2sp.org/tlog-proof@v1
extra aGVsbG8=
index 1
G7l9zCFjXUfiZj79/QoXRobZjdcBNS3SzQbotD/T0wU=
qze6NNHf4pAV3nF6bVdkqPsCnDp6D1tkuTtUNRiFv3w=

broker.example/usage
3
1Pksj7uJcg6ztVZ3x9fvrd/rENEaGoSguo8aIzN/qpU=

— broker.example/usage t/yS/5qGTXmA5KyAjnTRtqnv/73S6MDSJ5YAPBr1It+pdJckHg8wSfUNNRV7BUWUy6rlLOu5wFjdphuLQEZJn47d4Ag=
— witness.example/w1 3xwKNQAAAABkGFDLcwf5obQZfISKwuDntmGhzQcCNJkImq7QzD2AfvDym+Hee3DZ3rRK/vuLBoYNrtXdnNptWqfwkeacSBgwMxg3Cg==
";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness(number: u8) -> WitnessSigner {
    WitnessSigner::from_seed(&format!("witness.example/w{number}"), &[number + 1; 32]).unwrap()
}

fn tree() -> Tree {
    Tree::from_leaf_hashes((0..3).map(|index| Hash::leaf(&leaf(index))))
}

fn checkpoint() -> SignedCheckpoint {
    let tree = tree();
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    checkpoint.sign(&log_key()).unwrap()
}

fn witnessed(by: &[u8]) -> SignedCheckpoint {
    let mut checkpoint = checkpoint();
    for number in by {
        let signature = witness(*number).cosign(&checkpoint, TIME_S).unwrap();
        checkpoint.push_signature(signature).unwrap();
    }
    checkpoint
}

fn quorum(threshold: usize, of: &[u8]) -> Quorum {
    let keys = of.iter().map(|number| witness(*number).verifier());
    Quorum::new(threshold, keys.collect()).unwrap()
}

#[test]
fn writes_the_same_bytes_as_an_independent_program() {
    assert_eq!(log_key().verifier().to_string(), LOG_KEY);
    assert_eq!(witness(1).verifier().to_string(), WITNESS_KEY);
    let hashes = tree().inclusion_proof(1, 3).unwrap();
    let proof = TlogProof::new(1, hashes, &witnessed(&[1]), b"hello").unwrap();
    assert_eq!(proof.to_string(), PROOF);
}

#[test]
fn accepts_the_proof_of_an_independent_program() {
    let log = VerifierKey::parse(LOG_KEY).unwrap();
    let witness = WitnessKey::parse(WITNESS_KEY).unwrap();
    let quorum = Quorum::new(1, vec![witness]).unwrap();
    let proof = TlogProof::parse(PROOF.as_bytes()).unwrap();
    assert_eq!((proof.index(), proof.extra()), (1, b"hello".as_slice()));
    let proven = proof.verify(Hash::leaf(&leaf(1)), &log, Some(&quorum)).unwrap();
    assert_eq!((proven.leaf().index(), proven.leaf().size()), (1, 3));
    assert_eq!(proven.cosignatures()[0].timestamp_s, TIME_S);
    assert_eq!(proven.checkpoint().checkpoint().origin(), ORIGIN);
}

#[test]
fn refuses_a_proof_step_by_step() {
    let log = log_key().verifier();
    let proof = TlogProof::parse(PROOF.as_bytes()).unwrap();
    let leaf_hash = Hash::leaf(&leaf(1));
    let other_leaf = proof.verify(Hash::leaf(&leaf(2)), &log, None).unwrap_err();
    assert!(matches!(other_leaf, ProofError::Inclusion(InclusionError::RootMismatch { .. })));
    let two = quorum(2, &[1, 2]);
    let unwitnessed = proof.verify(leaf_hash, &log, Some(&two)).unwrap_err();
    assert!(matches!(unwitnessed, ProofError::Witness(_)));
    let stranger = SignerKey::from_seed(ORIGIN, &[9; 32]).unwrap().verifier();
    let unsigned = proof.verify(leaf_hash, &stranger, None).unwrap_err();
    assert!(matches!(unsigned, ProofError::Checkpoint(_)));
}

#[test]
fn refuses_proof_files_written_otherwise() {
    use ProofFormatError as E;
    let parse = |from: &str, to: &str| TlogProof::parse(PROOF.replacen(from, to, 1).as_bytes());
    let first_hash = "G7l9zCFjXUfiZj79/QoXRobZjdcBNS3SzQbotD/T0wU=\n";
    let cases = [
        (parse("@v1", "@v2"), E::Header),
        (parse("extra aGVsbG8=", "extra "), E::Extra),
        (parse("extra aGVsbG8=", "extra aGVsbG8"), E::Extra),
        (parse("extra aGVsbG8=", "extras aGVsbG8="), E::Index),
        (parse("index 1", "index 01"), E::Index),
        (parse("index 1\n", ""), E::Index),
        (parse("G7l9", "G7l"), E::Hash { line: 1 }),
        (parse("qze6", "extra qze6"), E::Hash { line: 2 }),
        (parse(first_hash, &first_hash.repeat(63)), E::TooManyHashes),
        (parse("index 1\n", "index 1\n\n"), CheckpointError::Size.into()),
        (parse("\n3\n", "\n03\n"), CheckpointError::Size.into()),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Err(expected));
    }
    assert_eq!(TlogProof::parse(b"index 1\n"), Err(E::NoSeparator));
    assert_eq!(TlogProof::parse(b"\xff"), Err(E::Utf8 { at: 0 }));
    let got = 1 << 20;
    assert_eq!(TlogProof::parse(&vec![b'x'; got]), Err(E::TooLong { got }));
    let got = 64 * 1024 + 1;
    let made = TlogProof::new(1, Vec::new(), &checkpoint(), &vec![0; got]);
    assert_eq!(made, Err(E::ExtraTooLong { got }));
    let plain = TlogProof::new(1, Vec::new(), &checkpoint(), &[]).unwrap();
    assert!(!plain.to_string().contains("extra"));
    assert_eq!(TlogProof::parse(plain.to_string().as_bytes()), Ok(plain));
}

#[test]
fn refuses_notes_written_otherwise() {
    use NoteError as E;
    let good = "text\n\n— a AAAAAAE=\n";
    let note = Note::parse(good.as_bytes()).unwrap();
    assert_eq!(note.to_string(), good);
    let line = |line| E::SignatureLine { line };
    let source = KeyError::NameCharacter { got: '+' };
    let cases = [
        ("", E::NoSeparator),
        ("text\n— a AAAAAAE=\n", E::NoSeparator),
        ("text\n\n", E::NoSignature),
        ("text\n\n— a AAAAAAE=", E::NoFinalNewline),
        ("text\r\n\n— a AAAAAAE=\n", E::ControlCharacter { got: 13, at: 4 }),
        ("text\n\n- a AAAAAAE=\n", line(1)),
        ("text\n\n—  a AAAAAAE=\n", E::SignatureName { line: 1, source: KeyError::NameEmpty }),
        ("text\n\n— a+b AAAAAAE=\n", E::SignatureName { line: 1, source }),
        ("text\n\n— a AAAAAAE\n", line(1)),
        ("text\n\n— a AAAAAAF=\n", line(1)),
        ("text\n\n— a AAAAAA==\n", line(1)),
        ("text\n\n— a AAAAAAE= \n", line(1)),
        ("text\n\n— a AAAAAAE=\n— a\n", line(2)),
        ("text\n\n— a AAAAAAE=\nmore\n", line(2)),
    ];
    for (text, expected) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(expected), "{text:?}");
    }
    assert_eq!(Note::parse(b"a\xff"), Err(E::Utf8 { at: 1 }));
    let got = MAX_NOTE_BYTES + 1;
    assert_eq!(Note::parse(&vec![b'a'; got]), Err(E::TooLong { got }));
}

#[test]
fn bounds_the_signatures_of_a_note() {
    let lines = |count| "— a AAAAAAE=\n".repeat(count);
    let most = format!("text\n\n{}", lines(MAX_SIGNATURES));
    let mut note = Note::parse(most.as_bytes()).unwrap();
    let one = NoteSignature::parse_lines(&lines(1)).unwrap().remove(0);
    assert_eq!(note.push_signature(one), Err(NoteError::TooManySignatures));
    let over = format!("text\n\n{}", lines(MAX_SIGNATURES + 1));
    assert_eq!(Note::parse(over.as_bytes()), Err(NoteError::TooManySignatures));
}

#[test]
fn keeps_and_ignores_signatures_by_unknown_keys() {
    let key = log_key();
    let verifier = key.verifier();
    let note = key.sign("text\n").unwrap().to_string();
    // one name, another id; another name, the same id
    let foreign = "— broker.example/usage AAAAAAE=\n— other.example t/yS/wE=\n";
    let note = Note::parse(format!("{note}{foreign}").as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 3);
    note.verify(&verifier).unwrap();
    // one more line under name and id of the known key, and wrong
    let forged = format!("{note}— broker.example/usage t/yS/wE=\n");
    let got = Note::parse(forged.as_bytes()).unwrap().verify(&verifier);
    assert!(matches!(got, Err(NoteVerifyError::BadSignature { .. })));
    assert_eq!(key.sign("no newline"), Err(NoteError::NoFinalNewline));
    let control = NoteError::ControlCharacter { got: 0, at: 1 };
    assert_eq!(key.sign("a\0\n"), Err(control));
}

#[test]
fn refuses_keys_written_otherwise() {
    use KeyError as E;
    let parse = |from: &str, to: &str| VerifierKey::parse(&LOG_KEY.replacen(from, to, 1)).err();
    let (expected, got) = ("b7fc92ff".to_owned(), "b7fc92fe".to_owned());
    let cases = [
        (parse("b7fc92ff", "b7fc92fe"), E::IdMismatch { expected, got }),
        (parse("b7fc92ff", "B7FC92FF"), E::IdEncoding),
        (parse("b7fc92ff", "b7fc92"), E::IdEncoding),
        (parse("+b7fc92ff", ""), E::Parts { got: 2 }),
        (parse("broker", "bro ker"), E::NameCharacter { got: ' ' }),
        (parse(ORIGIN, ""), E::NameEmpty),
        (parse("29c", "29"), E::KeyEncoding),
        (parse("AYqI", "BIqI"), E::Type { expected: 1, got: 4 }),
        (parse("AYqI", "AYqIAAAA"), E::KeyLength { expected: 32, got: 35 }),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Some(expected));
    }
    let (expected, got) = (4, 1);
    assert_eq!(WitnessKey::parse(LOG_KEY), Err(E::Type { expected, got }));
    let got = 256;
    let long = VerifierKey::new(&"n".repeat(got), [0; 32]);
    assert_eq!(long, Err(E::NameTooLong { got }));
    let got = 310;
    assert_eq!(
        VerifierKey::parse(&"n".repeat(got)),
        Err(E::TooLong { max: MAX_VERIFIER_KEY_BYTES, got })
    );
}

#[test]
fn refuses_checkpoints_written_otherwise() {
    use CheckpointError as E;
    let empty = Hash::empty_root();
    let root = "1Pksj7uJcg6ztVZ3x9fvrd/rENEaGoSguo8aIzN/qpU=";
    let mismatch = E::EmptyRootMismatch { expected: empty, got: Hash::from_base64(root).unwrap() };
    let cases = [
        (String::new(), E::NoFinalNewline),
        ("a\n3\n".to_owned(), E::MissingLine { got: 2 }),
        (format!("\n3\n{root}\n"), E::OriginEmpty),
        (format!("a\n+3\n{root}\n"), E::Size),
        (format!("a\n\n{root}\n"), E::Size),
        (format!("a\n18446744073709551615\n{root}\n"), E::SizeTooLarge { got: u64::MAX }),
        (format!("a\n3\n{root}x\n"), E::Root),
        (format!("a\n3\n{root}\n\n"), E::ExtensionEmpty { line: 1 }),
        (format!("a\n3\n{root}\nb\n\n"), E::ExtensionEmpty { line: 2 }),
        (format!("a\n0\n{root}\n"), mismatch),
        (format!("a\t\n3\n{root}\n"), E::ControlCharacter { got: 9 }),
        (format!("a\n3\n{root}\n{}", "x\n".repeat(17)), E::TooManyExtensions),
        (format!("a\n3\n{root}\n{}\n", "x".repeat(4097)), E::ExtensionTooLong { got: 4097 }),
        (format!("{}\n3\n{root}\n", "o".repeat(256)), E::OriginTooLong { got: 256 }),
    ];
    for (text, expected) in cases {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    let with_lines = format!("a\n3\n{root}\nmore\nand more\n");
    let parsed = Checkpoint::parse(&with_lines).unwrap();
    assert_eq!(parsed.extensions(), ["more", "and more"]);
    assert_eq!(parsed.to_string(), with_lines);
    assert!(Checkpoint::new("a", 0, empty).is_ok());
}

#[test]
fn opens_a_checkpoint_of_the_right_log_only() {
    let bytes = checkpoint().to_bytes();
    let key = log_key().verifier();
    assert_eq!(SignedCheckpoint::open(&bytes, &key), Ok(checkpoint()));
    let got = SignedCheckpoint::open_origin(&bytes, "other.example", &key);
    let mismatch =
        OpenError::OriginMismatch { expected: "other.example".to_owned(), got: ORIGIN.to_owned() };
    assert_eq!(got, Err(mismatch));
    let foreign = Checkpoint::new("other.example", 0, Hash::empty_root()).unwrap();
    let got = foreign.sign(&log_key());
    assert!(matches!(got, Err(OpenError::OriginMismatch { .. })));
    // A note by the log's key that is no checkpoint does not open.
    let note = log_key().sign("text\n").unwrap().to_string();
    let got = SignedCheckpoint::open(note.as_bytes(), &key);
    assert_eq!(got, Err(CheckpointError::MissingLine { got: 1 }.into()));
}

#[test]
fn counts_a_quorum_of_witnesses() {
    let two_of_three = quorum(2, &[1, 2, 3]);
    let names = |by: &[u8]| -> Vec<String> {
        let cosigned = two_of_three.check(&witnessed(by)).unwrap();
        cosigned.into_iter().map(|one| one.name).collect()
    };
    assert_eq!(names(&[3, 1]), ["witness.example/w1", "witness.example/w3"]);
    assert_eq!(names(&[1, 2, 3, 4]).len(), 3);
    // The same witness twice is one witness.
    let got = two_of_three.check(&witnessed(&[2, 2, 7])).unwrap_err();
    let expected = WitnessError::NotEnough {
        threshold: 2,
        keys: 3,
        got: 1,
        missing: vec!["witness.example/w1".into(), "witness.example/w3".into()],
    };
    assert_eq!(got, expected);
    let text = "1 of 3 witnesses cosigned, 2 are needed; \
                missing: witness.example/w1, witness.example/w3";
    assert_eq!(got.to_string(), text);
}

#[test]
fn refuses_quorums_that_cannot_be_meant() {
    let keys = |of: &[u8]| -> Vec<WitnessKey> {
        of.iter().map(|number| witness(*number).verifier()).collect()
    };
    let threshold = |threshold, keys| Err(QuorumError::Threshold { threshold, keys });
    assert_eq!(Quorum::new(0, keys(&[1])), threshold(0, 1));
    assert_eq!(Quorum::new(3, keys(&[1, 2])), threshold(3, 2));
    let name = "witness.example/w1".to_owned();
    let duplicate = Err(QuorumError::Duplicate { name });
    assert_eq!(Quorum::new(1, keys(&[1, 2, 1])), duplicate);
    let renamed = WitnessSigner::from_seed("alias.example", &[2; 32]).unwrap();
    let mut twice = keys(&[1]);
    twice.push(renamed.verifier());
    let got = Quorum::new(2, twice);
    assert!(matches!(got, Err(QuorumError::Duplicate { .. })));
    let many: Vec<u8> = (0..32).collect();
    let got = Quorum::new(1, keys(&many));
    assert_eq!(got, Err(QuorumError::TooManyKeys { got: 32 }));
}

#[test]
fn refuses_false_cosignatures() {
    let key = witness(1).verifier();
    assert_eq!(key.verify(&witnessed(&[1])), Ok(TIME_S));
    let reopen = |text: &str| {
        let verifier = log_key().verifier();
        SignedCheckpoint::open(text.as_bytes(), &verifier).unwrap()
    };
    let text = String::from_utf8(witnessed(&[1]).to_bytes()).unwrap();
    // another time under the same signature
    let moved = reopen(&text.replace("3xwKNQAAAABkGFDL", "3xwKNQAAAABkGFDM"));
    let bad =
        |got| matches!(got, Err(CosignatureError::Signature(NoteVerifyError::BadSignature { .. })));
    assert!(bad(key.verify(&moved)));
    let zero = reopen(&text.replace("3xwKNQAAAABkGFDL", "3xwKNQAAAAAAAAAA"));
    assert_eq!(key.verify(&zero), Err(CosignatureError::Timestamp { got: 0 }));
    // a known witness that lies refuses the checkpoint, however many others signed
    let mut others = moved;
    for number in [2, 3] {
        let signature = witness(number).cosign(&others, TIME_S).unwrap();
        others.push_signature(signature).unwrap();
    }
    let got = quorum(2, &[1, 2, 3]).check(&others);
    assert!(matches!(got, Err(WitnessError::Cosignature(_))));
    let short = "— witness.example/w1 3xwKNQAAAABkGFDL\n";
    let mut cut = checkpoint();
    cut.push_signature(NoteSignature::parse_lines(short).unwrap().remove(0)).unwrap();
    let length =
        CosignatureError::Length { name: "witness.example/w1".to_owned(), expected: 72, got: 8 };
    assert_eq!(key.verify(&cut), Err(length));
    for got in [0, u64::MAX] {
        let refused = witness(1).cosign(&checkpoint(), got);
        assert_eq!(refused, Err(CosignatureError::Timestamp { got }));
    }
}

#[test]
fn the_latest_cosignature_of_a_witness_counts() {
    let mut checkpoint = checkpoint();
    for time_s in [50, 70, 60] {
        let signature = witness(1).cosign(&checkpoint, time_s).unwrap();
        checkpoint.push_signature(signature).unwrap();
    }
    assert_eq!(witness(1).verifier().verify(&checkpoint), Ok(70));
}

#[test]
fn a_note_signature_is_no_cosignature_and_the_other_way_round() {
    // One seed, one name, both uses: type byte and header keep them apart.
    let log = SignerKey::from_seed("w", &[5; 32]).unwrap();
    let witness = WitnessSigner::from_seed("w", &[5; 32]).unwrap();
    assert_ne!(log.verifier().key_id(), witness.verifier().key_id());
    let signed = Checkpoint::new("w", 0, Hash::empty_root()).unwrap().sign(&log).unwrap();
    let got = witness.verifier().verify(&signed);
    let unsigned =
        |got| matches!(got, Err(CosignatureError::Signature(NoteVerifyError::NotSigned { .. })));
    assert!(unsigned(got));
}

#[test]
fn ml_dsa_cosignatures_hold_and_name_their_witness() {
    let signer = WitnessSigner::ml_dsa_44_from_seed("witness.example/pq", &[6; 32]).unwrap();
    let key = signer.verifier();
    assert!(key.is_post_quantum());
    assert_eq!(WitnessKey::parse(&key.to_string()), Ok(key.clone()));
    let mut cosigned = checkpoint();
    cosigned.push_signature(signer.cosign(&cosigned, TIME_S).unwrap()).unwrap();
    assert_eq!(key.verify(&cosigned), Ok(TIME_S));
    // As published and read again.
    let read = SignedCheckpoint::open(&cosigned.to_bytes(), &log_key().verifier()).unwrap();
    assert_eq!(key.verify(&read), Ok(TIME_S));
    let mixed = Quorum::new(2, vec![key.clone(), witness(1).verifier()]).unwrap();
    assert!(matches!(mixed.check(&read), Err(WitnessError::NotEnough { got: 1, .. })));
    cosigned.push_signature(witness(1).cosign(&cosigned, TIME_S + 9).unwrap()).unwrap();
    assert_eq!(mixed.time(&cosigned), Ok(TIME_S), "the second of the two, latest first");
    // Under another name the same key says nothing: the message holds the name.
    let bytes: [u8; 1312] = key_bytes(&key.to_string())[1..].try_into().unwrap();
    let renamed = WitnessKey::ml_dsa_44("witness.example/other", &bytes).unwrap();
    assert!(matches!(renamed.verify(&read), Err(CosignatureError::Signature(_))));
    let short = WitnessKey::ml_dsa_44("w", &bytes[1..]);
    let (expected, got) = (1312, 1311);
    assert_eq!(short, Err(KeyError::KeyLength { expected, got }));
}

/// The key's bytes out of its text; base64 may hold plus signs, so its length tells where it starts.
fn key_bytes(text: &str) -> Vec<u8> {
    let encoded = &text[text.len() - 1752..];
    data_encoding::BASE64.decode(encoded.as_bytes()).unwrap()
}

#[test]
fn refuses_false_ml_dsa_cosignatures() {
    let signer = WitnessSigner::ml_dsa_44_from_seed("w.example", &[6; 32]).unwrap();
    let key = signer.verifier();
    let line = signer.cosign(&checkpoint(), TIME_S).unwrap().to_string();
    let encoded = line.rsplit(' ').next().unwrap();
    let bytes = data_encoding::BASE64.decode(encoded.as_bytes()).unwrap();
    let with = |bytes: &[u8]| {
        let text = format!("— w.example {}\n", data_encoding::BASE64.encode(bytes));
        let mut checkpoint = checkpoint();
        checkpoint.push_signature(NoteSignature::parse_lines(&text).unwrap().remove(0)).unwrap();
        key.verify(&checkpoint)
    };
    assert_eq!(with(&bytes), Ok(TIME_S));
    for at in [4, 11, 12, 500, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(with(&changed).is_err(), "byte {at}");
    }
    let (expected, got) = (2428, 2427);
    let short = with(&bytes[..bytes.len() - 1]);
    assert!(
        matches!(short, Err(CosignatureError::Length { expected: e, got: g, .. }) if (e, g) == (expected, got))
    );
    let zero = signer.cosign(&checkpoint(), 0);
    assert_eq!(zero, Err(CosignatureError::Timestamp { got: 0 }));
}
