//! The first reading: header, checkpoints, evidence, epochs, price books, delegations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulla_attestation::hash::{keyset_digest, labelled, sha256};
use bulla_tlog::{Hash, SignedCheckpoint, VerifierKey};
use bulla_wire::bundle::{Archived, FORMAT, Header, Item, PROOF_FORMAT};
use bulla_wire::epoch::{EpochOpen, MAX_PARENT_CHECKPOINT_BYTES};
use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::{AccountHandle, Digest, EpochId};
use bulla_wire::keyset::Keyset;
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixSeconds;

use super::blind::BlindEpochs;
use super::epoch::{Appraised, Appraiser, Epoch, judge_open, peek};
use super::price::Books;
use super::report::{Sheet, View};
use super::supply::Statements;
use super::{AuditTrust, CheckName, Record, witness};

/// Who claims a root for a size of the log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claimant {
    /// A checkpoint of the bundle.
    Checkpoint,
    /// The epoch-open record of this epoch.
    Parent(EpochId),
}

/// A logged keyset.
#[derive(Debug)]
struct LoggedKeyset {
    evidence: Digest,
}

/// What everything else is judged against.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) view: View,
    pub(super) has_header: bool,
    pub(super) origin: String,
    pub(super) created_at: UnixSeconds,
    pub(super) account: Option<AccountHandle>,
    pub(super) newest: Option<SignedCheckpoint>,
    /// Roots that signed checkpoints claim, by size.
    pub(super) claims: BTreeMap<u64, Vec<(Hash, Claimant)>>,
    pub(super) epochs: BTreeMap<EpochId, Epoch>,
    pub(super) books: Books,
    pub(super) statements: Statements,
    /// Leaf index of every logged delegation, by digest.
    pub(super) delegations: HashMap<Digest, u64>,
}

impl Context {
    /// Whether an epoch rests on a simulated TEE.
    pub(super) fn is_simulated(&self) -> bool {
        self.epochs.values().any(|e| e.keys.as_ref().is_some_and(|keys| keys.simulated))
    }
}

/// The first reading, while it goes on.
pub(super) struct Survey<'a> {
    trust: &'a AuditTrust,
    appraise: Appraiser<'a>,
    sheet: &'a mut Sheet,
    header: Option<Header>,
    items: u64,
    leaves: u64,
    newest: Option<SignedCheckpoint>,
    /// Names under which the log signs no more.
    given_up: BTreeSet<String>,
    claims: BTreeMap<u64, Vec<(Hash, Claimant)>>,
    evidence: HashMap<Digest, Appraised>,
    keysets: HashMap<Digest, Vec<LoggedKeyset>>,
    opens: Vec<(u64, Vec<u8>)>,
    books: Books,
    statements: Statements,
    blind: BlindEpochs,
    delegations: HashMap<Digest, u64>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(
        trust: &'a AuditTrust,
        appraise: Appraiser<'a>,
        sheet: &'a mut Sheet,
    ) -> Self {
        Survey {
            trust,
            appraise,
            sheet,
            header: None,
            items: 0,
            leaves: 0,
            newest: None,
            given_up: BTreeSet::new(),
            claims: BTreeMap::new(),
            evidence: HashMap::new(),
            keysets: HashMap::new(),
            opens: Vec::new(),
            books: Books::default(),
            statements: Statements::default(),
            blind: BlindEpochs::default(),
            delegations: HashMap::new(),
        }
    }

    /// How many items have come, those passed over too.
    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn item(&mut self, item: Option<Item>) {
        let number = self.items;
        self.items += 1;
        let Some(item) = item else { return };
        match item {
            Item::Header(header) => self.header(number, header),
            Item::Checkpoint(note) => self.checkpoint(number, &note.0),
            Item::Leaf(leaf) => {
                self.leaf(self.leaves, &leaf.0);
                self.leaves += 1;
            }
            Item::Inclusion(inclusion) => self.leaf(inclusion.index, &inclusion.leaf.0),
            Item::Evidence(archived) => self.evidence(&archived),
            Item::Receipt(_) | Item::Order(_) | Item::Transfer(_) => {}
            Item::Invoice(_) | Item::Opening(_) | Item::Showing(_) => {}
        }
    }

    fn header(&mut self, number: u64, header: Header) {
        let first = number == 0 && self.header.is_none();
        let check = CheckName::BundleFormat;
        self.sheet.judge(check, first, || Record::Item { number }, || "a second header".to_owned());
        self.sheet.judge(
            check,
            is_known(&header),
            || Record::Item { number },
            || format!("expected format {FORMAT} or {PROOF_FORMAT}, got {:?}", header.format),
        );
        let known = self.trust.log_keys.iter().any(|key| key.name() == header.origin);
        self.sheet.judge(
            CheckName::CheckpointSignature,
            known,
            || Record::Item { number },
            || format!("a bundle of log {:?}, whose key was not named", header.origin),
        );
        self.header.get_or_insert(header);
    }

    fn checkpoint(&mut self, number: u64, note: &[u8]) {
        let opened = open_checkpoint(note, &self.trust.log_keys);
        let opened = opened.and_then(|checkpoint| self.of_this_log(checkpoint));
        self.sheet.judge(
            CheckName::CheckpointSignature,
            opened.is_ok(),
            || Record::Item { number },
            || opened.as_ref().err().cloned().unwrap_or_default(),
        );
        let Ok(opened) = opened else { return };
        witness::judge_cosignatures(self.sheet, &self.trust.policy, &opened);
        let (size, root) = (opened.checkpoint().size(), opened.checkpoint().root());
        let before = self.newest.as_ref().map(|newest| newest.checkpoint().clone());
        let problem = before.and_then(|old| match (old.size(), old.root()) {
            (old, _) if old > size => Some(format!("comes after a checkpoint of {old} leaves")),
            (old, known) if old == size && known != root => {
                Some(format!("a fork: one size, two roots, {known} and {root}"))
            }
            _ => None,
        });
        let in_order = problem.is_none();
        self.sheet.judge(
            CheckName::CheckpointOrder,
            in_order,
            || Record::Checkpoint { size },
            || problem.unwrap_or_default(),
        );
        self.claims.entry(size).or_default().push((root, Claimant::Checkpoint));
        if in_order {
            self.newest = Some(opened);
        }
    }

    /// A log that took another origin has the same leaves: under its earlier names, as the auditor
    /// named their keys, it may have signed no head after one under its own.
    fn of_this_log(&mut self, checkpoint: SignedCheckpoint) -> Result<SignedCheckpoint, String> {
        let origin = self.header.as_ref().map(|header| header.origin.as_str());
        let got = checkpoint.checkpoint().origin();
        let before = self.newest.as_ref().map(|newest| newest.checkpoint().origin());
        let Some(before) = before.filter(|before| *before != got) else { return Ok(checkpoint) };
        match Some(before) != origin && !self.given_up.contains(got) {
            true => {
                self.given_up.insert(before.to_owned());
                Ok(checkpoint)
            }
            false => Err(format!("a checkpoint of {got:?} in a bundle of {origin:?}")),
        }
    }

    /// The last head is the log's own.
    fn judge_origin(&mut self) {
        let (Some(header), Some(newest)) = (&self.header, &self.newest) else { return };
        let (size, got) = (newest.checkpoint().size(), newest.checkpoint().origin());
        let (same, expected) = (got == header.origin, &header.origin);
        self.sheet.judge(
            CheckName::CheckpointSignature,
            same,
            || Record::Checkpoint { size },
            || format!("the last checkpoint is of {got:?}, in a bundle of {expected:?}"),
        );
    }

    /// Records that are public as they are. Leaves of receipts and decisions are left for the
    /// second reading, which also says what does not parse.
    fn leaf(&mut self, index: u64, bytes: &[u8]) {
        if Leaf::is_receipt(bytes) || Leaf::is_decision(bytes) {
            return;
        }
        match Leaf::from_slice(bytes) {
            Ok(Leaf::EpochOpen { record }) => self.opens.push((index, record.0)),
            Ok(Leaf::Keyset { keyset, evidence }) => self.keyset(index, &keyset.0, evidence),
            Ok(Leaf::PriceBook { book }) => {
                self.books.add(self.sheet, &self.trust.broker_root, index, &book.0);
            }
            Ok(Leaf::Supply { statement }) => {
                self.statements.add(self.sheet, &self.trust.broker_root, index, &statement.0);
            }
            Ok(Leaf::Delegation { delegation }) => {
                let digest = labelled(labels::RECORD, &delegation.0);
                self.delegations.entry(digest).or_insert(index);
            }
            Ok(Leaf::BlindKeys { keys }) => {
                self.blind.add(self.sheet, &self.trust.broker_root, index, &keys.0);
            }
            Ok(
                Leaf::Receipt { .. }
                | Leaf::EpochClose { .. }
                | Leaf::ReferenceValues { .. }
                | Leaf::Decision { .. },
            )
            | Err(_) => {}
        }
    }

    fn keyset(&mut self, index: u64, bytes: &[u8], evidence: Digest) {
        let canonical = Keyset::from_json(bytes).is_ok_and(|keyset| keyset.jcs() == bytes);
        self.sheet.judge(
            CheckName::EpochKeyset,
            canonical,
            || Record::Leaf { index },
            || "the logged keyset is no aci/1 keyset in its JCS form".to_owned(),
        );
        self.keysets.entry(sha256(bytes)).or_default().push(LoggedKeyset { evidence });
    }

    fn evidence(&mut self, archived: &Archived) {
        let digest = labelled(labels::EVIDENCE, &archived.report.0);
        let record = || Record::Evidence { digest };
        let parsed = AttestationReport::from_json(&archived.report.0);
        self.sheet.judge(CheckName::EpochEvidence, parsed.is_ok(), record, || {
            parsed.as_ref().err().map_or_else(String::new, |e| e.to_string())
        });
        let Ok(report) = parsed else { return };
        let keyset = keyset_digest(&report.attestation.workload_keyset);
        let keys = (self.appraise)(&report, archived.appraised_at);
        self.sheet.judge(CheckName::EpochAppraisal, keys.is_ok(), record, || {
            keys.as_ref().err().cloned().unwrap_or_default()
        });
        self.evidence.insert(digest, Appraised { keyset, keys });
    }

    pub(super) fn conclude(mut self) -> Context {
        let mut epochs = BTreeMap::new();
        for (leaf, bytes) in std::mem::take(&mut self.opens) {
            match peek::<EpochOpen>(&bytes) {
                Ok(open) => self.epoch(&mut epochs, leaf, &bytes, open),
                Err(reason) => {
                    self.sheet.fail(
                        CheckName::EpochSignature,
                        Record::Leaf { index: leaf },
                        reason,
                    );
                }
            }
        }
        self.judge_origin();
        witness::judge_newest(self.sheet, &self.trust.policy, self.newest.as_ref());
        if self.header.is_none() {
            self.sheet.fail(CheckName::BundleFormat, Record::Bundle, "the bundle has no header");
        }
        let account = self.header.as_ref().and_then(|header| header.account);
        Context {
            view: self.header.as_ref().map_or(View::Full, view),
            has_header: self.header.as_ref().is_some_and(is_known),
            origin: self.header.as_ref().map_or_else(String::new, |h| h.origin.clone()),
            created_at: self.header.as_ref().map_or(UnixSeconds(0), |header| header.created_at),
            account,
            newest: self.newest,
            claims: self.claims,
            epochs,
            books: self.books,
            statements: self.statements,
            delegations: self.delegations,
        }
    }

    fn epoch(
        &mut self,
        epochs: &mut BTreeMap<EpochId, Epoch>,
        leaf: u64,
        bytes: &[u8],
        open: EpochOpen,
    ) {
        let record = || Record::Epoch { epoch: open.epoch };
        let fresh = !epochs.contains_key(&open.epoch);
        self.sheet.judge(CheckName::EpochId, fresh, record, || {
            format!("opened a second time, in leaf {leaf}")
        });
        if !fresh {
            return;
        }
        let keys = self.keys_of(&open);
        judge_open(self.sheet, bytes, &open, keys.as_ref());
        self.keyset_leaf(&open);
        let parent = self.parent(&open, leaf);
        witness::judge_epoch(self.sheet, &self.trust.policy, &open, parent.as_ref());
        epochs.insert(
            open.epoch,
            Epoch {
                keyset: open.keyset,
                issuer: open.issuer,
                opened_at: open.issued_at,
                configuration: open.configuration,
                evidence: open.evidence,
                leaf,
                keys,
            },
        );
    }

    /// The attested keys of an epoch, where its evidence is here and affirmed.
    fn keys_of(&mut self, open: &EpochOpen) -> Option<super::epoch::EpochKeys> {
        let appraised = self.evidence.get(&open.evidence);
        let same = appraised.is_some_and(|appraised| appraised.keyset == open.keyset);
        self.sheet.judge(
            CheckName::EpochEvidence,
            same,
            || Record::Epoch { epoch: open.epoch },
            || match appraised {
                None => format!("evidence {} is not in the bundle", open.evidence),
                Some(other) => {
                    format!("its evidence binds keyset {}, not {}", other.keyset, open.keyset)
                }
            },
        );
        let keys = appraised.filter(|_| same)?.keys.as_ref().ok()?;
        (keys.keyset == open.keyset).then(|| keys.clone())
    }

    fn keyset_leaf(&mut self, open: &EpochOpen) {
        let logged = self.keysets.get(&open.keyset);
        let same = logged.is_some_and(|all| all.iter().any(|one| one.evidence == open.evidence));
        self.sheet.judge(
            CheckName::EpochKeyset,
            same,
            || Record::Epoch { epoch: open.epoch },
            || match logged {
                None => format!("keyset {} is not in the log", open.keyset),
                Some(_) => {
                    format!("its keyset is logged with other evidence than {}", open.evidence)
                }
            },
        );
    }

    fn parent(&mut self, open: &EpochOpen, leaf: u64) -> Option<SignedCheckpoint> {
        let opened = match open.parent.0.len() {
            got if got > MAX_PARENT_CHECKPOINT_BYTES => {
                Err(format!("{got} bytes, at most {MAX_PARENT_CHECKPOINT_BYTES} are allowed"))
            }
            _ => open_checkpoint(&open.parent.0, &self.trust.log_keys),
        };
        let parent = opened.and_then(|parent| match parent.checkpoint().size() {
            size if size > leaf => Err(format!("of {size} leaves, but this is leaf {leaf}")),
            _ => Ok(parent),
        });
        let record = || Record::Epoch { epoch: open.epoch };
        self.sheet.judge(CheckName::EpochParent, parent.is_ok(), record, || {
            format!("parent checkpoint: {}", parent.as_ref().err().cloned().unwrap_or_default())
        });
        let parent = parent.ok()?;
        let (size, root) = (parent.checkpoint().size(), parent.checkpoint().root());
        self.claims.entry(size).or_default().push((root, Claimant::Parent(open.epoch)));
        Some(parent)
    }
}

fn is_known(header: &Header) -> bool {
    [FORMAT, PROOF_FORMAT].contains(&header.format.as_str())
}

fn view(header: &Header) -> View {
    match (header.format.as_str(), header.account) {
        (PROOF_FORMAT, _) => View::Receipt,
        (_, Some(_)) => View::Account,
        (_, None) => View::Full,
    }
}

/// Opens a checkpoint under whichever of the auditor's log keys signed it.
fn open_checkpoint(note: &[u8], keys: &[VerifierKey]) -> Result<SignedCheckpoint, String> {
    let mut reason = "no log key was named".to_owned();
    for key in keys {
        match SignedCheckpoint::open(note, key) {
            Ok(opened) => return Ok(opened),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}
