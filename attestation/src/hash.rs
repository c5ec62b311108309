//! SHA-256 with a domain, and the digests that have a meaning in bulla.

use bulla_wire::ids::{AccountHandle, Digest, PublicKey};
use bulla_wire::keyset::Keyset;
use bulla_wire::labels;
use bulla_wire::statement::Statement;

/// Plain SHA-256, for formats that fix it (aci/1, RFC 6962, SPKI pins).
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0u8; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest(out)
}

/// `SHA-256(u8(len(label)) || label || bytes)`: bytes of one meaning never hash like another's.
pub fn labelled(label: &'static str, bytes: &[u8]) -> Digest {
    let mut hasher = LabelledHasher::new(label);
    hasher.update(bytes);
    hasher.finish()
}

/// [`labelled`] over bytes that arrive in pieces.
pub struct LabelledHasher(ring::digest::Context);

impl LabelledHasher {
    /// Starts a digest under `label`.
    pub fn new(label: &'static str) -> LabelledHasher {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(&length_prefix(label));
        context.update(label.as_bytes());
        LabelledHasher(context)
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        let mut out = [0u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest(out)
    }
}

/// `HMAC-SHA-256(salt, u8(len(label)) || label || bytes)`: a commitment nobody can guess without the
/// salt, in pieces.
pub struct Commitment(ring::hmac::Context);

impl Commitment {
    /// Starts a commitment under `label`, keyed with the customer's sealed salt.
    pub fn new(label: &'static str, salt: &Digest) -> Commitment {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salt.0);
        let mut context = ring::hmac::Context::with_key(&key);
        context.update(&length_prefix(label));
        context.update(label.as_bytes());
        Commitment(context)
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The commitment so far.
    pub fn finish(&self) -> Digest {
        let mut out = [0u8; 32];
        out.copy_from_slice(self.0.clone().sign().as_ref());
        Digest(out)
    }
}

fn length_prefix(label: &'static str) -> [u8; 1] {
    // Labels are constants of bulla_wire::labels, all far below 256 bytes.
    [label.len() as u8]
}

/// Digest of a keyset: SHA-256 of its JCS form (aci/1 §3.1).
pub fn keyset_digest(keyset: &Keyset) -> Digest {
    sha256(&keyset.jcs())
}

/// Digest of a statement: what stands in REPORT_DATA (aci/1 §3.2).
pub fn statement_digest(statement: &Statement) -> Digest {
    sha256(&statement.bytes())
}

/// The account handle of an order key.
pub fn account_handle(order_key: &PublicKey) -> AccountHandle {
    AccountHandle(labelled(labels::ACCOUNT, &order_key.0).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_bytes_cannot_be_shifted_into_each_other() {
        assert_ne!(labelled("ab", b"c"), labelled("a", b"bc"));
    }

    #[test]
    fn statement_digest_is_the_published_vector() {
        let keyset_digest = Digest::from_prefixed(
            "sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371",
        )
        .unwrap();
        let nonce = Some(std::array::from_fn(|i| i as u8));
        assert_eq!(
            statement_digest(&Statement { keyset_digest, nonce }).to_string(),
            "df2174d28130852b413646a3786927b93e94c11d770268b65def8bdba45cb49e"
        );
        assert_eq!(
            statement_digest(&Statement { keyset_digest, nonce: None }).to_string(),
            "0633919ca3f00e97bafaa3304278eb22420cc3ff0d19f87dfca2d3f7508150bc"
        );
    }

    #[test]
    fn all_labels_differ() {
        let all = [
            labels::SEALED_REQUEST,
            labels::ORDER,
            labels::RECORD,
            labels::ACCOUNT,
            labels::PRICE_BOOK,
            labels::POLICY,
            labels::CONFIGURATION,
            labels::EVIDENCE,
            labels::CREDENTIAL,
            labels::COMMIT_REQUEST,
            labels::COMMIT_RESPONSE,
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
