//! Every operation, done: for the HTTP API and for the pages' forms alike. Rights were checked.

use std::sync::Arc;

use bulla_wire::bundle::Transfer;
use bulla_wire::ids::Digest;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::{key, random_name};
use super::reply::{Reply, json};
use super::{Desk, export};
use crate::api::body::*;
use crate::api::charge::{ChargeView, ReceiptView, explain, receipt_view};
use crate::api::query::{ApiError, Parameters, bad};
use crate::api::route::Deed;
use crate::api::usage::{Days, UsageAnswer, usage};
use crate::api::view::*;
use crate::catalogue::Stage;
use crate::io::clock::Entropy;
use crate::io::store::annex::{DeliveryState, Hook, RaisedAlert, hooks, people};
use crate::ledger::recompute::recompute;
use crate::ledger::{AccountNumber, Command, Outcome, PackageNumber, Queries};
use crate::package::PackageOffer;
use crate::people::session::{ApiToken, Secret};
use crate::people::{Principal, User, check_user, password};
use crate::price::Decimal;
use crate::webhook::{SECRET_BYTES, Target, secret_text};

/// Longest label of a token, in bytes.
const MAX_LABEL_BYTES: usize = 100;
/// Longest life of a token or package, in days.
const MAX_DAYS: u32 = 3660;
/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;
/// Differences that are told.
const MAX_DIFFERENCES: usize = 100;

/// What is to be done, and to whose things.
pub struct Order {
    /// What.
    pub deed: Deed,
    /// One account's, or everybody's.
    pub scope: Option<AccountNumber>,
    /// Time zone where none is named.
    pub zone: String,
}

fn whole<T: Serialize>(items: Vec<T>) -> Result<Reply, ApiError> {
    json(&Page::whole(items))
}

fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body does not read: {error}")))
}

fn done() -> Result<Reply, ApiError> {
    json(&Done { done: true })
}

fn must(done: bool, missing: &str) -> Result<(), ApiError> {
    match done {
        true => Ok(()),
        false => Err(ApiError::NotFound(missing.to_owned())),
    }
}

/// Does it.
pub async fn perform(
    desk: &Arc<Desk>,
    who: &Principal,
    order: &Order,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Reply, ApiError> {
    let scope = order.scope;
    let one = || scope.ok_or_else(|| bad("name an account"));
    match order.deed {
        Deed::Me => json(&MeView {
            name: who.name.clone(),
            role: who.role.to_string(),
            account: who.account.map(|account| account.0),
        }),
        Deed::Balance => whole(balances(&packages_of(desk, one()?).await?)),
        Deed::Packages => whole(packages(&packages_of(desk, one()?).await?, desk.now())),
        Deed::Holds => json(&holds(desk, scope, parameters).await?),
        Deed::Transfers => json(&transfers(desk, scope, parameters).await?),
        Deed::Receipts => json(&receipts(desk, scope, parameters).await?),
        Deed::Charge => json(&charge(desk, who.account, parameters.needed("digest")?).await?),
        Deed::Proof => {
            let digest = parameters.needed("digest")?;
            charge(desk, who.account, digest).await?;
            let proof = proof(desk, digest).await?;
            let missing = || ApiError::NotFound("the receipt is not in the log yet".to_owned());
            let media = "text/plain; charset=utf-8";
            Ok(Reply::Whole { media, bytes: proof.ok_or_else(missing)?.into_bytes() })
        }
        Deed::Evidence => evidence(desk, parameters.needed("keyset")?).await,
        Deed::Usage => {
            let days = days(parameters, &order.zone, desk.now())?;
            json(&usage_of(desk, one()?, days).await?)
        }
        Deed::Export => export::start(desk, scope, parameters, &order.zone).await,
        Deed::Alerts => whole(alerts(desk, scope).await?),
        Deed::Users => whole(users(desk, scope, who).await?),
        Deed::AddUser => json(&add_user(desk, who, read_body(body)?).await?),
        Deed::SwitchUser => {
            let switch: Switch = read_body(body)?;
            switch_user(desk, who, parameters.needed("name")?, switch.enabled).await?;
            done()
        }
        Deed::Tokens => whole(tokens(desk, who.account).await?),
        Deed::AddToken => json(&add_token(desk, who, read_body(body)?).await?),
        Deed::RevokeToken => {
            revoke_token(desk, who, parameters.needed("id")?).await?;
            done()
        }
        Deed::Hooks => whole(hook_views(desk, who.account).await?),
        Deed::AddHook => json(&add_hook(desk, who, read_body(body)?).await?),
        Deed::RemoveHook => {
            remove_hook(desk, who, parameters.needed("id")?).await?;
            done()
        }
        Deed::TestHook => {
            test_hook(desk, who, parameters.needed("id")?).await?;
            done()
        }
        Deed::Accounts => json(&accounts(desk, parameters).await?),
        Deed::OpenAccount => json(&open_account(desk, read_body(body)?).await?),
        Deed::Grant => json(&grant(desk, one()?, read_body(body)?).await?),
        Deed::Refund => {
            let package = parameters.parsed::<u64>("package")?.unwrap_or_default();
            refund(desk, PackageNumber(package), read_body(body)?).await?;
            done()
        }
        Deed::PriceBooks => whole(price_books(desk).await?),
        Deed::Supply => whole(supply(desk).await?),
        Deed::LogHead => json(&log_head(desk).await?),
        Deed::Enclaves => whole(enclaves(desk).await?),
        Deed::Keysets => whole(keysets(desk).await?),
        Deed::Recompute => json(&recomputed(desk).await?),
        Deed::Deliveries => whole(deliveries(desk, parameters.text("state")).await?),
        Deed::RetryDelivery => {
            let (id, now) = (parameters.needed("id")?.to_owned(), desk.now());
            let again = desk.aside(move |annex| hooks::retry(annex, &id, now)).await?;
            must(again, "no message of this id was given up")?;
            done()
        }
        Deed::Metrics => export::metrics(desk).await,
    }
}

/// An account's packages; the account must be there.
pub async fn packages_of(
    desk: &Desk,
    account: AccountNumber,
) -> Result<Vec<crate::package::Package>, ApiError> {
    desk.account(account).await?;
    desk.read(move |view| Ok(view.packages(account)?)).await
}

/// A page of holds.
pub async fn holds(
    desk: &Desk,
    scope: Option<AccountNumber>,
    parameters: &Parameters,
) -> Result<Page<HoldView>, ApiError> {
    let (after, limit) = (parameters.parsed("after")?.unwrap_or(0), parameters.limit()?);
    let found = desk.read(move |view| Ok(view.holds(scope, after, limit + 1)?)).await?;
    let views = found.iter().map(HoldView::from).collect();
    Ok(Page::of(views, limit, |hold: &HoldView| hold.number.to_string()))
}

async fn transfers(
    desk: &Desk,
    scope: Option<AccountNumber>,
    parameters: &Parameters,
) -> Result<Page<TransferView>, ApiError> {
    let (after, limit) = (parameters.parsed("after")?.unwrap_or(0), parameters.limit()?);
    let found: Vec<Transfer> =
        desk.read(move |view| Ok(view.transfers(scope, after, limit + 1)?)).await?;
    let views = found.iter().map(TransferView::from).collect();
    Ok(Page::of(views, limit, |transfer: &TransferView| transfer.number.to_string()))
}

async fn receipts(
    desk: &Arc<Desk>,
    scope: Option<AccountNumber>,
    parameters: &Parameters,
) -> Result<Page<ReceiptView>, ApiError> {
    let (after, limit) = (parameters.parsed("after")?.unwrap_or(0), parameters.limit()?);
    let names = desk.clone();
    desk.read(move |view| {
        let names = names.names(view)?;
        let found = view.receipts(scope, after, limit + 1)?;
        let more = found.len() > limit;
        let next = found.get(limit - 1).filter(|_| more).map(|record| record.number.to_string());
        let shown = found.iter().take(limit);
        Ok(Page { items: shown.filter_map(|record| receipt_view(record, &names)).collect(), next })
    })
    .await
}

/// The newest receipts, oldest of them first.
pub async fn newest_receipts(
    desk: &Arc<Desk>,
    scope: Option<AccountNumber>,
    limit: usize,
) -> Result<Vec<ReceiptView>, ApiError> {
    let names = desk.clone();
    desk.read(move |view| {
        let names = names.names(view)?;
        let found = view.newest_receipts(scope, limit)?;
        Ok(found.iter().filter_map(|record| receipt_view(record, &names)).collect())
    })
    .await
}

/// Why a receipt was charged, for its payer or an operator.
pub async fn charge(
    desk: &Arc<Desk>,
    account: Option<AccountNumber>,
    digest: &str,
) -> Result<ChargeView, ApiError> {
    let digest: Digest = digest.parse().map_err(bad)?;
    let names = desk.clone();
    let found = desk
        .read(move |view| {
            let names = names.names(view)?;
            Ok(explain(view, account, &digest, &names)?)
        })
        .await?;
    found.ok_or_else(|| ApiError::NotFound(format!("no receipt {digest}")))
}

/// The inclusion proof of a receipt, once it is in the log.
pub async fn proof(desk: &Desk, digest: &str) -> Result<Option<String>, ApiError> {
    let digest: Digest = digest.parse().map_err(bad)?;
    let record = desk.read(move |view| Ok(view.record(&digest)?)).await?;
    let Some(leaf) = record.and_then(|record| record.leaf_index) else { return Ok(None) };
    // The running broker's tree may be a moment behind the ledger's rows.
    desk.broker(move |broker, _| broker.log().prove(leaf, &[]).ok()).await
}

async fn evidence(desk: &Desk, keyset: &str) -> Result<Reply, ApiError> {
    let keyset: Digest = keyset.parse().map_err(bad)?;
    let report = desk.read(move |view| Ok(view.report(&keyset)?)).await?;
    let missing = || ApiError::NotFound(format!("no keyset {keyset} is archived"));
    Ok(Reply::Json(report.ok_or_else(missing)?))
}

/// The days asked for.
pub fn days(parameters: &Parameters, zone: &str, now: UnixSeconds) -> Result<Days, ApiError> {
    let zone = parameters.text("zone").unwrap_or(zone);
    Days::parse(parameters.text("from"), parameters.text("to"), zone, now).map_err(bad)
}

/// An account's usage on these days.
pub async fn usage_of(
    desk: &Arc<Desk>,
    account: AccountNumber,
    days: Days,
) -> Result<UsageAnswer, ApiError> {
    desk.account(account).await?;
    desk.usage(account, move |tally, names| usage(tally, &days, names)).await
}

/// The newest alerts.
pub async fn alerts(desk: &Desk, scope: Option<AccountNumber>) -> Result<Vec<AlertView>, ApiError> {
    let found = desk.aside(move |annex| hooks::alerts(annex, scope)).await?;
    Ok(found.iter().map(AlertView::from).collect())
}

/// The users a person may see.
pub async fn users(
    desk: &Desk,
    scope: Option<AccountNumber>,
    who: &Principal,
) -> Result<Vec<UserView>, ApiError> {
    let all = who.role.is_operator() && scope.is_none();
    let found = desk
        .aside(move |annex| match all {
            true => people::all_users(annex),
            false => people::users(annex, scope),
        })
        .await?;
    Ok(found.iter().map(UserView::from).collect())
}

/// Adds a user: a customer's within its own account.
pub async fn add_user(desk: &Desk, who: &Principal, new: NewUser) -> Result<MadeUser, ApiError> {
    let role = new.role.parse().map_err(bad)?;
    let account = match who.account {
        Some(own) if new.account.is_none_or(|account| account == own.0) => Some(own),
        Some(_) => return Err(ApiError::Forbidden("that is another account".to_owned())),
        None => new.account.map(AccountNumber),
    };
    if let Some(number) = account {
        desk.account(number).await?;
    }
    check_user(&new.name, role, account).map_err(bad)?;
    let (name, made_at) = (new.name.clone(), desk.now());
    let (hash, made) = hashed(new.password).await?;
    let user = User { name: new.name, password: hash, role, account, made_at, disabled_at: None };
    match desk.aside(move |annex| people::add_user(annex, &user)).await? {
        true => Ok(MadeUser { name, password: made }),
        false => Err(ApiError::Conflict(format!("the name {name:?} is taken: choose another"))),
    }
}

/// The hash of a password as given, or of one that is made here.
async fn hashed(given: Option<String>) -> Result<(String, Option<String>), ApiError> {
    let hash = tokio::task::spawn_blocking(move || {
        let mut rng = Entropy::new();
        let made = given.is_none().then(|| password::generate(&mut rng).to_string());
        let text = given.or(made.clone()).unwrap_or_default();
        password::hash(&text, &mut rng).map(|hash| (hash, made))
    });
    hash.await.map_err(|_| ApiError::Internal("hashing failed".to_owned()))?.map_err(bad)
}

/// Switches a user on or off, never oneself.
pub async fn switch_user(
    desk: &Desk,
    who: &Principal,
    name: &str,
    enabled: bool,
) -> Result<(), ApiError> {
    if name == who.name {
        return Err(ApiError::Conflict("nobody switches themselves off".to_owned()));
    }
    let (name, own, operator) = (name.to_owned(), who.account, who.role.is_operator());
    let at = (!enabled).then(|| desk.now());
    let done = desk
        .aside(move |annex| {
            let found = people::find_user(annex, &name)?;
            // Another account's user is as good as none.
            match found.filter(|user| operator || user.account == own) {
                Some(_) => people::disable_user(annex, &name, at),
                None => Ok(false),
            }
        })
        .await?;
    must(done, "no such user")
}

/// The tokens of an account, or the operators'.
pub async fn tokens(
    desk: &Desk,
    account: Option<AccountNumber>,
) -> Result<Vec<TokenView>, ApiError> {
    let found = desk.aside(move |annex| people::tokens(annex, account)).await?;
    Ok(found.iter().map(TokenView::from).collect())
}

/// Makes a token of the maker's own kind.
pub async fn add_token(desk: &Desk, who: &Principal, new: NewToken) -> Result<MadeToken, ApiError> {
    let role: crate::people::Role = new.role.parse().map_err(bad)?;
    if role.is_operator() != who.role.is_operator() {
        return Err(ApiError::Forbidden(format!("{} cannot make a token of {role}", who.role)));
    }
    if new.label.is_empty() || new.label.len() > MAX_LABEL_BYTES {
        return Err(bad(format!("label must have 1 to {MAX_LABEL_BYTES} bytes")));
    }
    let until = |days: u32| match (1..=MAX_DAYS).contains(&days) {
        true => Ok(UnixSeconds(desk.now().0 + u64::from(days) * DAY_SECONDS)),
        false => Err(bad(format!("days must be 1 to {MAX_DAYS}"))),
    };
    let expires_at = new.days.map(until).transpose()?;
    let secret = Secret::token(&mut Entropy::new());
    let (digest, id) = (secret.token_digest(), random_name());
    let token = ApiToken {
        id: id.clone(),
        label: new.label,
        role,
        account: who.account,
        made_by: who.name.clone(),
        made_at: desk.now(),
        expires_at,
        revoked_at: None,
    };
    desk.aside(move |annex| people::add_token(annex, &digest, &token)).await?;
    Ok(MadeToken { id, token: secret.dangerous_text().to_owned() })
}

/// Revokes a token.
pub async fn revoke_token(desk: &Desk, who: &Principal, id: &str) -> Result<(), ApiError> {
    let (id, account, now) = (id.to_owned(), who.account, desk.now());
    let done = desk.aside(move |annex| people::revoke_token(annex, account, &id, now)).await?;
    must(done, "no token of this id is in use")
}

/// The webhooks of an account, or the operators'.
pub async fn hook_views(
    desk: &Desk,
    account: Option<AccountNumber>,
) -> Result<Vec<HookView>, ApiError> {
    let found = desk.aside(move |annex| hooks::hooks(annex, account)).await?;
    Ok(found.iter().map(HookView::from).collect())
}

/// Adds a webhook.
pub async fn add_hook(desk: &Desk, who: &Principal, new: NewHook) -> Result<MadeHook, ApiError> {
    Target::parse(&new.url).map_err(bad)?;
    let account = who.account;
    let mut secret = vec![0u8; SECRET_BYTES];
    rand_core::Rng::fill_bytes(&mut Entropy::new(), &mut secret);
    let shown = secret_text(&secret);
    let id = random_name();
    let hook = Hook { id: id.clone(), account, url: new.url, secret, made_at: desk.now() };
    let added = desk
        .aside(move |annex| match hooks::hooks(annex, account)?.len() < hooks::MAX_HOOKS {
            true => hooks::add_hook(annex, &hook),
            false => Ok(false),
        })
        .await?;
    match added {
        true => Ok(MadeHook { id, secret: shown }),
        false => Err(ApiError::Conflict(format!(
            "there are {} webhooks already: remove one first",
            hooks::MAX_HOOKS
        ))),
    }
}

/// Removes a webhook.
pub async fn remove_hook(desk: &Desk, who: &Principal, id: &str) -> Result<(), ApiError> {
    let (id, account, now) = (id.to_owned(), who.account, desk.now());
    let done = desk.aside(move |annex| hooks::remove_hook(annex, account, &id, now)).await?;
    must(done, "no such webhook")
}

/// Puts a test message into the outbox.
pub async fn test_hook(desk: &Desk, who: &Principal, id: &str) -> Result<(), ApiError> {
    let (id, account, now) = (id.to_owned(), who.account, desk.now());
    let message = serde_json::json!({
        "type": "webhook.test",
        "timestamp": instant(now),
        "data": { "text": "a test message", "account": account },
    });
    let done = desk
        .aside(move |annex| {
            let found = hooks::find_hook(annex, &id)?.filter(|hook| hook.account == account);
            let Some(hook) = found else { return Ok(false) };
            let alert = RaisedAlert {
                mark: String::new(),
                id: format!("msg_{}", random_name()),
                account: AccountNumber(0),
                kind: "webhook.test".to_owned(),
                body: message.to_string(),
                at: now,
            };
            hooks::send(annex, &alert, &hook)
        })
        .await?;
    must(done, "no such webhook")
}

/// A page of accounts.
pub async fn accounts(desk: &Desk, parameters: &Parameters) -> Result<Page<AccountView>, ApiError> {
    let after: u64 = parameters.parsed("after")?.unwrap_or(0);
    let limit = parameters.limit()?;
    let found = desk.read(|view| Ok(view.accounts()?)).await?;
    let later = found.iter().filter(|account| account.number.0 > after);
    let views = later.take(limit + 1).map(AccountView::from).collect();
    Ok(Page::of(views, limit, |account: &AccountView| account.account.to_string()))
}

/// Opens an account.
pub async fn open_account(desk: &Desk, new: NewAccount) -> Result<AccountView, ApiError> {
    let NewAccount { name, operator } = new;
    match desk.execute(Command::OpenAccount { name: name.clone(), operator }).await? {
        Outcome::AccountOpened { account } => {
            Ok(AccountView { account: account.0, name, operator })
        }
        _ => Err(ApiError::Internal("the ledger gave another answer".to_owned())),
    }
}

/// Issues a package.
pub async fn grant(
    desk: &Desk,
    account: AccountNumber,
    new: NewPackage,
) -> Result<MadePackage, ApiError> {
    if new.days.is_some_and(|days| days == 0 || days > MAX_DAYS * 10) {
        return Err(bad(format!("days must be 1 to {}", MAX_DAYS * 10)));
    }
    let unit: Unit = new.unit.parse().map_err(bad)?;
    let mut offer = PackageOffer::plain(unit, MicroUnits(0), &new.memo);
    offer.amount = new.amount.parse::<Decimal>().map_err(bad)?;
    offer.priority = new.priority.unwrap_or(100);
    offer.promotional = new.promotional;
    offer.days = new.days;
    offer.models = new.models;
    let issue = offer.issue(key(new.key.as_deref())?, account, desk.now());
    match desk.execute(Command::IssuePackage(issue)).await? {
        Outcome::PackageIssued { package } => Ok(MadePackage { package: package.0 }),
        _ => Err(ApiError::Internal("the ledger gave another answer".to_owned())),
    }
}

async fn refund(desk: &Desk, package: PackageNumber, new: NewRefund) -> Result<(), ApiError> {
    let key = key(new.key.as_deref())?;
    let NewRefund { amount, memo, .. } = new;
    desk.execute(Command::Refund { key, package, amount: MicroUnits(amount), memo }).await?;
    Ok(())
}

async fn price_books(desk: &Desk) -> Result<Vec<PriceBookView>, ApiError> {
    use bulla_attestation::sign::verify;
    use bulla_wire::price::PriceBook;
    let root = desk.broker(|broker, _| broker.keys().root_public()).await?;
    let books = desk.read(|view| Ok(view.price_books()?)).await?;
    let view = |bytes: &Vec<u8>| {
        let book = verify::<PriceBook>(bytes, &root).ok()?;
        let price = |row: &bulla_wire::price::PriceRow| PriceView {
            model: row.name.clone(),
            manifest: row.model.to_string(),
            unit: row.unit.to_string(),
            input: row.rates.input,
            cached_input: row.rates.cached_input,
            output: row.rates.output,
            reasoning: row.rates.reasoning,
            per_request: row.rates.per_request,
        };
        Some(PriceBookView {
            version: book.version,
            digest: book.digest().to_string(),
            effective_from: instant(book.effective_from),
            prices: book.rows.iter().map(price).collect(),
        })
    };
    Ok(books.iter().rev().filter_map(view).collect())
}

/// Where all value is.
pub async fn supply(desk: &Desk) -> Result<Vec<BalanceView>, ApiError> {
    let totals = desk.read(|view| Ok(view.totals()?)).await?;
    Ok(totals.iter().map(|(unit, sums)| BalanceView::of(unit.as_str(), sums)).collect())
}

/// The log's head.
pub async fn log_head(desk: &Desk) -> Result<LogView, ApiError> {
    let head = |broker: &crate::broker::Broker, _: &dyn Queries| {
        let verifier = broker.keys().log_verifier();
        // Where witnesses are named there is none until they cosigned one.
        let note = match broker.log().published() {
            Ok(checkpoint) => String::from_utf8_lossy(&checkpoint.to_bytes()).into_owned(),
            Err(error) => error.to_string(),
        };
        LogView {
            origin: verifier.name().to_owned(),
            size: broker.log().size(),
            checkpoint: note,
            verifier: verifier.to_string(),
        }
    };
    desk.broker(head).await
}

/// Enclaves as the running broker sees them.
pub async fn enclaves(desk: &Desk) -> Result<Vec<EnclaveView>, ApiError> {
    let now = desk.now();
    desk.broker(move |broker, _| {
        let catalogue = broker.catalogue();
        let view = |instance: bulla_wire::ids::InstanceId| {
            let (stage, serving) = match catalogue.stage(&instance) {
                None | Some(Stage::Unknown) => ("not appraised", None),
                Some(Stage::Archiving(serving)) => ("archiving", Some(serving)),
                Some(Stage::Opening(serving)) => ("opening its epoch", Some(serving)),
                Some(Stage::Ready(serving)) if serving.not_after <= now => {
                    ("expired", Some(serving))
                }
                Some(Stage::Ready(serving)) => ("ready", Some(serving)),
            };
            let models = serving.map(|serving| &serving.models[..]).unwrap_or_default();
            let mut accelerators: Vec<String> =
                models.iter().map(|model| model.accelerator.clone()).collect();
            accelerators.sort();
            accelerators.dedup();
            EnclaveView {
                instance: instance.to_string(),
                stage: stage.to_owned(),
                security: serving.map(|serving| security(serving.simulated).to_owned()),
                keyset: serving.map(|serving| serving.keyset.to_string()),
                not_after: serving.map(|serving| instant(serving.not_after)),
                models: models.iter().map(|model| model.name.clone()).collect(),
                accelerators,
            }
        };
        catalogue.instances().into_iter().map(view).collect()
    })
    .await
}

/// Appraised keysets, newest first.
pub async fn keysets(desk: &Desk) -> Result<Vec<KeysetView>, ApiError> {
    let found = desk.read(|view| Ok(view.keysets()?)).await?;
    Ok(found.iter().rev().take(hooks::MAX_LISTED as usize).map(KeysetView::from).collect())
}

/// Every balance computed anew, in one snapshot of its own.
pub async fn recomputed(desk: &Arc<Desk>) -> Result<RecomputedView, ApiError> {
    let permit = export::permit()?;
    let place = desk.place().clone();
    let work = tokio::task::spawn_blocking(move || {
        let mut found = Default::default();
        place.open_reader()?.snapshot(&mut |view| {
            found = recompute(view)?;
            Ok(())
        })?;
        drop(permit);
        Ok::<_, crate::ledger::StoreError>(found)
    });
    let found = work.await.map_err(|_| ApiError::Internal("recomputing failed".to_owned()))??;
    let shown = found.differences.iter().take(MAX_DIFFERENCES);
    Ok(RecomputedView {
        transfers: found.transfers,
        packages: found.packages,
        holds: found.holds,
        differences: shown.map(ToString::to_string).collect(),
    })
}

/// Messages to webhooks in one state.
pub async fn deliveries(desk: &Desk, state: Option<&str>) -> Result<Vec<DeliveryView>, ApiError> {
    let state = match state {
        None | Some("dead") => DeliveryState::Dead,
        Some("waiting") => DeliveryState::Waiting,
        Some("delivered") => DeliveryState::Delivered,
        Some(_) => return Err(bad("state must be waiting, delivered or dead")),
    };
    let found = desk.aside(move |annex| hooks::deliveries(annex, state)).await?;
    Ok(found.iter().map(DeliveryView::from).collect())
}
