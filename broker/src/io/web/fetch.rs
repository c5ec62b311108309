//! One HTTP request to somebody else's server: its name resolved here, every address judged, no
//! redirect followed, bounded in time and size.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::io::folder::{FolderError, read};
use crate::webhook::{Network, Target, TargetError, permitted};

/// How long a whole request may take, the name's lookup included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Where systems keep the certificate authorities they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest bundle of certificate authorities, in bytes.
const MAX_AUTHORITIES_BYTES: u64 = 4 << 20;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing may be sent there.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The name does not resolve.
    #[error("{host} does not resolve")]
    Name {
        /// The name.
        host: String,
    },
    /// No connection, or one that broke.
    #[error("{host}: {reason}")]
    Connection {
        /// The name.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Too slow.
    #[error("no answer in {} s", FETCH_TIMEOUT.as_secs())]
    Timeout,
    /// Too large.
    #[error("the answer has more than {most_bytes} bytes")]
    TooLarge {
        /// What was allowed.
        most_bytes: usize,
    },
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(String),
}

/// Sends requests.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    private_networks: Vec<Network>,
}

impl Fetcher {
    /// Trusting the system's certificate authorities and those in `ca`.
    pub fn new(ca: Option<&Path>, private_networks: &[Network]) -> Result<Fetcher, FolderError> {
        let mut roots = RootCertStore::empty();
        let fits = |path: &str| {
            std::fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_AUTHORITIES_BYTES)
        };
        if let Some(system) = SYSTEM_AUTHORITIES.iter().find(|path| fits(path))
            && let Ok(pem) = std::fs::read(system)
        {
            // One that does not read is one less to trust.
            let readable = CertificateDer::pem_slice_iter(&pem).flatten();
            roots.add_parsable_certificates(readable);
        }
        if let Some(path) = ca {
            let damaged = || FolderError::Damaged {
                path: path.to_owned(),
                expected: "certificate authorities (PEM)",
            };
            for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
                let certificate = certificate.map_err(|_| damaged())?;
                roots.add(certificate).map_err(|_| damaged())?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| FolderError::Io {
                path: ca.unwrap_or(Path::new("TLS")).to_owned(),
                reason: error.to_string(),
            })?;
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Fetcher { tls: Arc::new(tls), private_networks: private_networks.to_vec() })
    }

    /// Sends `request`, whose URI is a path, to `target`; takes at most `most_bytes` of an answer.
    pub async fn send(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let sent = self.try_send(target, request, most_bytes);
        tokio::time::timeout(FETCH_TIMEOUT, sent).await.map_err(|_| FetchError::Timeout)?
    }

    async fn try_send(
        &self,
        target: &Target,
        mut request: Request<Full<Bytes>>,
        most_bytes: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let host = target.host.clone();
        let broken = |reason: String| FetchError::Connection { host: host.clone(), reason };
        let host_header = target.authority().parse();
        request
            .headers_mut()
            .insert(HOST, host_header.map_err(|_| FetchError::Request("host".to_owned()))?);
        let stream = self.connect(target).await?;
        let response = if target.tls {
            let name = ServerName::try_from(target.host.clone());
            let name = name.map_err(|error| broken(error.to_string()))?;
            let connector = TlsConnector::from(self.tls.clone());
            let tls = connector.connect(name, stream).await.map_err(|e| broken(e.to_string()))?;
            exchange(tls, request).await
        } else {
            exchange(stream, request).await
        };
        let response = response.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, most_bytes).collect().await;
        let body = body.map_err(|_| FetchError::TooLarge { most_bytes })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    /// Connects to an address that was judged, and to no other the name may have a moment later.
    async fn connect(&self, target: &Target) -> Result<TcpStream, FetchError> {
        let host = target.host.clone();
        let addresses: Vec<IpAddr> = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
                let found = found.map_err(|_| FetchError::Name { host: host.clone() })?;
                found.map(|address| address.ip()).collect()
            }
        };
        let mut reason = "no address".to_owned();
        for address in
            permitted(&addresses, &self.private_networks)?.into_iter().take(MAX_ADDRESSES)
        {
            let connecting = TcpStream::connect(SocketAddr::new(address, target.port));
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = "no connection in time".to_owned(),
            }
        }
        Err(FetchError::Connection { host, reason })
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Ends with the answer's body.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(|error| error.to_string())
}
