//! A report to print and to sign: one HTML file, nothing fetched, no script.

use bulla_wire::receipt::SecurityMode;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::super::show::{amount, harmless, instant};
use super::lens::{Chores, Lens};
use super::occasion::{Occasion, TOOL, VERSION};
use crate::audit::{
    AccountFact, AuditReport, Check, CheckResult, EpochFact, Facts, Finding, Severity, Step, View,
    account_name,
};

const STYLE: &str = include_str!("report.css");
/// Most findings printed; JSON has the rest.
const MAX_PRINTED_FINDINGS: usize = 500;

/// The whole page.
pub fn page(report: &AuditReport, occasion: &Occasion) -> String {
    let title = format!("Audit of {}", report.facts.origin);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (head(report, occasion, &title))
                (verdict(report))
                (findings(report, occasion.lens))
                (judged(report, occasion))
                @if occasion.lens == Lens::Operator { (chores(report)) }
                (accounts(&report.facts))
                (orders(report))
                (epochs(&report.facts))
                @for step in Step::ALL { (step_table(report, occasion.lens, step)) }
                (scope(report))
                (signature(occasion))
            } }
        }
    };
    page.into_string()
}

fn head(report: &AuditReport, occasion: &Occasion, title: &str) -> Markup {
    let view = match report.view {
        View::Full => "every record of the log and the ledger",
        View::Account => "one account’s own records",
        View::Receipt => "one usage receipt and what it rests on",
    };
    html! {
        header.top {
            div { h1 { (title) } p.faint { (view) } }
            div.who {
                div { "judged " (instant(occasion.at.seconds())) }
                div { "for the " (occasion.lens) }
                div { (TOOL) " " (VERSION) }
            }
        }
        @if report.simulated {
            div.simulated role="note" {
                strong { "SIMULATED TEE" }
                "At least one epoch rests on a simulated machine. No hardware protects anything there: the protocol was followed, and that is all it shows."
            }
        }
    }
}

fn verdict(report: &AuditReport) -> Markup {
    let (errors, warnings) = (report.errors().count(), report.warnings().count());
    let (class, words) = match (report.exit_code(), warnings) {
        (0, 0) => ("good", "Clean: nothing wrong, nothing left open".to_owned()),
        (0, _) => ("open", format!("Clean, with {} left open", things(warnings))),
        (1, _) => ("bad", format!("{} wrong", things(errors))),
        _ => ("bad", "Not readable to its end: no verdict on the rest".to_owned()),
    };
    let counts = &report.counts;
    html! {
        section class={ "verdict " (class) } {
            b { (words) }
            span {
                (counts.receipts) " receipts, " (counts.orders) " orders, " (counts.epochs) " epochs, "
                (counts.leaves + counts.inclusions) " leaves, " (counts.transfers) " transfers, "
                (counts.invoices) " invoices examined"
                @if warnings > 0 && errors > 0 { "; " (things(warnings)) " left open" }
            }
        }
    }
}

fn things(count: usize) -> String {
    match count {
        1 => "1 thing".to_owned(),
        count => format!("{count} things"),
    }
}

fn findings(report: &AuditReport, lens: Lens) -> Markup {
    let shown: Vec<&Finding> = lens.findings(report).take(MAX_PRINTED_FINDINGS).collect();
    let all = lens.findings(report).count() as u64 + report.findings_left_out;
    html! {
        @if !shown.is_empty() {
            h2 { "Findings" span.count { (all) } }
            table.findings {
                thead { tr { th { "severity" } th { "check" } th { "record" } th { "what was expected, and what is there" } } }
                tbody { @for finding in &shown { (finding_row(finding)) } }
            }
            @if all > shown.len() as u64 {
                p.faint { (all - shown.len() as u64) " more are not printed: " code { "--json" } " lists those that were kept." }
            }
        }
    }
}

fn finding_row(finding: &Finding) -> Markup {
    let (class, word) = match finding.severity {
        Severity::Error => ("fail", "ERROR"),
        Severity::Warning => ("open", "OPEN"),
    };
    html! {
        tr {
            td { span class={ "badge " (class) } { (word) } }
            td.check { code { (finding.check) } }
            td { span.mono { (finding.record) } }
            td { (harmless(&finding.message)) }
        }
    }
}

/// What was judged, and under whose word.
fn judged(report: &AuditReport, occasion: &Occasion) -> Markup {
    let facts = &report.facts;
    let trust = &facts.trust;
    html! {
        h2 { "What was judged, and who was believed" }
        dl {
            dt { "file" } dd { (harmless(&occasion.bundle)) ", " (occasion.bytes) " bytes" }
            dt { "its SHA-256" } dd { code { (occasion.sha256) } }
            dt { "made" } dd { (instant(facts.created_at)) " by the broker’s clock" }
            @if let Some(account) = facts.account { dt { "account" } dd { code { (account) } } }
            dt { "log" } dd { (harmless(&facts.origin)) }
            @if let Some(checkpoint) = &facts.checkpoint {
                dt { "newest checkpoint" } dd { (checkpoint.size) " leaves, root " code { (checkpoint.root) } }
            }
            @for key in &trust.log_keys { dt { "log key believed" } dd { code { (key) } } }
            dt { "broker’s root key" } dd { code { (trust.broker_root) } }
            dt { "hardware roots" } dd { @if trust.roots.is_empty() { "none" } @else { (harmless(&trust.roots.join(", "))) } }
            dt { "appraisal policy" } dd { (harmless(&trust.policy)) ", digest " code { (trust.policy_digest) } }
        }
    }
}

fn chores(report: &AuditReport) -> Markup {
    let chores = Chores::of(report);
    html! {
        h2 { "For the operator" }
        table {
            thead { tr { th { "what" } th.n { "how many" } } }
            tbody {
                tr { td { "receipts settled and not in the log yet" } td.n { (chores.outbox.len()) } }
                tr { td { "places in an epoch that nobody has shown" } td.n { (chores.gaps.len()) } }
                tr { td { "epochs without their last record" } td.n { (chores.unclosed.len()) } }
                tr { td { "holds that nothing has ended" } td.n { (report.facts.open_hold_count) } }
            }
        }
        @if !report.facts.open_holds.is_empty() {
            table {
                thead { tr { th { "open hold" } th { "account" } th.n { "held" } th { "settle by" } } }
                tbody { @for hold in report.facts.open_holds.iter().take(MAX_PRINTED_FINDINGS) {
                    tr {
                        td { code { (hold.hold) } } td { (account_name(hold.account)) } td.n { (hold.left.whole()) }
                        td { (hold.settle_by.map_or_else(String::new, instant)) }
                    }
                } }
            }
        }
    }
}

fn accounts(facts: &Facts) -> Markup {
    html! {
        @if !facts.accounts.is_empty() {
            h2 { "What the ledger comes to" }
            table {
                thead { tr {
                    th { "account" } th.n { "entered" } th.n { "charged" } th.n { "refunded" }
                    th.n { "lapsed" } th.n { "left" } th.n { "held" } th.n { "invoiced" }
                } }
                tbody { @for account in &facts.accounts { (account_row(account)) } }
            }
        }
    }
}

fn account_row(fact: &AccountFact) -> Markup {
    let cell = |micro| html! { td.n { (amount(micro, &fact.unit)) } };
    html! {
        tr {
            td { (account_name(fact.account)) }
            (cell(fact.issued)) (cell(fact.charged)) (cell(fact.refunded)) (cell(fact.lapsed))
            (cell(fact.available)) (cell(fact.held))
            @match fact.invoiced {
                Some(micro) => (cell(micro)),
                None => td.n { "no invoice" },
            }
        }
    }
}

/// Parts in a million as percent, cut and never rounded up.
fn percent(ppm: u32) -> String {
    format!("{}.{:04} %", ppm / 10_000, ppm % 10_000)
}

/// What became of orders; one receipt alone says nothing of it.
fn orders(report: &AuditReport) -> Markup {
    let orders = &report.facts.orders;
    html! {
        @if report.view != View::Receipt && !orders.decisions.is_empty() {
            h2 { "What became of orders" }
            table {
                thead { tr {
                    th.n { "served" } th.n { "failed in an enclave" } th.n { "granted, never answered" }
                    th.n { "turned away" } th.n { "served, of all that count" }
                } }
                tbody { tr {
                    td.n { (orders.served) } td.n { (orders.failed) } td.n { (orders.unanswered) }
                    td.n { (orders.turned_away) } td.n { (percent(orders.availability_ppm)) }
                } }
            }
            p.faint {
                "Decisions in the log: "
                @for (n, (decision, count)) in orders.decisions.iter().enumerate() {
                    @if n > 0 { ", " }
                    (decision) " " (count)
                }
                "."
            }
        }
    }
}

fn epochs(facts: &Facts) -> Markup {
    html! {
        @if !facts.epochs.is_empty() {
            h2 { "Epochs and what stands behind them" span.count { (facts.epochs.len()) } }
            table.epochs {
                thead { tr { th { "security" } th { "enclave" } th { "opened" } th.n { "records" } th { "end" } } }
                @for epoch in &facts.epochs { (epoch_rows(epoch)) }
            }
        }
    }
}

fn epoch_rows(epoch: &EpochFact) -> Markup {
    let (class, word) = match epoch.security {
        Some(SecurityMode::Hardware) => ("pass", "HARDWARE"),
        Some(SecurityMode::Simulated) => ("open", "SIMULATED"),
        None => ("fail", "NOT PROVEN"),
    };
    let digests = [
        ("keyset", epoch.keyset),
        ("evidence", epoch.evidence),
        ("configuration", epoch.configuration),
    ];
    html! {
        tbody {
            tr.first {
                td { span class={ "badge " (class) } { (word) } }
                td { (epoch.instance) }
                td { (instant(epoch.opened_at)) }
                td.n { (epoch.receipts) }
                td { @if epoch.closed { "closed" } @else { "open" } }
            }
            tr {
                td {}
                td colspan="4" {
                    dl.digests { @for (name, digest) in digests { dt { (name) } dd { code { (digest) } } } }
                }
            }
        }
    }
}

fn step_table(report: &AuditReport, lens: Lens, step: Step) -> Markup {
    let checks: Vec<&Check> = lens.checks(report).filter(|c| c.name.step() == step).collect();
    let asked = checks.iter().any(|check| check.result != CheckResult::NotRequired);
    html! {
        @if asked {
            h2 { (step.title()) }
            table.step {
                thead { tr { th { "result" } th { "check" } th { "what must hold" } th { "examined" } } }
                tbody { @for check in checks { (check_row(check)) } }
            }
        }
    }
}

fn check_row(check: &Check) -> Markup {
    let (class, word) = match check.result {
        CheckResult::Pass => ("pass", "PASS"),
        CheckResult::Fail => ("fail", "FAIL"),
        CheckResult::Unknown => ("open", "OPEN"),
        CheckResult::NotRequired => ("none", "—"),
    };
    html! {
        tr {
            td { span class={ "badge " (class) } { (word) } }
            td.check { code { (check.name) } }
            td { (check.name.sentence().replace('`', "")) }
            td.faint { (harmless(&check.detail)) }
        }
    }
}

/// What no audit of this kind can know.
fn scope(report: &AuditReport) -> Markup {
    html! {
        h2 { "What this audit cannot know" }
        p.scope {
            "Amounts are tied to receipts that attested enclaves signed; the ledger’s own export, names of packages and the price of a purchase are the broker’s word. "
            "When evidence was archived is the broker’s word too, within the life of the keys it binds. "
            @match report.view {
                View::Full => "Whether somebody else was shown another log is for witnesses to say, and an order that the broker never took in leaves no trace.",
                View::Account => "Gaps cannot be seen in one account’s view, nor whether somebody else was shown another log.",
                View::Receipt => "One receipt says nothing about other receipts, nor about what was charged for it: an account’s bundle does.",
            }
        }
    }
}

fn signature(occasion: &Occasion) -> Markup {
    html! {
        section.signing {
            p { "The undersigned judged the file named above under the keys, roots and policy named above, and found what this report says." }
            div.sign {
                div { span.label { "name and organisation" } }
                div { span.label { "place and date" } }
                div { span.label { "signature" } }
            }
        }
        footer {
            "Anybody repeats this with the same file (SHA-256 " (occasion.sha256) "), the keys and roots above, and " (TOOL) " " (VERSION) ", offline."
        }
    }
}
