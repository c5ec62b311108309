//! Dates for people.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `seconds` since 1970 as RFC 3339, or the bare number where no calendar reaches.
pub fn rfc3339(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}
