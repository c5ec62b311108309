//! The chain of one epoch: every record signed, numbered without gaps, linked to the one before.

use bulla_attestation::sign::{Signed, SigningKey};
use bulla_wire::cbor::Bytes;
use bulla_wire::epoch::{EpochClose, EpochOpen};
use bulla_wire::ids::{Digest, EpochId, InstanceId};
use bulla_wire::receipt::UsageReceipt;
use bulla_wire::units::UnixSeconds;

/// Signs the records of an epoch in order.
pub struct Chain {
    key: SigningKey,
    issuer: InstanceId,
    keyset: Digest,
    configuration: Digest,
    epoch: EpochId,
    /// Place of the next record and digest of the last one; `None` before epoch-open.
    next: Option<(u64, Digest)>,
    closed: bool,
    /// Time inside is monotone, whatever the host's clock does.
    latest: UnixSeconds,
}

/// Where in the chain the next receipt goes, with the facts every receipt of the epoch shares.
pub struct Link {
    /// The instance.
    pub issuer: InstanceId,
    /// When it is signed.
    pub issued_at: UnixSeconds,
    /// The keyset.
    pub keyset: Digest,
    /// Digest of the measured configuration.
    pub configuration: Digest,
    /// The epoch.
    pub epoch: EpochId,
    /// The place.
    pub seq: u64,
    /// The record before.
    pub prev: Digest,
}

impl Chain {
    /// A chain that awaits its epoch-open.
    pub fn new(
        key: SigningKey,
        issuer: InstanceId,
        keyset: Digest,
        configuration: Digest,
    ) -> Chain {
        let epoch = EpochId::of_keyset(&keyset);
        Chain {
            key,
            issuer,
            keyset,
            configuration,
            epoch,
            next: None,
            closed: false,
            latest: UnixSeconds(0),
        }
    }

    /// True between epoch-open and epoch-close.
    pub fn is_open(&self) -> bool {
        self.next.is_some() && !self.closed
    }

    /// Signs record 0: not older than `parent` (a signed checkpoint), about `evidence`.
    pub fn open(&mut self, parent: Bytes, evidence: Digest, now: UnixSeconds) -> Signed<EpochOpen> {
        let issued_at = self.advance(now);
        let record = self.key.sign(EpochOpen {
            issuer: self.issuer.clone(),
            issued_at,
            keyset: self.keyset,
            epoch: self.epoch,
            configuration: self.configuration,
            parent,
            evidence,
        });
        self.next = Some((1, record.digest()));
        record
    }

    /// Signs the next receipt, built by `build` around its link. `None` while the epoch is not
    /// open.
    pub fn receipt(
        &mut self,
        now: UnixSeconds,
        build: impl FnOnce(Link) -> UsageReceipt,
    ) -> Option<Signed<UsageReceipt>> {
        let (seq, prev) = self.next.filter(|_| !self.closed)?;
        let link = Link {
            issuer: self.issuer.clone(),
            issued_at: self.advance(now),
            keyset: self.keyset,
            configuration: self.configuration,
            epoch: self.epoch,
            seq,
            prev,
        };
        let receipt = self.key.sign(build(link));
        self.next = Some((seq + 1, receipt.digest()));
        Some(receipt)
    }

    /// Signs the last record. `None` when the epoch is not open.
    pub fn close(&mut self, now: UnixSeconds) -> Option<Signed<EpochClose>> {
        let (seq, prev) = self.next.filter(|_| !self.closed)?;
        let issued_at = self.advance(now);
        let record = self.key.sign(EpochClose {
            issuer: self.issuer.clone(),
            issued_at,
            keyset: self.keyset,
            epoch: self.epoch,
            seq,
            prev,
        });
        self.closed = true;
        Some(record)
    }

    fn advance(&mut self, now: UnixSeconds) -> UnixSeconds {
        self.latest = self.latest.max(now);
        self.latest
    }
}
