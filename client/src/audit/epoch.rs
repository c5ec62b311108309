//! Epochs: evidence as of its time, and the records that open and close a life of keys.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::appraise::{Freshness, appraise_logged};
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::policy::{Logged, Policy};
use bulla_attestation::sign::{Signable, verify_any};
use bulla_wire::cose::Sign1;
use bulla_wire::epoch::{EpochClose, EpochOpen};
use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::{Digest, EpochId, InstanceId, PublicKey};
use bulla_wire::keyset::Subject;
use bulla_wire::units::UnixSeconds;

use super::report::Sheet;
use super::{AuditTrust, CheckName, Record};

/// What an affirmed appraisal gives the audit.
#[derive(Debug, Clone)]
pub(super) struct EpochKeys {
    pub(super) keyset: Digest,
    pub(super) receipt_keys: Vec<PublicKey>,
    pub(super) not_after: UnixSeconds,
    pub(super) subject: Option<Subject>,
    pub(super) simulated: bool,
}

impl From<AttestedKeys> for EpochKeys {
    fn from(keys: AttestedKeys) -> EpochKeys {
        EpochKeys {
            keyset: keys.keyset_digest(),
            receipt_keys: keys.receipt_keys().iter().map(|key| key.public_key).collect(),
            not_after: keys.not_after(),
            subject: keys.subject().cloned(),
            simulated: keys.is_simulated(),
        }
    }
}

/// Judges a report as of an instant; the error says which checks failed.
pub(super) type Appraiser<'a> =
    &'a dyn Fn(&AttestationReport, UnixSeconds) -> Result<EpochKeys, String>;

/// The appraisal of `bulla_attestation` under the auditor's roots and policy.
pub(super) fn appraiser(
    trust: &AuditTrust,
) -> impl Fn(&AttestationReport, UnixSeconds) -> Result<EpochKeys, String> {
    |report, at| keys_of(report, &trust.anchors, &trust.policy, at)
}

/// A nonce restated in an archived report proves that the report answers it, not that anybody
/// asked: an audit judges evidence as of serving time, and freshness was the client's business.
fn keys_of(
    report: &AttestationReport,
    anchors: &TrustAnchors,
    policy: &Policy,
    at: UnixSeconds,
) -> Result<EpochKeys, String> {
    let freshness = match report.nonce() {
        Ok(Some(nonce)) => Freshness::Nonce(nonce),
        _ => Freshness::Passport,
    };
    // Witnesses and ages are judged where the log is at hand: `epoch-witnessed`.
    let logged = Logged { since: at, cosigners: policy.witnesses().keys.clone() };
    let result = appraise_logged(report, anchors, policy, freshness, Some(&logged), at);
    result.into_keys().map(EpochKeys::from).map_err(|refused| refused.to_string())
}

/// An archived report, appraised.
#[derive(Debug, Clone)]
pub(super) struct Appraised {
    /// Digest of the keyset in it, attested or not.
    pub(super) keyset: Digest,
    pub(super) keys: Result<EpochKeys, String>,
}

/// An epoch, as its epoch-open record names it.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) keyset: Digest,
    pub(super) issuer: InstanceId,
    pub(super) opened_at: UnixSeconds,
    pub(super) configuration: Digest,
    pub(super) evidence: Digest,
    /// Index of its leaf.
    pub(super) leaf: u64,
    /// `None` where the evidence is missing or refused; then nothing under them can be judged.
    pub(super) keys: Option<EpochKeys>,
}

/// Reads a signed record without believing it.
pub(super) fn peek<T: Signable>(bytes: &[u8]) -> Result<T, String> {
    let message = Sign1::parse(bytes, T::TYP, T::MAX_BYTES).map_err(|e| e.to_string())?;
    message.decode().map_err(|e| e.to_string())
}

/// Checks the signature of an epoch's record under the attested receipt keys.
fn judge_signature<T: Signable>(
    sheet: &mut Sheet,
    epoch: EpochId,
    bytes: &[u8],
    keys: Option<&EpochKeys>,
) {
    let Some(keys) = keys else {
        let reason = "an epoch has no attested key: see epoch-evidence and epoch-appraisal";
        return sheet.leave_open(CheckName::EpochSignature, reason);
    };
    let verified = verify_any::<T>(bytes, &keys.receipt_keys);
    sheet.judge(
        CheckName::EpochSignature,
        verified.is_ok(),
        || Record::Epoch { epoch },
        || verified.err().map_or_else(String::new, |e| e.to_string()),
    );
}

/// Judges an epoch-open record against the keys its evidence attests.
pub(super) fn judge_open(
    sheet: &mut Sheet,
    bytes: &[u8],
    open: &EpochOpen,
    keys: Option<&EpochKeys>,
) {
    let record = || Record::Epoch { epoch: open.epoch };
    judge_signature::<EpochOpen>(sheet, open.epoch, bytes, keys);
    let expected = EpochId::of_keyset(&open.keyset);
    sheet.judge(CheckName::EpochId, open.epoch == expected, record, || {
        format!("expected {expected}, the first half of its keyset's digest")
    });
    let Some(keys) = keys else { return };
    let attested = keys.subject.as_ref().map(|subject| &subject.instance);
    sheet.judge(CheckName::EpochIdentity, attested == Some(&open.issuer), record, || {
        let attested = attested.map_or("no instance", InstanceId::as_str);
        format!("opened by {}, the evidence attests {attested}", open.issuer)
    });
    sheet.judge(CheckName::ChainTime, open.issued_at <= keys.not_after, record, || {
        format!("opened at {}, its keyset ended at {}", open.issued_at, keys.not_after)
    });
}

/// Judges an epoch-close record against its epoch.
pub(super) fn judge_close(sheet: &mut Sheet, bytes: &[u8], close: &EpochClose, epoch: &Epoch) {
    let record = || Record::Place { epoch: close.epoch, seq: close.seq };
    judge_signature::<EpochClose>(sheet, close.epoch, bytes, epoch.keys.as_ref());
    let same = close.keyset == epoch.keyset && close.issuer == epoch.issuer;
    sheet.judge(CheckName::EpochIdentity, same, record, || {
        format!(
            "closed by {} under keyset {}, opened by {}",
            close.issuer, close.keyset, epoch.issuer
        )
    });
    sheet.judge(CheckName::ChainTime, close.issued_at >= epoch.opened_at, record, || {
        format!("closed at {}, opened at {}", close.issued_at, epoch.opened_at)
    });
}
