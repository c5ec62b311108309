//! From the endorsements, the one path from the report's signing key to a root.
//!
//! Nothing is judged here: a piece is chosen because it is about this report, and the checks say
//! afterwards whether it holds. Where several would do, the one that verifies is taken, so that a
//! stray or broken copy beside a good one does no harm.

use super::leaf::Leaf;
use super::product::ProductLine;
use super::report::Report;
use crate::anchor::{TrustAnchor, TrustAnchors};
use crate::endorsement::{Certificate, Endorsements};
use crate::signature::PublicKey;

/// The path found; any part may be missing.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    pub leaf: Option<Leaf>,
    pub intermediate: Option<&'a Certificate>,
    pub root: Option<Root<'a>>,
}

/// The top of the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root<'a> {
    pub certificate: &'a Certificate,
    /// The anchor that pins it, if any does.
    pub anchor: Option<&'a TrustAnchor>,
}

impl<'a> Chain<'a> {
    /// Finds the path for `report`.
    pub fn find(
        report: &Report,
        endorsements: &'a Endorsements,
        anchors: &'a TrustAnchors,
    ) -> Chain<'a> {
        let leaf = find_leaf(report, endorsements);
        let intermediate =
            leaf.as_ref().and_then(|leaf| find_intermediate(&leaf.certificate, endorsements));
        let root =
            intermediate.and_then(|certificate| find_root(certificate, endorsements, anchors));
        Chain { leaf, intermediate, root }
    }

    /// The product line by the name of the intermediate, or of the issuer the leaf names.
    pub fn line(&self) -> Option<ProductLine> {
        let leaf = self.leaf.as_ref()?;
        ProductLine::of_intermediate_name(&leaf.certificate.issuer.common_name)
    }

    /// Whether its root is a simulated one.
    pub fn is_simulated(&self) -> bool {
        self.root.and_then(|root| root.anchor).is_some_and(TrustAnchor::is_simulated)
    }

    /// Every certificate of the path, with a word for it.
    pub fn certificates(&self) -> impl Iterator<Item = (&'static str, &Certificate)> {
        let leaf = self.leaf.as_ref().map(|leaf| ("leaf", &leaf.certificate));
        let intermediate = self.intermediate.map(|certificate| ("intermediate", certificate));
        let root = self.root.map(|root| ("root", root.certificate));
        leaf.into_iter().chain(intermediate).chain(root)
    }
}

/// Whether `leaf`'s key made the report's signature: ECDSA P-384 with SHA-384 over the signed
/// bytes as received.
pub(super) fn verifies_report(leaf: &Leaf, report: &Report) -> bool {
    let key = &leaf.certificate.public_key;
    matches!(key, PublicKey::P384(_))
        && key.verifies_fixed(report.signed_bytes(), report.signature())
}

/// The leaf of the kind the report names, about its chip and its TCB. A leaf of the wrong kind is
/// taken only when there is no other, so that the verdict can say so.
fn find_leaf(report: &Report, endorsements: &Endorsements) -> Option<Leaf> {
    let likeness = |leaf: &Leaf| {
        let names_chip =
            leaf.hardware_id.as_deref().is_none_or(|id| report.chip_id.starts_with(id));
        let names_tcb = leaf.raw_tcb == Some(report.reported_tcb);
        (leaf.kind == report.signing_key, names_chip, names_tcb)
    };
    let leaves: Vec<Leaf> = endorsements.certificates.iter().filter_map(Leaf::of).collect();
    let best = leaves.iter().map(likeness).max()?;
    let alike: Vec<Leaf> = leaves.into_iter().filter(|leaf| likeness(leaf) == best).collect();
    if alike.len() == 1 {
        return alike.into_iter().next();
    }
    let is_endorsed = |leaf: &Leaf| {
        find_intermediate(&leaf.certificate, endorsements)
            .is_some_and(|issuer| leaf.certificate.is_signed_by(&issuer.public_key))
    };
    let good = alike.iter().find(|leaf| verifies_report(leaf, report) && is_endorsed(leaf));
    good.or_else(|| alike.iter().find(|leaf| verifies_report(leaf, report)))
        .or(alike.first())
        .cloned()
}

fn find_intermediate<'a>(
    leaf: &Certificate,
    endorsements: &'a Endorsements,
) -> Option<&'a Certificate> {
    let named: Vec<&Certificate> = endorsements
        .certificates
        .iter()
        .filter(|certificate| certificate.subject == leaf.issuer && !certificate.is_self_issued())
        .collect();
    match named.as_slice() {
        [only] => Some(*only),
        several => several
            .iter()
            .find(|certificate| leaf.is_signed_by(&certificate.public_key))
            .or(several.first())
            .copied(),
    }
}

/// The pinned root the intermediate names. Without one, a root that came with the evidence is
/// returned unpinned, so that the verdict can name it.
fn find_root<'a>(
    intermediate: &Certificate,
    endorsements: &'a Endorsements,
    anchors: &'a TrustAnchors,
) -> Option<Root<'a>> {
    let shipped = anchors.iter().filter_map(TrustAnchor::certificate);
    let named: Vec<Root<'a>> = shipped
        .chain(&endorsements.certificates)
        .filter(|root| root.is_self_issued() && root.subject == intermediate.issuer)
        .map(|certificate| Root { certificate, anchor: anchors.pinning(certificate) })
        .collect();
    let pinned = || named.iter().filter(|root| root.anchor.is_some());
    let signs = |root: &&Root<'_>| intermediate.is_signed_by(&root.certificate.public_key);
    match pinned().count() {
        1 => pinned().next(),
        _ => pinned().find(signs).or_else(|| pinned().next()).or(named.first()),
    }
    .copied()
}
