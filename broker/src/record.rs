//! Records of an epoch's chain: read, and believed only under an archived keyset's key.

use bulla_attestation::sign::{Signable, Signed, VerifyError, verify_any};
use bulla_wire::cbor::Bytes;
use bulla_wire::cose::Sign1;
use bulla_wire::epoch::{EpochClose, EpochOpen};
use bulla_wire::ids::{Digest, EpochId, InstanceId};
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::{MAX_RECEIPT_BYTES, RECEIPT_PROFILE, SecurityMode, UsageReceipt};

use crate::ledger::{ArchivedKeyset, Charge, Record, RecordKind};

/// A usage receipt read without its signature, which was checked when a kept one was taken in.
pub fn read_receipt(bytes: &[u8]) -> Option<UsageReceipt> {
    Sign1::parse(bytes, labels::TYP_RECEIPT, MAX_RECEIPT_BYTES).ok()?.decode().ok()
}

/// Highest place in an epoch: what a signed 64-bit integer holds.
pub const MAX_SEQ: u64 = i64::MAX as u64;

/// A record whose signature and self-description hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Verified {
    /// Epoch-open.
    Open(Signed<EpochOpen>),
    /// Usage receipt.
    Receipt(Box<Signed<UsageReceipt>>),
    /// Epoch-close.
    Close(Signed<EpochClose>),
}

/// Why a record is not believed. Nothing is charged and nothing logged for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Neither receipt nor epoch record.
    #[error("not a usage receipt, epoch-open or epoch-close record")]
    Unreadable,
    /// A keyset that was never appraised here.
    #[error("signed under keyset {keyset}, which was never appraised here")]
    UnknownKeyset {
        /// The keyset named.
        keyset: Digest,
    },
    /// The signature fails.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// Another epoch than the keyset's.
    #[error("epoch {got} is not the epoch {expected} of its keyset")]
    Epoch {
        /// Epoch of the keyset.
        expected: EpochId,
        /// Epoch named.
        got: EpochId,
    },
    /// Another enclave than the keyset's.
    #[error("issuer {got} is not the enclave {expected} of its keyset")]
    Issuer {
        /// Enclave of the keyset.
        expected: InstanceId,
        /// Enclave named.
        got: InstanceId,
    },
    /// Place 0 belongs to the epoch-open record, and there is a last place.
    #[error("place must be 1 to {MAX_SEQ}, got {got}")]
    Place {
        /// Place named.
        got: u64,
    },
    /// Another version of the receipt.
    #[error("profile must be {RECEIPT_PROFILE}, got {got}")]
    Profile {
        /// Profile named.
        got: String,
    },
    /// Says hardware under a simulated root, or the other way round.
    #[error("security must be {expected} as appraised, got {got}")]
    Security {
        /// As appraised.
        expected: SecurityMode,
        /// As stated.
        got: SecurityMode,
    },
}

fn claims<T: Signable>(bytes: &[u8]) -> Option<T> {
    Sign1::parse(bytes, T::TYP, T::MAX_BYTES).ok()?.decode().ok()
}

/// The keyset a record claims: to look it up, for nothing else.
pub fn claimed_keyset(bytes: &[u8]) -> Result<Digest, RecordError> {
    claims::<UsageReceipt>(bytes)
        .map(|receipt| receipt.keyset)
        .or_else(|| claims::<EpochOpen>(bytes).map(|open| open.keyset))
        .or_else(|| claims::<EpochClose>(bytes).map(|close| close.keyset))
        .ok_or(RecordError::Unreadable)
}

/// Verifies a record under the keys of the archived keyset it claims.
pub fn verify(bytes: &[u8], keyset: &ArchivedKeyset) -> Result<Verified, RecordError> {
    let keys = &keyset.receipt_keys;
    if claims::<UsageReceipt>(bytes).is_some() {
        let receipt: Signed<UsageReceipt> = verify_any(bytes, keys)?;
        check_origin(keyset, receipt.keyset, receipt.epoch, &receipt.issuer)?;
        check_receipt(keyset, &receipt)?;
        return Ok(Verified::Receipt(Box::new(receipt)));
    }
    if claims::<EpochOpen>(bytes).is_some() {
        let open: Signed<EpochOpen> = verify_any(bytes, keys)?;
        check_origin(keyset, open.keyset, open.epoch, &open.issuer)?;
        return Ok(Verified::Open(open));
    }
    let close: Signed<EpochClose> = verify_any(bytes, keys)?;
    check_origin(keyset, close.keyset, close.epoch, &close.issuer)?;
    check_seq(close.seq)?;
    Ok(Verified::Close(close))
}

fn check_origin(
    keyset: &ArchivedKeyset,
    named: Digest,
    epoch: EpochId,
    issuer: &InstanceId,
) -> Result<(), RecordError> {
    if named != keyset.digest {
        return Err(RecordError::UnknownKeyset { keyset: named });
    }
    let expected = EpochId::of_keyset(&keyset.digest);
    if epoch != expected {
        return Err(RecordError::Epoch { expected, got: epoch });
    }
    if *issuer != keyset.instance {
        let (expected, got) = (keyset.instance.clone(), issuer.clone());
        return Err(RecordError::Issuer { expected, got });
    }
    Ok(())
}

fn check_seq(seq: u64) -> Result<(), RecordError> {
    if seq == 0 || seq > MAX_SEQ {
        return Err(RecordError::Place { got: seq });
    }
    Ok(())
}

fn check_receipt(keyset: &ArchivedKeyset, receipt: &UsageReceipt) -> Result<(), RecordError> {
    check_seq(receipt.seq)?;
    if receipt.profile != RECEIPT_PROFILE {
        let got = receipt.profile.chars().take(80).collect();
        return Err(RecordError::Profile { got });
    }
    let expected = match keyset.simulated {
        true => SecurityMode::Simulated,
        false => SecurityMode::Hardware,
    };
    if receipt.security != expected {
        return Err(RecordError::Security { expected, got: receipt.security });
    }
    Ok(())
}

impl Verified {
    /// The record as the ledger takes it in.
    pub fn into_record(self, charge: Charge) -> Record {
        match self {
            Verified::Open(open) => Record {
                kind: RecordKind::Open,
                epoch: open.epoch,
                seq: 0,
                prev: None,
                digest: open.digest(),
                keyset: open.keyset,
                bytes: open.bytes().to_vec(),
                leaf: Leaf::EpochOpen { record: Bytes(open.bytes().to_vec()) }.to_vec(),
                handle: None,
                charge,
            },
            Verified::Receipt(receipt) => Record {
                kind: RecordKind::Receipt,
                epoch: receipt.epoch,
                seq: receipt.seq,
                prev: Some(receipt.prev),
                digest: receipt.digest(),
                keyset: receipt.keyset,
                bytes: receipt.bytes().to_vec(),
                leaf: Leaf::Receipt {
                    epoch: receipt.epoch,
                    seq: receipt.seq,
                    prev: receipt.prev,
                    receipt: receipt.digest(),
                }
                .to_vec(),
                handle: Some(receipt.account),
                charge,
            },
            Verified::Close(close) => Record {
                kind: RecordKind::Close,
                epoch: close.epoch,
                seq: close.seq,
                prev: Some(close.prev),
                digest: close.digest(),
                keyset: close.keyset,
                bytes: close.bytes().to_vec(),
                leaf: Leaf::EpochClose { record: Bytes(close.bytes().to_vec()) }.to_vec(),
                handle: None,
                charge,
            },
        }
    }
}
