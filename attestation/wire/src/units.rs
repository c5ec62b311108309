//! Units as types: a token is not a micro-unit, a second is not a millisecond.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

macro_rules! counted {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Sum, or `None` when it would not fit 64 bits.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map($name)
            }

            /// Difference, or `None` when it would be negative.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map($name)
            }

            /// Sum, or the largest value.
            pub fn saturating_add(self, other: Self) -> Self {
                $name(self.0.saturating_add(other.0))
            }

            /// Difference, or zero.
            pub fn saturating_sub(self, other: Self) -> Self {
                $name(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u64(self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Ok($name(d.u64()?))
            }
        }
    };
}

counted!(
    /// Model tokens, as the engine counts them.
    TokenCount
);
counted!(
    /// Millionths of one unit of account.
    MicroUnits
);
counted!(
    /// Seconds since 1970-01-01 UTC (CWT NumericDate without fraction).
    UnixSeconds
);
counted!(
    /// Milliseconds since 1970-01-01 UTC.
    UnixMillis
);

impl UnixMillis {
    /// Whole seconds, rounded down.
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }
}

impl UnixSeconds {
    /// The same instant in milliseconds.
    pub fn millis(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(1000))
    }
}

/// Micro-units as a decimal of whole units, exact: `1234.5`.
pub fn decimal(micro: u128) -> String {
    let (whole, part) = (micro / 1_000_000, micro % 1_000_000);
    let digits = format!("{part:06}");
    match digits.trim_end_matches('0') {
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    }
}

impl MicroUnits {
    /// In whole units, where their name is plain: `0.000038`.
    pub fn whole(self) -> String {
        decimal(u128::from(self.0))
    }

    /// In whole units with their name, exact: `0.000038 TOK`.
    pub fn of(self, unit: &Unit) -> String {
        format!("{} {unit}", self.whole())
    }
}

/// Longest name of a unit of account.
pub const MAX_UNIT_CHARS: usize = 8;

/// A unit of account: a currency (`HKD`), package tokens (`TOK`) or compute units (`CU`). Amounts
/// in different units are never added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Unit(String);

/// A text that names no unit of account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unit of account must be 2 to {MAX_UNIT_CHARS} upper-case letters, got {got:?}")]
pub struct UnitError {
    /// The text, cut to 80 characters.
    pub got: String,
}

impl Unit {
    /// Package tokens: one is one model token at multiplier 1.
    pub fn tokens() -> Unit {
        Unit("TOK".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fits = (2..=MAX_UNIT_CHARS).contains(&text.len());
        if !fits || !text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(UnitError { got: text.chars().take(80).collect() });
        }
        Ok(Unit(text.to_owned()))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> Encode<C> for Unit {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Unit {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str()?.parse().map_err(|_| minicbor::decode::Error::message("not a unit of account"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(decimal(u128::from(u64::MAX)), "18446744073709.551615");
        for (micro, text) in [(38, "0.000038 TOK"), (1_500_000, "1.5 TOK"), (2_000_000, "2 TOK")] {
            assert_eq!(MicroUnits(micro).of(&Unit::tokens()), text);
        }
    }
}
