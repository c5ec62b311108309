//! Webhooks, alerts, and the outbox between them: an alert and its deliveries are one transaction,
//! and a delivery is tried until it arrives or is given up, whoever dies meanwhile.

use bulla_wire::units::UnixSeconds;

use super::{Annex, Cell, Row, Statement, change};
use crate::ledger::{AccountNumber, StoreError};

type Answer<T> = Result<T, StoreError>;

/// Most webhooks of one account.
pub const MAX_HOOKS: usize = 16;
/// Most rows in one answer.
pub const MAX_LISTED: u64 = 500;

/// Where alerts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub id: String,
    /// Whose alerts; every account's, for an operator's.
    pub account: Option<AccountNumber>,
    /// `https://…`.
    pub url: String,
    /// What its messages are signed with.
    pub secret: Vec<u8>,
    /// When it was made.
    pub made_at: UnixSeconds,
}

/// An alert as raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaisedAlert {
    /// What it is about: the same is raised once.
    pub mark: String,
    /// Its id, the `webhook-id` of its messages.
    pub id: String,
    /// About which account.
    pub account: AccountNumber,
    /// Its kind, such as `package.threshold`.
    pub kind: String,
    /// The message, JSON.
    pub body: String,
    /// When.
    pub at: UnixSeconds,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be tried (again).
    Waiting,
    /// Taken by the receiver.
    Delivered,
    /// Given up.
    Dead,
}

impl DeliveryState {
    const ALL: [DeliveryState; 3] =
        [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::Dead];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "given up",
        }
    }
}

/// One message on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Alert and webhook.
    pub id: String,
    /// The webhook.
    pub hook: String,
    /// The message's kind.
    pub kind: String,
    /// The message, JSON.
    pub body: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u64,
    /// When it was made.
    pub made_at: UnixSeconds,
    /// Not tried before.
    pub next_at: UnixSeconds,
    /// What came of the last attempt.
    pub answer: String,
}

fn number_of(account: Option<AccountNumber>) -> u64 {
    account.map_or(0, |account| account.0)
}

fn hook(cells: Vec<Cell>) -> Answer<Hook> {
    let mut row = Row::of(cells);
    Ok(Hook {
        id: row.text()?,
        account: row.some_number()?.map(AccountNumber),
        url: row.text()?,
        secret: row.bytes()?,
        made_at: UnixSeconds(row.number()?),
    })
}

/// The webhooks of an account; the operators' where it is none.
pub fn hooks(annex: &dyn Annex, account: Option<AccountNumber>) -> Answer<Vec<Hook>> {
    let sql = "SELECT id, account, url, secret, made_at FROM hooks
        WHERE account = $1 AND removed_at = 0 ORDER BY made_at, id LIMIT $2";
    let cells = [number_of(account).into(), MAX_LISTED.into()];
    annex.ask(sql, &cells)?.into_iter().map(hook).collect()
}

/// A webhook by name, unless it was removed.
pub fn find_hook(annex: &dyn Annex, id: &str) -> Answer<Option<Hook>> {
    let sql = "SELECT id, account, url, secret, made_at FROM hooks
        WHERE id = $1 AND removed_at = 0";
    annex.ask(sql, &[id.into()])?.into_iter().next().map(hook).transpose()
}

/// Adds a webhook.
pub fn add_hook(annex: &dyn Annex, hook: &Hook) -> Answer<bool> {
    let sql = "INSERT INTO hooks (id, account, url, secret, made_at, removed_at)
        VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (id) DO NOTHING";
    let cells = vec![
        hook.id.as_str().into(),
        number_of(hook.account).into(),
        hook.url.as_str().into(),
        Cell::Bytes(hook.secret.clone()),
        hook.made_at.0.into(),
    ];
    change(annex, sql, cells)
}

/// Removes a webhook of this account; false when there is none.
pub fn remove_hook(
    annex: &dyn Annex,
    account: Option<AccountNumber>,
    id: &str,
    now: UnixSeconds,
) -> Answer<bool> {
    let sql = "UPDATE hooks SET removed_at = $1
        WHERE id = $2 AND account = $3 AND removed_at = 0";
    change(annex, sql, vec![now.0.into(), id.into(), number_of(account).into()])
}

/// Raises an alert and puts its messages into the outbox, in one transaction; false when it was
/// raised before, by whichever broker.
pub fn raise(annex: &dyn Annex, alert: &RaisedAlert, hooks: &[Hook]) -> Answer<bool> {
    let sql = "INSERT INTO alerts (mark, id, account, kind, body, at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (mark) DO NOTHING";
    let cells = vec![
        alert.mark.as_str().into(),
        alert.id.as_str().into(),
        alert.account.0.into(),
        alert.kind.as_str().into(),
        alert.body.as_str().into(),
        alert.at.0.into(),
    ];
    let mut statements = vec![Statement { sql, cells }];
    statements.extend(hooks.iter().map(|hook| queue(alert, hook)));
    annex.together(&statements)
}

/// Puts a message for one webhook into the outbox.
pub fn send(annex: &dyn Annex, alert: &RaisedAlert, hook: &Hook) -> Answer<bool> {
    annex.together(&[queue(alert, hook)])
}

fn queue(alert: &RaisedAlert, hook: &Hook) -> Statement {
    let sql = "INSERT INTO deliveries
        (id, hook, kind, body, state, attempts, made_at, next_at, answer)
        VALUES ($1, $2, $3, $4, 0, 0, $5, $5, '') ON CONFLICT (id) DO NOTHING";
    let cells = vec![
        format!("{}.{}", alert.id, hook.id).as_str().into(),
        hook.id.as_str().into(),
        alert.kind.as_str().into(),
        alert.body.as_str().into(),
        alert.at.0.into(),
    ];
    Statement { sql, cells }
}

/// Whether an alert was raised before.
pub fn is_raised(annex: &dyn Annex, mark: &str) -> Answer<bool> {
    let found = annex.ask("SELECT mark FROM alerts WHERE mark = $1", &[mark.into()])?;
    Ok(!found.is_empty())
}

/// The newest alerts; of one account or all.
pub fn alerts(annex: &dyn Annex, account: Option<AccountNumber>) -> Answer<Vec<RaisedAlert>> {
    let sql = "SELECT mark, id, account, kind, body, at FROM alerts
        WHERE account = $1 OR $1 = 0 ORDER BY at DESC, mark LIMIT $2";
    let read = |cells| {
        let mut row = Row::of(cells);
        Ok(RaisedAlert {
            mark: row.text()?,
            id: row.text()?,
            account: AccountNumber(row.number()?),
            kind: row.text()?,
            body: row.text()?,
            at: UnixSeconds(row.number()?),
        })
    };
    let cells = [number_of(account).into(), MAX_LISTED.into()];
    annex.ask(sql, &cells)?.into_iter().map(read).collect()
}

macro_rules! delivery_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, hook, kind, body, state, attempts, made_at, next_at, answer
            FROM deliveries ",
            $rest
        )
    };
}

fn delivery(cells: Vec<Cell>) -> Answer<Delivery> {
    let mut row = Row::of(cells);
    let (id, hook, kind, body) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let state = usize::try_from(row.number()?).ok();
    let state = state.and_then(|at| DeliveryState::ALL.get(at).copied());
    let what = || StoreError::Damaged { what: "state of a delivery".to_owned() };
    Ok(Delivery {
        id,
        hook,
        kind,
        body,
        state: state.ok_or_else(what)?,
        attempts: row.number()?,
        made_at: UnixSeconds(row.number()?),
        next_at: UnixSeconds(row.number()?),
        answer: row.text()?,
    })
}

/// Deliveries in one state, newest first.
pub fn deliveries(annex: &dyn Annex, state: DeliveryState) -> Answer<Vec<Delivery>> {
    let sql = delivery_sql!("WHERE state = $1 ORDER BY made_at DESC, id LIMIT $2");
    let cells = [(state as u64).into(), MAX_LISTED.into()];
    annex.ask(sql, &cells)?.into_iter().map(delivery).collect()
}

/// Takes up to `most` messages that are due, for as long as `until`: nobody else takes them before.
pub fn take_due(
    annex: &dyn Annex,
    now: UnixSeconds,
    until: UnixSeconds,
    most: u64,
) -> Answer<Vec<Delivery>> {
    let sql = delivery_sql!("WHERE state = 0 AND next_at <= $1 ORDER BY next_at, id LIMIT $2");
    let due = annex.ask(sql, &[now.0.into(), most.into()])?;
    let mut taken = Vec::with_capacity(due.len());
    for cells in due {
        let delivery = delivery(cells)?;
        let sql = "UPDATE deliveries SET next_at = $1, attempts = attempts + 1
            WHERE id = $2 AND state = 0 AND next_at = $3";
        let cells = vec![until.0.into(), delivery.id.as_str().into(), delivery.next_at.0.into()];
        if change(annex, sql, cells)? {
            taken.push(Delivery { attempts: delivery.attempts + 1, ..delivery });
        }
    }
    Ok(taken)
}

/// Writes down what came of an attempt.
pub fn finish(
    annex: &dyn Annex,
    id: &str,
    state: DeliveryState,
    next_at: UnixSeconds,
    answer: &str,
) -> Answer<()> {
    let sql = "UPDATE deliveries SET state = $1, next_at = $2, answer = $3
        WHERE id = $4 AND state = 0";
    let cells = vec![(state as u64).into(), next_at.0.into(), answer.into(), id.into()];
    change(annex, sql, cells).map(|_| ())
}

/// Tries a message that was given up once more; false when there is none.
pub fn retry(annex: &dyn Annex, id: &str, now: UnixSeconds) -> Answer<bool> {
    let sql = "UPDATE deliveries SET state = 0, attempts = 0, next_at = $1
        WHERE id = $2 AND state = 2";
    change(annex, sql, vec![now.0.into(), id.into()])
}

/// How many messages are in a state.
pub fn count(annex: &dyn Annex, state: DeliveryState) -> Answer<u64> {
    let sql = "SELECT count(*) FROM deliveries WHERE state = $1";
    let found = annex.ask(sql, &[(state as u64).into()])?.into_iter().next();
    found.map_or(Ok(0), |cells| Row::of(cells).number())
}
