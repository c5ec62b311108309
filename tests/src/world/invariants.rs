//! What must hold. The witness watches every step; the rest is judged when all has drained.

use std::collections::{BTreeMap, BTreeSet};

use bulla_attestation::sign::verify_order;
use bulla_broker::audit::{Scope, export};
use bulla_broker::io::store::SqliteStore;
use bulla_broker::ledger::{HoldState, Queries, StoredHold};
use bulla_client::audit::{AuditTrust, audit_bytes};
use bulla_tlog::{Hash, Tree};
use bulla_wire::cbor;
use bulla_wire::cose::Sign1;
use bulla_wire::ids::{Digest, EpochId, HoldId};
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;
use bulla_wire::pull::OutboxRecord;
use bulla_wire::receipt::{MAX_RECEIPT_BYTES, Outcome, UsageReceipt};
use bulla_wire::units::MicroUnits;

use super::CANARY;
use super::broker::BrokerHost;
use super::client::Ask;
use super::enclave::SAYS;
use super::network::Message;
use super::street::Street;

/// More than any seed makes.
const ALL: usize = 10_000;

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Which invariant: see the text of [`super`].
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// The last lines of the trace.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Violation { seed, invariant, what, .. } = self;
        writeln!(f, "seed {seed} breaks {invariant}: {what}")?;
        write!(
            f,
            "BULLA_SEED={seed} cargo test -p bulla-tests --test simulation one_seed -- --nocapture"
        )
    }
}

/// Sees everything, remembers what must not change.
#[derive(Default)]
pub struct Witness {
    blame: Option<(&'static str, String)>,
    tree: Tree,
    leaves: Vec<Vec<u8>>,
    newest_size: u64,
    /// With the most each may be charged, by its order.
    holds: BTreeMap<HoldId, (StoredHold, MicroUnits)>,
    durable: Vec<OutboxRecord>,
    told: BTreeMap<HoldId, Vec<u8>>,
}

type Seen = Result<(), (&'static str, String)>;

impl Witness {
    /// An invariant is broken; the first one counts.
    pub fn blame(&mut self, invariant: &'static str, what: String) {
        self.blame.get_or_insert((invariant, what));
    }

    /// True while nothing is broken.
    pub fn is_content(&self) -> bool {
        self.blame.is_none()
    }

    pub(super) fn take_blame(&mut self) -> Option<(&'static str, String)> {
        self.blame.take()
    }

    /// Content in a message, if there is any.
    pub fn plaintext_in(message: &Message) -> Option<String> {
        message
            .bytes()
            .into_iter()
            .any(has_canary)
            .then(|| format!("a {} shows content", message.name()))
    }

    /// A record of an enclave is durable there.
    pub fn durable(&mut self, record: OutboxRecord) {
        self.durable.push(record);
    }

    /// An enclave told the whole answer of a hold.
    pub fn told(&mut self, hold: HoldId, sealed: Vec<u8>) -> Result<(), String> {
        match self.told.get(&hold) {
            Some(first) if *first != sealed => {
                Err(format!("hold {hold}: {} bytes first, now {}", first.len(), sealed.len()))
            }
            Some(_) => Ok(()),
            None => {
                self.told.insert(hold, sealed);
                Ok(())
            }
        }
    }

    /// A checkpoint was published.
    pub fn checkpoint(&mut self, size: u64, root: Hash) -> Result<(), String> {
        if size < self.newest_size {
            return Err(format!("checkpoint of {size} leaves after one of {}", self.newest_size));
        }
        self.newest_size = size;
        match self.tree.root_at(size) {
            Ok(ours) if ours == root => Ok(()),
            Ok(ours) => Err(format!("checkpoint of {size} leaves has root {root}, not {ours}")),
            Err(error) => Err(format!("checkpoint of {size} leaves: {error}")),
        }
    }

    /// A batch became durable: what must hold after every one.
    fn store(&mut self, store: &SqliteStore) -> Seen {
        let unreadable = |error| ("role-error", format!("store: {error}"));
        for (unit, totals) in store.totals().map_err(unreadable)? {
            if !totals.balances() {
                return Err(("ledger-balances", format!("{unit}: {totals:?}")));
            }
        }
        let from = self.leaves.len() as u64;
        for leaf in store.leaves(from, ALL).map_err(unreadable)? {
            self.tree.push(&leaf);
            self.leaves.push(leaf);
        }
        if store.leaf_count().map_err(unreadable)? != self.leaves.len() as u64 {
            return Err(("log-grows", "leaves went away".to_owned()));
        }
        for hold in store.holds(None, 0, ALL).map_err(unreadable)? {
            self.hold(hold)?;
        }
        Ok(())
    }

    fn hold(&mut self, hold: StoredHold) -> Seen {
        let most = match self.holds.get(&hold.hold) {
            Some((before, _)) if *before == hold => return Ok(()),
            Some((before, _)) if before.state != HoldState::Active => {
                let what = format!("hold {}: {} {:?}", hold.hold, before.state, before.charged);
                let what = format!("{what}, then {} {:?}", hold.state, hold.charged);
                return Err(("hold-ends-once", what));
            }
            Some((_, most)) => *most,
            None => {
                let order = verify_order(&hold.order);
                order.map_err(|error| ("role-error", error.to_string()))?.max_charge
            }
        };
        let charged = hold.charged.unwrap_or_default();
        if charged > most || charged > hold.amount {
            let what = format!("hold {}: charged {charged} of {most}", hold.hold);
            return Err(("charge-within-order", what));
        }
        self.holds.insert(hold.hold, (hold, most));
        Ok(())
    }
}

impl Street {
    /// The store changed: the witness looks.
    pub fn witness_store(&mut self, store: &SqliteStore) {
        if let Err((invariant, what)) = self.witness.store(store) {
            self.blame(invariant, what);
        }
    }
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// Everything has drained: what must hold now.
pub fn at_the_end(street: &mut Street, broker: &BrokerHost, asks: &[Ask], trust: &AuditTrust) {
    street.witness_store(&broker.store);
    let checks = [
        holds_ended(&street.witness, &broker.store),
        records_logged(&street.witness, &broker.store),
        epochs_linked(&broker.store),
        answers_kept(asks, &broker.store),
        answers_right(asks),
        waiters_answered(broker),
    ];
    for (invariant, what) in checks.into_iter().filter_map(Result::err) {
        street.blame(invariant, what);
    }
    let mut scopes = vec![Scope::Full];
    let accounts = broker.store.accounts().unwrap_or_default();
    scopes.extend(accounts.iter().map(|account| Scope::Account(account.number)));
    for scope in scopes {
        if let Err((invariant, what)) = audited(street, broker, scope, trust) {
            street.blame(invariant, what);
        }
    }
    for (hold, _) in street.witness.holds.values() {
        match hold.state {
            HoldState::Settled => street.tally.settled += 1,
            HoldState::Released => street.tally.released += 1,
            HoldState::Expired => street.tally.expired += 1,
            HoldState::Active => {}
        }
    }
}

fn holds_ended(witness: &Witness, store: &SqliteStore) -> Seen {
    for (hold, _) in witness.holds.values() {
        if hold.state == HoldState::Active {
            return Err(("hold-ends-once", format!("hold {} is still active", hold.hold)));
        }
        let Some(digest) = hold.receipt else { continue };
        let what = |what: String| ("charge-within-order", format!("hold {}: {what}", hold.hold));
        let record = store.record(&digest).map_err(|e| what(e.to_string()))?;
        let record = record.ok_or_else(|| what("its receipt is not kept".to_owned()))?;
        let receipt = read(&record.bytes).ok_or_else(|| what("receipt unread".to_owned()))?;
        if Some(receipt.charge) != hold.charged || receipt.hold != hold.hold {
            return Err(what(format!("receipt {}, ledger {:?}", receipt.charge, hold.charged)));
        }
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Option<UsageReceipt> {
    Sign1::parse(bytes, labels::TYP_RECEIPT, MAX_RECEIPT_BYTES).ok()?.decode().ok()
}

/// What became durable in an enclave stands in the log, exactly once.
fn records_logged(witness: &Witness, store: &SqliteStore) -> Seen {
    let mut places: BTreeMap<(EpochId, u64), usize> = BTreeMap::new();
    for leaf in &witness.leaves {
        if let Some(place) = place(leaf) {
            *places.entry(place).or_default() += 1;
        }
    }
    if let Some(((epoch, seq), count)) = places.iter().find(|(_, count)| **count > 1) {
        return Err(("receipts-logged", format!("epoch {epoch} place {seq} has {count} leaves")));
    }
    for record in &witness.durable {
        let what = |what| ("receipts-logged", format!("{} {}: {what}", record.epoch, record.seq));
        let digest = bulla_attestation::hash::labelled(labels::RECORD, &record.record.0);
        let kept = store.record(&digest).map_err(|_| what("unreadable"))?;
        let kept = kept.ok_or_else(|| what("not in the ledger"))?;
        if kept.bytes != record.record.0 {
            return Err(what("other bytes in the ledger"));
        }
        let index = kept.leaf_index.ok_or_else(|| what("not in the log"))?;
        let leaf = witness.leaves.get(index as usize);
        if leaf.and_then(|leaf| place(leaf)) != Some((record.epoch, record.seq)) {
            return Err(what("another leaf in its place"));
        }
    }
    Ok(())
}

/// Which record a leaf is for.
fn place(leaf: &[u8]) -> Option<(EpochId, u64)> {
    use bulla_wire::epoch::{EpochClose, EpochOpen, MAX_EPOCH_RECORD_BYTES};
    match Leaf::from_slice(leaf).ok()? {
        Leaf::Receipt { epoch, seq, .. } => Some((epoch, seq)),
        Leaf::EpochOpen { record } => {
            let sign = Sign1::parse(&record.0, labels::TYP_EPOCH_OPEN, MAX_EPOCH_RECORD_BYTES);
            Some((sign.ok()?.decode::<EpochOpen>().ok()?.epoch, 0))
        }
        Leaf::EpochClose { record } => {
            let sign = Sign1::parse(&record.0, labels::TYP_EPOCH_CLOSE, MAX_EPOCH_RECORD_BYTES);
            let close: EpochClose = sign.ok()?.decode().ok()?;
            Some((close.epoch, close.seq))
        }
        _ => None,
    }
}

/// Every epoch's receipts follow one another without a gap.
fn epochs_linked(store: &SqliteStore) -> Seen {
    let broken = |what: String| ("receipts-logged", what);
    let receipts = store.receipts(None, 0, ALL).map_err(|e| broken(e.to_string()))?;
    let mut epochs: BTreeMap<EpochId, BTreeMap<u64, (Digest, Digest)>> = BTreeMap::new();
    for record in &receipts {
        let receipt = read(&record.bytes).ok_or_else(|| broken("receipt unread".to_owned()))?;
        let chain = epochs.entry(record.epoch).or_default();
        if chain.insert(record.seq, (receipt.prev, record.digest)).is_some() {
            return Err(broken(format!("epoch {} place {} twice", record.epoch, record.seq)));
        }
    }
    for (epoch, chain) in epochs {
        let places: Vec<u64> = chain.keys().copied().collect();
        if places != (1..=places.len() as u64).collect::<Vec<_>>() {
            return Err(broken(format!("epoch {epoch} has places {places:?}")));
        }
        for (seq, (prev, _)) in chain.iter().skip(1) {
            if chain.get(&(seq - 1)).map(|(_, digest)| digest) != Some(prev) {
                return Err(broken(format!("epoch {epoch} place {seq} links elsewhere")));
            }
        }
    }
    Ok(())
}

/// What a client took as done is in the log, byte for byte, once per hold.
fn answers_kept(asks: &[Ask], store: &SqliteStore) -> Seen {
    let mut holds = BTreeSet::new();
    for settled in asks.iter().filter_map(Ask::settled) {
        let what = |what: &str| ("answer-kept", format!("hold {}: {what}", settled.order.hold));
        let digest = settled.receipt.digest();
        let record = store.record(&digest).map_err(|_| what("unreadable"))?;
        let record = record.ok_or_else(|| what("receipt is not in the ledger"))?;
        if record.bytes != settled.receipt.bytes() || record.leaf_index.is_none() {
            return Err(what("other bytes, or no leaf"));
        }
        if !holds.insert(settled.order.hold) {
            return Err(what("done twice"));
        }
    }
    Ok(())
}

/// A complete answer is what the engine said.
fn answers_right(asks: &[Ask]) -> Seen {
    for ask in asks {
        let Some(settled) = ask.settled() else { continue };
        if settled.receipt.outcome != Outcome::Complete {
            continue;
        }
        let (prompt, is_stream, status, body) = ask.conversation();
        let text = text_of(body, is_stream).unwrap_or_default();
        if status != 200 || (text != prompt && text != SAYS) {
            return Err(("one-answer", format!("status {status}, {} characters", text.len())));
        }
    }
    Ok(())
}

fn text_of(body: &[u8], is_stream: bool) -> Option<String> {
    let content = |value: &serde_json::Value, path: &str| {
        value.pointer(path).and_then(|text| text.as_str()).map(str::to_owned)
    };
    if !is_stream {
        let value = serde_json::from_slice(body).ok()?;
        return content(&value, "/choices/0/message/content");
    }
    let text = std::str::from_utf8(body).ok()?;
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let values = events.filter_map(|event| serde_json::from_str(event).ok());
    Some(values.filter_map(|value| content(&value, "/choices/0/delta/content")).collect())
}

fn waiters_answered(broker: &BrokerHost) -> Seen {
    match broker.waiters() {
        0 => Ok(()),
        count => Err(("every-waiter-answered", format!("{count} wait"))),
    }
}

/// The shipped audit of the shipped export.
fn audited(street: &Street, broker: &BrokerHost, scope: Scope, trust: &AuditTrust) -> Seen {
    let mut bundle = Vec::new();
    let written = export(
        &broker.store,
        &crate::rig::log_signer(),
        scope,
        street.now.seconds(),
        &mut |item| {
            bundle.extend(cbor::to_vec(item));
            Ok(())
        },
    );
    written.map_err(|error| ("role-error", format!("export: {error}")))?;
    if has_canary(&bundle) {
        return Err(("no-plaintext", "the export shows content".to_owned()));
    }
    let report = audit_bytes(&bundle, trust);
    match report.errors().next() {
        None if report.readable => Ok(()),
        None => Err(("audit-clean", format!("{scope:?} does not read to its end"))),
        Some(finding) => {
            let what = format!("{scope:?}: {}: {}", finding.record, finding.message);
            Err(("audit-clean", what))
        }
    }
}
