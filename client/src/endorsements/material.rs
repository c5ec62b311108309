//! What a person hands over for one appraisal: evidence and endorsements from files in any
//! encoding, among them evidence bundles.

use bulla_attestation::aci::read_report;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{File, Recognised, Role, recognise};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_wire::cbor::Bytes;
use bulla_wire::evidence_bundle::{BundleError, EvidenceBundle, KIND_ACI, Piece as Evidence};
use bulla_wire::units::UnixSeconds;

use super::evidence::{Needs, needs};

/// Evidence and endorsements, out of their files.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// Evidence, as it goes into a bundle.
    pub evidence: Vec<Evidence>,
    /// Endorsements.
    pub endorsements: Vec<Vec<u8>>,
    /// When it was collected, as the first bundle among the files says.
    pub collected_at: Option<UnixSeconds>,
    /// The nonce that was sent, likewise.
    pub nonce: Option<Vec<u8>>,
    /// What was not taken, and why.
    pub left_aside: Vec<String>,
}

impl Material {
    /// Adds what is in a file. The error is that of a bundle that does not read: anything else
    /// unknown is left aside.
    pub fn add(&mut self, name: &str, bytes: &[u8], role: Role) -> Result<(), BundleError> {
        if EvidenceBundle::is_likely(bytes) {
            self.add_bundle(EvidenceBundle::from_slice(bytes)?, role);
            return Ok(());
        }
        let recognised = recognise(&[File { name, bytes, role }], None);
        self.left_aside.extend(recognised.left_aside.iter().map(ToString::to_string));
        if role == Role::Anything && read_report(bytes).is_ok() {
            self.evidence.push(piece(KIND_ACI, bytes));
        } else {
            let found = recognised.evidence.iter();
            self.evidence.extend(found.map(|found| piece(found.kind.name(), &found.bytes)));
        }
        self.endorsements.extend(recognised.endorsements.into_iter().map(|found| found.bytes));
        Ok(())
    }

    fn add_bundle(&mut self, bundle: EvidenceBundle, role: Role) {
        if role == Role::Anything {
            self.evidence.extend(bundle.evidence);
            self.collected_at = self.collected_at.or(Some(bundle.collected_at));
            self.nonce = self.nonce.take().or(bundle.nonce.map(|Bytes(nonce)| nonce));
        }
        self.endorsements.extend(bundle.endorsements.into_iter().map(|Bytes(bytes)| bytes));
    }

    /// What all the evidence needs, with `at_hand` to say it by.
    pub fn needs(&self, at_hand: &Endorsements, line: Option<ProductLine>) -> Needs {
        let mut all = Needs::default();
        for piece in &self.evidence {
            for (kind, bytes) in raw(piece) {
                all.merge(needs(kind, &bytes, at_hand, line));
            }
        }
        all
    }

    /// A bundle of it, with `more` endorsements; as of `now`, unless it was a bundle before.
    pub fn bundle(
        &self,
        more: impl IntoIterator<Item = Vec<u8>>,
        now: UnixSeconds,
    ) -> EvidenceBundle {
        let endorsements = self.endorsements.iter().cloned().chain(more);
        EvidenceBundle {
            nonce: self.nonce.clone().map(Bytes),
            ..EvidenceBundle::new(
                self.collected_at.unwrap_or(now),
                self.evidence.clone(),
                endorsements,
            )
        }
    }
}

fn piece(kind: &str, bytes: &[u8]) -> Evidence {
    Evidence { kind: kind.to_owned(), bytes: Bytes(bytes.to_vec()) }
}

/// The raw evidence in a piece: itself, or what an attestation report carries.
fn raw(piece: &Evidence) -> Vec<(TeeKind, Vec<u8>)> {
    let bytes = &piece.bytes.0;
    if piece.kind == KIND_ACI {
        let file = File { name: KIND_ACI, bytes, role: Role::Anything };
        let Recognised { evidence, .. } = recognise(&[file], None);
        return evidence.into_iter().map(|found| (found.kind, found.bytes)).collect();
    }
    TeeKind::from_name(&piece.kind).map(|kind| (kind, bytes.clone())).into_iter().collect()
}
