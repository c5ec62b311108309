//! The cipher suites, and the one place where one is chosen.

/// Key encapsulation mechanisms (HPKE KEM ids).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kem {
    /// X-Wing: ML-KEM-768 with X25519; holds against a quantum computer that records today.
    XWing,
    /// DHKEM(X25519, HKDF-SHA256) (RFC 9180 §7.1).
    X25519,
}

impl Kem {
    /// The id on the wire.
    pub fn id(self) -> u16 {
        match self {
            Kem::XWing => 0x647a,
            Kem::X25519 => 0x0020,
        }
    }

    /// Length of a public key, in bytes.
    pub fn public_key_bytes(self) -> usize {
        match self {
            Kem::XWing => 1216,
            Kem::X25519 => 32,
        }
    }

    /// Length of an encapsulated key, in bytes.
    pub fn enc_bytes(self) -> usize {
        match self {
            Kem::XWing => 1120,
            Kem::X25519 => 32,
        }
    }

    pub(super) fn from_id(id: u16) -> Option<Kem> {
        [Kem::XWing, Kem::X25519].into_iter().find(|kem| kem.id() == id)
    }
}

/// Authenticated ciphers (HPKE AEAD ids).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aead {
    /// AES-128-GCM.
    Aes128Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Aead {
    /// The id on the wire.
    pub fn id(self) -> u16 {
        match self {
            Aead::Aes128Gcm => 0x0001,
            Aead::ChaCha20Poly1305 => 0x0003,
        }
    }

    pub(super) fn from_id(id: u16) -> Option<Aead> {
        [Aead::Aes128Gcm, Aead::ChaCha20Poly1305].into_iter().find(|aead| aead.id() == id)
    }

    pub(super) fn key_bytes(self) -> usize {
        match self {
            Aead::Aes128Gcm => 16,
            Aead::ChaCha20Poly1305 => 32,
        }
    }

    /// `max(Nn, Nk)` of RFC 9458 §4.4: length of the response nonce, in bytes.
    pub(super) fn entropy_bytes(self) -> usize {
        self.key_bytes().max(NONCE_BYTES)
    }

    pub(super) fn ring(self) -> &'static ring::aead::Algorithm {
        match self {
            Aead::Aes128Gcm => &ring::aead::AES_128_GCM,
            Aead::ChaCha20Poly1305 => &ring::aead::CHACHA20_POLY1305,
        }
    }
}

/// HPKE KDF id of HKDF-SHA256.
pub(super) const KDF_HKDF_SHA256: u16 = 0x0001;
/// `Nn` of both ciphers.
pub(super) const NONCE_BYTES: usize = 12;
/// Length of an authentication tag of both ciphers, in bytes.
pub(super) const TAG_BYTES: usize = 16;

/// Runs `$body` with `$A` and `$K` bound to the `hpke` types of a suite.
macro_rules! with_suite {
    ($kem:expr, $aead:expr, |$K:ident, $A:ident| $body:expr) => {
        match ($kem, $aead) {
            (Kem::XWing, Aead::Aes128Gcm) => {
                type $K = hpke::kem::XWing;
                type $A = hpke::aead::AesGcm128;
                $body
            }
            (Kem::XWing, Aead::ChaCha20Poly1305) => {
                type $K = hpke::kem::XWing;
                type $A = hpke::aead::ChaCha20Poly1305;
                $body
            }
            (Kem::X25519, Aead::Aes128Gcm) => {
                type $K = hpke::kem::X25519HkdfSha256;
                type $A = hpke::aead::AesGcm128;
                $body
            }
            (Kem::X25519, Aead::ChaCha20Poly1305) => {
                type $K = hpke::kem::X25519HkdfSha256;
                type $A = hpke::aead::ChaCha20Poly1305;
                $body
            }
        }
    };
}
pub(super) use with_suite;
