//! Fixed-length bytes that are written, read and compared as lower-case hex.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` bytes, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> std::fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl<const N: usize> std::fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hex({self})")
    }
}

impl<const N: usize> std::str::FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let wrong = || HexError { expected_hex: 2 * N, got_chars: text.len() };
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| wrong())?;
        Ok(Hex(bytes.try_into().map_err(|_| wrong())?))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not `N` bytes of lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected_hex} lower-case hex characters, got {got_chars} characters")]
pub struct HexError {
    /// Length wanted, in characters.
    pub expected_hex: usize,
    /// Length found, in characters.
    pub got_chars: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_it_should_be() {
        let error = HexError { expected_hex: 6, got_chars: 4 };
        assert_eq!("abcd".parse::<Hex<3>>(), Err(error));
    }

    #[test]
    fn reads_what_it_prints_and_nothing_else() {
        let two = Hex([0xab, 1]);
        assert_eq!(two.to_string().parse(), Ok(two));
        for bad in ["AB01", "ab0", "ab0102", "", "0xab"] {
            assert!(bad.parse::<Hex<2>>().is_err(), "{bad}");
        }
    }
}
