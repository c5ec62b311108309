//! What comes with a request: parameters of path and query, checked before anything is asked.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Items in a page whose caller names no limit.
pub const USUAL_LIMIT: usize = 100;
/// Most items in a page.
pub const MAX_LIMIT: usize = 1_000;
/// Longest query string, in bytes.
pub const MAX_QUERY_BYTES: usize = 4 * 1024;

/// An error of the HTTP API (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemView {
    /// `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status's name.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
}

/// Media type of [`ProblemView`].
pub const MEDIA_PROBLEM: &str = "application/problem+json";

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Malformed.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody, or nobody any more.
    #[error("{0}")]
    Unauthorized(String),
    /// Not with this role.
    #[error("{0}")]
    Forbidden(String),
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what there is.
    #[error("{0}")]
    Conflict(String),
    /// Too much at once.
    #[error("{0}")]
    Busy(String),
    /// A fault here.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// HTTP status and its name.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            ApiError::BadRequest(_) => (400, "Bad Request"),
            ApiError::Unauthorized(_) => (401, "Unauthorized"),
            ApiError::Forbidden(_) => (403, "Forbidden"),
            ApiError::NotFound(_) => (404, "Not Found"),
            ApiError::Conflict(_) => (409, "Conflict"),
            ApiError::Busy(_) => (503, "Service Unavailable"),
            ApiError::Internal(_) => (500, "Internal Server Error"),
        }
    }

    /// As it is sent.
    pub fn view(&self) -> ProblemView {
        let (status, title) = self.status();
        ProblemView { kind: "about:blank", title, status, detail: self.to_string() }
    }
}

/// A malformed request.
pub fn bad(error: impl ToString) -> ApiError {
    ApiError::BadRequest(error.to_string())
}

impl From<crate::ledger::StoreError> for ApiError {
    fn from(error: crate::ledger::StoreError) -> ApiError {
        ApiError::Internal(error.to_string())
    }
}

/// Parameters of path and query.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query string; a name given twice is refused.
    pub fn parse(query: &str) -> Result<Parameters, ApiError> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(bad(format!("the query has more than {MAX_QUERY_BYTES} bytes")));
        }
        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.set(decode(name)?, decode(value)?)?;
        }
        Ok(parameters)
    }

    /// Adds one.
    pub fn set(&mut self, name: String, value: String) -> Result<(), ApiError> {
        match self.0.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(bad("a parameter is given twice")),
        }
    }

    /// The names given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A text; an empty one is as good as none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A text that must be there.
    pub fn needed(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| bad(format!("{name} is missing")))
    }

    /// Something else than a text.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| text.parse().map_err(|error| bad(format!("{name}: {error}")));
        self.text(name).map(parse).transpose()
    }

    /// How many items to answer with.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.parsed::<usize>("limit")? {
            None => Ok(USUAL_LIMIT),
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(limit) => Err(bad(format!("limit must be 1 to {MAX_LIMIT}, got {limit}"))),
        }
    }
}

/// Percent-decoding of `application/x-www-form-urlencoded` (WHATWG URL §5.1), UTF-8 only.
pub fn decode(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(bad("a % is not followed by two hex digits")),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad("a parameter is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_forms_and_queries() {
        let read = Parameters::parse("a=1&b=x+y%21%C3%A9&c=").unwrap();
        assert_eq!(read.text("b"), Some("x y!é"));
        assert_eq!(read.text("c"), None);
        assert_eq!(read.parsed::<u64>("a").unwrap(), Some(1));
        assert!(read.needed("d").is_err() && read.parsed::<u64>("b").is_err());
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=1&a=2"] {
            assert!(matches!(Parameters::parse(bad), Err(ApiError::BadRequest(_))), "{bad}");
        }
        assert!(Parameters::parse(&"x".repeat(MAX_QUERY_BYTES + 1)).is_err());
    }

    #[test]
    fn limits_are_bounded() {
        let limit = |query: &str| Parameters::parse(query).unwrap().limit();
        assert_eq!(limit(""), Ok(USUAL_LIMIT));
        assert_eq!(limit("limit=1000"), Ok(1000));
        assert!(
            limit("limit=0").is_err() && limit("limit=1001").is_err() && limit("limit=-1").is_err()
        );
    }
}
