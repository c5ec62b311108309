//! A row: what is measured, beside which anchor, and what came out.

use std::time::Duration;

use serde_json::{Value, json};

use super::stopwatch::{Operation, Timing, duel};

/// How a figure is stated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Time of one operation.
    Time,
    /// So many of `what` per operation, stated per second.
    Rate {
        /// What is counted.
        what: &'static str,
        /// How many of them one operation does.
        per_operation: f64,
    },
}

impl Scale {
    /// The unit of a machine-readable figure.
    pub fn unit(self) -> String {
        match self {
            Scale::Time => "µs".to_owned(),
            Scale::Rate { what, .. } => format!("{what}/s"),
        }
    }

    /// A figure in [`Scale::unit`].
    pub fn figure(self, ns: f64) -> f64 {
        match self {
            Scale::Time => ns / 1e3,
            Scale::Rate { per_operation, .. } => per_operation * 1e9 / ns.max(1.0),
        }
    }

    /// A figure for people.
    pub fn show(self, ns: f64) -> String {
        match self {
            Scale::Time => show_time(ns),
            Scale::Rate { what, .. } => format!("{} {what}/s", significant(self.figure(ns))),
        }
    }
}

/// One side of a row.
pub struct Side {
    /// What it does.
    pub work: String,
    /// How its figure is stated.
    pub scale: Scale,
    /// Does it once.
    pub operation: Operation,
}

impl Side {
    /// Stated as time.
    pub fn timed(
        work: impl Into<String>,
        operation: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Side {
        Side { work: work.into(), scale: Scale::Time, operation: Box::new(operation) }
    }

    /// Stated per second.
    pub fn rated(
        work: impl Into<String>,
        what: &'static str,
        per_operation: f64,
        operation: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Side {
        let scale = Scale::Rate { what, per_operation };
        Side { work: work.into(), scale, operation: Box::new(operation) }
    }
}

/// A piece of work and the limit or peer it is held against.
pub struct Row {
    /// The work.
    pub subject: Side,
    /// What it is compared with, in the same run.
    pub anchor: Side,
}

impl Row {
    /// Measures both in turn.
    pub fn measure(&mut self, time_box: Duration) -> anyhow::Result<Line> {
        let (subject, anchor) =
            duel(&mut self.subject.operation, &mut self.anchor.operation, time_box)?;
        Ok(Line {
            work: self.subject.work.clone(),
            scale: self.subject.scale,
            timing: subject,
            anchor: self.anchor.work.clone(),
            anchor_scale: self.anchor.scale,
            anchor_timing: anchor,
        })
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The work.
    pub work: String,
    /// How its figure is stated.
    pub scale: Scale,
    /// How long it took.
    pub timing: Timing,
    /// The limit or peer.
    pub anchor: String,
    /// How its figure is stated.
    pub anchor_scale: Scale,
    /// How long that took.
    pub anchor_timing: Timing,
}

impl Line {
    /// Median of the work.
    pub fn median(&self) -> f64 {
        self.scale.figure(self.timing.median_ns)
    }

    /// Median of the anchor.
    pub fn anchor_median(&self) -> f64 {
        self.anchor_scale.figure(self.anchor_timing.median_ns)
    }

    /// Work over anchor, each in its own unit.
    pub fn ratio(&self) -> f64 {
        self.median() / self.anchor_median()
    }

    /// Cells of a table: work, median, p99, busy, anchor, its median, ratio, difference.
    pub fn cells(&self) -> [String; 8] {
        let added_ns = self.timing.median_ns - self.anchor_timing.median_ns;
        let both_times = self.scale == Scale::Time && self.anchor_scale == Scale::Time;
        [
            self.work.clone(),
            self.scale.show(self.timing.median_ns),
            show_time(self.timing.p99_ns),
            self.timing.busy.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share)),
            self.anchor.clone(),
            self.anchor_scale.show(self.anchor_timing.median_ns),
            format!("{:.2}", self.ratio()),
            if both_times { show_difference(added_ns) } else { String::new() },
        ]
    }

    /// One object of `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "work": self.work,
            "unit": self.scale.unit(),
            "median": rounded(self.median()),
            "p99_us": rounded(self.timing.p99_ns / 1e3),
            "busy": self.timing.busy.map(rounded),
            "operations": self.timing.operations,
            "runs": self.timing.runs,
            "anchor": self.anchor,
            "anchor_unit": self.anchor_scale.unit(),
            "anchor_median": rounded(self.anchor_median()),
            "ratio": rounded(self.ratio()),
            "release_profile": !cfg!(debug_assertions),
        })
    }
}

fn show_difference(ns: f64) -> String {
    let sign = if ns < 0.0 { "-" } else { "+" };
    format!("{sign}{}", show_time(ns.abs()))
}

/// A time with the unit that suits it.
fn show_time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", significant(value))
}

/// Three significant digits, whole numbers above a thousand: more would be noise.
pub(super) fn significant(value: f64) -> String {
    let digits = match value.abs() {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(median_ns: f64) -> Timing {
        Timing { median_ns, p99_ns: 2.0 * median_ns, operations: 5, runs: 5, busy: None }
    }

    #[test]
    fn times_are_shown_in_the_unit_that_suits_them() {
        assert_eq!(show_time(731.2), "731 ns");
        assert_eq!(show_time(41_260.0), "41.3 µs");
        assert_eq!(show_time(8_123_456.0), "8.12 ms");
        assert_eq!(show_time(2.5e9), "2.50 s");
        assert_eq!(show_difference(-1500.0), "-1.50 µs");
    }

    #[test]
    fn a_rate_is_what_one_operation_does_over_its_time() {
        let scale = Scale::Rate { what: "pairs", per_operation: 8.0 };
        assert_eq!(scale.figure(2e6), 4000.0);
        assert_eq!(scale.show(2e6), "4000 pairs/s");
        assert_eq!(scale.unit(), "pairs/s");
    }

    #[test]
    fn the_ratio_compares_figures_as_stated() {
        let line = Line {
            work: "hold".to_owned(),
            scale: Scale::Rate { what: "pairs", per_operation: 10.0 },
            timing: timing(2e6),
            anchor: "sync".to_owned(),
            anchor_scale: Scale::Rate { what: "syncs", per_operation: 1.0 },
            anchor_timing: timing(1e6),
        };
        assert_eq!(line.ratio(), 5.0);
        assert_eq!(line.to_json()["ratio"], 5.0);
        assert_eq!(line.to_json()["unit"], "pairs/s");
        assert_eq!(line.cells()[7], "");
    }

    #[test]
    fn two_times_have_a_difference() {
        let line = Line {
            work: "path".to_owned(),
            scale: Scale::Time,
            timing: timing(3e6),
            anchor: "engine".to_owned(),
            anchor_scale: Scale::Time,
            anchor_timing: timing(1e6),
        };
        assert_eq!(line.cells()[6], "3.00");
        assert_eq!(line.cells()[7], "+2.00 ms");
    }
}
