//! From the certificates at hand, the one path from the PEK in the report to Hygon's root. Nothing
//! is judged here: where several would do, the one that verifies is taken.

use super::HRK;
use super::certificate::{HygonCertificate, Usage};
use crate::anchor::{TrustAnchor, TrustAnchors};

/// The path found; any part may be missing.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    pub cek: Option<&'a HygonCertificate>,
    pub hsk: Option<&'a HygonCertificate>,
    pub root: Option<HygonCertificate>,
    /// The anchor that pins the root, if any does.
    pub anchor: Option<&'a TrustAnchor>,
}

impl<'a> Chain<'a> {
    /// Finds the path for `pek`.
    pub fn find(
        pek: &HygonCertificate,
        given: &[&'a HygonCertificate],
        anchors: &'a TrustAnchors,
    ) -> Chain<'a> {
        let cek = signer(pek, Usage::Cek, given);
        let hsk = cek.and_then(|cek| signer(cek, Usage::Hsk, given));
        let shipped = HygonCertificate::parse(HRK);
        let roots: Vec<&HygonCertificate> = given
            .iter()
            .copied()
            .chain(&shipped)
            .filter(|certificate| certificate.usage == Usage::Hrk)
            .collect();
        let root = hsk.and_then(|hsk| find_root(hsk, &roots, anchors));
        let anchor = root.and_then(|root| pinning(root, anchors));
        Chain { cek, hsk, root: root.cloned(), anchor }
    }

    /// Whether its root is a simulated one.
    pub fn is_simulated(&self) -> bool {
        self.anchor.is_some_and(TrustAnchor::is_simulated)
    }
}

/// The anchor that pins `root`; of two, the simulated one counts.
fn pinning<'a>(root: &HygonCertificate, anchors: &'a TrustAnchors) -> Option<&'a TrustAnchor> {
    let matching = || anchors.iter().filter(|anchor| anchor.matches_bytes(&root.bytes));
    matching().find(|anchor| anchor.is_simulated()).or_else(|| matching().next())
}

fn signer<'a>(
    signed: &HygonCertificate,
    usage: Usage,
    given: &[&'a HygonCertificate],
) -> Option<&'a HygonCertificate> {
    let named = || given.iter().copied().filter(|certificate| certificate.usage == usage);
    match named().count() {
        1 => named().next(),
        _ => named().find(|issuer| signed.is_signed_by(issuer)).or_else(|| named().next()),
    }
}

/// A pinned root that signed `hsk`; failing that any root that did, failing that a pinned one.
fn find_root<'a>(
    hsk: &HygonCertificate,
    roots: &[&'a HygonCertificate],
    anchors: &TrustAnchors,
) -> Option<&'a HygonCertificate> {
    let is_pinned = |root: &&&HygonCertificate| pinning(root, anchors).is_some();
    let signers: Vec<&HygonCertificate> =
        roots.iter().copied().filter(|root| hsk.is_signed_by(root)).collect();
    let pinned = |roots: &[&'a HygonCertificate]| roots.iter().find(is_pinned).copied();
    pinned(&signers).or(signers.first().copied()).or(pinned(roots))
}
