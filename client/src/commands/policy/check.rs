//! What a policy demands: general rules as sentences, the sections for each TEE as they are written.

use std::fmt::Write;

use bulla_attestation::policy::{Policy, PolicyError, Purpose};
use serde_json::json;
use toml::{Table, Value};

use super::words;

/// Sections whose rules have sentences of their own, and the keys that come before any section.
const SPOKEN: [&str; 12] = [
    "name",
    "description",
    "purpose",
    "allow_simulated",
    "tees",
    "freshness",
    "keyset",
    "sealing",
    "accelerators",
    "witnesses",
    "reference_values",
    "rego",
];

/// For people.
pub fn in_words(text: &str, policy: &Policy) -> anyhow::Result<String> {
    let document: Table = text.parse()?;
    let mut out = String::new();
    writeln!(out, "policy {}  {}", policy.name(), policy.digest().prefixed())?;
    writeln!(out, "  {}", policy.description())?;
    for (about, sentence) in words::general(policy) {
        writeln!(out, "  {about:<17} {sentence}")?;
    }
    for (section, value) in sections(&document) {
        writeln!(out, "  [{section}]")?;
        for (key, value) in value {
            write_value(&mut out, key, value)?;
        }
    }
    let empty = accepts_nothing(&document, policy);
    if !empty.is_empty() {
        writeln!(out, "  takes nothing as it stands: {} accept no value", empty.join(", "))?;
    }
    Ok(out)
}

/// For scripts.
pub fn document(text: &str, policy: &Policy) -> anyhow::Result<String> {
    let document: Table = text.parse()?;
    let sentences = words::general(policy)
        .into_iter()
        .map(|(about, sentence)| (about.to_owned(), sentence.into()))
        .collect::<serde_json::Map<_, _>>();
    let shown = json!({
        "name": policy.name(),
        "digest": policy.digest(),
        "purpose": match policy.purpose() {
            Purpose::Workload => "workload",
            Purpose::Evidence => "evidence",
        },
        "demands": sentences,
        "accepts_nothing": accepts_nothing(&document, policy),
        "policy": document,
    });
    Ok(serde_json::to_string_pretty(&shown)?)
}

fn sections(document: &Table) -> impl Iterator<Item = (&str, &Table)> {
    let tables =
        document.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_table()?)));
    tables.filter(|(name, _)| !SPOKEN.contains(name))
}

/// Lists of a TEE's section that are empty where an empty list accepts nothing: those that might
/// say `"any"` instead. Lists that refuse or set floors may be empty.
fn accepts_nothing(document: &Table, policy: &Policy) -> Vec<String> {
    let from_manifests = !policy.reference_values().manifests.is_empty();
    let mut empty = Vec::new();
    for (section, table) in sections(document) {
        for (key, value) in table {
            let is_empty = value.as_array().is_some_and(Vec::is_empty);
            let filled_elsewhere = from_manifests && key == "measurements";
            if is_empty && !filled_elsewhere && may_say_any(document, section, key) {
                empty.push(format!("{section}.{key}"));
            }
        }
    }
    empty
}

/// Whether the policy's reader would take `"any"` for this key.
fn may_say_any(document: &Table, section: &str, key: &str) -> bool {
    let mut tried = document.clone();
    let table = tried.get_mut(section).and_then(Value::as_table_mut);
    let Some(value) = table.and_then(|table| table.get_mut(key)) else { return false };
    *value = Value::String("any".to_owned());
    let read = toml::to_string(&tried).map(|text| Policy::from_toml(&text));
    matches!(read, Ok(Ok(_) | Err(PolicyError::AnyMeasurement)))
}

fn write_value(out: &mut String, key: &str, value: &Value) -> std::fmt::Result {
    match value {
        Value::Array(entries) if entries.iter().any(Value::is_table) => {
            entries.iter().try_for_each(|entry| writeln!(out, "    {key:<22} {}", plain(entry)))
        }
        value => writeln!(out, "    {key:<22} {}", plain(value)),
    }
}

/// A value without TOML's marks.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text == "any" => "any: not asked".to_owned(),
        Value::String(text) => text.replace('_', " "),
        Value::Array(entries) if entries.is_empty() => "none".to_owned(),
        Value::Array(entries) => entries.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Table(table) => {
            let members = table.iter().map(|(key, value)| format!("{key} {}", plain(value)));
            members.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
