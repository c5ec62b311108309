//! The JSON a script reads. One piece of evidence: its verdict. Several: `{verdict, results}`.

use bulla_attestation::input::LeftAside;
use bulla_attestation::result::{AttestationResult, Verdict};
use serde::Serialize;

use super::hints::hints;
use super::judge::{Appraisal, Judged, Unreadable};
use crate::commands::show::instant;

#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    result: &'a AttestationResult,
    at: String,
    evidence: &'a str,
    endorsements: &'a [String],
    hints: Vec<String>,
}

#[derive(Serialize)]
struct Alone<'a> {
    #[serde(flatten)]
    one: One<'a>,
    left_aside: Vec<Aside<'a>>,
}

#[derive(Serialize)]
struct Several<'a> {
    verdict: Verdict,
    results: Vec<One<'a>>,
    left_aside: Vec<Aside<'a>>,
}

#[derive(Serialize)]
struct Failed<'a> {
    error: &'a str,
    left_aside: Vec<Aside<'a>>,
}

#[derive(Serialize)]
struct Aside<'a> {
    from: &'a str,
    reason: &'a str,
}

/// The document about what was judged.
pub fn of(appraisal: &Appraisal) -> String {
    let left_aside = asides(&appraisal.left_aside);
    match appraisal.judged.as_slice() {
        [only] => text(&Alone { one: one(only), left_aside }),
        several => {
            let affirmed = appraisal.is_affirmed();
            let verdict = if affirmed { Verdict::Affirmed } else { Verdict::Refused };
            text(&Several { verdict, results: several.iter().map(one).collect(), left_aside })
        }
    }
}

/// The document where nothing was.
pub fn of_error(error: &Unreadable) -> String {
    text(&Failed { error: &error.reason, left_aside: asides(&error.left_aside) })
}

fn one(judged: &Judged) -> One<'_> {
    One {
        result: &judged.result,
        at: instant(judged.result.appraised_at()),
        evidence: &judged.from,
        endorsements: &judged.endorsements,
        hints: hints(judged),
    }
}

fn asides(left: &[LeftAside]) -> Vec<Aside<'_>> {
    left.iter().map(|left| Aside { from: &left.from, reason: &left.reason }).collect()
}

fn text(document: &impl Serialize) -> String {
    match serde_json::to_string_pretty(document) {
        Ok(text) => text,
        Err(never) => unreachable!("texts, numbers and lists only: {never}"),
    }
}
