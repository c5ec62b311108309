//! Azure VMs on Intel TDX: real evidence inside its collateral's dates, and a simulated Intel behind
//! a simulated paravisor for what only a TD can have wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    dead_code,
    unused_imports,
    reason = "tests read evidence from files; the simulated TEE is included by path"
)]

mod azure_simulated;
mod common;
mod simulated;

use std::collections::BTreeSet;

use azure_simulated::{NONCE, hcl_report, runtime_data, tpm_quote};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::{AttestationResult, CheckResult};
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use simulated::tdx::{Intel, TdTemplate, Window};
use simulated::{NOW, Validity, now};

/// 2025-07-22T09:13:34Z: when the real quote's collateral spoke.
const IN_JULY_2025: UnixSeconds = UnixSeconds(1_753_175_614);
const COLLATERAL: &str = "tdx/collateral/automata-00806f05-2025-07.json";

fn failed(result: &AttestationResult) -> BTreeSet<CheckName> {
    result.failed().map(|check| check.name).collect()
}

fn judge_real(folder: &EvidenceFolder, document: &Value, now: UnixSeconds) -> AttestationResult {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    let policy = Policy::from_toml(text).expect("the shipped policy reads");
    let (anchors, endorsements) = (TrustAnchors::vendors(), folder.endorsements([COLLATERAL]));
    let expectations = Expectations { nonce: Some(b"challenge".to_vec()), ..Default::default() };
    let evidence = document.to_string().into_bytes();
    let kind = TeeKind::AzureTdx;
    appraise_raw(kind, &evidence, &endorsements, &anchors, &policy, &expectations, now)
}

#[test]
fn real_evidence_is_affirmed_inside_its_collaterals_dates() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let document: Value =
        serde_json::from_slice(&folder.read("azure-vtpm/az-tdx-v0.json")).unwrap();
    let result = judge_real(&folder, &document, IN_JULY_2025);
    assert!(result.is_affirmed() && !result.is_simulated(), "{result}");
    let claims = serde_json::to_value(result.claims().unwrap()).unwrap();
    let mrtd = "024a32b070383331181619fa387cb4d55d1e38879f989933055ccad5bc2db795d1737b66205949d15469dc8c1ba7ab7b";
    assert_eq!(
        (&claims["measurement"], &claims["nonce"]),
        (&json!(mrtd), &json!("6368616c6c656e6765"))
    );
    assert!(claims["tcb_status"].is_string(), "{claims}");
    assert_eq!(claims["vm_configuration"]["secure-boot"], true);
    let later = judge_real(&folder, &document, NOW);
    assert!(!later.is_affirmed(), "collateral lives thirty days");
    println!("Azure TDX evidence: 1 affirmed, and refused a year later");
}

#[test]
fn a_real_td_report_altered_is_not_the_one_that_was_quoted() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let document: Value =
        serde_json::from_slice(&folder.read("azure-vtpm/az-tdx-v0.json")).unwrap();
    // Report data, attributes, MRTD, RTMR 3.
    for at in [32 + 128, 32 + 512, 32 + 528, 32 + 900] {
        let mut altered = document.clone();
        let byte = &mut altered["hcl_report"][at];
        *byte = json!(byte.as_u64().unwrap() ^ 1);
        let result = judge_real(&folder, &altered, IN_JULY_2025);
        assert_eq!(failed(&result), BTreeSet::from([TdQuote]), "byte {at}\n{result}");
        assert_eq!(result.check(TdQuote).unwrap().got, "a quote of another TD report");
    }
}

/// A simulated VM on a simulated Intel, judged under the policy for development.
struct World {
    kind: TeeKind,
    intel: Intel,
    /// What the hardware signs beside what is right.
    on_slot: fn(&mut [u8; 64]),
    on_td_report: fn(&mut Vec<u8>),
    on_document: fn(&mut Value),
    policy_change: (&'static str, &'static str),
}

impl World {
    fn new() -> World {
        let window = Window {
            issue_date: "2026-11-01T00:00:00Z".to_owned(),
            next_update: "2026-12-01T00:00:00Z".to_owned(),
        };
        let td = TdTemplate {
            tee_tcb_svn: [5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            mrseam: [1; 48],
            mrsignerseam: [0; 48],
            seam_attributes: [0; 8],
            td_attributes: 1 << 28,
            xfam: 0xe7,
            mrtd: [2; 48],
            mrconfigid: [3; 48],
            mrowner: [4; 48],
            mrownerconfig: [5; 48],
            rtmrs: [[6; 48], [7; 48], [8; 48], [9; 48]],
            since_1_5: None,
        };
        let validity = Validity::years_from(now(), 7);
        World {
            kind: TeeKind::AzureTdx,
            intel: Intel::generate(validity, window, td).expect("keys are made"),
            on_slot: |_| {},
            on_td_report: |_| {},
            on_document: |_| {},
            policy_change: ("", ""),
        }
    }

    fn judge(&self) -> AttestationResult {
        let runtime = runtime_data().to_string().into_bytes();
        let mut slot = [0; 64];
        slot[..32].copy_from_slice(digest(&SHA256, &runtime).as_ref());
        (self.on_slot)(&mut slot);
        let chain = self.intel.chain().expect("certificates are signed");
        let quote = self.intel.quote(&slot, &chain).expect("a quote is signed");
        let mut td_report = td_report(&quote);
        (self.on_td_report)(&mut td_report);
        let pcrs: Vec<[u8; 32]> = (0..24).map(|register| [register; 32]).collect();
        let mut document = json!({
            "version": 1,
            "hcl_report": BASE64URL_NOPAD.encode(&hcl_report([4, 1], &td_report, &runtime)),
            "td_quote": BASE64URL_NOPAD.encode(&quote),
            "tpm_quote": tpm_quote(NONCE, &pcrs, 0, |_| {}),
        });
        (self.on_document)(&mut document);
        let root = self.intel.root_certificate().expect("the root signs itself");
        let root = TrustAnchor::simulated("test root", &root).unwrap();
        let anchors = TrustAnchors::vendors().with(root);
        let window = Validity::years_from(now(), 1);
        let files = self.intel.endorsements(window).expect("collateral is signed");
        let endorsements = Endorsements::sort(files.iter().map(Vec::as_slice));
        let development = include_str!("../../policies/appraisal/development.toml");
        let (from, to) = self.policy_change;
        assert!(development.contains(from));
        let policy = Policy::from_toml(&development.replacen(from, to, 1)).unwrap();
        let expectations = Expectations {
            nonce: Some(NONCE.to_vec()),
            report_data: Some([0x11; 64]),
            measurement: Some(vec![2; 48]),
        };
        let evidence = document.to_string().into_bytes();
        appraise_raw(self.kind, &evidence, &endorsements, &anchors, &policy, &expectations, NOW)
    }
}

/// The TD report a quote of version 4 was made of, without its MAC.
fn td_report(quote: &[u8]) -> Vec<u8> {
    let mut report = vec![0; 1024];
    report[0] = 0x81;
    report[128..192].copy_from_slice(&quote[48 + 520..48 + 584]);
    report[512..912].copy_from_slice(&quote[48 + 120..48 + 520]);
    report
}

type Row = (CheckName, &'static str, fn(&mut World));

const TABLE: &[Row] = &[
    (TeeType, "a TEE the policy does not list", |w| w.policy_change = ("\"azure-tdx\", ", "")),
    // The header of a quote is signed like its body, but what is no TD's quote is not read on.
    (TeeType, "a quote that says it is an enclave's", |w| w.intel.quote.tee_type = 0),
    (TeeType, "a quote of no known TEE", |w| w.intel.quote.tee_type = 0x82),
    (HclReportType, "a TD judged as an SNP guest", |w| w.kind = TeeKind::AzureSnp),
    (TdQuote, "a TD report without a quote", |w| {
        w.on_document = |d| d["td_quote"] = Value::Null;
    }),
    (TdQuote, "a quote of another TD", |w| w.on_td_report = |r| r[528] ^= 1),
    (TdQuote, "a quote over other report data", |w| w.on_td_report = |r| r[128] ^= 1),
    (TdQuote, "registers that went on", |w| w.on_td_report = |r| r[900] ^= 1),
    (RuntimeDataBound, "a quote over something else", |w| w.on_slot = |slot| slot[0] ^= 1),
    (RuntimeDataBound, "something beside the digest", |w| w.on_slot = |slot| slot[63] = 1),
    (GuestDebug, "a TD the host can read", |w| w.intel.quote.td.td_attributes |= 1),
    (Measurement, "another paravisor than the caller expects", |w| {
        w.intel.quote.td.mrtd[0] ^= 1;
    }),
];

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    let right = World::new().judge();
    assert!(right.is_affirmed() && right.is_simulated(), "{right}");
    for (name, what, make_wrong) in TABLE {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        assert_eq!(failed(&result), BTreeSet::from([*name]), "{what}\n{result}");
    }
    println!("one thing wrong in an Azure TD: {} cases refused, each by its check", TABLE.len());
}

/// The checks of Azure's block that have no row in `azure_one_thing_wrong.rs`.
#[test]
fn what_only_a_td_can_fail_has_rows() {
    let tested: BTreeSet<CheckName> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert!(tested.contains(&HclReportType) && tested.contains(&TdQuote));
}
