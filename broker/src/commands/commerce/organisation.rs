//! Projects, credentials, budgets, limits.

use anyhow::{anyhow, bail};
use bulla_wire::ids::Digest;
use bulla_wire::units::{Unit, UnixSeconds};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Said, account, micro, told};
use crate::account::{Credential, date};
use crate::budget::budgets;
use crate::commands::Every;
use crate::io::clock;
use crate::io::setup::Setup;
use crate::ledger::{AccountNumber, Command, Outcome, SetBudget};
use crate::limit::{Kept, Limits, MAX_LIMITS};
use crate::price::Decimal;
use crate::project::{Scope, projects};
use crate::register::EntryKind;

/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;
/// Hex characters of a credential's digest that are shown: its id.
const ID_CHARS: usize = 16;

/// Projects of an account.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// Open a project.
    Open {
        /// The account's name.
        account: String,
        /// The project's name.
        name: String,
    },
    /// List an account's projects.
    List {
        /// The account's name.
        account: String,
    },
}

/// Credentials of an account.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Add a credential. It is shown once.
    Add {
        /// The account's name.
        account: String,
        /// The project it speaks for; the account as a whole when left out.
        #[arg(long)]
        project: Option<String>,
        /// What it is for.
        #[arg(long, default_value = "made by hand")]
        label: String,
        /// Expires after so many days.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List credentials: ids, never secrets.
    List {
        /// The account's name.
        account: String,
    },
    /// Replace a credential: the new one is shown once, the old one refused in the same instant.
    Rotate {
        /// The account's name.
        account: String,
        /// The old one's id.
        id: String,
    },
    /// Revoke a credential at once.
    Revoke {
        /// The account's name.
        account: String,
        /// Its id.
        id: String,
    },
}

/// Part of an account.
#[derive(Debug, Clone, Args)]
pub struct ScopeArgs {
    /// The account's name.
    pub account: String,
    /// A project of it.
    #[arg(long)]
    pub project: Option<String>,
    /// A credential of it, by id.
    #[arg(long)]
    pub credential: Option<String>,
}

/// Budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Set a budget, or change its limits; what is used of it stays.
    Set(BudgetArgs),
    /// List an account's budgets and what is used of them.
    List {
        /// The account's name.
        account: String,
    },
}

/// A budget.
#[derive(Debug, Args)]
pub struct BudgetArgs {
    /// Of what.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Unit of account.
    #[arg(long, default_value = "TOK")]
    pub unit: Unit,
    /// Begins anew every day, week, month or year; never when left out.
    #[arg(long, value_enum)]
    pub every: Option<Every>,
    /// Time zone its windows are counted in (IANA).
    #[arg(long, default_value = "UTC")]
    pub zone: String,
    /// From here on it is told of.
    #[arg(long)]
    pub soft: Option<Decimal>,
    /// Beyond it nothing is held.
    #[arg(long)]
    pub hard: Option<Decimal>,
}

/// Limits.
#[derive(Debug, Subcommand)]
pub enum LimitCommand {
    /// Set the limits of an account, project or credential; what is left out is without bound.
    Set {
        /// Of what.
        #[command(flatten)]
        scope: ScopeArgs,
        /// Requests per minute.
        #[arg(long)]
        requests: Option<u32>,
        /// Tokens per minute, by the ceilings of orders.
        #[arg(long)]
        tokens: Option<u64>,
        /// Requests at once.
        #[arg(long)]
        concurrent: Option<u32>,
    },
    /// List an account's limits.
    List {
        /// The account's name.
        account: String,
    },
}

fn project_number(
    setup: &Setup,
    account: AccountNumber,
    name: Option<&str>,
) -> anyhow::Result<Option<u64>> {
    let Some(name) = name else { return Ok(None) };
    let known = projects(setup.ledger(), account)?;
    let found = known.iter().find(|project| project.name == name);
    let found = found.ok_or_else(|| anyhow!("no project named {name:?}: open it first"))?;
    Ok(Some(found.number))
}

fn find_credential(
    setup: &Setup,
    account: AccountNumber,
    id: &str,
) -> anyhow::Result<(Digest, Credential)> {
    let known = setup.ledger().credentials(account)?;
    let mut found = known.into_iter().filter(|(digest, _)| digest.to_string().starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) if id.len() >= 8 => Ok(one),
        (None, _) => bail!("no credential {id}: list them"),
        _ => bail!("{id} is not one credential: give at least 8 characters of its id"),
    }
}

fn scope(setup: &Setup, args: &ScopeArgs) -> anyhow::Result<(AccountNumber, Scope)> {
    let account = setup.find_account(&args.account)?;
    let project = project_number(setup, account, args.project.as_deref())?;
    let credential = match &args.credential {
        Some(id) => Some(find_credential(setup, account, id)?.0),
        None => None,
    };
    Ok((account, Scope { project, credential }))
}

pub(super) fn project(command: &ProjectCommand, setup: &mut Setup) -> anyhow::Result<Said> {
    match command {
        ProjectCommand::Open { account, name } => {
            let account = setup.find_account(account)?;
            let open = Command::OpenProject { account, name: name.clone() };
            match setup.perform(open)? {
                Outcome::ProjectOpened { project } => {
                    Ok((format!("project {project}"), json!({ "project": project, "name": name })))
                }
                _ => bail!("the ledger answered amiss"),
            }
        }
        ProjectCommand::List { account } => {
            let known = projects(setup.ledger(), setup.find_account(account)?)?;
            let lines: Vec<String> =
                known.iter().map(|p| format!("{:>6}  {}", p.number, p.name)).collect();
            Ok((lines.join("\n"), json!({ "projects": known })))
        }
    }
}

fn id(digest: &Digest) -> String {
    digest.to_string().chars().take(ID_CHARS).collect()
}

pub(super) fn credential(command: &CredentialCommand, setup: &mut Setup) -> anyhow::Result<Said> {
    match command {
        CredentialCommand::Add { account, project, label, days } => {
            let account = setup.find_account(account)?;
            let project = project_number(setup, account, project.as_deref())?;
            let now = clock::now().seconds();
            let end = |days: u32| UnixSeconds(now.0 + u64::from(days).max(1) * DAY_SECONDS);
            let expires_at = days.map(end);
            let secret = setup.add_project_credential(account, project, label, expires_at)?;
            let until = expires_at.map_or("never".to_owned(), date);
            let shown = secret.dangerous_text();
            let text = format!("{shown}\nexpires: {until}. It is not shown again.");
            let id = id(&secret.digest());
            Ok((text, json!({ "credential": shown, "id": id, "expires_at": expires_at })))
        }
        CredentialCommand::List { account } => list_credentials(account, setup),
        CredentialCommand::Rotate { account, id: old } => {
            let account = setup.find_account(account)?;
            let (digest, known) = find_credential(setup, account, old)?;
            let secret = setup.rotate_credential(&digest, &known)?;
            let shown = secret.dangerous_text();
            let text = format!("{shown}\nIt is not shown again; the old one is refused.");
            Ok((text, json!({ "credential": shown, "id": id(&secret.digest()) })))
        }
        CredentialCommand::Revoke { account, id: old } => {
            let account = setup.find_account(account)?;
            let (digest, _) = find_credential(setup, account, old)?;
            setup.perform(Command::RevokeCredential { digest })?;
            Ok(("revoked".to_owned(), json!({ "revoked": id(&digest) })))
        }
    }
}

fn list_credentials(account: &str, setup: &Setup) -> anyhow::Result<Said> {
    let account = setup.find_account(account)?;
    let known = setup.ledger().credentials(account)?;
    let projects = projects(setup.ledger(), account)?;
    let name = |number: Option<u64>| {
        let found = projects.iter().find(|project| Some(project.number) == number);
        found.map_or("", |project| &project.name)
    };
    let state = |credential: &Credential| match (credential.revoked_at, credential.expires_at) {
        (Some(at), _) => format!("revoked {}", date(at)),
        (None, Some(at)) => format!("until {}", date(at)),
        (None, None) => "in use".to_owned(),
    };
    let line = |(digest, credential): &(Digest, Credential)| {
        let (project, state) = (name(credential.project), state(credential));
        format!("{}  {:<16} {:<16} {state}", id(digest), credential.label, project)
    };
    let view = |(digest, credential): &(Digest, Credential)| {
        json!({
            "id": id(digest),
            "label": credential.label,
            "project": credential.project,
            "expires_at": credential.expires_at,
            "revoked_at": credential.revoked_at,
        })
    };
    let text = known.iter().map(line).collect::<Vec<_>>().join("\n");
    Ok((text, json!({ "credentials": known.iter().map(view).collect::<Vec<_>>() })))
}

pub(super) fn budget(command: &BudgetCommand, setup: &mut Setup) -> anyhow::Result<Said> {
    match command {
        BudgetCommand::Set(args) => {
            if args.soft.is_none() && args.hard.is_none() {
                bail!("name --soft, --hard or both");
            }
            let (account, scope) = scope(setup, &args.scope)?;
            let set = SetBudget {
                account,
                scope,
                unit: args.unit.clone(),
                every: args.every.map(Into::into),
                zone: args.zone.clone(),
                soft: args.soft.as_ref().map(micro),
                hard: args.hard.as_ref().map(micro),
            };
            match setup.perform(Command::SetBudget(set))? {
                Outcome::Entered { number } => {
                    Ok((format!("budget {number}"), json!({ "budget": number })))
                }
                _ => bail!("the ledger answered amiss"),
            }
        }
        BudgetCommand::List { account } => {
            let account = setup.find_account(account)?;
            let known = budgets(setup.ledger(), account, clock::now().seconds())?;
            let line = |(number, budget): &(u64, crate::budget::Budget)| {
                let used = told(budget.used(), &budget.unit);
                let of = budget.hard.map_or("no bound".to_owned(), |hard| told(hard, &budget.unit));
                let mark = if budget.is_soft() { "  beyond its soft limit" } else { "" };
                format!("{number:>6}  {used} of {of}{mark}")
            };
            let view = |(number, budget): &(u64, crate::budget::Budget)| json!({ "budget": number, "terms": budget, "left": budget.left() });
            let text = known.iter().map(line).collect::<Vec<_>>().join("\n");
            Ok((text, json!({ "budgets": known.iter().map(view).collect::<Vec<_>>() })))
        }
    }
}

pub(super) fn limit(command: &LimitCommand, setup: &mut Setup) -> anyhow::Result<Said> {
    match command {
        LimitCommand::Set { scope: args, requests, tokens, concurrent } => {
            let (account, scope) = scope(setup, args)?;
            let limits = Limits {
                requests_per_minute: *requests,
                tokens_per_minute: *tokens,
                concurrent: *concurrent,
            };
            setup.perform(Command::SetLimits { account, scope, limits })?;
            Ok(("limits set".to_owned(), json!({ "limits": limits })))
        }
        LimitCommand::List { account } => {
            let account = account_number(account, setup)?;
            let entries =
                setup.ledger().entries(EntryKind::Limits, Some(account), 0, MAX_LIMITS)?;
            let kept = entries.iter().map(|entry| entry.read::<Kept>());
            let kept = kept.collect::<Result<Vec<_>, _>>()?;
            let text = kept.iter().map(|kept| format!("{kept:?}")).collect::<Vec<_>>().join("\n");
            Ok((text, json!({ "limits": kept })))
        }
    }
}

fn account_number(name: &str, setup: &Setup) -> anyhow::Result<AccountNumber> {
    Ok(account(setup, name)?.number)
}
