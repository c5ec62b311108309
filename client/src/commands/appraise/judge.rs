//! The command without its surface: files in, verdicts out.

use std::io::Read;
use std::path::{Path, PathBuf};

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{
    self, File, LeftAside, MAX_FILE_BYTES, MAX_FILES, Recognised, Role,
};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;

use crate::io::folder::read_limited;

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Named {
    /// As the caller named it.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// As what it was given.
    pub role: Role,
}

/// What is asked.
pub struct Question {
    /// The kind the evidence must be of.
    pub tee: Option<TeeKind>,
    /// Under which policy.
    pub policy: Policy,
    /// Under which roots.
    pub anchors: TrustAnchors,
    /// The nonce that was sent.
    pub nonce: Option<Vec<u8>>,
    /// What REPORT_DATA must be.
    pub report_data: Option<[u8; 64]>,
    /// What the launch digest must be.
    pub measurement: Option<Vec<u8>>,
    /// As of when.
    pub at: UnixSeconds,
}

/// One piece of evidence, judged.
pub struct Judged {
    /// Where it was and how it was wrapped.
    pub from: String,
    /// The endorsements that were at hand, in words.
    pub endorsements: Vec<String>,
    /// The verdict.
    pub result: AttestationResult,
}

/// Everything judged.
pub struct Appraisal {
    /// In the order given; never empty.
    pub judged: Vec<Judged>,
    /// What was not taken.
    pub left_aside: Vec<LeftAside>,
}

impl Appraisal {
    /// Whether all of it is affirmed.
    pub fn is_affirmed(&self) -> bool {
        self.judged.iter().all(|judged| judged.result.is_affirmed())
    }
}

/// Why nothing was judged.
#[derive(Debug)]
pub struct Unreadable {
    /// In a sentence.
    pub reason: String,
    /// What was found instead of evidence.
    pub left_aside: Vec<LeftAside>,
}

impl Unreadable {
    /// A reason alone.
    pub fn of(reason: impl std::fmt::Display) -> Unreadable {
        Unreadable { reason: reason.to_string(), left_aside: Vec::new() }
    }

    /// An error and its causes, each said once: some errors state their cause themselves.
    pub fn because(error: &anyhow::Error) -> Unreadable {
        let mut reason = String::new();
        for cause in error.chain().map(ToString::to_string) {
            match (reason.is_empty(), reason.contains(&cause)) {
                (true, _) => reason = cause,
                (false, true) => {}
                (false, false) => reason = format!("{reason}: {cause}"),
            }
        }
        Unreadable::of(reason)
    }
}

/// Reads the files named; `-` is standard input.
pub fn read(files: &[PathBuf], endorsements: &[PathBuf]) -> Result<Vec<Named>, Unreadable> {
    let count = files.len() + endorsements.len();
    if count > MAX_FILES {
        return Err(Unreadable::of(format!("{count} files, at most {MAX_FILES} are looked at")));
    }
    let named = |role| move |path: &PathBuf| read_one(path, role);
    let evidence = files.iter().map(named(Role::Anything));
    evidence.chain(endorsements.iter().map(named(Role::Endorsement))).collect()
}

fn read_one(path: &Path, role: Role) -> Result<Named, Unreadable> {
    let name = path.display().to_string();
    let bytes = match name.as_str() {
        "-" => read_standard_input()?,
        _ => read_limited(path, MAX_FILE_BYTES).map_err(Unreadable::of)?,
    };
    Ok(Named { name, bytes, role })
}

fn read_standard_input() -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
    match read {
        Err(error) => Err(Unreadable::of(format!("standard input: {error}"))),
        Ok(got) if got > MAX_FILE_BYTES => {
            Err(Unreadable::of(format!("standard input: more than {MAX_FILE_BYTES} bytes")))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Finds the evidence in `files` and judges each piece with every endorsement at hand.
pub fn judge(files: &[Named], question: &Question) -> Result<Appraisal, Unreadable> {
    let views: Vec<File<'_>> = files
        .iter()
        .map(|file| File { name: &file.name, bytes: &file.bytes, role: file.role })
        .collect();
    let found = input::recognise(&views, question.tee);
    if let Some(reason) = why_unreadable(files, &found) {
        return Err(Unreadable { reason, left_aside: found.left_aside });
    }
    let judge_each = |evidence| judge_one(&found, evidence, question);
    let judged: Vec<Judged> = found.evidence.iter().map(judge_each).collect();
    match judged.iter().find_map(why_malformed) {
        Some(reason) => Err(Unreadable { reason, left_aside: found.left_aside }),
        None => Ok(Appraisal { judged, left_aside: found.left_aside }),
    }
}

/// Evidence that does not parse has no verdict: its format is all that could be looked at, and it
/// makes no claims.
fn why_malformed(judged: &Judged) -> Option<String> {
    let result = &judged.result;
    let mut formats = result.failed().filter(|check| check.name.as_str().ends_with("_format"));
    let check = formats.next().filter(|_| result.claims().is_none())?;
    Some(format!("{}: {} (expected {})", judged.from, check.got, check.expected))
}

/// A file given as evidence in which nothing is known, or no evidence at all: a verdict about the
/// rest would be taken for one about everything.
fn why_unreadable(files: &[Named], found: &Recognised) -> Option<String> {
    let holds_something = |index: usize| {
        found.evidence.iter().any(|evidence| evidence.file == index)
            || found.endorsements.iter().any(|endorsement| endorsement.file == index)
    };
    let unread = files
        .iter()
        .enumerate()
        .find(|(index, file)| file.role == Role::Anything && !holds_something(*index));
    if let Some((_, file)) = unread {
        return Some(format!("{}: no evidence and no endorsement can be read from it", file.name));
    }
    let endorsements: Vec<&str> =
        found.endorsements.iter().map(|endorsement| endorsement.from.as_str()).take(8).collect();
    found
        .evidence
        .is_empty()
        .then(|| format!("no evidence to judge, only {}", endorsements.join("; ")))
}

fn judge_one(found: &Recognised, evidence: &input::Evidence, question: &Question) -> Judged {
    let blobs = found.endorsements_for(evidence);
    let words = found.endorsements.iter().map(|endorsement| endorsement.from.clone()).collect();
    let result = appraise_raw(
        evidence.kind,
        &evidence.bytes,
        &Endorsements::sort(blobs),
        &question.anchors,
        &question.policy,
        &question.expectations(evidence.kind),
        question.at,
    );
    Judged { from: evidence.from.clone(), endorsements: words, result }
}

impl Question {
    fn expectations(&self, kind: TeeKind) -> Expectations {
        let expected = Expectations {
            report_data: self.report_data,
            nonce: self.nonce.clone(),
            measurement: self.measurement.clone(),
        };
        expected.of_kind(kind)
    }
}
