//! NVIDIA's two roots, one for devices and one for manifests; see `roots/README`.

use crate::anchor::{Domain, TrustAnchor};

/// Domain, label and DER certificate of each root.
pub const NVIDIA_ROOTS: [(Domain, &str, &[u8]); 2] = [
    (
        Domain::NvidiaDevice,
        "NVIDIA Device Identity CA",
        include_bytes!("roots/device-identity-ca.der"),
    ),
    (
        Domain::NvidiaRim,
        "NVIDIA CoRIM signing Root CA",
        include_bytes!("roots/corim-signing-root-ca.der"),
    ),
];

/// NVIDIA's roots as trust anchors: hardware, not simulated.
pub fn nvidia_anchors() -> Vec<TrustAnchor> {
    let roots = NVIDIA_ROOTS.iter();
    roots.filter_map(|(domain, label, der)| TrustAnchor::vendor(*domain, label, der).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_root_is_an_anchor_of_its_own_domain_that_signed_itself() {
        let anchors = nvidia_anchors();
        assert_eq!(anchors.len(), NVIDIA_ROOTS.len());
        for (anchor, (domain, ..)) in anchors.iter().zip(NVIDIA_ROOTS) {
            let root = anchor.certificate().expect("shipped with its certificate");
            assert!(root.is_signed_by(&root.public_key), "{}", anchor.label());
            assert!(!anchor.is_simulated() && anchor.speaks_about(domain));
            assert!(!anchor.speaks_about(Domain::Amd));
        }
        assert!(!anchors[0].speaks_about(Domain::NvidiaRim));
    }
}
