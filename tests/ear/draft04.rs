//! Reads our tokens with the crate `ear` at the release that speaks draft-ietf-rats-ear-04.

use ear::{Algorithm, Ear};

fn main() {
    let folder = std::env::args().nth(1).expect("a folder of tokens");
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).expect(name);
    let jwk = read("key.jwk");
    let mut accepted = 0;
    for case in ["affirmed", "simulated", "forged"] {
        let status = String::from_utf8(read(&format!("{case}.status"))).expect("text");
        let jwt = String::from_utf8(read(&format!("{case}.jwt"))).expect("text");
        let from_jwt = Ear::from_jwt_jwk(&jwt, Algorithm::EdDSA, &jwk).expect(case);
        let cwt = read(&format!("{case}.cwt"));
        let from_cwt = Ear::from_cose_jwk(&cwt, Algorithm::EdDSA, &jwk).expect(case);
        for (form, ear) in [("jwt", from_jwt), ("cwt", from_cwt)] {
            ear.validate().expect(case);
            assert_eq!(ear.profile, "tag:ietf.org,2026:rats/ear#04");
            let appraisal = &ear.submods["cpu0"];
            assert_eq!(appraisal.status.as_str(), status, "{case}.{form}");
            let mut implied = ear::TrustTier::None;
            for claim in appraisal.trust_vector {
                implied = implied.max(claim.tier());
            }
            assert!(appraisal.status >= implied, "{case}.{form}: better than its vector");
            assert!(!appraisal.verifier_claims.is_empty() && !appraisal.policy_ids.is_empty());
            accepted += 1;
        }
        // One bit of the payload, and nobody accepts it.
        let (head, tail) = jwt.split_at(jwt.len() / 2);
        let other = if tail.starts_with('A') { "B" } else { "A" };
        let altered = format!("{head}{other}{}", &tail[1..]);
        assert!(Ear::from_jwt_jwk(&altered, Algorithm::EdDSA, &jwk).is_err(), "{case}: altered");
    }
    println!("ear 0.6.0 (draft-ietf-rats-ear-04): {accepted} tokens accepted");
}
