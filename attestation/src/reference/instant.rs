//! Instants as people write them, in one spelling: `2026-11-21T00:00:00Z`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use bulla_wire::units::UnixSeconds;

/// Whole seconds, shown and read as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub UnixSeconds);

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
        match at.and_then(|at| at.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} s", self.0),
        }
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(d)?;
        let refused = || D::Error::custom("an instant is written 2026-11-21T00:00:00Z");
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| refused())?;
        let seconds = u64::try_from(at.unix_timestamp()).map_err(|_| refused())?;
        let instant = Instant(UnixSeconds(seconds));
        // One value has one spelling, or what is signed would not be what is read.
        if instant.to_string() == text { Ok(instant) } else { Err(refused()) }
    }
}
