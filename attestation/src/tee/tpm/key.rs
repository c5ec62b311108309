//! A TPM's signing key, as the TPM describes it (TPM 2.0 Library, part 2, §12.2.4: TPMT_PUBLIC), and
//! the signatures it makes (§11.3.4: TPMT_SIGNATURE).

use bulla_wire::ids::Digest;

use super::reader::{Reader, Shape};
use crate::hash::sha256;
use crate::signature::{KeyBytes, PublicKey};

/// Longest public area taken, in bytes (ours; of a P-256 key it is 88).
const MAX_PUBLIC_BYTES: usize = 512;

const ECC: u16 = 0x0023;
const SHA256: u16 = 0x000b;
const NULL: u16 = 0x0010;
const ECDSA: u16 = 0x0018;
const NIST_P256: u16 = 0x0003;

/// Attributes of an attestation key (part 2, §8.3): bound to this TPM and to its parent, made by
/// the TPM itself, and restricted: it signs only what the TPM made, or what it has looked at.
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const MADE_INSIDE: u32 = 1 << 5;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
const WANTED: u32 = FIXED_TPM | FIXED_PARENT | MADE_INSIDE | RESTRICTED | SIGN;

/// DER in front of the point of a P-256 key (RFC 5480): what makes it a SubjectPublicKeyInfo.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why a public area is no key taken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too long.
    #[error("a public area is at most {MAX_PUBLIC_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// It ends inside this field, or goes on after it.
    #[error("the public area does not end where {field} says")]
    Shape {
        /// Which.
        field: &'static str,
    },
    /// Another kind of key.
    #[error("{field} must be {expected:#06x}, got {got:#06x}: an ECDSA P-256 key with SHA-256")]
    Algorithm {
        /// Which field.
        field: &'static str,
        /// What a P-256 signing key says there.
        expected: u16,
        /// What it says.
        got: u16,
    },
}

impl From<Shape> for KeyError {
    fn from(Shape(field): Shape) -> KeyError {
        KeyError::Shape { field }
    }
}

/// A P-256 key of a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmKey {
    attributes: u32,
    point: Vec<u8>,
}

impl TpmKey {
    /// Reads a TPMT_PUBLIC.
    pub fn parse(public: &[u8]) -> Result<TpmKey, KeyError> {
        if public.len() > MAX_PUBLIC_BYTES {
            return Err(KeyError::Length { got: public.len() });
        }
        let mut reader = Reader::new(public);
        let is = |field, expected: u16, got: u16| match got == expected {
            true => Ok(()),
            false => Err(KeyError::Algorithm { field, expected, got }),
        };
        is("type", ECC, reader.number("type")?)?;
        is("name algorithm", SHA256, reader.number("name algorithm")?)?;
        let attributes = u32::from_be_bytes(reader.array("attributes")?);
        let _policy = reader.sized("policy")?;
        is("symmetric algorithm", NULL, reader.number("symmetric algorithm")?)?;
        is("scheme", ECDSA, reader.number("scheme")?)?;
        is("hash of the scheme", SHA256, reader.number("hash of the scheme")?)?;
        is("curve", NIST_P256, reader.number("curve")?)?;
        is("key derivation", NULL, reader.number("key derivation")?)?;
        let (x, y) = (reader.scalar("x")?, reader.scalar("y")?);
        reader.end("y")?;
        Ok(TpmKey { attributes, point: [&[4], &x[..], &y].concat() })
    }

    /// Whether the TPM made it, keeps it, and signs nothing with it that came from outside
    /// pretending to be the TPM's own.
    pub fn is_attestation_key(&self) -> bool {
        self.attributes & (WANTED | DECRYPT) == WANTED
    }

    /// Its attributes, as the TPM numbers them.
    pub fn attributes(&self) -> u32 {
        self.attributes
    }

    /// The key, as everybody else writes it: DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        [&P256_SPKI[..], &self.point].concat()
    }

    /// SHA-256 of that: what a relying party names.
    pub fn digest(&self) -> Digest {
        sha256(&self.spki())
    }

    /// The key that verifies.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::P256(KeyBytes::from(self.point.clone()))
    }
}

/// r and s of a TPMT_SIGNATURE made with ECDSA and SHA-256; `None` for anything else.
pub fn ecdsa_signature(given: &[u8]) -> Option<[u8; 64]> {
    let mut reader = Reader::new(given);
    let read = |reader: &mut Reader<'_>| -> Result<Option<[u8; 64]>, Shape> {
        if (reader.number("scheme")?, reader.number("hash")?) != (ECDSA, SHA256) {
            return Ok(None);
        }
        let (r, s) = (reader.scalar("r")?, reader.scalar("s")?);
        reader.end("s")?;
        let mut both = [0; 64];
        both[..32].copy_from_slice(&r);
        both[32..].copy_from_slice(&s);
        Ok(Some(both))
    };
    read(&mut reader).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(attributes: u32) -> Vec<u8> {
        let mut bytes = vec![0, 0x23, 0, 0x0b];
        bytes.extend(attributes.to_be_bytes());
        bytes.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
        bytes.extend([0, 32]);
        bytes.extend([1; 32]);
        // A coordinate may lack its leading zeros.
        bytes.extend([0, 31]);
        bytes.extend([2; 31]);
        bytes
    }

    #[test]
    fn reads_the_point_and_says_what_the_key_may_do() {
        let key = TpmKey::parse(&public(0x0005_0472)).unwrap();
        assert!(key.is_attestation_key());
        assert_eq!(key.attributes(), 0x0005_0472);
        assert_eq!(key.spki().len(), 91);
        assert_eq!(&key.spki()[26..28], &[4, 1]);
        assert_eq!(&key.spki()[59..61], &[0, 2]);
        for lacking in [FIXED_TPM, FIXED_PARENT, MADE_INSIDE, RESTRICTED, SIGN] {
            let other = TpmKey::parse(&public(0x0005_0472 & !lacking)).unwrap();
            assert!(!other.is_attestation_key(), "{lacking:#x}");
        }
        assert!(!TpmKey::parse(&public(0x0007_0472)).unwrap().is_attestation_key());
    }

    #[test]
    fn refuses_every_truncation_every_addition_and_other_keys() {
        let bytes = public(0x0005_0472);
        for length in 0..bytes.len() {
            assert!(TpmKey::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(TpmKey::parse(&[bytes.clone(), vec![0]].concat()).is_err());
        let too_long = [0; 513];
        assert!(matches!(TpmKey::parse(&too_long), Err(KeyError::Length { .. })));
        assert!(matches!(TpmKey::parse(&too_long[1..]), Err(KeyError::Algorithm { .. })));
        for place in [1, 3, 11, 13, 15, 17, 19] {
            let mut other = bytes.clone();
            other[place] ^= 0x40;
            let got = TpmKey::parse(&other);
            assert!(matches!(got, Err(KeyError::Algorithm { .. })), "{place}: {got:?}");
        }
    }

    #[test]
    fn takes_r_and_s_out_of_a_signature() {
        let signature = |r: &[u8], s: &[u8]| {
            let part = |n: &[u8]| [&(n.len() as u16).to_be_bytes()[..], n].concat();
            [vec![0, 0x18, 0, 0x0b], part(r), part(s)].concat()
        };
        let both = ecdsa_signature(&signature(&[7; 32], &[9; 30])).unwrap();
        assert_eq!(
            (&both[..33], &both[33..]),
            (&[&[7; 32][..], &[0]].concat()[..], &[&[0][..], &[9; 30]].concat()[..])
        );
        assert_eq!(ecdsa_signature(&signature(&[7; 33], &[9; 32])), None);
        let whole = signature(&[7; 32], &[9; 32]);
        for length in 0..whole.len() {
            assert_eq!(ecdsa_signature(&whole[..length]), None);
        }
        assert_eq!(ecdsa_signature(&[whole, vec![0]].concat()), None);
    }
}
