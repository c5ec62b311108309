//! Invoices, credit notes, credits for availability, and why somebody was charged.

use anyhow::{Context, bail};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use clap::{Args, Subcommand};
use data_encoding::BASE64;
use serde_json::json;

use super::{Said, account, told};
use crate::availability::{Tier, availability, credit as credited, credit_key};
use crate::calendar::{self, Period as Calendar};
use crate::commands::Every;
use crate::invoice::{self, Document, Period};
use crate::io::clock;
use crate::io::setup::Setup;
use crate::ledger::{Command, IssuePackage, Outcome};
use crate::package::PackageOffer;
use crate::why;

/// A period: the calendar's one that holds an instant, or two instants.
#[derive(Debug, Args)]
pub struct PeriodArgs {
    /// The day, week, month or year.
    #[arg(long, value_enum, default_value = "month")]
    pub every: Every,
    /// Any instant in it, such as 2026-10-01T00:00:00+08:00; the period before this one when left
    /// out.
    #[arg(long)]
    pub at: Option<String>,
    /// Time zone it begins and ends in (IANA).
    #[arg(long, default_value = "UTC")]
    pub zone: String,
}

/// Invoices.
#[derive(Debug, Subcommand)]
pub enum InvoiceCommand {
    /// Make an account's invoice of a period that is over; once made, it is only shown again.
    Make {
        /// The account's name.
        account: String,
        /// Unit of account.
        #[arg(long)]
        unit: Unit,
        /// The period.
        #[command(flatten)]
        period: PeriodArgs,
    },
    /// Make a credit note: what was corrected of an invoice since.
    CreditNote {
        /// Number of the invoice.
        number: u64,
    },
    /// List an account's invoices and credit notes.
    List {
        /// The account's name.
        account: String,
    },
    /// Show one, verified, with its signed bytes.
    Show {
        /// Its number.
        number: u64,
    },
}

/// A credit for breached availability.
#[derive(Debug, Args)]
pub struct CreditArgs {
    /// The account's name.
    pub account: String,
    /// Unit of account.
    #[arg(long)]
    pub unit: Unit,
    /// The period.
    #[command(flatten)]
    pub period: PeriodArgs,
    /// Below so many served per million, so much per million of the charges is credited; may be
    /// given more than once.
    #[arg(long = "tier", value_name = "BELOW_PPM=CREDIT_PPM", required = true)]
    pub tiers: Vec<String>,
    /// Only say what it would be.
    #[arg(long)]
    pub dry_run: bool,
}

fn period(args: &PeriodArgs) -> anyhow::Result<Period> {
    let every = Calendar::from(args.every);
    let window = |at: UnixSeconds| calendar::window(at, every, &args.zone);
    let at = match &args.at {
        Some(text) => super::market::instant(text)?,
        None => UnixSeconds(window(clock::now().seconds())?.0.0.saturating_sub(1)),
    };
    let (from, until) = window(at)?;
    Ok(Period { from, until, zone: args.zone.clone() })
}

fn said(document: &Document, bytes: &[u8]) -> Said {
    let Document { kind, number, name, unit, period, zone, total, lines, .. } = document;
    let mut text = format!(
        "{kind} {number} for {name}, {} to {} ({zone}): {total} micro-{unit}",
        period[0], period[1]
    );
    for line in lines {
        let invoice::Line { what, model, count, amount } = line;
        text.push_str(&format!("\n  {what:<9} {model:<24} {count:>8} x  {amount}"));
    }
    text.push_str(&format!("\n  {} receipts in its annex", document.annex.len()));
    (text, json!({ "document": document, "cose": BASE64.encode(bytes) }))
}

pub(super) fn invoice(command: &InvoiceCommand, setup: &mut Setup) -> anyhow::Result<Said> {
    match command {
        InvoiceCommand::Make { account: name, unit, period: args } => {
            let (account, period) = (account(setup, name)?, period(args)?);
            let (document, bytes) = setup.make_invoice(&account, unit, &period)?;
            Ok(said(&document, &bytes))
        }
        InvoiceCommand::CreditNote { number } => {
            let (document, bytes) = setup.make_credit_note(*number)?;
            Ok(said(&document, &bytes))
        }
        InvoiceCommand::List { account } => {
            let number = setup.find_account(account)?;
            let issuer = setup.root_public_key();
            let all = invoice::documents(setup.ledger(), number, &issuer)?;
            let line =
                |document: &Document| said(document, &[]).0.lines().next().map(str::to_owned);
            let text: Vec<String> = all.iter().filter_map(line).collect();
            Ok((text.join("\n"), json!({ "invoices": all })))
        }
        InvoiceCommand::Show { number } => {
            let issuer = setup.root_public_key();
            let (document, bytes) = invoice::find(setup.ledger(), *number, &issuer)?;
            Ok(said(&document, &bytes))
        }
    }
}

fn tier(text: &String) -> anyhow::Result<Tier> {
    let form = || format!("{text:?} is not BELOW_PPM=CREDIT_PPM");
    let (below, credit) = text.split_once('=').with_context(form)?;
    let (below_ppm, credit_ppm) =
        (below.parse().with_context(form)?, credit.parse().with_context(form)?);
    Ok(Tier { below_ppm, credit_ppm })
}

pub(super) fn credit(args: &CreditArgs, setup: &mut Setup) -> anyhow::Result<Said> {
    let (account, period) = (account(setup, &args.account)?, period(&args.period)?);
    let tiers = args.tiers.iter().map(tier).collect::<anyhow::Result<Vec<_>>>()?;
    let now = clock::now().seconds();
    let counted = availability(setup.ledger(), account.number, period.from, period.until)?;
    let charges = setup.charges(&account, &args.unit, &period, now)?;
    let amount = credited(&counted, &tiers, charges);
    let text = format!(
        "{} of a million requests were served ({} served, {} failed, {} refused); credit: {}",
        counted.ppm(),
        counted.served,
        counted.failed,
        counted.refused,
        told(amount, &args.unit)
    );
    let view = json!({ "availability": counted, "ppm": counted.ppm(), "credit": amount });
    if args.dry_run || amount == MicroUnits(0) {
        return Ok((text, view));
    }
    let memo =
        format!("availability {} ppm from {} to {}", counted.ppm(), period.from, period.until);
    let offer = PackageOffer::plain(args.unit.clone(), amount, &memo);
    // A period is credited once: its key says so, and a repetition is the same package.
    let key = credit_key(account.number, &args.unit, period.from, period.until);
    let package =
        IssuePackage { promotional: true, ..offer.issue(key, account.number, period.until) };
    match setup.perform(Command::IssuePackage(package))? {
        Outcome::PackageIssued { package } => {
            let view = json!({ "availability": counted, "credit": amount, "package": package });
            Ok((format!("{text}: package {package}"), view))
        }
        _ => bail!("the ledger answered amiss"),
    }
}

pub(super) fn why(id: &str, setup: &Setup) -> anyhow::Result<Said> {
    let found = why::why(setup.ledger(), None, id)?;
    let mut text = format!("hold {} of account {}: {}", found.hold, found.account, found.told);
    if let (Some(digest), Some(index)) = (found.receipt_digest, found.leaf_index) {
        text.push_str(&format!("\nreceipt {digest}, leaf {index} of the log"));
    }
    if let (Some(keyset), Some(evidence)) = (found.keyset, found.evidence) {
        text.push_str(&format!(
            "\nsigned under keyset {keyset}, appraised with evidence {evidence}"
        ));
    }
    for transfer in &found.transfers {
        let bulla_wire::bundle::Transfer { number, kind, amount, package_number, .. } = transfer;
        text.push_str(&format!("\n{number:>8}  {kind:?} {amount} of package {package_number}"));
    }
    Ok((text, json!(found)))
}
