//! Reads our tokens with the crate `ear` at the last release that speaks the dialect of 2023.

use ear::{Algorithm, Ear};

fn main() {
    let folder = std::env::args().nth(1).expect("a folder of tokens");
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).expect(name);
    let jwk = read("key.jwk");
    let mut accepted = 0;
    for case in ["affirmed", "simulated", "forged"] {
        let status = String::from_utf8(read(&format!("{case}.status"))).expect("text");
        let jwt = String::from_utf8(read(&format!("{case}-2023.jwt"))).expect("text");
        let ear = Ear::from_jwt_jwk(&jwt, Algorithm::EdDSA, &jwk).expect(case);
        ear.validate().expect(case);
        assert_eq!(ear.profile, "tag:github.com,2023:veraison/ear");
        let appraisal = &ear.submods["cpu0"];
        assert_eq!(appraisal.status.as_str(), status, "{case}");
        accepted += 1;
    }
    println!("ear 0.5.0 (tag:github.com,2023:veraison/ear): {accepted} tokens accepted");
}
