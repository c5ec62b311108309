//! Signed notes: text signed by one or more keys (C2SP signed-note).
//!
//! ```text
//! any text, ending in a newline
//!
//! — key.name/of-the-signer base64(key id || signature)
//! ```

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};

use crate::key::{KEY_BYTES, KEY_ID_BYTES, KeyError, KeyType, PrivateKey, PublicKey, check_name};
use crate::strict;

/// Bytes in a whole note: sixteen signatures, as verifiers must accept, of the 5 kB that
/// post-quantum ones take, twice over (C2SP signed-note).
pub const MAX_NOTE_BYTES: usize = 256 * 1024;

/// Signatures in a note; verifiers must accept 16 (C2SP signed-note).
pub const MAX_SIGNATURES: usize = 32;

/// Begins a signature line: em dash, space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why bytes are no signed note, or a signature could not be added to one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is too long.
    #[error("the note has {got} bytes, at most {MAX_NOTE_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// Not UTF-8.
    #[error("the note is not utf-8 (first bad byte at {at})")]
    Utf8 {
        /// Offset in bytes.
        at: usize,
    },
    /// A control character other than newline.
    #[error("the note holds control character {got:#04x} at byte {at}")]
    ControlCharacter {
        /// The character.
        got: u8,
        /// Offset in bytes.
        at: usize,
    },
    /// No blank line parts text from signatures.
    #[error("no blank line parts the note's text from its signatures")]
    NoSeparator,
    /// Text or signatures do not end in a newline.
    #[error("the note does not end in a newline")]
    NoFinalNewline,
    /// Nothing follows the blank line.
    #[error("the note has no signature")]
    NoSignature,
    /// Too many signatures.
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A signature line does not read em dash, space, name, space, base64.
    #[error("signature line {line} does not read: em dash, space, name, space, base64")]
    SignatureLine {
        /// Counted from 1 after the blank line.
        line: usize,
    },
    /// A signature line with a name that no key may have.
    #[error("signature line {line}: {source}")]
    SignatureName {
        /// Counted from 1 after the blank line.
        line: usize,
        /// What is wrong with the name.
        source: KeyError,
    },
}

/// Why a note's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteVerifyError {
    /// The key did not sign this note.
    #[error("no signature by {name} (key id {key_id})")]
    NotSigned {
        /// The key's name.
        name: String,
        /// The key's id, in hex.
        key_id: String,
    },
    /// A line names the key, and its signature is not the key's.
    #[error("the signature by {name} (key id {key_id}) is wrong: the note was altered or forged")]
    BadSignature {
        /// The key's name.
        name: String,
        /// The key's id, in hex.
        key_id: String,
    },
}

impl NoteVerifyError {
    pub(crate) fn not_signed(name: &str, id: [u8; KEY_ID_BYTES]) -> Self {
        Self::NotSigned { name: name.to_owned(), key_id: HEXLOWER.encode(&id) }
    }

    pub(crate) fn bad_signature(name: &str, id: [u8; KEY_ID_BYTES]) -> Self {
        Self::BadSignature { name: name.to_owned(), key_id: HEXLOWER.encode(&id) }
    }
}

/// One signature line, of whatever type: name, key id and the bytes after the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: [u8; KEY_ID_BYTES],
    signature: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn by(name: &str, key_id: [u8; KEY_ID_BYTES], signature: Vec<u8>) -> Self {
        Self { name: name.to_owned(), key_id, signature }
    }

    /// The signer's name, as claimed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, as claimed.
    pub fn key_id(&self) -> [u8; KEY_ID_BYTES] {
        self.key_id
    }

    /// Parses the lines with which a witness answers (C2SP tlog-witness, add-checkpoint):
    /// at least one, each ending in a newline.
    ///
    /// # Errors
    /// The variants of [`NoteError`] that concern signatures.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, NoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { got: text.len() });
        }
        if text.is_empty() {
            return Err(NoteError::NoSignature);
        }
        let lines = text.strip_suffix('\n').ok_or(NoteError::NoFinalNewline)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let numbered = lines.split('\n').zip(1..);
        numbered.map(|(text, line)| Self::parse_line(text, line)).collect()
    }

    fn parse_line(text: &str, line: usize) -> Result<Self, NoteError> {
        let malformed = NoteError::SignatureLine { line };
        let parts = text.strip_prefix(SIGNATURE_MARK).and_then(|rest| rest.split_once(' '));
        let Some((name, encoded)) = parts else {
            return Err(malformed);
        };
        check_name(name).map_err(|source| NoteError::SignatureName { line, source })?;
        let Some(bytes) = strict::base64(encoded) else {
            return Err(malformed);
        };
        match bytes.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
            }
            _ => Err(malformed),
        }
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_slice(), &self.signature].concat();
        write!(f, "{SIGNATURE_MARK}{} {}", self.name, BASE64.encode(&bytes))
    }
}

/// Text with its signatures, as parsed: **nothing is verified yet**. Signatures by unknown
/// keys are kept and ignored.
///
/// Base64 is read strictly, so printing a note gives the bytes it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Parses a signed note.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { got: bytes.len() });
        }
        let note = std::str::from_utf8(bytes)
            .map_err(|error| NoteError::Utf8 { at: error.valid_up_to() })?;
        check_characters(note)?;
        // The last blank line parts text and signatures: the text may have its own.
        let separator = bytes.windows(2).rposition(|pair| pair == b"\n\n");
        let (text, signatures) =
            separator.and_then(|at| note.split_at_checked(at + 1)).ok_or(NoteError::NoSeparator)?;
        let signatures = signatures.strip_prefix('\n').unwrap_or(signatures);
        Ok(Self { text: text.to_owned(), signatures: NoteSignature::parse_lines(signatures)? })
    }

    /// The text, with its final newline: what the signatures cover.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the note's order, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Appends a signature.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`], [`NoteError::TooLong`]; the note stays as it was.
    pub fn push_signature(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let got = self.to_string().len() + signature.to_string().len() + 1;
        if got > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { got });
        }
        self.signatures.push(signature);
        Ok(())
    }

    pub(crate) fn retain_signatures(&mut self, keep: impl Fn(&NoteSignature) -> bool) {
        self.signatures.retain(keep);
    }

    /// Checks the signature by this key. Where several lines carry the key's name and id,
    /// all of them must be right.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteVerifyError> {
        let mut signed = false;
        let PublicKey { name, id, .. } = &key.0;
        for signature in self.by(name, *id) {
            if !key.0.accepts(self.text.as_bytes(), signature) {
                return Err(NoteVerifyError::bad_signature(name, *id));
            }
            signed = true;
        }
        if !signed {
            return Err(NoteVerifyError::not_signed(name, *id));
        }
        Ok(())
    }

    /// The bytes of every signature that carries this key's name and id.
    pub(crate) fn by<'a>(
        &'a self,
        name: &'a str,
        key_id: [u8; KEY_ID_BYTES],
    ) -> impl Iterator<Item = &'a [u8]> {
        self.signatures
            .iter()
            .filter(move |line| line.name == name && line.key_id == key_id)
            .map(|line| line.signature.as_slice())
    }
}

impl fmt::Display for Note {
    /// The note's bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A note is text: of the ASCII control characters only newline may appear.
fn check_characters(note: &str) -> Result<(), NoteError> {
    let forbidden = |(_, byte): &(usize, u8)| *byte < 0x20 && *byte != b'\n';
    match note.bytes().enumerate().find(forbidden) {
        Some((at, got)) => Err(NoteError::ControlCharacter { got, at }),
        None => Ok(()),
    }
}

/// The public key of a note's signer (type 0x01, Ed25519), under its name.
///
/// Its text form is the `vkey` of signed-note: `name+id+base64(type || key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey(pub(crate) PublicKey);

impl VerifierKey {
    /// A key from its name and its 32 bytes.
    ///
    /// # Errors
    /// The variants of [`KeyError`] that concern the name.
    pub fn new(name: &str, public_key: [u8; KEY_BYTES]) -> Result<Self, KeyError> {
        PublicKey::new(name, KeyType::Note, public_key).map(Self)
    }

    /// Parses `name+id+key`.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        PublicKey::parse(text, KeyType::Note).map(Self)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key's id.
    pub fn key_id(&self) -> [u8; KEY_ID_BYTES] {
        self.0.id
    }

    /// Checks a signature over bytes that are no note ([`SignerKey::sign_other`]).
    pub fn accepts_other(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.accepts(message, signature)
    }

    /// The 32 bytes of the Ed25519 key.
    pub fn public_key(&self) -> &[u8; KEY_BYTES] {
        &self.0.bytes
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// The private key of a note's signer. No `Debug`; wiped on drop.
pub struct SignerKey(PrivateKey);

impl SignerKey {
    /// A key from its name and the 32-byte seed of RFC 8032. The caller wipes its own copy.
    ///
    /// # Errors
    /// The variants of [`KeyError`] that concern the name.
    pub fn from_seed(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        PrivateKey::new(name, KeyType::Note, seed).map(Self)
    }

    /// The key that verifies what this one signs.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey(self.0.public.clone())
    }

    /// Signs bytes that are no note: 64 bytes of Ed25519. The caller vouches that they cannot be
    /// read as the text of a note (COSE's `Sig_structure` begins with 0x84, which is no UTF-8).
    pub fn sign_other(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message)
    }

    /// Signs a text, which ends in a newline.
    ///
    /// # Errors
    /// [`NoteError::TooLong`], [`NoteError::ControlCharacter`], [`NoteError::NoFinalNewline`].
    pub fn sign(&self, text: &str) -> Result<Note, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        let PublicKey { name, id, .. } = &self.0.public;
        let signature = NoteSignature::by(name, *id, self.0.sign(text.as_bytes()));
        let mut note = Note { text: text.to_owned(), signatures: Vec::new() };
        note.push_signature(signature)?;
        Ok(note)
    }
}
