//! `bulla policy test`: recorded evidence under a policy and under a changed one.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{self, File, LeftAside, MAX_FILE_BYTES, MAX_FILES, Role};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult, Verdict};
use bulla_wire::units::UnixSeconds;
use clap::Args;
use serde::Serialize;

use super::{Source, overrides};
use crate::commands::appraise::instant;
use crate::commands::show::{BAD, FAINT, GOOD, WARN, harmless};
use crate::commands::{EXIT_OK, EXIT_REFUSED, GlobalArgs, show};
use crate::io::folder::read_limited;
use crate::io::system::now;

/// Deepest folder looked into below one that is named.
const MAX_DEPTH: usize = 8;
/// Largest simulated root, in bytes.
const MAX_ROOT_BYTES: usize = 64 * 1024;

/// Tries a change of policy against recorded evidence.
#[derive(Debug, Clone, Args)]
pub struct Test {
    /// Recorded evidence and endorsements: files, bundles, or folders of them
    #[arg(required = true, value_name = "FILE-OR-FOLDER")]
    pub evidence: Vec<PathBuf>,
    /// The policy in force: a file, or one shipped with bulla
    #[arg(long, default_value = "authentic", value_name = "FILE-OR-NAME")]
    pub policy: String,
    /// The policy to try instead
    #[arg(long, value_name = "FILE-OR-NAME")]
    pub against: Option<String>,
    /// A value to change in it, like snp.minimum_tcb=required or snp.floor[part=genoa].snp=0x1b
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Judge as of this instant (RFC 3339) [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub at: Option<UnixSeconds>,
    /// Root certificate (DER) of a simulated TEE to trust besides; the policies must allow it
    #[arg(long, value_name = "FILE")]
    pub simulated_root: Vec<PathBuf>,
}

/// One check that says something else.
#[derive(Debug, Serialize)]
struct Flip {
    name: CheckName,
    before: Option<CheckResult>,
    after: Option<CheckResult>,
    expected: String,
    got: String,
}

/// One piece of evidence under both policies.
#[derive(Debug, Serialize)]
struct Compared {
    from: String,
    tee: String,
    before: Verdict,
    after: Verdict,
    breaks: bool,
    flips: Vec<Flip>,
}

/// Everything compared.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    policy: Named,
    against: Named,
    at: String,
    affirmed_before: usize,
    affirmed_after: usize,
    breaks: usize,
    evidence: Vec<Compared>,
    left_aside: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    digest: String,
}

impl Test {
    pub(super) fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let outcome = self.outcome()?;
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&outcome)?),
            false => outcome.print(),
        }
        Ok(if outcome.breaks == 0 { EXIT_OK } else { EXIT_REFUSED })
    }

    pub(super) fn outcome(&self) -> anyhow::Result<Outcome> {
        let source = Source::named(&self.policy)?;
        let before = source.policy()?;
        let after = self.changed(source)?;
        let anchors = self.anchors()?;
        let at = self.at.unwrap_or_else(|| now().seconds());
        let files = read_all(&self.evidence)?;
        let views: Vec<File<'_>> =
            files.iter().map(|(name, bytes)| File { name, bytes, role: Role::Anything }).collect();
        let found = input::recognise(&views, None);
        if found.evidence.is_empty() {
            bail!("no evidence in {} files", files.len());
        }
        let compare_one = |evidence: &input::Evidence| {
            let endorsements = Endorsements::sort(found.endorsements_for(evidence));
            let judge = |policy: &Policy| {
                let (bytes, expectations) = (&evidence.bytes, Expectations::default());
                appraise_raw(
                    evidence.kind,
                    bytes,
                    &endorsements,
                    &anchors,
                    policy,
                    &expectations,
                    at,
                )
            };
            compare(&evidence.from, &judge(&before), &judge(&after))
        };
        let evidence: Vec<Compared> = found.evidence.iter().map(compare_one).collect();
        let affirmed = |of: fn(&Compared) -> Verdict| {
            evidence.iter().filter(|one| of(one) == Verdict::Affirmed).count()
        };
        Ok(Outcome {
            policy: Named::of(&before),
            against: Named::of(&after),
            at: show::instant(at),
            affirmed_before: affirmed(|one| one.before),
            affirmed_after: affirmed(|one| one.after),
            breaks: evidence.iter().filter(|one| one.breaks).count(),
            left_aside: found.left_aside.iter().map(LeftAside::to_string).collect(),
            evidence,
        })
    }

    /// The policy to try: another file, changes, or both.
    fn changed(&self, source: Source) -> anyhow::Result<Policy> {
        if self.against.is_none() && self.set.is_empty() {
            bail!("nothing to try: name another policy with --against, or a change with --set");
        }
        let mut changed = match &self.against {
            Some(name) => Source::named(name)?,
            None => source,
        };
        if !self.set.is_empty() {
            changed.text = overrides::apply(&changed.text, &self.set)?;
            changed.name = format!("{} with --set {}", changed.name, self.set.join(" --set "));
        }
        changed.policy()
    }

    fn anchors(&self) -> anyhow::Result<TrustAnchors> {
        let mut anchors = TrustAnchors::vendors();
        for path in &self.simulated_root {
            let label = path.display().to_string();
            let root = TrustAnchor::simulated(&label, &read_limited(path, MAX_ROOT_BYTES)?);
            anchors = anchors.with(root.with_context(|| label)?);
        }
        Ok(anchors)
    }
}

impl Named {
    fn of(policy: &Policy) -> Named {
        Named { name: policy.name().to_owned(), digest: policy.digest().prefixed() }
    }
}

fn compare(from: &str, before: &AttestationResult, after: &AttestationResult) -> Compared {
    let result = |of: &AttestationResult, name| of.check(name).map(|check| check.result);
    let mut flips: Vec<Flip> = Vec::new();
    for check in after.checks() {
        let was = result(before, check.name);
        if was != Some(check.result) {
            let (expected, got) = (check.expected.clone(), check.got.clone());
            let after = Some(check.result);
            flips.push(Flip { name: check.name, before: was, after, expected, got });
        }
    }
    // A check that only the policy in force made.
    for check in before.checks().iter().filter(|check| after.check(check.name).is_none()) {
        let (expected, got) = (check.expected.clone(), check.got.clone());
        let before = Some(check.result);
        flips.push(Flip { name: check.name, before, after: None, expected, got });
    }
    Compared {
        from: from.to_owned(),
        tee: before.tee().to_string(),
        before: before.verdict(),
        after: after.verdict(),
        breaks: before.is_affirmed() && !after.is_affirmed(),
        flips,
    }
}

/// Files as they are named, folders with everything below them, in the order of names.
fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, 0, &mut found)?;
    }
    let read = |path: &PathBuf| {
        let bytes = read_limited(path, MAX_FILE_BYTES)?;
        Ok((path.display().to_string(), bytes))
    };
    found.iter().map(read).collect()
}

fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        if found.len() > MAX_FILES {
            bail!("more than {MAX_FILES} files: name fewer folders at a time");
        }
        return Ok(());
    }
    if depth == MAX_DEPTH {
        bail!("{}: folders {MAX_DEPTH} deep", path.display());
    }
    let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut below = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    below.sort();
    below.iter().try_for_each(|path| collect(path, depth + 1, found))
}

impl Outcome {
    fn print(&self) {
        for one in &self.evidence {
            let words = |verdict| match verdict {
                Verdict::Affirmed => "affirmed",
                Verdict::Refused => "refused",
            };
            let style = match (one.breaks, one.after) {
                (true, _) => BAD,
                (false, Verdict::Affirmed) => GOOD,
                (false, Verdict::Refused) => FAINT,
            };
            let (before, after) = (words(one.before), words(one.after));
            let mark = if one.breaks { "BREAKS" } else { "" };
            let (from, tee) = (harmless(&one.from), &one.tee);
            anstream::println!(
                "{style}{before:<8} -> {after:<8} {mark:<6}{style:#}  {tee:<9} {from}"
            );
            for flip in one.flips.iter().filter(|_| one.before == Verdict::Affirmed) {
                flip.print();
            }
        }
        let (total, breaks) = (self.evidence.len(), self.breaks);
        anstream::println!(
            "{total} judged as of {}: {} affirmed under {}, {} under {}; {breaks} would break",
            self.at,
            self.affirmed_before,
            self.policy.name,
            self.affirmed_after,
            self.against.name,
        );
        for left in &self.left_aside {
            anstream::eprintln!("{WARN}left aside{WARN:#}  {}", harmless(left));
        }
    }
}

impl Flip {
    fn print(&self) {
        let words = |result: Option<CheckResult>| match result {
            Some(CheckResult::Pass) => "pass",
            Some(CheckResult::Fail) => "FAIL",
            Some(CheckResult::Unknown) => "unknown",
            Some(CheckResult::NotRequired) | None => "-",
        };
        let (before, after) = (words(self.before), words(self.after));
        let (got, expected) = (harmless(&self.got), harmless(&self.expected));
        println!("    {:<25} {before:<7} -> {after:<7}  {got}  (expected {expected})", self.name);
    }
}

#[cfg(test)]
impl Outcome {
    /// How many would break, and the checks that break them.
    pub(super) fn broken(&self) -> (usize, Vec<CheckName>) {
        let broken = self.evidence.iter().filter(|one| one.breaks);
        let failing = broken.flat_map(|one| &one.flips);
        let failing = failing.filter(|flip| flip.after == Some(CheckResult::Fail));
        (self.breaks, failing.map(|flip| flip.name).collect())
    }
}
