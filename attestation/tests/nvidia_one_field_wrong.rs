//! The table check → test for NVIDIA: for each check, evidence in which one thing is wrong, so that
//! this check and no other refuses it. Delete a check and its row is affirmed: the test fails.

mod simulated_nvidia;

use std::collections::BTreeSet;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::CheckResult;
use simulated_nvidia::*;

/// What is wrong, how to make it so, and the checks that have to say so: nearly always one.
type Row = (&'static [CheckName], &'static str, fn(&mut World));

const TABLE: &[Row] = &[
    (&[TeeType], "a TEE the policy does not list", |w| {
        w.change_policy("tees = [\"nvidia\"]", "tees = []");
    }),
    (&[ReportFormat], "a truncated report", |w| w.on_report = |r| r.truncate(900)),
    (&[ReportFormat], "a byte behind the signature", |w| w.on_report = |r| r.push(1)),
    (&[ReportFormat], "another SPDM version", |w| w.report.version = 0x12),
    (&[ReportFormat], "no device in the document", |w| {
        w.on_document = |d| *d = serde_json::json!({"nonce": "00"});
    }),
    (&[ReportSignature], "an altered nonce of the device", |w| {
        w.on_report = |r| {
            let at = r.windows(32).position(|window| window == [0x22; 32]).unwrap();
            r[at] ^= 1;
        };
    }),
    (&[ReportSignature], "an altered signature", |w| {
        w.on_report = |r| {
            let last = r.len() - 1;
            r[last] ^= 1;
        };
    }),
    (&[LeafSignature], "an altered leaf", |w| w.on_chain = |c| alter(&mut c[0])),
    (&[LeafSignature], "a leaf signed by another chip", |w| {
        w.on_chain = |c| {
            let world = World::new();
            c[0] = world.keys.switch_chip.certify(&world.certificates.leaf);
        };
    }),
    (&[IntermediateSignature], "an altered authority", |w| w.on_chain = |c| alter(&mut c[2])),
    (&[IntermediateSignature], "an authority signed by another root", |w| {
        w.on_chain = |c| {
            let world = World::new();
            c[3] = world.keys.rim_root.certify(&world.certificates.identity);
        };
    }),
    (&[RootPinned], "a root nobody named", |w| {
        w.anchors = TrustAnchors::vendors().with(
            bulla_attestation::anchor::TrustAnchor::simulated(
                "manifests only",
                &root_certificate(&w.keys.rim_root),
            )
            .unwrap(),
        );
    }),
    (&[RootPinned], "a second root under the pinned one's name", |w| {
        w.on_chain = |c| alter(&mut c[4]);
    }),
    (&[CertificateDates], "an expired leaf", |w| {
        w.certificates.leaf.not_after = now() - 1;
    }),
    (&[CertificateDates], "a leaf from tomorrow", |w| {
        w.certificates.leaf.not_before = now() + 1;
    }),
    (&[CertificateDates], "an expired authority", |w| {
        w.certificates.identity.not_after = now() - 1;
    }),
    (&[CertificateConstraints], "a leaf that may not sign data", |w| {
        // keyCertSign alone.
        w.certificates.leaf.extensions[0].value = vec![0x03, 0x02, 0x02, 0x04];
    }),
    (&[CertificateConstraints], "a leaf made for OCSP answers", |w| {
        let extended = responder_extensions().pop().unwrap();
        w.certificates.leaf.extensions.push(extended);
    }),
    (&[CertificateConstraints], "a critical extension nobody knows", |w| {
        let value = vec![5, 0];
        let unknown = Extension { oid: "1.2.3.4".to_owned(), critical: true, value };
        w.certificates.provisioner.extensions.push(unknown);
    }),
    (&[CertificateConstraints], "an authority that is none", |w| {
        w.certificates.chip.extensions = leaf_extensions();
    }),
    (&[CertificateConstraints], "an authority that may not sign certificates", |w| {
        w.certificates.chip.extensions[1].value = vec![0x03, 0x02, 0x07, 0x80];
    }),
    (&[CertificateConstraints], "more authorities than one above allows", |w| {
        // CA with path length 1, and two below it.
        w.certificates.identity.extensions[0].value = vec![0x30, 6, 1, 1, 0xff, 2, 1, 1];
    }),
    (&[CrlSignature], "a forged list beside a good one", |w| {
        let mut forged = w.crls[0].clone();
        alter(&mut forged);
        w.crls.push(forged);
    }),
    (&[OcspSignature], "a forged answer beside a good one", |w| {
        let (issuer, template) = w.answers[0].clone();
        let mut forged = w.answer(issuer, &template);
        alter(&mut forged);
        w.more_endorsements.push(forged);
    }),
    (&[OcspSignature], "an answer by somebody else, beside a good one", |w| {
        let template = AnswerTemplate::good(serial::IDENTITY, today());
        let keys = &w.keys;
        w.more_endorsements.push(template.sign(&keys.device_root, &keys.rim_root, None));
    }),
    (&[OcspSignature, RevocationKnown], "a responder that was not made for answers", |w| {
        w.certificates.responder.extensions = leaf_extensions();
    }),
    (&[OcspSignature, RevocationKnown], "a responder another authority appointed", |w| {
        w.certificates.responder.issuer = w.keys.identity.name.clone();
    }),
    (&[OcspSignature], "a forged answer about a manifest's signer", |w| {
        let (issuer, template) = w.answers[4].clone();
        let mut forged = w.answer(issuer, &template);
        alter(&mut forged);
        w.more_endorsements.push(forged);
    }),
    (&[Revocation], "a revoked chip", |w| w.answers[2].1.status = Status::Revoked(1)),
    (&[Revocation], "a chip on hold", |w| w.answers[2].1.status = Status::Revoked(6)),
    (&[Revocation], "revoked by one of two answers", |w| {
        let mut revoked = w.answers[1].clone();
        revoked.1.status = Status::Revoked(4);
        w.answers.insert(0, revoked);
    }),
    (&[Revocation], "revoked by a list, good by an answer", |w| {
        w.crls = vec![w.keys.identity.revocation_list(&[serial::PROVISIONER], today())];
    }),
    (&[ProductLine], "a GPU's report under a switch's certificate", |w| {
        let name = Name("LS_10 A01 FSP FMC LF".to_owned());
        w.certificates.leaf.subject = name;
        w.on_document = |d| d[0]["arch"] = "LS10".into();
        unasked(w);
    }),
    (&[FirmwareIdentity], "a leaf made for other firmware", |w| {
        let other = firmware_identity(&w.keys.leaf, &[0x12; 48]);
        w.certificates.leaf.extensions[1] = other;
    }),
    (&[FirmwareIdentity], "a leaf that names no firmware", |w| {
        w.certificates.leaf.extensions.pop();
    }),
    (&[ManifestFormat], "a row that is neither active nor inactive", |w| {
        // Not one of those compared: the rest of the rows then do not read either.
        w.driver_manifest.rows[0].active = "true";
        w.change_policy("manifests = \"required\"", "manifests = \"not_required\"");
    }),
    (&[ManifestFormat], "a measurement in both manifests", |w| {
        let row = w.driver_manifest.rows[2].clone();
        w.vbios_manifest.rows[2] = row;
    }),
    (&[ManifestSignature], "an altered row that is not active", |w| {
        w.on_manifests = |m| m[0] = m[0].replacen(&"0".repeat(96), &"1".repeat(96), 1);
    }),
    (&[ManifestSignature], "a manifest signed by somebody else", |w| {
        w.manifest_signer = w.keys.rim_authority.clone();
    }),
    // What is not read as a signature yields no certificates either.
    (&[ManifestSignature, ManifestCertificates], "another canonicalisation", |w| {
        w.on_manifests = |m| m[1] = m[1].replace("xml-c14n11", "xml-exc-c14n#");
    }),
    (&[ManifestCertificates], "a signer under a root nobody named for manifests", |w| {
        let devices = root_certificate(&w.keys.device_root);
        let devices =
            bulla_attestation::anchor::TrustAnchor::simulated("devices only", &devices).unwrap();
        w.anchors = TrustAnchors::vendors().with(devices);
    }),
    (&[ManifestCertificates], "a signer that another key certified", |w| {
        w.on_manifests = |m| {
            let world = World::new();
            let forged = world.keys.rim_root.certify(&world.certificates.rim_signer);
            let good = world.keys.rim_authority.certify(&world.certificates.rim_signer);
            let encode = |der: &[u8]| data_encoding::BASE64.encode(der);
            for manifest in m {
                *manifest = manifest.replacen(&encode(&good), &encode(&forged), 1);
            }
        };
    }),
    (&[ManifestCertificates], "a signer that is an authority", |w| {
        w.certificates.rim_signer.extensions = authority_extensions();
    }),
    (&[ManifestDates], "an expired signer", |w| {
        w.certificates.rim_signer.not_after = now() - 1;
    }),
    (&[ManifestRevocation], "a revoked signer", |w| w.answers[4].1.status = Status::Revoked(1)),
    (&[ManifestRevocation], "a signer on hold", |w| w.answers[4].1.status = Status::Revoked(6)),
    (&[DeviceMeasurements], "a measurement of other firmware", |w| {
        w.report.measurements.insert(3, vec![9; 48]);
    }),
    (&[DeviceMeasurements], "a measurement that is missing", |w| {
        w.report.measurements.remove(&63);
    }),
    (&[DeviceMeasurements], "another VBIOS measurement", |w| {
        w.report.measurements.insert(1, vec![9; 48]);
    }),
    (&[SimulatedRoot], "a policy that wants hardware", |w| {
        w.change_policy("allow_simulated = true", "allow_simulated = false");
    }),
    (&[RevocationKnown], "no answer about the chip", |w| {
        w.answers.remove(2);
    }),
    (&[RevocationKnown], "an answer of yesterday", |w| {
        w.answers[2].1.window = Validity { not_before: now() - DAY, not_after: now() - 1 };
    }),
    (&[RevocationKnown], "a list of yesterday and no answer", |w| {
        let yesterday = Validity { not_before: now() - DAY, not_after: now() - 1 };
        w.crls = vec![w.keys.identity.revocation_list(&[], yesterday)];
        w.answers.remove(1);
    }),
    (&[RevocationKnown], "an answer of tomorrow", |w| {
        w.answers[2].1.window = Validity { not_before: now() + 1, not_after: now() + DAY };
    }),
    (&[RevocationKnown], "a responder that does not know the chip", |w| {
        w.answers[2].1.status = Status::Unknown;
    }),
    (&[RevocationKnown], "an answer with a critical extension nobody knows", |w| {
        w.answers[2].1.has_unknown_critical = true;
    }),
    (&[RevocationKnown], "a responder outside its dates", |w| {
        w.certificates.responder.not_after = now() - 1;
    }),
    (&[ManifestRevocationKnown], "no answer about a manifest's signer", |w| {
        w.answers.pop();
    }),
    (&[DeviceMeasurementsKnown], "no manifest of the VBIOS", |w| {
        w.on_manifests = |m| m.truncate(1);
    }),
    (&[DeviceMeasurementsKnown], "a manifest for another chip", |w| {
        w.driver_manifest.product = "GB100".to_owned();
    }),
    (&[DeviceMeasurementsKnown], "a manifest that was published for another board", |w| {
        w.on_manifests = |m| m[1] = wrapped("NV_GPU_VBIOS_G520_0280_894_9600CF0002", &m[1]);
    }),
    (&[DeviceMeasurementsKnown], "a manifest of another kind of device", |w| {
        w.driver_manifest.edition = "SWITCH".to_owned();
    }),
    (&[DeviceMeasurementsKnown], "a manifest of another driver", |w| {
        w.driver_manifest.version = "580.105.08".to_owned();
    }),
    (&[ProductAllowed], "an architecture that is not listed", |w| {
        w.change_policy("[\"hopper\", \"blackwell\"]", "[\"blackwell\"]");
    }),
    (&[SwitchAllowed], "a switch", |w| {
        *w = std::mem::replace(w, World::new()).with_switch();
        w.change_policy("switches = \"allowed\"", "switches = \"refused\"");
    }),
    (&[DistinctDevices], "one device shown twice", |w| {
        w.on_document = |d| {
            let first = d[0].clone();
            d.as_array_mut().unwrap().push(first);
        };
    }),
    (&[FabricClosed], "a link to something that is not shown", |w| {
        w.report.set(22, Some(&[8, 7, 6, 5, 4, 3, 2, 1]));
    }),
    (&[DriverAllowed], "a driver that is not listed", |w| {
        w.change_policy("drivers = [\"580.95.05\"]", "drivers = [\"580.105.08\"]");
    }),
    (&[MinimumDriver], "a driver below the floor of its branch", |w| {
        w.change_policy("\"570.195.03\", \"580.95.05\"]", "\"570.195.03\", \"580.105.08\"]");
    }),
    (&[VbiosAllowed], "a VBIOS that is not listed", |w| {
        w.change_policy("vbios = [\"96.00.CF.00.02\"]", "vbios = [\"96.00.D0.00.02\"]");
    }),
    (&[MinimumVbios], "a VBIOS below the floor", |w| {
        w.change_policy("vbios = \"96.00.CF.00.01\"", "vbios = \"96.00.CF.00.03\"");
    }),
    (&[ChipIdPinned], "a device that is not listed", |w| {
        w.change_policy("devices = [\"4143\"]", "devices = [\"4144\"]");
    }),
    (&[DocumentAgrees], "another nonce beside the report", |w| {
        w.on_document = |d| d[0]["nonce"] = "00".repeat(32).into();
    }),
    (&[DocumentAgrees], "another architecture beside the report", |w| {
        w.on_document = |d| d[0]["arch"] = "BLACKWELL".into();
    }),
    (&[Nonce], "an answer to another nonce", |w| w.nonce_sent = Some(vec![0x5b; 32])),
    (&[Nonce], "a nonce that agrees but for its end", |w| w.nonce_sent = Some(vec![0x5a; 31])),
    (&[Nonce], "a verifier that sent none, where one is required", |w| w.nonce_sent = None),
];

/// A manifest as NVIDIA's service delivers it.
fn wrapped(id: &str, manifest: &str) -> String {
    let rim = data_encoding::BASE64.encode(manifest.as_bytes());
    serde_json::json!({"id": id, "rim": rim, "rim_format": "TCG_RIM"}).to_string()
}

/// The last byte, which is part of a signature.
fn alter(der: &mut [u8]) {
    let last = der.len() - 1;
    der[last] ^= 1;
}

/// Takes away what a device of another kind would fail besides.
fn unasked(world: &mut World) {
    for (from, to) in [
        ("architectures = [\"hopper\", \"blackwell\"]", "architectures = \"any\""),
        ("minimum_versions = \"required\"", "minimum_versions = \"not_required\""),
        ("manifests = \"required\"", "manifests = \"not_required\""),
        ("manifest_revocation = \"required\"", "manifest_revocation = \"not_required\""),
    ] {
        world.change_policy(from, to);
    }
}

#[test]
fn the_world_passes_with_nothing_wrong() {
    for world in [World::new(), World::new().with_switch()] {
        let result = world.judge();
        assert!(result.is_affirmed(), "{result}");
        assert!(result.is_simulated() && result.to_string().contains("SIMULATED"));
    }
    let result = World::new().judge();
    let asked = result.checks().iter().all(|check| check.result == CheckResult::Pass);
    assert!(asked, "a check that is not asked cannot be tested here\n{result}");
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    for (names, what, make_wrong) in TABLE {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        let failed: Vec<CheckName> = result.failed().map(|check| check.name).collect();
        assert_eq!(failed, *names, "{what}\n{result}");
        assert!(result.into_keys().is_err(), "{what}");
    }
    println!("NVIDIA, one field wrong: {} cases refused, each by its check", TABLE.len());
}

#[test]
fn every_check_has_a_row() {
    let tested: BTreeSet<CheckName> =
        TABLE.iter().flat_map(|(names, ..)| names.iter().copied().take(1)).collect();
    let result = World::new().judge();
    let ran = result.checks().iter().map(|check| check.name);
    let untested: Vec<_> = ran.filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn expectations_no_gpu_can_meet_are_not_passed_over() {
    let world = World::new();
    let document = serde_json::to_vec(&world.document()).unwrap();
    let judge = |expectations| {
        let (endorsements, policy) = (world.endorsements(), world.policy());
        let result = bulla_attestation::tee::nvidia::appraise_raw(
            &document,
            &endorsements,
            &world.anchors,
            &policy,
            &expectations,
            NOW,
        );
        result.failed().map(|check| check.name).collect::<Vec<_>>()
    };
    let nonce = world.nonce_sent.clone();
    let expected = bulla_attestation::raw::Expectations { nonce, ..Default::default() };
    let mut of_cpu = expected.clone();
    of_cpu.measurement = Some(vec![0; 48]);
    assert_eq!(judge(of_cpu), [Measurement]);
    let mut of_cpu = expected;
    of_cpu.report_data = Some([0; 64]);
    assert_eq!(judge(of_cpu), [ReportData]);
}

#[test]
fn a_nonce_may_be_stated_in_other_spellings() {
    for stated in [hex(&NONCE).to_uppercase(), format!("0x{}", hex(&NONCE))] {
        let world = World::new();
        let mut document = world.document();
        document[0]["nonce"] = stated.into();
        document[0]["arch"] = "H100".into();
        let document = serde_json::to_vec(&document).unwrap();
        let result = world.judge_bytes(&document, &world.endorsements());
        assert!(result.is_affirmed(), "{result}");
    }
}

#[test]
fn a_manifest_may_come_as_the_service_delivers_it() {
    let mut world = World::new();
    world.on_manifests = |m| {
        m[0] = wrapped("NV_GPU_DRIVER_GH100_580.95.05", &m[0]);
        m[1] = wrapped("NV_GPU_VBIOS_G520_0280_895_9600CF0002", &m[1]);
    };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn a_hold_passes_only_where_the_policy_takes_it() {
    let mut world = World::new();
    world.answers[2].1.status = Status::Revoked(6);
    world.change_policy("certificate_hold = \"refused\"", "certificate_hold = \"allowed\"");
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
    let got = &result.check(Revocation).unwrap().got;
    assert!(got.contains("on hold, which the policy allows"), "{got}");
}

#[test]
fn nonces_of_two_devices_must_be_one() {
    let mut world = World::new().with_switch();
    world.switch.as_mut().unwrap().nonce = [1; 32];
    let result = world.judge();
    let failed: Vec<CheckName> = result.failed().map(|check| check.name).collect();
    assert_eq!(failed, [DocumentAgrees, Nonce], "{result}");
    let got = &result.check(Nonce).unwrap().got;
    assert!(got.starts_with("device 2 (switch 79b9): another: 0101"), "{got}");
}

#[test]
fn one_simulated_root_makes_the_whole_simulated() {
    use bulla_attestation::anchor::TrustAnchor;
    for [devices, manifests] in [[false, false], [false, true], [true, false], [true, true]] {
        let mut world = World::new();
        let anchor = |key: &Signer, is_simulated: bool| {
            let root = root_certificate(key);
            let make = if is_simulated { TrustAnchor::simulated } else { TrustAnchor::hardware };
            make("a root", &root).unwrap()
        };
        world.anchors = TrustAnchors::none()
            .with(anchor(&world.keys.device_root, devices))
            .with(anchor(&world.keys.rim_root, manifests));
        world.change_policy("allow_simulated = true", "allow_simulated = false");
        let is_simulated = devices || manifests;
        let result = world.judge();
        assert_eq!(result.is_simulated(), is_simulated, "{result}");
        let failed: Vec<CheckName> = result.failed().map(|check| check.name).collect();
        let expected: &[CheckName] = if is_simulated { &[SimulatedRoot] } else { &[] };
        assert_eq!(failed, expected, "{result}");
    }
}
