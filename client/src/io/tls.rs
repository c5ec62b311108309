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

/// TLS 1.3 towards a server known by `identity`; towards one not known yet, which may be anybody's,
/// TLS 1.2 too.
pub fn client_config(identity: &ServerIdentity) -> Result<ClientConfig, TlsError> {
    let setup = |e: rustls::Error| TlsError::Setup { reason: e.to_string() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match identity {
        ServerIdentity::DangerousAny(_) => rustls::ALL_VERSIONS,
        ServerIdentity::Key(_) | ServerIdentity::Authorities(_) => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
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
    use crate::io::transport::{Transport, TransportError};
    use axum::Router;
    use axum::routing::get;
    use axum_server::tls_rustls::RustlsConfig;

    /// An HTTPS server for `localhost` with a key of its own: its port, certificate (PEM) and the
    /// digest of its key.
    async fn server() -> (u16, Vec<u8>, Digest) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = sha256(&Certificate::from_der(made.cert.der()).unwrap().spki);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = made.signing_key.serialize_der().try_into().unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], private)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = RustlsConfig::from_config(Arc::new(config));
        let router = Router::new().route("/", get(|| async { "hello" }));
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        tokio::spawn(server.serve(router.into_make_service()));
        (port, made.cert.pem().into_bytes(), key)
    }

    async fn fetch(url: &str, identity: ServerIdentity) -> Result<Vec<u8>, TransportError> {
        let transport = Transport::new(url, Some(&identity), None).unwrap();
        transport.fetch("/", 100).await.map(|bytes| bytes.to_vec())
    }

    #[tokio::test]
    async fn a_pinned_key_is_met_and_any_other_is_refused() {
        let (port, _, key) = server().await;
        let url = format!("https://127.0.0.1:{port}");
        assert_eq!(fetch(&url, ServerIdentity::Key(key)).await.unwrap(), b"hello");
        let other = Digest([1; 32]);
        let error = fetch(&url, ServerIdentity::Key(other)).await.unwrap_err();
        let TransportError::Connect { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains(&key.to_string()), "{reason}");
    }

    #[tokio::test]
    async fn an_authority_vouches_for_one_name_only() {
        let (port, pem, _) = server().await;
        let identity = ServerIdentity::Authorities(pem);
        let named = format!("https://localhost:{port}");
        assert_eq!(fetch(&named, identity.clone()).await.unwrap(), b"hello");
        let unnamed = format!("https://127.0.0.1:{port}");
        let error = fetch(&unnamed, identity).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
        let (_, stranger, _) = server().await;
        let error = fetch(&named, ServerIdentity::Authorities(stranger)).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_key_of_an_unknown_server_is_noted() {
        let (port, _, key) = server().await;
        let observed = ObservedKey::default();
        let identity = ServerIdentity::DangerousAny(observed.clone());
        fetch(&format!("https://127.0.0.1:{port}"), identity).await.unwrap();
        assert_eq!(observed.seen(), Some(key));
    }

    #[test]
    fn refuses_authorities_that_are_none() {
        for bad in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let identity = ServerIdentity::Authorities(bad.to_vec());
            let error = client_config(&identity).unwrap_err();
            assert!(matches!(error, TlsError::Authorities { .. }), "{error}");
        }
    }
}
