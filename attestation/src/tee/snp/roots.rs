//! The three AMD root keys (ARK), as AMD publishes them; see `roots/README`.

use crate::anchor::{Domain, TrustAnchor};

/// ARK certificates of Milan, Genoa and Turin, DER.
pub const AMD_ROOTS: [(&str, &[u8]); 3] = [
    ("AMD ARK-Milan", include_bytes!("roots/ark-milan.der")),
    ("AMD ARK-Genoa", include_bytes!("roots/ark-genoa.der")),
    ("AMD ARK-Turin", include_bytes!("roots/ark-turin.der")),
];

/// The AMD roots as trust anchors: hardware, not simulated.
pub fn amd_anchors() -> Vec<TrustAnchor> {
    let anchor = |(label, der): &(&str, &[u8])| TrustAnchor::vendor(Domain::Amd, label, der).ok();
    AMD_ROOTS.iter().filter_map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_root_is_an_anchor_that_signed_itself() {
        let anchors = amd_anchors();
        assert_eq!(anchors.len(), AMD_ROOTS.len());
        for anchor in &anchors {
            let root = anchor.certificate().expect("shipped with its certificate");
            assert!(root.is_signed_by(&root.public_key), "{}", anchor.label());
            assert!(!anchor.is_simulated());
        }
    }
}
