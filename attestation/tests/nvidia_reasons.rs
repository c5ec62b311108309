//! Extensions of device certificates that are read and those that are not, and what verdicts about
//! NVIDIA devices say for whoever has to mend something.

mod simulated_nvidia;

use bulla_attestation::result::AttestationResult;
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::CheckResult::{self, Fail, Pass, Unknown};
use simulated_nvidia::*;

type Change = fn(&mut World);

fn judged(change: Change) -> AttestationResult {
    let mut world = World::new();
    change(&mut world);
    world.judge()
}

/// A critical extension; its content does not matter here.
fn critical(oid: &str) -> Extension {
    // Made for clients of TLS, where it is an extended key usage.
    let value = vec![0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
    Extension { oid: oid.to_owned(), critical: true, value }
}

const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
/// Of the arc of DICE, which nobody asks for here.
const DICE: &str = "2.23.133.5.4.9";

#[test]
fn a_leaf_may_say_what_it_is_for_and_what_it_measured_and_nothing_else_that_is_critical() {
    let rows: [(CheckResult, Change); 5] = [
        (Pass, |w| w.certificates.leaf.extensions.push(critical(DICE))),
        (Pass, |w| w.certificates.leaf.extensions.push(critical(EXTENDED_KEY_USAGE))),
        (Fail, |w| w.certificates.leaf.extensions.push(critical("1.2.3.4"))),
        (Pass, |w| w.certificates.provisioner.extensions.push(critical(DICE))),
        (Fail, |w| w.certificates.provisioner.extensions.push(critical(EXTENDED_KEY_USAGE))),
    ];
    for (row, (expected, change)) in rows.into_iter().enumerate() {
        let result = judged(change);
        let check = result.check(CertificateConstraints).unwrap();
        assert_eq!(check.result, expected, "row {row}\n{result}");
    }
}

#[test]
fn a_verdict_says_what_is_wrong_and_with_what() {
    let rows: [(CheckName, CheckResult, &str, Change); 6] = [
        (CertificateDates, Fail, "to 2026-11-19T23:59:59Z", |w| {
            w.certificates.leaf.not_after = now() - 1;
        }),
        (IntermediateSignature, Unknown, "no certificate of ", |w| {
            w.on_chain = |chain| chain.truncate(2);
        }),
        (RevocationKnown, Fail, "no authority between leaf and root", |w| {
            w.on_document = |document| *document = chainless(document);
        }),
        (ManifestSignature, Fail, "altered: not the digest that is signed", |w| {
            w.on_manifests = |m| m[0] = m[0].replacen(&"0".repeat(96), &"1".repeat(96), 1);
        }),
        (ManifestSignature, Fail, "signature does not verify", |w| {
            w.manifest_signer = w.keys.rim_authority.clone();
        }),
        (ManifestSignature, Fail, "no certificate of its signer", |w| {
            w.on_manifests = |m| {
                let (before, rest) = m[0].split_once("<ds:X509Certificate>").expect("it has one");
                let (_, after) = rest.rsplit_once("</ds:X509Certificate>").expect("it has one");
                m[0] = format!("{before}<ds:X509Certificate>MAA=</ds:X509Certificate>{after}");
            };
        }),
    ];
    for (name, expected, words, change) in rows {
        let result = judged(change);
        let check = result.check(name).unwrap();
        assert!(check.result == expected && check.got.contains(words), "{words}\n{result}");
    }
}

/// The document without certificates beside its reports.
fn chainless(document: &serde_json::Value) -> serde_json::Value {
    let mut bare = document.clone();
    let devices = bare.as_array_mut().expect("a list of devices");
    devices.iter_mut().for_each(|device| device["certificate"] = "".into());
    bare
}

#[test]
fn versions_are_shown_as_they_were_judged() {
    let result = judged(|_| ());
    let claims = serde_json::to_value(result.claims().unwrap()).unwrap();
    for (name, claim) in [(MinimumDriver, "driver"), (MinimumVbios, "vbios")] {
        let got = &result.check(name).unwrap().got;
        assert_eq!(Some(got.as_str()), claims[claim].as_str(), "{name}");
        assert!(!got.is_empty(), "{name}");
    }
}
