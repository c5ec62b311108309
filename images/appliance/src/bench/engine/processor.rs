//! Where the processor's time goes while answers are made: to the threads that compute, to all the
//! others of this process, and how long the first were kept waiting for a processor.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::row::Row;

/// How the names of threads that compute begin: those of engines and of their pools' helpers.
const COMPUTING: [&str; 3] = ["engine", "plain engine", "kernel-"];

/// What the threads of this process have used so far.
pub struct Account(BTreeMap<u32, Thread>);

#[derive(Clone, Copy, Default)]
struct Thread {
    computes: bool,
    ran: Duration,
    waited: Duration,
}

/// What was used between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// By threads that compute.
    computing: Duration,
    /// By all others: sockets, seals, signatures, ledger.
    beside: Duration,
    /// While threads that compute were ready and something else ran.
    kept_waiting: Duration,
}

impl Spent {
    /// Both together.
    pub fn plus(self, other: Spent) -> Spent {
        Spent {
            computing: self.computing + other.computing,
            beside: self.beside + other.beside,
            kept_waiting: self.kept_waiting + other.kept_waiting,
        }
    }
}

impl Account {
    /// Of all threads there are (Linux, `Documentation/scheduler/sched-stats.rst`); `None` where
    /// the system keeps no account.
    pub fn now() -> Option<Account> {
        let threads = std::fs::read_dir("/proc/self/task").ok()?;
        let read = |entry: std::fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // A thread that has just ended has no account any more.
            Some((number, thread(&entry.path())?))
        };
        let account = Account(threads.flatten().filter_map(read).collect());
        (!account.0.is_empty()).then_some(account)
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Account) -> Spent {
        let mut spent = Spent::default();
        for (number, after) in &self.0 {
            let before = before.0.get(number).copied().unwrap_or_default();
            let ran = after.ran.saturating_sub(before.ran);
            match after.computes {
                true => {
                    spent.computing += ran;
                    spent.kept_waiting += after.waited.saturating_sub(before.waited);
                }
                false => spent.beside += ran,
            }
        }
        spent
    }
}

fn thread(folder: &Path) -> Option<Thread> {
    let name = std::fs::read_to_string(folder.join("comm")).ok()?;
    let account = std::fs::read_to_string(folder.join("schedstat")).ok()?;
    let mut times = account.split(' ').map(|ns| ns.trim().parse().map(Duration::from_nanos));
    let (ran, waited) = (times.next()?.ok()?, times.next()?.ok()?);
    let computes = COMPUTING.iter().any(|beginning| name.starts_with(beginning));
    Some(Thread { computes, ran, waited })
}

/// One of the times.
type Time = fn(&Spent) -> Duration;

/// Rows of one kind of serving beside another, while they fill.
pub struct Processor {
    rows: [(Row, Time); 3],
}

impl Processor {
    /// Of what is `served`, beside the other.
    pub fn new(served: &str, beside: &'static str) -> Processor {
        let row = |what: &str| Row::new(format!("{served}: {what}, per token"), "µs", beside);
        Processor {
            rows: [
                (row("time of the threads that compute"), |spent| spent.computing),
                (row("time of all other threads"), |spent| spent.beside),
                (row("computing threads kept waiting"), |spent| spent.kept_waiting),
            ],
        }
    }

    /// Adds a turn: what each side spent, and the tokens it made.
    pub fn add(&mut self, anchor: (&Spent, u64), candidate: (&Spent, u64)) {
        for (row, of) in &mut self.rows {
            let each = |(spent, tokens): (&Spent, u64)| {
                1e6 * of(spent).as_secs_f64() / tokens.max(1) as f64
            };
            row.anchor.push(each(anchor));
            row.candidate.push(each(candidate));
        }
    }

    /// The rows; none where the system keeps no account.
    pub fn done(self) -> impl Iterator<Item = Row> {
        self.rows.into_iter().map(|(row, _)| row).filter(|row| !row.candidate.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(computes: bool, ran_ms: u64, waited_ms: u64) -> Thread {
        let (ran, waited) = (Duration::from_millis(ran_ms), Duration::from_millis(waited_ms));
        Thread { computes, ran, waited }
    }

    #[test]
    fn time_is_told_apart_by_what_threads_do() {
        let before = Account([(1, thread(false, 5, 5)), (2, thread(true, 10, 1))].into());
        let after = [(1, thread(false, 7, 50)), (2, thread(true, 30, 4)), (3, thread(true, 1, 1))];
        let spent = Account(after.into()).since(&before);
        let ms = Duration::from_millis;
        assert_eq!(spent, Spent { computing: ms(21), beside: ms(2), kept_waiting: ms(4) });
    }

    #[test]
    fn rows_are_per_token_and_only_where_something_was_counted() {
        let mut rows = Processor::new("all", "plain");
        let spent = Spent { beside: Duration::from_millis(3), ..Spent::default() };
        rows.add((&spent, 1000), (&spent, 100));
        let rows: Vec<Row> = rows.done().collect();
        assert_eq!((&rows[1].candidate, &rows[1].anchor), (&vec![30.0], &vec![3.0]));
        assert_eq!(Processor::new("all", "plain").done().count(), 0);
    }

    #[test]
    fn a_thread_that_works_is_counted() {
        let Some(before) = Account::now() else {
            return println!("skipped: this system keeps no account of threads");
        };
        let work = || (0..20_000_000_u64).fold(0, |sum, n| sum ^ std::hint::black_box(n));
        let busy = std::thread::Builder::new().name("kernel-test".into()).spawn(move || {
            work();
            Account::now()
        });
        let after = busy.unwrap().join().unwrap().unwrap();
        assert!(after.since(&before).computing > Duration::ZERO);
    }
}
