//! The attestation statement of aci/1 (§3.2): the one line whose SHA-256 is REPORT_DATA.

use data_encoding::HEXLOWER;

use crate::ids::Digest;

/// A client's challenge: 32 random bytes.
pub type Nonce = [u8; 32];

/// What REPORT_DATA commits to. A verifier builds this itself and never reads it from anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Digest of the keyset's JCS form.
    pub keyset_digest: Digest,
    /// The client's challenge, or `None` for the cacheable form that proves no freshness.
    pub nonce: Option<Nonce>,
}

impl Statement {
    /// The exact bytes that are hashed.
    pub fn bytes(&self) -> Vec<u8> {
        let digest = self.keyset_digest;
        let nonce = match &self.nonce {
            Some(nonce) => format!("\"{}\"", HEXLOWER.encode(nonce)),
            None => "null".to_owned(),
        };
        format!(
            "{{\"keyset_digest\":\"sha256:{digest}\",\"nonce\":{nonce},\"purpose\":\"aci.report_data.v1\"}}"
        )
        .into_bytes()
    }
}

/// A nonce parameter that is not 64 lower-case hex characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nonce must be exactly 64 lower-case hex characters")]
pub struct NonceError;

/// Reads the `nonce` query parameter (aci/1 §3.2).
pub fn parse_nonce(text: &str) -> Result<Nonce, NonceError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NonceError)?;
    bytes.try_into().map_err(|_| NonceError)
}

/// REPORT_DATA for a statement's SHA-256: the digest in bytes 0..31, zero in bytes 32..63.
pub fn report_data(statement_sha256: &Digest) -> [u8; 64] {
    let mut slot = [0u8; 64];
    slot[..32].copy_from_slice(&statement_sha256.0);
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_published_vectors() {
        let keyset_digest = Digest::from_prefixed(
            "sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371",
        )
        .unwrap();
        let nonce: Nonce = std::array::from_fn(|i| i as u8);
        let with = Statement { keyset_digest, nonce: Some(nonce) }.bytes();
        assert_eq!(
            String::from_utf8(with).unwrap(),
            r#"{"keyset_digest":"sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371","nonce":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","purpose":"aci.report_data.v1"}"#
        );
        let without = Statement { keyset_digest, nonce: None }.bytes();
        assert!(String::from_utf8(without).unwrap().contains(r#""nonce":null,"#));
    }

    #[test]
    fn refuses_short_upper_case_and_long_nonces() {
        for bad in ["", "00", &"AA".repeat(32), &"aa".repeat(33)] {
            assert_eq!(parse_nonce(bad), Err(NonceError));
        }
        assert!(parse_nonce(&"aa".repeat(32)).is_ok());
    }
}
