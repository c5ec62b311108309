//! Texts that stand for bytes: hex, base64, PEM, percent-encoding.

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};

/// Shortest text taken as hex or base64, in characters: shorter ones are words, numbers, names.
const MIN_ENCODED_CHARS: usize = 16;
/// Most PEM blocks in one text (ours; a bundle of chains has some dozens).
const MAX_PEM_BLOCKS: usize = 256;

/// `bytes` as text: UTF-8 with or without byte order mark, or UTF-16 with one (PowerShell's `>`).
/// `None` where they are no text.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let utf16 = |pairs: &[u8], number: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = pairs
            .chunks(2)
            .map(|pair| pair.try_into().map(number))
            .collect::<Result<_, _>>()
            .ok()?;
        String::from_utf16(&units).ok()
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok()?.to_owned(),
        plain => std::str::from_utf8(plain).ok()?.to_owned(),
    };
    // Strings kept with their terminating zero.
    let text = text.trim_end_matches('\0');
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    (!text.is_empty() && text.chars().all(is_text)).then(|| text.to_owned())
}

/// Hex in either case, in one run or in groups: white space, commas, colons, brackets between, `0x`
/// or `\x` before.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\'')).unwrap_or(text);
    let mut digits = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('0', Some('x' | 'X')) | ('\\', Some('x')) => {
                characters.next();
            }
            (',' | ':' | ';' | '-' | '{' | '}' | '[' | ']' | '(' | ')', _) => {}
            (c, _) if c.is_whitespace() => {}
            (c, _) if c.is_ascii_hexdigit() => digits.push(c),
            _ => return None,
        }
    }
    let is_long = digits.len() >= MIN_ENCODED_CHARS;
    is_long.then(|| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()).flatten()
}

/// Base64 in either alphabet (RFC 4648 §4, §5), padded or not, wrapped or not.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = match text.strip_prefix("data:") {
        Some(uri) => uri.split_once(";base64,")?.1,
        None => text,
    };
    let mut letters = String::with_capacity(text.len());
    for c in text.trim_end_matches(|c: char| c == '=' || c.is_whitespace()).chars() {
        match c {
            '-' => letters.push('+'),
            '_' => letters.push('/'),
            c if c.is_whitespace() => {}
            c if c.is_ascii_alphanumeric() || c == '+' || c == '/' => letters.push(c),
            _ => return None,
        }
    }
    let is_long = letters.len() >= MIN_ENCODED_CHARS;
    is_long.then(|| BASE64_NOPAD.decode(letters.as_bytes()).ok()).flatten()
}

/// Percent-encoded PEM, as Intel's service gives issuer chains in a header.
pub(super) fn percent(text: &str) -> Option<Vec<u8>> {
    if !text.starts_with("-----BEGIN%20") {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after.split_at_checked(2)) {
            (b'%', Some((digits, after))) => {
                bytes.extend(HEXLOWER_PERMISSIVE.decode(digits).ok()?);
                rest = after;
            }
            (b'%', None) => return None,
            (plain, _) => bytes.push(plain),
        }
    }
    Some(bytes)
}

/// A block of PEM (RFC 7468).
pub(super) struct PemBlock<'a> {
    /// Between BEGIN and the dashes.
    pub label: &'a str,
    /// `None` where the block has no end or is not base64.
    pub bytes: Option<Vec<u8>>,
}

/// The blocks of a text that has any; what stands between them is not read.
pub(super) fn pem(text: &str) -> Option<Vec<PemBlock<'_>>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        if blocks.len() == MAX_PEM_BLOCKS {
            break;
        }
        let Some((label, body)) = after.split_once("-----") else { break };
        match body.split_once("-----END ") {
            Some((body, after)) => {
                blocks.push(PemBlock { label, bytes: pem_body(body) });
                rest = after;
            }
            None => {
                blocks.push(PemBlock { label, bytes: None });
                break;
            }
        }
    }
    (!blocks.is_empty()).then_some(blocks)
}

/// Base64 without the limit on short texts. Line breaks may be written out (`\n`) where somebody
/// quoted the text.
fn pem_body(body: &str) -> Option<Vec<u8>> {
    let body = body.replace("\\n", "\n").replace("\\r", "");
    let letters: String = body.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    BASE64_NOPAD.decode(letters.as_bytes()).ok()
}

/// Whether it looks like a JSON web token: three runs of base64url, the first an object.
pub(super) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_people_write_it() {
        let expected: Vec<u8> = (0..16).collect();
        let plain = "000102030405060708090a0b0c0d0e0f";
        for text in [
            plain.to_owned(),
            plain.to_uppercase(),
            format!("0x{plain}"),
            "00 01 02 03 04 05 06 07\r\n08 09 0A 0b 0c 0d 0e 0f".to_owned(),
            "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f".to_owned(),
            "{0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}".to_owned(),
            r"b'\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f'".to_owned(),
        ] {
            assert_eq!(hex(&text), Some(expected.clone()), "{text}");
        }
        for other in [&plain[..31], "00", "hello world hello world", ""] {
            assert_eq!(hex(other), None, "{other}");
        }
    }

    #[test]
    fn base64_is_read_in_both_alphabets_padded_or_not() {
        let bytes: Vec<u8> = (0..=255).chain([0xfb, 0xff]).collect();
        let standard = data_encoding::BASE64.encode(&bytes);
        let url = data_encoding::BASE64URL.encode(&bytes);
        let wrapped = data_encoding::BASE64_MIME.encode(&bytes);
        let data = format!("data:application/octet-stream;base64,{standard}");
        for text in [&standard, &url, &wrapped, &data, standard.trim_end_matches('=')] {
            assert_eq!(base64(text).as_ref(), Some(&bytes), "{text}");
        }
        for other in ["not base64 at all!", "AAAA", "AAAAAAAAAAAAAAAAA"] {
            assert_eq!(base64(other), None, "{other}");
        }
    }

    #[test]
    fn pem_is_found_between_other_text() {
        let text =
            "first\n-----BEGIN A B-----\nAAEC\n-----END A B-----\nthen\n-----BEGIN C-----\nAA=";
        let blocks = pem(text).unwrap();
        let read: Vec<_> = blocks.iter().map(|block| (block.label, &block.bytes)).collect();
        assert_eq!(read, [("A B", &Some(vec![0, 1, 2])), ("C", &None)]);
        assert!(pem("no block").is_none());
    }

    #[test]
    fn text_may_be_utf_16_with_a_mark() {
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("ab".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(text(&wide).as_deref(), Some("ab"));
        assert_eq!(text(b"\xef\xbb\xbfab\0").as_deref(), Some("ab"));
        assert_eq!(text(b"a\x01b"), None);
        assert_eq!(text(b"\0\0"), None);
    }
}
