//! What an engine did so far, in numbers alone: for metrics and for the cost per useful token.

/// Upper bounds of the step-time histogram's buckets, in microseconds; beyond the last lies one
/// bucket more.
pub const STEP_BUCKETS_US: [u64; 11] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000];

/// Totals since the engine was made, and how things stand now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineCounters {
    /// Prompt tokens that went through the model for the first time.
    pub prompt_tokens: u64,
    /// Prompt tokens found on shared pages.
    pub cached_tokens: u64,
    /// Tokens generated in answers that came to their end.
    pub delivered_tokens: u64,
    /// Tokens generated in answers that were cancelled, too late or failed.
    pub aborted_tokens: u64,
    /// Tokens read again after their pages were taken from them.
    pub recomputed_tokens: u64,
    /// Rows of passes that belonged to nobody. Always 0: passes are ragged.
    pub padded_tokens: u64,
    /// Sequences that lost their pages to an older one.
    pub preemptions: u64,
    /// Passes through the model.
    pub steps: u64,
    /// Time in passes, by the engine's clock, in microseconds.
    pub device_us: u64,
    /// Passes by duration: at most each of [`STEP_BUCKETS_US`], and longer. Not cumulative.
    pub step_buckets: [u64; STEP_BUCKETS_US.len() + 1],
    /// Requests that wait.
    pub waiting: u64,
    /// Sequences that run.
    pub running: u64,
    /// Pages nobody holds, idle prefixes included.
    pub available_pages: u64,
    /// The part of those that keeps a tenant's prefix.
    pub idle_pages: u64,
    /// Pages in all.
    pub pages: u64,
}

impl EngineCounters {
    /// Those of two engines together.
    pub fn plus(self, other: EngineCounters) -> EngineCounters {
        let mut step_buckets = self.step_buckets;
        step_buckets.iter_mut().zip(other.step_buckets).for_each(|(sum, more)| *sum += more);
        EngineCounters {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            delivered_tokens: self.delivered_tokens + other.delivered_tokens,
            aborted_tokens: self.aborted_tokens + other.aborted_tokens,
            recomputed_tokens: self.recomputed_tokens + other.recomputed_tokens,
            padded_tokens: self.padded_tokens + other.padded_tokens,
            preemptions: self.preemptions + other.preemptions,
            steps: self.steps + other.steps,
            device_us: self.device_us.saturating_add(other.device_us),
            step_buckets,
            waiting: self.waiting + other.waiting,
            running: self.running + other.running,
            available_pages: self.available_pages + other.available_pages,
            idle_pages: self.idle_pages + other.idle_pages,
            pages: self.pages + other.pages,
        }
    }

    /// Counts a pass of this duration.
    pub(crate) fn count_step(&mut self, took_us: u64) {
        self.steps += 1;
        self.device_us = self.device_us.saturating_add(took_us);
        let bucket = STEP_BUCKETS_US.partition_point(|bound| *bound < took_us);
        self.step_buckets[bucket] += 1;
    }

    /// Counts the tokens of an answer that has ended.
    pub(crate) fn count_end(&mut self, delivered: bool, output_tokens: u32) {
        let counter = if delivered { &mut self.delivered_tokens } else { &mut self.aborted_tokens };
        *counter += u64::from(output_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fall_into_their_buckets() {
        let mut counters = EngineCounters::default();
        for took_us in [0, 1_000, 1_001, 2_500_000, 2_500_001, u64::MAX] {
            counters.count_step(took_us);
        }
        assert_eq!(counters.step_buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((counters.steps, counters.device_us), (6, u64::MAX));
    }
}
