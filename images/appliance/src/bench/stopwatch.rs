//! Measures one piece of work beside its anchor: turn by turn, so that whatever else the machine
//! does meanwhile falls on both.

use std::time::{Duration, Instant};

/// Runs of each side, at least; their medians are what is reported.
pub const LEAST_RUNS: usize = 5;

/// One operation, repeatable.
pub type Operation = Box<dyn FnMut() -> anyhow::Result<()>>;

/// One side's figures, in nanoseconds per operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Median of the medians of the runs.
    pub median_ns: f64,
    /// 99 of 100 operations took no longer.
    pub p99_ns: f64,
    /// Operations measured.
    pub operations: usize,
    /// Runs they were measured in.
    pub runs: usize,
    /// Share of the time in which the thread was on a processor: the rest it waited, for a disk or
    /// for its turn on a loaded machine. `None` where that is not known.
    pub busy: Option<f64>,
}

impl Timing {
    /// Out of every run's operation times; `None` without any.
    pub fn of_runs(runs: &[Vec<f64>]) -> Option<Timing> {
        let mut medians: Vec<f64> =
            runs.iter().filter_map(|run| quantile(&mut run.clone(), 0.5)).collect();
        let mut all: Vec<f64> = runs.iter().flatten().copied().collect();
        Some(Timing {
            median_ns: quantile(&mut medians, 0.5)?,
            p99_ns: quantile(&mut all, 0.99)?,
            operations: all.len(),
            runs: medians.len(),
            busy: None,
        })
    }
}

/// The value below which `share` of the values lie, linear between neighbours; sorts `values`.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = share.clamp(0.0, 1.0) * values.len().checked_sub(1)? as f64;
    let (low, high) = (*values.get(place.floor() as usize)?, *values.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
}

/// Measures `subject` and `anchor` in turn for about `time_box`, after one operation of each to
/// warm up; [`LEAST_RUNS`] runs of each, however long they take.
pub fn duel(
    subject: &mut Operation,
    anchor: &mut Operation,
    time_box: Duration,
) -> anyhow::Result<(Timing, Timing)> {
    subject()?;
    anchor()?;
    let turn = time_box / (2 * LEAST_RUNS as u32);
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    for _ in 0..LEAST_RUNS {
        ours.add(subject, turn)?;
        theirs.add(anchor, turn)?;
    }
    match (ours.timing(), theirs.timing()) {
        (Some(subject), Some(anchor)) => Ok((subject, anchor)),
        _ => unreachable!("every run has at least one operation"),
    }
}

/// The runs of one side.
#[derive(Default)]
struct Runs {
    times_ns: Vec<Vec<f64>>,
    took: Duration,
    on_processor: Option<Duration>,
}

impl Runs {
    fn add(&mut self, operation: &mut Operation, turn: Duration) -> anyhow::Result<()> {
        let (began, before) = (Instant::now(), time_on_processor());
        self.times_ns.push(run(operation, turn)?);
        self.took += began.elapsed();
        if let (Some(before), Some(after)) = (before, time_on_processor()) {
            *self.on_processor.get_or_insert_default() += after.saturating_sub(before);
        }
        Ok(())
    }

    fn timing(&self) -> Option<Timing> {
        let took_s = self.took.as_secs_f64().max(f64::EPSILON);
        let busy = self.on_processor.map(|time| (time.as_secs_f64() / took_s).min(1.0));
        Some(Timing { busy, ..Timing::of_runs(&self.times_ns)? })
    }
}

/// How long this thread has run so far (Linux, `Documentation/scheduler/sched-stats.rst`).
pub fn time_on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Operation times of one run: at least one operation.
fn run(operation: &mut Operation, turn: Duration) -> anyhow::Result<Vec<f64>> {
    let began = Instant::now();
    let mut times_ns = Vec::new();
    loop {
        let start = Instant::now();
        operation()?;
        times_ns.push(start.elapsed().as_nanos() as f64);
        if began.elapsed() >= turn {
            return Ok(times_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 3.0], 0.5), Some(2.5));
        assert_eq!(quantile(&mut [10.0, 20.0], 0.99), Some(19.9));
        assert_eq!(quantile(&mut [7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn one_disturbed_run_does_not_move_the_median() {
        let calm = vec![10.0, 11.0, 12.0];
        let runs = [calm.clone(), calm.clone(), vec![900.0, 900.0], calm.clone(), calm];
        let timing = Timing::of_runs(&runs).unwrap();
        assert_eq!(timing.median_ns, 11.0);
        assert_eq!(timing.p99_ns, 900.0);
        assert_eq!((timing.operations, timing.runs), (14, 5));
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        assert_eq!(Timing::of_runs(&[]), None);
        assert_eq!(Timing::of_runs(&[vec![]]), None);
    }

    #[test]
    fn both_sides_take_turns() {
        use std::cell::RefCell;
        use std::rc::Rc;
        let log = Rc::new(RefCell::new(String::new()));
        let side = |name: char| -> Operation {
            let log = Rc::clone(&log);
            Box::new(move || {
                log.borrow_mut().push(name);
                Ok(())
            })
        };
        let (a, _) = duel(&mut side('a'), &mut side('b'), Duration::ZERO).unwrap();
        assert_eq!(*log.borrow(), "abababababab");
        assert_eq!((a.operations, a.runs), (5, 5));
    }

    #[test]
    fn time_on_a_processor_only_grows() {
        if let (Some(before), Some(after)) = (time_on_processor(), time_on_processor()) {
            assert!(after >= before);
        } else {
            println!("skipped: this system keeps no account of it");
        }
    }

    #[test]
    fn an_operation_that_fails_ends_the_measurement() {
        let mut fails: Operation = Box::new(|| anyhow::bail!("no"));
        let mut holds: Operation = Box::new(|| Ok(()));
        assert!(duel(&mut holds, &mut fails, Duration::ZERO).is_err());
    }
}
