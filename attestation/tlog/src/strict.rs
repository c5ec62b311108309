//! Numbers and bytes as C2SP formats write them. Each has one spelling only, so that what
//! was parsed prints back byte for byte and no signed file has a twin.

use data_encoding::BASE64;

/// Reads an ASCII decimal without leading zeroes; `None` for anything else.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !digits || leading_zero {
        return None;
    }
    text.parse().ok()
}

/// Reads standard base64 with padding (RFC 4648 section 4); `None` for anything else.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    // The decoder takes several padded texts in a row for one; here they are not.
    if text.trim_end_matches('=').contains('=') {
        return None;
    }
    BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_other_spelling_of_a_number() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        let wrong = ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "１", "1\n"];
        assert!(wrong.iter().all(|text| decimal(text).is_none()));
        assert_eq!(decimal("18446744073709551616"), None);
    }

    #[test]
    fn refuses_every_other_spelling_of_bytes() {
        assert_eq!(base64("QUI="), Some(b"AB".to_vec()));
        assert_eq!(base64(""), Some(Vec::new()));
        let wrong = [
            "QUI", "QUJ=", "QQ==QQ==", "QUI=QUJD", "QUI=\n", " QUI=", "QU I=", "QUI==", "=",
            "====", "QUJD====", "Q===", "_-8=",
        ];
        for text in wrong {
            assert_eq!(base64(text), None, "{text:?}");
        }
    }
}
