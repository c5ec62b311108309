//! The clock and the randomness of this machine.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use bulla_wire::units::UnixMillis;
use rand_core::{TryCryptoRng, TryRng};
use ring::rand::{SecureRandom, SystemRandom};

/// Now. A clock before 1970 reads as 1970, where every certificate and price book is refused.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The operating system's random source.
pub struct SystemRng(SystemRandom);

impl SystemRng {
    /// Opens it.
    pub fn new() -> SystemRng {
        SystemRng(SystemRandom::new())
    }
}

impl Default for SystemRng {
    fn default() -> Self {
        SystemRng::new()
    }
}

impl TryRng for SystemRng {
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

    /// Without randomness nothing here may go on: no key, nonce or hold would be safe.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match self.0.fill(bytes) {
            Ok(()) => Ok(()),
            Err(_) => panic!("the operating system gives no random bytes"),
        }
    }
}

impl TryCryptoRng for SystemRng {}
