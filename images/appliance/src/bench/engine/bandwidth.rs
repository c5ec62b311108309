//! How fast this machine reads memory: the limit of decoding one stream.

use std::thread;
use std::time::Instant;

/// Bytes each thread reads: far more than any cache holds.
const BYTES: usize = 256 << 20;
/// Readings, of which the best counts: anything else on the machine only takes away.
const READINGS: usize = 3;

/// Bytes per second that `threads` threads read together.
pub fn read_bytes_per_second(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads).map(|_| vec![1u64; BYTES / 8]).collect();
    let reading = || {
        let started = Instant::now();
        let total: u64 = thread::scope(|scope| {
            let readers: Vec<_> =
                buffers.iter().map(|buffer| scope.spawn(|| sum(buffer))).collect();
            readers.into_iter().filter_map(|reader| reader.join().ok()).sum()
        });
        assert_eq!(total as usize, threads * BYTES / 8, "every word was read");
        (threads * BYTES) as f64 / started.elapsed().as_secs_f64()
    };
    (0..READINGS).map(|_| reading()).fold(0.0, f64::max)
}

/// Independent sums, so that loads and not additions are waited for.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for chunk in words.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().sum()
}
