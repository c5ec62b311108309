//! `bulla admin user`: who may sign in on the pages.

use std::io::{IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::io::clock::{self, Entropy};
use crate::io::setup::Setup;
use crate::io::store::annex::people;
use crate::ledger::AccountNumber;
use crate::people::{Role, User, check_user, password};

/// Who may sign in on the pages.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List all users.
    List,
    /// Add a user. A password is made and shown once, unless one is given.
    Add(NewUser),
    /// Give a user another password and end its sessions.
    Password {
        /// The user's name.
        name: String,
        /// Read it from standard input instead of making one.
        #[arg(long)]
        given: bool,
    },
    /// Let a user sign in no more; its sessions end.
    Disable {
        /// The user's name.
        name: String,
    },
    /// Let a user sign in again.
    Enable {
        /// The user's name.
        name: String,
    },
}

/// A user to be.
#[derive(Debug, Args)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// operator-admin, operator-viewer, customer-admin or customer-viewer.
    #[arg(long, default_value = "operator-admin")]
    pub role: Role,
    /// Name of the account a customer's role is bound to.
    #[arg(long)]
    pub account: Option<String>,
    /// Read the password from standard input instead of making one.
    #[arg(long)]
    pub given: bool,
}

impl UserCommand {
    /// Does what was asked: what to say, as text and as JSON.
    pub fn perform(&self, setup: &Setup) -> anyhow::Result<(String, Value)> {
        let annex = setup.annex()?;
        match self {
            UserCommand::List => Ok(list(&people::all_users(&*annex)?)),
            UserCommand::Add(new) => add(setup, new),
            UserCommand::Password { name, given } => {
                let (hash, made) = new_password(*given)?;
                if !people::set_password(&*annex, name, &hash)? {
                    bail!("no user named {name:?}: see `bulla admin user list`");
                }
                Ok(shown(name, made.as_deref().map(String::as_str)))
            }
            UserCommand::Disable { name } => switch(&*annex, name, false),
            UserCommand::Enable { name } => switch(&*annex, name, true),
        }
    }
}

fn switch(
    annex: &dyn crate::io::store::Annex,
    name: &str,
    enabled: bool,
) -> anyhow::Result<(String, Value)> {
    let at = (!enabled).then(|| clock::now().seconds());
    if !people::disable_user(annex, name, at)? {
        bail!("no user named {name:?}: see `bulla admin user list`");
    }
    let state = if enabled { "enabled" } else { "disabled" };
    Ok((format!("{name}: {state}"), json!({ "name": name, "enabled": enabled })))
}

fn list(users: &[User]) -> (String, Value) {
    let line = |user: &User| {
        let account = user.account.map(|a| format!("  account {a}")).unwrap_or_default();
        let disabled = if user.disabled_at.is_some() { "  disabled" } else { "" };
        format!("{:<24} {}{account}{disabled}", user.name, user.role)
    };
    let text = users.iter().map(line).collect::<Vec<_>>().join("\n");
    let views: Vec<_> = users.iter().map(crate::api::body::UserView::from).collect();
    (text, json!({ "users": views }))
}

fn add(setup: &Setup, new: &NewUser) -> anyhow::Result<(String, Value)> {
    let account = new.account.as_deref().map(|name| setup.find_account(name)).transpose()?;
    check_user(&new.name, new.role, account)?;
    let (hash, made) = new_password(new.given)?;
    add_user(setup, &new.name, new.role, account, hash)?;
    Ok(shown(&new.name, made.as_deref().map(String::as_str)))
}

fn add_user(
    setup: &Setup,
    name: &str,
    role: Role,
    account: Option<AccountNumber>,
    password: String,
) -> anyhow::Result<()> {
    let made_at = clock::now().seconds();
    let user = User { name: name.to_owned(), password, role, account, made_at, disabled_at: None };
    match people::add_user(&*setup.annex()?, &user)? {
        true => Ok(()),
        false => bail!("the name {name:?} is taken: choose another"),
    }
}

/// A user with a password made here, unless there is one of that name: `bulla up`'s first ones.
pub fn ensure_user(
    setup: &Setup,
    name: &str,
    role: Role,
    account: Option<AccountNumber>,
) -> anyhow::Result<Option<Zeroizing<String>>> {
    if people::find_user(&*setup.annex()?, name)?.is_some() {
        return Ok(None);
    }
    let mut rng = Entropy::new();
    let made = password::generate(&mut rng);
    add_user(setup, name, role, account, password::hash(&made, &mut rng)?)?;
    Ok(Some(made))
}

/// A hash, and the password where it was made here.
fn new_password(given: bool) -> anyhow::Result<(String, Option<Zeroizing<String>>)> {
    let mut rng = Entropy::new();
    if !given {
        let made = password::generate(&mut rng);
        return Ok((password::hash(&made, &mut rng)?, Some(made)));
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        // It is seen while it is typed: a program or a made password is the better way.
        write!(std::io::stderr(), "password (visible): ")?;
    }
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).context("standard input")?;
    Ok((password::hash(line.trim_end_matches(['\r', '\n']), &mut rng)?, None))
}

fn shown(name: &str, made: Option<&str>) -> (String, Value) {
    let text = match made {
        Some(made) => format!("{name}\npassword: {made}\nIt is not shown again."),
        None => name.to_owned(),
    };
    (text, json!({ "name": name, "password": made }))
}
