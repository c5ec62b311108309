//! Accelerators beside a CPU's evidence, in one aci/1 report.
//!
//! Evidence and voucher travel among the report's endorsements and are found by content. Three
//! things bind a device to the CPU: its evidence is genuine; it answers a [`nonce`] made of the
//! keyset's statement and the CPU's chip id; and the measured guest signed with an attested receipt
//! key that it verified this very evidence over its own session ([`AcceleratorVoucher`]). The first
//! two alone would also hold for a device that sits in another machine and is asked on its behalf.
//!
//! The statement is the one in REPORT_DATA, or that of the same keyset without a nonce: devices are
//! verified once, before they work, and not for every verifier who asks.

use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::{Digest, PublicKey};
use bulla_wire::labels;
use bulla_wire::statement::Statement;
use bulla_wire::units::UnixSeconds;
use bulla_wire::voucher::AcceleratorVoucher;

use crate::anchor::TrustAnchors;
use crate::endorsement::Endorsements;
use crate::hash::{self, LabelledHasher, labelled};
use crate::policy::{AcceleratorClaim, Policy};
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, CheckResult, Claims};
use crate::sign::{Signed, verify_any};
use crate::tee::nvidia::{self, DeviceKind};

/// Most pieces of accelerator evidence in one report (ours; one document holds all devices).
const MAX_DOCUMENTS: usize = 8;

/// The maker, as keysets and policies call it.
const NVIDIA: &str = "nvidia";

/// The nonce an accelerator has to answer: a labelled digest of the statement's digest and of the
/// CPU's chip id in lower-case hex, empty where the CPU hides it.
pub fn nonce(statement: &Digest, chip_id: &str) -> Digest {
    let mut hasher = LabelledHasher::new(labels::ACCELERATOR_NONCE);
    hasher.update(&statement.0);
    hasher.update(chip_id.as_bytes());
    hasher.finish()
}

/// The name of accelerators' evidence in a voucher.
pub fn evidence_digest(document: &[u8]) -> Digest {
    labelled(labels::ACCELERATOR_EVIDENCE, document)
}

/// What the evidence has to be bound to.
pub(crate) struct Host<'a> {
    pub report: &'a AttestationReport,
    pub keyset_digest: Digest,
    /// First half of REPORT_DATA, as the hardware signed it.
    pub statement: Digest,
    /// What the CPU's evidence calls its chip; nothing where it hides it.
    pub chip_ids: &'a [String],
    /// The receipt keys of the keyset.
    pub receipt_keys: Vec<PublicKey>,
}

/// What was found out about the accelerators of one report.
pub(crate) struct Accelerators {
    pub checks: Vec<Check>,
    /// The devices whose evidence is genuine and bound; switches are none.
    pub attested: Vec<AcceleratorClaim>,
    /// Whether any comes from no hardware.
    pub is_simulated: bool,
}

/// Judges the accelerators' evidence in a report; not asked where there is none.
pub(crate) fn judge(
    host: &Host<'_>,
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    now: UnixSeconds,
) -> Accelerators {
    let pieces = &host.report.attestation.evidence.endorsements;
    let blobs = || pieces.iter().map(|piece| piece.data.as_slice());
    let documents: Vec<&[u8]> = blobs().filter(|blob| is_evidence(blob)).collect();
    if documents.is_empty() {
        let none = |name| Check::not_required(name, "no accelerator evidence");
        return Accelerators {
            checks: NAMES.map(none).to_vec(),
            attested: Vec::new(),
            is_simulated: false,
        };
    }
    let statements = host.statements();
    let vouchers: Vec<Signed<AcceleratorVoucher>> =
        blobs().filter_map(|blob| verify_any(blob, &host.receipt_keys).ok()).collect();
    let judged = documents.iter().take(MAX_DOCUMENTS).map(|document| {
        let evidence = host.appraise(document, &statements, endorsements, anchors, policy, now);
        Judged { voucher: voucher(document, &statements, &vouchers), evidence }
    });
    let judged: Vec<Judged> = judged.collect();
    let is_bound = judged.iter().all(Judged::is_bound) && documents.len() <= MAX_DOCUMENTS;
    Accelerators {
        checks: vec![evidence(&judged, documents.len()), answered(&judged), vouched(&judged)],
        attested: match is_bound {
            true => judged.iter().flat_map(|one| devices(&one.evidence)).collect(),
            false => Vec::new(),
        },
        is_simulated: judged.iter().any(|one| one.evidence.is_simulated()),
    }
}

const NAMES: [CheckName; 3] =
    [CheckName::AcceleratorEvidence, CheckName::AcceleratorNonce, CheckName::AcceleratorVoucher];

/// Whether these are reports of devices: JSON with some, or one report as it stands.
fn is_evidence(blob: &[u8]) -> bool {
    /// SPDM 1.1 GET_MEASUREMENTS.
    const REPORT: [u8; 2] = [0x11, 0xe0];
    let is_json = matches!(blob.trim_ascii_start().first(), Some(b'{' | b'['));
    blob.starts_with(&REPORT) || (is_json && nvidia::document::holds_devices(blob))
}

/// One piece of evidence, judged.
struct Judged {
    evidence: AttestationResult,
    /// What is wrong with the guest's word on it.
    voucher: Result<(), &'static str>,
}

impl Judged {
    fn is_bound(&self) -> bool {
        let has_nonce = self.evidence.check(CheckName::Nonce).is_some_and(passes);
        self.faults().next().is_none() && has_nonce && self.voucher.is_ok()
    }

    /// What is wrong with the evidence itself. The nonce has a line of its own; manifests of
    /// reference values and Rego modules are about the whole report and judged once, for it.
    fn faults(&self) -> impl Iterator<Item = &Check> {
        const ELSEWHERE: [CheckName; 3] =
            [CheckName::Nonce, CheckName::ReferenceValues, CheckName::Rego];
        self.evidence.failed().filter(|check| !ELSEWHERE.contains(&check.name))
    }
}

impl Host<'_> {
    fn statements(&self) -> Vec<Digest> {
        let without_nonce = Statement { keyset_digest: self.keyset_digest, nonce: None };
        let mut statements = vec![self.statement, hash::statement_digest(&without_nonce)];
        statements.dedup();
        statements
    }

    /// Judges `document` against the one of the nonces it could answer that it does answer.
    fn appraise(
        &self,
        document: &[u8],
        statements: &[Digest],
        endorsements: &Endorsements,
        anchors: &TrustAnchors,
        policy: &Policy,
        now: UnixSeconds,
    ) -> AttestationResult {
        let hidden = [String::new()];
        let chip_ids = if self.chip_ids.is_empty() { &hidden } else { self.chip_ids };
        let answerable: Vec<Digest> = statements
            .iter()
            .flat_map(|statement| chip_ids.iter().map(|chip_id| nonce(statement, chip_id)))
            .collect();
        let own = nvidia::document::nonce(document);
        let found = answerable.iter().find(|nonce| Some(nonce.0) == own);
        let expected = found.or(answerable.first()).map(|nonce| nonce.0.to_vec());
        let expectations = Expectations { nonce: expected, ..Expectations::default() };
        nvidia::appraise_raw(document, endorsements, anchors, policy, &expectations, now)
    }
}

/// The guest's word on `document`: signed by an attested key, over this evidence and one of these
/// statements.
fn voucher(
    document: &[u8],
    statements: &[Digest],
    vouchers: &[Signed<AcceleratorVoucher>],
) -> Result<(), &'static str> {
    let digest = evidence_digest(document);
    let mut about = vouchers.iter().filter(|voucher| voucher.evidence == digest).peekable();
    if about.peek().is_none() {
        return Err("none by a receipt key of this keyset over this evidence");
    }
    let mut of_statement = about.filter(|voucher| statements.contains(&voucher.statement));
    match of_statement.next() {
        None => Err("one over another statement"),
        Some(voucher) if voucher.is_affirmed => Ok(()),
        Some(_) => Err("the guest itself refused the evidence"),
    }
}

fn passes(check: &Check) -> bool {
    check.result == CheckResult::Pass
}

fn evidence(judged: &[Judged], documents: usize) -> Check {
    let name = CheckName::AcceleratorEvidence;
    let expected = "genuine, and good enough for the policy";
    if documents > MAX_DOCUMENTS {
        let got = format!("{documents} pieces of evidence, at most {MAX_DOCUMENTS} are judged");
        return Check::judge(name, false, expected, got);
    }
    let failed = judged.iter().flat_map(Judged::faults);
    let faults: Vec<String> =
        failed.map(|check| format!("{}: {}", check.name, check.got)).collect();
    let devices: usize = judged.iter().map(|one| devices(&one.evidence).len()).sum();
    let got = if faults.is_empty() { format!("{devices} devices") } else { faults.join("; ") };
    Check::judge(name, faults.is_empty(), expected, got)
}

fn answered(judged: &[Judged]) -> Check {
    let name = CheckName::AcceleratorNonce;
    let expected = "a nonce made of this statement and this chip";
    let answers = |one: &Judged| one.evidence.check(CheckName::Nonce).is_some_and(passes);
    let holds = judged.iter().all(answers);
    let got = if holds { "answered" } else { "another nonce: made for another keyset or machine" };
    Check::judge(name, holds, expected, got)
}

fn vouched(judged: &[Judged]) -> Check {
    let name = CheckName::AcceleratorVoucher;
    let fault = judged.iter().find_map(|one| one.voucher.err());
    let expected = "the guest's word, signed with an attested key";
    Check::judge(name, fault.is_none(), expected, fault.unwrap_or("signed"))
}

/// The devices that compute, by their chip: `gh100`.
fn devices(result: &AttestationResult) -> Vec<AcceleratorClaim> {
    let Some(Claims::Nvidia(claims)) = result.claims() else { return Vec::new() };
    let gpus = claims.devices.iter().filter(|device| device.kind == DeviceKind::Gpu);
    let chip = |chip: &Option<String>| chip.as_deref().unwrap_or("unknown").to_ascii_lowercase();
    gpus.map(|device| AcceleratorClaim::attested(NVIDIA, &chip(&device.chip))).collect()
}

/// The devices a report stands for: what the keyset names, where vendors that attest have to show
/// their devices. One that is shown counts as attested, by what its evidence says it is; one that is
/// only named stays asserted.
pub(crate) fn stand_for(
    named: Vec<AcceleratorClaim>,
    attested: &[AcceleratorClaim],
) -> Vec<AcceleratorClaim> {
    let mut shown = attested.len();
    let mut all = attested.to_vec();
    all.extend(named.into_iter().filter(|claim| {
        let is_shown = claim.vendor == NVIDIA && shown > 0;
        shown -= usize::from(is_shown);
        !is_shown
    }));
    all
}
