//! Witnesses, as the auditor's policy names them: did enough of them cosign, and when?

use bulla_attestation::policy::{Limit, Policy};
use bulla_tlog::{Quorum, SignedCheckpoint};
use bulla_wire::epoch::EpochOpen;

use super::report::Sheet;
use super::{CheckName, Record};

/// How far an enclave's clock may be behind the witnesses', in seconds.
const CLOCK_TOLERANCE_S: u64 = 300;

/// The witnesses a policy names; `None` where it names none.
fn quorum(policy: &Policy) -> Option<Quorum> {
    let rule = policy.witnesses();
    Quorum::new(rule.quorum.max(1), rule.keys.clone()).ok()
}

fn asks(policy: &Policy) -> bool {
    policy.witnesses().quorum > 0
}

/// No cosignature by a named witness is false, however many there are.
pub(super) fn judge_cosignatures(sheet: &mut Sheet, policy: &Policy, opened: &SignedCheckpoint) {
    let Some(quorum) = quorum(policy) else { return };
    let size = opened.checkpoint().size();
    let cosigned = quorum.cosigners(opened);
    sheet.judge(
        CheckName::Cosignature,
        cosigned.is_ok(),
        || Record::Checkpoint { size },
        || cosigned.as_ref().err().map_or_else(String::new, ToString::to_string),
    );
}

/// The last checkpoint is cosigned by enough of them.
pub(super) fn judge_newest(sheet: &mut Sheet, policy: &Policy, newest: Option<&SignedCheckpoint>) {
    let (Some(quorum), true) = (quorum(policy), asks(policy)) else { return };
    let Some(newest) = newest else { return };
    let size = newest.checkpoint().size();
    let checked = quorum.check(newest);
    sheet.judge(
        CheckName::Cosignature,
        checked.is_ok(),
        || Record::Checkpoint { size },
        || checked.as_ref().err().map_or_else(String::new, ToString::to_string),
    );
}

/// The head an epoch was opened on is witnessed, and tells its age. What is wrong with the head
/// itself is said by `epoch-parent`.
pub(super) fn judge_epoch(
    sheet: &mut Sheet,
    policy: &Policy,
    open: &EpochOpen,
    parent: Option<&SignedCheckpoint>,
) {
    let (Some(quorum), true) = (quorum(policy), asks(policy)) else { return };
    let Some(parent) = parent else { return };
    let check = CheckName::EpochWitnessed;
    let record = || Record::Epoch { epoch: open.epoch };
    let time = quorum.time(parent);
    sheet.judge(check, time.is_ok(), record, || {
        let reason = time.as_ref().err().map_or_else(String::new, ToString::to_string);
        format!("the head it was opened on: {reason}")
    });
    let Ok(time) = time else { return };
    let opened = open.issued_at.0;
    sheet.judge(check, opened.saturating_add(CLOCK_TOLERANCE_S) >= time, record, || {
        format!("opened at {opened} by its enclave's clock, on a head cosigned at {time}: the clock was set back or stopped")
    });
    if let Limit::AtMost(most) = policy.freshness().maximum_age_seconds {
        let age = opened.saturating_sub(time);
        sheet.judge(check, age <= most, record, || {
            format!("opened {age} s after its head was cosigned, at most {most} s are allowed")
        });
    }
}
