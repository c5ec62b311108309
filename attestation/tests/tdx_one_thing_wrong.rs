//! The table check → test for TDX: for each check, evidence in which one thing is wrong, so that this
//! check and no other refuses it. Delete a check and its row is affirmed: the test fails.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;
mod simulated_tdx;

use std::collections::BTreeSet;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::appraise::Freshness;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::{CheckResult, Claims};
use bulla_attestation::tee::tdx::{appraise_raw, platform_of};
use bulla_wire::keyset::Subject;
use bulla_wire::units::UnixSeconds;
use simulated::tdx::{Intel, PLATFORM_CA, Signer, leaf_extensions};
use simulated::{Extension, Name, Validity, YEAR, hex, now};
use simulated_tdx::{DAY, EVENT_LOG, PCK_CRL, QE_IDENTITY, ROOT_CRL, SIGNER, TCB_INFO, World};

/// What is wrong, how to make it so, and the checks that have to say so: the first is the one.
type Row = (&'static [CheckName], &'static str, fn(&mut World));

/// Index of the platform's certificate among the templates.
const ROOT: usize = 0;
const AUTHORITY: usize = 1;
const COLLATERAL_SIGNER: usize = 2;
const PLATFORM: usize = 3;

/// Where the body of a quote of version 5 begins.
const BODY: usize = 54;

const TABLE: &[Row] = &[
    (&[TeeType], "a TEE the policy does not list", |w| {
        w.change_policy("tees = [", "tees = [] # [")
    }),
    (&[TeeType], "an SGX enclave's quote", |w| w.intel.quote.tee_type = 0),
    (&[TeeType], "a quote of no known TEE", |w| w.intel.quote.tee_type = 0x82),
    (&[ReportFormat], "a truncated quote", |w| {
        w.on_quote = |quote| {
            quote.pop();
        };
    }),
    (&[ReportFormat], "a byte after the quote", |w| w.on_quote = |quote| quote.push(1)),
    (&[ReportFormat], "a version of tomorrow", |w| w.on_quote = |quote| quote[0] = 6),
    (&[SignatureAlgorithm], "another kind of attestation key", |w| w.intel.quote.key_type = 3),
    (&[QeVendor], "somebody else's quoting enclave", |w| w.intel.quote.qe_vendor[0] ^= 1),
    (&[ReportSignature], "an altered attribute of the module's", |w| {
        // XFAM is asked by no policy, so only the signature can tell.
        w.on_quote = |quote| quote[BODY + 128] ^= 1;
    }),
    (&[ReportSignature], "an altered signature", |w| w.on_quote = |quote| quote[BODY + 652] ^= 1),
    (&[AttestationKey], "a key the quoting enclave did not vouch for", |w| {
        w.intel.quote.qe_report_data_change[31] = 1;
    }),
    (&[AttestationKey], "something in the second half of its REPORT_DATA", |w| {
        w.intel.quote.qe_report_data_change[63] = 1;
    }),
    // Without a platform there is no way to any root, and nothing Intel says is about it.
    (
        &[SigningKey, RootPinned, RevocationKnown, TcbLevel, ChipIdPinned, KeysetChipId],
        "a quote that only names its platform",
        |w| w.intel.quote.certification = 3,
    ),
    (&[QeReportSignature], "a quoting enclave's report by another platform's key", |w| {
        // The certificate stays the platform's; somebody else signs.
        w.on_chain = |intel, chain| {
            let mut other = intel.clone();
            other.pck = Signer::generate("another key").unwrap();
            other.certificates[PLATFORM].spki = other.pck.spki();
            chain[0] = other.chain().unwrap()[0].clone();
        };
    }),
    (&[LeafSignature], "an altered platform certificate", |w| {
        w.on_chain = |_, chain| flip_last(&mut chain[0]);
    }),
    (&[IntermediateSignature], "an altered authority", |w| {
        w.on_chain = |_, chain| flip_last(&mut chain[1]);
    }),
    (&[RootPinned], "a root nobody named", |w| w.anchors = Some(TrustAnchors::vendors())),
    (&[RootPinned], "a second root under the pinned one's name", |w| {
        w.on_chain = |_, chain| {
            let mut impostor = chain[2].clone();
            flip_last(&mut impostor);
            chain.push(impostor);
        };
    }),
    (&[CertificateNames], "an authority for something else", |w| {
        let name = Name("Intel SGX TCB CA".to_owned());
        w.intel.certificates[AUTHORITY].subject = name.clone();
        w.intel.certificates[PLATFORM].issuer = name.clone();
        w.intel.authority.name = name;
    }),
    (&[CertificateNames], "a platform by another name", |w| {
        w.intel.certificates[PLATFORM].subject = Name("Intel SGX Attestation".to_owned());
    }),
    (&[CertificateDates], "an expired platform certificate", |w| {
        w.intel.certificates[PLATFORM].not_after = now() - 1;
    }),
    (&[CertificateDates], "an authority from tomorrow", |w| {
        w.intel.certificates[AUTHORITY].not_before = now() + 1;
    }),
    (&[CertificateConstraints], "a platform that claims to be an authority", |w| {
        w.intel.certificates[PLATFORM].extensions[1].value = vec![0x30, 3, 1, 1, 0xff];
    }),
    (&[CertificateConstraints], "a critical extension nobody knows", |w| {
        let unknown = Extension { oid: "1.2.3.4".to_owned(), critical: true, value: vec![5, 0] };
        w.intel.certificates[PLATFORM].extensions.push(unknown);
    }),
    // Without key usage it may sign no list, either.
    (&[CertificateConstraints, CrlSignature, RevocationKnown], "an authority that is none", |w| {
        w.intel.certificates[AUTHORITY].extensions.clear()
    }),
    (
        &[CertificateConstraints, CrlSignature, RevocationKnown],
        "an authority whose key signs data only",
        |w| w.intel.certificates[AUTHORITY].extensions[0].value = vec![0x03, 0x02, 0x07, 0x80],
    ),
    (&[CertificateConstraints], "a root that allows no authority below it", |w| {
        let value = vec![0x30, 6, 1, 1, 0xff, 2, 1, 0];
        w.intel.certificates[ROOT].extensions[1].value = value;
    }),
    // Nobody knows the platform, so nothing Intel says can be about it.
    (
        &[PlatformExtensions, TcbLevel, ChipIdPinned, KeysetChipId],
        "a platform certificate that does not say which platform",
        |w| {
            w.on_chain = |intel, chain| {
                let leaf = &intel.certificates[PLATFORM];
                chain[0] = intel.authority.certify(leaf).unwrap();
            };
        },
    ),
    (&[CrlSignature], "a forged list beside a good one", |w| {
        w.on_endorsements = |_, all| {
            let mut forged = all[PCK_CRL].clone();
            flip_last(&mut forged);
            all.push(forged);
        };
    }),
    (&[Revocation], "a revoked platform", |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[PLATFORM].serial;
            all[PCK_CRL] = intel.authority.revocation_list(&[serial], month()).unwrap();
        };
    }),
    (&[Revocation], "a revoked authority, by an old list", |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[AUTHORITY].serial;
            let past = Validity { not_before: now() - 9 * DAY, not_after: now() - DAY };
            all.push(intel.root.revocation_list(&[serial], past).unwrap());
        };
    }),
    (&[RevocationKnown], "no list about platforms", |w| {
        w.on_endorsements = |_, all| all[PCK_CRL].clear();
    }),
    (&[RevocationKnown], "a stale list about authorities", |w| {
        w.on_endorsements = |intel, all| {
            let past = Validity { not_before: now() - 9 * DAY, not_after: now() - 1 };
            all[ROOT_CRL] = intel.root.revocation_list(&[], past).unwrap();
        };
    }),
    (&[CollateralSignature], "altered TCB info beside the good one", |w| {
        w.on_endorsements = |_, all| {
            let altered = text(&all[TCB_INFO]).replacen("OutOfDate", "UpToDate", 1);
            all.push(altered.into_bytes());
        };
    }),
    (&[CollateralSignature, TcbLevel], "a space in the TCB info", |w| {
        w.on_endorsements = |_, all| {
            let altered = text(&all[TCB_INFO]).replacen("\"tcbInfo\":{", "\"tcbInfo\":{ ", 1);
            all[TCB_INFO] = altered.into_bytes();
        };
    }),
    (&[CollateralSignature, TcbLevel], "an altered identity of the quoting enclave", |w| {
        w.on_endorsements = |_, all| {
            let altered = text(&all[QE_IDENTITY]).replacen("\"isvsvn\":4", "\"isvsvn\":1", 1);
            all[QE_IDENTITY] = altered.into_bytes();
        };
    }),
    (&[CollateralSignature, TcbLevel], "an altered identity, and no TCB info", |w| {
        w.on_endorsements = |_, all| {
            let altered = text(&all[QE_IDENTITY]).replacen("\"isvsvn\":4", "\"isvsvn\":1", 1);
            all[QE_IDENTITY] = altered.into_bytes();
            all[TCB_INFO].clear();
        };
    }),
    (&[CollateralSigner], "collateral by somebody else's authority, beside the good one", |w| {
        w.on_endorsements = |intel, all| {
            let other = Signer::generate("Intel SGX TCB Signing").unwrap();
            let life = Validity::years_from(now(), 1);
            let template = other.template(&other, 9, life, leaf_extensions());
            let mut own = other.certify(&template).unwrap();
            all.append(&mut vec![std::mem::take(&mut own)]);
            all.push(intel.tcb_info.response(&other).unwrap().into_bytes());
        };
    }),
    (&[CollateralSigner], "collateral by a signer the root is said to have made", |w| {
        w.on_endorsements = |intel, all| {
            let other = Signer::generate("Intel SGX TCB Signing").unwrap();
            let life = Validity::years_from(now(), 1);
            let template = other.template(&intel.root, 9, life, leaf_extensions());
            all.push(other.certify(&template).unwrap());
            all.push(intel.tcb_info.response(&other).unwrap().into_bytes());
        };
    }),
    (&[CollateralSigner, TcbLevel], "collateral signed under an expired certificate", |w| {
        w.intel.certificates[COLLATERAL_SIGNER].not_after = now() - 1;
    }),
    (&[CollateralSigner, TcbLevel], "collateral signed under a revoked certificate", |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[COLLATERAL_SIGNER].serial;
            all[ROOT_CRL] = intel.root.revocation_list(&[serial], month()).unwrap();
        };
    }),
    (&[CollateralSigner, TcbLevel], "collateral signed by an authority", |w| {
        w.intel.certificates[COLLATERAL_SIGNER].extensions[1].value = vec![0x30, 3, 1, 1, 0xff];
    }),
    (&[QeIdentity], "a quoting enclave with DEBUG", |w| {
        w.intel.quote.qe_attributes[0] |= 2;
        w.intel.qe_identity.attributes[0] |= 2;
    }),
    (&[QeIdentity], "a quoting enclave of another signer", |w| w.intel.quote.qe_mrsigner[0] ^= 1),
    (&[QeIdentity], "another enclave of the signer", |w| w.intel.quote.qe_isv_prod_id = 1),
    (&[QeIdentity], "a quoting enclave with another attribute", |w| {
        w.intel.quote.qe_attributes[1] = 1;
    }),
    (&[QeIdentity], "a quoting enclave with another MISCSELECT", |w| {
        w.intel.quote.qe_miscselect[3] = 1;
    }),
    (&[TdxModule], "a TDX module of another signer", |w| w.intel.quote.td.mrsignerseam[0] = 1),
    (&[TdxModule], "a TDX module with an attribute", |w| w.intel.quote.td.seam_attributes[7] = 1),
    (&[GuestDebug], "a TD the host can read", |w| w.intel.quote.td.td_attributes |= 1),
    (&[EventLog], "a log with one event more", |w| {
        w.event_log =
            w.event_log.replacen("{\"imr\":3", "{\"imr\":2,\"digest\":\"00\"},{\"imr\":3", 1);
        w.event_log = w.event_log.replacen("\"00\"", &format!("\"{}\"", "00".repeat(48)), 1);
    }),
    (&[SimulatedRoot], "a policy that wants hardware", |w| {
        w.change_policy("allow_simulated = true", "allow_simulated = false");
    }),
    (&[ReportVersion], "an older quote than the policy takes", |w| {
        w.intel.quote.td.since_1_5 = None;
        w.intel.quote.version = 4;
        w.change_policy("minimum_quote_version = 4", "minimum_quote_version = 5");
    }),
    (&[TcbLevel], "no collateral", |w| {
        w.on_endorsements = |_, all| all[TCB_INFO].clear();
    }),
    (&[TcbLevel], "no identity of the quoting enclave", |w| {
        w.on_endorsements = |_, all| all[QE_IDENTITY].clear();
    }),
    (&[TcbLevel], "collateral about another kind of platform", |w| w.intel.tcb_info.fmspc[0] ^= 1),
    (&[TcbLevel], "collateral about another provisioning enclave", |w| {
        w.intel.tcb_info.pce_id[1] = 1;
    }),
    (&[TcbLevel], "collateral about SGX", |w| w.intel.tcb_info.id = "SGX".to_owned()),
    (&[TcbLevel], "stale collateral", |w| {
        w.intel.tcb_info.window.next_update = "2026-11-19T23:59:59Z".to_owned();
    }),
    (&[TcbLevel], "collateral from tomorrow", |w| {
        w.intel.qe_identity.window.issue_date = "2026-11-20T00:00:01Z".to_owned();
    }),
    (&[TcbLevel], "a component below every level", |w| {
        w.intel.platform.components[0] = 1;
    }),
    (&[TcbLevel], "a provisioning enclave below every level", |w| w.intel.platform.pce_svn = 12),
    (&[TcbLevel], "a TDX component below every level", |w| {
        w.intel.quote.td.tee_tcb_svn[2] = 1;
    }),
    (&[TcbLevel], "a TDX component that runs now below every level", |w| {
        w.intel.quote.td.since_1_5.as_mut().unwrap().0[2] = 1;
    }),
    (&[TcbLevel], "a TDX module below every level", |w| w.intel.quote.td.tee_tcb_svn[0] = 3),
    (&[TcbLevel], "a TDX module nobody lists", |w| w.intel.quote.td.tee_tcb_svn[1] = 9),
    (&[TcbLevel], "a quoting enclave below every level", |w| w.intel.quote.qe_isv_svn = 2),
    (&[TcbLevel, TcbStatus], "a revoked level", |w| {
        w.intel.tcb_info.levels[0].status = "Revoked".to_owned();
    }),
    (&[TcbLevel], "a level in a word nobody knows", |w| {
        w.intel.tcb_info.levels[0].status = "Splendid".to_owned();
    }),
    (&[TcbStatus], "a quoting enclave out of date", |w| w.intel.quote.qe_isv_svn = 3),
    (&[TcbStatus], "a status the policy does not take", |w| {
        w.intel.tcb_info.levels[0].status = "SWHardeningNeeded".to_owned();
    }),
    (&[TcbEvaluationNumber], "collateral that misses a TCB recovery", |w| {
        w.intel.qe_identity.evaluation_number = 17;
    }),
    (&[Advisories], "an advisory nobody accepted", |w| {
        w.intel.tcb_info.levels[0].advisory_ids = vec!["INTEL-SA-00001".to_owned()];
    }),
    (&[Advisories], "an advisory that is refused by name", |w| {
        w.intel.tcb_info.levels[0].advisory_ids = vec!["INTEL-SA-00001".to_owned()];
        w.change_policy("advisories = []", "advisories = \"any\"");
        w.change_policy("refused_advisories = []", "refused_advisories = [\"INTEL-SA-00001\"]");
    }),
    (&[CollateralAge], "collateral older than the policy takes", |w| {
        w.change_policy(
            "maximum_collateral_age_seconds = 2592000",
            "maximum_collateral_age_seconds = 86400",
        );
    }),
    (&[SeptVeDisable], "a TD without SEPT_VE_DISABLE", |w| w.intel.quote.td.td_attributes = 0),
    (&[TdProfiling], "a TD whose counters the host may watch", |w| {
        w.intel.quote.td.td_attributes |= 1 << 5;
    }),
    (&[GuestMigrationAgent], "a TD that can be moved", |w| {
        w.intel.quote.td.td_attributes |= 1 << 29;
    }),
    (&[ServiceTd], "a TD with a service TD", |w| {
        w.intel.quote.td.since_1_5.as_mut().unwrap().1[0] = 1;
    }),
    (&[Measurement], "another workload", |w| w.intel.quote.td.mrtd[0] ^= 1),
    (&[Rtmr0], "another firmware configuration", |w| unlist(w, "rtmr0 = [\"")),
    (&[Rtmr1], "another kernel", |w| unlist(w, "rtmr1 = [\"")),
    (&[Rtmr2], "another command line", |w| unlist(w, "rtmr2 = [\"")),
    (&[Rtmr3], "another application", |w| unlist(w, "rtmr3 = [\"")),
    (&[MrSeam], "another TDX module", |w| w.intel.quote.td.mrseam[0] ^= 1),
    (&[MrConfigId], "another configuration", |w| w.intel.quote.td.mrconfigid[0] = 1),
    (&[MrOwner], "another owner", |w| w.intel.quote.td.mrowner[0] = 1),
    (&[MrOwnerConfig], "another owner's configuration", |w| {
        w.intel.quote.td.mrownerconfig[0] = 1;
    }),
    (&[ChipIdPinned], "a platform that is not listed", |w| unlist(w, "chip_ids = [\"")),
    (&[ChipIdPinned], "another platform is listed", |w| {
        w.change_policy("chip_ids = [\"", &format!("chip_ids = [\"{}\"] # [\"", "5a".repeat(16)));
    }),
    (&[ReportData], "keys of another enclave beside the evidence", |w| {
        w.freshness = Freshness::Passport;
        w.answered = None;
        w.change_policy("nonce = \"required\"", "nonce = \"not_required\"");
        w.on_report_data = |slot| slot[..32].fill(9);
    }),
    (&[ReportDataPadding], "something in the second half of REPORT_DATA", |w| {
        w.on_report_data = |slot| slot[63] = 1;
    }),
    (&[KeysetChipId], "a keyset of another platform", |w| name_chip(w, &[0x77; 16])),
    // Without a subject nothing says which accelerators there are, either.
    (&[KeysetChipId, Accelerator], "a keyset that names no platform", |w| w.keyset.subject = None),
    (&[KeysetChipId], "a keyset with an empty name", |w| name_chip(w, &[])),
];

/// The checks on TDX evidence, and those of the keyset that are about its chip. The others are the
/// same for every TEE: one_field_wrong.rs has their rows.
fn ours() -> BTreeSet<CheckName> {
    let world = World::new();
    let of_quote = world.judge_raw(&world.policy());
    let names = of_quote.checks().iter().map(|check| check.name);
    names
        .filter(|name| !BESIDE.contains(name))
        .chain([ReportData, ReportDataPadding, KeysetChipId])
        .collect()
}

/// What a policy asks beside the evidence.
const BESIDE: [CheckName; 3] = [ReferenceValues, Rego, Accelerator];

fn flip_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn month() -> Validity {
    Validity { not_before: now() - DAY, not_after: now() + 30 * DAY }
}

/// Takes the world's own value off a list of the policy.
fn unlist(world: &mut World, line: &'static str) {
    world.change_policy(line, &line.replace("[\"", "[] # [\""));
}

fn name_chip(world: &mut World, id: &[u8]) {
    let subject = Subject { instance: "node-1".parse().unwrap(), chip_id: hex(id) };
    world.keyset.subject = Some(subject.to_string());
}

#[test]
fn the_world_passes_with_nothing_wrong() {
    for since_1_5 in [false, true] {
        let result = World::of(since_1_5).judge();
        assert!(result.is_affirmed(), "{result}");
        assert!(result.is_simulated() && result.to_string().contains("SIMULATED"));
        let ours = ours();
        let mut checks = result.checks().iter().filter(|check| ours.contains(&check.name));
        let asked = checks.all(|check| check.result == CheckResult::Pass);
        assert!(asked, "a check that is not asked cannot be tested here\n{result}");
        assert!(result.into_keys().is_ok());
    }
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    let mut wrong = Vec::new();
    for (expected, what, make_wrong) in TABLE {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        let failed: Vec<CheckName> = result.failed().map(|check| check.name).collect();
        if failed != *expected {
            wrong.push(format!("{what}: expected {expected:?}, got {failed:?}\n{result}"));
        }
        let refusal = result.into_keys().expect_err(what).to_string();
        assert!(refusal.contains(&expected[0].to_string()), "{what}: {refusal}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("one thing wrong with a TD: {} cases refused, each by its check", TABLE.len());
}

#[test]
fn every_check_has_a_row() {
    let tested: BTreeSet<CheckName> =
        TABLE.iter().filter_map(|(names, ..)| names.first().copied()).collect();
    let untested: Vec<CheckName> = ours().difference(&tested).copied().collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// Why dates and collateral refuse, for whoever has to mend it.
#[test]
fn a_refusal_for_dates_or_collateral_says_which() {
    type Change = fn(&mut World);
    let rows: [(CheckName, &str, Change); 5] = [
        (LeafSignature, "no certificate of that name", |w| {
            w.on_chain = |_, chain| chain.truncate(1);
        }),
        (CertificateDates, "leaf valid 2026-", |w| {
            w.intel.certificates[PLATFORM].not_after = now() - 1;
        }),
        (TcbLevel, "TCB info about this platform not given", |w| {
            w.on_endorsements = |_, all| all[TCB_INFO].clear();
        }),
        (TcbLevel, "TCB info is not genuine", |w| {
            w.on_endorsements = |_, all| {
                let altered = text(&all[TCB_INFO]).replacen("\"tcbInfo\":{", "\"tcbInfo\":{ ", 1);
                all[TCB_INFO] = altered.into_bytes();
            };
        }),
        (TcbLevel, "to 2026-11-19T23:59:59Z, is not usable now", |w| {
            w.intel.tcb_info.window.next_update = "2026-11-19T23:59:59Z".to_owned();
        }),
    ];
    for (name, words, make_wrong) in rows {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        let got = &result.check(name).unwrap().got;
        assert!(got.contains(words), "{words}: {got}");
    }
}

#[test]
fn either_name_of_a_platform_is_taken_in_pins_and_keysets() {
    let mut world = World::new();
    let ppid = world.intel.platform.ppid;
    name_chip(&mut world, &ppid);
    let pinned = format!("chip_ids = [\"{}\", \"", hex(&ppid));
    world.change_policy("chip_ids = [\"", &pinned);
    assert!(world.judge().is_affirmed());
    let mut single = World::new();
    single.intel.platform.instance_id = None;
    name_chip(&mut single, &ppid);
    single.change_policy("chip_ids = [\"", &pinned);
    let result = single.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn a_quote_says_which_platform_it_comes_from() {
    let mut world = World::new();
    let platform = platform_of(&world.evidence(&[0; 64]).0).unwrap();
    let made = &world.intel.platform;
    assert_eq!((platform.ppid, platform.fmspc), (made.ppid, made.fmspc));
    world.intel.quote.certification = 3;
    assert!(platform_of(&world.evidence(&[0; 64]).0).is_none());
}

#[test]
fn the_platform_certificate_may_come_as_an_endorsement() {
    let mut world = World::new();
    world.intel.quote.certification = 2;
    world.on_endorsements = |intel, all| all.extend(intel.chain().unwrap());
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn of_several_statements_the_current_one_of_the_highest_number_counts() {
    let mut world = World::new();
    world.on_endorsements = |intel, all| {
        let mut stale = intel.tcb_info.clone();
        stale.window.next_update = "2026-11-10T00:00:00Z".to_owned();
        stale.evaluation_number = 40;
        let mut older = intel.tcb_info.clone();
        older.evaluation_number = 17;
        older.levels[0].status = "OutOfDate".to_owned();
        for info in [stale, older] {
            all.insert(0, info.response(&intel.signer).unwrap().into_bytes());
        }
    };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
    // Nor does it matter that the older ones come last.
    world.on_endorsements = |intel, all| {
        let mut older = intel.tcb_info.clone();
        older.evaluation_number = 17;
        older.levels[0].status = "OutOfDate".to_owned();
        all.push(older.response(&intel.signer).unwrap().into_bytes());
        let mut older = intel.qe_identity.clone();
        older.evaluation_number = 17;
        older.levels[0].status = "OutOfDate".to_owned();
        all.push(older.response(&intel.signer).unwrap().into_bytes());
    };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn a_caller_of_the_raw_appraisal_may_say_what_was_signed() {
    let world = World::new();
    let (quote, endorsements) = world.evidence(&[7; 64]);
    let endorsements = Endorsements::sort(endorsements.iter().map(Vec::as_slice));
    let judged = |report_data| {
        let expectations = Expectations { report_data, ..Expectations::default() };
        let (anchors, policy) = (world.anchors(), world.policy());
        let result =
            appraise_raw(&quote, &endorsements, &anchors, &policy, &expectations, world.now);
        result.check(ReportData).map(|check| check.result)
    };
    assert_eq!(judged(None), None);
    assert_eq!(judged(Some([7; 64])), Some(CheckResult::Pass));
    assert_eq!(judged(Some([8; 64])), Some(CheckResult::Fail));
}

/// Modules before 1.5 have no identity of their own in the TCB info.
#[test]
fn a_module_of_the_first_generation_is_the_one_the_tcb_info_is_about() {
    let mut world = World::new();
    world.intel.quote.td.tee_tcb_svn[1] = 0;
    let result = world.judge();
    assert_eq!(result.check(TdxModule).unwrap().result, CheckResult::Pass, "{result}");
    world.intel.quote.td.mrsignerseam = [1; 48];
    let result = world.judge();
    assert_eq!(result.check(TdxModule).unwrap().result, CheckResult::Fail, "{result}");
}

/// Sixteen statements are looked at, those of this time first.
#[test]
fn old_statements_do_not_crowd_out_the_current_one() {
    let mut world = World::new();
    world.on_endorsements = |intel, all| {
        let mut stale = intel.tcb_info.clone();
        stale.window.next_update = "2026-11-10T00:00:00Z".to_owned();
        for number in 0..16 {
            stale.evaluation_number = 20 + number;
            all.insert(0, stale.response(&intel.signer).unwrap().into_bytes());
        }
    };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

/// The signer of collateral that is not of this time does not matter.
#[test]
fn a_faulty_signer_of_old_collateral_refuses_nothing() {
    let mut world = World::new();
    world.on_endorsements = |_, all| {
        let other = Signer::generate("Intel SGX TCB Signing").unwrap();
        let life = Validity::years_from(now(), 1);
        all.push(other.certify(&other.template(&other, 9, life, leaf_extensions())).unwrap());
        let intel = World::new().intel;
        let mut stale = intel.tcb_info.clone();
        stale.window.next_update = "2026-11-10T00:00:00Z".to_owned();
        all.push(stale.response(&other).unwrap().into_bytes());
    };
    let result = world.judge();
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn the_authentic_policy_takes_any_status_and_attribute_but_debug() {
    let text = include_str!("../../policies/appraisal/authentic.toml").replacen(
        "allow_simulated = false",
        "allow_simulated = true",
        1,
    );
    let policy = Policy::from_toml(&text).unwrap();
    let mut world = World::new();
    world.intel.quote.td.td_attributes = 1 << 29 | 1 << 5;
    world.intel.quote.td.since_1_5.as_mut().unwrap().1[0] = 1;
    world.intel.platform.components[0] = 2;
    world.on_endorsements = |_, all| {
        all[ROOT_CRL].clear();
        all[PCK_CRL].clear();
    };
    let result = world.judge_raw(&policy);
    assert!(result.is_affirmed(), "{result}");
    let Some(Claims::Tdx(claims)) = result.claims() else { panic!("{result}") };
    assert_eq!(claims.tcb_status.unwrap().as_str(), "OutOfDate");
    assert_eq!(claims.advisory_ids, ["INTEL-SA-01036"]);
    assert_eq!(claims.td_attribute_names, ["PERF_PROF", "MIGRATABLE"]);
}
