//! The row of the audit, and the bundle it judges: one epoch of one customer, every record signed.

use anyhow::ensure;
use bulla_attestation::hash::{account_handle, labelled, sha256};
use bulla_attestation::seal::Kem;
use bulla_client::audit::{AuditTrust, audit_bytes};
use bulla_tlog::{Checkpoint, SignerKey, Tree};
use bulla_wire::bundle::{
    Archived, FORMAT, Header, Invoice, Item, Ordered, Transfer, TransferKind,
};
use bulla_wire::cbor::{self, Bytes};
use bulla_wire::epoch::{EpochClose, EpochOpen};
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;
use bulla_wire::price::{PriceBook, PriceRow};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};

use super::bare;
use super::row::{Row, Side};
use super::scene::{Desk, Epoch, RATES, Scene, configuration, instance, model};

/// Name of the log.
const ORIGIN: &str = "log.bulla.bench";
/// What the customer bought.
const PURCHASE: u64 = 1_000_000_000_000;

/// The audit of a bundle of so many receipts.
pub fn rows(scene: &Scene, receipts: u64) -> anyhow::Result<Vec<Row>> {
    let log = SignerKey::from_seed(ORIGIN, &[3; 32])?;
    let desk = Desk::new(scene.now);
    let trust = AuditTrust {
        log_keys: vec![log.verifier()],
        broker_root: desk.root.public(),
        anchors: scene.anchors.clone(),
        policy: scene.policy.clone(),
    };
    let bundle = Clerk::new(scene, log, desk)?.bundle(receipts)?;
    let anchor = bare::ed25519_verify_rate(bundle.iter().copied().take(500).collect());
    let work = format!("audit a bundle of {receipts} receipts");
    let subject = Side::rated(work, "receipts", receipts as f64, move || {
        let report = audit_bytes(&bundle, &trust);
        ensure!(report.is_clean(), "the bench's own bundle was refused:\n{report}");
        ensure!(report.counts.receipts == receipts, "receipts are missing");
        Ok(())
    });
    Ok(vec![Row { subject, anchor }])
}

/// Keeps the books that the audit will read.
struct Clerk {
    log: SignerKey,
    desk: Desk,
    epoch: Epoch,
    report: Vec<u8>,
    book: Vec<u8>,
    tree: Tree,
    leaves: Vec<Item>,
    records: Vec<Item>,
    transfers: Vec<Transfer>,
    spent: u64,
    prev: Digest,
}

impl Clerk {
    fn new(scene: &Scene, log: SignerKey, mut desk: Desk) -> anyhow::Result<Clerk> {
        let epoch = scene.boot(Kem::XWing)?;
        let report = scene.report(&epoch.identity, None)?.to_json();
        let book = desk.root.sign(PriceBook {
            issued_at: scene.now,
            version: 1,
            effective_from: scene.now,
            rows: vec![PriceRow {
                model: model(),
                unit: Unit::tokens(),
                rates: RATES,
                name: "bench".to_owned(),
            }],
        });
        desk.price_book = book.digest();
        Ok(Clerk {
            log,
            desk,
            epoch,
            report,
            book: book.bytes().to_vec(),
            tree: Tree::new(),
            leaves: Vec::new(),
            records: Vec::new(),
            transfers: Vec::new(),
            spent: 0,
            prev: Digest([0; 32]),
        })
    }

    fn bundle(mut self, receipts: u64) -> anyhow::Result<Vec<u8>> {
        self.open()?;
        for n in 1..=receipts {
            self.request(n)?;
        }
        self.close(receipts + 1)?;
        let mut items = vec![Item::Header(Header {
            format: FORMAT.to_owned(),
            created_at: UnixSeconds(self.desk.now.0 + 1),
            account: None,
            origin: ORIGIN.to_owned(),
        })];
        items.push(Item::Checkpoint(Bytes(self.checkpoint()?)));
        let invoice = self.invoice();
        items.append(&mut self.leaves);
        items.append(&mut self.records);
        items.extend(self.transfers.into_iter().map(Item::Transfer));
        items.push(Item::Invoice(invoice));
        Ok(items.iter().flat_map(cbor::to_vec).collect())
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let delegation = Bytes(self.desk.delegation().bytes().to_vec());
        self.append(Leaf::PriceBook { book: Bytes(self.book.clone()) });
        self.append(Leaf::Delegation { delegation });
        self.transfer(TransferKind::Issue, None, PURCHASE, None);
        let evidence = labelled(labels::EVIDENCE, &self.report);
        let parent = Bytes(self.checkpoint()?);
        let identity = &self.epoch.identity;
        let keyset = Bytes(identity.keyset.jcs());
        let open = self.epoch.keys.receipt.sign(EpochOpen {
            issuer: instance()?,
            issued_at: self.desk.now,
            keyset: identity.keyset_digest,
            epoch: identity.epoch,
            configuration: configuration(),
            parent,
            evidence,
        });
        self.append(Leaf::Keyset { keyset, evidence });
        self.append(Leaf::EpochOpen { record: Bytes(open.bytes().to_vec()) });
        let report = Bytes(self.report.clone());
        self.records.push(Item::Evidence(Archived { appraised_at: self.desk.now, report }));
        self.prev = open.digest();
        Ok(())
    }

    /// Ordered, granted, held, receipted, settled and logged.
    fn request(&mut self, n: u64) -> anyhow::Result<()> {
        let keyset = self.epoch.identity.keyset_digest;
        let order = self.desk.order(n, keyset, sha256(&n.to_be_bytes()))?;
        self.records.push(Item::Order(Ordered {
            order: Bytes(order.bytes().to_vec()),
            grant: Bytes(self.desk.grant(&order).bytes().to_vec()),
            delegation: Bytes(self.desk.delegation().bytes().to_vec()),
        }));
        let receipt = self.desk.receipt(&order, &self.epoch, n, self.prev)?;
        let charge = receipt.charge.0;
        let signed = self.epoch.keys.receipt.sign(receipt);
        let (epoch, receipt) = (signed.epoch, signed.digest());
        self.append(Leaf::Receipt { epoch, seq: n, prev: self.prev, receipt });
        self.records.push(Item::Receipt(Bytes(signed.bytes().to_vec())));
        self.prev = receipt;
        self.spent += charge;
        let (hold, held) = (Some(order.hold), order.max_charge.0);
        self.transfer(TransferKind::Hold, hold, held, None);
        self.transfer(TransferKind::Settle, hold, charge, Some(receipt));
        self.transfer(TransferKind::Release, hold, held - charge, None);
        Ok(())
    }

    fn close(&mut self, seq: u64) -> anyhow::Result<()> {
        let close = self.epoch.keys.receipt.sign(EpochClose {
            issuer: instance()?,
            issued_at: self.desk.now,
            keyset: self.epoch.identity.keyset_digest,
            epoch: self.epoch.identity.epoch,
            seq,
            prev: self.prev,
        });
        self.append(Leaf::EpochClose { record: Bytes(close.bytes().to_vec()) });
        Ok(())
    }

    fn append(&mut self, leaf: Leaf) {
        let bytes = leaf.to_vec();
        self.tree.push(&bytes);
        self.leaves.push(Item::Leaf(Bytes(bytes)));
    }

    fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        let checkpoint = Checkpoint::new(ORIGIN, self.tree.size(), self.tree.root())?;
        Ok(checkpoint.sign(&self.log)?.to_bytes())
    }

    fn transfer(
        &mut self,
        kind: TransferKind,
        hold: Option<HoldId>,
        amount: u64,
        receipt: Option<Digest>,
    ) {
        self.transfers.push(Transfer {
            hold,
            unit: Unit::tokens(),
            number: self.transfers.len() as u64 + 1,
            at: self.desk.now.millis(),
            kind,
            account_number: 1,
            package_number: 1,
            amount: MicroUnits(amount),
            receipt,
            memo: None,
        });
    }

    fn invoice(&self) -> Invoice {
        Invoice {
            unit: Unit::tokens(),
            account_number: 1,
            handles: vec![account_handle(&self.desk.order_key.public())],
            charged: MicroUnits(self.spent),
            refunded: MicroUnits(0),
            available: MicroUnits(PURCHASE - self.spent),
            held: MicroUnits(0),
        }
    }
}
