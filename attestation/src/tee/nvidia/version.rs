//! Versions of drivers and VBIOSes, as the vendor writes and orders them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most parts of a version (ours; a driver has 2 or 3, a VBIOS 5).
const MAX_PARTS: usize = 8;

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not a version: numbers with dots between them expected")]
pub struct VersionError {
    got: String,
}

fn parts(text: &str, radix: u32) -> Result<Vec<u32>, VersionError> {
    let wrong = || VersionError { got: text.chars().take(40).collect() };
    // from_str_radix takes a sign, which no version has.
    let is_plain = text.chars().all(|c| c == '.' || c.is_digit(radix));
    if !is_plain || text.split('.').count() > MAX_PARTS {
        return Err(wrong());
    }
    let numbers = text.split('.').map(|part| u32::from_str_radix(part, radix));
    numbers.collect::<Result<_, _>>().map_err(|_| wrong())
}

macro_rules! version {
    ($(#[doc = $doc:literal])+ $name:ident, $radix:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            parts: Vec<u32>,
            text: String,
        }

        impl std::str::FromStr for $name {
            type Err = VersionError;

            fn from_str(text: &str) -> Result<$name, VersionError> {
                Ok($name { parts: parts(text, $radix)?, text: text.to_owned() })
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.parts == other.parts
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &$name) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &$name) -> std::cmp::Ordering {
                self.parts.cmp(&other.parts)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

version! {
    /// A driver version: decimal numbers, such as `550.90.07`.
    DriverVersion, 10
}

version! {
    /// A VBIOS version: hexadecimal numbers, such as `96.00.9F.00.01`.
    VbiosVersion, 16
}

impl DriverVersion {
    /// The branch: the number before the first dot.
    pub fn branch(&self) -> u32 {
        self.parts.first().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number_in_their_radix() {
        let driver = |text: &str| text.parse::<DriverVersion>().unwrap();
        assert!(driver("550.90.07") < driver("550.163.01"));
        assert!(driver("590.12") > driver("570.124.06"));
        assert_eq!(driver("550.90.07"), driver("550.90.7"));
        assert_eq!(driver("550.90.07").branch(), 550);
        let vbios = |text: &str| text.parse::<VbiosVersion>().unwrap();
        assert!(vbios("96.00.9F.00.01") < vbios("96.00.AF.00.01"));
        assert!(vbios("96.00.9f.00.01") == vbios("96.00.9F.00.01"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", ".", "550.", "+5.1", "0x1", "550.9g", "1.1.1.1.1.1.1.1.1", "99999999999"] {
            assert!(text.parse::<DriverVersion>().is_err(), "{text}");
        }
        assert!("96.00.9G".parse::<VbiosVersion>().is_err());
        assert!("1.1.1.1.1.1.1.1".parse::<DriverVersion>().is_ok());
    }
}
