//! How a server is known: by its own key, by an authority the customer named, or, for `bulla
//! verify`, by nothing until its evidence has been judged.

use std::sync::{Arc, Mutex};

use bulla_attestation::endorsement::Certificate;
use bulla_attestation::hash::sha256;
use bulla_wire::ids::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The key a server showed, by the digest of its SubjectPublicKeyInfo.
#[derive(Debug, Clone, Default)]
pub struct ObservedKey(Arc<Mutex<Option<Digest>>>);

impl ObservedKey {
    /// The last key seen.
    pub fn seen(&self) -> Option<Digest> {
        self.0.lock().map(|key| *key).unwrap_or(None)
    }

    fn see(&self, key: Digest) {
        if let Ok(mut slot) = self.0.lock() {
            *slot = Some(key);
        }
    }
}

/// How the server proves that it is the right one.
#[derive(Debug, Clone)]
pub enum ServerIdentity {
    /// Its TLS key has this SubjectPublicKeyInfo digest, whatever its certificate says.
    Key(Digest),
    /// An authority among these certificates (PEM) vouches for its name.
    Authorities(Vec<u8>),
    /// Not yet: any key is taken and noted, to be compared with an attested keyset afterwards.
    DangerousAny(ObservedKey),
}

/// Why there is no TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The authorities do not read.
    #[error("certificates of the authorities do not read: {reason}")]
    Authorities {
        /// What is wrong.
        reason: String,
    },
    /// The TLS library refuses.
    #[error("no TLS: {reason}")]
    Setup {
        /// What it says.
        reason: String,
    },
}

/// TLS 1.3 towards a server known by `identity`.
pub fn client_config(identity: &ServerIdentity) -> Result<ClientConfig, TlsError> {
    let setup = |e: rustls::Error| TlsError::Setup { reason: e.to_string() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?;
    let (pinned, observed) = match identity {
        ServerIdentity::Authorities(pem) => {
            return Ok(builder.with_root_certificates(roots(pem)?).with_no_client_auth());
        }
        ServerIdentity::Key(pinned) => (Some(*pinned), ObservedKey::default()),
        ServerIdentity::DangerousAny(observed) => (None, observed.clone()),
    };
    let verifier = Arc::new(KeyVerifier { pinned, observed, provider });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let failed = |reason: String| TlsError::Authorities { reason };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| failed(format!("{e:?}")))?;
        store.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    match store.is_empty() {
        true => Err(failed("no certificate in the file".to_owned())),
        false => Ok(store),
    }
}

/// Compares the key, not the certificate: certificates around an attested key are made freely.
#[derive(Debug)]
struct KeyVerifier {
    pinned: Option<Digest>,
    observed: ObservedKey,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = Certificate::from_der(end_entity)
            .map_err(|e| Error::General(format!("server certificate: {e}")))?;
        let got = sha256(&certificate.spki);
        self.observed.see(got);
        match self.pinned {
            Some(expected) if expected != got => Err(Error::General(format!(
                "server has another TLS key: expected spki_sha256 {expected}, got {got}"
            ))),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_authorities_that_are_none() {
        for bad in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let identity = ServerIdentity::Authorities(bad.to_vec());
            let error = client_config(&identity).unwrap_err();
            assert!(matches!(error, TlsError::Authorities { .. }), "{error}");
        }
    }
}
