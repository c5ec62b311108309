//! Real NVIDIA evidence, changed: nothing is accepted with other claims, and nothing panics.
//!
//! What no signature covers, and may change without a different verdict:
//! * zeros behind a report's signature, within its length limit;
//! * in a JSON document: white space, the order and names of members that nobody reads, base64 or
//!   hex, the labels and line ends of PEM; what is stated beside a report may be missing but not
//!   different;
//! * in a manifest: what C14N 1.1 levels out (white space inside tags, attribute order, quotes,
//!   character references, comments, empty-element tags, an XML declaration), and white space in
//!   the base64 of `SignatureValue` and `X509Certificate`;
//! * in an OCSP answer: certificates that are not the responder's;
//! * s of an ECDSA signature may be n - s: another signature by the same key over the same bytes.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::endorsement::ocsp::OcspAnswer;
use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult};
use bulla_attestation::tee::nvidia::appraise_raw;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// 2025-08-21T12:00:00Z, when manifests and answers about the device are valid.
const NOW: UnixSeconds = UnixSeconds(1_755_777_600);

const H100: &str = "nvidia/hopper-550.90.07/";

fn judge(evidence: &[u8], endorsements: &[&[u8]]) -> AttestationResult {
    let policy = include_str!("../../policies/appraisal/authentic.toml");
    appraise_raw(
        evidence,
        &Endorsements::sort(endorsements.iter().copied()),
        &TrustAnchors::vendors(),
        &Policy::from_toml(policy).unwrap(),
        &Expectations::default(),
        NOW,
    )
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound.max(1)
}

/// Flips a bit, cuts, repeats, drops, swaps, or writes a length anew.
fn change(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = below(rng, bytes.len());
    match rng.next_u32() % 12 {
        0 => changed.truncate(at),
        1 => changed.insert(at, b' '),
        2 => {
            changed.remove(at);
        }
        3 => changed.push(0),
        4 => {
            let other = below(rng, bytes.len());
            let length = 1 + below(rng, 64);
            for offset in 0..length {
                let (here, there) = (at + offset, other + offset);
                if here < changed.len() && there < changed.len() {
                    changed.swap(here, there);
                }
            }
        }
        5 => changed[at] = rng.next_u32() as u8,
        6 => {
            let piece = changed[at..(at + 40).min(bytes.len())].to_vec();
            changed.splice(at..at, piece);
        }
        _ => changed[at] ^= 1 << (rng.next_u32() % 8),
    }
    changed
}

#[test]
fn no_changed_report_chain_or_document_is_accepted_with_other_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let report = folder.read(&format!("{H100}report.bin"));
    let chain = folder.read(&format!("{H100}chain.pem"));
    let document = folder.read("nvidia/evidence-json/evidence_hopper_590_12.json");
    let genuine = judge(&report, &[&chain]);
    let of_document = judge(&document, &[]);
    assert!(genuine.is_affirmed() && of_document.is_affirmed());
    let (mut refused, mut same) = (0, 0);
    for round in 0..900 {
        let (result, genuine) = match round % 3 {
            0 => (judge(&change(&report, &mut rng), &[&chain]), &genuine),
            1 => (judge(&report, &[&change(&chain, &mut rng)]), &genuine),
            _ => (judge(&change(&document, &mut rng), &[]), &of_document),
        };
        if result.is_affirmed() {
            assert_eq!(result.claims(), genuine.claims(), "round {round}\n{result}");
            same += 1;
        } else {
            refused += 1;
        }
    }
    println!("changed NVIDIA evidence: {refused} refused, {same} accepted with the same claims");
    assert!(refused > 600);
}

#[test]
fn a_changed_manifest_is_signed_only_if_it_says_the_same() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (mut unread, mut altered, mut same) = (0, 0, 0);
    for name in ["NV_GPU_DRIVER_GH100_550.90.07", "NV_GPU_VBIOS_1010_0200_882_96009F0001"] {
        let xml = folder.read(&format!("{H100}rim/{name}.xml"));
        let genuine = Rim::read(&xml).unwrap();
        assert!(genuine.is_signed());
        for round in 0..600 {
            match Rim::read(&change(&xml, &mut rng)) {
                Err(_) => unread += 1,
                Ok(rim) if rim.is_signed() => {
                    let says = |rim: &Rim| {
                        let names = (rim.product.clone(), rim.version.clone());
                        (names, rim.edition.clone(), rim.rows.clone())
                    };
                    assert_eq!(says(&rim), says(&genuine), "{name}: round {round}");
                    same += 1;
                }
                Ok(_) => altered += 1,
            }
        }
    }
    println!("changed manifests: {unread} unreadable, {altered} altered, {same} saying the same");
    assert!(unread + altered > 800 && same > 0);
}

#[test]
fn a_changed_answer_is_signed_only_if_it_says_the_same() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let chain = folder.endorsements([format!("{H100}chain.pem").as_str()]).certificates;
    let (mut unread, mut unsigned, mut same) = (0, 0, 0);
    for (level, issuer) in [("l2", "NVIDIA Device Identity CA"), ("l3", "NVIDIA GH100 Identity")] {
        let der = folder.read(&format!("{H100}ocsp/gpu_certificate_{level}.der"));
        let issuer = chain.iter().find(|one| one.subject.common_name == issuer).unwrap();
        let genuine = OcspAnswer::from_der(&der).unwrap();
        assert!(genuine.signer(issuer).is_some());
        for round in 0..300 {
            match OcspAnswer::from_der(&change(&der, &mut rng)) {
                None => unread += 1,
                Some(answer) if answer.signer(issuer).is_some() => {
                    assert_eq!(answer.entries, genuine.entries, "{level}: round {round}");
                    same += 1;
                }
                Some(_) => unsigned += 1,
            }
        }
    }
    println!("changed answers: {unread} unreadable, {unsigned} unsigned, {same} saying the same");
    assert!(unread + unsigned > 500);
}

/// The whole appraisal, with a manifest or an answer changed: what they settle is settled as before,
/// or not at all, or the evidence is refused.
#[test]
fn changed_endorsements_settle_nothing_else() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let names = [
        "chain.pem",
        "rim/NV_GPU_DRIVER_GH100_550.90.07.xml",
        "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml",
        "ocsp/gpu_certificate_l2.der",
        "ocsp/gpu_certificate_l3.der",
        "ocsp/gpu_certificate_l4.der",
    ];
    let report = folder.read(&format!("{H100}report.bin"));
    let files = names.map(|name| folder.read(&format!("{H100}{name}")));
    let genuine = judge(&report, &files.each_ref().map(Vec::as_slice));
    let settled = [CheckName::DeviceMeasurements, CheckName::Revocation];
    for name in settled {
        assert_eq!(genuine.check(name).unwrap().result, CheckResult::Pass);
    }
    let (mut refused, mut open, mut same) = (0, 0, 0);
    for round in 0..120 {
        let mut changed = files.clone();
        let which = 1 + below(&mut rng, files.len() - 1);
        changed[which] = change(&files[which], &mut rng);
        let result = judge(&report, &changed.each_ref().map(Vec::as_slice));
        if !result.is_affirmed() {
            refused += 1;
            continue;
        }
        assert_eq!(result.claims(), genuine.claims(), "{}: round {round}", names[which]);
        let checks =
            settled.map(|name| (result.check(name).unwrap(), genuine.check(name).unwrap()));
        for (own, genuine) in checks {
            let is_open = own.result == CheckResult::Unknown;
            assert!(is_open || own == genuine, "{}: round {round}\n{result}", names[which]);
        }
        let is_open = checks.iter().any(|(own, _)| own.result == CheckResult::Unknown);
        if is_open { open += 1 } else { same += 1 }
    }
    println!("changed endorsements: {refused} refused, {open} left open, {same} settled the same");
    assert!(refused > 25 && open > 0);
}

/// What a reader of XML levels out changes neither digest nor rows.
#[test]
fn white_space_and_spelling_in_a_manifest_change_nothing() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let xml = folder.read(&format!("{H100}rim/NV_GPU_DRIVER_GH100_550.90.07.xml"));
    let xml = String::from_utf8(xml).unwrap();
    let genuine = Rim::read(xml.as_bytes()).unwrap();
    let spellings: [(&str, &str); 9] = [
        (" edition=\"GPU\"", "\n   edition = 'GPU'"),
        (
            "name=\"Measurement_0\" size=\"48\"/>",
            "size=\"48\" name=\"Measurement_0\"></ns0:Resource >",
        ),
        ("name=\"Measurement_0\"", "name=\"Me&#97;surement_0\""),
        ("<ns0:Payload", "<!-- a remark --><ns0:Payload"),
        ("<SoftwareIdentity", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SoftwareIdentity"),
        ("<ds:SignatureValue>", "<ds:SignatureValue>\n  \t"),
        ("<ds:X509Certificate>", "<ds:X509Certificate> "),
        ("</ds:X509Data>", "\n</ds:X509Data>"),
        ("</SoftwareIdentity>", "</SoftwareIdentity>\n\n"),
    ];
    for (from, to) in spellings {
        assert!(xml.contains(from), "{from}");
        let rim = Rim::read(xml.replacen(from, to, 1).as_bytes()).unwrap();
        assert!(rim.is_signed() && rim.rows == genuine.rows, "{to}");
    }
    let changes: [(&str, &str); 6] = [
        ("<ns0:Payload", " <ns0:Payload"),
        ("name=\"Measurement_0\"", "name=\"Measurement_0 \""),
        ("<ds:SignedInfo>", "<ds:SignedInfo> "),
        ("xmlns:ns2=", "xmlns:other=\"urn:other\" xmlns:ns2="),
        ("</SoftwareIdentity>", "</SoftwareIdentity><?remark?>"),
        ("index=\"0\" active=\"False\"", "index=\"0\" active=\"True\""),
    ];
    for (from, to) in changes {
        assert!(xml.contains(from), "{from}");
        let rim = Rim::read(xml.replacen(from, to, 1).as_bytes());
        assert!(!rim.is_ok_and(|rim| rim.is_signed()), "{to}");
    }
}
