use serde_json::json;

use super::*;
use crate::policy::Policy;
use crate::result::{Check, CheckName};
use crate::sign::SigningKey;
use crate::tee::TeeKind;

const AUTHENTIC: &str = include_str!("../../../policies/appraisal/authentic.toml");
const AT: UnixSeconds = UnixSeconds(1_795_132_800);

fn policy() -> Policy {
    Policy::from_toml(AUTHENTIC).unwrap()
}

fn result(checks: Vec<Check>) -> AttestationResult {
    AttestationResult::new(TeeKind::Snp, &policy(), AT, checks)
}

fn verifier() -> VerifierId {
    VerifierId { developer: "https://example.org".to_owned(), build: "bulla 0.1.0".to_owned() }
}

fn passing() -> AttestationResult {
    result(vec![Check::judge(CheckName::ReportSignature, true, "a signature", "verifies")])
}

fn key() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

fn policy_id() -> String {
    format!("bulla:policy:authentic:sha256:{}", policy().digest())
}

#[test]
fn json_has_the_claims_of_the_draft() {
    let result = passing();
    let ear = Ear::new(&result, verifier(), AT).unwrap().answering(&[1; 32]).unwrap();
    let got = ear.expiring(UnixSeconds(AT.0 + 60)).to_json(Dialect::Draft04).unwrap();
    let expected = json!({
        "eat_profile": "tag:ietf.org,2026:rats/ear#04",
        "iat": 1_795_132_800u64,
        "exp": 1_795_132_860u64,
        "eat_nonce": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "ear_verifier_id": { "build": "bulla 0.1.0", "developer": "https://example.org" },
        "submods": { "cpu0": {
            "ear_status": "affirming",
            "ear_trustworthiness_vector": { "hardware": 2, "runtime-opaque": 2 },
            "ear_appraisal_policy_ids": [policy_id()],
            "ear_verifier_claims": {
                "verdict": "affirmed", "tee": "snp", "product": null, "simulated": false,
                "policy": { "name": "authentic", "digest": policy().digest().to_string() },
                "appraised_at": 1_795_132_800u64,
                "checks": [{
                    "name": "report_signature", "result": "pass", "about": "evidence",
                    "expected": "a signature", "got": "verifies",
                }],
            },
        } },
    });
    assert_eq!(got, expected);
}

#[test]
fn the_dialect_of_2023_has_its_own_names() {
    let result = passing();
    let got = Ear::new(&result, verifier(), AT).unwrap().to_json(Dialect::Veraison2023).unwrap();
    assert_eq!(got["eat_profile"], "tag:github.com,2023:veraison/ear");
    assert_eq!(got["ear.verifier-id"]["build"], "bulla 0.1.0");
    let appraisal = &got["submods"]["cpu0"];
    assert_eq!(appraisal["ear.status"], "affirming");
    assert_eq!(appraisal["ear.trustworthiness-vector"]["hardware"], 2);
    assert_eq!(appraisal["ear.appraisal-policy-id"], policy_id());
    assert_eq!(appraisal["ear.veraison.policy-claims"]["verdict"], "affirmed");
}

#[test]
fn devices_are_a_submodule_of_their_own() {
    let check = Check::judge(CheckName::ReportSignature, true, "a signature", "verifies");
    let result = AttestationResult::new(TeeKind::Nvidia, &policy(), AT, vec![check]);
    let got = Ear::new(&result, verifier(), AT).unwrap().to_json(Dialect::Draft04).unwrap();
    assert_eq!(got["submods"]["gpu0"]["ear_status"], "affirming");
    assert_eq!(got["submods"].as_object().unwrap().len(), 1);
}

/// The start and the end of the claims set, written out by hand.
#[test]
fn cbor_has_the_keys_of_the_draft_in_order() {
    let result = passing();
    let bytes = Ear::new(&result, verifier(), AT).unwrap().to_cbor().unwrap();
    let mut start = vec![0xa4, 0x06, 0x1a];
    start.extend(1_795_132_800u32.to_be_bytes());
    // 265: the profile
    start.extend([0x19, 0x01, 0x09, 0x78, 29]);
    start.extend(PROFILE.as_bytes());
    // 266: {"cpu0": {1000: 2, 1001: {4: 2, 5: 2}, 1003: [ …
    start.extend([0x19, 0x01, 0x0a, 0xa1, 0x64]);
    start.extend(b"cpu0");
    start.extend([0xa4, 0x19, 0x03, 0xe8, 0x02, 0x19, 0x03, 0xe9, 0xa2, 4, 2, 5, 2]);
    start.extend([0x19, 0x03, 0xeb, 0x81]);
    assert_eq!(bytes[..start.len()], start);
    // 1004: {0: developer, 1: build}
    let mut end = vec![0x19, 0x03, 0xec, 0xa2, 0x00, 0x73];
    end.extend(b"https://example.org");
    end.extend([0x01, 0x6b]);
    end.extend(b"bulla 0.1.0");
    assert_eq!(bytes[bytes.len() - end.len()..], end);
}

#[test]
fn cbor_counts_the_claims_that_are_there() {
    let result = passing();
    let ear = || Ear::new(&result, verifier(), AT).unwrap();
    let answer = || ear().answering(&[1; 32]).unwrap();
    let later = UnixSeconds(AT.0 + 60);
    let rows =
        [(ear(), 4), (ear().expiring(later), 5), (answer(), 5), (answer().expiring(later), 6)];
    for (ear, claims) in rows {
        let bytes = ear.to_cbor().unwrap();
        let mut decoder = minicbor::Decoder::new(&bytes);
        assert_eq!(decoder.map().unwrap(), Some(claims));
        (0..2 * claims).for_each(|_| decoder.skip().unwrap());
        assert_eq!(decoder.position(), bytes.len());
    }
}

#[test]
fn tokens_verify_under_their_key() {
    use ring::signature::{ED25519, UnparsedPublicKey};
    let result = passing();
    let ear = Ear::new(&result, verifier(), AT).unwrap();
    let public = UnparsedPublicKey::new(&ED25519, key().public().0);
    let jwt = ear.jwt(Dialect::Draft04, &key()).unwrap();
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    assert!(public.verify(signed.as_bytes(), &signature).is_ok());
    let cwt = ear.cwt(&key()).unwrap();
    // 18([<< {1: -8, 4: h'the first eight bytes of the key'} >>, {}, << claims >>, signature])
    let mut protected = vec![0xa2, 0x01, 0x27, 0x04, 0x48];
    protected.extend(&key().public().0[..8]);
    assert_eq!(cwt[..3], [0xd2, 0x84, 0x4d]);
    assert_eq!(cwt[3..16], protected);
    let claims = ear.to_cbor().unwrap();
    let signed = bulla_wire::cose::to_be_signed(&protected, &claims);
    assert!(public.verify(&signed, &cwt[cwt.len() - 64..]).is_ok());
    assert!(cwt.windows(claims.len()).any(|window| window == claims));
    assert_eq!(ear.jwt(Dialect::Draft04, &key()).unwrap(), jwt, "the same every time");
}

#[test]
fn refuses_nonces_and_names_the_standard_does_not_know() {
    let result = passing();
    let nameless = VerifierId { developer: String::new(), ..verifier() };
    assert_eq!(Ear::new(&result, nameless, AT).unwrap_err(), EarError::Verifier);
    for got_bytes in [0, 7, 65] {
        let ear = Ear::new(&result, verifier(), AT).unwrap();
        let refused = ear.answering(&vec![0; got_bytes]).unwrap_err();
        assert_eq!(refused, EarError::Nonce { got_bytes });
    }
}

/// One failed check of each kind, and what becomes of the vector. The overall status of a refusal
/// is never better than contraindicated.
#[test]
fn the_table_of_aspects() {
    let rows = [
        (CheckName::ReportSignature, [99, 99, 99, 99, 99]),
        (CheckName::CertificateDates, [99, 99, 99, 99, 99]),
        (CheckName::GuestDebug, [0, 0, 0, 2, 96]),
        (CheckName::Revocation, [96, 0, 0, 2, 2]),
        (CheckName::ChipIdPinned, [97, 0, 0, 2, 2]),
        (CheckName::ReportData, [96, 0, 0, 2, 2]),
        (CheckName::Measurement, [0, 0, 33, 2, 2]),
        (CheckName::ReferenceValues, [0, 0, 33, 2, 2]),
        (CheckName::MinimumReportedTcb, [0, 0, 0, 32, 2]),
        (CheckName::TcbInCertificate, [99, 99, 99, 99, 99]),
        (CheckName::QeReportSignature, [99, 99, 99, 99, 99]),
        (CheckName::TcbStatus, [0, 0, 0, 32, 2]),
        (CheckName::TcbLevel, [0, 0, 0, 96, 2]),
        (CheckName::DeviceMeasurements, [0, 0, 0, 96, 2]),
        (CheckName::Rtmr2, [0, 0, 33, 2, 2]),
        (CheckName::ProductBanned, [0, 0, 0, 96, 2]),
        (CheckName::Vmpl, [0, 96, 0, 2, 2]),
        (CheckName::Rego, [0, 96, 0, 2, 2]),
    ];
    for (name, expected) in rows {
        let result = result(vec![Check::judge(name, false, "", "")]);
        let v = TrustVector::of(&result);
        let got =
            [v.instance_identity, v.configuration, v.executables, v.hardware, v.runtime_opaque];
        assert_eq!(got, expected, "{name}");
        let ear = Ear::new(&result, verifier(), AT).unwrap();
        assert_eq!(ear.status(), Tier::Contraindicated, "{name}");
    }
}
