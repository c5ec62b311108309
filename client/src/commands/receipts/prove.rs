//! `bulla receipts prove`: one receipt in one self-contained file, and `bulla receipts judge`, which
//! verifies it offline.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bulla_attestation::hash::{labelled, sha256};
use bulla_attestation::sign::read;
use bulla_tlog::Tree;
use bulla_wire::bundle::{Header, Inclusion, Item, MAX_ITEM_BYTES, Opening, PROOF_FORMAT};
use bulla_wire::cbor::{self, Bytes};
use bulla_wire::epoch::EpochOpen;
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::UsageReceipt;
use clap::Args;

use super::super::audit::{Fetched, items};
use super::super::{EXIT_OK, GlobalArgs};
use super::{find, kept};
use crate::io::folder::Folder;
use crate::io::openings;

/// Write one file that proves a receipt to a judge: the receipt, its place in the log, the order, and
/// the keyset's evidence and endorsements
#[derive(Debug, Clone, Args)]
pub struct Prove {
    /// Receipt id, digest or hold, or the beginning of one
    id: String,
    /// Show request and answer too, as they were kept on this machine
    #[arg(long)]
    open: bool,
    /// Take the proof from a bundle in a file, this account's or a full one; this account's is
    /// fetched from the broker when left out
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Where it goes [default: receipt-ID.cborseq]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Prove {
    /// Gathers and writes.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let folder = Folder::open(&global.client_folder())?;
        let records = kept(&folder)?;
        let record = find(&records, &self.id)?;
        let digest = record.receipt_digest().context("its answer was lost: there is no receipt")?;
        let receipt = record.usage().context("the receipt kept does not read")?;
        let opening = self.open.then(|| opening(&folder, &digest)).transpose()?;
        let source = Fetched::bundle(self.bundle.as_deref(), false, global).await?;
        let path = source.path().to_owned();
        let gather = move || Proof::gather(&path, digest);
        let proof = tokio::task::spawn_blocking(gather).await??;
        let name = || PathBuf::from(format!("receipt-{}.cborseq", receipt.id));
        let output = self.output.clone().unwrap_or_else(name);
        write(&output, proof.items(opening))?;
        let shown = output.display();
        anstream::eprintln!(
            "{shown} proves receipt {}: `bulla receipts judge {shown}`",
            receipt.id
        );
        Ok(EXIT_OK)
    }
}

/// What was asked and answered, as it was kept on this machine.
pub(in crate::commands) fn opening(folder: &Folder, digest: &Digest) -> anyhow::Result<Item> {
    let kept = openings::find(folder, digest)?.context(
        "request and answer were not kept on this machine: `[disputes] keep_openings` was off, or \
         they are on another one",
    )?;
    let item = Item::Opening(Opening {
        salt: Digest(*kept.salt),
        request: Bytes(kept.request.to_vec()),
        answer: kept.answer.map(|answer| Bytes(answer.to_vec())),
    });
    let bytes = cbor::to_vec(&item).len();
    ensure!(
        bytes <= MAX_ITEM_BYTES,
        "request and answer have {bytes} bytes, at most {MAX_ITEM_BYTES} fit"
    );
    Ok(item)
}

/// What a proof consists of.
struct Proof {
    header: Header,
    checkpoint: Bytes,
    receipt: Bytes,
    /// Order, evidence and the leaves with their proofs.
    rest: Vec<Item>,
}

/// What the receipt rests on, by digest.
struct Wanted {
    digest: Digest,
    receipt: UsageReceipt,
    evidence: Digest,
}

impl Proof {
    /// Reads a bundle twice: what the receipt is, and what it rests on.
    fn gather(path: &Path, digest: Digest) -> anyhow::Result<Proof> {
        let (mut header, mut checkpoint, mut receipt) = (None, None, None);
        let (mut opens, mut tree) = (Vec::new(), Tree::new());
        for item in items(path) {
            match item? {
                Item::Header(found) => header = Some(found),
                Item::Checkpoint(note) => checkpoint = Some(note),
                Item::Receipt(bytes) if labelled(labels::RECORD, &bytes.0) == digest => {
                    receipt = Some(bytes);
                }
                Item::Inclusion(shown) => opens.extend(epoch_open(&shown.leaf)),
                Item::Leaf(leaf) => {
                    tree.push(&leaf.0);
                    opens.extend(epoch_open(&leaf));
                }
                _ => {}
            }
        }
        let header = header.context("the bundle has no header")?;
        let bytes = receipt.context(
            "the receipt is not in the bundle; one that was paid with blind tokens is in no account's: \
             take a full one, `--bundle FILE`, from the broker's operator or an auditor",
        )?;
        let receipt = read::<UsageReceipt>(&bytes.0)?.value;
        let open = opens.into_iter().find(|open| open.epoch == receipt.epoch);
        let evidence = open.context("the receipt's epoch is not in the bundle")?.evidence;
        let wanted = Wanted { digest, receipt, evidence };
        let (mut rest, mut index) = (Vec::new(), 0);
        for item in items(path) {
            match item? {
                Item::Leaf(leaf) => {
                    if wanted.rests_on(&leaf) {
                        let proof = tree.inclusion_proof(index, tree.size())?;
                        let proof = proof.iter().map(|hash| Digest(*hash.as_bytes())).collect();
                        rest.push(Item::Inclusion(Inclusion { index, leaf, proof }));
                    }
                    index += 1;
                }
                item if wanted.takes(&item) => rest.push(item),
                _ => {}
            }
        }
        let is_leaf =
            |item: &Item| matches!(item, Item::Inclusion(i) if Leaf::is_receipt(&i.leaf.0));
        ensure!(
            rest.iter().any(is_leaf),
            "the receipt is not in the log yet: try again in a minute"
        );
        let checkpoint = checkpoint.context("the bundle has no checkpoint")?;
        let header = Header { format: PROOF_FORMAT.to_owned(), ..header };
        Ok(Proof { header, checkpoint, receipt: bytes, rest })
    }

    fn items(self, opening: Option<Item>) -> Vec<Item> {
        let Proof { header, checkpoint, receipt, rest } = self;
        let mut items = vec![Item::Header(header), Item::Checkpoint(checkpoint)];
        items.extend(rest);
        items.push(Item::Receipt(receipt));
        items.extend(opening);
        items
    }
}

fn epoch_open(leaf: &Bytes) -> Option<EpochOpen> {
    match Leaf::from_slice(&leaf.0).ok()? {
        Leaf::EpochOpen { record } => Some(read::<EpochOpen>(&record.0).ok()?.value),
        _ => None,
    }
}

impl Wanted {
    fn takes(&self, item: &Item) -> bool {
        match item {
            Item::Order(ordered) => labelled(labels::ORDER, &ordered.order.0) == self.receipt.order,
            Item::Evidence(kept) => labelled(labels::EVIDENCE, &kept.report.0) == self.evidence,
            Item::Inclusion(shown) => self.rests_on(&shown.leaf),
            _ => false,
        }
    }

    fn rests_on(&self, leaf: &Bytes) -> bool {
        match Leaf::from_slice(&leaf.0) {
            Ok(Leaf::Receipt { receipt, .. }) => receipt == self.digest,
            Ok(Leaf::EpochOpen { .. }) => {
                epoch_open(leaf).is_some_and(|open| open.epoch == self.receipt.epoch)
            }
            Ok(Leaf::Keyset { keyset, .. }) => sha256(&keyset.0) == self.receipt.keyset,
            Ok(Leaf::PriceBook { book }) => {
                labelled(labels::PRICE_BOOK, &book.0) == self.receipt.price_book
            }
            // The order's own delegation among them: few, and small.
            Ok(Leaf::Delegation { .. }) => true,
            Ok(_) | Err(_) => false,
        }
    }
}

/// For its owner only: it may hold content.
fn write(path: &Path, items: Vec<Item>) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let name = || path.display().to_string();
    let mut file = options.open(path).with_context(name)?;
    for item in items {
        file.write_all(&cbor::to_vec(&item)).with_context(name)?;
    }
    file.sync_all().with_context(name)
}

#[cfg(test)]
mod tests;
