//! What an audit says: one line per check, one finding per thing that is wrong.

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use bulla_wire::ids::{Digest, EpochId, HoldId, ReceiptId};
use bulla_wire::units::Unit;
use serde::{Serialize, Serializer};

use super::checks::CheckName;
use super::facts::{Facts, account_name};

/// Most findings kept, whatever a bundle holds; those beyond are counted.
pub const MAX_FINDINGS: usize = 10_000;

/// What part of the world a bundle shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Every leaf, receipt and transfer: gaps can be seen.
    Full,
    /// One account's own records, with proofs: says nothing about others.
    Account,
    /// One receipt with what it rests on: says nothing about the ledger.
    Receipt,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something is wrong.
    Error,
    /// Something is left open that time or another record may still settle.
    Warning,
}

/// The record a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// The bundle as a whole.
    Bundle,
    /// One item, counted from 0.
    Item {
        /// Its place in the bundle.
        number: u64,
    },
    /// A checkpoint.
    Checkpoint {
        /// Leaves it covers.
        size: u64,
    },
    /// A leaf of the log.
    Leaf {
        /// Its index, from 0.
        index: u64,
    },
    /// An epoch.
    Epoch {
        /// Its id.
        epoch: EpochId,
    },
    /// A place in an epoch's chain.
    Place {
        /// The epoch.
        epoch: EpochId,
        /// The place.
        seq: u64,
    },
    /// A usage receipt.
    Receipt {
        /// Its id.
        id: ReceiptId,
        /// Its epoch.
        epoch: EpochId,
        /// Its place there.
        seq: u64,
        /// Its digest.
        digest: Digest,
    },
    /// An order with its grant.
    Order {
        /// The hold it names.
        hold: HoldId,
        /// Its digest.
        digest: Digest,
    },
    /// An order that witnesses handed to the log's operator.
    ShownOrder {
        /// Its digest.
        digest: Digest,
    },
    /// An archived attestation report.
    Evidence {
        /// Its digest.
        digest: Digest,
    },
    /// A signed price book.
    PriceBook {
        /// Its digest.
        digest: Digest,
    },
    /// A transfer of the ledger.
    Transfer {
        /// Its number.
        number: u64,
    },
    /// A hold.
    Hold {
        /// Its id.
        hold: HoldId,
    },
    /// A package.
    Package {
        /// Its number.
        package: u64,
    },
    /// An account's claim in one unit.
    Invoice {
        /// The account.
        account: u64,
        /// The unit of account.
        unit: Unit,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Bundle => f.write_str("bundle"),
            Record::Item { number } => write!(f, "item {number}"),
            Record::Checkpoint { size } => write!(f, "checkpoint of {size} leaves"),
            Record::Leaf { index } => write!(f, "leaf {index}"),
            Record::Epoch { epoch } => write!(f, "epoch {epoch}"),
            Record::Place { epoch, seq } => write!(f, "epoch {epoch} place {seq}"),
            Record::Receipt { id, epoch, seq, .. } => {
                write!(f, "receipt {id} (epoch {epoch} place {seq})")
            }
            Record::Order { hold, .. } => write!(f, "order for hold {hold}"),
            Record::ShownOrder { digest } => write!(f, "order {digest} shown by witnesses"),
            Record::Evidence { digest } => write!(f, "evidence {digest}"),
            Record::PriceBook { digest } => write!(f, "price book {digest}"),
            Record::Transfer { number } => write!(f, "transfer {number}"),
            Record::Hold { hold } => write!(f, "hold {hold}"),
            Record::Package { package } => write!(f, "package {package}"),
            Record::Invoice { account, unit } => {
                write!(f, "invoice of account {} in {unit}", account_name(*account))
            }
        }
    }
}

/// One thing that is wrong, or left open. Findings are in the order of their fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Which check found it.
    pub check: CheckName,
    /// What it is about.
    pub record: Record,
    /// What was expected and what was there.
    pub message: String,
}

/// What a check found over the whole bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// Everything examined holds.
    Pass,
    /// At least one error.
    Fail,
    /// The bundle leaves it open.
    Unknown,
    /// Nothing of the kind in the bundle, or not asked in this view.
    NotRequired,
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CheckResult::Pass => "pass",
            CheckResult::Fail => "FAIL",
            CheckResult::Unknown => "unknown",
            CheckResult::NotRequired => "-",
        })
    }
}

/// One line of the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// What came out.
    pub result: CheckResult,
    /// How much was looked at, or why nothing could be said.
    pub detail: String,
}

/// How many items of each kind were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub items: u64,
    pub checkpoints: u64,
    pub leaves: u64,
    pub inclusions: u64,
    pub epochs: u64,
    pub receipts: u64,
    pub orders: u64,
    pub evidence: u64,
    pub transfers: u64,
    pub invoices: u64,
}

/// The verdict on one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// What the bundle shows.
    pub view: View,
    /// Whether it could be read to its end.
    pub readable: bool,
    /// Whether an epoch rests on a simulated TEE: no hardware protects anything there.
    pub simulated: bool,
    /// What was read.
    pub counts: Counts,
    /// A line per check.
    pub checks: Vec<Check>,
    /// What is wrong: errors first, then in the order of the checks and records.
    pub findings: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`].
    pub findings_left_out: u64,
    /// What the bundle shows, whoever is right.
    pub facts: Facts,
}

impl AuditReport {
    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Warning)
    }

    /// Whether nothing is wrong. Warnings do not count: an epoch that still runs is one.
    pub fn is_clean(&self) -> bool {
        self.readable && self.errors().next().is_none()
    }

    /// 0 nothing wrong, 1 errors found, 2 not readable to the end.
    pub fn exit_code(&self) -> u8 {
        match (self.readable, self.is_clean()) {
            (false, _) => 2,
            (true, false) => 1,
            (true, true) => 0,
        }
    }

    /// The line of one check.
    pub fn check(&self, name: CheckName) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

impl fmt::Display for AuditReport {
    /// A table for people: what was read, a line per check, a line per finding, the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f, &|_| true)
    }
}

impl AuditReport {
    /// The table for readers whom some checks do not concern: those are left out where nothing is
    /// wrong.
    pub fn told(&self, concerns: impl Fn(CheckName) -> bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.tell(&mut text, &concerns);
        text
    }

    fn tell(&self, f: &mut dyn fmt::Write, concerns: &dyn Fn(CheckName) -> bool) -> fmt::Result {
        let Counts { items, leaves, inclusions, epochs, receipts, transfers, .. } = self.counts;
        let view = match self.view {
            View::Full => "full view",
            View::Account => "one account's view",
            View::Receipt => "one receipt's proof",
        };
        writeln!(
            f,
            "audit, {view}: {items} items, {leaves} leaves, {inclusions} inclusion proofs, \
             {epochs} epochs, {receipts} receipts, {transfers} transfers"
        )?;
        if self.simulated {
            writeln!(f, "SIMULATED TEE: no hardware protects anything here")?;
        }
        // Most checks are about more than one receipt.
        let is_idle =
            |check: &&Check| self.view == View::Receipt && check.result == CheckResult::NotRequired;
        let (idle, busy): (Vec<&Check>, Vec<&Check>) =
            self.checks.iter().filter(|check| concerns(check.name)).partition(is_idle);
        for check in busy {
            writeln!(f, "  {:<8}{:<22}{}", check.result, check.name, check.detail)?;
        }
        if !idle.is_empty() {
            writeln!(f, "  {:<8}{} other checks", CheckResult::NotRequired, idle.len())?;
        }
        let concerning =
            |finding: &&Finding| finding.severity == Severity::Error || concerns(finding.check);
        for finding in self.findings.iter().filter(concerning) {
            let severity = match finding.severity {
                Severity::Error => "ERROR",
                Severity::Warning => "warning",
            };
            let Finding { check, record, message, .. } = finding;
            writeln!(f, "{severity} {check}: {record}: {message}")?;
        }
        if self.findings_left_out > 0 {
            writeln!(f, "... and {} more findings", self.findings_left_out)?;
        }
        let (errors, warnings) = (self.errors().count(), self.warnings().count());
        match self.exit_code() {
            0 => write!(f, "CLEAN: no error, {warnings} warnings"),
            1 => write!(f, "FOUND: {errors} errors, {warnings} warnings"),
            _ => write!(f, "UNREADABLE: {errors} errors, {warnings} warnings"),
        }
    }
}

/// Where checks write while the audit runs.
#[derive(Debug)]
pub(super) struct Sheet {
    /// By the number of the check.
    tallies: Vec<Tally>,
    left_open: BTreeMap<CheckName, String>,
    /// By the number of the check, and of each the first [`MAX_FINDINGS`] in the report's order:
    /// what is found in which round changes no report.
    findings: Vec<BinaryHeap<Finding>>,
    left_out: u64,
}

/// What one check came to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    examined: u64,
    errors: u64,
    warnings: u64,
}

impl Default for Sheet {
    fn default() -> Sheet {
        Sheet {
            tallies: vec![Tally::default(); CheckName::ALL.len()],
            left_open: BTreeMap::new(),
            findings: vec![BinaryHeap::new(); CheckName::ALL.len()],
            left_out: 0,
        }
    }
}

impl Sheet {
    fn tally(&mut self, check: CheckName) -> &mut Tally {
        // The names are numbered in the order of `ALL`.
        &mut self.tallies[check as usize]
    }

    /// Notes that a record was examined, and a finding unless it holds.
    pub(super) fn judge(
        &mut self,
        check: CheckName,
        holds: bool,
        record: impl FnOnce() -> Record,
        message: impl FnOnce() -> String,
    ) {
        self.examine(check);
        if !holds {
            self.find(check, record(), message());
        }
    }

    /// Notes that a record is examined; what is found comes later.
    pub(super) fn examine(&mut self, check: CheckName) {
        self.tally(check).examined += 1;
    }

    /// Something is wrong with a record whose examination was noted before.
    pub(super) fn find(&mut self, check: CheckName, record: Record, message: String) {
        self.push(Severity::Error, check, record, message);
    }

    /// Something is wrong.
    pub(super) fn fail(&mut self, check: CheckName, record: Record, message: impl Into<String>) {
        self.examine(check);
        self.find(check, record, message.into());
    }

    /// Something stays open for one record.
    pub(super) fn warn(&mut self, check: CheckName, record: Record, message: impl Into<String>) {
        self.examine(check);
        self.push(Severity::Warning, check, record, message.into());
    }

    /// The bundle cannot answer, for this reason (the first one given is kept).
    pub(super) fn leave_open(&mut self, check: CheckName, reason: &str) {
        self.left_open.entry(check).or_insert_with(|| reason.to_owned());
    }

    /// Findings that nobody wrote down.
    pub(super) fn leave_out(&mut self, count: u64) {
        self.left_out += count;
    }

    fn push(&mut self, severity: Severity, check: CheckName, record: Record, message: String) {
        let tally = self.tally(check);
        let of_this_kind = match severity {
            Severity::Error => &mut tally.errors,
            Severity::Warning => &mut tally.warnings,
        };
        *of_this_kind += 1;
        let findings = &mut self.findings[check as usize];
        findings.push(Finding { severity, check, record, message });
        if findings.len() > MAX_FINDINGS {
            findings.pop();
            self.left_out += 1;
        }
    }

    /// Writes the report.
    pub(super) fn conclude(
        mut self,
        view: View,
        readable: bool,
        simulated: bool,
        counts: Counts,
        facts: Facts,
    ) -> AuditReport {
        let findings = self.cut();
        let checks = CheckName::ALL.iter().map(|name| self.line(*name)).collect();
        AuditReport {
            view,
            readable,
            simulated,
            counts,
            checks,
            findings,
            findings_left_out: self.left_out,
            facts,
        }
    }

    /// The findings in their order, cut to [`MAX_FINDINGS`]. The cut never hides that a check failed.
    fn cut(&mut self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.findings.drain(..).flatten().collect();
        findings.sort_unstable();
        let mut beyond = findings.split_off(findings.len().min(MAX_FINDINGS));
        let count = beyond.len();
        beyond.retain(|finding| finding.severity == Severity::Error);
        beyond.dedup_by_key(|finding| finding.check);
        let named = findings.last().map(|last| (last.severity, last.check));
        beyond.retain(|first| Some((first.severity, first.check)) != named);
        self.left_out += (count - beyond.len()) as u64;
        findings.append(&mut beyond);
        findings
    }

    fn line(&self, name: CheckName) -> Check {
        let Tally { examined, errors, warnings } = self.tallies[name as usize];
        let open = self.left_open.get(&name);
        let (result, detail) = match (errors, warnings, open, examined) {
            (1.., ..) => (CheckResult::Fail, format!("{errors} wrong of {examined} examined")),
            (0, 1.., ..) => {
                (CheckResult::Unknown, format!("{warnings} left open of {examined} examined"))
            }
            (0, 0, Some(reason), _) => (CheckResult::Unknown, reason.clone()),
            (0, 0, None, 0) => (CheckResult::NotRequired, "nothing to examine".to_owned()),
            (0, 0, None, _) => (CheckResult::Pass, format!("{examined} examined")),
        };
        Check { name, result, detail }
    }
}

impl Serialize for CheckName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(sheet: &mut Sheet, check: CheckName, index: u64) {
        sheet.fail(check, Record::Leaf { index }, "wrong");
    }

    #[test]
    fn of_too_many_findings_the_first_are_kept_whatever_order_they_come_in() {
        let most = MAX_FINDINGS as u64;
        let cut = |indices: &mut dyn Iterator<Item = u64>| {
            let mut sheet = Sheet::default();
            sheet.warn(CheckName::LeafFormat, Record::Bundle, "open");
            leaf(&mut sheet, CheckName::Invoice, 7);
            indices.for_each(|index| leaf(&mut sheet, CheckName::ChainGap, index));
            (sheet.cut(), sheet.left_out)
        };
        let (findings, left_out) = cut(&mut (0..most + 5));
        assert_eq!((findings.clone(), left_out), cut(&mut (0..most + 5).rev()));
        // The one error of another check stays in sight; the warning does not.
        assert_eq!((findings.len() as u64, left_out), (most + 1, 6));
        assert_eq!(findings.last().map(|last| last.check), Some(CheckName::Invoice));
        assert_eq!(findings[9].record, Record::Leaf { index: 9 });
    }
}
