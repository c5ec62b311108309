//! The wall clock and the operating system's entropy, read in one place.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use bulla_wire::units::UnixMillis;
use rand_core::{TryCryptoRng, TryRng};
use ring::rand::{SecureRandom, SystemRandom};

/// Now.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The operating system's random source.
pub struct Entropy(SystemRandom);

impl Entropy {
    /// Opens it.
    pub fn new() -> Entropy {
        Entropy(SystemRandom::new())
    }
}

impl Default for Entropy {
    fn default() -> Entropy {
        Entropy::new()
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // A machine without entropy must not make keys: stopping is the only safe answer.
        assert!(self.0.fill(bytes).is_ok(), "the operating system has no entropy");
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
