//! ECDSA P-384 with SHA-384, the slowest step of an appraisal, behind one joint: graviola, twice as
//! fast as ring, where the processor has every instruction it asks for; ring elsewhere.
//!
//! Both are given the same 96 bytes: a DER signature is taken apart in [`der`](super::der), so what
//! is refused does not depend on the machine. The tests hold the two against each other.

use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use super::der::fixed_of_der;

/// Bytes of r, and of s.
const SCALAR_BYTES: usize = 48;

/// `signature` is a DER sequence of r and s; `point` is uncompressed.
pub(super) fn verifies_der(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    fixed_of_der::<SCALAR_BYTES>(signature)
        .is_some_and(|fixed| verifies_fixed(point, signed, fixed.as_flattened()))
}

/// `signature` is r || s, big-endian, 96 bytes; `point` is uncompressed.
pub(super) fn verifies_fixed(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    match fast::is_available() {
        true => fast::verifies(point, signed, signature),
        false => slow(point, signed, signature),
    }
}

fn slow(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature).is_ok()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod fast {
    use graviola::hashing::Sha384;
    use graviola::signing::ecdsa::{P384, VerifyingKey};

    /// Graviola looks for its instructions at every entry and panics without them, so it is asked
    /// only where all are there: those it names, and BMI2 (MULX), which its P-384 uses unasked.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available() -> bool {
        use std::arch::is_x86_feature_detected as has;
        has!("aes")
            && has!("pclmulqdq")
            && has!("bmi1")
            && has!("bmi2")
            && has!("adx")
            && has!("avx")
            && has!("avx2")
    }

    /// As for x86-64; every server and phone of the last decade has them.
    #[cfg(target_arch = "aarch64")]
    pub fn is_available() -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
    }

    pub fn verifies(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        // Graviola takes a coordinate modulo p; the standard (SEC 1 §2.3.4) refuses one not below p.
        super::coordinates_are_reduced(point)
            && VerifyingKey::<P384>::from_x962_uncompressed(point)
                .is_ok_and(|key| key.verify::<Sha384>(&[signed], signature).is_ok())
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod fast {
    pub fn is_available() -> bool {
        false
    }

    pub fn verifies(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        super::slow(point, signed, signature)
    }
}

/// The field's prime, 2^384 - 2^128 - 2^96 + 2^32 - 1, big-endian.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const PRIME: [u8; SCALAR_BYTES] = {
    let mut prime = [0xff; SCALAR_BYTES];
    prime[31] = 0xfe;
    let mut at = 36;
    while at < 44 {
        prime[at] = 0;
        at += 1;
    }
    prime
};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn coordinates_are_reduced(point: &[u8]) -> bool {
    point.split_first().is_some_and(|(_, coordinates)| {
        coordinates.chunks(SCALAR_BYTES).all(|coordinate| coordinate < &PRIME[..])
    })
}

#[cfg(test)]
mod tests;
