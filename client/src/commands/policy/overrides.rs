//! `--set KEY=VALUE`: a policy's text with one value changed.
//!
//! A key is a path of names with dots; `floor[part=genoa]` picks the entry of a list whose `part` is
//! `genoa`. A value is TOML; what is not TOML is taken as text.

use toml::{Table, Value};

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// Not `KEY=VALUE`.
    #[error("{text:?} is not KEY=VALUE")]
    Form {
        /// What was given.
        text: String,
    },
    /// The policy has no such key, so that a misspelt one changes nothing in silence.
    #[error("the policy has no key {key:?} (in {path:?})")]
    NoKey {
        /// The part that is not there.
        key: String,
        /// The whole path.
        path: String,
    },
    /// The text is no TOML.
    #[error("policy does not read: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
}

/// The policy's text with every change made, in order.
pub fn apply(text: &str, changes: &[String]) -> Result<String, OverrideError> {
    let syntax = |reason: String| OverrideError::Syntax { reason };
    let mut document: Table = text.parse().map_err(|e: toml::de::Error| syntax(e.to_string()))?;
    for change in changes {
        let (path, value) = split(change)?;
        set(&mut document, path, read(value))?;
    }
    toml::to_string(&document).map_err(|error| syntax(error.to_string()))
}

/// At the first equals sign outside brackets.
fn split(change: &str) -> Result<(&str, &str), OverrideError> {
    let mut depth = 0u32;
    for (at, c) in change.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '=' if depth == 0 => return Ok((change[..at].trim(), change[at + 1..].trim())),
            _ => {}
        }
    }
    Err(OverrideError::Form { text: change.to_owned() })
}

fn read(text: &str) -> Value {
    let as_toml = format!("value = {text}").parse::<Table>().ok();
    let value = as_toml.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(document: &mut Table, path: &str, value: Value) -> Result<(), OverrideError> {
    let missing = |key: &str| OverrideError::NoKey { key: key.to_owned(), path: path.to_owned() };
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = document;
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        table = descend(table, step).ok_or_else(|| missing(step))?;
    }
    *table.get_mut(last).ok_or_else(|| missing(last))? = value;
    Ok(())
}

/// Into a table, or into the entry of a list that a condition picks.
fn descend<'a>(table: &'a mut Table, step: &str) -> Option<&'a mut Table> {
    let Some((name, condition)) = step.split_once('[') else {
        return table.get_mut(step)?.as_table_mut();
    };
    let (key, wanted) = condition.strip_suffix(']')?.split_once('=')?;
    let entries = table.get_mut(name)?.as_array_mut()?;
    let is_wanted = |entry: &&mut Table| entry.get(key).and_then(Value::as_str) == Some(wanted);
    entries.iter_mut().filter_map(Value::as_table_mut).find(is_wanted)
}
