//! A world of one simulated TD and everything Intel says about its platform, in which a test makes
//! one thing wrong at a time.
#![allow(dead_code, reason = "each test file uses a part")]

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::hash;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::tdx::appraise_raw;
use bulla_attestation::tee::tdx::event_log::EventLog;
use bulla_wire::evidence::{
    API_VERSION, Attestation, AttestationReport, Endorsement, Evidence, ServiceCapabilities,
    SourceProvenance, TEE_TDX,
};
use bulla_wire::keyset::{Keyset, Subject};
use bulla_wire::statement::{Nonce, Statement, report_data};
use bulla_wire::units::UnixSeconds;

use super::simulated::tdx::{Intel, TdTemplate, Window};
use super::simulated::{NONCE, NOW, Validity, hex, keyset, now};

/// Where each endorsement stands among those of the world.
pub const SIGNER: usize = 0;
pub const TCB_INFO: usize = 1;
pub const QE_IDENTITY: usize = 2;
pub const ROOT_CRL: usize = 3;
pub const PCK_CRL: usize = 4;
pub const EVENT_LOG: usize = 5;

pub const DAY: i64 = 24 * 3600;

/// The collateral's life: from nineteen days before now to eleven days after.
pub fn window() -> Window {
    Window {
        issue_date: "2026-11-01T00:00:00Z".to_owned(),
        next_update: "2026-12-01T00:00:00Z".to_owned(),
    }
}

/// An event log, and the registers it leads to.
fn event_log() -> (String, [[u8; 48]; 4]) {
    let event = |imr: usize, byte: &str| {
        format!("{{\"imr\":{imr},\"event_type\":1,\"digest\":\"{}\"}}", byte.repeat(48))
    };
    let events = [event(0, "a0"), event(1, "a1"), event(2, "a2"), event(3, "a3"), event(3, "a4")];
    let log = format!("[{}]", events.join(","));
    let registers = EventLog::read(log.as_bytes()).expect("a log").replay();
    (log, registers)
}

/// One TD and everything around it. A test changes a field, then judges.
pub struct World {
    pub intel: Intel,
    pub event_log: String,
    /// Validity of the revocation lists.
    pub lists: Validity,
    pub keyset: Keyset,
    /// The nonce the enclave answers.
    pub answered: Option<Nonce>,
    pub freshness: Freshness,
    pub anchors: Option<TrustAnchors>,
    /// Textual changes to the `[tdx]` section, and those before it.
    pub policy_changes: Vec<(&'static str, String)>,
    /// Last change to REPORT_DATA before it is signed.
    pub on_report_data: fn(&mut [u8; 64]),
    /// Last change to the certificates in the quote.
    pub on_chain: fn(&Intel, &mut Vec<Vec<u8>>),
    /// Last change to the signed quote.
    pub on_quote: fn(&mut Vec<u8>),
    /// Last change to the endorsements.
    pub on_endorsements: fn(&Intel, &mut Vec<Vec<u8>>),
    /// The instant of appraisal.
    pub now: UnixSeconds,
    /// Made before anything else was changed.
    policy: String,
}

impl World {
    /// A TD of TDX 1.5 that passes the demanding policy.
    pub fn new() -> World {
        World::of(true)
    }

    /// A TD of TDX 1.5, or of 1.0.
    pub fn of(since_1_5: bool) -> World {
        let (event_log, rtmrs) = event_log();
        let td = TdTemplate { rtmrs, ..TdTemplate::new(since_1_5) };
        let intel = Intel::generate(Validity::years_from(now(), 7), window(), td).unwrap();
        let chip_id = hex(&intel.platform.instance_id.unwrap());
        let subject = Subject { instance: "node-1".parse().unwrap(), chip_id };
        World {
            policy: demanding_policy_text(&intel),
            intel,
            event_log,
            lists: Validity { not_before: now() - DAY, not_after: now() + 30 * DAY },
            keyset: keyset(&subject),
            answered: Some(NONCE),
            freshness: Freshness::Nonce(NONCE),
            anchors: None,
            policy_changes: Vec::new(),
            on_report_data: |_| {},
            on_chain: |_, _| {},
            on_quote: |_| {},
            on_endorsements: |_, _| {},
            now: NOW,
        }
    }

    /// Changes a line of the policy: in the section `[tdx]` where it is there, else before.
    pub fn change_policy(&mut self, from: &'static str, to: &str) {
        self.policy_changes.push((from, to.to_owned()));
    }

    /// The policy as changed.
    pub fn policy(&self) -> Policy {
        let text = self.policy_changes.iter().fold(self.policy.clone(), |text, (from, to)| {
            let (before, tdx, after) = section(&text);
            match tdx.contains(from) {
                true => format!("{before}{}{after}", tdx.replacen(from, to, 1)),
                false => {
                    assert!(before.contains(from), "{from}");
                    format!("{}{tdx}{after}", before.replacen(from, to, 1))
                }
            }
        });
        Policy::from_toml(&text).unwrap()
    }

    /// The roots the verifier names.
    pub fn anchors(&self) -> TrustAnchors {
        let root = self.intel.root_certificate().unwrap();
        let root = TrustAnchor::simulated("test root", &root).unwrap();
        self.anchors.clone().unwrap_or_else(|| TrustAnchors::vendors().with(root))
    }

    /// The quote, and what endorses it.
    pub fn evidence(&self, slot: &[u8; 64]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut chain = self.intel.chain().unwrap();
        (self.on_chain)(&self.intel, &mut chain);
        let mut quote = self.intel.quote(slot, &chain).unwrap();
        (self.on_quote)(&mut quote);
        let mut endorsements = self.intel.endorsements(self.lists).unwrap();
        endorsements.push(self.event_log.clone().into_bytes());
        (self.on_endorsements)(&self.intel, &mut endorsements);
        (quote, endorsements)
    }

    /// The document the node would serve.
    pub fn document(&self) -> AttestationReport {
        let keyset_digest = hash::keyset_digest(&self.keyset);
        let statement = Statement { keyset_digest, nonce: self.answered };
        let mut slot = report_data(&hash::statement_digest(&statement));
        (self.on_report_data)(&mut slot);
        let (report, endorsements) = self.evidence(&slot);
        AttestationReport {
            api_version: API_VERSION.to_owned(),
            workload_keyset_digest: keyset_digest.prefixed(),
            attestation: Attestation {
                tee_type: TEE_TDX.to_owned(),
                workload_keyset: self.keyset.clone(),
                nonce: self.answered.map(|nonce| hex(&nonce)),
                report_data: hex(&slot[..32]),
                source_provenance: SourceProvenance::default(),
                evidence: Evidence {
                    report,
                    endorsements: endorsements
                        .into_iter()
                        .map(|data| Endorsement { kind: "any".to_owned(), data })
                        .collect(),
                },
            },
            service_capabilities: ServiceCapabilities {
                supported_e2ee_versions: Vec::new(),
                serving: "direct".to_owned(),
            },
        }
    }

    /// Judges what the node serves.
    pub fn judge(&self) -> AttestationResult {
        let freshness = self.freshness.clone();
        appraise(&self.document(), &self.anchors(), &self.policy(), freshness, self.now)
    }

    /// Judges the quote alone, under a policy.
    pub fn judge_raw(&self, policy: &Policy) -> AttestationResult {
        let (quote, endorsements) = self.evidence(&[7; 64]);
        let endorsements = Endorsements::sort(endorsements.iter().map(Vec::as_slice));
        let expectations = Expectations::default();
        appraise_raw(&quote, &endorsements, &self.anchors(), policy, &expectations, self.now)
    }
}

/// What is before the section `[tdx]`, itself, and what follows.
fn section(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_at(text.find("\n[tdx]\n").expect("a section for TDX"));
    let end = rest[1..].find("\n[").map_or(rest.len(), |at| at + 1);
    let (tdx, after) = rest.split_at(end);
    (before, tdx, after)
}

/// A policy under which every check on TDX evidence asks something, and the world passes: the strict
/// one with the world's platform and measurements, simulation allowed.
fn demanding_policy_text(intel: &Intel) -> String {
    let strict = include_str!("../../../policies/appraisal/strict.toml");
    let td = &intel.quote.td;
    let list = |bytes: &[u8]| format!("[\"{}\"]", hex(bytes));
    let (before, tdx, after) = section(strict);
    let before = before.replacen("allow_simulated = false", "allow_simulated = true", 1);
    let zero = list(&[0; 48]);
    let replacements = [
        ("measurements = []", format!("measurements = {}", list(&td.mrtd))),
        ("chip_ids = []", format!("chip_ids = {}", list(&intel.platform.instance_id.unwrap()))),
        ("rtmr0 = []", format!("rtmr0 = {}", list(&td.rtmrs[0]))),
        ("rtmr1 = []", format!("rtmr1 = {}", list(&td.rtmrs[1]))),
        ("rtmr2 = []", format!("rtmr2 = {}", list(&td.rtmrs[2]))),
        ("rtmr3 = \"any\"", format!("rtmr3 = {}", list(&td.rtmrs[3]))),
        ("mrseam = \"any\"", format!("mrseam = {}", list(&td.mrseam))),
        ("mrconfigid = \"any\"", format!("mrconfigid = {zero}")),
        ("mrowner = \"any\"", format!("mrowner = {zero}")),
        ("mrownerconfig = \"any\"", format!("mrownerconfig = {zero}")),
    ];
    let tdx = replacements.iter().fold(tdx.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    format!("{before}{tdx}{after}")
}
