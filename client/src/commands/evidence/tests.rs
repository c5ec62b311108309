//! Every field is there, in words.

use std::path::PathBuf;

use super::*;
use crate::testing::{ASK, Enclave, VCEK};

fn found(name: &str, bytes: &[u8]) -> Vec<Description> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let inspect = Inspect { files: vec![path] };
    inspect.describe().map_err(|error| error.reason).unwrap().0
}

fn value<'a>(description: &'a Description, name: &str) -> &'a Value {
    let field = description.fields.iter().find(|field| field.name.trim() == name);
    &field.unwrap_or_else(|| panic!("no field {name}")).value
}

#[test]
fn a_bundle_is_taken_apart() {
    let report = Enclave::new("one", 1).report(None);
    let found = found("aci.json", &report.to_json());
    let whats: Vec<&str> = found.iter().map(|description| description.what.as_str()).collect();
    assert_eq!(whats, ["snp evidence", "certificate", "certificate"]);
    let raw = &report.attestation.evidence.report;
    let hex = |range: std::ops::Range<usize>| data_encoding::HEXLOWER.encode(&raw[range]);
    assert_eq!(*value(&found[0], "measurement"), hex(0x90..0xc0));
    assert_eq!(*value(&found[0], "chip_id"), hex(0x1a0..0x1e0));
    assert_eq!(*value(&found[0], "debug_allowed"), false);
    let text = anstream::adapter::strip_str(&text(&found)).to_string();
    for word in ["launch digest", "SEV-VCEK", "every extension", &hex(0x90..0xc0)] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    assert!(found.iter().flat_map(|one| &one.fields).all(|field| !field.words.is_empty()));
}

#[test]
fn certificates_show_what_vendors_put_in() {
    let leaf = &found("vcek.der", VCEK)[0];
    assert_eq!(*value(leaf, "amd_kind"), "vcek");
    assert!(value(leaf, "amd_hardware_id").as_str().unwrap().len() >= 16);
    let authority = &found("ask.der", ASK)[0];
    assert_eq!(*value(authority, "is_ca"), true);
    assert!(value(authority, "pinned").is_null());
}

#[test]
fn json_is_one_document() {
    let description = found("ask.der", ASK);
    let json: Value = serde_json::from_str(&document(&description, vec!["x".to_owned()])).unwrap();
    assert_eq!(json["found"][0]["what"], "certificate");
    assert!(json["found"][0]["fields"][0]["words"].is_string());
    assert_eq!(json["left_aside"][0], "x");
}

#[test]
fn nothing_known_is_an_error() {
    let inspect = Inspect { files: vec![PathBuf::from("no-such-file")] };
    assert!(inspect.describe().is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    std::fs::write(&path, "hello").unwrap();
    let error = Inspect { files: vec![path] }.describe().map(|_| ()).unwrap_err();
    assert!(error.reason.contains("nothing known") && error.left_aside.len() == 1);
}
