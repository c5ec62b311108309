//! EARs of whole appraisals, and tokens for other implementations to read.
//!
//! With `BULLA_EAR_OUT` set to a folder, the tokens are written there for `tests/ear/check`.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]
#![allow(clippy::disallowed_methods, reason = "writes examples where it is told to")]

mod simulated;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::ear::{Dialect, Ear, Tier, TrustVector, VerifierId};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::sign::SigningKey;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use simulated::{NONCE, NOW, World};

fn key() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

fn ear(result: &AttestationResult) -> Ear<'_> {
    let verifier =
        VerifierId { developer: "https://example.org".to_owned(), build: "bulla test".to_owned() };
    Ear::new(result, verifier, NOW).unwrap().answering(&NONCE).unwrap()
}

/// A world whose root is named as hardware, so that its verdicts read like a vendor's.
fn as_hardware() -> World {
    let mut world = World::new();
    let root = TrustAnchor::hardware("test root", world.authority.ark_certificate()).unwrap();
    world.anchors = TrustAnchors::none().with(root);
    world
}

fn vector(result: &AttestationResult) -> [i8; 5] {
    let v = TrustVector::of(result);
    [v.instance_identity, v.configuration, v.executables, v.hardware, v.runtime_opaque]
}

#[test]
fn a_pinned_machine_with_a_known_workload_is_affirmed_in_every_aspect_looked_at() {
    let result = as_hardware().judge();
    assert!(result.is_affirmed(), "{result}");
    assert_eq!(vector(&result), [2, 2, 3, 2, 2]);
    assert_eq!(ear(&result).status(), Tier::Affirming);
    assert!(!result.into_keys().unwrap().is_simulated());
}

#[test]
fn a_simulated_tee_is_contraindicated_even_where_a_policy_affirms_it() {
    let result = World::new().judge();
    assert!(result.is_affirmed() && result.is_simulated());
    assert_eq!(vector(&result), [0, 2, 3, 97, 96]);
    assert_eq!(ear(&result).status(), Tier::Contraindicated);
}

#[test]
fn a_forged_report_fails_in_every_aspect() {
    let mut world = as_hardware();
    world.on_report = |report| report[0x0e0] ^= 1;
    let result = world.judge();
    assert_eq!(vector(&result), [99; 5]);
    assert_eq!(ear(&result).status(), Tier::Contraindicated);
}

#[test]
fn tokens_carry_claims_and_checks_and_can_be_read_by_others() {
    let mut forged = as_hardware();
    forged.on_report = |report| report[0x0e0] ^= 1;
    let cases = [
        ("affirmed", as_hardware().judge()),
        ("simulated", World::new().judge()),
        ("forged", forged.judge()),
    ];
    let public = BASE64URL_NOPAD.encode(&key().public().0);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": public });
    let mut files = vec![("key.jwk".to_owned(), jwk.to_string().into_bytes())];
    for (name, result) in &cases {
        let ear = ear(result);
        let claims = ear.to_json(Dialect::Draft04).unwrap();
        let appraisal = &claims["submods"]["cpu0"];
        let checks = appraisal["ear_verifier_claims"]["checks"].as_array().unwrap();
        assert_eq!(checks.len(), result.checks().len());
        let measurement = &appraisal["ear_attester_claims"]["snp"]["measurement"];
        assert_eq!(measurement.as_str().unwrap().len(), 96);
        files.push((format!("{name}.status"), ear.status().as_str().as_bytes().to_vec()));
        files.push((format!("{name}.jwt"), ear.jwt(Dialect::Draft04, &key()).unwrap().into()));
        let of_2023 = ear.jwt(Dialect::Veraison2023, &key()).unwrap();
        files.push((format!("{name}-2023.jwt"), of_2023.into()));
        files.push((format!("{name}.cwt"), ear.cwt(&key()).unwrap()));
    }
    if let Some(folder) = std::env::var_os("BULLA_EAR_OUT") {
        for (name, bytes) in &files {
            std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
        }
        println!("{} files for other implementations", files.len());
    }
}
