//! Who may use the local endpoint: programs on this machine, and no web page.
//!
//! * The `Host` must be this endpoint's own loopback name and port: a page that had its name point
//!   at 127.0.0.1 (DNS rebinding) sends another.
//! * A request with an `Origin` comes from a web page and is refused; no CORS header is ever sent.
//! * With `local_credential` configured, callers must show it as their API key.

use bulla_attestation::hash::sha256;
use hyper::{HeaderMap, Uri};

use super::failure::Failure;

/// The rules of one endpoint.
pub struct Guard {
    port: u16,
    credential: Option<String>,
}

impl Guard {
    /// For an endpoint on `port`.
    pub fn new(port: u16, credential: Option<String>) -> Guard {
        Guard { port, credential }
    }

    /// Whether a request may pass.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        if !self.is_own_host(uri, headers) {
            return Err(Failure::new(403, "permission_error", "host_not_allowed").saying(
                "this endpoint answers to localhost, 127.0.0.1 and [::1] with its own port only",
            ));
        }
        if headers.contains_key("origin") {
            return Err(Failure::new(403, "permission_error", "origin_not_allowed")
                .saying("web pages may not use this endpoint"));
        }
        self.check_credential(headers)
    }

    fn is_own_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all("host").iter();
        let host = match (named.next(), named.next()) {
            (Some(value), None) => value.to_str().ok(),
            (None, _) => uri.authority().map(|authority| authority.as_str()),
            _ => None,
        };
        let own = ["localhost", "127.0.0.1", "[::1]"];
        host.is_some_and(|host| own.iter().any(|name| self.is_at(host, name)))
    }

    fn is_at(&self, host: &str, name: &str) -> bool {
        let Some((before, after)) = host.split_at_checked(name.len()) else { return false };
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse::<u16>().ok(),
            None if after.is_empty() => Some(80),
            None => None,
        };
        before.eq_ignore_ascii_case(name) && port == Some(self.port)
    }

    fn check_credential(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(credential) = &self.credential else { return Ok(()) };
        let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        // Digests are compared, so that the time it takes says nothing about the credential.
        if sha256(shown.trim().as_bytes()) == sha256(credential.as_bytes()) {
            return Ok(());
        }
        Err(Failure::new(401, "authentication_error", "invalid_api_key")
            .saying("wrong API key: use the local_credential of this client's configuration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn status(guard: &Guard, pairs: &[(&'static str, &str)]) -> Option<u16> {
        let uri = Uri::from_static("/v1/models");
        guard.check(&uri, &headers(pairs)).err().map(|failure| failure.status)
    }

    #[test]
    fn answers_to_its_own_names_and_port_only() {
        let guard = Guard::new(8118, None);
        for good in ["127.0.0.1:8118", "localhost:8118", "LOCALHOST:8118", "[::1]:8118"] {
            assert_eq!(status(&guard, &[("host", good)]), None, "{good}");
        }
        for bad in [
            "evil.example:8118",
            "localhost:8119",
            "localhost",
            "127.0.0.1.evil.example:8118",
            "localhost.evil.example:8118",
            "localhost:8118@evil.example",
            "",
        ] {
            assert_eq!(status(&guard, &[("host", bad)]), Some(403), "{bad}");
        }
        assert_eq!(status(&guard, &[]), Some(403));
        let two = [("host", "localhost:8118"), ("host", "evil.example")];
        let mut both = HeaderMap::new();
        two.iter().for_each(|(name, value)| {
            both.append(*name, value.parse().unwrap());
        });
        assert!(guard.check(&Uri::from_static("/"), &both).is_err());
    }

    #[test]
    fn refuses_web_pages() {
        let guard = Guard::new(8118, None);
        let page = [("host", "localhost:8118"), ("origin", "https://evil.example")];
        assert_eq!(status(&guard, &page), Some(403));
    }

    #[test]
    fn asks_for_the_local_credential_when_there_is_one() {
        let guard = Guard::new(8118, Some("local-secret-0123456789".to_owned()));
        let host = ("host", "localhost:8118");
        assert_eq!(status(&guard, &[host]), Some(401));
        assert_eq!(status(&guard, &[host, ("authorization", "Bearer wrong")]), Some(401));
        let right = ("authorization", "Bearer local-secret-0123456789");
        assert_eq!(status(&guard, &[host, right]), None);
    }
}
