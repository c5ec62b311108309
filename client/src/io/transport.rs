//! HTTP to one server: TLS 1.3 with a known key or authority, HTTP/1.1 or 2, limits and timeouts.
//! Plain HTTP goes to loopback only.

use std::time::Duration;

use bulla_wire::http::TRAILER_RECEIPT;
use bulla_wire::ids::TokenInput;
use bulla_wire::problem::{ErrorBody, ErrorObject, Problem};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use zeroize::Zeroizing;

use super::tls::{self, ServerIdentity, TlsError};

/// Largest error body that is read, in bytes.
pub const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Longest error message that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 500;
/// Time for connecting, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Time for a whole small answer, in milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 30_000;
/// How long an unused connection is kept, in milliseconds.
const IDLE_TIMEOUT_MS: u64 = 60_000;

/// Why a server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Not an address.
    #[error("not an http(s) address without path or query: {url:?}")]
    Url {
        /// The text, cut to 200 characters.
        url: String,
    },
    /// Plain HTTP to another machine.
    #[error("plain http is allowed to loopback only, got {host:?}: use https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection.
    #[error("{server} cannot be reached: {reason}; check the address, and that it is running")]
    Connect {
        /// The server.
        server: String,
        /// What the network says.
        reason: String,
    },
    /// The connection broke.
    #[error("connection to {server} broke: {reason}")]
    Broken {
        /// The server.
        server: String,
        /// What the network says.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer from {server} within {timeout_ms} ms")]
    Timeout {
        /// The server.
        server: String,
        /// How long it had.
        timeout_ms: u64,
    },
    /// The answer is larger than its limit.
    #[error("answer of {server} exceeds {max_bytes} bytes")]
    TooLong {
        /// The server.
        server: String,
        /// The limit.
        max_bytes: usize,
    },
    /// The server answered with a problem.
    #[error("{} ({})", .0.message, .0.problem.code())]
    Problem(Box<Refusal>),
    /// Something that cannot be sent.
    #[error("request cannot be sent: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
}

/// A problem as the server states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What it is, by its code, else by its status.
    pub problem: Problem,
    /// For people. Untrusted text, without control characters.
    pub message: String,
    /// A usage receipt beside the error, not verified.
    pub receipt: Option<Vec<u8>>,
    /// The blind tokens it says were spent before.
    pub spent: Vec<TokenInput>,
}

/// A way to one server.
pub struct Transport {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    credential: Option<Zeroizing<String>>,
}

impl Transport {
    /// Prepares a way to `url` (`https://HOST[:PORT]`). Nothing is sent yet.
    pub fn new(
        url: &str,
        identity: Option<&ServerIdentity>,
        credential: Option<Zeroizing<String>>,
    ) -> Result<Transport, TransportError> {
        Transport::of(base_of(url, is_loopback)?, identity, credential)
    }

    /// A way to a witness: over plain HTTP to any machine. What comes back is signed by a key that
    /// its reader knows, and nothing goes there but an order.
    pub fn to_witness(url: &str) -> Result<Transport, TransportError> {
        Transport::of(base_of(url, |_| true)?, None, None)
    }

    fn of(
        base: String,
        identity: Option<&ServerIdentity>,
        credential: Option<Zeroizing<String>>,
    ) -> Result<Transport, TransportError> {
        let fallback = ServerIdentity::Key(bulla_wire::ids::Digest([0; 32]));
        let tls = tls::client_config(identity.unwrap_or(&fallback))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Transport { base, client, credential })
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET`s a small answer of at most `max_bytes`.
    pub async fn fetch(&self, path: &str, max_bytes: usize) -> Result<Bytes, TransportError> {
        let answer = self.begin(Method::GET, path, &[], Bytes::new());
        self.small(answer, max_bytes).await
    }

    /// `POST`s `body` and reads a small answer.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Bytes, TransportError> {
        self.small(self.begin(Method::POST, path, headers, body), max_bytes).await
    }

    /// Sends a request; gives the answer's body to be read as it comes. An error status is an
    /// error, its body is read as a problem.
    pub async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Incoming, TransportError> {
        Ok(self.answer(method, path, headers, body).await?.into_body())
    }

    /// Sends a request and reads a small answer with its headers.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        max_bytes: usize,
    ) -> Result<(HeaderMap, Bytes), TransportError> {
        let mut found = HeaderMap::new();
        let answer = async {
            let answer = self.answer(method, path, headers, body).await?;
            let (head, body) = answer.into_parts();
            found = head.headers;
            Ok(body)
        };
        let body = self.small(answer, max_bytes).await?;
        Ok((found, body))
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, TransportError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("user-agent", concat!("bulla/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(credential) = &self.credential {
            request = request.header("authorization", format!("Bearer {}", credential.as_str()));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| TransportError::Request { reason: e.to_string() })?;
        let answer = self.client.request(request).await.map_err(|e| self.network_error(&e))?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(TransportError::Problem(Box::new(refusal(answer).await))),
        }
    }

    async fn small(
        &self,
        answer: impl Future<Output = Result<Incoming, TransportError>>,
        max_bytes: usize,
    ) -> Result<Bytes, TransportError> {
        let server = self.base.clone();
        let read = async {
            let limited = Limited::new(answer.await?, max_bytes);
            match limited.collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(e) if e.is::<http_body_util::LengthLimitError>() => {
                    Err(TransportError::TooLong { server: server.clone(), max_bytes })
                }
                Err(e) => {
                    Err(TransportError::Broken { server: server.clone(), reason: e.to_string() })
                }
            }
        };
        let timeout_ms = ANSWER_TIMEOUT_MS;
        match tokio::time::timeout(Duration::from_millis(timeout_ms), read).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout { server: server.clone(), timeout_ms }),
        }
    }

    fn network_error(&self, error: &hyper_util::client::legacy::Error) -> TransportError {
        let (server, reason) = (self.base.clone(), innermost(error));
        match error.is_connect() {
            true => TransportError::Connect { server, reason },
            false => TransportError::Broken { server, reason },
        }
    }
}

/// The last cause in the chain: the one that says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    printable(&cause.to_string())
}

/// `scheme://authority` of a server address, checked.
fn base_of(url: &str, plain: impl Fn(&str) -> bool) -> Result<String, TransportError> {
    let not_url = || TransportError::Url { url: url.chars().take(200).collect() };
    let uri: Uri = url.parse().map_err(|_| not_url())?;
    let (scheme, authority) = (uri.scheme_str(), uri.authority());
    let (Some(scheme), Some(authority)) = (scheme, authority) else { return Err(not_url()) };
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@')
    {
        return Err(not_url());
    }
    match scheme {
        "https" => Ok(format!("https://{authority}")),
        "http" if plain(authority.host()) => Ok(format!("http://{authority}")),
        "http" => Err(TransportError::PlainHttp { host: authority.host().to_owned() }),
        _ => Err(not_url()),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What other services say is wrong (RFC 9457).
#[derive(serde::Deserialize)]
struct ProblemDetails {
    detail: String,
}

async fn refusal(answer: Response<Incoming>) -> Refusal {
    let status = answer.status().as_u16();
    let receipt = receipt_beside(answer.headers());
    let limited = Limited::new(answer.into_body(), MAX_ERROR_BYTES);
    let read = tokio::time::timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), limited.collect());
    let body = match read.await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let stated = serde_json::from_slice::<ErrorBody>(&body).ok().map(|body| body.error);
    let problem = stated.as_ref().and_then(|error| error.problem());
    let spent = stated.as_ref().map(ErrorObject::spent_tokens).unwrap_or_default();
    let message = match (stated, serde_json::from_slice::<ProblemDetails>(&body)) {
        (Some(error), _) => printable(&error.message),
        (None, Ok(problem)) => printable(&problem.detail),
        (None, Err(_)) => format!("the server answered with status {status}"),
    };
    Refusal { status, problem: problem.unwrap_or(by_status(status)), message, receipt, spent }
}

fn receipt_beside(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(TRAILER_RECEIPT)?;
    BASE64URL_NOPAD.decode(value.as_bytes()).ok()
}

fn by_status(status: u16) -> Problem {
    match status {
        401 => Problem::Unauthorized,
        402 => Problem::InsufficientBalance,
        403 => Problem::Forbidden,
        404 => Problem::NotFound,
        413 => Problem::TooLarge,
        429 | 502 | 503 | 504 => Problem::Unavailable,
        500..=599 => Problem::Internal,
        _ => Problem::BadRequest,
    }
}

/// Text from the other side, safe to print: no control characters, not too long.
pub fn printable(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_plain_http_to_other_machines() {
        for url in ["http://broker.example:80", "http://10.0.0.1", "http://127.0.0.1.example"] {
            let error = base_of(url, is_loopback).unwrap_err();
            assert!(matches!(error, TransportError::PlainHttp { .. }), "{url}: {error}");
        }
        for url in ["http://127.0.0.1:80", "http://localhost:1", "http://[::1]:9"] {
            assert_eq!(base_of(url, is_loopback).unwrap(), url);
        }
    }

    #[test]
    fn refuses_addresses_with_more_than_a_server() {
        for url in ["broker", "ftp://a", "https://a/path", "https://a?x=1", "https://u@a", ""] {
            let error = base_of(url, is_loopback).unwrap_err();
            assert!(matches!(error, TransportError::Url { .. }), "{url}: {error}");
        }
        assert_eq!(
            base_of("https://a.example:8443/", is_loopback).unwrap(),
            "https://a.example:8443"
        );
    }

    #[test]
    fn text_of_strangers_is_made_printable() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a [2Jb ");
        assert_eq!(printable(&"x".repeat(900)).len(), MAX_MESSAGE_CHARS);
    }
}
