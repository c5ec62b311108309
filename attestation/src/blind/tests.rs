//! RFC 9497's vectors, and what must fail.

use bulla_wire::ids::{Digest, EvaluationProof, GroupElement};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use data_encoding::HEXLOWER;

use super::ristretto::{Ristretto255, SecretKey, blind_by, evaluate_by};
use super::{BlindError, Blinded, Evaluation, Scheme, is_tag, tag};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

fn scalar(hex: &str) -> Scalar {
    Scalar::from_canonical_bytes(bytes(hex)).unwrap()
}

fn element(hex: &str) -> GroupElement {
    GroupElement(bytes(hex))
}

/// RFC 9497 appendix A.1.2: ristretto255-SHA512, mode VOPRF.
const SEED: [u8; 32] = [0xa3; 32];
const KEY_INFO: &[u8] = b"test key";
const PUBLIC: &str = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
const SECRET: &str = "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909";
const BLIND_1: &str = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
const BLIND_2: &str = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e";
const OUTPUT_1: &str = "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d\
    a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c";
const OUTPUT_2: &str = "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60\
    356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6";

struct Vector {
    /// Input, blind, blinded element, evaluated element, output.
    tokens: &'static [(&'static [u8], &'static str, &'static str, &'static str, &'static str)],
    r: &'static str,
    proof: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        tokens: &[(
            &[0],
            BLIND_1,
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            OUTPUT_1,
        )],
        r: BLIND_2,
        proof: "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06\
            6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
    },
    Vector {
        tokens: &[(
            &[0x5a; 17],
            BLIND_1,
            "cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
            "60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",
            OUTPUT_2,
        )],
        r: BLIND_2,
        proof: "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a\
            67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
    },
    Vector {
        tokens: &[
            (
                &[0],
                BLIND_1,
                "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
                "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
                OUTPUT_1,
            ),
            (
                &[0x5a; 17],
                BLIND_2,
                "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
                "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
                OUTPUT_2,
            ),
        ],
        r: "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
        proof: "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a\
            5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
    },
];

fn key() -> SecretKey {
    Ristretto255::derive_key(&SEED, KEY_INFO).unwrap()
}

#[test]
fn every_vector_of_the_standard_comes_out() {
    let public = Ristretto255::public_key(&key());
    assert_eq!(public, element(PUBLIC));
    assert_eq!(Ristretto255::public_key(&SecretKey::of(scalar(SECRET))), public);
    for vector in &VECTORS {
        let blinded: Vec<Blinded> = (vector.tokens.iter())
            .map(|(input, blind, ..)| blind_by(input, scalar(blind)).unwrap())
            .collect();
        let sent: Vec<GroupElement> = blinded.iter().map(|one| one.element).collect();
        let evaluation = evaluate_by(&key(), &sent, scalar(vector.r)).unwrap();
        assert_eq!(evaluation.proof, EvaluationProof(bytes(vector.proof)));
        let outputs = Ristretto255::unblind(&public, &blinded, &evaluation).unwrap();
        for (place, (input, _, sent, came, output)) in vector.tokens.iter().enumerate() {
            assert_eq!(blinded[place].element, element(sent));
            assert_eq!(evaluation.elements[place], element(came));
            assert_eq!(*outputs[place].0, bytes(output));
            assert!(Ristretto255::output(&key(), input).unwrap() == outputs[place]);
        }
        // Our own scalar for the proof: another proof, which holds as well.
        let ours = Ristretto255::evaluate(&key(), &sent).unwrap();
        assert_eq!(ours.elements, evaluation.elements);
        assert_ne!(ours.proof, evaluation.proof);
        assert!(Ristretto255::unblind(&public, &blinded, &ours).unwrap() == outputs);
        assert_eq!(Ristretto255::evaluate(&key(), &sent).unwrap(), ours, "the same again");
    }
}

fn drawn(count: u8) -> (Vec<Blinded>, Evaluation) {
    let blind = |n: u8| Ristretto255::blind(&[n; 32], &[n ^ 0x55; 64]).unwrap();
    let blinded: Vec<Blinded> = (0..count).map(blind).collect();
    let sent: Vec<GroupElement> = blinded.iter().map(|one| one.element).collect();
    let evaluation = Ristretto255::evaluate(&key(), &sent).unwrap();
    (blinded, evaluation)
}

/// Everything that is not the honest answer under the published key is refused.
#[test]
fn a_changed_answer_and_another_key_are_refused() {
    let public = Ristretto255::public_key(&key());
    let (blinded, honest) = drawn(3);
    let unblind = |evaluation: &Evaluation| {
        Ristretto255::unblind(&public, &blinded, evaluation).map(|outputs| outputs.len())
    };
    assert_eq!(unblind(&honest), Ok(3));
    for bit in 0..512 {
        let mut wrong = honest.clone();
        wrong.proof.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(unblind(&wrong), Err(BlindError::Proof), "bit {bit} of the proof");
    }
    let mut swapped = honest.clone();
    swapped.elements.swap(0, 1);
    assert_eq!(unblind(&swapped), Err(BlindError::Proof));
    let mut fewer = honest.clone();
    fewer.elements.pop();
    assert_eq!(unblind(&fewer), Err(BlindError::Answered { expected: 3, got: 2 }));
    // One key per customer: evaluated and proven under it, judged under the published one.
    let tagging = Ristretto255::derive_key(&SEED, b"a key for one customer").unwrap();
    let sent: Vec<GroupElement> = blinded.iter().map(|one| one.element).collect();
    let other = Ristretto255::evaluate(&tagging, &sent).unwrap();
    assert_eq!(unblind(&other), Err(BlindError::Proof));
    // One element of the batch alone made by another key.
    let mut mixed = honest.clone();
    mixed.elements[1] = other.elements[1];
    assert_eq!(unblind(&mixed), Err(BlindError::Proof));
}

#[test]
fn encodings_that_are_none_are_refused() {
    let identity =
        GroupElement(curve25519_dalek::ristretto::RistrettoPoint::identity().compress().to_bytes());
    let (blinded, honest) = drawn(2);
    for bad in [identity, GroupElement([0xff; 32]), GroupElement([1; 32])] {
        let sent = [blinded[0].element, bad];
        let got = Ristretto255::evaluate(&key(), &sent);
        assert_eq!(got, Err(BlindError::Element { place: 1 }));
        assert_eq!(Ristretto255::check(&sent), Err(BlindError::Element { place: 1 }));
        let mut wrong = honest.clone();
        wrong.elements[0] = bad;
        let public = Ristretto255::public_key(&key());
        let got = Ristretto255::unblind(&public, &blinded, &wrong).err();
        assert_eq!(got, Some(BlindError::Element { place: 0 }));
        let got = Ristretto255::unblind(&bad, &blinded, &honest).err();
        assert_eq!(got, Some(BlindError::PublicKey));
    }
    assert_eq!(Ristretto255::evaluate(&key(), &[]), Err(BlindError::Count { got: 0 }));
    let long = vec![0; super::MAX_INPUT_BYTES + 1];
    let got = Ristretto255::blind(&long, &[1; 64]).err();
    assert_eq!(got, Some(BlindError::Input { got_bytes: long.len() }));
    assert!(Ristretto255::blind(&long[1..], &[1; 64]).is_ok());
    // The first of them is read only where there are not too many.
    let many = vec![identity; super::MAX_BATCH_ELEMENTS + 1];
    assert_eq!(Ristretto255::check(&many), Err(BlindError::Count { got: many.len() }));
    assert_eq!(Ristretto255::check(&many[1..]), Err(BlindError::Element { place: 0 }));
    assert_eq!(Ristretto255::blind(b"input", &[0; 64]).err(), Some(BlindError::Blind));
    let mut damaged = blinded.clone();
    *damaged[0].blind = [0xff; 32];
    let public = Ristretto255::public_key(&key());
    assert_eq!(Ristretto255::unblind(&public, &damaged, &honest).err(), Some(BlindError::Blind));
}

#[test]
fn a_tag_pays_for_one_order_with_one_token() {
    let outputs: Vec<_> =
        [[1u8; 32], [2; 32]].iter().map(|i| Ristretto255::output(&key(), i).unwrap()).collect();
    let orders = [Digest([7; 32]), Digest([8; 32])];
    let shown = tag(&outputs[0], &orders[0]);
    assert!(is_tag(&outputs[0], &orders[0], &shown));
    assert!(!is_tag(&outputs[1], &orders[0], &shown));
    assert!(!is_tag(&outputs[0], &orders[1], &shown));
}

/// Unlinkable by construction: what is shown when a token is spent follows from its input, the key
/// and the order. Drawn again behind other blinds, nothing of the first transcript is left, and what
/// is shown is the same, byte for byte; so it can tell nothing of the transcript.
#[test]
fn nothing_of_a_draw_is_in_what_is_spent() {
    let public = Ristretto255::public_key(&key());
    let order = Digest([9; 32]);
    let inputs: Vec<[u8; 32]> = (0..16).map(|n| [n; 32]).collect();
    let mut transcripts: Vec<Vec<[u8; 32]>> = Vec::new();
    let mut shown: Vec<Vec<[u8; 32]>> = Vec::new();
    for round in 0..8u8 {
        let blind = |input: &[u8; 32]| {
            let mut uniform = [round; 64];
            uniform[..32].copy_from_slice(&crate::hash::sha256(input).0);
            Ristretto255::blind(input, &uniform).unwrap()
        };
        let blinded: Vec<Blinded> = inputs.iter().map(blind).collect();
        let sent: Vec<GroupElement> = blinded.iter().map(|one| one.element).collect();
        let evaluation = Ristretto255::evaluate(&key(), &sent).unwrap();
        let outputs = Ristretto255::unblind(&public, &blinded, &evaluation).unwrap();
        let (c, s) = evaluation.proof.0.split_at(32);
        let halves = [c, s].map(|half| <[u8; 32]>::try_from(half).unwrap());
        let seen = sent.iter().chain(&evaluation.elements).map(|element| element.0);
        transcripts.push(seen.chain(halves).collect());
        shown.push(
            outputs.iter().map(|output| tag(output, &order).0).chain(inputs.clone()).collect(),
        );
    }
    for (round, transcript) in transcripts.iter().enumerate() {
        assert_eq!(shown[round], shown[0], "no blind shows in what is spent");
        for other in &transcripts[..round] {
            assert!(transcript.iter().all(|bytes| !other.contains(bytes)), "the blinds do");
        }
        // No eight bytes in a row of a tag were seen at issue. (The inputs here are no random ones.)
        for spent in &shown[round][..inputs.len()] {
            for window in spent.windows(8) {
                assert!(!transcript.iter().any(|seen| seen.windows(8).any(|part| part == window)));
            }
        }
    }
}
