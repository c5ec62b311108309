//! An answer that was lost half way is fetched again from its start: what the caller already has
//! is compared, not repeated.

use bulla_attestation::hash::Commitment;
use bulla_wire::ids::Digest;
use bulla_wire::labels;

/// The second telling of an answer differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer fetched again differs from the part already delivered")]
pub struct Differs;

/// What reached the caller so far, by length and digest.
pub struct Delivered {
    bytes: u64,
    salt: Digest,
    told: Commitment,
    /// The part to be passed over, while a refetched answer is behind.
    repeat: Option<(u64, Digest)>,
}

impl Delivered {
    /// Nothing yet; digests are keyed with `salt`.
    pub fn nothing(salt: Digest) -> Delivered {
        let told = Commitment::new(labels::COMMIT_RESPONSE, &salt);
        Delivered { bytes: 0, salt, told, repeat: None }
    }

    /// The answer starts again.
    pub fn restart(&mut self) {
        let told =
            std::mem::replace(&mut self.told, Commitment::new(labels::COMMIT_RESPONSE, &self.salt));
        // Interrupted while repeating: the longer, first telling stays the measure.
        if self.repeat.is_none() && self.bytes > 0 {
            self.repeat = Some((self.bytes, told.finish()));
        }
        self.bytes = 0;
    }

    /// Takes released bytes; returns those the caller does not have yet.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Differs> {
        let Some((length, digest)) = self.repeat else {
            self.take(bytes);
            return Ok(bytes.to_vec());
        };
        let missing = usize::try_from(length - self.bytes).unwrap_or(usize::MAX);
        let (old, new) = bytes.split_at(missing.min(bytes.len()));
        self.take(old);
        if self.bytes < length {
            return Ok(Vec::new());
        }
        if self.told.finish() != digest {
            return Err(Differs);
        }
        self.repeat = None;
        self.take(new);
        Ok(new.to_vec())
    }

    /// The answer has ended: nothing the caller has may be missing from it.
    pub fn finish(&self) -> Result<(), Differs> {
        if self.repeat.is_some() { Err(Differs) } else { Ok(()) }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.told.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered() -> Delivered {
        Delivered::nothing(Digest([7; 32]))
    }

    #[test]
    fn passes_over_what_was_delivered_however_it_is_cut() {
        let mut delivered = delivered();
        assert_eq!(delivered.push(b"abcd").unwrap(), b"abcd");
        delivered.restart();
        assert_eq!(delivered.push(b"ab").unwrap(), b"");
        delivered.restart();
        assert_eq!(delivered.push(b"abc").unwrap(), b"");
        assert_eq!(delivered.push(b"def").unwrap(), b"ef");
        assert_eq!(delivered.push(b"g").unwrap(), b"g");
        assert_eq!(delivered.finish(), Ok(()));
        delivered.restart();
        assert_eq!(delivered.push(b"abcdefgh").unwrap(), b"h");
    }

    #[test]
    fn refuses_another_telling_and_a_shorter_one() {
        let mut delivered = delivered();
        delivered.push(b"abcd").unwrap();
        delivered.restart();
        assert_eq!(delivered.push(b"abXd"), Err(Differs));
        delivered.restart();
        delivered.push(b"abc").unwrap();
        assert_eq!(delivered.finish(), Err(Differs));
    }
}
