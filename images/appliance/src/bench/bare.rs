//! The limits that rows are held against: one primitive each, straight from `ring`.

use std::rc::Rc;

use anyhow::{anyhow, bail, ensure};
use bulla_attestation::endorsement::Certificate;
use bulla_attestation::signature::PublicKey;
use bulla_wire::evidence::Evidence;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::signature::{
    ECDSA_P384_SHA384_FIXED, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};

use super::row::Side;

/// Signed part of a SEV-SNP report (AMD 56860, table 23): everything before the signature.
const SIGNED_BYTES: usize = 0x2a0;
/// Length of the r and s fields behind it, little-endian.
const SCALAR_FIELD_BYTES: usize = 72;
/// Length of a P-384 scalar.
const SCALAR_BYTES: usize = 48;

/// Signs `message`.
pub fn ed25519_sign(message: Vec<u8>) -> Side {
    let key = throwaway_key();
    Side::timed("Ed25519 signature alone", move || {
        ensure!(key.sign(&message).as_ref().len() == 64);
        Ok(())
    })
}

/// Verifies `message`; stated as time.
pub fn ed25519_verify(message: Vec<u8>) -> Side {
    Side::timed("Ed25519 verification alone", ed25519_verification(message, 1))
}

/// Verifies `message` `times` over; stated as time.
pub fn ed25519_verify_times(message: Vec<u8>, times: usize) -> Side {
    let work = format!("{times} Ed25519 verifications alone");
    Side::timed(work, ed25519_verification(message, times))
}

/// Verifies `message`; stated per second.
pub fn ed25519_verify_rate(message: Vec<u8>) -> Side {
    let operation = ed25519_verification(message, 1);
    Side::rated("Ed25519 verification alone", "verifications", 1.0, operation)
}

fn ed25519_verification(
    message: Vec<u8>,
    times: usize,
) -> impl FnMut() -> anyhow::Result<()> + 'static {
    let key = throwaway_key();
    let signature = key.sign(&message);
    let public = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref().to_vec());
    move || {
        for _ in 0..times {
            public.verify(&message, signature.as_ref()).map_err(|_| anyhow!("bad signature"))?;
        }
        Ok(())
    }
}

fn throwaway_key() -> Rc<Ed25519KeyPair> {
    match Ed25519KeyPair::from_seed_unchecked(&[1; 32]) {
        Ok(key) => Rc::new(key),
        Err(never) => unreachable!("32 bytes are a seed: {never}"),
    }
}

/// Verifies the signature of a SEV-SNP report under its leaf's key, and nothing else.
pub fn p384_verify(evidence: &Evidence) -> anyhow::Result<Side> {
    let leaf = evidence.endorsements.iter().find_map(|endorsement| {
        match Certificate::from_der(&endorsement.data).ok()?.public_key {
            PublicKey::P384(point) => Some(point.to_vec()),
            _ => None,
        }
    });
    let Some(point) = leaf else { bail!("no leaf among the endorsements") };
    let report = evidence.report.clone();
    let scalar = |n: usize| -> anyhow::Result<Vec<u8>> {
        let start = SIGNED_BYTES + n * SCALAR_FIELD_BYTES;
        let field = report.get(start..start + SCALAR_BYTES);
        let little_endian = field.ok_or_else(|| anyhow!("the report is cut short"))?;
        Ok(little_endian.iter().rev().copied().collect())
    };
    let signature = [scalar(0)?, scalar(1)?].concat();
    let signed = report[..SIGNED_BYTES].to_vec();
    let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
    Ok(Side::timed("P-384 verification alone", move || {
        key.verify(&signed, &signature).map_err(|_| anyhow!("the report's signature is bad"))
    }))
}

/// Encrypts and decrypts a message with AES-128-GCM.
pub fn aes_gcm(message: Vec<u8>) -> anyhow::Result<Side> {
    let key = UnboundKey::new(&AES_128_GCM, &[1; 16]).map_err(|_| anyhow!("16 bytes are a key"))?;
    let key = LessSafeKey::new(key);
    let mut counter = 0u64;
    Ok(Side::timed("AES-128-GCM alone", move || {
        counter += 1;
        let mut nonce = [0u8; 12];
        nonce[4..].copy_from_slice(&counter.to_be_bytes());
        let fresh = || Nonce::assume_unique_for_key(nonce);
        let mut bytes = message.clone();
        key.seal_in_place_append_tag(fresh(), Aad::empty(), &mut bytes)
            .map_err(|_| anyhow!("not sealed"))?;
        let opened = key
            .open_in_place(fresh(), Aad::empty(), &mut bytes)
            .map_err(|_| anyhow!("not opened"))?;
        ensure!(opened == message, "another message came out");
        Ok(())
    }))
}
