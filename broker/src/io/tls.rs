//! TLS 1.3 both ways: our own certificate, and enclaves known by their attested key.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bulla_attestation::hash::sha256;
use bulla_wire::ids::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme, version};

use super::folder::{DataFolder, FolderError, read, read_secret, write_new};
use crate::config::Config;

const OWN_CERTIFICATE: &str = "tls.pem";
const OWN_KEY: &str = "tls.key";

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The files.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A certificate or key that does not read.
    #[error("TLS: {what} does not read: {reason}")]
    Unreadable {
        /// Which file.
        what: String,
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

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup { reason: error.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Our own side: the configuration and the digest of our SubjectPublicKeyInfo, which clients may
/// pin. A certificate of our own is made at the first start.
pub fn server_config(
    config: &Config,
    folder: &DataFolder,
) -> Result<(ServerConfig, Digest), TlsError> {
    let (certificate, key) = match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => (config.path(certificate), config.path(key)),
        _ => {
            let (certificate, key) = (folder.file(OWN_CERTIFICATE), folder.file(OWN_KEY));
            if !certificate.exists() {
                make_certificate(&config.tls.names, &certificate, &key)?;
            }
            (certificate, key)
        }
    };
    let chain = read_chain(&certificate)?;
    let key = read_key(&key)?;
    let spki = match chain.first() {
        Some(first) => spki_sha256(first).map_err(setup)?,
        None => {
            let (what, reason) = (certificate.display().to_string(), "no certificate".to_owned());
            return Err(TlsError::Unreadable { what, reason });
        }
    };
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(setup)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(setup)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((server, spki))
}

fn make_certificate(names: &[String], certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let made = rcgen::generate_simple_self_signed(names.to_vec()).map_err(setup)?;
    // The key first: a certificate on disk means that its key is there.
    write_new(key, made.signing_key.serialize_pem().as_bytes(), 0o600)?;
    Ok(write_new(certificate, made.cert.pem().as_bytes(), 0o644)?)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| {
        TlsError::Unreadable { what: path.display().to_string(), reason: format!("{e:?}") }
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read_secret(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| TlsError::Unreadable {
        what: path.display().to_string(),
        reason: format!("{e:?}"),
    })
}

/// Digest of a certificate's SubjectPublicKeyInfo.
fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<Digest, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(sha256(&parsed.subject_public_key_info()))
}

/// Which TLS keys an enclave may show.
#[derive(Debug, Clone)]
pub enum EnclaveKeys {
    /// Those of its attested keyset.
    Pinned(BTreeSet<Digest>),
    /// Any; each is noted, to be compared with the attested keyset before anything is believed.
    DangerousAny(SeenKeys),
}

/// Keys a server showed.
#[derive(Debug, Clone, Default)]
pub struct SeenKeys(Arc<Mutex<BTreeSet<Digest>>>);

impl SeenKeys {
    /// All of them.
    pub fn all(&self) -> BTreeSet<Digest> {
        self.0.lock().map(|keys| keys.clone()).unwrap_or_default()
    }
}

/// TLS towards an enclave.
pub fn client_config(keys: EnclaveKeys) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(KeyVerifier { keys, provider: provider.clone() });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Looks at the key only: anybody makes certificates around an attested key.
#[derive(Debug)]
struct KeyVerifier {
    keys: EnclaveKeys,
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
        let got = spki_sha256(end_entity)?;
        match &self.keys {
            EnclaveKeys::Pinned(pinned) if !pinned.contains(&got) => Err(Error::General(format!(
                "enclave shows TLS key {got}, which is not in its attested keyset"
            ))),
            EnclaveKeys::Pinned(_) => Ok(ServerCertVerified::assertion()),
            EnclaveKeys::DangerousAny(seen) => {
                // A poisoned set stays without this key, so the comparison afterwards fails.
                if let Ok(mut keys) = seen.0.lock() {
                    keys.insert(got);
                }
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 is required".to_owned()))
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
