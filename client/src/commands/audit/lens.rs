//! Who reads a report: everybody is shown every error, and besides what concerns them.

use std::fmt;

use clap::ValueEnum;

use super::super::show::{columns, instant};
use crate::audit::{
    AuditReport, Check, CheckName, CheckResult, EpochFact, Finding, Step, account_name,
};

/// A reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lens {
    /// My receipts and orders against my invoice
    Customer,
    /// Everything; a bundle holds no content
    Auditor,
    /// What is left to do: outbox, gaps, unclosed epochs, unsettled holds
    Operator,
}

impl fmt::Display for Lens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lens::Customer => "customer",
            Lens::Auditor => "auditor",
            Lens::Operator => "operator",
        })
    }
}

impl Lens {
    /// Whether a check concerns this reader even when nothing is wrong.
    fn concerns(self, check: CheckName) -> bool {
        use CheckName as C;
        match self {
            Lens::Auditor => true,
            Lens::Customer => {
                let whole_log = [C::LogConsistency, C::LogCoverage, C::LedgerNumbers];
                check.step() != Step::Chain && !whole_log.contains(&check)
            }
            Lens::Operator => {
                let own = [C::ReceiptLeaf, C::ReceiptPresent, C::EpochClosed, C::EpochParent];
                let step = check.step();
                own.contains(&check) || matches!(step, Step::Log | Step::Chain | Step::Ledger)
            }
        }
    }

    /// The checks this reader is shown.
    pub fn checks(self, report: &AuditReport) -> impl Iterator<Item = &Check> {
        report
            .checks
            .iter()
            .filter(move |check| check.result == CheckResult::Fail || self.concerns(check.name))
    }

    /// The findings this reader is shown: every error, and warnings that concern them.
    pub fn findings(self, report: &AuditReport) -> impl Iterator<Item = &Finding> {
        let errors = report.errors();
        errors.chain(report.warnings().filter(move |finding| self.concerns(finding.check)))
    }
}

/// What an operator has to look after.
#[derive(Debug)]
pub struct Chores<'r> {
    /// Receipts that are settled, and not in the log yet.
    pub outbox: Vec<&'r Finding>,
    /// Places nobody has shown.
    pub gaps: Vec<&'r Finding>,
    /// Epochs without their last record.
    pub unclosed: Vec<&'r EpochFact>,
}

impl<'r> Chores<'r> {
    /// Of a report.
    pub fn of(report: &'r AuditReport) -> Chores<'r> {
        let about = |checks: &[CheckName]| {
            report.findings.iter().filter(|finding| checks.contains(&finding.check)).collect()
        };
        Chores {
            outbox: about(&[CheckName::ReceiptLeaf]),
            gaps: about(&[CheckName::ChainGap, CheckName::ReceiptPresent]),
            unclosed: report.facts.epochs.iter().filter(|epoch| !epoch.closed).collect(),
        }
    }

    /// As text: a heading and its lines each.
    pub fn text(&self, report: &AuditReport) -> String {
        let mut text = String::new();
        let mut list = |title: &str, count: u64, rows: Vec<Vec<String>>| {
            text.push_str(&format!("{title}: {count}\n"));
            text.push_str(&columns(&rows));
        };
        let line =
            |finding: &&Finding| vec![format!("  {}", finding.record), finding.message.clone()];
        list("receipts not in the log", self.outbox.len() as u64, rows(&self.outbox, line));
        list("gaps", self.gaps.len() as u64, rows(&self.gaps, line));
        let epoch = |epoch: &&EpochFact| {
            let opened = format!("opened {}", instant(epoch.opened_at));
            let places = format!("{} records", epoch.receipts);
            vec![format!("  {}", epoch.epoch), epoch.instance.to_string(), opened, places]
        };
        list("epochs not closed", self.unclosed.len() as u64, rows(&self.unclosed, epoch));
        let holds = report.facts.open_holds.iter().map(|hold| {
            let until =
                hold.settle_by.map_or_else(String::new, |at| format!("settle by {}", instant(at)));
            let account = format!("account {}", account_name(hold.account));
            vec![format!("  {}", hold.hold), account, format!("{} held", hold.left.whole()), until]
        });
        list("holds not settled", report.facts.open_hold_count, holds.collect());
        text
    }
}

fn rows<T>(all: &[T], row: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    all.iter().map(row).collect()
}
