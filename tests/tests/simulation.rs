//! Every role in one thread from one seed, over a hostile network: see `bulla_tests::world`.
//!
//! `BULLA_SEEDS=n` sets how many seeds, `BULLA_FIRST=n` the first; `BULLA_SEED=n … one_seed --
//! --nocapture` tells one aloud.

use std::time::Instant;

use bulla_tests::world::faults::Sabotage;
use bulla_tests::world::{Tally, run, run_aloud, run_sabotaged};

/// Seeds told by default.
const SEEDS: u64 = 1_000;
/// Seeds among which a sabotage must be noticed.
const SABOTAGED: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, got {text:?}")))
}

/// Tells seeds, each on one thread; the first that fails, by number, is shown.
fn tell(seeds: std::ops::Range<u64>) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = |first: u64| -> Result<Tally, String> {
        let mut tally = Tally::default();
        for seed in (seeds.start + first..seeds.end).step_by(threads as usize) {
            tally.add(&run(seed).map_err(|violation| violation.to_string())?.tally);
        }
        Ok(tally)
    };
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|n| scope.spawn(move || share(n))).collect();
        let mut tally = Tally::default();
        for told in shares {
            match told.join().expect("a thread of the simulation") {
                Ok(part) => tally.add(&part),
                Err(violation) => panic!("\n{violation}"),
            }
        }
        tally
    })
}

#[test]
fn a_thousand_seeds_break_no_invariant() {
    let seeds = number("BULLA_SEEDS").unwrap_or(SEEDS);
    let started = Instant::now();
    let first = number("BULLA_FIRST").unwrap_or(0);
    let tally = tell(first..first + seeds);
    let took = started.elapsed().as_secs_f64();
    println!("{seeds} seeds in {took:.1} s: {tally:#?}");
    if seeds >= SEEDS {
        assert!(tally.lost > 0 && tally.duplicated > 0 && tally.mangled > 0, "{tally:?}");
        assert!(tally.broker_crashes > 0 && tally.enclave_crashes > 0, "{tally:?}");
        assert!(tally.commits_failed > 0 && tally.epochs_closed > 0, "{tally:?}");
        assert!(tally.done > 2 * seeds, "most requests are served: {tally:?}");
        assert!(tally.released > 0 && tally.expired > 0 && tally.flagged > 0, "{tally:?}");
    }
}

#[test]
fn one_seed() {
    let seed = number("BULLA_SEED").unwrap_or(7);
    match run_aloud(seed) {
        Ok(ended) => println!("seed {seed}: {:#?}", ended.tally),
        Err(violation) => panic!("\n{violation}"),
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..12 {
        let (first, second) = (run(seed).expect("holds"), run(seed).expect("holds"));
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(run(1).expect("holds").trace, run(2).expect("holds").trace);
}

/// Some seed must notice, and name the invariant that was broken.
fn notices(sabotage: Sabotage, invariant: &str) {
    let names = |seed| run_sabotaged(seed, sabotage).err().map(|violation| violation.invariant);
    let is_noticed = (0..SABOTAGED).filter_map(names).any(|name| name == invariant);
    assert!(is_noticed, "no seed says that {sabotage:?} breaks {invariant}");
}

#[test]
fn lost_receipts_are_noticed() {
    notices(Sabotage::LosesReceipts, "receipts-logged");
}

#[test]
fn a_forgetful_outbox_is_noticed() {
    notices(Sabotage::ForgetfulOutbox, "receipts-logged");
}

#[test]
fn plaintext_is_noticed() {
    notices(Sabotage::SpeaksInTheOpen, "no-plaintext");
}

#[test]
fn a_forked_log_is_noticed() {
    notices(Sabotage::ForksTheLog, "log-grows");
}

#[test]
fn forgotten_waiters_are_noticed() {
    notices(Sabotage::ForgetsWaiters, "every-waiter-answered");
}

#[test]
fn another_answer_is_noticed() {
    notices(Sabotage::TellsAnotherAnswer, "one-answer");
}
