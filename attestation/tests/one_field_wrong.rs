//! The table check → test: for each check, evidence in which one thing is wrong, so that this check
//! and no other refuses it. Delete a check and its row is affirmed: the test fails.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;

use std::collections::BTreeSet;

use bulla_attestation::appraise::Freshness;
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::CheckResult;
use bulla_attestation::tee::snp::product;
use bulla_attestation::tee::snp::tcb::{RawTcb, Tcb};
use bulla_wire::keyset::Subject;
use bulla_wire::units::UnixSeconds;
use simulated::{
    Extension, NONCE, NOW, Name, Validity, World, X25519, YEAR, hex, now, sealing_key,
};

/// What is wrong, how to make it so, and the check that has to say so.
type Row = (CheckName, &'static str, fn(&mut World));

const TABLE: &[Row] = &[
    (TeeType, "a TEE the policy does not list", |w| {
        w.change_policy("tees = [\"snp\", ", "tees = [")
    }),
    (TeeType, "a TEE nobody can appraise", |w| {
        w.on_document = |d| d.attestation.tee_type = "tdx".to_owned();
    }),
    (TeeType, "a TEE nobody has heard of", |w| {
        w.on_document = |d| d.attestation.tee_type = "sgx".to_owned();
    }),
    (ReportFormat, "a truncated report", |w| w.on_report = |r| r.truncate(793)),
    (ReportFormat, "a byte after the signature", |w| w.on_report = |r| r[0x340] = 1),
    (SignatureAlgorithm, "another algorithm", |w| w.template.signature_algorithm = 2),
    (SigningKey, "a report that says VLEK, endorsed by a VCEK", |w| {
        w.template.key_info = VLEK;
        w.change_policy("signing_keys = [\"vcek\"]", "signing_keys = \"any\"");
        w.change_policy("chip_ids = [", "chip_ids = \"any\" # [");
    }),
    (SigningKey, "a report that says VCEK, endorsed by a VLEK", |w| {
        w.leaf.common_name = "SEV-VLEK".to_owned();
        w.leaf.hardware_id = None;
        w.leaf.issuer = Name("SEV-VLEK-Genoa".to_owned());
        rename_intermediate(w, "SEV-VLEK-Genoa");
    }),
    (SigningKey, "a report no key signs", |w| w.template.key_info = 0b10),
    (ReportSignature, "an altered measurement", |w| {
        // An ID key digest is asked by no policy, so only the signature can tell.
        w.on_report = |r| r[0x0e0] ^= 1;
    }),
    (ReportSignature, "an altered signature", |w| w.on_report = |r| r[0x2a0] ^= 1),
    (LeafSignature, "an altered leaf", |w| {
        w.on_leaf = |leaf| {
            let last = leaf.len() - 1;
            leaf[last] ^= 1;
        };
    }),
    (LeafSignature, "no intermediate", no_intermediate),
    (IntermediateSignature, "an altered intermediate", |w| {
        let last = w.ask.len() - 1;
        w.ask[last] ^= 1;
    }),
    (RootPinned, "a root nobody named", |w| {
        w.anchors = bulla_attestation::anchor::TrustAnchors::vendors();
        w.more_endorsements.push(w.authority.ark_certificate().to_vec());
    }),
    (RootPinned, "a second root under the pinned one's name", |w| {
        let mut impostor = w.authority.ark_certificate().to_vec();
        let last = impostor.len() - 1;
        impostor[last] ^= 1;
        w.more_endorsements.push(impostor);
    }),
    (CertificateNames, "a VCEK under the VLEK authority", |w| {
        w.leaf.issuer = Name("SEV-VLEK-Genoa".to_owned());
        rename_intermediate(w, "SEV-VLEK-Genoa");
    }),
    (CertificateDates, "an expired leaf", |w| {
        w.leaf.validity = Validity { not_before: now() - YEAR, not_after: now() - 1 };
    }),
    (CertificateDates, "a leaf from tomorrow", |w| {
        w.leaf.validity = Validity { not_before: now() + 1, not_after: now() + YEAR };
    }),
    (CertificateDates, "an expired intermediate", |w| {
        let past = Validity { not_before: now() - YEAR, not_after: now() - 1 };
        let template = w.authority.ask_template(past).unwrap();
        w.ask = w.authority.sign_with_ark(&template, &mut World::rng());
    }),
    (CertificateConstraints, "a leaf that claims to be an authority", |w| {
        let value = vec![0x30, 0x03, 0x01, 0x01, 0xff];
        w.leaf.more_extensions.push(extension("2.5.29.19", value));
    }),
    (CertificateConstraints, "a critical extension nobody knows", |w| {
        w.leaf.more_extensions.push(extension("1.2.3.4", vec![5, 0]));
    }),
    (CertificateConstraints, "an intermediate that is no authority", |w| {
        let mut template = w.authority.ask_template(Validity::years_from(now(), 25)).unwrap();
        template.extensions.clear();
        w.ask = w.authority.sign_with_ark(&template, &mut World::rng());
    }),
    (CertificateConstraints, "an intermediate whose key signs data only", |w| {
        let mut template = w.authority.ask_template(Validity::years_from(now(), 25)).unwrap();
        template.extensions.retain(|extension| extension.oid != "2.5.29.15");
        w.ask = w.authority.sign_with_ark(&template, &mut World::rng());
    }),
    (CrlSignature, "a forged list beside a good one", |w| {
        let mut forged = w.crls[0].clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        w.crls.push(forged);
    }),
    (Revocation, "a revoked intermediate", |w| {
        let serial = w.authority.ask_serial();
        let window = Validity::years_from(now(), 1);
        w.crls = vec![w.authority.revocation_list(&[serial], window, &mut World::rng())];
    }),
    (RevocationKnown, "no revocation list", |w| w.crls.clear()),
    (RevocationKnown, "a stale revocation list", |w| {
        let window = Validity { not_before: now() - YEAR, not_after: now() - 1 };
        w.crls = vec![w.authority.revocation_list(&[], window, &mut World::rng())];
    }),
    (ProductLine, "a leaf for another product", |w| {
        w.leaf.product_name = "Milan-B0".to_owned();
    }),
    (HardwareId, "a leaf of another chip", |w| {
        w.leaf.hardware_id = Some(World::other_chip().to_vec());
    }),
    (HardwareId, "a leaf that names no chip", |w| w.leaf.hardware_id = None),
    (TcbInCertificate, "a leaf for another TCB", |w| w.leaf.tcb.snp += 1),
    (TcbInCertificate, "a reserved TCB byte the leaf does not know", |w| {
        w.template.reported_tcb.0[3] = 1;
    }),
    (GuestDebug, "a guest the host can read", |w| w.template.policy |= 1 << 19),
    (SimulatedRoot, "a policy that wants hardware", |w| {
        w.change_policy("allow_simulated = true", "allow_simulated = false");
    }),
    (ReportVersion, "an older report than the policy takes", |w| {
        w.template.version = 4;
        w.change_policy("minimum_report_version = 3", "minimum_report_version = 5");
    }),
    (SigningKeyAllowed, "a key kind the policy does not take", |w| {
        w.change_policy("signing_keys = [\"vcek\"]", "signing_keys = [\"vlek\"]");
    }),
    (ProductAllowed, "a product that is not listed", |w| {
        w.change_policy("products = [\"genoa\", \"turin\"]", "products = [\"turin\"]");
    }),
    (ProductBanned, "a banned product", |w| {
        w.change_policy("products = [\"genoa\", \"turin\"]", "products = \"any\"");
        w.change_policy("product = \"milan\"", "product = \"genoa\"");
    }),
    (GuestMigrationAgent, "a guest that can be moved", |w| w.template.policy |= 1 << 18),
    (GuestSmt, "a guest that shares cores", |w| w.template.policy |= 1 << 16),
    (GuestSingleSocket, "a guest on any socket", |w| {
        w.template.policy &= !simulated::SINGLE_SOCKET;
    }),
    (Vmpl, "a report of a lower privilege level", |w| w.template.vmpl = 1),
    (Vmpl, "a report the host asked for", |w| w.template.vmpl = u32::MAX),
    (AliasCheckComplete, "memory not checked for aliases", |w| {
        w.template.platform_info &= !(1 << 5);
    }),
    (MinimumReportedTcb, "an old reported TCB", |w| {
        let tcb = Tcb { snp: 0x1a, ..w.template.reported_tcb.decode(w.line) };
        w.template.reported_tcb = tcb.encode(w.line);
        w.leaf.tcb = tcb;
    }),
    (MinimumLaunchTcb, "launched on old firmware", |w| lower(w, |t| &mut t.launch_tcb)),
    (MinimumCommittedTcb, "can be rolled back to old firmware", |w| {
        lower(w, |t| &mut t.committed_tcb);
    }),
    (MinimumCurrentTcb, "running old microcode", |w| {
        lower(w, |t| &mut t.current_tcb);
        w.change_policy("tcb_order = \"required\"", "tcb_order = \"not_required\"");
    }),
    (TcbOrder, "committed above current", |w| w.template.committed_tcb.0[6] += 1),
    (Measurement, "another workload", |w| w.template.measurement[0] ^= 1),
    (HostData, "other host data", |w| w.template.host_data[31] = 1),
    (ChipIdMasked, "a chip that hides its id", |w| {
        mask(w);
        w.change_policy("chip_ids = [", "chip_ids = \"any\" # [");
    }),
    (ChipIdPinned, "a chip that is not listed", |w| {
        let pinned = hex(&w.template.chip_id);
        w.policy_changes.push(("chip_ids = [\"", format!("chip_ids = [] # {pinned} [\"")));
    }),
    (ChipIdPinned, "a masked chip id, though zero is listed", |w| {
        mask(w);
        w.change_policy("masked_chip_id = \"refused\"", "masked_chip_id = \"allowed\"");
        w.policy_changes
            .push(("chip_ids = [\"", format!("chip_ids = [\"{}\", \"", "00".repeat(64))));
    }),
    (ReportData, "keys of another enclave beside the evidence", |w| {
        w.freshness = Freshness::Passport;
        w.answered = None;
        w.change_policy("nonce = \"required\"", "nonce = \"not_required\"");
        w.on_report_data = |slot| slot[..32].fill(9);
    }),
    (ReportDataPadding, "something in the second half of REPORT_DATA", |w| {
        w.on_report_data = |slot| slot[63] = 1;
    }),
    (ReportDataCopy, "another digest beside the evidence", |w| {
        w.on_document = |d| d.attestation.report_data = "00".repeat(32);
    }),
    (KeysetDigest, "another keyset digest beside the keyset", |w| {
        w.on_document = |d| d.workload_keyset_digest = format!("sha256:{}", "00".repeat(32));
    }),
    (Nonce, "a passport for an answer", |w| w.answered = None),
    (Nonce, "an answer to somebody else, restated", |w| w.answered = Some([1; 32])),
    (Nonce, "a nonce that agrees but for its last byte", |w| {
        let mut nonce = NONCE;
        nonce[31] ^= 1;
        w.answered = Some(nonce);
    }),
    (Nonce, "a verifier that sent none, where one is required", |w| {
        w.freshness = Freshness::Passport;
    }),
    (MaximumAge, "a passport older than its maximum", |w| {
        passport(w);
        w.logged.as_mut().unwrap().since = UnixSeconds(NOW.0 - 301);
    }),
    (MaximumAge, "a passport no log has seen", |w| {
        passport(w);
        w.logged = None;
        w.change_policy("quorum = 2", "quorum = 0");
    }),
    (SealingKem, "a sealing key that is not post-quantum", |w| {
        w.keyset.e2ee_public_keys[0].public_key = sealing_key(X25519);
    }),
    (Accelerator, "a device only the guest speaks for", |w| {
        name_accelerator(w, "huawei/ascend-910b")
    }),
    (Accelerator, "a device of NVIDIA without evidence of its own", |w| {
        name_accelerator(w, "nvidia/h100");
        w.change_policy("asserted = \"refused\"", "asserted = \"allowed\"");
    }),
    (Accelerator, "a class the policy does not take", |w| {
        name_accelerator(w, "huawei/ascend-910b");
        w.change_policy("asserted = \"refused\"", "asserted = \"allowed\"");
    }),
    (Accelerator, "names nobody can read", |w| name_accelerator(w, "HUAWEI")),
    (Accelerator, "no accelerator where one is asked", |w| {
        w.change_policy("[\"none\", \"nvidia\"]", "[\"nvidia\"]");
    }),
    (Witnesses, "too few cosignatures", |w| {
        w.logged.as_mut().unwrap().cosigners = vec![simulated::witness(2)];
    }),
    (Witnesses, "a stranger's cosignature", |w| {
        w.logged.as_mut().unwrap().cosigners[0] = simulated::witness(9);
    }),
    (Witnesses, "no log at all", |w| w.logged = None),
    (KeysetExpiry, "an expired keyset", |w| w.keyset.not_after = NOW),
    (KeysetLife, "a keyset for a year", |w| {
        w.keyset.not_after = UnixSeconds(NOW.0 + YEAR as u64);
    }),
    (KeysetChipId, "a keyset of another chip", |w| {
        let chip_id = hex(&World::other_chip());
        let subject = Subject { instance: "node-2".parse().unwrap(), chip_id };
        w.keyset.subject = Some(subject.to_string());
    }),
    (KeysetChipId, "a keyset that names no chip", no_subject),
    (KeysetChipId, "zeros named, where the chip hides its id", |w| {
        w.template.chip_id = [0; 64];
        let chip_id = hex(&w.template.chip_id);
        let subject = Subject { instance: "node-1".parse().unwrap(), chip_id };
        w.keyset.subject = Some(subject.to_string());
        w.change_policy("masked_chip_id = \"refused\"", "masked_chip_id = \"allowed\"");
        w.change_policy("chip_ids = [", "chip_ids = \"any\" # [");
    }),
    (KeysetKeys, "no sealing key", |w| w.keyset.e2ee_public_keys.clear()),
    (KeysetKeys, "two sealing keys", |w| {
        let mut second = w.keyset.e2ee_public_keys[0].clone();
        second.public_key = second.public_key.replace("22", "33");
        w.keyset.e2ee_public_keys.push(second);
    }),
    (KeysetKeys, "no receipt key", |w| w.keyset.receipt_signing_keys.clear()),
    (KeysetKeys, "a receipt key of the wrong length", |w| {
        w.keyset.receipt_signing_keys[0].public_key = "11".repeat(31);
    }),
    (KeysetKeys, "one key in two roles", |w| {
        let mut shared = w.keyset.e2ee_public_keys[0].clone();
        (shared.algo, shared.public_key) = ("other".to_owned(), "11".repeat(32));
        w.keyset.e2ee_public_keys.push(shared);
    }),
];

const VLEK: u32 = 1 << 2;

/// Checks of devices beside the CPU: their rows are in `nvidia_beside_cpu`.
const ELSEWHERE: [CheckName; 3] = [AcceleratorEvidence, AcceleratorNonce, AcceleratorVoucher];

fn extension(oid: &str, value: Vec<u8>) -> Extension {
    Extension { oid: oid.to_owned(), critical: true, value }
}

fn no_intermediate(world: &mut World) {
    world.ask = b"nothing".to_vec();
}

/// The intermediate under another name, signed again by the root.
fn rename_intermediate(world: &mut World, common_name: &str) {
    let mut template = world.authority.ask_template(Validity::years_from(now(), 25)).unwrap();
    template.subject = Name(common_name.to_owned());
    world.ask = world.authority.sign_with_ark(&template, &mut World::rng());
}

/// A cacheable report under a policy that takes one.
fn passport(world: &mut World) {
    world.change_policy("nonce = \"required\"", "nonce = \"not_required\"");
    world.freshness = Freshness::Passport;
    world.answered = None;
}

/// The node says it uses this device.
fn name_accelerator(world: &mut World, device: &str) {
    let subject = world.keyset.subject.take().unwrap();
    world.keyset.subject = Some(format!("{subject}?accelerator={device}"));
}

/// Lowers the microcode of one TCB below its floor.
fn lower(world: &mut World, which: fn(&mut simulated::ReportTemplate) -> &mut RawTcb) {
    which(&mut world.template).0[7] -= 1;
}

/// A keyset that says nothing of itself, under a policy that asks for no accelerator's name.
fn no_subject(world: &mut World) {
    world.keyset.subject = None;
    world.change_policy("classes = [\"none\", \"nvidia\"]", "classes = \"any\"");
    world.change_policy("asserted = \"refused\"", "asserted = \"allowed\"");
}

/// Hides the chip id, in the report and (so that nothing else differs) in the keyset's subject.
fn mask(world: &mut World) {
    world.template.chip_id = [0; 64];
    no_subject(world);
    world.change_policy(
        "chip_id_in_subject = \"required\"",
        "chip_id_in_subject = \"not_required\"",
    );
}

/// Checks that say nothing once this one has failed: they need what it found missing.
fn also(name: CheckName, what: &str) -> &'static [CheckName] {
    match (name, what) {
        // Without an intermediate there is no way to any root, nor a list that speaks of it.
        (LeafSignature, "no intermediate") => &[RootPinned, RevocationKnown],
        // A root nobody named is still followed, but its list counts for nothing here.
        // A certificate of the wrong kind comes from the other authority.
        (SigningKey, "a report that says VCEK, endorsed by a VLEK") => &[],
        // The reserved byte is part of no component, so only the comparison of bytes tells.
        _ => &[],
    }
}

#[test]
fn the_world_passes_with_nothing_wrong() {
    for line in [product::ProductLine::Genoa, product::ProductLine::Turin] {
        let result = World::of(line).judge();
        assert!(result.is_affirmed(), "{result}");
        assert!(result.is_simulated() && result.to_string().contains("SIMULATED"));
        assert_eq!(result.product(), Some(line.to_string().as_str()));
        let here = result.checks().iter().filter(|check| !ELSEWHERE.contains(&check.name));
        let asked = here.into_iter().all(|check| check.result == CheckResult::Pass);
        assert!(asked, "a check that is not asked cannot be tested here\n{result}");
    }
}

#[test]
fn a_certificate_is_valid_in_its_first_second_and_in_its_last() {
    let mut world = World::new();
    world.leaf.validity = Validity { not_before: now(), not_after: now() };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    for (name, what, make_wrong) in TABLE {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        let failed: Vec<CheckName> = result.failed().map(|check| check.name).collect();
        let mut expected = vec![*name];
        expected.extend(also(*name, what));
        assert_eq!(failed, expected, "{what}\n{result}");
        assert!(result.into_keys().is_err(), "{what}");
    }
    println!("one field wrong: {} cases refused, each by its check", TABLE.len());
}

/// Every check that runs here; those of other kinds of evidence have tables of their own.
#[test]
fn every_check_has_a_row() {
    let tested: BTreeSet<CheckName> = TABLE.iter().map(|(name, ..)| *name).collect();
    let result = World::new().judge();
    let ran = result.checks().iter().map(|check| check.name);
    let here = ran.filter(|name| !ELSEWHERE.contains(name));
    let untested: Vec<_> = here.filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
