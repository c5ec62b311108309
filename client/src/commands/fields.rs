//! Structured values as lines for people: a name, a value, indented where they nest.

use std::fmt::Write as _;

use serde_json::Value;

use super::show::{FAINT, harmless};

/// Width of a name.
const NAME_CHARS: usize = 24;
/// Longest list of plain values on one line, in characters.
const MAX_LINE_CHARS: usize = 160;

/// The members of `value`, each on a line of its own after `indent` spaces.
pub fn lines(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    if let Value::Object(members) = value {
        for (name, value) in members {
            member(&mut text, name, value, indent);
        }
    }
    text
}

fn member(text: &mut String, name: &str, value: &Value, indent: usize) {
    let width = NAME_CHARS.saturating_sub(indent.saturating_sub(4));
    let name = harmless(name);
    let _ = write!(text, "{:indent$}{FAINT}{name:<width$}{FAINT:#}  ", "");
    match short(value) {
        Some(short) => {
            let _ = writeln!(text, "{}", harmless(&short));
        }
        None => {
            text.push('\n');
            match value {
                Value::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        member(text, &format!("{index}"), element, indent + 2);
                    }
                }
                other => text.push_str(&lines(other, indent + 2)),
            }
        }
    }
}

/// A value that fits on its name's line.
fn short(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("-".to_owned()),
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(elements) => {
            let words: Option<Vec<String>> = elements
                .iter()
                .map(|element| match element {
                    Value::Object(_) | Value::Array(_) => None,
                    plain => short(plain),
                })
                .collect();
            let line = words?.join(", ");
            let line = if line.is_empty() { "none".to_owned() } else { line };
            (line.len() <= MAX_LINE_CHARS).then_some(line)
        }
        Value::Object(members) => {
            let words: Option<Vec<String>> = members
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(_) | Value::Array(_) => None,
                    plain => short(plain).map(|value| format!("{name} {value}")),
                })
                .collect();
            let line = words?.join(" · ");
            (line.len() <= MAX_LINE_CHARS / 2).then_some(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_become_indented_lines() {
        let value = json!({
            "a": 1,
            "b": {"c": true, "d": null},
            "e": ["x", "y"],
            "f": [{"g": "h".repeat(200)}],
            "i": [],
        });
        let plain = anstream::adapter::strip_str(&lines(&value, 0)).to_string();
        let words: Vec<Vec<&str>> =
            plain.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["a", "1"]);
        assert_eq!(words[1], ["b", "c", "yes", "·", "d", "-"]);
        assert_eq!(words[2], ["e", "x,", "y"]);
        assert_eq!(words[3], ["f"]);
        assert_eq!(words[4], ["0"]);
        assert_eq!(words[5][0], "g");
        assert_eq!(words[6], ["i", "none"]);
    }
}
