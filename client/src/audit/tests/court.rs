//! Who judges the stories: the auditor's trust, and the appraisal of the stored evidence.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::hash::{keyset_digest, statement_digest};
use bulla_attestation::policy::Policy;
use bulla_tlog::SignerKey;
use bulla_wire::bundle::Item;
use bulla_wire::cbor;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::keyset::{Keyset, Subject};
use bulla_wire::statement::{Statement, report_data};
use bulla_wire::units::UnixSeconds;

use super::story::{ORIGIN, key, seed};
use crate::audit::epoch::{EpochKeys, appraiser};
use crate::audit::{AuditReport, AuditTrust, Items, Means, audit_with};

const DEVELOPMENT: &str = include_str!("../../../../policies/appraisal/development.toml");

/// So little that every story takes several rounds.
const LITTLE_MEMORY_BYTES: u64 = 4096;

/// REPORT_DATA in a SEV-SNP report (AMD 56860, table 23).
const REPORT_DATA_AT: usize = 0x50;
const EVIDENCE: [&[u8]; 2] = [
    include_bytes!("../../../../tests/vectors/bundle/evidence-0.json"),
    include_bytes!("../../../../tests/vectors/bundle/evidence-1.json"),
];
const SIMULATED_ROOT: &[u8] =
    include_bytes!("../../../../tests/vectors/simulated-chain/genoa-ark.der");

/// The attestation report of an epoch: a simulated machine's, made by `bulla-tests`.
pub(super) fn stored_report(epoch: usize) -> AttestationReport {
    AttestationReport::from_json(EVIDENCE[epoch]).unwrap()
}

/// The report around a keyset: the stored one, or, where the keyset was lied about, one that binds
/// it and that no hardware signed.
pub(super) fn report(epoch: usize, keyset: &Keyset) -> AttestationReport {
    let mut report = stored_report(epoch);
    if report.attestation.workload_keyset != *keyset {
        let digest = keyset_digest(keyset);
        let statement = statement_digest(&Statement { keyset_digest: digest, nonce: None });
        let slot = &mut report.attestation.evidence.report[REPORT_DATA_AT..REPORT_DATA_AT + 64];
        slot.copy_from_slice(&report_data(&statement));
        report.attestation.workload_keyset = keyset.clone();
        report.attestation.report_data = statement.to_string();
        report.workload_keyset_digest = digest.prefixed();
    }
    report
}

/// The shipped appraisal for evidence as it was made. Where a lie about the keyset changed it, the
/// binding of the keyset alone: nobody could sign such evidence, and the tests ask what the audit
/// would say if somebody had.
fn appraise_or_bind(report: &AttestationReport, at: UnixSeconds) -> Result<EpochKeys, String> {
    static KNOWN: Mutex<BTreeMap<(usize, u64), Result<EpochKeys, String>>> =
        Mutex::new(BTreeMap::new());
    match (0..EVIDENCE.len()).find(|epoch| stored_report(*epoch) == *report) {
        None => binding_only(report, at),
        Some(epoch) => {
            let mut known = KNOWN.lock().unwrap();
            known.entry((epoch, at.0)).or_insert_with(|| appraiser(&trust())(report, at)).clone()
        }
    }
}

fn binding_only(report: &AttestationReport, at: UnixSeconds) -> Result<EpochKeys, String> {
    let keyset = &report.attestation.workload_keyset;
    let digest = keyset_digest(keyset);
    let statement = statement_digest(&Statement { keyset_digest: digest, nonce: None });
    let slot = report.attestation.evidence.report.get(REPORT_DATA_AT..REPORT_DATA_AT + 32);
    if slot != Some(statement.0.as_slice()) {
        return Err("report_data".to_owned());
    }
    if at >= keyset.not_after {
        return Err("keyset_expiry".to_owned());
    }
    let entries = keyset.receipt_signing_keys.iter();
    Ok(EpochKeys {
        keyset: digest,
        receipt_keys: entries.map(|entry| entry.public_key.parse().unwrap()).collect(),
        not_after: keyset.not_after,
        subject: keyset.subject.as_deref().and_then(Subject::parse),
        simulated: true,
    })
}

pub(super) fn trust() -> AuditTrust {
    let log = SignerKey::from_seed(ORIGIN, &[seed::LOG; 32]).unwrap();
    AuditTrust {
        log_keys: vec![log.verifier()],
        broker_root: key(seed::ROOT).public(),
        anchors: TrustAnchors::none().with(TrustAnchor::simulated("test", SIMULATED_ROOT).unwrap()),
        policy: Policy::from_toml(DEVELOPMENT).unwrap(),
    }
}

pub(super) fn judge(items: &[Item]) -> AuditReport {
    judge_bytes(&items.iter().flat_map(cbor::to_vec).collect::<Vec<u8>>())
}

pub(super) fn judge_bytes(bundle: &[u8]) -> AuditReport {
    judge_by(bundle, Means::default())
}

/// Judges in one round, and in many: both must say the same.
pub(super) fn judge_by(bundle: &[u8], means: Means<'_>) -> AuditReport {
    let judge =
        |means| audit_with(&trust(), &appraise_or_bind, means, |pass| Items::new(bundle, pass));
    let report = judge(means);
    let again = judge(Means { memory_bytes: Some(LITTLE_MEMORY_BYTES), ..means });
    assert_eq!(report, again, "the report depends on the number of rounds");
    report
}
