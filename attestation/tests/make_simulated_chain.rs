//! Makes the worthless chain under `tests/vectors/simulated-chain`, once:
//! `cargo test -p bulla-attestation --test make_simulated_chain -- --ignored`.
#![allow(
    clippy::disallowed_methods,
    dead_code,
    unused_imports,
    reason = "a generator writes files and needs only a part of the simulated TEE"
)]

#[path = "../../enclave/src/simulated_tee/mod.rs"]
mod simulated_tee;

use bulla_attestation::tee::snp::product::ProductLine;
use rand_core::SeedableRng;
use simulated_tee::{Authority, Validity};

/// 2026-01-01T00:00:00Z to 2056: longer than anybody will run these tests.
const VALIDITY: Validity = Validity { not_before: 1_767_225_600, not_after: 2_713_910_400 };

#[test]
#[ignore = "overwrites the stored chain; takes a minute"]
fn make() {
    // A public seed: these keys protect nothing, and anybody can make them again.
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(20260101);
    for line in [ProductLine::Genoa, ProductLine::Turin] {
        let authority = Authority::generate(line, VALIDITY, &mut rng).expect("keys are made");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/simulated-chain");
        let write = |name: &str, bytes: &[u8]| {
            let path = format!("{folder}/{line}-{name}");
            std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        };
        write("WORTHLESS-ark.key", &authority.ark_pkcs8().expect("encodes"));
        write("WORTHLESS-ask.key", &authority.ask_pkcs8().expect("encodes"));
        write("ark.der", authority.ark_certificate());
        write("ask.der", authority.ask_certificate());
    }
}
