//! Accounts, credentials, order keys, packages.

use bulla_wire::bundle::TransferKind;
use bulla_wire::ids::{AccountHandle, Digest, PublicKey};
use bulla_wire::units::{MicroUnits, UnixMillis, UnixSeconds};
use rusqlite::{OptionalExtension, params};

use super::holds::Movement;
use super::{Fault, SqliteStore, amount, int};
use crate::ledger::{
    AccountNumber, IssuePackage, MAX_TEXT_BYTES, Outcome, PackageNumber, Queries, Rejection,
};

fn check_text(field: &'static str, text: &str) -> Result<(), Rejection> {
    match text.len() {
        1..=MAX_TEXT_BYTES => Ok(()),
        got_bytes => Err(Rejection::TextLength { field, max_bytes: MAX_TEXT_BYTES, got_bytes }),
    }
}

impl SqliteStore {
    pub(super) fn open_account(
        &self,
        name: &str,
        operator: bool,
        now: UnixMillis,
    ) -> Result<Outcome, Fault> {
        check_text("account name", name)?;
        let sql = "INSERT INTO accounts (name, operator, opened_ms) VALUES (?1, ?2, ?3)
                   ON CONFLICT (name) DO NOTHING";
        if self.run(sql, params![name, operator, int(now.0)])? == 0 {
            return Err(Rejection::NameTaken { name: name.to_owned() }.into());
        }
        let account = AccountNumber(self.conn.last_insert_rowid() as u64);
        Ok(Outcome::AccountOpened { account })
    }

    fn check_account(&self, account: AccountNumber) -> Result<(), Fault> {
        match self.account(account)? {
            Some(_) => Ok(()),
            None => Err(Rejection::UnknownAccount { account }.into()),
        }
    }

    pub(super) fn add_credential(
        &self,
        account: AccountNumber,
        digest: &Digest,
        label: &str,
        expires_at: Option<UnixSeconds>,
    ) -> Result<Outcome, Fault> {
        check_text("label", label)?;
        self.check_account(account)?;
        let sql = "INSERT INTO credentials (digest, account, label, expires_at)
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (digest) DO NOTHING";
        let expires_at = expires_at.map(|at| int(at.0));
        if self.run(sql, params![digest.0, int(account.0), label, expires_at])? == 0 {
            return Err(Rejection::CredentialExists.into());
        }
        Ok(Outcome::Done)
    }

    pub(super) fn revoke_credential(
        &self,
        digest: &Digest,
        now: UnixMillis,
    ) -> Result<Outcome, Fault> {
        // The first revocation keeps its date.
        let sql = "UPDATE credentials SET revoked_at = coalesce(revoked_at, ?2) WHERE digest = ?1";
        match self.run(sql, params![digest.0, int(now.seconds().0)])? {
            0 => Err(Rejection::UnknownCredential.into()),
            _ => Ok(Outcome::Done),
        }
    }

    pub(super) fn register_order_key(
        &self,
        account: AccountNumber,
        order_key: &PublicKey,
        handle: &AccountHandle,
        now: UnixMillis,
    ) -> Result<Outcome, Fault> {
        self.check_account(account)?;
        let sql = "INSERT INTO order_keys (handle, order_key, account, registered_ms)
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (handle) DO NOTHING";
        self.run(sql, params![handle.0, order_key.0, int(account.0), int(now.0)])?;
        match self.order_key_owner(handle)? {
            Some(owner) if owner == account => Ok(Outcome::Done),
            _ => Err(Rejection::HandleTaken { handle: *handle }.into()),
        }
    }

    pub(super) fn issue(&self, package: &IssuePackage, now: UnixMillis) -> Result<Outcome, Fault> {
        let value = amount(package.amount)?;
        check_text("memo", &package.memo)?;
        self.check_account(package.account)?;
        if package.expires_at.is_some_and(|end| end <= package.effective_from) {
            return Err(Rejection::PackageDates.into());
        }
        if let Some(number) = self.issued_before(package)? {
            return Ok(Outcome::PackageIssued { package: number });
        }
        let sql = "INSERT INTO packages (key, account, unit, priority, promotional,
                       effective_from, expires_at, memo, granted, available)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
        self.run(
            sql,
            params![
                package.key,
                int(package.account.0),
                package.unit.as_str(),
                package.priority,
                package.promotional,
                int(package.effective_from.0),
                package.expires_at.map(|at| int(at.0)),
                package.memo,
                value
            ],
        )?;
        let number = PackageNumber(self.conn.last_insert_rowid() as u64);
        self.journal(
            &Movement {
                kind: TransferKind::Issue,
                account: package.account,
                package: number,
                amount: package.amount,
                hold: None,
                receipt: None,
                memo: Some(&package.memo),
            },
            now,
        )?;
        Ok(Outcome::PackageIssued { package: number })
    }

    /// The package issued under the same key, if all parameters are the same.
    fn issued_before(&self, package: &IssuePackage) -> Result<Option<PackageNumber>, Fault> {
        let sql = "SELECT number, account = ?2 AND unit = ?3 AND priority = ?4
                       AND promotional = ?5 AND effective_from = ?6 AND expires_at IS ?7
                       AND memo = ?8 AND granted = ?9
                   FROM packages WHERE key = ?1";
        let found: Option<(i64, bool)> = self
            .conn
            .prepare_cached(sql)?
            .query_row(
                params![
                    package.key,
                    int(package.account.0),
                    package.unit.as_str(),
                    package.priority,
                    package.promotional,
                    int(package.effective_from.0),
                    package.expires_at.map(|at| int(at.0)),
                    package.memo,
                    int(package.amount.0)
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        match found {
            Some((_, false)) => Err(Rejection::KeyConflict.into()),
            Some((number, true)) => Ok(Some(PackageNumber(number as u64))),
            None => Ok(None),
        }
    }

    pub(super) fn refund(
        &self,
        key: &[u8; 16],
        package: PackageNumber,
        refund: MicroUnits,
        memo: &str,
        now: UnixMillis,
    ) -> Result<Outcome, Fault> {
        let value = amount(refund)?;
        check_text("memo", memo)?;
        let before: Option<bool> = self
            .conn
            .prepare_cached(
                "SELECT package = ?2 AND amount = ?3 AND memo = ?4 FROM refunds WHERE key = ?1",
            )?
            .query_row(params![key, int(package.0), value, memo], |row| row.get(0))
            .optional()?;
        match before {
            Some(true) => return Ok(Outcome::Done),
            Some(false) => return Err(Rejection::KeyConflict.into()),
            None => {}
        }
        let found: Option<(i64, i64)> = self
            .conn
            .prepare_cached("SELECT account, spent FROM packages WHERE number = ?1")?
            .query_row([int(package.0)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (account, spent) = found.ok_or(Rejection::UnknownPackage { package })?;
        if value > spent {
            let spent = MicroUnits(spent as u64);
            return Err(Rejection::RefundExceedsSpent { package, asked: refund, spent }.into());
        }
        self.run(
            "INSERT INTO refunds (key, package, amount, memo) VALUES (?1, ?2, ?3, ?4)",
            params![key, int(package.0), value, memo],
        )?;
        self.post(
            &Movement {
                kind: TransferKind::Refund,
                account: AccountNumber(account as u64),
                package,
                amount: refund,
                hold: None,
                receipt: None,
                memo: Some(memo),
            },
            now,
        )?;
        Ok(Outcome::Done)
    }
}
