//! A few threads that stay, because starting one costs more than most products.
//!
//! Work is a count of parts; threads take the next part until none is left, so a core that a
//! neighbour slows down takes fewer. Between two runs a thread spins for some microseconds, then it
//! sleeps: engines share their cores with the rest of the machine.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::split::Split;

/// How often a waiting thread looks before it sleeps; about 20 microseconds.
const SPINS: u32 = 1_000;

/// Multiplications that are worth another thread's attention; about ten microseconds of one.
pub const WORTH_WAKING: usize = 1 << 18;

/// Work on one piece: part, the piece, scratch.
pub type PieceWork<'a> = dyn Fn(usize, &mut [f32], &mut [f32]) + Sync + 'a;

/// What the threads of one run share. Lives on the caller's stack for the time of the run.
struct Run<'a> {
    work: &'a (dyn Fn(usize, usize) + Sync),
    parts: usize,
    next: AtomicUsize,
}

impl Run<'_> {
    fn take_parts(&self, worker: usize) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                return;
            }
            (self.work)(part, worker);
        }
    }
}

/// Set in the gate while helpers may enter the current run; the rest counts those inside.
const OPEN: usize = 1 << (usize::BITS - 1);

struct Shared {
    /// The current run. Valid while the gate is open or anybody is inside.
    run: AtomicPtr<Run<'static>>,
    gate: AtomicUsize,
    /// Counts runs, so that a waiting helper sees that there is something new.
    generation: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
    /// Helpers that sleep, by index.
    asleep: Vec<AtomicBool>,
}

impl Shared {
    /// Enters the current run, unless it is over.
    fn enter(&self) -> bool {
        let more = |gate: usize| (gate & OPEN != 0).then_some(gate + 1);
        self.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn leave(&self) {
        self.gate.fetch_sub(1, Ordering::Release);
    }
}

/// The threads. Dropping the pool ends them.
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// One run at a time.
    turn: Mutex<()>,
}

impl Pool {
    /// A pool in which `threads` threads work, the calling one among them; at least one.
    pub fn new(threads: usize) -> Pool {
        let helpers = threads.saturating_sub(1);
        let shared = Arc::new(Shared {
            run: AtomicPtr::new(std::ptr::null_mut()),
            gate: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
        });
        let start = |index: usize| {
            let shared = Arc::clone(&shared);
            let named = thread::Builder::new().name(format!("kernel-{}", index + 1));
            named.spawn(move || help(&shared, index)).ok()
        };
        // Fewer threads than asked for still finish every run: the caller takes all parts.
        let helpers = (0..helpers).map_while(start).collect();
        Pool { shared, helpers, turn: Mutex::new(()) }
    }

    /// How many threads work, the calling one among them.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `work(part, worker)` for each part from 0 to `parts - 1`, once, on any thread; returns
    /// when all are done. No two calls at a time have the same worker, a number below
    /// [`Pool::threads`].
    ///
    /// # Panics
    /// When `work` does on any thread.
    pub fn run(&self, parts: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let run = Run { work, parts, next: AtomicUsize::new(0) };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.helpers.is_empty() || parts <= 1 {
            return run.take_parts(0);
        }
        self.publish(&run);
        // Closes the run even when `work` unwinds here: helpers inside hold a pointer to it.
        let closing = Closing(&self.shared);
        run.take_parts(0);
        drop(closing);
        assert!(!self.shared.panicked.swap(false, Ordering::Relaxed), "a kernel thread panicked");
    }

    /// As [`Pool::run`], on this thread alone where the whole takes fewer than [`WORTH_WAKING`]
    /// multiplications: asking another thread would cost more.
    pub fn run_if_worth(
        &self,
        multiplications: usize,
        parts: usize,
        work: &(dyn Fn(usize, usize) + Sync),
    ) {
        match multiplications < WORTH_WAKING {
            true => (0..parts).for_each(|part| work(part, 0)),
            false => self.run(parts, work),
        }
    }

    /// Calls `work(part, piece, scratch)` for each piece of `length` numbers of `whole`, with scratch
    /// that no other call uses meanwhile: `scratch` is shared out equally among the threads. Few
    /// `multiplications` in all stay on this thread.
    ///
    /// # Panics
    /// When `whole` is not made of whole pieces, or `work` panics.
    pub fn run_pieces(
        &self,
        multiplications: usize,
        whole: &mut [f32],
        length: usize,
        scratch: &mut [f32],
        work: &PieceWork<'_>,
    ) {
        assert!(whole.len().is_multiple_of(length), "whole pieces");
        let (parts, share) = (whole.len() / length, scratch.len() / self.threads());
        let (whole, scratch) = (Split::new(whole), Split::new(scratch));
        self.run_if_worth(multiplications, parts, &|part, worker| {
            // SAFETY: each part has its own piece, each worker its own scratch.
            let (piece, scratch) = unsafe {
                (
                    whole.part(part * length..(part + 1) * length),
                    scratch.part(worker * share..(worker + 1) * share),
                )
            };
            work(part, piece, scratch);
        });
    }

    /// Calls `work` for each of `items`, on any thread. Few `multiplications` in all stay on this one.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run_each<T: Send>(
        &self,
        multiplications: usize,
        items: &mut [T],
        work: &(dyn Fn(&mut T) + Sync),
    ) {
        let parts = items.len();
        let items = Split::new(items);
        self.run_if_worth(multiplications, parts, &|part, _| {
            // SAFETY: each part has its own item.
            unsafe { items.part(part..part + 1) }.iter_mut().for_each(work);
        });
    }

    fn publish(&self, run: &Run<'_>) {
        let shared = &self.shared;
        // The lifetime ends here: `Closing` keeps `run` alive until no helper is inside.
        shared.run.store(std::ptr::from_ref(run).cast_mut().cast(), Ordering::Relaxed);
        shared.gate.store(OPEN, Ordering::Release);
        shared.generation.fetch_add(1, Ordering::SeqCst);
        for (asleep, helper) in shared.asleep.iter().zip(&self.helpers) {
            if asleep.load(Ordering::SeqCst) {
                helper.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper only panics inside `work`, which it catches.
            let _ = helper.join();
        }
    }
}

/// Lets nobody else in, and blocks until the last helper has left, when dropped. A helper that
/// sleeps through a run holds nobody up.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.0.gate.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// The life of one helper.
fn help(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        seen = wait_for_next(shared, index, seen);
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        if !shared.enter() {
            continue;
        }
        // SAFETY: this helper is inside, so the caller stays in `Pool::run` and `run` is its own;
        // entering acquires what the caller wrote before it opened the gate.
        let run = unsafe { &*shared.run.load(Ordering::Relaxed) };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| run.take_parts(index + 1)));
        if outcome.is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.leave();
    }
}

/// Spins, then sleeps, until the generation is no longer `seen`; returns the new one.
fn wait_for_next(shared: &Shared, index: usize, seen: usize) -> usize {
    for _ in 0..SPINS {
        let now = shared.generation.load(Ordering::Acquire);
        if now != seen {
            return now;
        }
        std::hint::spin_loop();
    }
    shared.asleep[index].store(true, Ordering::SeqCst);
    let now = loop {
        let now = shared.generation.load(Ordering::SeqCst);
        if now != seen {
            break now;
        }
        thread::park();
    };
    shared.asleep[index].store(false, Ordering::SeqCst);
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads);
            for parts in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                pool.run(parts, &|part, _| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn each_item_is_worked_on_once() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            for (multiplications, count) in [(0, 5), (WORTH_WAKING, 0), (WORTH_WAKING, 500)] {
                let mut items: Vec<String> = (0..count).map(|item| item.to_string()).collect();
                pool.run_each(multiplications, &mut items, &|item| item.push('!'));
                let expected = (0..count).map(|item| format!("{item}!"));
                assert!(items.iter().eq(&expected.collect::<Vec<_>>()));
            }
        }
    }

    #[test]
    fn pieces_and_scratch_belong_to_one_call_at_a_time() {
        let pool = Pool::new(3);
        let (mut whole, mut scratch) = (vec![0.0; 600], vec![0.0; 9]);
        pool.run_pieces(WORTH_WAKING, &mut whole, 6, &mut scratch, &|part, piece, scratch| {
            scratch.fill(part as f32);
            piece.copy_from_slice(&[&*scratch, &*scratch].concat());
        });
        for (part, piece) in whole.chunks(6).enumerate() {
            assert!(piece.iter().all(|value| *value == part as f32));
        }
    }

    #[test]
    fn sleeping_threads_wake_up() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicUsize::new(0);
            pool.run(100, &|part, _| {
                sum.fetch_add(part, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            pool.run(64, &|part, _| assert_ne!(part, 63, "on purpose"));
        }));
        assert!(outcome.is_err());
        pool.run(64, &|_, worker| assert!(worker < 2));
    }
}
