//! A question to an OCSP responder (RFC 6960 §4.1) about one certificate, in DER. It carries no
//! nonce: the answer is kept and used again until its window ends.

use bulla_attestation::endorsement::Certificate;
use bulla_attestation::signature::PublicKey;
use ring::digest::{SHA384, digest};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
/// AlgorithmIdentifier of SHA-384 (2.16.840.1.101.3.4.2.2) without parameters: what NVIDIA's own
/// verifier names certificates with.
const SHA_384: [u8; 13] =
    [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// Longest serial number, in bytes (RFC 5280 §4.1.2.2 says 20; a leading zero may come before).
const MAX_SERIAL_BYTES: usize = 32;

/// The question about `certificate`, issued by `issuer`; `None` where the issuer's key has no form
/// that can be named.
pub fn ocsp_request(certificate: &Certificate, issuer: &Certificate) -> Option<Vec<u8>> {
    let key = match &issuer.public_key {
        PublicKey::Rsa(bytes) | PublicKey::P256(bytes) | PublicKey::P384(bytes) => bytes,
        PublicKey::Other(_) => return None,
    };
    if certificate.serial.len() > MAX_SERIAL_BYTES {
        return None;
    }
    let identifier = element(
        SEQUENCE,
        &[
            SHA_384.to_vec(),
            element(OCTETS, &[digest(&SHA384, &certificate.issuer.der).as_ref().to_vec()]),
            element(OCTETS, &[digest(&SHA384, key).as_ref().to_vec()]),
            element(INTEGER, std::slice::from_ref(&certificate.serial)),
        ],
    );
    // Request, requestList, tbsRequest, OCSPRequest.
    Some((0..4).fold(identifier, |inner, _| element(SEQUENCE, &[inner])))
}

/// One DER element of at most 65,535 bytes.
fn element(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of the simulated TEE: what matters here is DER.
    const ARK: &[u8] = include_bytes!("../../tests/fixtures/ark.der");
    const ASK: &[u8] = include_bytes!("../../tests/fixtures/ask.der");

    #[test]
    fn a_question_names_issuer_key_and_serial() {
        let issuer = Certificate::from_der(ARK).unwrap();
        let certificate = Certificate::from_der(ASK).unwrap();
        let request = ocsp_request(&certificate, &issuer).unwrap();
        // Four sequences around the identifier: its own head, and those of the other three.
        let content_bytes = 13 + 50 + 50 + 2 + certificate.serial.len() + 4 * 2;
        assert_eq!(request[..2], [SEQUENCE, content_bytes as u8]);
        let name = digest(&SHA384, &certificate.issuer.der);
        assert!(request.windows(48).any(|window| window == name.as_ref()));
        assert!(request.ends_with(&certificate.serial));
        let mut other = certificate;
        other.serial = vec![1; 33];
        assert_eq!(ocsp_request(&other, &issuer), None);
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        for (length, head) in [(0x7f, 2), (0x80, 3), (0xff, 3), (0x100, 4)] {
            assert_eq!(element(OCTETS, &[vec![0; length]]).len(), length + head);
        }
    }
}
