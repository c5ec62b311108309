//! The enclave's half: the sealing key, which opens a request once and yields the sealer of its
//! answer.

use bulla_wire::http::MAX_SEALED_REQUEST_BYTES;
use hpke::{Deserializable, OpModeR, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::config::KeyConfiguration;
use super::frame::ChunkReader;
use super::inner::{InnerError, InnerRequest};
use super::request::{FINAL, LABEL_RESPONSE, header, info};
use super::response::AnswerSealer;
use super::suite::{Aead, Kem, TAG_BYTES, with_suite};

const HEADER_BYTES: usize = 7;

/// A private sealing key. No `Debug`; wiped when dropped.
pub struct SealingKey {
    secret: Zeroizing<Vec<u8>>,
    config: KeyConfiguration,
}

/// Why a sealed request does not open. For the operator: to the peer all of these are one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Longer than the limit.
    #[error("sealed request has {got_bytes} bytes, at most {MAX_SEALED_REQUEST_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// Ends before its first chunk.
    #[error("sealed request ends inside its header")]
    Short,
    /// Key id or algorithms are not those of this key.
    #[error("sealed to another key or suite")]
    OtherKey,
    /// A chunk's framing is wrong, or the final chunk is missing.
    #[error("sealed request is cut or badly framed")]
    Framing,
    /// A chunk does not authenticate.
    #[error("sealed request does not authenticate")]
    Decrypt,
    /// What was inside is not a request.
    #[error(transparent)]
    Inner(#[from] InnerError),
}

/// An opened request.
pub struct Opened {
    /// The request.
    pub request: InnerRequest,
    /// Its binary HTTP bytes with padding.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Seals the answer.
    pub answer: AnswerSealer,
    /// The encapsulated key: seen twice means replayed.
    pub enc: Vec<u8>,
}

impl SealingKey {
    /// Makes a key pair.
    pub fn generate(key_id: u8, kem: Kem, aead: Aead, rng: &mut dyn CryptoRng) -> SealingKey {
        let (secret, public_key) = with_suite!(kem, aead, |K, _A| generate_pair::<K>(rng));
        SealingKey { secret, config: KeyConfiguration { key_id, kem, aead, public_key } }
    }

    /// What goes into the keyset.
    pub fn configuration(&self) -> &KeyConfiguration {
        &self.config
    }

    /// Opens a whole sealed request. `rng` gives the nonce of the answer.
    pub fn open(&self, sealed: &[u8], rng: &mut dyn CryptoRng) -> Result<Opened, UnsealError> {
        if sealed.len() > MAX_SEALED_REQUEST_BYTES {
            return Err(UnsealError::TooLong { got_bytes: sealed.len() });
        }
        let (head, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or(UnsealError::Short)?;
        let aead = self.suite_of(head)?;
        let (enc, chunks) =
            rest.split_at_checked(self.config.kem.enc_bytes()).ok_or(UnsealError::Short)?;
        let (plaintext, secret) = with_suite!(self.config.kem, aead, |K, A| {
            open_chunks::<K, A>(&self.secret, head, enc, chunks, aead)?
        });
        let request = InnerRequest::from_bhttp(&plaintext)?;
        let answer = AnswerSealer::new(aead, enc, &secret, rng);
        Ok(Opened { request, plaintext, answer, enc: enc.to_vec() })
    }

    fn suite_of(&self, head: &[u8]) -> Result<Aead, UnsealError> {
        [Aead::ChaCha20Poly1305, Aead::Aes128Gcm]
            .into_iter()
            .find(|aead| head == header(self.config.key_id, self.config.kem, *aead))
            .ok_or(UnsealError::OtherKey)
    }
}

fn generate_pair<K: hpke::Kem>(rng: &mut dyn CryptoRng) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let mut ikm = Zeroizing::new([0u8; 64]);
    rng.fill_bytes(ikm.as_mut());
    let (secret, public) = K::derive_keypair(ikm.as_ref());
    (Zeroizing::new(secret.to_bytes().to_vec()), public.to_bytes().to_vec())
}

type Plaintext = Zeroizing<Vec<u8>>;
type ExportedSecret = Zeroizing<Vec<u8>>;

fn open_chunks<K: hpke::Kem, A: hpke::aead::Aead>(
    secret: &[u8],
    head: &[u8],
    enc: &[u8],
    chunks: &[u8],
    aead: Aead,
) -> Result<(Plaintext, ExportedSecret), UnsealError> {
    let key = K::PrivateKey::from_bytes(secret).map_err(|_| UnsealError::Decrypt)?;
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| UnsealError::Decrypt)?;
    let mut context = hpke::setup_receiver::<A, hpke::kdf::HkdfSha256, K>(
        &OpModeR::Base,
        &key,
        &enc,
        &info(head),
    )
    .map_err(|_| UnsealError::Decrypt)?;
    let mut reader = ChunkReader::default();
    reader.push(chunks).map_err(|_| UnsealError::Framing)?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(chunks.len()));
    while let Some(chunk) = reader.next_chunk().map_err(|_| UnsealError::Framing)? {
        if chunk.len() <= TAG_BYTES {
            return Err(UnsealError::Decrypt);
        }
        let opened = Zeroizing::new(context.open(&chunk, b"").map_err(|_| UnsealError::Decrypt)?);
        plaintext.extend_from_slice(&opened);
    }
    let last = reader.final_chunk().ok_or(UnsealError::Framing)?;
    let opened = Zeroizing::new(context.open(&last, FINAL).map_err(|_| UnsealError::Decrypt)?);
    plaintext.extend_from_slice(&opened);
    let mut exported = Zeroizing::new(vec![0u8; aead.entropy_bytes()]);
    context.export(LABEL_RESPONSE, &mut exported).map_err(|_| UnsealError::Decrypt)?;
    Ok((plaintext, exported))
}
