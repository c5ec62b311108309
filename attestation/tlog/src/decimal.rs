//! The one way C2SP formats write a number: ASCII decimal without leading zeroes.

/// Reads a number that is written the one way it may be; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !digits || leading_zero {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn refuses_every_other_spelling() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("18446744073709551615"), Some(u64::MAX));
        let wrong = ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "１", "1\n"];
        assert!(wrong.iter().all(|text| parse(text).is_none()));
        assert_eq!(parse("18446744073709551616"), None);
    }
}
