//! What a verifier may keep between appraisals without its verdicts changing.
//!
//! Three things, all true for ever: what endorsement bytes say once parsed, that a signature is
//! valid, and what a report's digests are. Nothing that depends on the instant, the policy or the
//! caller is kept: dates, revocation and every rule are judged anew at each appraisal, so no verdict
//! is ever repeated from memory.

pub(crate) mod generations;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::Digest;
use bulla_wire::units::UnixSeconds;

use self::generations::Generations;
use crate::anchor::TrustAnchors;
use crate::appraise::{self, Freshness, Known};
use crate::endorsement::Endorsements;
use crate::evidence::Names;
use crate::policy::{Logged, Policy};
use crate::raw::{Expectations, appraise_raw};
use crate::result::AttestationResult;
use crate::signature::Memory;
use crate::tee::TeeKind;

/// Bytes of endorsements one generation keeps parsed (ours; beside the bytes, and parsed they take
/// about three times as much). A CPU's set has 6 KiB, a GPU's manifests 1 MiB.
const MAX_PARSED_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of reports one generation keeps beside their digests (ours): some thousand services.
const MAX_NAMED_BYTES: usize = 16 * 1024 * 1024;

/// Bytes at each end of a blob by which its set is looked for.
const EDGE_BYTES: usize = 128;

/// Parsed endorsements, valid signatures and digests, bounded in size. Shared between threads by reference.
#[derive(Debug)]
pub struct Memo {
    signatures: Memory,
    parsed: Mutex<Generations<Parsed>>,
    named: Mutex<Generations<Arc<Named>>>,
}

/// A report beside its digests.
#[derive(Debug)]
struct Named {
    report: AttestationReport,
    names: Names,
}

/// What blobs say, beside the blobs themselves.
#[derive(Debug, Clone)]
struct Parsed {
    blobs: Arc<[Box<[u8]>]>,
    endorsements: Arc<Endorsements>,
}

impl Parsed {
    /// Whether these are the very blobs, byte for byte.
    fn is_of(&self, blobs: &[&[u8]]) -> bool {
        self.blobs.iter().map(|kept| &**kept).eq(blobs.iter().copied())
    }
}

impl Default for Memo {
    fn default() -> Memo {
        Memo {
            signatures: Memory::new(),
            parsed: Mutex::new(Generations::new(MAX_PARSED_BYTES)),
            named: Mutex::new(Generations::new(MAX_NAMED_BYTES)),
        }
    }
}

impl Memo {
    /// Nothing remembered yet.
    pub fn new() -> Memo {
        Memo::default()
    }

    /// Where the keys of this memo remember the signatures they verified.
    pub fn signatures(&self) -> &Memory {
        &self.signatures
    }

    /// [`Endorsements::sort`], done once for the same blobs in the same order.
    pub fn endorsements(&self, blobs: &[&[u8]]) -> Arc<Endorsements> {
        let name = label(blobs);
        if let Some(parsed) = held(&self.parsed).find(&name).filter(|parsed| parsed.is_of(blobs)) {
            return parsed.endorsements;
        }
        let mut endorsements = Endorsements::sort(blobs.iter().copied());
        endorsements.remember_in(&self.signatures);
        let endorsements = Arc::new(endorsements);
        let weight = blobs.iter().map(|blob| blob.len()).sum::<usize>().max(1);
        let blobs = blobs.iter().map(|blob| Box::from(*blob)).collect();
        let parsed = Parsed { blobs, endorsements: Arc::clone(&endorsements) };
        held(&self.parsed).add(name, parsed, weight);
        endorsements
    }

    /// [`Names::of`], computed once for an equal report: to compare all of it takes a tenth of the
    /// time that writing and hashing its JSON does.
    fn names(&self, report: &AttestationReport) -> Names {
        let evidence = &report.attestation.evidence;
        let name = label(&[&evidence.report]);
        if let Some(named) = held(&self.named).find(&name).filter(|named| named.report == *report) {
            return named.names;
        }
        let named = Named { report: report.clone(), names: Names::of(report) };
        let names = named.names;
        let weight = evidence.endorsements.iter().map(|piece| piece.data.len()).sum::<usize>();
        held(&self.named).add(name, Arc::new(named), weight + evidence.report.len());
        names
    }
}

/// A thread that panicked while it held the lock left a store that is complete.
fn held<T>(store: &Mutex<T>) -> MutexGuard<'_, T> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a set of blobs is looked for: their lengths and edges, where signatures stand. Whole blobs
/// are then compared, which is ten times as fast as hashing them; sets with the same label only
/// take each other's place.
fn label(blobs: &[&[u8]]) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for blob in blobs {
        context.update(&(blob.len() as u64).to_be_bytes());
        context.update(&blob[..blob.len().min(EDGE_BYTES)]);
        context.update(&blob[blob.len().saturating_sub(EDGE_BYTES)..]);
    }
    let mut name = [0; 32];
    name.copy_from_slice(context.finish().as_ref());
    Digest(name)
}

/// A verifier that appraises often: anchors and policy named once, and a [`Memo`]. Its verdicts are
/// those of [`appraise`](appraise::appraise) and [`appraise_raw`]; only the second time is shorter.
#[derive(Debug)]
pub struct Appraiser {
    anchors: TrustAnchors,
    policy: Policy,
    memo: Memo,
}

impl Appraiser {
    /// A verifier that trusts `anchors` and judges under `policy`.
    pub fn new(mut anchors: TrustAnchors, policy: Policy) -> Appraiser {
        let memo = Memo::new();
        anchors.remember_in(memo.signatures());
        Appraiser { anchors, policy, memo }
    }

    /// The policy it judges under.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// [`appraise_logged`](appraise::appraise_logged) at the instant `now`.
    pub fn appraise(
        &self,
        report: &AttestationReport,
        freshness: Freshness,
        logged: Option<&Logged>,
        now: UnixSeconds,
    ) -> AttestationResult {
        let pieces = &report.attestation.evidence.endorsements;
        let blobs: Vec<&[u8]> = pieces.iter().map(|piece| piece.data.as_slice()).collect();
        let endorsements = self.memo.endorsements(&blobs);
        let names = self.memo.names(report);
        let known = Known { report, endorsements: &endorsements, names };
        appraise::appraise_with(&known, &self.anchors, &self.policy, freshness, logged, now)
    }

    /// [`appraise_raw`] at the instant `now`; `endorsements` are blobs as
    /// [`Endorsements::sort`] takes them.
    pub fn appraise_raw(
        &self,
        kind: TeeKind,
        evidence: &[u8],
        endorsements: &[&[u8]],
        expectations: &Expectations,
        now: UnixSeconds,
    ) -> AttestationResult {
        let endorsements = self.memo.endorsements(endorsements);
        let (anchors, policy) = (&self.anchors, &self.policy);
        appraise_raw(kind, evidence, &endorsements, anchors, policy, expectations, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_sets_remember_in_one_place() {
        let memo = Memo::new();
        assert!(std::ptr::eq(memo.signatures(), &memo.signatures));
    }

    #[test]
    fn sets_that_differ_in_the_middle_are_never_taken_for_each_other() {
        let memo = Memo::new();
        let (mut one, edge) = (vec![7u8; 3 * EDGE_BYTES], EDGE_BYTES);
        let first = memo.endorsements(&[&one]);
        assert!(Arc::ptr_eq(&first, &memo.endorsements(&[&one])));
        let before = label(&[&one]);
        one[edge] = 8;
        assert_eq!(label(&[&one]), before);
        let other = memo.endorsements(&[&one]);
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(Arc::ptr_eq(&other, &memo.endorsements(&[&one])));
        assert!(!Arc::ptr_eq(&other, &memo.endorsements(&[&one, &[]])));
    }
}
