//! The key configuration of RFC 9458 §3: which key, which KEM, which ciphers.

use super::suite::{Aead, KDF_HKDF_SHA256, Kem};

/// Longest key configuration: header, an X-Wing key and a handful of suites, in bytes.
pub const MAX_CONFIG_BYTES: usize = 2048;

/// A parsed key configuration with the suite a client of ours picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfiguration {
    /// Key identifier.
    pub key_id: u8,
    /// Key encapsulation mechanism.
    pub kem: Kem,
    /// First cipher in the list that we speak.
    pub aead: Aead,
    /// The public key, in the KEM's own encoding.
    pub public_key: Vec<u8>,
}

/// Why bytes are not a key configuration we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Wrong length somewhere.
    #[error("malformed key configuration: {what}")]
    Malformed {
        /// Where.
        what: &'static str,
    },
    /// A KEM we do not speak.
    #[error("unknown KEM 0x{id:04x}")]
    UnknownKem {
        /// Its id.
        id: u16,
    },
    /// No suite of HKDF-SHA256 with AES-128-GCM or ChaCha20-Poly1305.
    #[error("no cipher suite in common")]
    NoSuite,
}

impl KeyConfiguration {
    /// Reads a single configuration (not the list of `application/ohttp-keys`).
    pub fn parse(bytes: &[u8]) -> Result<KeyConfiguration, ConfigError> {
        let malformed = |what| ConfigError::Malformed { what };
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(malformed("too long"));
        }
        let (&[key_id, k0, k1], rest) =
            bytes.split_first_chunk::<3>().ok_or(malformed("header"))?;
        let id = u16::from_be_bytes([k0, k1]);
        let kem = Kem::from_id(id).ok_or(ConfigError::UnknownKem { id })?;
        let (public_key, rest) =
            rest.split_at_checked(kem.public_key_bytes()).ok_or(malformed("public key"))?;
        let (&length, suites) = rest.split_first_chunk::<2>().ok_or(malformed("suites length"))?;
        let length = usize::from(u16::from_be_bytes(length));
        if length != suites.len() || length % 4 != 0 || length == 0 {
            return Err(malformed("suites length"));
        }
        let aead = suites.as_chunks::<4>().0.iter().find_map(known_aead);
        let aead = aead.ok_or(ConfigError::NoSuite)?;
        Ok(KeyConfiguration { key_id, kem, aead, public_key: public_key.to_vec() })
    }

    /// Writes the configuration with both ciphers, the preferred one first.
    pub fn to_vec(&self) -> Vec<u8> {
        let second = match self.aead {
            Aead::Aes128Gcm => Aead::ChaCha20Poly1305,
            Aead::ChaCha20Poly1305 => Aead::Aes128Gcm,
        };
        let mut bytes = vec![self.key_id];
        bytes.extend_from_slice(&self.kem.id().to_be_bytes());
        bytes.extend_from_slice(&self.public_key);
        bytes.extend_from_slice(&8u16.to_be_bytes());
        for aead in [self.aead, second] {
            bytes.extend_from_slice(&KDF_HKDF_SHA256.to_be_bytes());
            bytes.extend_from_slice(&aead.id().to_be_bytes());
        }
        bytes
    }
}

fn known_aead(suite: &[u8; 4]) -> Option<Aead> {
    let [kdf0, kdf1, aead0, aead1] = *suite;
    if u16::from_be_bytes([kdf0, kdf1]) != KDF_HKDF_SHA256 {
        return None;
    }
    Aead::from_id(u16::from_be_bytes([aead0, aead1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> KeyConfiguration {
        KeyConfiguration {
            key_id: 1,
            kem: Kem::X25519,
            aead: Aead::ChaCha20Poly1305,
            public_key: vec![7; 32],
        }
    }

    #[test]
    fn round_trips() {
        assert_eq!(KeyConfiguration::parse(&config().to_vec()), Ok(config()));
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = config().to_vec();
        for cut in 0..bytes.len() {
            assert!(KeyConfiguration::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_an_unknown_kem_and_no_common_suite() {
        let mut bytes = config().to_vec();
        bytes[2] = 0x21;
        assert_eq!(KeyConfiguration::parse(&bytes), Err(ConfigError::UnknownKem { id: 0x0021 }));
        let mut bytes = config().to_vec();
        let suites = bytes.len() - 8;
        bytes[suites..].fill(0xff);
        assert_eq!(KeyConfiguration::parse(&bytes), Err(ConfigError::NoSuite));
    }
}
