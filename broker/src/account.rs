//! Accounts and credentials: who may speak for whom.

use bulla_attestation::hash::labelled;
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::units::UnixSeconds;
use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::ledger::{AccountNumber, Queries, StoreError};
use crate::project::Spender;

/// What every credential begins with, so that leaked ones can be searched for.
pub const CREDENTIAL_PREFIX: &str = "bulla_";
/// Length of a credential in characters: the prefix and 32 bytes in base64url.
pub const CREDENTIAL_CHARS: usize = CREDENTIAL_PREFIX.len() + 43;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub number: AccountNumber,
    /// Its name.
    pub name: String,
    /// Whether its credentials may see every account.
    pub operator: bool,
}

/// A credential as kept: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is.
    pub account: AccountNumber,
    /// The project it speaks for; the account as a whole where it is absent.
    pub project: Option<u64>,
    /// What it is for.
    pub label: String,
    /// From then on it is refused.
    pub expires_at: Option<UnixSeconds>,
    /// Refused since then.
    pub revoked_at: Option<UnixSeconds>,
}

/// Why a credential is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// None was sent.
    #[error("credential missing: send the header Authorization: Bearer {CREDENTIAL_PREFIX}…")]
    Missing,
    /// Not of the form a credential has.
    #[error(
        "malformed credential: it begins with {CREDENTIAL_PREFIX} and has {CREDENTIAL_CHARS} characters"
    )]
    Malformed,
    /// Nobody's.
    #[error("unknown credential: check for a typing error, or ask for a new one")]
    Unknown,
    /// Past its date.
    #[error("credential expired on {}: ask for a new one", date(*.on))]
    Expired {
        /// When.
        on: UnixSeconds,
    },
    /// Withdrawn.
    #[error("credential revoked on {}: ask for a new one", date(*.on))]
    Revoked {
        /// When.
        on: UnixSeconds,
    },
    /// The ledger did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `2026-11-20 14:05 UTC`.
pub fn date(at: UnixSeconds) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    i64::try_from(at.0)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| format!("second {at} of the Unix epoch"))
}

/// A new credential: shown once, kept only as a digest. No `Debug`.
pub struct CredentialSecret(Zeroizing<String>);

impl CredentialSecret {
    /// Makes one.
    pub fn generate(rng: &mut dyn CryptoRng) -> CredentialSecret {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(bytes.as_mut());
        let text = format!("{CREDENTIAL_PREFIX}{}", BASE64URL_NOPAD.encode(bytes.as_ref()));
        CredentialSecret(Zeroizing::new(text))
    }

    /// The secret, to be shown to its owner and to nobody else.
    pub fn dangerous_text(&self) -> &str {
        &self.0
    }

    /// What is kept.
    pub fn digest(&self) -> Digest {
        labelled(labels::CREDENTIAL, self.0.as_bytes())
    }
}

/// The digest of a credential as sent, if it has the right form.
pub fn credential_digest(text: &str) -> Result<Digest, CredentialError> {
    let encoded = text.strip_prefix(CREDENTIAL_PREFIX).ok_or(CredentialError::Malformed)?;
    if text.len() != CREDENTIAL_CHARS || BASE64URL_NOPAD.decode(encoded.as_bytes()).is_err() {
        return Err(CredentialError::Malformed);
    }
    Ok(labelled(labels::CREDENTIAL, text.as_bytes()))
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub account: Account,
    /// Project and credential.
    pub spender: Spender,
}

/// The account a credential speaks for at `now`.
pub fn authenticate(
    view: &dyn Queries,
    credential: Option<&str>,
    now: UnixSeconds,
) -> Result<Account, CredentialError> {
    principal(view, credential, now).map(|principal| principal.account)
}

/// Account, project and credential that speak at `now`.
pub fn principal(
    view: &dyn Queries,
    credential: Option<&str>,
    now: UnixSeconds,
) -> Result<Principal, CredentialError> {
    let digest = credential_digest(credential.ok_or(CredentialError::Missing)?)?;
    let known = view.credential(&digest)?.ok_or(CredentialError::Unknown)?;
    if let Some(on) = known.revoked_at {
        return Err(CredentialError::Revoked { on });
    }
    if let Some(on) = known.expires_at.filter(|end| *end <= now) {
        return Err(CredentialError::Expired { on });
    }
    let account = view.account(known.account)?.ok_or(CredentialError::Unknown)?;
    Ok(Principal { account, spender: Spender { project: known.project, credential: Some(digest) } })
}
