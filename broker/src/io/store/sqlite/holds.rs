//! Two-phase transfers: hold, then settle, release or expire.

use bulla_wire::bundle::TransferKind;
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::units::{MicroUnits, UnixMillis};
use rusqlite::params;

use super::{Fault, SqliteStore, int};
use crate::ledger::{
    AccountNumber, Hold, HoldState, MAX_AMOUNT, MAX_EXPIRED_HOLDS, Outcome, PackageNumber, Queries,
    Rejection, Settlement, Side, StoreError, StoredHold, postings,
};
use crate::package::{self, Share};

/// One transfer about to be made.
pub(super) struct Movement<'a> {
    pub(super) kind: TransferKind,
    pub(super) account: AccountNumber,
    pub(super) package: PackageNumber,
    pub(super) amount: MicroUnits,
    pub(super) hold: Option<HoldId>,
    pub(super) receipt: Option<Digest>,
    pub(super) memo: Option<&'a str>,
}

/// The two columns a transfer moves value between, as one statement per kind so that each stays
/// prepared. Issuing has none: the package is made with its value.
fn balance_sql(kind: TransferKind) -> Option<&'static str> {
    Some(match postings(kind) {
        (Side::Issued, _) => return None,
        (Side::Available, Side::Held) => {
            "UPDATE packages SET available = available - ?1, held = held + ?1 WHERE number = ?2"
        }
        (Side::Held, Side::Spent) => {
            "UPDATE packages SET held = held - ?1, spent = spent + ?1 WHERE number = ?2"
        }
        (Side::Held, Side::Available) => {
            "UPDATE packages SET held = held - ?1, available = available + ?1 WHERE number = ?2"
        }
        (Side::Available, Side::Expired) => {
            "UPDATE packages SET available = available - ?1, expired = expired + ?1
             WHERE number = ?2"
        }
        (Side::Spent, Side::Available) => {
            "UPDATE packages SET spent = spent - ?1, available = available + ?1 WHERE number = ?2"
        }
        (from, to) => unreachable!("no transfer goes from {from:?} to {to:?}"),
    })
}

/// How a hold ends.
struct End {
    state: HoldState,
    charge: MicroUnits,
    receipt: Option<Digest>,
}

impl SqliteStore {
    /// Writes a transfer into the journal. Numbers rise by one: rows are never deleted.
    pub(super) fn journal(&self, movement: &Movement<'_>, now: UnixMillis) -> Result<(), Fault> {
        self.run(
            "INSERT INTO transfers (at_ms, kind, account, package, amount, hold, receipt, memo)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                int(now.0),
                movement.kind as u8,
                int(movement.account.0),
                int(movement.package.0),
                int(movement.amount.0),
                movement.hold.map(|hold| hold.0),
                movement.receipt.map(|digest| digest.0),
                movement.memo
            ],
        )?;
        Ok(())
    }

    /// Moves value and writes it down. Moving nothing writes nothing.
    pub(super) fn post(&self, movement: &Movement<'_>, now: UnixMillis) -> Result<(), Fault> {
        if movement.amount == MicroUnits(0) {
            return Ok(());
        }
        if let Some(sql) = balance_sql(movement.kind) {
            self.run(sql, params![int(movement.amount.0), int(movement.package.0)])?;
        }
        self.journal(movement, now)
    }

    pub(super) fn hold_amount(&self, hold: &Hold, now: UnixMillis) -> Result<Outcome, Fault> {
        if let Some(known) = self.hold(&hold.hold)? {
            if known.account != hold.account || known.order_digest != hold.order_digest {
                return Err(Rejection::HoldConflict { hold: hold.hold }.into());
            }
            let StoredHold { state, grant, delegation, .. } = known;
            return Ok(Outcome::Held { state, again: true, grant, delegation });
        }
        if hold.amount > MAX_AMOUNT {
            return Err(Rejection::Amount { got: hold.amount }.into());
        }
        if self.account(hold.account)?.is_none() {
            return Err(Rejection::UnknownAccount { account: hold.account }.into());
        }
        let packages = self.usable_packages(hold.account, &hold.unit)?;
        let shares = package::split(packages, hold.amount, now.seconds()).map_err(|available| {
            let (unit, needed) = (hold.unit.clone(), hold.amount);
            Rejection::InsufficientBalance { unit, needed, available }
        })?;
        self.insert_hold(hold, &shares)?;
        for share in &shares {
            self.post(
                &Movement {
                    kind: TransferKind::Hold,
                    account: hold.account,
                    package: share.package,
                    amount: share.amount,
                    hold: Some(hold.hold),
                    receipt: None,
                    memo: None,
                },
                now,
            )?;
        }
        Ok(Outcome::Held {
            state: HoldState::Active,
            again: false,
            grant: hold.grant.clone(),
            delegation: hold.delegation.clone(),
        })
    }

    fn insert_hold(&self, hold: &Hold, shares: &[Share]) -> Result<(), Fault> {
        self.run(
            "INSERT INTO holds (hold, account, unit, amount, settle_by, order_digest,
                 order_bytes, grant_bytes, delegation, instance)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                hold.hold.0,
                int(hold.account.0),
                hold.unit.as_str(),
                int(hold.amount.0),
                int(hold.settle_by.0),
                hold.order_digest.0,
                hold.order,
                hold.grant,
                hold.delegation,
                hold.instance.as_str()
            ],
        )?;
        let number = self.conn.last_insert_rowid();
        for (place, share) in (0i64..).zip(shares) {
            self.run(
                "INSERT INTO shares (hold, place, package, amount) VALUES (?1, ?2, ?3, ?4)",
                params![number, place, int(share.package.0), int(share.amount.0)],
            )?;
        }
        Ok(())
    }

    fn shares(&self, hold: u64) -> Result<Vec<Share>, Fault> {
        let sql = "SELECT package, amount FROM shares WHERE hold = ?1 ORDER BY place";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([int(hold)], |row| {
            Ok(Share {
                package: PackageNumber(row.get::<_, i64>(0)? as u64),
                amount: MicroUnits(row.get::<_, i64>(1)? as u64),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends an active hold: spends the charge in burn order, returns the rest.
    fn end(&self, hold: &StoredHold, end: &End, now: UnixMillis) -> Result<(), Fault> {
        for (share, spent, returned) in package::spend(&self.shares(hold.number)?, end.charge) {
            for (kind, amount) in [(TransferKind::Settle, spent), (TransferKind::Release, returned)]
            {
                self.post(
                    &Movement {
                        kind,
                        account: hold.account,
                        package: share.package,
                        amount,
                        hold: Some(hold.hold),
                        receipt: end.receipt,
                        memo: None,
                    },
                    now,
                )?;
            }
        }
        let charged = (end.state == HoldState::Settled).then_some(int(end.charge.0));
        self.run(
            "UPDATE holds SET state = ?2, charged = ?3, receipt = ?4 WHERE number = ?1",
            params![int(hold.number), end.state as u8, charged, end.receipt.map(|digest| digest.0)],
        )?;
        Ok(())
    }

    /// Settles a hold by a final receipt, or says why it is not charged.
    pub(super) fn settle(
        &self,
        id: &HoldId,
        charge: MicroUnits,
        receipt: Digest,
        now: UnixMillis,
    ) -> Result<Settlement, Fault> {
        let flagged = |why: String| Ok(Settlement::Flagged { why });
        let Some(hold) = self.hold(id)? else {
            return flagged(format!("no hold {id}"));
        };
        match hold.state {
            HoldState::Settled if hold.receipt == Some(receipt) => {
                return Ok(Settlement::AlreadySettled);
            }
            HoldState::Active => {}
            state => return flagged(format!("hold {id} was {state} before")),
        }
        if now.seconds() > hold.settle_by {
            return flagged(format!("late: settle-by of hold {id} was {}", hold.settle_by));
        }
        if charge > hold.amount {
            return flagged(format!("charge {charge} exceeds hold {}", hold.amount));
        }
        let end = End { state: HoldState::Settled, charge, receipt: Some(receipt) };
        self.end(&hold, &end, now)?;
        Ok(Settlement::Settled { charged: charge, returned: hold.amount.saturating_sub(charge) })
    }

    pub(super) fn release(&self, id: &HoldId, now: UnixMillis) -> Result<Outcome, Fault> {
        let hold = self.hold(id)?.ok_or(Rejection::UnknownHold { hold: *id })?;
        match hold.state {
            HoldState::Active => {}
            HoldState::Released => return Ok(Outcome::Released { amount: hold.amount }),
            state => return Err(Rejection::HoldEnded { hold: *id, state }.into()),
        }
        let end = End { state: HoldState::Released, charge: MicroUnits(0), receipt: None };
        self.end(&hold, &end, now)?;
        Ok(Outcome::Released { amount: hold.amount })
    }

    pub(super) fn expire_due(&self, now: UnixMillis) -> Result<Outcome, Fault> {
        let due: Vec<[u8; 16]> = {
            let sql = "SELECT hold FROM holds WHERE state = 0 AND settle_by < ?1
                       ORDER BY settle_by, number LIMIT ?2";
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![int(now.seconds().0), MAX_EXPIRED_HOLDS as i64], |row| {
                    row.get(0)
                })?;
            rows.collect::<Result<_, _>>()?
        };
        for id in &due {
            let hold = self
                .hold(&HoldId(*id))?
                .ok_or_else(|| StoreError::Damaged { what: "list of due holds".to_owned() })?;
            self.end(&hold, &self.end_without_receipt(&hold)?, now)?;
        }
        let packages = self.lapse_packages(now)?;
        Ok(Outcome::Expired { holds: due.len() as u64, packages })
    }

    /// The highest interim receipt settles; without one nothing is charged.
    fn end_without_receipt(&self, hold: &StoredHold) -> Result<End, Fault> {
        let sql = "SELECT digest, charge FROM records
                   WHERE hold = ?1 AND interim IS NOT NULL AND charge <= ?2
                   ORDER BY interim DESC LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![hold.hold.0, int(hold.amount.0)])?;
        Ok(match rows.next()? {
            Some(row) => End {
                state: HoldState::Settled,
                charge: MicroUnits(row.get::<_, i64>(1)? as u64),
                receipt: Some(Digest(row.get(0)?)),
            },
            None => End { state: HoldState::Expired, charge: MicroUnits(0), receipt: None },
        })
    }

    fn lapse_packages(&self, now: UnixMillis) -> Result<u64, Fault> {
        let due: Vec<(i64, i64, i64)> = {
            let sql = "SELECT number, account, available FROM packages
                       WHERE available > 0 AND expires_at <= ?1 ORDER BY expires_at, number";
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows = statement.query_map([int(now.seconds().0)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.collect::<Result<_, _>>()?
        };
        for (number, account, available) in &due {
            self.post(
                &Movement {
                    kind: TransferKind::Expire,
                    account: AccountNumber(*account as u64),
                    package: PackageNumber(*number as u64),
                    amount: MicroUnits(*available as u64),
                    hold: None,
                    receipt: None,
                    memo: None,
                },
                now,
            )?;
        }
        Ok(due.len() as u64)
    }
}
