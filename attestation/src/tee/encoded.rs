//! Bytes as JSON evidence writes them: a list of numbers, hex, base64 or base64url, padded or not.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde::Deserialize;

/// Bytes in JSON, not yet decoded.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Bytes {
    Numbers(Vec<u8>),
    Text(String),
}

impl Bytes {
    /// The bytes; `None` where a text is in no encoding taken.
    pub fn decode(self) -> Option<Vec<u8>> {
        match self {
            Bytes::Numbers(bytes) => Some(bytes),
            Bytes::Text(text) => decode(&text),
        }
    }
}

/// Hex where every character is a hex digit, otherwise base64 of the alphabet it shows.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    if let Ok(bytes) = HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        return Some(bytes);
    }
    let digits = text.trim_end_matches('=').as_bytes();
    let url = digits.iter().any(|digit| matches!(digit, b'-' | b'_'));
    let encoding = if url { &BASE64URL_NOPAD } else { &BASE64_NOPAD };
    encoding.decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_every_encoding() {
        let bytes = vec![0xfb, 0xff, 0xbf, 0x01];
        for text in
            ["fbffbf01", "FBFFBF01", "-_-_AQ==", "-_-_AQ", "+/+/AQ==", "+/+/AQ", " -_-_AQ\n"]
        {
            assert_eq!(decode(text), Some(bytes.clone()), "{text}");
        }
        for text in ["+/-_AQ", "fbff bf01", "AQ=A", "AR==", "!"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
