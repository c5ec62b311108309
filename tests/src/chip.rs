//! Simulated TEE nodes under a test authority whose keys are published and worthless.

use std::path::PathBuf;
use std::sync::OnceLock;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::policy::Policy;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_enclave::simulated_tee::{Authority, Node, Validity};
use rand_core::CryptoRng;

/// The instant at which every simulated story starts: 2027-01-15.
pub const START_S: u64 = 1_800_000_000;

/// A file of `tests/vectors/simulated-chain`.
fn vector(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/simulated-chain");
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The test authority: ARK and ASK of the Genoa line.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        Authority::from_stored(
            ProductLine::Genoa,
            &vector("genoa-WORTHLESS-ark.key"),
            &vector("genoa-WORTHLESS-ask.key"),
            vector("genoa-ark.der"),
            vector("genoa-ask.der"),
        )
        .expect("the stored chain is whole")
    })
}

/// A new simulated machine.
pub fn node(mut rng: &mut dyn CryptoRng) -> Node {
    let start = i64::try_from(START_S).expect("in range");
    Node::new(authority(), Validity::years_from(start - 86_400, 7), &mut rng)
}

/// Anchors that name the test authority, and nothing else.
pub fn anchors() -> TrustAnchors {
    let anchor = TrustAnchor::simulated("test authority", authority().ark_certificate())
        .expect("the stored ARK is a certificate");
    TrustAnchors::none().with(anchor)
}

/// A shipped appraisal policy by name.
pub fn policy(name: &str) -> Policy {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../policies/appraisal")
        .join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    Policy::from_toml(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}
