//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): what changes something happens once
//! per key. Key and effect are one transaction of the ledger.

use axum::http::HeaderMap;
use bulla_attestation::hash::LabelledHasher;
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::problem::Problem;

use super::driver::Refusal;
use super::enclave::header;
use crate::register::Once;

/// The header.
pub const HEADER_KEY: &str = "idempotency-key";
/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = LabelledHasher::new(labels::IDEMPOTENCY);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

/// The key of a request, if it names one.
pub fn once(
    headers: &HeaderMap,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Option<Once>, Refusal> {
    if !headers.contains_key(HEADER_KEY) {
        return Ok(None);
    }
    let key = header(headers, HEADER_KEY).filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let malformed = || {
        let message = format!("{HEADER_KEY} must have 1 to {MAX_KEY_BYTES} printable characters");
        Refusal::new(Problem::BadRequest, message)
    };
    let key = digest(&[key.ok_or_else(malformed)?.as_bytes()]);
    let request = digest(&[method.as_bytes(), path.as_bytes(), body]);
    Ok(Some(Once { key, request }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_request() {
        let mut headers = HeaderMap::new();
        assert_eq!(once(&headers, "POST", "/x", b"body").unwrap(), None);
        headers.insert(HEADER_KEY, "8e03978e".parse().unwrap());
        let of = |path: &str, body: &[u8]| once(&headers, "POST", path, body).unwrap().unwrap();
        let first = of("/x", b"body");
        assert_eq!(of("/x", b"body"), first);
        assert_eq!(of("/x", b"other").key, first.key);
        assert_ne!(of("/x", b"other").request, first.request);
        assert_ne!(of("/xb", b"ody").request, first.request, "parts do not run together");
        headers.insert(HEADER_KEY, "k".repeat(256).parse().unwrap());
        assert_eq!(once(&headers, "POST", "/x", b"").unwrap_err().problem, Problem::BadRequest);
    }
}
