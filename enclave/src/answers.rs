//! Sealed answers are kept for a while, so that one that was lost on the way can be fetched again
//! by its hold id: the same order returns the same bytes.

use std::collections::{HashMap, VecDeque};

use bulla_wire::ids::HoldId;
use bulla_wire::units::UnixMillis;

/// Most bytes kept; the oldest answers go first.
pub const MAX_STORED_ANSWER_BYTES: usize = 256 << 20;

/// A finished sealed answer.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Every byte that was sent, from the nonce to the final chunk.
    pub sealed: Vec<u8>,
    /// The usage receipt (COSE_Sign1).
    pub receipt: Vec<u8>,
}

/// Answers by hold id, oldest first out.
pub struct StoredAnswers {
    answers: HashMap<HoldId, StoredAnswer>,
    ages: VecDeque<(UnixMillis, HoldId)>,
    bytes: usize,
    limit_bytes: usize,
}

impl Default for StoredAnswers {
    fn default() -> Self {
        StoredAnswers::with_limit(MAX_STORED_ANSWER_BYTES)
    }
}

impl StoredAnswers {
    /// A store of at most `limit_bytes`.
    pub fn with_limit(limit_bytes: usize) -> StoredAnswers {
        StoredAnswers { answers: HashMap::new(), ages: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// Keeps an answer until `until`.
    pub fn keep(&mut self, hold: HoldId, answer: StoredAnswer, until: UnixMillis) {
        self.bytes += answer.sealed.len() + answer.receipt.len();
        self.answers.insert(hold, answer);
        self.ages.push_back((until, hold));
        while self.bytes > self.limit_bytes && self.drop_oldest() {}
    }

    /// The answer to a hold.
    pub fn of_hold(&self, hold: &HoldId) -> Option<&StoredAnswer> {
        self.answers.get(hold)
    }

    /// Forgets answers whose time has come.
    pub fn expire(&mut self, now: UnixMillis) {
        while self.ages.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, hold)) = self.ages.pop_front() else { return false };
        if let Some(answer) = self.answers.remove(&hold) {
            self.bytes -= answer.sealed.len() + answer.receipt.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> StoredAnswer {
        StoredAnswer { sealed: vec![0; bytes], receipt: Vec::new() }
    }

    #[test]
    fn answers_expire_and_the_oldest_make_room() {
        let mut stored = StoredAnswers::with_limit(100);
        for n in 0..3 {
            stored.keep(HoldId([n; 16]), answer(40), UnixMillis(10 + u64::from(n)));
        }
        assert!(stored.of_hold(&HoldId([0; 16])).is_none(), "the oldest made room");
        assert!(stored.of_hold(&HoldId([1; 16])).is_some());
        stored.expire(UnixMillis(11));
        assert!(stored.of_hold(&HoldId([1; 16])).is_none());
        assert!(stored.of_hold(&HoldId([2; 16])).is_some());
    }
}
