//! Timing, and the table.

use std::time::Instant;

/// Turns before the clock counts.
const WARM_UP: usize = 3;
/// Fewest turns a median is taken of.
const FEWEST_TURNS: usize = 21;

/// How long each row is measured.
pub struct Stopwatch {
    pub seconds: f64,
}

/// Medians in microseconds.
pub struct Timed {
    pub work_us: f64,
    pub peer_us: Option<f64>,
    pub turns: usize,
}

impl Stopwatch {
    /// Work and peer, turn by turn.
    pub fn compare(&self, work: impl Fn(), peer: impl Fn()) -> Timed {
        let (mut works, mut peers) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        for turn in 0.. {
            let (a, b) = (time(&work), time(&peer));
            if turn >= WARM_UP {
                works.push(a);
                peers.push(b);
            }
            if works.len() >= FEWEST_TURNS && begun.elapsed().as_secs_f64() > self.seconds {
                break;
            }
        }
        let turns = works.len();
        Timed { work_us: median(works), peer_us: Some(median(peers)), turns }
    }

    /// Work alone.
    pub fn alone(&self, work: impl Fn()) -> Timed {
        Timed { peer_us: None, ..self.compare(work, || ()) }
    }

    /// Work on things that can be used once; making them is not counted.
    pub fn consume<T>(&self, turns: usize, mut make: impl FnMut() -> T, work: impl Fn(T)) -> Timed {
        let mut works = Vec::new();
        for _ in 0..turns {
            let thing = make();
            let begun = Instant::now();
            work(thing);
            works.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        let works = works.split_off(WARM_UP.min(works.len() - 1));
        Timed { turns: works.len(), work_us: median(works), peer_us: None }
    }
}

fn time(work: &impl Fn()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What is wanted.
pub struct Goal {
    under_us: f64,
}

impl Goal {
    pub fn under_us(under_us: f64) -> Goal {
        Goal { under_us }
    }
}

/// One line.
pub struct Row {
    work: String,
    timed: Timed,
    peer: Option<&'static str>,
    goal: Option<Goal>,
}

impl Row {
    pub fn new(work: String, timed: Timed, peer: Option<&'static str>, goal: Option<Goal>) -> Row {
        Row { work, timed, peer, goal }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.timed.work_us / self.timed.peer_us?)
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.timed.work_us < self.goal.as_ref()?.under_us)
    }
}

/// For people, as Markdown.
pub fn table(rows: &[Row]) -> String {
    let head = "| work | median | per second, one core | peer | median | ratio | goal | met |\n\
                | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    let line = |row: &Row| {
        let or_none = |text: Option<String>| text.unwrap_or_default();
        format!(
            "| {} | {:.1} µs | {:.0} | {} | {} | {} | {} | {} |\n",
            row.work,
            row.timed.work_us,
            1e6 / row.timed.work_us,
            row.peer.unwrap_or_default(),
            or_none(row.timed.peer_us.map(|us| format!("{us:.1} µs"))),
            or_none(row.ratio().map(|ratio| format!("{ratio:.2}"))),
            or_none(row.goal.as_ref().map(|goal| format!("< {} µs", goal.under_us))),
            or_none(row.is_met().map(|met| if met { "yes" } else { "no" }.to_owned())),
        )
    };
    rows.iter().fold(head.to_owned(), |text, row| text + &line(row))
}

/// For machines.
pub fn json(rows: &[Row]) -> serde_json::Value {
    let line = |row: &Row| {
        serde_json::json!({
            "work": row.work,
            "candidate_us": row.timed.work_us,
            "per_second": 1e6 / row.timed.work_us,
            "peer": row.peer,
            "peer_us": row.timed.peer_us,
            "ratio": row.ratio(),
            "goal_us": row.goal.as_ref().map(|goal| goal.under_us),
            "met": row.is_met(),
            "turns": row.timed.turns,
        })
    };
    rows.iter().map(line).collect()
}
