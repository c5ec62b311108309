//! The verdict for people.

use std::fmt::Write as _;

use anstyle::Style;
use bulla_attestation::result::{About, Check, CheckResult};

use super::hints::hints;
use super::judge::{Appraisal, Judged};
use crate::commands::fields;
use crate::commands::show::{BAD, FAINT, GOOD, WARN, harmless, instant};

/// Width of the names of checks.
const NAME_CHARS: usize = 24;

/// Everything judged, one block each.
pub fn of(appraisal: &Appraisal) -> String {
    let blocks: Vec<String> = appraisal.judged.iter().map(block).collect();
    let mut text = blocks.join("\n");
    if blocks.len() > 1 {
        let (style, word) = match appraisal.is_affirmed() {
            true => (GOOD, "AFFIRMED"),
            false => (BAD, "REFUSED"),
        };
        let affirmed = appraisal.judged.iter().filter(|judged| judged.result.is_affirmed()).count();
        let count = blocks.len();
        let _ = writeln!(text, "\n{style}{word}{style:#}  {affirmed} of {count} affirmed");
    }
    text
}

fn block(judged: &Judged) -> String {
    let result = &judged.result;
    let (style, word) = match (result.is_affirmed(), result.is_simulated()) {
        (false, _) => (BAD, "REFUSED"),
        (true, true) => (WARN, "AFFIRMED"),
        (true, false) => (GOOD, "AFFIRMED"),
    };
    let product = result.product().unwrap_or("unknown product");
    let policy = &result.policy().name;
    let at = instant(result.appraised_at());
    let mut text = String::new();
    let head = harmless(&format!("{} · {product} · policy {policy} · at {at}", result.tee()));
    let _ = writeln!(text, "{style}{word}{style:#}  {head}");
    if result.is_simulated() {
        let _ = writeln!(text, "{WARN}SIMULATED: no hardware protects anything{WARN:#}");
    }
    if !result.is_affirmed() && result.claims().is_some() {
        let why = match result.is_genuine() {
            true => "genuine, but not what was asked for",
            false => "not shown to be genuine",
        };
        let _ = writeln!(text, "{FAINT}{why}{FAINT:#}");
    }
    let _ = writeln!(text, "{FAINT}{}{FAINT:#}", harmless(&judged.from));
    for about in [About::Evidence, About::Policy, About::Binding] {
        section(&mut text, about, result.checks());
    }
    if let Some(claims) = result.claims() {
        let _ = writeln!(text, "\n  {FAINT}claims{FAINT:#}");
        let value = serde_json::to_value(claims).unwrap_or_default();
        text.push_str(&fields::lines(&value, 4));
    }
    for hint in hints(judged) {
        let _ = writeln!(text, "\n  {FAINT}→{FAINT:#} {hint}");
    }
    text
}

fn section(text: &mut String, about: About, checks: &[Check]) {
    let own: Vec<&Check> = checks.iter().filter(|check| check.about == about).collect();
    if own.is_empty() {
        return;
    }
    let title = match about {
        About::Evidence => "is it genuine?",
        About::Policy => "is it good enough?",
        About::Binding => "does it answer this question?",
    };
    let _ = writeln!(text, "\n  {FAINT}{title}{FAINT:#}");
    for check in own {
        text.push_str(&line(check));
    }
}

fn line(check: &Check) -> String {
    let (style, mark) = match check.result {
        CheckResult::Pass => (GOOD, "pass"),
        CheckResult::Fail => (BAD, "FAIL"),
        CheckResult::Unknown => (WARN, "unknown"),
        CheckResult::NotRequired => (FAINT, "-"),
    };
    let rest = if check.result == CheckResult::NotRequired { FAINT } else { Style::new() };
    let got = harmless(&check.got);
    let name = check.name.as_str();
    let mut text = format!("    {style}{mark:<8}{style:#}{rest}{name:<NAME_CHARS$}  {got}");
    if matches!(check.result, CheckResult::Fail | CheckResult::Unknown) {
        let _ = write!(text, "  {FAINT}(expected {}){FAINT:#}", harmless(&check.expected));
    }
    let _ = writeln!(text, "{rest:#}");
    text
}
