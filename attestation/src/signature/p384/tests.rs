//! Three implementations held against each other: graviola, ring, and the `p384` crate.

use p384::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::elliptic_curve::sec1::ToSec1Point;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ring::signature::ECDSA_P384_SHA384_ASN1;

use super::*;

const MESSAGE: &[u8] = b"what somebody signed";
/// The group's order.
const ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

struct Signer {
    key: SigningKey,
    point: Vec<u8>,
}

impl Signer {
    fn new(rng: &mut ChaCha20Rng) -> Signer {
        let mut secret = [0; 48];
        rng.fill_bytes(&mut secret[1..]);
        let key = SigningKey::from_slice(&secret).unwrap();
        let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        Signer { key, point }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let digest = ring::digest::digest(&ring::digest::SHA384, message);
        let signature: Signature = self.key.sign_prehash(digest.as_ref()).unwrap();
        signature.to_bytes().to_vec()
    }
}

fn p384_crate(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let digest = ring::digest::digest(&ring::digest::SHA384, message);
    // The crate also reads compressed points, which nothing here may carry.
    point.first() == Some(&4)
        && VerifyingKey::from_sec1_bytes(point).is_ok_and(|key| {
            Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest.as_ref(), &signature).is_ok())
        })
}

/// What all three say.
fn agreed(what: &str, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let by_ring = slow(point, message, signature);
    assert_eq!(p384_crate(point, message, signature), by_ring, "p384 crate: {what}");
    assert_eq!(verifies_fixed(point, message, signature), by_ring, "joint: {what}");
    if fast::is_available() {
        assert_eq!(fast::verifies(point, message, signature), by_ring, "graviola: {what}");
    }
    by_ring
}

/// What ring and our own reading of DER, on whichever implementation, say.
fn agreed_der(what: &str, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let by_ring = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).verify(message, signature);
    assert_eq!(
        verifies_der(point, message, signature),
        by_ring.is_ok(),
        "{what}: {signature:02x?}"
    );
    by_ring.is_ok()
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let mut content = magnitude[zeros..].to_vec();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    [&[2, content.len() as u8][..], &content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    [&[0x30, content.len() as u8][..], &content].concat()
}

fn der(fixed: &[u8]) -> Vec<u8> {
    sequence(&[integer(&fixed[..48]), integer(&fixed[48..])])
}

/// `a + b` as big-endian numbers, the carry dropped.
fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut sum = vec![0; a.len()];
    let mut carry = 0;
    for at in (0..a.len()).rev() {
        let digit = u16::from(a[at]) + u16::from(b[at]) + carry;
        sum[at] = digit as u8;
        carry = digit >> 8;
    }
    sum
}

/// `a - b` as big-endian numbers.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let complement: Vec<u8> = b.iter().map(|byte| !byte).collect();
    let mut one = vec![0; b.len()];
    one[b.len() - 1] = 1;
    plus(&plus(a, &complement), &one)
}

#[test]
fn this_machine_runs_the_fast_one() {
    // On a machine without it the other tests hold ring against the p384 crate only.
    println!("graviola for P-384: {}", if fast::is_available() { "yes" } else { "no" });
}

#[test]
fn good_signatures_are_accepted_and_their_twin_too() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for _ in 0..20 {
        let signer = Signer::new(&mut rng);
        let signature = signer.sign(MESSAGE);
        assert!(agreed("as made", &signer.point, MESSAGE, &signature));
        assert!(agreed_der("as made", &signer.point, MESSAGE, &der(&signature)));
        // ECDSA's own malleability: (r, n - s) verifies wherever (r, s) does.
        let twin = [&signature[..48], &minus(&ORDER, &signature[48..])].concat();
        assert!(agreed("the twin", &signer.point, MESSAGE, &twin));
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let signer = Signer::new(&mut ChaCha20Rng::seed_from_u64(2));
    let good = signer.sign(MESSAGE);
    let (r, s) = good.split_at(48);
    let zero = [0; 48];
    let one = one();
    let numbers: [&[u8]; 7] =
        [&zero, &one, &ORDER, &minus(&ORDER, &one), &plus(&ORDER, &one), &PRIME, &[0xff; 48]];
    for number in numbers {
        for signature in [[number, s].concat(), [r, number].concat(), [number, number].concat()] {
            let what = format!("{signature:02x?}");
            assert!(!agreed(&what, &signer.point, MESSAGE, &signature));
            assert!(!agreed_der(&what, &signer.point, MESSAGE, &der(&signature)));
        }
    }
    for length in [0, 1, 47, 48, 95, 97, 144] {
        let mut signature = good.clone();
        signature.resize(length, 0);
        assert!(!agreed("another length", &signer.point, MESSAGE, &signature));
    }
}

#[test]
fn sums_that_meet_the_corners_of_addition() {
    // With the key Q = d G and u1 = e/s, u2 = r/s, verification adds u1 G and u2 Q. Keys of d = 1
    // and d = n - 1 make both lie on multiples of G, where doubling and infinity are met.
    for (name, secret) in [("one", plus(&[0; 48], &one())), ("minus one", minus(&ORDER, &one()))] {
        let key = SigningKey::from_slice(&secret).unwrap();
        let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        let digest = ring::digest::digest(&ring::digest::SHA384, MESSAGE);
        // r = e: u1 = u2, so the two terms are equal (d = 1) or cancel (d = -1).
        let mut e = digest.as_ref().to_vec();
        if e[..] >= ORDER[..] {
            e = minus(&e, &ORDER);
        }
        for s in [one(), e.clone(), minus(&ORDER, &one())] {
            agreed(name, &point, MESSAGE, &[&e[..], &s].concat());
            agreed(name, &point, MESSAGE, &[&minus(&ORDER, &e)[..], &s].concat());
        }
        let signer = Signer { key, point };
        assert!(agreed(name, &signer.point, MESSAGE, &signer.sign(MESSAGE)));
    }
}

fn one() -> Vec<u8> {
    [&[0; 47][..], &[1]].concat()
}

#[test]
fn points_that_are_none_are_refused() {
    let signer = Signer::new(&mut ChaCha20Rng::seed_from_u64(3));
    let signature = signer.sign(MESSAGE);
    let good = &signer.point;
    let compressed = [&[2 + (good[96] & 1)][..], &good[1..49]].concat();
    let hybrid = [&[6 + (good[96] & 1)][..], &good[1..]].concat();
    let negative = [&good[..49], &minus(&PRIME, &good[49..])].concat();
    let off_curve = [&good[..96], &[good[96] ^ 1]].concat();
    let longer = [&good[..], &[0]].concat();
    let swapped = [&good[..1], &good[49..], &good[1..49]].concat();
    let zero = [&[4][..], &[0; 96]].concat();
    let points: [&[u8]; 10] =
        [&[], &[0], &[4], &compressed, &hybrid, &negative, &off_curve, &longer, &swapped, &zero];
    for point in points {
        assert!(!agreed("no such point", point, MESSAGE, &signature), "{point:02x?}");
    }
}

#[test]
fn coordinates_not_below_the_prime_are_refused() {
    // Only an x below 2^384 - p has a second way to be written; the curve has points with such x.
    let small = (1..100).find_map(|x| {
        let compressed = [&[2][..], &[0; 47], &[x]].concat();
        let point = p384::PublicKey::from_sec1_bytes(&compressed).ok()?;
        Some(point.to_sec1_point(false).as_bytes().to_vec())
    });
    let point = small.expect("half of all x have a point");
    let unreduced = [&point[..1], &plus(&point[1..49], &PRIME), &point[49..]].concat();
    assert!(coordinates_are_reduced(&point) && !coordinates_are_reduced(&unreduced));
    assert!(!agreed("x + p", &unreduced, MESSAGE, &[1; 96]));
    assert!(!agreed("x", &point, MESSAGE, &[1; 96]));
    let at_prime = [&[4][..], &PRIME, &PRIME].concat();
    assert!(!coordinates_are_reduced(&at_prime));
    // FIPS 186-4, D.1.2.4.
    let prime = b"ffffffffffffffffffffffffffffffffffffffffffffffff\
                  fffffffffffffffeffffffff0000000000000000ffffffff";
    let prime = data_encoding::HEXLOWER.decode(prime).unwrap();
    assert_eq!(prime, PRIME);
    let below = [&prime[..47], &[0xfe]].concat();
    assert!(coordinates_are_reduced(&[&[4][..], &below, &below].concat()));
}

#[test]
fn only_one_encoding_of_a_signature_is_accepted() {
    let signer = Signer::new(&mut ChaCha20Rng::seed_from_u64(4));
    let fixed = signer.sign(MESSAGE);
    let (r, s) = (integer(&fixed[..48]), integer(&fixed[48..]));
    let good = der(&fixed);
    let long_length = [&[0x30, 0x81, good[1]][..], &good[2..]].concat();
    let indefinite = [&[0x30, 0x80][..], &good[2..], &[0, 0]].concat();
    let trailing = [&good[..], &[0]].concat();
    let zero_before = [&[2, r[1] + 1, 0][..], &r[2..]].concat();
    let negative = {
        let start = if r[2] == 0 { 3 } else { 2 };
        let mut content = r[start..].to_vec();
        content[0] |= 0x80;
        [&[2, content.len() as u8][..], &content].concat()
    };
    let cases: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0x30],
        vec![0x30, 0],
        fixed.clone(),
        long_length,
        indefinite,
        trailing,
        good[..good.len() - 1].to_vec(),
        [&[0x31][..], &good[1..]].concat(),
        sequence(&[zero_before, s.clone()]),
        sequence(&[negative, s.clone()]),
        sequence(std::slice::from_ref(&r)),
        sequence(&[r.clone(), s.clone(), r.clone()]),
        sequence(&[r.clone(), s.clone(), vec![5, 0]]),
        sequence(&[r.clone(), vec![2, 0]]),
        sequence(&[vec![2, 0], s.clone()]),
        sequence(&[vec![2, 1, 0], s.clone()]),
        sequence(&[s, r]),
    ];
    assert!(agreed_der("good", &signer.point, MESSAGE, &good));
    for case in &cases {
        assert!(!agreed_der("another encoding", &signer.point, MESSAGE, case));
    }
}

/// `BULLA_MUTATIONS` of each kind, or as many as fit every day.
#[test]
#[allow(clippy::disallowed_methods, reason = "a longer run is asked for by name")]
fn seeded_changes_are_judged_alike() {
    let changes = std::env::var("BULLA_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let signer = Signer::new(&mut rng);
    let fixed = signer.sign(MESSAGE);
    let encoded = der(&fixed);
    let mut accepted = 0;
    for _ in 0..changes.unwrap_or(200) {
        let (mut point, mut message) = (signer.point.clone(), MESSAGE.to_vec());
        let (mut signature, mut as_der) = (fixed.clone(), encoded.clone());
        match rng.next_u32() % 3 {
            0 => change(&mut point, &mut rng),
            1 => change(&mut message, &mut rng),
            _ => change(&mut signature, &mut rng),
        }
        change(&mut as_der, &mut rng);
        accepted += usize::from(agreed("changed", &point, &message, &signature));
        accepted += usize::from(agreed_der("changed", &signer.point, MESSAGE, &as_der));
    }
    assert_eq!(accepted, 0, "a change was accepted");
}

/// One bit, one byte lost or gained: never nothing.
fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
    let at = rng.next_u32() as usize % bytes.len();
    match rng.next_u32() % 16 {
        0 => bytes.truncate(at),
        1 => {
            bytes.remove(at);
        }
        2 => bytes.push(0),
        _ => bytes[at] ^= 1 << (rng.next_u32() % 8),
    }
}
