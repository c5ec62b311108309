//! The table, on standard output.

use serde_json::Value;

use super::markdown;
use super::row::Line;

const HEADINGS: [&str; 8] =
    ["work", "median", "99 % within", "busy", "anchor", "median", "ratio", "difference"];

/// Prints a table for people, or an array for machines.
pub fn print(lines: &[Line], json: bool) {
    if json {
        let array: Vec<Value> = lines.iter().map(Line::to_json).collect();
        anstream::println!("{}", Value::Array(array));
        return;
    }
    for line in render(lines) {
        anstream::println!("{line}");
    }
    anstream::println!();
    for note in notes() {
        anstream::println!("{note}");
    }
}

fn render(lines: &[Line]) -> Vec<String> {
    markdown::table(HEADINGS, lines.iter().map(Line::cells))
}

fn notes() -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut notes = vec![format!(
        "medians of at least {} runs of each side, turn by turn; {cores} cores{}; \"99 % within\" \
         is per operation, for rates per batch; \"busy\" is the share of time spent on a \
         processor, the rest was waiting for the disk or for others",
        super::stopwatch::LEAST_RUNS,
        load().map_or_else(String::new, |load| format!(", load {load} over the last minute")),
    )];
    notes.push("attestation rows judge evidence of the simulated TEE".to_owned());
    if cfg!(debug_assertions) {
        let note = "not the release profile (debug assertions are on): only that one counts";
        notes.push(note.to_owned());
    }
    notes
}

/// How many processes wanted a core over the last minute, where the system says so.
fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::row::Scale;
    use super::super::stopwatch::Timing;
    use super::*;

    #[test]
    fn every_row_of_the_table_is_equally_wide() {
        let timing =
            Timing { median_ns: 4e4, p99_ns: 9e4, operations: 5, runs: 5, busy: Some(0.5) };
        let line = |work: &str| Line {
            work: work.to_owned(),
            scale: Scale::Time,
            timing: timing.clone(),
            anchor: "bare".to_owned(),
            anchor_scale: Scale::Time,
            anchor_timing: timing.clone(),
        };
        let table = render(&[line("a"), line("a much longer name")]);
        assert_eq!(table.len(), 4);
        let widths: Vec<usize> = table.iter().map(|row| row.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table:#?}");
    }
}
