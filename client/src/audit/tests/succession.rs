//! A log that took another origin: one history under two names.

use bulla_tlog::{Checkpoint, SignerKey, Tree};
use bulla_wire::bundle::Item;
use bulla_wire::cbor::{self, Bytes};

use super::court::trust;
use super::story::{Lie, ORIGIN, checkpoint, seed, tell};
use crate::audit::{AuditReport, AuditTrust, CheckName, audit_bytes};

const NEXT: &str = "log.example/bulla-2";

fn next_key() -> SignerKey {
    SignerKey::from_seed(NEXT, &[51; 32]).unwrap()
}

/// The tree over the first leaves of the story.
fn tree(items: &[Item], size: usize) -> Tree {
    let leaves = items.iter().filter_map(|item| match item {
        Item::Leaf(leaf) => Some(&leaf.0),
        _ => None,
    });
    leaves.take(size).fold(Tree::new(), |mut tree, leaf| {
        tree.push(leaf);
        tree
    })
}

fn head(tree: &Tree) -> Bytes {
    head_by(tree, &next_key())
}

fn head_by(tree: &Tree, key: &SignerKey) -> Bytes {
    let head = Checkpoint::new(key.verifier().name(), tree.size(), tree.root()).unwrap();
    Bytes(head.sign(key).unwrap().to_bytes())
}

/// The story, whose last head is signed under the new name.
fn renamed() -> Vec<Item> {
    let mut items = tell(&Lie::none());
    let last = head(&tree(&items, usize::MAX));
    if let Item::Header(header) = &mut items[0] {
        header.origin = NEXT.to_owned();
    }
    let at = items.iter().rposition(|item| matches!(item, Item::Checkpoint(_))).unwrap();
    items[at] = Item::Checkpoint(last);
    items
}

fn judge(items: &[Item], trust: &AuditTrust) -> AuditReport {
    audit_bytes(&items.iter().flat_map(cbor::to_vec).collect::<Vec<u8>>(), trust)
}

fn both() -> AuditTrust {
    let mut trust = trust();
    trust.log_keys.push(next_key().verifier());
    trust
}

fn names(report: &AuditReport, check: CheckName) -> bool {
    report.errors().any(|finding| finding.check == check)
}

#[test]
fn heads_of_the_earlier_name_lead_to_the_same_leaves() {
    let report = judge(&renamed(), &both());
    assert_eq!(report.findings, [], "{report}");
    // Who names the new key alone cannot open what was signed before.
    let alone = AuditTrust { log_keys: vec![next_key().verifier()], ..trust() };
    assert!(names(&judge(&renamed(), &alone), CheckName::CheckpointSignature));
}

#[test]
fn a_log_may_have_had_several_names_one_after_the_other() {
    let between = SignerKey::from_seed("log.example/bulla-between", &[52; 32]).unwrap();
    let mut trust = both();
    trust.log_keys.push(between.verifier());
    let items = renamed();
    let at = items.iter().position(|item| matches!(item, Item::Checkpoint(_))).unwrap();
    let with = |heads: &[Bytes]| {
        let mut items = items.clone();
        items.splice(at + 1..at + 1, heads.iter().cloned().map(Item::Checkpoint));
        judge(&items, &trust)
    };
    let middle = head_by(&tree(&items, 9), &between);
    let report = with(std::slice::from_ref(&middle));
    assert_eq!(report.findings, [], "{report}");
    // The first name once more, after the one in between.
    let again = Bytes(checkpoint(&tree(&items, 10), seed::LOG));
    assert!(names(&with(&[middle, again]), CheckName::CheckpointSignature));
}

#[test]
fn another_history_under_the_earlier_name_is_named() {
    let mut items = renamed();
    let mut forged = Tree::new();
    for leaf in [b"one", b"two", b"six", b"ten"] {
        forged.push(leaf);
    }
    let at = items.iter().position(|item| matches!(item, Item::Checkpoint(_))).unwrap();
    items[at] = Item::Checkpoint(Bytes(checkpoint(&forged, seed::LOG)));
    assert!(names(&judge(&items, &both()), CheckName::LogConsistency));
}

#[test]
fn a_name_that_was_given_up_is_not_taken_up_again() {
    // A head of the old name after one of the new.
    let mut items = renamed();
    let (early, late) = (head(&tree(&items, 4)), tree(&items, 9));
    let at = items.iter().position(|item| matches!(item, Item::Checkpoint(_))).unwrap();
    items[at] = Item::Checkpoint(early);
    items.insert(at + 1, Item::Checkpoint(Bytes(checkpoint(&late, seed::LOG))));
    assert!(names(&judge(&items, &both()), CheckName::CheckpointSignature));
    // The last one under the old name, in a bundle of the new.
    let mut items = tell(&Lie::none());
    if let Item::Header(header) = &mut items[0] {
        assert_eq!(header.origin, ORIGIN);
        header.origin = NEXT.to_owned();
    }
    assert!(names(&judge(&items, &both()), CheckName::CheckpointSignature));
}
