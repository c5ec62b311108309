//! Where a form was sent from: the `Origin` header (RFC 6454 §7), which no page of another site can
//! make up, and `Sec-Fetch-Site` where the browser tells it.

/// Why a form is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `Origin`: every browser sends one with a form.
    #[error("the form came without an Origin header: use a current browser")]
    Missing,
    /// Another site's.
    #[error(
        "the form came from {got:?}, these pages are {expected:?}: open them under that address"
    )]
    Other {
        /// These pages.
        expected: String,
        /// The header.
        got: String,
    },
    /// The browser says that another site started it.
    #[error("the browser says that another site sent this form")]
    CrossSite,
}

/// Checks a form's headers against the pages' own origin.
pub fn check(
    expected: &str,
    origin: Option<&str>,
    fetch_site: Option<&str>,
) -> Result<(), OriginError> {
    let got = origin.ok_or(OriginError::Missing)?;
    if got != expected {
        let got = got.chars().take(200).collect();
        return Err(OriginError::Other { expected: expected.to_owned(), got });
    }
    match fetch_site {
        None | Some("same-origin") => Ok(()),
        Some(_) => Err(OriginError::CrossSite),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_own_origin_only() {
        let own = "https://pay.example";
        assert_eq!(check(own, Some(own), None), Ok(()));
        assert_eq!(check(own, Some(own), Some("same-origin")), Ok(()));
        assert_eq!(check(own, None, None), Err(OriginError::Missing));
        assert_eq!(check(own, Some(own), Some("cross-site")), Err(OriginError::CrossSite));
        assert_eq!(check(own, Some(own), Some("same-site")), Err(OriginError::CrossSite));
        for bad in
            ["null", "http://pay.example", "https://pay.example.evil", "https://pay.example/"]
        {
            assert!(matches!(check(own, Some(bad), None), Err(OriginError::Other { .. })), "{bad}");
        }
    }
}
