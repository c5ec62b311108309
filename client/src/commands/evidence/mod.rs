//! `bulla evidence inspect`: every field of evidence and endorsements in words. Nothing is judged.

mod certificate;
mod claims;
mod describe;
mod snp;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use self::describe::{Description, Field, describe};
use super::appraise::{Unreadable, read};
use super::show::{BAD, FAINT, GOOD, WARN, harmless};
use super::{EXIT_FAILED, EXIT_OK, GlobalArgs, fields};

/// Width of a field's name.
const NAME_CHARS: usize = 24;
/// Longest value beside its words, in characters.
const SHORT_CHARS: usize = 32;

/// Looks at evidence.
#[derive(Debug, Clone, Args)]
pub struct Evidence {
    #[command(subcommand)]
    action: Action,
}

/// What can be done with it.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Show every field of evidence, certificates, revocation lists, collateral, manifests, OCSP
    /// answers and event logs in words; nothing is judged
    Inspect(Inspect),
}

/// Shows what is in files.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// Files in any usual encoding; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    found: &'a [Description],
    left_aside: Vec<String>,
}

impl Evidence {
    /// Reads and shows. Exit code 0, or 2 where nothing known was found.
    pub fn run(&self, global: &GlobalArgs) -> u8 {
        let Action::Inspect(inspect) = &self.action;
        match inspect.describe() {
            Ok((found, left_aside)) => {
                match global.json {
                    true => println!("{}", document(&found, left_aside)),
                    false => {
                        anstream::print!("{}", text(&found));
                        for left in left_aside {
                            anstream::eprintln!("{WARN}left aside{WARN:#}  {}", harmless(&left));
                        }
                    }
                }
                EXIT_OK
            }
            Err(error) => {
                if global.json {
                    println!("{}", serde_json::json!({ "error": error.reason }));
                }
                anstream::eprintln!("{BAD}bulla: {}{BAD:#}", harmless(&error.reason));
                for left in &error.left_aside {
                    anstream::eprintln!("  {}", harmless(&left.to_string()));
                }
                EXIT_FAILED
            }
        }
    }
}

impl Inspect {
    fn describe(&self) -> Result<(Vec<Description>, Vec<String>), Unreadable> {
        let files = read(&self.files, &[])?;
        let (found, left_aside) = describe(&files);
        if found.is_empty() {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let reason = format!("{}: nothing known was found", names.join(", "));
            return Err(Unreadable { reason, left_aside });
        }
        Ok((found, left_aside.iter().map(ToString::to_string).collect()))
    }
}

fn document(found: &[Description], left_aside: Vec<String>) -> String {
    match serde_json::to_string_pretty(&Document { found, left_aside }) {
        Ok(text) => text,
        Err(never) => unreachable!("texts, numbers and lists only: {never}"),
    }
}

fn text(found: &[Description]) -> String {
    let mut text = String::new();
    for (index, description) in found.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let what = harmless(&description.what);
        let from = harmless(&description.from);
        let _ = writeln!(text, "{GOOD}{what}{GOOD:#}  {FAINT}{from}{FAINT:#}");
        for field in &description.fields {
            line(&mut text, field);
        }
    }
    text
}

fn line(text: &mut String, field: &Field) {
    let (name, words) = (harmless(&field.name), field.words);
    let plain = match &field.value {
        Value::Null => Some("-".to_owned()),
        Value::String(value) => Some(harmless(value)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    };
    match plain {
        Some(value) if value.chars().count() <= SHORT_CHARS || words.is_empty() => {
            let _ = writeln!(
                text,
                "  {name:<NAME_CHARS$}{value:<SHORT_CHARS$}  {FAINT}{words}{FAINT:#}"
            );
        }
        Some(value) => {
            let _ = writeln!(text, "  {name:<NAME_CHARS$}{FAINT}{words}{FAINT:#}");
            for value in value.lines() {
                let _ = writeln!(text, "  {:<NAME_CHARS$}{value}", "");
            }
        }
        None => {
            let _ = writeln!(text, "  {name:<NAME_CHARS$}{FAINT}{words}{FAINT:#}");
            text.push_str(&fields::lines(&indexed(&field.value), 6));
        }
    }
}

/// A list as an object, so that its elements are lines.
fn indexed(value: &Value) -> Value {
    match value {
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(at, value)| (at.to_string(), value.clone())).collect()
        }
        other => other.clone(),
    }
}
