//! The one path from a certificate to a root, whatever the order in which its parts were given.
//!
//! Nothing is judged here: an issuer is chosen because it carries the name, and where several do,
//! the one that signed is taken, so that a stray or broken copy beside a good one does no harm.

use super::Certificate;
use crate::anchor::{TrustAnchor, TrustAnchors};

/// Longest path followed (ours; NVIDIA's devices have 5, its manifests 4).
pub const MAX_PATH: usize = 8;
/// Most issuers of one name that are tried (ours; a real set has one, or two of one key).
const MAX_NAMESAKES: usize = 8;

/// One certificate of a path.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Whether the next one's key signed it; false for the last one, which has no next.
    pub is_signed_by_next: bool,
}

/// The path found, from the leaf up; never empty. It ends at a root, or where no issuer is known.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    /// Leaf first.
    pub steps: Vec<Step<'a>>,
    /// The anchor that pins the last certificate, if any does.
    pub anchor: Option<&'a TrustAnchor>,
}

impl<'a> Path<'a> {
    /// Follows the issuers of `leaf` through `pool` to a root, pinned ones first.
    pub fn find(
        leaf: &'a Certificate,
        pool: &[&'a Certificate],
        anchors: &'a TrustAnchors,
    ) -> Path<'a> {
        let shipped: Vec<&Certificate> =
            anchors.iter().filter_map(TrustAnchor::certificate).collect();
        let mut steps = Vec::new();
        let mut current = leaf;
        while !current.is_self_issued() && steps.len() + 1 < MAX_PATH {
            let is_issuer = |other: &&&Certificate| other.subject == current.issuer;
            let named = shipped.iter().chain(pool).filter(is_issuer).copied();
            let named: Vec<&Certificate> = named.take(MAX_NAMESAKES).collect();
            let signs = |other: &&&Certificate| current.is_signed_by(&other.public_key);
            let (issuer, is_signed) = match named.iter().find(signs) {
                Some(issuer) => (*issuer, true),
                None => match named.first() {
                    Some(issuer) => (*issuer, false),
                    None => break,
                },
            };
            steps.push(Step { certificate: current, is_signed_by_next: is_signed });
            current = issuer;
        }
        steps.push(Step { certificate: current, is_signed_by_next: false });
        Path { steps, anchor: anchors.pinning(current).filter(|_| current.is_self_issued()) }
    }

    /// The root, where the path reaches one.
    pub fn root(&self) -> Option<&'a Certificate> {
        let last = self.steps.last()?.certificate;
        last.is_self_issued().then_some(last)
    }

    /// Every certificate with the one that issued it: all but the root.
    pub fn links(&self) -> impl Iterator<Item = (&'a Certificate, &'a Certificate)> {
        self.steps.windows(2).filter_map(|pair| match pair {
            [lower, upper] => Some((lower.certificate, upper.certificate)),
            _ => None,
        })
    }

    /// The first certificate that the next one's key did not sign.
    pub fn broken_link(&self) -> Option<&'a Certificate> {
        let below_last = self.steps.len().saturating_sub(1);
        let mut links = self.steps.iter().take(below_last);
        links.find(|step| !step.is_signed_by_next).map(|step| step.certificate)
    }

    /// The first certificate that is not valid at `now`.
    pub fn outside_dates(&self, now: i64) -> Option<&'a Certificate> {
        let mut certificates = self.steps.iter().map(|step| step.certificate);
        certificates.find(|certificate| !certificate.is_valid_at(now))
    }

    /// Whether its root is a simulated one.
    pub fn is_simulated(&self) -> bool {
        self.anchor.is_some_and(TrustAnchor::is_simulated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARK_MILAN: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

    /// A root and what stands under it, `length` certificates in all, leaf first.
    fn chain(length: u8) -> Vec<Certificate> {
        let root = Certificate::from_der(ARK_MILAN).unwrap();
        let certificate = |number: u8| {
            let mut certificate = root.clone();
            certificate.subject.der = vec![number];
            certificate.issuer.der = vec![length.min(number + 1)];
            certificate
        };
        (1..=length).map(certificate).collect()
    }

    #[test]
    fn a_path_has_eight_certificates_at_most() {
        for (length, steps, reaches_root) in [(1, 1, true), (8, 8, true), (9, 8, false)] {
            let chain = chain(length);
            let pool: Vec<&Certificate> = chain.iter().collect();
            let anchors = TrustAnchors::none();
            let path = Path::find(&chain[0], &pool, &anchors);
            assert_eq!(path.steps.len(), steps, "{length}");
            assert_eq!(path.root().is_some(), reaches_root, "{length}");
        }
    }

    #[test]
    fn a_path_is_simulated_where_its_anchor_is() {
        let root = Certificate::from_der(ARK_MILAN).unwrap();
        let simulated = TrustAnchor::simulated("simulated", ARK_MILAN).unwrap();
        let hardware = TrustAnchor::hardware("hardware", ARK_MILAN).unwrap();
        for (anchors, is_simulated) in [
            (TrustAnchors::none().with(simulated), true),
            (TrustAnchors::none().with(hardware), false),
            (TrustAnchors::none(), false),
        ] {
            assert_eq!(Path::find(&root, &[], &anchors).is_simulated(), is_simulated);
        }
    }
}
