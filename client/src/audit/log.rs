//! The log, recomputed: every leaf into the tree, every record into its epoch's chain.

use std::collections::{BTreeMap, HashMap};

use bulla_attestation::hash::labelled;
use bulla_tlog::{Frontier, Hash};
use bulla_wire::bundle::Inclusion;
use bulla_wire::epoch::EpochClose;
use bulla_wire::ids::{Digest, EpochId};
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;

use super::decision::{Decisions, Ruling};
use super::epoch::{judge_close, peek};
use super::kept::Kept;
use super::report::{Sheet, View};
use super::survey::{Claimant, Context};
use super::{CheckName, Record};

/// What the leaf of a receipt says.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeafFact {
    pub(super) index: u64,
    pub(super) epoch: EpochId,
    pub(super) seq: u64,
    pub(super) prev: Digest,
}

/// One epoch's chain, as far as it was read.
#[derive(Debug)]
struct Chain {
    /// Place that comes next.
    next: u64,
    /// Digest of the newest record.
    prev: Digest,
    closed: bool,
}

/// The log while it is read.
#[derive(Debug, Default)]
pub(super) struct Log {
    frontier: Frontier,
    chains: BTreeMap<EpochId, Chain>,
    highest: HashMap<EpochId, u64>,
    pub(super) decisions: Decisions,
    pub(super) leaves: u64,
    pub(super) inclusions: u64,
}

impl Log {
    /// Takes the next leaf of a log that is shown whole.
    pub(super) fn leaf(
        &mut self,
        sheet: &mut Sheet,
        context: &Context,
        kept: &mut Kept<'_>,
        bytes: &[u8],
    ) {
        let index = self.frontier.push(bytes);
        self.leaves += 1;
        self.compare_roots(sheet, context);
        let Some(leaf) = self.parse(sheet, index, bytes) else { return };
        self.take(sheet, kept, index, &leaf);
        match leaf {
            Leaf::EpochOpen { record } => self.open(context, index, &record.0),
            Leaf::EpochClose { record } => self.close(sheet, context, index, &record.0),
            Leaf::Receipt { epoch, seq, prev, receipt } => {
                self.chain(sheet, (epoch, seq, prev), receipt);
            }
            Leaf::Decision { .. }
            | Leaf::Keyset { .. }
            | Leaf::PriceBook { .. }
            | Leaf::Delegation { .. }
            | Leaf::Supply { .. }
            | Leaf::BlindKeys { .. }
            | Leaf::ReferenceValues { .. } => {}
        }
    }

    /// Takes a leaf that is shown by its proof.
    pub(super) fn inclusion(
        &mut self,
        sheet: &mut Sheet,
        context: &Context,
        kept: &mut Kept<'_>,
        shown: &Inclusion,
    ) {
        self.inclusions += 1;
        let proof: Vec<Hash> = shown.proof.iter().map(|hash| Hash::from_bytes(hash.0)).collect();
        let proven = match &context.newest {
            None => Err("the bundle has no checkpoint".to_owned()),
            Some(newest) => newest
                .verify_inclusion(Hash::leaf(&shown.leaf.0), shown.index, &proof)
                .map_err(|e| e.to_string()),
        };
        let index = shown.index;
        sheet.judge(
            CheckName::Inclusion,
            proven.is_ok(),
            || Record::Leaf { index },
            || proven.as_ref().err().cloned().unwrap_or_default(),
        );
        let Some(leaf) = self.parse(sheet, index, &shown.leaf.0) else { return };
        self.take(sheet, kept, index, &leaf);
        if let Leaf::EpochClose { record } = leaf {
            self.close_alone(sheet, context, index, &record.0);
        }
    }

    /// What a leaf says however it is shown.
    fn take(&mut self, sheet: &mut Sheet, kept: &mut Kept<'_>, index: u64, leaf: &Leaf) {
        match *leaf {
            Leaf::Receipt { epoch, seq, .. } => {
                let highest = self.highest.entry(epoch).or_default();
                *highest = seq.max(*highest);
            }
            Leaf::Decision { at, decision, .. } => {
                self.decisions.take(sheet, Ruling { index, at, decision });
            }
            _ => {}
        }
        kept.leaf(sheet, index, leaf);
    }

    fn parse(&self, sheet: &mut Sheet, index: u64, bytes: &[u8]) -> Option<Leaf> {
        let parsed = Leaf::from_slice(bytes);
        sheet.judge(
            CheckName::LeafFormat,
            parsed.is_ok(),
            || Record::Leaf { index },
            || parsed.as_ref().err().map_or_else(String::new, |e| e.to_string()),
        );
        parsed.ok()
    }

    fn compare_roots(&self, sheet: &mut Sheet, context: &Context) {
        let size = self.frontier.size();
        let Some(claims) = context.claims.get(&size) else { return };
        let root = self.frontier.root();
        for (claimed, claimant) in claims {
            let (check, record) = match claimant {
                Claimant::Checkpoint => (CheckName::LogConsistency, Record::Checkpoint { size }),
                Claimant::Parent(epoch) => {
                    (CheckName::EpochParent, Record::Epoch { epoch: *epoch })
                }
            };
            sheet.judge(
                check,
                *claimed == root,
                || record,
                || format!("signed root {claimed} for {size} leaves, the leaves lead to {root}"),
            );
        }
    }

    fn open(&mut self, context: &Context, index: u64, bytes: &[u8]) {
        let Ok(open) = peek::<bulla_wire::epoch::EpochOpen>(bytes) else { return };
        let first = context.epochs.get(&open.epoch).is_some_and(|epoch| epoch.leaf == index);
        if first {
            let prev = labelled(labels::RECORD, bytes);
            self.chains.entry(open.epoch).or_insert(Chain { next: 1, prev, closed: false });
        }
    }

    /// Appends a record to its epoch's chain, and says what does not fit.
    fn chain(
        &mut self,
        sheet: &mut Sheet,
        (epoch, seq, prev): (EpochId, u64, Digest),
        digest: Digest,
    ) {
        let record = || Record::Place { epoch, seq };
        let started = self.chains.contains_key(&epoch);
        sheet.judge(CheckName::ChainStart, started, record, || {
            "no epoch-open record of its epoch stands before it".to_owned()
        });
        // Without a start the chain is taken up here, so that one fault is named once.
        let chain = self.chains.entry(epoch).or_insert(Chain { next: seq, prev, closed: false });
        let expected = chain.next;
        sheet.judge(CheckName::ChainEnd, !chain.closed, record, || {
            "stands after its epoch was closed".to_owned()
        });
        sheet.judge(CheckName::ChainFork, seq >= expected, record, || {
            format!("place {seq} is taken already, {expected} comes next")
        });
        sheet.judge(CheckName::ChainGap, seq <= expected, record, || {
            format!("place {expected} comes next: {} records are missing", seq - expected)
        });
        if seq == expected {
            sheet.judge(CheckName::ChainLink, prev == chain.prev, record, || {
                format!("names {prev} as its predecessor, expected {}", chain.prev)
            });
        }
        if seq >= expected {
            chain.next = seq.saturating_add(1);
            chain.prev = digest;
        }
    }

    fn close(&mut self, sheet: &mut Sheet, context: &Context, index: u64, bytes: &[u8]) {
        let Some(close) = self.judge_close(sheet, context, index, bytes) else { return };
        let digest = labelled(labels::RECORD, bytes);
        self.chain(sheet, (close.epoch, close.seq, close.prev), digest);
        if let Some(chain) = self.chains.get_mut(&close.epoch) {
            chain.closed = true;
        }
    }

    fn close_alone(&mut self, sheet: &mut Sheet, context: &Context, index: u64, bytes: &[u8]) {
        let Some(close) = self.judge_close(sheet, context, index, bytes) else { return };
        let prev = labelled(labels::RECORD, bytes);
        self.chains.insert(close.epoch, Chain { next: close.seq, prev, closed: true });
    }

    fn judge_close(
        &self,
        sheet: &mut Sheet,
        context: &Context,
        index: u64,
        bytes: &[u8],
    ) -> Option<EpochClose> {
        let close = match peek::<EpochClose>(bytes) {
            Ok(close) => close,
            Err(reason) => {
                sheet.fail(CheckName::EpochSignature, Record::Leaf { index }, reason);
                return None;
            }
        };
        match context.epochs.get(&close.epoch) {
            Some(epoch) => judge_close(sheet, bytes, &close, epoch),
            None => {
                let record = Record::Place { epoch: close.epoch, seq: close.seq };
                sheet.fail(CheckName::ChainStart, record, "closes an epoch that was never opened");
            }
        }
        Some(close)
    }

    /// Whether a receipt without a leaf may only be waiting for its turn: nothing after it is
    /// logged, and its epoch is open.
    pub(super) fn may_follow(&self, epoch: &EpochId, seq: u64) -> bool {
        !self.is_closed(epoch) && self.highest.get(epoch).is_none_or(|highest| seq > *highest)
    }

    /// Whether its epoch-close record was read.
    pub(super) fn is_closed(&self, epoch: &EpochId) -> bool {
        self.chains.get(epoch).is_some_and(|chain| chain.closed)
    }

    /// Highest place of a receipt leaf of an epoch.
    pub(super) fn highest(&self, epoch: &EpochId) -> u64 {
        self.highest.get(epoch).copied().unwrap_or(0)
    }

    /// What only the end of the bundle shows.
    pub(super) fn conclude(&self, sheet: &mut Sheet, context: &Context) {
        match context.view {
            View::Full => self.coverage(sheet, context),
            View::Account | View::Receipt => claims_among_themselves(sheet, context),
        }
        if context.view == View::Receipt {
            return;
        }
        for epoch in context.epochs.keys() {
            if self.is_closed(epoch) {
                sheet.judge(CheckName::EpochClosed, true, || Record::Bundle, String::new);
            } else {
                let message = "not closed: records that nobody has shown may follow";
                sheet.warn(CheckName::EpochClosed, Record::Epoch { epoch: *epoch }, message);
            }
        }
    }

    fn coverage(&self, sheet: &mut Sheet, context: &Context) {
        let leaves = self.frontier.size();
        let covered = context.newest.as_ref().map(|newest| newest.checkpoint().size());
        sheet.judge(
            CheckName::LogCoverage,
            covered == Some(leaves),
            || Record::Bundle,
            || match covered {
                Some(covered) => format!("{leaves} leaves, the last checkpoint covers {covered}"),
                None => "the bundle has no checkpoint that can be opened".to_owned(),
            },
        );
        let missing = context.claims.range(leaves.saturating_add(1)..);
        for (size, claims) in missing {
            for (_, claimant) in claims {
                let (check, record) = match claimant {
                    Claimant::Checkpoint => {
                        (CheckName::LogCoverage, Record::Checkpoint { size: *size })
                    }
                    Claimant::Parent(epoch) => {
                        (CheckName::EpochParent, Record::Epoch { epoch: *epoch })
                    }
                };
                sheet.fail(check, record, format!("covers {size} leaves, the bundle has {leaves}"));
            }
        }
    }
}

/// Without the leaves, signed roots can only be compared where they are of one size.
fn claims_among_themselves(sheet: &mut Sheet, context: &Context) {
    sheet.leave_open(CheckName::LogConsistency, "this view does not show the leaves");
    for (size, claims) in &context.claims {
        let known = claims.iter().find(|(_, claimant)| matches!(claimant, Claimant::Checkpoint));
        for (root, claimant) in claims {
            let Claimant::Parent(epoch) = claimant else { continue };
            match known {
                Some((known, _)) => {
                    sheet.judge(CheckName::EpochParent, known == root, || Record::Epoch { epoch: *epoch }, || {
                        format!("its parent has root {root} for {size} leaves, the log signed {known}")
                    });
                }
                None => sheet.leave_open(
                    CheckName::EpochParent,
                    "signed by the log; its place in the history needs the leaves",
                ),
            }
        }
    }
}
