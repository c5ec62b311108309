//! A batch says what `ring` says, signature by signature.

use bulla_wire::ids::Signature;
use curve25519_dalek::constants::EIGHT_TORSION;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::sign::SigningKey;

fn claims(count: usize, keys: u8) -> Vec<Claim> {
    (0..count)
        .map(|n| {
            let key = SigningKey::from_seed([(n % usize::from(keys)) as u8 + 1; 32]);
            let message = format!("message {n}").into_bytes();
            let signature = key.sign_bytes(&message);
            Claim { key: key.public(), message, signature }
        })
        .collect()
}

/// What the batch refuses must be what `ring` refuses; returned.
fn judged(claims: &[Claim]) -> Vec<usize> {
    let claims: Vec<&Claim> = claims.iter().collect();
    let alone: Vec<usize> = (0..claims.len()).filter(|at| !claims[*at].holds()).collect();
    assert_eq!(Batch::default().failures(&claims), alone);
    alone
}

/// Somebody who holds a key and signs with a commitment that has a part of small order.
fn crooked(key: u8, message: &[u8], torsion: &EdwardsPoint) -> Claim {
    let nonce = Scalar::from(0x1234_5678_9abc_u64);
    let commitment = (ED25519_BASEPOINT_POINT * nonce + torsion).compress().to_bytes();
    committed(key, message, nonce, commitment)
}

/// Somebody who holds a key and writes the commitment to `nonce` as they like.
fn committed(key: u8, message: &[u8], nonce: Scalar, commitment: [u8; 32]) -> Claim {
    let mut hash = Context::new(&SHA512);
    hash.update(&[key; 32]);
    let expanded = finish(hash);
    let mut clamped = [0; 32];
    clamped.copy_from_slice(&expanded[..32]);
    clamped[0] &= 248;
    clamped[31] = (clamped[31] & 63) | 64;
    let secret = Scalar::from_bytes_mod_order(clamped);
    let public = SigningKey::from_seed([key; 32]).public();
    assert_eq!((ED25519_BASEPOINT_POINT * secret).compress().to_bytes(), public.0);
    let mut hash = Context::new(&SHA512);
    hash.update(&commitment);
    hash.update(&public.0);
    hash.update(message);
    let response = nonce + Scalar::from_bytes_mod_order_wide(&finish(hash)) * secret;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&commitment);
    signature[32..].copy_from_slice(response.as_bytes());
    Claim { key: public, message: message.to_vec(), signature: Signature(signature) }
}

#[test]
fn good_signatures_hold_in_batches_of_any_size_and_number_of_keys() {
    for (count, keys) in [(0, 1), (1, 1), (127, 3), (128, 1), (129, 200), (700, 3)] {
        assert_eq!(judged(&claims(count, keys)), Vec::<usize>::new(), "{count} of {keys}");
    }
}

/// The equation by itself: where it does not hold, single checks would still say the right thing,
/// at thirty times the cost.
#[test]
fn one_equation_is_enough_for_good_signatures_and_for_no_others() {
    let holds_together = |claims: &[Claim]| {
        let mut batch = Batch::default();
        let term = |(at, claim)| batch.term(at, claim).expect("it can be part of a batch");
        holds(&claims.iter().enumerate().map(term).collect::<Vec<Term>>())
    };
    for keys in [1, 3] {
        let mut all = claims(130, keys);
        assert!(holds_together(&all), "{keys} keys");
        all[7].message.push(b'!');
        assert!(!holds_together(&all), "{keys} keys");
    }
}

#[test]
fn names_each_that_fails() {
    let mut all = claims(600, 4);
    all[3].message.push(b'!');
    all[77].signature.0[5] ^= 1;
    all[78].signature.0[40] ^= 1;
    all[300].key = SigningKey::from_seed([99; 32]).public();
    all[599].signature = all[598].signature;
    assert_eq!(judged(&all), [3, 77, 78, 300, 599]);
}

#[test]
fn a_response_above_the_order_is_refused() {
    let mut all = claims(200, 2);
    // s + order: the same number, written otherwise.
    let order = data_encoding::HEXLOWER
        .decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        .unwrap();
    let mut carry = 0u16;
    for (byte, add) in all[9].signature.0[32..].iter_mut().zip(&order) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(judged(&all), [9]);
}

#[test]
fn commitments_of_mixed_order_are_refused_alone_in_pairs_and_in_crowds() {
    for torsion in &EIGHT_TORSION[1..] {
        let minus = -torsion;
        for crowd in [vec![torsion], vec![torsion, &minus], vec![torsion; 8]] {
            let mut all = claims(200, 2);
            for (n, torsion) in crowd.iter().enumerate() {
                all[n * 7] = crooked(1, format!("crooked {n}").as_bytes(), torsion);
            }
            assert_eq!(judged(&all).len(), crowd.len());
        }
    }
}

#[test]
fn without_a_part_of_small_order_the_same_signer_is_believed() {
    let mut all = claims(200, 2);
    all[7] = crooked(1, b"straight", &EdwardsPoint::identity());
    assert_eq!(judged(&all), Vec::<usize>::new());
}

#[test]
fn keys_and_commitments_of_small_order_and_odd_encodings_are_judged_as_ring_judges_them() {
    let mut odd: Vec<[u8; 32]> =
        EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    for low in 0..=255u8 {
        // y from p - 18 up to 2^255 - 1, with either sign.
        if low >= 0xec {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                odd.push(bytes);
            }
        }
    }
    odd.push(std::array::from_fn(|n| if n == 31 { 0x80 } else { u8::from(n == 0) }));
    let mut all = claims(odd.len() * 3 + MIN_BATCH, 5);
    for (n, bytes) in odd.iter().enumerate() {
        all[n * 3].key = PublicKey(*bytes);
        all[n * 3 + 1].signature.0[..32].copy_from_slice(bytes);
        // Zero in both halves: the equation holds for keys of small order whose hash allows it.
        all[n * 3 + 2].key = PublicKey(*bytes);
        all[n * 3 + 2].signature = Signature([0; 64]);
        all[n * 3 + 2].signature.0[0] = 1;
    }
    judged(&all);
}

/// The neutral point in each of its four encodings: y is 1 or p + 1, and the sign says nothing.
fn neutral() -> [[u8; 32]; 4] {
    let bytes = |low: u8, middle: u8, high: u8| {
        std::array::from_fn(|n| match n {
            0 => low,
            31 => high,
            _ => middle,
        })
    };
    [bytes(1, 0, 0), bytes(1, 0, 0x80), bytes(0xee, 0xff, 0x7f), bytes(0xee, 0xff, 0xff)]
}

/// The equation holds for all four; `ring` compares the commitment byte by byte.
#[test]
fn a_commitment_to_nothing_counts_in_its_one_encoding_only() {
    let mut all = claims(MIN_BATCH + 4, 3);
    for (n, encoding) in neutral().into_iter().enumerate() {
        all[n * 20] = committed(7, b"message", Scalar::ZERO, encoding);
    }
    assert_eq!(judged(&all), [20, 40, 60]);
}

/// Under the neutral point as key every message is signed by whoever likes.
#[test]
fn the_neutral_point_as_key_is_judged_as_ring_judges_it() {
    let mut all = claims(MIN_BATCH + 4, 3);
    let response = Scalar::from(42_u64);
    let commitment = (ED25519_BASEPOINT_POINT * response).compress().to_bytes();
    for (n, encoding) in neutral().into_iter().enumerate() {
        all[n * 20].key = PublicKey(encoding);
        all[n * 20].signature.0[..32].copy_from_slice(&commitment);
        all[n * 20].signature.0[32..].copy_from_slice(response.as_bytes());
    }
    judged(&all);
}

#[test]
fn any_mutation_is_judged_as_ring_judges_it() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    for _ in 0..6 {
        let mut all = claims(300, 3);
        for _ in 0..rng.next_u32() % 5 {
            let claim = &mut all[rng.next_u32() as usize % 300];
            let (at, bit) = (rng.next_u32() as usize % 64, rng.next_u32() % 8);
            claim.signature.0[at] ^= 1 << bit;
        }
        judged(&all);
    }
}

/// Another implementation of the same idea accepts what we accept, where nobody is crooked.
#[test]
fn agrees_with_another_batch_verifier() {
    let mut all = claims(300, 4);
    let theirs = |all: &[Claim]| {
        let messages: Vec<&[u8]> = all.iter().map(|claim| &*claim.message).collect();
        let signatures: Vec<_> =
            all.iter().map(|c| ed25519_dalek::Signature::from_bytes(&c.signature.0)).collect();
        let keys: Vec<_> = all
            .iter()
            .map(|c| ed25519_dalek::VerifyingKey::from_bytes(&c.key.0).unwrap())
            .collect();
        ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
    };
    assert!(theirs(&all) && judged(&all).is_empty());
    all[100].message.clear();
    assert!(!theirs(&all) && judged(&all) == [100]);
}
