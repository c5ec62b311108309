//! How fast this machine reads memory: the limit of decoding one stream.

use std::thread;
use std::time::Instant;

/// Bytes each thread reads: far more than any cache holds.
const BYTES: usize = 256 << 20;
/// Readings of each kind, of which the best counts: anything else on the machine only takes away.
const READINGS: usize = 3;
/// Places of its memory that a thread reads in turn: one processor fetches ahead best along one
/// line, another along many.
const PLACES: [usize; 4] = [1, 4, 8, 16];
/// Words of a cache line.
const LINE: usize = 8;

/// Bytes per second that `threads` threads read together.
pub fn read_bytes_per_second(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads).map(|_| vec![1u64; BYTES / 8]).collect();
    let reading = |places: usize| {
        let started = Instant::now();
        let total: u64 = thread::scope(|scope| {
            let readers: Vec<_> =
                buffers.iter().map(|buffer| scope.spawn(move || sum(buffer, places))).collect();
            readers.into_iter().filter_map(|reader| reader.join().ok()).sum()
        });
        assert_eq!(total as usize, threads * BYTES / 8, "every word was read");
        (threads * BYTES) as f64 / started.elapsed().as_secs_f64()
    };
    let readings = PLACES.iter().flat_map(|places| [*places; READINGS]);
    readings.map(reading).fold(0.0, f64::max)
}

/// Independent sums over `places` parts of equal length, a line of each in turn, so that loads and
/// not additions are waited for.
fn sum(words: &[u64], places: usize) -> u64 {
    let parts: Vec<&[u64]> = words.chunks_exact(words.len() / places).collect();
    let mut sums = [0u64; LINE];
    for at in (0..words.len() / places).step_by(LINE) {
        for part in &parts {
            for (sum, word) in sums.iter_mut().zip(&part[at..at + LINE]) {
                *sum = sum.wrapping_add(*word);
            }
        }
    }
    sums.iter().sum()
}
