//! Intel's root key, as Intel publishes it; see `roots/README`.

use crate::anchor::{Domain, TrustAnchor};

/// Certificate of the Intel SGX Root CA, DER.
pub const INTEL_ROOT: (&str, &[u8]) =
    ("Intel SGX Root CA", include_bytes!("roots/intel-sgx-root.der"));

/// Intel's root as trust anchor: hardware, not simulated.
pub fn intel_anchors() -> Vec<TrustAnchor> {
    let (label, der) = INTEL_ROOT;
    TrustAnchor::vendor(Domain::Intel, label, der).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_root_is_an_anchor_that_signed_itself() {
        let anchors = intel_anchors();
        let root = anchors[0].certificate().expect("shipped with its certificate");
        assert!(root.is_signed_by(&root.public_key));
        assert!(!anchors[0].is_simulated() && !anchors[0].speaks_about(Domain::Amd));
    }
}
