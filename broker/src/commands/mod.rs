//! `bulla broker`: run it, or work on its data folder.

mod admin;
mod user;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use admin::{FolderCommand, LedgerCommand, LogCommand};
pub use user::ensure_user;

use anyhow::{Context, bail};
use bulla_wire::ids::Digest;
use bulla_wire::units::{Unit, UnixSeconds};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::account::date;
use crate::api::view::instant;
use crate::calendar::Period;
use crate::config::{Config, ConfigError, MAX_CONFIG_BYTES};
use crate::io::clock;
use crate::io::run::run;
use crate::io::setup::Setup;
use crate::io::web::local::Local;
use crate::package::{PackageCatalogue, PackageOffer};
use crate::price::{Decimal, PricedModel, SourceBook};

/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;

/// Relay, ledger and log: run the broker, or work on its data folder.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// Configuration file; without a subcommand the broker runs with it.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data folder for local operations; else the one of the configuration.
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Write one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<BrokerCommand>,
}

/// Local operations. The broker may run meanwhile.
#[derive(Debug, Subcommand)]
pub enum BrokerCommand {
    /// Make data folder and keys; print what enclaves and clients have to pin.
    Init,
    /// Accounts, credentials, packages.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Sign and log a price book: the first effective now, later ones a few seconds on.
    PriceBook(PriceBookArgs),
    /// Check that the ledger's sums hold: issued = available + held + spent + expired.
    Check,
}

/// Accounts, credentials, packages.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List all accounts.
    List,
    /// Open an account.
    Open {
        /// Its name.
        name: String,
        /// Its credentials may see every account.
        #[arg(long)]
        operator: bool,
    },
    /// Add a credential. It is shown once.
    Credential {
        /// The account's name.
        name: String,
        /// What it is for.
        #[arg(long, default_value = "made by hand")]
        label: String,
        /// Expires after so many days.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Revoke a credential at once; it is read from standard input.
    Revoke,
    /// Issue a package.
    Package(PackageArgs),
}

/// A package for an account: one by amount, or all of a catalogue.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// The account's name.
    pub name: String,
    /// Unit of account: TOK, or a currency.
    #[arg(long, default_value = "TOK")]
    pub unit: Unit,
    /// Amount in whole units, such as 1000000 or 12.50.
    #[arg(long, required_unless_present = "catalogue")]
    pub amount: Option<String>,
    /// Lower burns first.
    #[arg(long, default_value_t = 100)]
    pub priority: u8,
    /// A gift: burns before anything paid.
    #[arg(long)]
    pub promotional: bool,
    /// Lapses after so many days.
    #[arg(long)]
    pub days: Option<u32>,
    /// What it is, for people.
    #[arg(long, default_value = "package")]
    pub memo: String,
    /// Pays for this model only; may be given more than once.
    #[arg(long = "model", value_name = "NAME")]
    pub models: Vec<String>,
    /// Comes again: each lapses when the next one comes.
    #[arg(long, value_enum, conflicts_with = "days")]
    pub every: Option<Every>,
    /// Time zone its periods are counted in (IANA).
    #[arg(long, default_value = "UTC")]
    pub zone: String,
    /// At most so much of what is left goes over into the next period.
    #[arg(long, value_name = "AMOUNT", requires = "every")]
    pub rollover: Option<String>,
    /// Issue every package of this catalogue (TOML) instead.
    #[arg(long, value_name = "FILE", conflicts_with = "amount")]
    pub catalogue: Option<PathBuf>,
}

/// How often a package comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Every {
    /// At the same local time every day.
    Day,
    /// Every seven days.
    Week,
    /// On the same day of every month, or its last.
    Month,
    /// On the same day of every year.
    Year,
}

impl From<Every> for Period {
    fn from(every: Every) -> Period {
        match every {
            Every::Day => Period::Day,
            Every::Week => Period::Week,
            Every::Month => Period::Month,
            Every::Year => Period::Year,
        }
    }
}

/// Where prices come from, and for what.
#[derive(Debug, Args)]
pub struct PriceBookArgs {
    /// The prices, as people write them (TOML).
    #[arg(long, value_name = "FILE")]
    pub source: PathBuf,
    /// A model and its manifest digest; repeat for each.
    #[arg(long = "model", value_name = "NAME=DIGEST", required = true)]
    pub models: Vec<String>,
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    if length > MAX_CONFIG_BYTES as u64 {
        bail!("{}: has {length} bytes, at most {MAX_CONFIG_BYTES} are allowed", path.display());
    }
    std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}

/// Reads a configuration file; its data folder is taken relative to it.
pub fn load_config(path: &Path) -> Result<Config, ConfigError> {
    let text = read_text(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        reason: format!("{error:#}"),
    })?;
    Ok(Config::from_toml(&text)?.beside(path))
}

/// A broker's keys and ledger: in `data`, or where the configuration says.
fn open_setup(data: Option<&Path>, config: Option<&Path>) -> anyhow::Result<Setup> {
    let config = config.map(load_config).transpose()?;
    let store = config.as_ref().map(|config| config.store.clone()).unwrap_or_default();
    match (data, &config) {
        (Some(data), _) => Ok(Setup::open_at(data, &store)?),
        (None, Some(config)) => Ok(Setup::open_at(&config.data, &store)?),
        (None, None) => bail!("name the broker's data folder, or its configuration with --config"),
    }
}

/// A broker's data folder for the operations of the HTTP API: in `data`, or where the configuration
/// says.
pub fn open_local(data: Option<&Path>, config: Option<&Path>) -> anyhow::Result<Local> {
    let config = config.map(load_config).transpose()?;
    let store = config.as_ref().map(|config| config.store.clone()).unwrap_or_default();
    let folder = data.or(config.as_ref().map(|config| config.data.as_path()));
    let folder = folder.context(
        "name the broker's data folder, its configuration with --config, or a running one with --url",
    )?;
    let pages = config.as_ref().and_then(|config| config.pages.as_ref());
    let zone = pages.map_or("UTC", |pages| pages.zone.as_str());
    Ok(Local::open(folder, &store, zone)?)
}

impl BrokerArgs {
    /// Does what was asked; running ends with `shutdown`.
    pub async fn execute(
        self,
        out: &mut (dyn Write + Send),
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Some(command) = &self.command else {
            return self.run(out, shutdown).await;
        };
        let mut setup = open_setup(self.data.as_deref(), self.config.as_deref())?;
        let (text, value) = perform(command, &mut setup)?;
        match self.json {
            true => writeln!(out, "{value}")?,
            false => writeln!(out, "{text}")?,
        }
        Ok(())
    }

    async fn run(
        &self,
        out: &mut (dyn Write + Send),
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.config else {
            bail!("name a configuration with --config FILE, or see `bulla broker --help`");
        };
        let config = load_config(path)?;
        let (ready, is_ready) = oneshot::channel();
        let running = run(config, ready, shutdown);
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            Ok(ready) = is_ready => match self.json {
                true => writeln!(out, "{}", json!({
                    "url": format!("https://{}", ready.address),
                    "spki_sha256": ready.spki_sha256,
                    "pages": ready.pages,
                }))?,
                false => {
                    writeln!(
                        out,
                        "broker listens on https://{}\nits TLS key: spki_sha256 = \"{}\"",
                        ready.address, ready.spki_sha256
                    )?;
                    if let Some(pages) = ready.pages {
                        writeln!(out, "its pages listen on {pages}")?;
                    }
                }
            },
        }
        Ok(running.await?)
    }
}

/// What a local operation says, as text and as JSON.
fn perform(command: &BrokerCommand, setup: &mut Setup) -> anyhow::Result<(String, Value)> {
    match command {
        BrokerCommand::Init => Ok(pins(setup)),
        BrokerCommand::Account(command) => account(command, setup),
        BrokerCommand::PriceBook(args) => price_book(args, setup),
        BrokerCommand::Check => check(setup),
    }
}

fn pins(setup: &Setup) -> (String, Value) {
    let (root, log) = (setup.root_public_key(), setup.log_verifier().to_string());
    let text = format!("root_key = \"{root}\"\nlog_key = \"{log}\"");
    (text, json!({ "root_key": root, "log_key": log }))
}

fn account(command: &AccountCommand, setup: &mut Setup) -> anyhow::Result<(String, Value)> {
    match command {
        AccountCommand::List => {
            let accounts = setup.ledger().accounts()?;
            let line = |a: &crate::account::Account| {
                let role = if a.operator { "  operator" } else { "" };
                format!("{:>6}  {}{role}", a.number, a.name)
            };
            let text = accounts.iter().map(line).collect::<Vec<_>>().join("\n");
            let view = |a: &crate::account::Account| json!({ "account": a.number, "name": a.name, "operator": a.operator });
            Ok((text, json!({ "accounts": accounts.iter().map(view).collect::<Vec<_>>() })))
        }
        AccountCommand::Open { name, operator } => {
            let number = setup.open_account(name, *operator)?;
            Ok((format!("account {number}"), json!({ "account": number, "name": name })))
        }
        AccountCommand::Credential { name, label, days } => {
            let account = setup.find_account(name)?;
            let now = clock::now().seconds();
            let expires_at =
                days.map(|days| UnixSeconds(now.0 + u64::from(days).max(1) * DAY_SECONDS));
            let secret = setup.add_credential(account, label, expires_at)?;
            let until = expires_at.map_or("never".to_owned(), date);
            let text =
                format!("{}\nexpires: {until}. It is not shown again.", secret.dangerous_text());
            let credential = secret.dangerous_text();
            Ok((text, json!({ "credential": credential, "expires_at": expires_at })))
        }
        AccountCommand::Revoke => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            setup.revoke_credential(line.trim())?;
            Ok(("revoked".to_owned(), json!({ "revoked": true })))
        }
        AccountCommand::Package(args) => package(args, setup),
    }
}

fn package(args: &PackageArgs, setup: &mut Setup) -> anyhow::Result<(String, Value)> {
    let account = setup.find_account(&args.name)?;
    let offers = match (&args.catalogue, &args.amount) {
        (Some(path), _) => {
            let catalogue = PackageCatalogue::from_toml(&read_text(path)?);
            catalogue.map_err(anyhow::Error::msg)?.package
        }
        (None, Some(amount)) => vec![PackageOffer {
            memo: args.memo.clone(),
            unit: args.unit.clone(),
            amount: amount.parse::<Decimal>()?,
            priority: args.priority,
            promotional: args.promotional,
            days: args.days,
            models: args.models.clone(),
            every: args.every.map(Into::into),
            zone: args.zone.clone(),
            rollover: args.rollover.as_deref().map(str::parse).transpose()?,
        }],
        (None, None) => bail!("name an --amount or a --catalogue"),
    };
    let numbers: Vec<_> =
        offers.iter().map(|offer| setup.issue_offer(account, offer)).collect::<Result<_, _>>()?;
    let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Ok((format!("issued: package {list}"), json!({ "packages": numbers })))
}

fn price_book(args: &PriceBookArgs, setup: &mut Setup) -> anyhow::Result<(String, Value)> {
    let source = SourceBook::from_toml(&read_text(&args.source)?)?;
    let model = |text: &String| -> anyhow::Result<PricedModel> {
        let (name, digest) = text.split_once('=').context("a model is given as NAME=DIGEST")?;
        let manifest: Digest = digest.parse().with_context(|| {
            format!("--model {text}: the manifest's digest, which the enclave tells at its start")
        })?;
        Ok(PricedModel { name: name.to_owned(), manifest })
    };
    let models: Vec<_> = args.models.iter().map(model).collect::<Result<_, _>>()?;
    let book = setup.put_price_book(&source, &models)?;
    let (version, digest) = (book.version, book.digest());
    let from = book.effective_from;
    let text = format!("price book {version}, digest {digest}, in force from {}", instant(from));
    Ok((text, json!({ "version": version, "digest": digest, "effective_from": from })))
}

fn check(setup: &Setup) -> anyhow::Result<(String, Value)> {
    let totals = setup.ledger().totals()?;
    let mut lines = Vec::new();
    for (unit, sums) in &totals {
        let crate::ledger::Totals { issued, available, held, spent, expired } = sums;
        lines.push(format!(
            "{unit}: issued {issued} = available {available} + held {held} + spent {spent} + \
             expired {expired}"
        ));
        if !sums.balances() {
            bail!("{}\nthe sums do not hold: restore the ledger from a backup", lines.join("\n"));
        }
    }
    let view: serde_json::Map<String, Value> =
        totals.iter().map(|(unit, sums)| (unit.to_string(), json!(sums))).collect();
    Ok((lines.join("\n"), Value::Object(view)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        broker: BrokerArgs,
    }

    fn operate(data: &Path, words: &[&str]) -> anyhow::Result<Value> {
        let data = data.to_str().unwrap();
        let words = ["broker", "--json", "--data", data].into_iter().chain(words.iter().copied());
        let program = Program::try_parse_from(words)?;
        let mut out = Vec::new();
        tokio::runtime::Builder::new_current_thread()
            .build()?
            .block_on(program.broker.execute(&mut out, async {}))?;
        Ok(serde_json::from_slice(&out)?)
    }

    #[test]
    fn a_data_folder_is_made_and_worked_on() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let pins = operate(&data, &["init"]).unwrap();
        assert_eq!(operate(&data, &["init"]).unwrap(), pins, "keys are made once");
        operate(&data, &["account", "open", "acme"]).unwrap();
        let twice = operate(&data, &["account", "open", "acme"]).unwrap_err();
        assert!(twice.to_string().contains("exists already"), "{twice}");
        let made = operate(&data, &["account", "credential", "acme", "--days", "1"]).unwrap();
        assert!(made["credential"].as_str().unwrap().starts_with("bulla_"));
        let issue = ["account", "package", "acme", "--amount", "12.5", "--unit", "HKD"];
        operate(&data, &issue).unwrap();
        let sums = operate(&data, &["check"]).unwrap();
        assert_eq!(sums["HKD"]["available"], json!(12_500_000));
        let nobody = operate(&data, &["account", "credential", "nobody"]).unwrap_err();
        assert!(nobody.to_string().contains("open it first"), "{nobody}");
    }
}
