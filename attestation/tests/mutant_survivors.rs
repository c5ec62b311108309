//! The list of mutants that survive (`attestation/mutants/survivors.toml`) against the sources: an
//! entry about code that is gone excuses whatever comes next in its place.

#![allow(clippy::disallowed_methods, reason = "the test reads the sources")]

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    survivor: Vec<Survivor>,
}

/// What survives: every change of a function, or those narrowed down by the words of the change
/// and by the line it changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    file: String,
    /// As cargo-mutants calls it; none for constants.
    #[serde(default)]
    function: String,
    #[serde(default)]
    change: String,
    #[serde(default)]
    line: String,
    reason: String,
}

fn text(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(file)).expect(file)
}

fn has_function(text: &str, function: &str) -> bool {
    let name = function.rsplit("::").next().unwrap_or_default();
    text.contains(&format!("fn {name}(")) || text.contains(&format!("fn {name}<"))
}

#[test]
fn every_survivor_is_still_in_the_sources() {
    let list: List = toml::from_str(include_str!("../mutants/survivors.toml")).unwrap();
    let mut seen = HashSet::new();
    for Survivor { file, function, change, line, reason } in list.survivor {
        let what = format!("{file}: {function} {change} {line}");
        let text = text(&file);
        let is_constant = function.is_empty() && !line.is_empty();
        assert!(is_constant || has_function(&text, &function), "{what}: no such function");
        assert!(text.contains(&line), "{what}: no such line");
        assert!(reason.len() > 10, "{what}: no reason");
        assert!(seen.insert(what.clone()), "{what}: twice");
    }
    println!("{} entries of mutants that may survive", seen.len());
}
