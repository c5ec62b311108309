//! The kernel's command line, as far as it speaks to us: every word that begins with `bulla.`.
//! Firmware measures it, so it is where the model's root hash stands.

use std::net::Ipv4Addr;

/// Longest command line the kernel keeps on x86-64, in bytes (COMMAND_LINE_SIZE).
pub const MAX_COMMAND_LINE_BYTES: u64 = 2048;
/// Most memory for weights, in MiB (ours; larger than any machine).
const MAX_WEIGHTS_MIB: u64 = 1 << 24;
/// SHA-256 in hex.
const HASH_DIGITS: usize = 64;
/// Longest salt dm-verity takes, in hex digits.
const MAX_SALT_DIGITS: usize = 512;

/// The model's disk: data blocks, then their hash tree (dm-verity, no superblock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVolume {
    /// Root of the hash tree, hex.
    pub root_hash: String,
    /// Data blocks of 4096 bytes.
    pub data_blocks: u64,
    /// Salt, hex.
    pub salt: String,
}

/// An address with the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Ours.
    pub address: Ipv4Addr,
    /// Bits of the network.
    pub prefix_bits: u8,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The model's disk.
    pub model: ModelVolume,
    /// Our address.
    pub address: Network,
    /// The way out, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Memory for encrypted weights while they are opened, in MiB.
    pub weights_mib: Option<u64>,
    /// Whether the image talks on its console and may simulate a TEE.
    pub development: bool,
}

/// Why a command line cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// A word of ours that we do not know.
    #[error("command line: unknown word {word:?}")]
    Unknown {
        /// The word.
        word: String,
    },
    /// A word twice.
    #[error("command line: {name} stands there twice")]
    Repeated {
        /// Its name.
        name: &'static str,
    },
    /// A word that must be there.
    #[error("command line: {name} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A value of the wrong form.
    #[error("command line: {name} must be {expected}, got {got:?}")]
    Value {
        /// Its name.
        name: &'static str,
        /// The form wanted.
        expected: &'static str,
        /// The value.
        got: String,
    },
}

impl Settings {
    /// Reads a command line. Words without `bulla.` are the kernel's business.
    pub fn parse(line: &str) -> Result<Settings, CommandLineError> {
        let mut model = None;
        let mut address = None;
        let mut gateway = None;
        let mut weights_mib = None;
        let mut development = None;
        for word in line.split_ascii_whitespace().filter(|word| word.starts_with("bulla.")) {
            let unknown = || CommandLineError::Unknown { word: word.to_owned() };
            let (name, value) = word.split_once('=').ok_or_else(unknown)?;
            match name {
                "bulla.model" => once(&mut model, "bulla.model", volume(value)?)?,
                "bulla.address" => once(&mut address, "bulla.address", network(value)?)?,
                "bulla.gateway" => once(&mut gateway, "bulla.gateway", host(value)?)?,
                "bulla.weights_mib" => {
                    once(&mut weights_mib, "bulla.weights_mib", mebibytes(value)?)?;
                }
                "bulla.development" if value == "1" => {
                    once(&mut development, "bulla.development", true)?;
                }
                _ => return Err(unknown()),
            }
        }
        let missing = |name| CommandLineError::Missing { name };
        Ok(Settings {
            model: model.ok_or(missing("bulla.model"))?,
            address: address.ok_or(missing("bulla.address"))?,
            gateway,
            weights_mib,
            development: development.unwrap_or(false),
        })
    }
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), CommandLineError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandLineError::Repeated { name }),
    }
}

/// `ROOT:BLOCKS:SALT`.
fn volume(text: &str) -> Result<ModelVolume, CommandLineError> {
    let expected = "ROOTHASH:BLOCKS:SALT, hex, decimal, hex";
    let wrong = || CommandLineError::Value { name: "bulla.model", expected, got: text.to_owned() };
    let mut parts = text.split(':');
    let (Some(root_hash), Some(blocks), Some(salt), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let is_hex =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let data_blocks = blocks.parse().ok().filter(|blocks| *blocks > 0 && !blocks_overflow(*blocks));
    let salted = !salt.is_empty() && salt.len() <= MAX_SALT_DIGITS && salt.len() % 2 == 0;
    match data_blocks {
        Some(data_blocks)
            if root_hash.len() == HASH_DIGITS && salted && is_hex(root_hash) && is_hex(salt) =>
        {
            Ok(ModelVolume { root_hash: root_hash.to_owned(), data_blocks, salt: salt.to_owned() })
        }
        _ => Err(wrong()),
    }
}

/// Whether so many blocks have no length in sectors.
fn blocks_overflow(blocks: u64) -> bool {
    blocks.checked_mul(8).is_none()
}

fn network(text: &str) -> Result<Network, CommandLineError> {
    let expected = "ADDRESS/BITS, such as 10.0.2.15/24";
    let wrong =
        || CommandLineError::Value { name: "bulla.address", expected, got: text.to_owned() };
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address = address.parse().map_err(|_| wrong())?;
    let prefix_bits = bits.parse().ok().filter(|bits| (1..=32).contains(bits)).ok_or_else(wrong)?;
    Ok(Network { address, prefix_bits })
}

fn mebibytes(text: &str) -> Result<u64, CommandLineError> {
    let expected = "1 to 16777216 (16 TiB)";
    let wrong =
        || CommandLineError::Value { name: "bulla.weights_mib", expected, got: text.to_owned() };
    text.parse().ok().filter(|mib| (1..=MAX_WEIGHTS_MIB).contains(mib)).ok_or_else(wrong)
}

fn host(text: &str) -> Result<Ipv4Addr, CommandLineError> {
    let expected = "an IPv4 address";
    let wrong =
        |_| CommandLineError::Value { name: "bulla.gateway", expected, got: text.to_owned() };
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(model: &str) -> String {
        format!("console=ttyS0 bulla.model={model} bulla.address=10.0.2.15/24 quiet")
    }

    fn root() -> String {
        format!("{}:12:00ff", "ab".repeat(32))
    }

    #[test]
    fn reads_what_is_ours_and_leaves_the_rest() {
        let text = format!("{} initrd=initrd bulla.gateway=10.0.2.2", line(&root()));
        let settings = Settings::parse(&text).unwrap();
        assert_eq!(settings.model.data_blocks, 12);
        assert_eq!(settings.model.salt, "00ff");
        assert_eq!(settings.address.prefix_bits, 24);
        assert_eq!(settings.gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert!(!settings.development && settings.weights_mib.is_none());
        let text = format!("{text} bulla.weights_mib=96");
        assert_eq!(Settings::parse(&text).unwrap().weights_mib, Some(96));
        for wrong in ["0", "-1", "x", "16777217"] {
            let text = text.replace("=96", &format!("={wrong}"));
            assert!(Settings::parse(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refuses_words_it_does_not_know_twice_said_or_missing() {
        let unknown = Settings::parse(&format!("{} bulla.debug=1", line(&root())));
        assert!(matches!(unknown, Err(CommandLineError::Unknown { .. })));
        let flag = Settings::parse(&format!("{} bulla.development=yes", line(&root())));
        assert!(matches!(flag, Err(CommandLineError::Unknown { .. })));
        let twice = Settings::parse(&format!("{0} {0}", line(&root())));
        assert_eq!(twice, Err(CommandLineError::Repeated { name: "bulla.model" }));
        let missing = Settings::parse("quiet");
        assert_eq!(missing, Err(CommandLineError::Missing { name: "bulla.model" }));
    }

    #[test]
    fn refuses_volumes_that_are_none() {
        let hash = "ab".repeat(32);
        for wrong in [
            format!("{hash}:12"),
            format!("{hash}:0:00"),
            format!("{hash}:12:0"),
            format!("{hash}:12:"),
            format!("{hash}:12:00:1"),
            format!("{}:12:00", "AB".repeat(32)),
            format!("{}:12:00", "ab".repeat(31)),
            format!("{hash}:{}:00", u64::MAX),
        ] {
            assert!(Settings::parse(&line(&wrong)).is_err(), "{wrong}");
        }
    }
}
