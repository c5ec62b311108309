//! The TLS key of one epoch: made in memory, pinned by the keyset, in a self-signed certificate.

use std::sync::Arc;

use bulla_attestation::hash::sha256;
use bulla_wire::ids::Digest;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server configuration and the digest of its key.
pub struct EpochTls {
    /// For the listener.
    pub server: Arc<ServerConfig>,
    /// SHA-256 of the SubjectPublicKeyInfo: goes into the keyset.
    pub spki: Digest,
}

/// Makes a fresh key (ECDSA P-256) and a certificate around it.
pub fn fresh(name: &str) -> Result<EpochTls, String> {
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let params = CertificateParams::new(vec![name.to_owned()]).map_err(|e| e.to_string())?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    let spki = sha256(&key.subject_public_key_info());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .map_err(|e| e.to_string())?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(EpochTls { server: Arc::new(server), spki })
}
