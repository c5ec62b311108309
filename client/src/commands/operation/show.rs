//! An answer of the HTTP API as text: lists as tables, one thing line by line. What comes from the
//! other side is made harmless.

use std::collections::BTreeSet;

use bulla_wire::units::decimal;
use serde_json::{Map, Value};

use crate::commands::show::{columns, harmless};

/// Longest cell of one word, in characters: signed bytes are for `--json`. Sentences are shown whole.
const MAX_CELL_CHARS: usize = 80;

/// The answer as text. `amounts` names the members that are in micro-units.
pub fn text(answer: &Value, amounts: &BTreeSet<String>) -> String {
    match (answer, answer["items"].as_array()) {
        (_, Some(items)) => {
            let mut shown = match items.is_empty() {
                true => "none\n".to_owned(),
                false => table(items, amounts),
            };
            if let Some(next) = answer["next"].as_str() {
                shown.push_str(&format!("there is more: --after {}\n", harmless(next)));
            }
            shown
        }
        (Value::Object(members), None) => lines(members, amounts),
        (other, None) => format!("{}\n", cell("", other, amounts)),
    }
}

fn lines(members: &Map<String, Value>, amounts: &BTreeSet<String>) -> String {
    let (mut rows, mut below) = (Vec::new(), String::new());
    for (name, value) in members {
        match value {
            Value::Null => {}
            Value::Array(items) if items.is_empty() => {
                rows.push(vec![name.clone(), "none".to_owned()]);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                below.push_str(&format!("\n{name}\n{}", table(items, amounts)));
            }
            Value::Object(inner) => below.push_str(&format!("\n{name}\n{}", lines(inner, amounts))),
            value => rows.push(vec![name.clone(), cell(name, value, amounts)]),
        }
    }
    format!("{}{below}", columns(&rows))
}

/// One row per item; members that no item has are left out.
fn table(items: &[Value], amounts: &BTreeSet<String>) -> String {
    let mut names: Vec<&String> = Vec::new();
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        if !value.is_null() && !names.contains(&name) {
            names.push(name);
        }
    }
    let head = names.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
    let row = |item: &Value| {
        names.iter().map(|name| cell(name, &item[name.as_str()], amounts)).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(items.iter().map(row)).collect();
    columns(&rows)
}

fn cell(name: &str, value: &Value, amounts: &BTreeSet<String>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(number) if amounts.contains(name) => amount(&number.to_string()),
        Value::String(text) if amounts.contains(name) => amount(text),
        Value::String(text) => cut(&harmless(text)),
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| cell(name, item, amounts)).collect();
            parts.join(" ")
        }
        Value::Object(members) => {
            let part =
                |(name, value): (&String, &Value)| format!("{name}={}", cell(name, value, amounts));
            members.iter().map(part).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    match text.chars().count() > MAX_CELL_CHARS && !text.contains(char::is_whitespace) {
        true => text.chars().take(MAX_CELL_CHARS).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Micro-units as whole units, exact: `-1.5`. What is no number stays as it came.
pub fn amount(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let Ok(micro) = digits.parse::<u128>() else { return cut(&harmless(text)) };
    format!("{sign}{}", decimal(micro))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_tables_and_one_thing_is_lines() {
        let amounts: BTreeSet<String> = ["spent", "total"].map(str::to_owned).into();
        let list = json!({ "items": [
            { "project": 1, "name": "a\u{1b}[2J", "spent": 1_500_000, "left": null },
            { "project": 2, "name": "b", "spent": 0, "left": null },
        ], "next": "2" });
        let shown = text(&list, &amounts);
        assert_eq!(
            shown,
            "PROJECT  NAME  SPENT\n1        a[2J  1.5\n2        b     0\nthere is more: --after 2\n"
        );
        let one = json!({ "kind": "credit-note", "total": "-2500000", "lines": [{ "what": "x" }] });
        assert_eq!(text(&one, &amounts), "kind   credit-note\ntotal  -2.5\n\nlines\nWHAT\nx\n");
        assert_eq!(text(&json!({ "items": [], "next": null }), &amounts), "none\n");
    }
}
