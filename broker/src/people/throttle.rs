//! How often somebody may try to sign in: every failure makes the next attempt wait, twice as long
//! each time. Counted per name, known or not, so that nobody learns which names there are.

use bulla_wire::units::UnixSeconds;

/// Failures before the first wait.
pub const FREE_FAILURES: u64 = 4;
/// First wait, in seconds.
const FIRST_WAIT_SECONDS: u64 = 2;
/// Longest wait, in seconds: somebody else's attempts lock nobody out for long.
const LONGEST_WAIT_SECONDS: u64 = 5 * 60;
/// Failures older than this are forgotten, in seconds.
pub const FORGET_SECONDS: u64 = 3600;

/// What is kept about attempts under one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Failures in a row.
    pub failures: u64,
    /// The last one.
    pub last_at: UnixSeconds,
}

impl Attempts {
    /// When the next attempt is looked at.
    pub fn open_at(&self) -> UnixSeconds {
        let Some(more) = self.failures.checked_sub(FREE_FAILURES) else { return UnixSeconds(0) };
        let wait = FIRST_WAIT_SECONDS.saturating_mul(1 << more.min(16)).min(LONGEST_WAIT_SECONDS);
        UnixSeconds(self.last_at.0.saturating_add(wait))
    }

    /// How long to wait, in seconds; 0 when the attempt may be made.
    pub fn wait_seconds(&self, now: UnixSeconds) -> u64 {
        self.open_at().saturating_sub(now).0.min(LONGEST_WAIT_SECONDS)
    }

    /// After one more failure.
    pub fn failed(self, now: UnixSeconds) -> Attempts {
        let old = now.saturating_sub(self.last_at).0 >= FORGET_SECONDS;
        let failures = if old { 0 } else { self.failures };
        Attempts { failures: failures.saturating_add(1), last_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_forgotten() {
        let mut attempts = Attempts::default();
        let mut now = UnixSeconds(1_000_000);
        let mut waits = Vec::new();
        for _ in 0..16 {
            attempts = attempts.failed(now);
            waits.push(attempts.wait_seconds(now));
            now = UnixSeconds(now.0 + attempts.wait_seconds(now));
            assert_eq!(attempts.wait_seconds(now), 0);
        }
        assert_eq!(waits[..8], [0, 0, 0, 2, 4, 8, 16, 32]);
        assert_eq!(waits.last(), Some(&LONGEST_WAIT_SECONDS));
        let later = UnixSeconds(now.0 + FORGET_SECONDS);
        assert_eq!(attempts.failed(later).failures, 1);
        assert!(attempts.wait_seconds(UnixSeconds(0)) <= LONGEST_WAIT_SECONDS, "a clock set back");
    }
}
