//! Orders that a witness handed to the log's operator ([`bulla_wire::showing`]): each has a decision
//! in the log, by the time the same witness cosigned a head late enough. Whoever published that head
//! has had the answer in which the order stood.
//!
//! One witness may lie: what fewer say than the policy asks for is told, and is no error.

use std::collections::BTreeMap;

use bulla_attestation::policy::Policy;
use bulla_attestation::sign::read;
use bulla_tlog::{SignedCheckpoint, WitnessKey};
use bulla_wire::ids::{Digest, PublicKey};
use bulla_wire::showing::{MAX_DECISION_SECONDS, Showing};
use bulla_wire::units::UnixSeconds;

use super::decision::Ruling;
use super::join::Join;
use super::kept::Kept;
use super::order::MAX_CLOCK_SKEW_SECONDS;
use super::report::{Sheet, View};
use super::{CheckName, Record};

/// What witnesses say, by order and name of the witness.
#[derive(Debug, Default)]
pub(super) struct Showings(BTreeMap<Digest, BTreeMap<String, Showing>>);

/// The key of a witness that can say more than cosignatures.
fn speaks(key: &WitnessKey) -> Option<PublicKey> {
    key.ed25519().map(|bytes| PublicKey(*bytes))
}

impl Showings {
    /// Takes one witness's word; `record` is where it stands.
    pub(super) fn add(
        &mut self,
        sheet: &mut Sheet,
        (policy, origin): (&Policy, &str),
        record: Record,
        bytes: &[u8],
    ) {
        let check = CheckName::Showing;
        let message = match read::<Showing>(bytes) {
            Ok(message) => message,
            Err(error) => return sheet.fail(check, record, error.to_string()),
        };
        let (showing, keys) = (message.value, &policy.witnesses().keys);
        let own = keys.iter().find(|key| key.name() == showing.witness).and_then(speaks);
        let all: Vec<PublicKey> = match own {
            Some(key) => vec![key],
            None => keys.iter().filter_map(speaks).collect(),
        };
        let signed = match (message.signature.by(&all), own) {
            (Err(_), None) => {
                return sheet.leave_open(check, "said by a witness that the policy does not name");
            }
            (claim, own) => own.is_some() && claim.is_ok_and(|claim| claim.holds()),
        };
        sheet.judge(
            check,
            signed,
            || record.clone(),
            || format!("not signed by the witness it names, {:?}", showing.witness),
        );
        sheet.judge(
            check,
            showing.origin == origin,
            || record,
            || format!("about log {:?}, in a bundle of {origin:?}", showing.origin),
        );
        if signed && showing.origin == origin {
            let of_order = self.0.entry(showing.order).or_default();
            of_order.insert(showing.witness.clone(), showing);
        }
    }

    /// Holds those of this round against the log's decisions.
    pub(super) fn compare(&self, sheet: &mut Sheet, policy: &Policy, join: &Join<'_>) {
        let Kept { round, granted, refused, .. } = join.kept;
        for (order, said) in self.0.iter().filter(|(order, _)| round.hold(*order)) {
            let ruling = granted.get(order).or_else(|| refused.get(order));
            match ruling {
                Some(ruling) => decided(sheet, *order, said, ruling),
                None if join.context.view != View::Full => {
                    let reason = "only the whole log shows that there is no decision";
                    sheet.leave_open(CheckName::WithheldOrder, reason);
                }
                None => undecided(sheet, policy, *order, (said, join.context.newest.as_ref())),
            }
        }
    }
}

/// In time, by two clocks that may be apart.
fn decided(sheet: &mut Sheet, order: Digest, said: &BTreeMap<String, Showing>, ruling: &Ruling) {
    let check = CheckName::WithheldOrder;
    let latest = said.values().map(|one| one.shown_at).min().unwrap_or(UnixSeconds(0));
    let latest = latest.saturating_add(UnixSeconds(MAX_DECISION_SECONDS + MAX_CLOCK_SKEW_SECONDS));
    if ruling.at <= latest {
        return sheet.examine(check);
    }
    let message = format!("leaf {} decided at {}, at the latest {latest}", ruling.index, ruling.at);
    sheet.warn(check, Record::ShownOrder { digest: order }, message);
}

fn undecided(
    sheet: &mut Sheet,
    policy: &Policy,
    order: Digest,
    (said, newest): (&BTreeMap<String, Showing>, Option<&SignedCheckpoint>),
) {
    let check = CheckName::WithheldOrder;
    let Some(newest) = newest else { return };
    let keys = &policy.witnesses().keys;
    let late = |(name, one): (&String, &Showing)| {
        let key = keys.iter().find(|key| key.name() == name)?;
        let cosigned = key.verify(newest).ok()?;
        let due = one.shown_at.0.saturating_add(MAX_DECISION_SECONDS);
        (cosigned >= due).then(|| format!("{name} at {}", one.shown_at))
    };
    let late: Vec<String> = said.iter().filter_map(late).collect();
    if late.is_empty() {
        let reason = "no witness that handed an order over has cosigned the last checkpoint later \
                      than it had to be decided";
        return sheet.leave_open(check, reason);
    }
    let speakers = keys.iter().filter_map(speaks).count();
    let needed = policy.witnesses().quorum.clamp(1, speakers.max(1));
    let message = format!(
        "handed to the log's operator by {}, and the log of {} leaves that was cosigned more than \
         {MAX_DECISION_SECONDS} s later has no decision about it",
        late.join(", "),
        newest.checkpoint().size()
    );
    let record = Record::ShownOrder { digest: order };
    match late.len() >= needed {
        true => sheet.fail(check, record, message),
        false => {
            let few = format!("{message}; {needed} witnesses must say so, {} do", late.len());
            sheet.warn(check, record, few);
        }
    }
}
