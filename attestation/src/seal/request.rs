//! The client's half: seal a request, get the ciphertext and the only object that opens its answer.

use bulla_wire::http::{MAX_CHUNK_BYTES, MAX_SEALED_REQUEST_BYTES};
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use hpke::{Deserializable, OpModeS, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::config::{ConfigError, KeyConfiguration};
use super::frame::write_chunk;
use super::inner::InnerRequest;
use super::response::AnswerOpener;
use super::suite::{Aead, Kem, with_suite};
use crate::hash::labelled;
use crate::keys::AttestedKeys;

pub(super) const LABEL_REQUEST: &[u8] = b"message/bhttp chunked request";
pub(super) const LABEL_RESPONSE: &[u8] = b"message/bhttp chunked response";
/// Additional data of a final chunk.
pub(super) const FINAL: &[u8] = b"final";

/// To which sizes requests are padded, so that ciphertext length says little about the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// No padding.
    None,
    /// To the next power of two, at least this many bytes.
    PowerOfTwo {
        /// Smallest padded size.
        least_bytes: usize,
    },
}

impl Default for Padding {
    fn default() -> Self {
        Padding::PowerOfTwo { least_bytes: 2048 }
    }
}

impl Padding {
    fn apply(self, bytes: &mut Vec<u8>) {
        if let Padding::PowerOfTwo { least_bytes } = self {
            let padded = bytes.len().max(least_bytes).next_power_of_two();
            bytes.resize(padded, 0);
        }
    }
}

/// A sealed request as it travels.
#[derive(Clone)]
pub struct SealedRequest {
    bytes: Vec<u8>,
    digest: Digest,
}

impl SealedRequest {
    /// The bytes to send, media type `message/ohttp-chunked-req`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest an order names.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl AttestedKeys {
    /// Seals a request to the attested enclave. No attested keys, no ciphertext.
    pub fn seal(
        &self,
        request: &InnerRequest,
        padding: Padding,
        rng: &mut dyn CryptoRng,
    ) -> Result<(SealedRequest, AnswerOpener), SealError> {
        seal(&KeyConfiguration::parse(self.key_configuration())?, request, padding, rng)
    }
}

/// Why a request cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Larger than the limit of a sealed request.
    #[error(
        "request needs {got_bytes} bytes sealed, at most {MAX_SEALED_REQUEST_BYTES} are allowed: shorten it"
    )]
    TooLong {
        /// Its sealed length.
        got_bytes: usize,
    },
    /// The attested key configuration is not one we speak.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// The public key is not a point or key of its KEM.
    #[error("sealing key in the keyset is not a valid public key")]
    BadPublicKey,
}

/// Seals `request` to a key configuration. Crate-private: only attested keys seal.
pub(crate) fn seal(
    config: &KeyConfiguration,
    request: &InnerRequest,
    padding: Padding,
    rng: &mut dyn CryptoRng,
) -> Result<(SealedRequest, AnswerOpener), SealError> {
    let mut plain = Zeroizing::new(request.to_bhttp());
    padding.apply(&mut plain);
    let header = header(config.key_id, config.kem, config.aead);
    let (bytes, opener) = with_suite!(config.kem, config.aead, |K, A| {
        seal_chunks::<K, A>(config, &header, &plain, rng)?
    });
    if bytes.len() > MAX_SEALED_REQUEST_BYTES {
        return Err(SealError::TooLong { got_bytes: bytes.len() });
    }
    let digest = labelled(labels::SEALED_REQUEST, &bytes);
    Ok((SealedRequest { bytes, digest }, opener))
}

fn seal_chunks<K: hpke::Kem, A: hpke::aead::Aead>(
    config: &KeyConfiguration,
    header: &[u8],
    plain: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<(Vec<u8>, AnswerOpener), SealError> {
    let key = K::PublicKey::from_bytes(&config.public_key).map_err(|_| SealError::BadPublicKey)?;
    let (enc, mut context) = hpke::setup_sender_with_rng::<A, hpke::kdf::HkdfSha256, K>(
        &OpModeS::Base,
        &key,
        &info(header),
        &mut rng,
    )
    .map_err(|_| SealError::BadPublicKey)?;
    let enc = enc.to_bytes().to_vec();
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(&enc);
    let chunks = plain.chunks(MAX_CHUNK_BYTES).count().max(1);
    for (i, chunk) in plain.chunks(MAX_CHUNK_BYTES).enumerate() {
        let is_final = i + 1 == chunks;
        let aad: &[u8] = if is_final { FINAL } else { b"" };
        let sealed = context.seal(chunk, aad).map_err(|_| SealError::BadPublicKey)?;
        write_chunk(&sealed, is_final, &mut bytes);
    }
    let mut secret = Zeroizing::new(vec![0u8; config.aead.entropy_bytes()]);
    context.export(LABEL_RESPONSE, &mut secret).map_err(|_| SealError::BadPublicKey)?;
    Ok((bytes, AnswerOpener::new(config.aead, enc, secret)))
}

/// Key id and algorithms as they stand before the encapsulated key (RFC 9458 §4.3).
pub(super) fn header(key_id: u8, kem: Kem, aead: Aead) -> [u8; 7] {
    let [k0, k1] = kem.id().to_be_bytes();
    let [d0, d1] = super::suite::KDF_HKDF_SHA256.to_be_bytes();
    let [a0, a1] = aead.id().to_be_bytes();
    [key_id, k0, k1, d0, d1, a0, a1]
}

pub(super) fn info(header: &[u8]) -> Vec<u8> {
    [LABEL_REQUEST, &[0], header].concat()
}
