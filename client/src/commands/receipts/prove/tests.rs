//! Proofs out of the sample bundle of one account.

use super::*;
use crate::audit::{AuditReport, CheckName, Means, View, audit_bytes};
use crate::commands::audit::{audit_file, sample, trust_from_file};

fn first_receipt() -> Digest {
    let path = sample("account.cborseq");
    let mut receipts = items(&path).filter_map(|item| match item.unwrap() {
        Item::Receipt(bytes) => Some(labelled(labels::RECORD, &bytes.0)),
        _ => None,
    });
    receipts.next().unwrap()
}

fn judged(items: &[Item]) -> AuditReport {
    let bytes: Vec<u8> = items.iter().flat_map(cbor::to_vec).collect();
    audit_bytes(&bytes, &trust_from_file(&sample("trust.toml")).unwrap())
}

fn opened() -> Item {
    // The sample's receipts commit to nothing that can be opened.
    Item::Opening(Opening {
        salt: Digest([1; 32]),
        request: Bytes(b"request".to_vec()),
        answer: Some(Bytes(b"response".to_vec())),
    })
}

#[test]
fn a_proof_stands_alone_and_says_nothing_of_the_ledger() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("proof.cborseq");
    let proof = Proof::gather(&sample("account.cborseq"), first_receipt()).unwrap();
    write(&path, proof.items(None)).unwrap();
    let trust = trust_from_file(&sample("trust.toml")).unwrap();
    let report = audit_file(&path, &trust, Means::default()).unwrap().report;
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.view, report.counts.receipts), (View::Receipt, 1));
    assert!(report.check(CheckName::LedgerHold).unwrap().detail.contains("nothing"), "{report}");
    // For people, one line for all that a lone receipt does not concern.
    let text = report.to_string();
    assert!(text.contains(" other checks\n") && !text.contains("nothing to examine"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn every_item_of_a_proof_is_needed() {
    let whole = Proof::gather(&sample("account.cborseq"), first_receipt()).unwrap().items(None);
    assert!(judged(&whole).is_clean());
    for left_out in 0..whole.len() {
        let mut items = whole.clone();
        items.remove(left_out);
        assert!(!judged(&items).is_clean(), "without item {left_out} of {}", whole.len());
    }
}

#[test]
fn an_opening_of_something_else_is_found() {
    let proof = Proof::gather(&sample("account.cborseq"), first_receipt()).unwrap();
    let report = judged(&proof.items(Some(opened())));
    let found: Vec<_> = report.errors().map(|finding| finding.check).collect();
    assert_eq!(found, [CheckName::ReceiptOpening; 2], "{report}");
}

#[test]
fn a_bundle_of_everybody_has_the_same_proof() {
    let own = Proof::gather(&sample("account.cborseq"), first_receipt()).unwrap();
    let full = Proof::gather(&sample("full.cborseq"), first_receipt()).unwrap();
    assert_eq!(full.rest.len(), own.rest.len());
    assert!(own.rest.iter().all(|item| full.rest.contains(item)));
    let report = judged(&full.items(None));
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.view, report.counts.receipts), (View::Receipt, 1));
}

#[test]
fn an_unknown_receipt_is_refused() {
    let error = Proof::gather(&sample("account.cborseq"), Digest([0; 32])).err().unwrap();
    assert!(error.to_string().contains("not in the bundle"), "{error}");
}
