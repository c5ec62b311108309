//! The answer: chunk by chunk, order and end authenticated.

use bulla_wire::http::MAX_CHUNK_BYTES;
use rand_core::CryptoRng;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::answer::{AnswerError, AnswerEvent, AnswerParser};
use super::frame::{ChunkReader, write_chunk};
use super::request::FINAL;
use super::suite::{Aead, NONCE_BYTES, TAG_BYTES};

/// Key and nonce sequence of one answer (RFC 9458 §4.4, chunked draft §6.2).
struct ChunkCipher {
    key: LessSafeKey,
    nonce: [u8; NONCE_BYTES],
    counter: u64,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl ChunkCipher {
    fn new(aead: Aead, enc: &[u8], response_nonce: &[u8], secret: &[u8]) -> ChunkCipher {
        let salt = [enc, response_nonce].concat();
        let prk = Salt::new(HKDF_SHA256, &salt).extract(secret);
        let mut key = Zeroizing::new(vec![0u8; aead.key_bytes()]);
        let mut nonce = [0u8; NONCE_BYTES];
        let filled = prk
            .expand(&[b"key"], Length(aead.key_bytes()))
            .and_then(|okm| okm.fill(&mut key))
            .and_then(|()| prk.expand(&[b"nonce"], Length(NONCE_BYTES)))
            .and_then(|okm| okm.fill(&mut nonce))
            .and_then(|()| UnboundKey::new(aead.ring(), &key));
        match filled {
            Ok(unbound) => ChunkCipher { key: LessSafeKey::new(unbound), nonce, counter: 0 },
            Err(never) => unreachable!("key and nonce lengths are the cipher's own: {never}"),
        }
    }

    /// The nonce of the next chunk: base nonce XOR counter, never used twice.
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.nonce;
        for (byte, count) in nonce[NONCE_BYTES - 8..].iter_mut().zip(self.counter.to_be_bytes()) {
            *byte ^= count;
        }
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

fn aad(is_final: bool) -> Aad<&'static [u8]> {
    Aad::from(if is_final { FINAL } else { b"" })
}

/// Seals the chunks of one answer.
pub struct AnswerSealer {
    cipher: ChunkCipher,
    response_nonce: Option<Vec<u8>>,
}

impl AnswerSealer {
    pub(super) fn new(
        aead: Aead,
        enc: &[u8],
        secret: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> AnswerSealer {
        let mut response_nonce = vec![0u8; aead.entropy_bytes()];
        rng.fill_bytes(&mut response_nonce);
        let cipher = ChunkCipher::new(aead, enc, &response_nonce, secret);
        AnswerSealer { cipher, response_nonce: Some(response_nonce) }
    }

    /// Seals more of the answer. Empty input gives no chunk. The first output carries the nonce.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = self.response_nonce.take().unwrap_or_default();
        for chunk in plaintext.chunks(MAX_CHUNK_BYTES) {
            self.seal_chunk(chunk, false, &mut out);
        }
        out
    }

    /// Seals the last of the answer and marks its end.
    pub fn finish(mut self, plaintext: &[u8]) -> Vec<u8> {
        let (body, last) = plaintext.split_at(plaintext.len() - plaintext.len() % MAX_CHUNK_BYTES);
        let mut out = self.seal(body);
        self.seal_chunk(last, true, &mut out);
        out
    }

    fn seal_chunk(&mut self, chunk: &[u8], is_final: bool, out: &mut Vec<u8>) {
        let nonce = self.cipher.next_nonce();
        let mut sealed = Vec::with_capacity(chunk.len() + TAG_BYTES);
        sealed.extend_from_slice(chunk);
        match self.cipher.key.seal_in_place_append_tag(nonce, aad(is_final), &mut sealed) {
            Ok(()) => write_chunk(&sealed, is_final, out),
            Err(never) => unreachable!("a chunk is far below the cipher's limit: {never}"),
        }
    }
}

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A chunk is too long.
    #[error("answer is badly framed")]
    Framing,
    /// A chunk does not authenticate: altered, reordered, or sealed by somebody else.
    #[error("answer chunk {index} does not authenticate")]
    Decrypt {
        /// Which chunk, from 0.
        index: u64,
    },
    /// The stream ended before the final chunk.
    #[error("answer was cut before its end: fetch it again by its hold id")]
    Truncated,
    /// An empty non-final chunk (forbidden by the draft).
    #[error("answer has an empty chunk")]
    EmptyChunk,
    /// What was inside is not an HTTP response.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Opens the answer to one sealed request; made together with it, and by nothing else.
pub struct AnswerOpener {
    aead: Aead,
    enc: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
    head: Vec<u8>,
    cipher: Option<ChunkCipher>,
    chunks: ChunkReader,
    parser: AnswerParser,
}

impl AnswerOpener {
    pub(super) fn new(aead: Aead, enc: Vec<u8>, secret: Zeroizing<Vec<u8>>) -> AnswerOpener {
        AnswerOpener {
            aead,
            enc,
            secret,
            head: Vec::new(),
            cipher: None,
            chunks: ChunkReader::default(),
            parser: AnswerParser::default(),
        }
    }

    /// Forgets what was received, so that the same answer can be opened from its start again
    /// (a refetch by hold id).
    pub fn restart(&mut self) {
        self.head.clear();
        self.cipher = None;
        self.chunks = ChunkReader::default();
        self.parser = AnswerParser::default();
    }

    /// Takes bytes from the connection; gives what they open to.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<AnswerEvent>, OpenError> {
        let rest = self.take_nonce(bytes);
        self.chunks.push(rest).map_err(|_| OpenError::Framing)?;
        let mut events = Vec::new();
        while let Some(cipher) = &mut self.cipher {
            let Some(chunk) = self.chunks.next_chunk().map_err(|_| OpenError::Framing)? else {
                break;
            };
            let opened = open_chunk(cipher, chunk, false)?;
            if opened.is_empty() {
                return Err(OpenError::EmptyChunk);
            }
            events.extend(self.parser.push(&opened)?);
        }
        Ok(events)
    }

    /// The connection ended: opens the final chunk, or says that there is none.
    pub fn finish(&mut self) -> Result<Vec<AnswerEvent>, OpenError> {
        let cipher = self.cipher.as_mut().ok_or(OpenError::Truncated)?;
        let last = self.chunks.final_chunk().ok_or(OpenError::Truncated)?;
        let opened = open_chunk(cipher, last, true)?;
        let mut events = self.parser.push(&opened)?;
        events.extend(self.parser.finish()?);
        Ok(events)
    }

    fn take_nonce<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.cipher.is_some() {
            return bytes;
        }
        let missing = self.aead.entropy_bytes() - self.head.len();
        let (nonce, rest) = bytes.split_at(missing.min(bytes.len()));
        self.head.extend_from_slice(nonce);
        if self.head.len() == self.aead.entropy_bytes() {
            let cipher = ChunkCipher::new(self.aead, &self.enc, &self.head, &self.secret);
            self.cipher = Some(cipher);
        }
        rest
    }
}

fn open_chunk(
    cipher: &mut ChunkCipher,
    mut chunk: Vec<u8>,
    is_final: bool,
) -> Result<Vec<u8>, OpenError> {
    let index = cipher.counter;
    let nonce = cipher.next_nonce();
    let length = cipher
        .key
        .open_in_place(nonce, aad(is_final), &mut chunk)
        .map_err(|_| OpenError::Decrypt { index })?
        .len();
    chunk.truncate(length);
    Ok(chunk)
}
