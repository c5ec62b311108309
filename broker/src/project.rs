//! Projects: an account (the organisation) is divided into projects, each credential speaks for one
//! of them or for the account as a whole. Orders and receipts know nothing of it: the credential
//! an order comes with says who in the organisation spends.

use bulla_wire::ids::Digest;
use serde::{Deserialize, Serialize};

use crate::ledger::{AccountNumber, Queries, StoreError};
use crate::register::{Entry, EntryKind};

/// Most projects one account may have.
pub const MAX_PROJECTS: usize = 1_000;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name, unique in the account.
    pub name: String,
}

/// A project with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownProject {
    /// Its number.
    pub number: u64,
    /// Whose it is.
    pub account: AccountNumber,
    /// Its name.
    pub name: String,
}

/// Who in an account spends: what a hold is counted against besides the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spender {
    /// The credential's project.
    pub project: Option<u64>,
    /// The credential.
    pub credential: Option<Digest>,
}

/// Part of the organisation something applies to. Without project and credential it is all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// A project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<u64>,
    /// A credential, by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Digest>,
}

impl Scope {
    /// Whether it covers what this one spends.
    pub fn covers(&self, spender: &Spender) -> bool {
        let project = self.project.is_none() || self.project == spender.project;
        let credential = self.credential.is_none() || self.credential == spender.credential;
        project && credential
    }

    /// As bytes: part of the key of what applies to it.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.project.unwrap_or(0).to_be_bytes().to_vec();
        bytes.extend(self.credential.map_or([0; 32], |digest| digest.0));
        bytes
    }
}

/// An account's projects, by number.
pub fn projects(
    view: &dyn Queries,
    account: AccountNumber,
) -> Result<Vec<KnownProject>, StoreError> {
    let entries = view.entries(EntryKind::Project, Some(account), 0, MAX_PROJECTS)?;
    entries.iter().map(known).collect()
}

fn known(entry: &Entry) -> Result<KnownProject, StoreError> {
    let Project { name } = entry.read()?;
    Ok(KnownProject { number: entry.number, account: entry.account, name })
}
