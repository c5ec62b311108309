//! Asks the vendors' services, and nobody else: https to the hosts of [`SERVICES`], certificates
//! under the public roots that Mozilla keeps, no redirects, no proxies, sizes and times limited.
//!
//! [`SERVICES`]: crate::endorsements::SERVICES

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bulla_attestation::endorsement::Endorsements;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use crate::endorsements::{Need, Piece, Request, Unfetchable};
use crate::io::transport::printable;

/// Time for connecting, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Time for a whole answer, in milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 30_000;
/// How often one thing is asked for, when the service says "not now".
const MAX_ATTEMPTS: usize = 3;
/// Longest wait a service may ask for, in seconds; longer is told to the person instead.
const MAX_WAIT_S: u64 = 30;
/// Wait when a service says "not now" without saying how long, in seconds (AMD's limit is one
/// certificate per ten seconds and address).
const USUAL_WAIT_S: u64 = 10;
/// Longest issuer chain in a header, in bytes (ours; Intel's has 2.5 KiB).
const MAX_CHAIN_HEADER_BYTES: usize = 16 << 10;

/// Why an endorsement was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody has it.
    #[error(transparent)]
    Unfetchable(#[from] Unfetchable),
    /// No TLS.
    #[error("no TLS: {reason}")]
    Tls {
        /// What the library says.
        reason: String,
    },
    /// No connection: most likely this machine is offline.
    #[error("{host} cannot be reached: {reason}")]
    Connect {
        /// The host.
        host: &'static str,
        /// What the network says.
        reason: String,
    },
    /// The connection broke.
    #[error("connection to {host} broke: {reason}")]
    Broken {
        /// The host.
        host: &'static str,
        /// What the network says.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer from {host} within {timeout_ms} ms")]
    Timeout {
        /// The host.
        host: &'static str,
        /// How long it had.
        timeout_ms: u64,
    },
    /// The answer is larger than its limit.
    #[error("answer of {host} exceeds {max_bytes} bytes")]
    TooLong {
        /// The host.
        host: &'static str,
        /// The limit.
        max_bytes: usize,
    },
    /// A redirect, which is never followed.
    #[error("{host} redirects ({status}) to {location:?}, which is not followed")]
    Redirect {
        /// The host.
        host: &'static str,
        /// HTTP status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// The service has no such thing.
    #[error("{host} does not have it (404)")]
    NotFound {
        /// The host.
        host: &'static str,
    },
    /// Asked too often.
    #[error("{host} asks for less: try again {}", .retry_after_s.map_or("later".to_owned(), |s| format!("in {s} s")))]
    RateLimited {
        /// The host.
        host: &'static str,
        /// After how many seconds, where it says so.
        retry_after_s: Option<u64>,
    },
    /// Any other status.
    #[error("{host} answered with status {status}")]
    Status {
        /// The host.
        host: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// Something else than what was asked for.
    #[error("{host} answered with {what}, not with what was asked for")]
    OtherContent {
        /// The host.
        host: &'static str,
        /// What came.
        what: String,
    },
}

impl FetchError {
    /// Whether the way to the service failed, rather than the service.
    pub fn is_offline(&self) -> bool {
        matches!(self, FetchError::Connect { .. } | FetchError::Timeout { .. })
    }
}

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Asks the vendors' services.
pub struct Fetcher {
    roots: Arc<RootCertStore>,
    /// For tests: every service is played by this address, under its own name.
    stand_in: Option<SocketAddr>,
    answer_timeout_ms: u64,
}

impl Fetcher {
    /// Over the network, under public roots.
    pub fn public() -> Fetcher {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let answer_timeout_ms = ANSWER_TIMEOUT_MS;
        Fetcher { roots: Arc::new(roots), stand_in: None, answer_timeout_ms }
    }

    /// A stand-in for all services at one address, under a root of its own.
    #[cfg(test)]
    pub(crate) fn stand_in(
        address: SocketAddr,
        roots: RootCertStore,
        answer_timeout_ms: u64,
    ) -> Fetcher {
        Fetcher { roots: Arc::new(roots), stand_in: Some(address), answer_timeout_ms }
    }

    /// Fetches what meets `need` at the second `now`: the endorsement, and the certificates that
    /// came along with it, each as a piece of its own. Nothing of it is verified.
    pub async fn fetch(&self, need: &Need, now: i64) -> Result<Vec<Vec<u8>>, FetchError> {
        let request = Request::of(need)?;
        let host = request.service.host;
        let answer = self.ask(&request).await?;
        let piece = Piece::read(&answer.body).filter(|piece| piece.meets(need, now));
        if piece.is_none() {
            let what = match Piece::read(&answer.body) {
                Some(other) => other.words(),
                None => format!("{} bytes of {}", answer.body.len(), answer.media),
            };
            return Err(FetchError::OtherContent { host, what });
        }
        let mut pieces = one_by_one(&answer.body);
        pieces.extend(answer.chain.iter().flat_map(|pem| one_by_one(pem)));
        pieces.dedup();
        Ok(pieces)
    }

    /// One request, again after a while when the service says "not now".
    async fn ask(&self, request: &Request) -> Result<Answer, FetchError> {
        let client = self.client(request.service.host)?;
        let mut attempts = 1;
        loop {
            match self.ask_once(&client, request).await {
                Err(FetchError::RateLimited { retry_after_s, .. })
                    if attempts < MAX_ATTEMPTS
                        && retry_after_s.unwrap_or(USUAL_WAIT_S) <= MAX_WAIT_S =>
                {
                    attempts += 1;
                    let wait_s = retry_after_s.unwrap_or(USUAL_WAIT_S);
                    tokio::time::sleep(Duration::from_secs(wait_s)).await;
                }
                other => return other,
            }
        }
    }

    async fn ask_once(&self, client: &Https, request: &Request) -> Result<Answer, FetchError> {
        let (host, timeout_ms) = (request.service.host, self.answer_timeout_ms);
        let exchange = async {
            let answer = client.request(self.http(request)?).await.map_err(|error| {
                let reason = innermost(&error);
                match error.is_connect() {
                    true => FetchError::Connect { host, reason },
                    false => FetchError::Broken { host, reason },
                }
            })?;
            read(answer, request).await
        };
        match tokio::time::timeout(Duration::from_millis(timeout_ms), exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout { host, timeout_ms }),
        }
    }

    fn http(&self, request: &Request) -> Result<HttpRequest<Full<Bytes>>, FetchError> {
        let host = request.service.host;
        let authority = self.stand_in.map_or(host.to_owned(), |address| address.to_string());
        let builder = HttpRequest::builder()
            .method(request.method())
            .uri(format!("https://{authority}{}", request.path))
            .header(HOST, host)
            .header(USER_AGENT, "bulla");
        let builder = match request.body {
            Some(_) => builder.header(CONTENT_TYPE, "application/ocsp-request"),
            None => builder,
        };
        let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
        builder.body(body).map_err(|e| FetchError::Broken { host, reason: e.to_string() })
    }

    fn client(&self, host: &'static str) -> Result<Https, FetchError> {
        let failed = |reason: String| FetchError::Tls { reason };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| failed(e.to_string()))?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(host).map_err(|e| failed(e.to_string()))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .wrap_connector(http);
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(0)
            .build(connector))
    }
}

/// What a service answered.
struct Answer {
    body: Vec<u8>,
    media: String,
    /// The issuer chain from the header, PEM.
    chain: Option<Vec<u8>>,
}

async fn read(answer: Response<Incoming>, request: &Request) -> Result<Answer, FetchError> {
    let (host, max_bytes) = (request.service.host, request.max_bytes);
    check_status(host, answer.status(), answer.headers())?;
    let headers = answer.headers();
    let text =
        |name| headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
    if let Some(encoding) = text(CONTENT_ENCODING.as_str()).filter(|e| *e != "identity") {
        let what = format!("an encoding nobody asked for ({})", printable(encoding));
        return Err(FetchError::OtherContent { host, what });
    }
    let media = printable(text(CONTENT_TYPE.as_str()).unwrap_or("no stated type"));
    let chain = request.chain_header.and_then(text).map(percent_decoded);
    if chain.as_ref().is_some_and(|chain| chain.len() > MAX_CHAIN_HEADER_BYTES) {
        let what = "an issuer chain beyond its limit".to_owned();
        return Err(FetchError::OtherContent { host, what });
    }
    match Limited::new(answer.into_body(), max_bytes).collect().await {
        Ok(body) => Ok(Answer { body: body.to_bytes().to_vec(), media, chain }),
        Err(e) if e.is::<LengthLimitError>() => Err(FetchError::TooLong { host, max_bytes }),
        Err(e) => Err(FetchError::Broken { host, reason: innermost(e.as_ref()) }),
    }
}

fn check_status(
    host: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), FetchError> {
    let text = |name: hyper::header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    match status.as_u16() {
        200 => Ok(()),
        404 => Err(FetchError::NotFound { host }),
        429 | 503 => {
            // The other form, a date, is a wait of unknown length to us: no clock here.
            let retry_after_s = text(RETRY_AFTER).and_then(|value| value.trim().parse().ok());
            Err(FetchError::RateLimited { host, retry_after_s })
        }
        status @ 300..=399 => {
            let location = printable(text(LOCATION).unwrap_or("nowhere"));
            Err(FetchError::Redirect { host, status, location })
        }
        status => Err(FetchError::Status { host, status }),
    }
}

/// The certificates of a chain each by itself; anything else as it is.
fn one_by_one(bytes: &[u8]) -> Vec<Vec<u8>> {
    let found = Endorsements::sort([bytes]);
    let is_chain = bytes.starts_with(b"-----BEGIN") && found.crls.is_empty();
    match is_chain {
        true => found.certificates.into_iter().map(|certificate| certificate.der).collect(),
        false => vec![bytes.to_vec()],
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        let value = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(value.unwrap_or(first));
        rest = after.get(if value.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

/// The last cause in the chain: the one that says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    printable(&cause.to_string())
}
