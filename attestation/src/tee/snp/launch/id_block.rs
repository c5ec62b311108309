//! The ID block: what a guest's owner signs so that AMD's firmware starts nothing else, and the
//! keys it is signed with (AMD 56860, SNP_LAUNCH_FINISH: ID_BLOCK and ID_AUTH structures). A report
//! shows their digests as ID_KEY_DIGEST and AUTHOR_KEY_DIGEST.

use ring::digest::{SHA384, digest};

use crate::signature::PublicKey;

/// Length of an ID block in bytes.
pub const ID_BLOCK_BYTES: usize = 96;
/// Length of an authentication block in bytes.
pub const ID_AUTH_BYTES: usize = 4096;

const SIGNATURE_BYTES: usize = 512;
const KEY_BYTES: usize = 0x404;
/// Length of each of r, s, x and y: little-endian, P-384 uses 48 bytes of it.
const NUMBER_FIELD_BYTES: usize = 72;
const NUMBER_BYTES: usize = 48;
/// Algorithm: ECDSA P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;
/// Curve: P-384.
const P384: u32 = 2;

const ID_SIGNATURE_AT: usize = 0x040;
const ID_KEY_AT: usize = 0x240;
const ID_KEY_SIGNATURE_AT: usize = 0x680;
const AUTHOR_KEY_AT: usize = 0x880;

/// Why an ID block is not endorsed by the keys beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdBlockError {
    /// Another length.
    #[error("an authentication block is {ID_AUTH_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// A signature or key of another kind than P-384, or bytes where zeros belong.
    #[error("{field} is no P-384 key or signature in AMD's form")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The ID key did not sign the block.
    #[error("the id key did not sign this id block")]
    Signature,
    /// The author key did not sign the ID key.
    #[error("the author key did not sign the id key")]
    AuthorSignature,
}

/// What a guest's owner signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBlock {
    /// The launch digest the guest must have.
    pub launch_digest: [u8; 48],
    /// FAMILY_ID, the owner's.
    pub family_id: [u8; 16],
    /// IMAGE_ID, the owner's.
    pub image_id: [u8; 16],
    /// Version of the structure: 1.
    pub version: u32,
    /// Security version of the guest.
    pub guest_svn: u32,
    /// The launch policy the guest must have.
    pub policy: u64,
}

impl IdBlock {
    /// The bytes that are signed.
    pub fn encode(&self) -> [u8; ID_BLOCK_BYTES] {
        let parts = [
            &self.launch_digest[..],
            &self.family_id,
            &self.image_id,
            &self.version.to_le_bytes(),
            &self.guest_svn.to_le_bytes(),
            &self.policy.to_le_bytes(),
        ];
        let mut bytes = [0; ID_BLOCK_BYTES];
        for (to, from) in bytes.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        bytes
    }
}

/// What a report shows of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdKeys {
    /// ID_KEY_DIGEST: SHA-384 of the ID key as it stands.
    pub id_key_digest: [u8; 48],
    /// AUTHOR_KEY_DIGEST, where an author signed the ID key.
    pub author_key_digest: Option<[u8; 48]>,
}

/// Verifies `block` under the authentication block `auth` (ID_AUTH), and says what a report of a
/// guest started with both shows. An author is asked for where its key is not all zeros.
pub fn verify(block: &IdBlock, auth: &[u8]) -> Result<IdKeys, IdBlockError> {
    let auth: &[u8; ID_AUTH_BYTES] =
        auth.try_into().map_err(|_| IdBlockError::Length { got: auth.len() })?;
    let [id_algorithm, author_algorithm] = [0, 4].map(|at| word(auth, at));
    let id_key = field::<KEY_BYTES>(auth, ID_KEY_AT);
    let signature = field::<SIGNATURE_BYTES>(auth, ID_SIGNATURE_AT);
    let signs = verifies(id_algorithm, id_key, signature, &block.encode(), "id key")?;
    if !signs {
        return Err(IdBlockError::Signature);
    }
    let author_key = field::<KEY_BYTES>(auth, AUTHOR_KEY_AT);
    let id_key_digest = sha384(id_key);
    if author_key.iter().all(|byte| *byte == 0) {
        return Ok(IdKeys { id_key_digest, author_key_digest: None });
    }
    let signature = field::<SIGNATURE_BYTES>(auth, ID_KEY_SIGNATURE_AT);
    if !verifies(author_algorithm, author_key, signature, id_key, "author key")? {
        return Err(IdBlockError::AuthorSignature);
    }
    Ok(IdKeys { id_key_digest, author_key_digest: Some(sha384(author_key)) })
}

fn verifies(
    algorithm: u32,
    key: &[u8],
    signature: &[u8],
    signed: &[u8],
    field: &'static str,
) -> Result<bool, IdBlockError> {
    let wrong = IdBlockError::Field { field };
    if algorithm != ECDSA_P384_SHA384 || word(key, 0) != P384 {
        return Err(wrong);
    }
    let [x, y] = numbers(key.get(4..).unwrap_or_default()).ok_or(wrong.clone())?;
    let [r, s] = numbers(signature).ok_or(wrong)?;
    let point = [&[4][..], &x, &y].concat();
    Ok(PublicKey::P384(point.into()).verifies_fixed(signed, &[r, s].concat()))
}

/// Two numbers at the front, turned big-endian; everything else must be zero.
fn numbers(bytes: &[u8]) -> Option<[[u8; NUMBER_BYTES]; 2]> {
    let (first, rest) = bytes.split_at_checked(NUMBER_FIELD_BYTES)?;
    let (second, rest) = rest.split_at_checked(NUMBER_FIELD_BYTES)?;
    let number = |field: &[u8]| {
        let (digits, zeros) = field.split_first_chunk::<NUMBER_BYTES>()?;
        let mut digits = *digits;
        digits.reverse();
        zeros.iter().all(|byte| *byte == 0).then_some(digits)
    };
    let both = [number(first)?, number(second)?];
    rest.iter().all(|byte| *byte == 0).then_some(both)
}

fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest(&SHA384, bytes).as_ref());
    out
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}

fn field<const N: usize>(auth: &[u8; ID_AUTH_BYTES], at: usize) -> &[u8] {
    auth.get(at..at + N).unwrap_or_default()
}
