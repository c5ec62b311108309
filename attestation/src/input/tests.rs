//! Recognition of files, by what is recognised; here what is shared, and whole files.

mod binary;
mod document;
mod encoding;
mod fields;
mod limits;
mod proto;

use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use super::*;
use crate::tee::snp::report::REPORT_BYTES;

const ROOT: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

/// Bytes that parse as a report; signed by nobody.
fn report() -> Vec<u8> {
    let mut report: Vec<u8> = (0..REPORT_BYTES).map(|at| at as u8).collect();
    report[0..4].copy_from_slice(&3u32.to_le_bytes());
    report[0x34..0x38].copy_from_slice(&1u32.to_le_bytes());
    report[0x4c..0x50].fill(0);
    report[0x2a0 + 48..0x2e8].fill(0);
    report[0x2e8 + 48..].fill(0);
    for reserved in [0x18b..0x1a0, 0x1eb..0x1ec, 0x1ef..0x1f0, 0x208..0x2a0] {
        report[reserved].fill(0);
    }
    report
}

fn quote(version: u8, tee_type: u8) -> Vec<u8> {
    let mut quote = vec![0; 5000];
    quote[..8].copy_from_slice(&[version, 0, 2, 0, tee_type, 0, 0, 0]);
    quote[12..28].copy_from_slice(&HEXLOWER.decode(b"939a7233f79c4ca9940a0db3957f0607").unwrap());
    quote
}

fn device() -> Vec<u8> {
    let mut report = vec![0; 400];
    report[..2].copy_from_slice(&[0x11, 0xe0]);
    report[37..39].copy_from_slice(&[0x11, 0x60]);
    report
}

fn read(bytes: &[u8]) -> Recognised {
    read_as(bytes, Role::Anything, None)
}

fn read_as(bytes: &[u8], role: Role, wanted: Option<TeeKind>) -> Recognised {
    recognise(&[File { name: "file", bytes, role }], wanted)
}

/// The kinds and bytes of the evidence found.
fn evidence(bytes: &[u8]) -> Vec<(TeeKind, Vec<u8>)> {
    read(bytes).evidence.into_iter().map(|found| (found.kind, found.bytes)).collect()
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let body = BASE64_MIME.encode(bytes);
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

/// A paravisor's report: 2 says SEV-SNP, 4 says TDX.
fn paravisor_report(hardware: u32) -> Vec<u8> {
    let mut hcl = b"HCLA".to_vec();
    hcl.resize(32, 0);
    hcl.extend(report());
    hcl.extend([0; 8]);
    hcl.extend(hardware.to_le_bytes());
    hcl.resize(2600, 0);
    hcl
}

/// A field of wire type 2.
fn proto_bytes(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(u64::from(number) << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Nothing is taken from these bytes, and what is said about them has this word in it.
fn assert_unknown(bytes: &[u8], word: &str) {
    let found = read(bytes);
    assert!(found.evidence.is_empty() && found.endorsements.is_empty(), "{found:?}");
    assert_eq!(found.left_aside.len(), 1, "{:?}", found.left_aside);
    assert!(found.left_aside[0].reason.contains(word), "{} / {word}", found.left_aside[0]);
}

#[test]
fn endorsements_are_told_apart() {
    let rim = r#"<?xml version="1.0"?><SoftwareIdentity xmlns="x"></SoftwareIdentity>"#;
    let tcb = r#"{"tcbInfo":{"id":"TDX","fmspc":"00"},"signature":"00"}"#;
    let identity = r#"{"enclaveIdentity":{"id":"TD_QE","mrsigner":"00"},"signature":"00"}"#;
    let all = r#"{"tcb_info":"{\"id\":\"TDX\",\"fmspc\":\"00\"}","pck_crl":"00"}"#;
    let log = r#"[{"imr":0,"event_type":1,"digest":"00","event_payload":""}]"#;
    let mut ccel = vec![0; 64];
    ccel[32..48].copy_from_slice(b"Spec ID Event03\0");
    let ocsp = [0x30, 0x03, 0x0a, 0x01, 0x06];
    for (bytes, kind) in [
        (ROOT, EndorsementKind::Certificate),
        (rim.as_bytes(), EndorsementKind::Rim),
        (tcb.as_bytes(), EndorsementKind::IntelCollateral),
        (identity.as_bytes(), EndorsementKind::IntelCollateral),
        (all.as_bytes(), EndorsementKind::IntelCollateral),
        (log.as_bytes(), EndorsementKind::EventLog),
        (&ccel, EndorsementKind::EventLog),
        (&ocsp, EndorsementKind::Ocsp),
    ] {
        let found = read(bytes);
        assert_eq!(found.endorsements.len(), 1, "{kind:?} {:?}", found.left_aside);
        assert_eq!((found.endorsements[0].kind, &found.endorsements[0].bytes[..]), (kind, bytes));
        let inside = format!("{{\"x\":\"{}\"}}", BASE64.encode(bytes));
        if bytes.len() > 60 {
            assert_eq!(read(inside.as_bytes()).endorsements[0].bytes, bytes, "{kind:?}");
        }
    }
}

#[test]
fn a_named_kind_forces_the_reading() {
    let text =
        format!("[\"{}\",\"{}\"]", HEXLOWER.encode(&report()), HEXLOWER.encode(&quote(4, 0x81)));
    let found = read_as(text.as_bytes(), Role::Anything, Some(TeeKind::Tdx));
    assert_eq!(found.evidence.len(), 1);
    assert_eq!(found.evidence[0].kind, TeeKind::Tdx);
    assert!(found.left_aside[0].reason.contains("tdx evidence was asked for"));
    let found = read_as(&report(), Role::Endorsement, None);
    assert!(found.evidence.is_empty() && found.left_aside[0].reason.contains("as an endorsement"));
}

#[test]
fn endorsements_have_names_for_people() {
    let found = read(&pem("CERTIFICATE", ROOT).into_bytes());
    assert!(found.endorsements[0].from.contains("certificate"), "{:?}", found.endorsements[0]);
    assert_eq!(EndorsementKind::Ocsp.words(), "OCSP answer");
}

#[test]
fn what_is_nothing_known_is_said() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"hello", "text of 5 bytes"),
        (&[0xff, 0xfe, 0xfd], "no structure"),
        (b"{\"a\":1}", "text"),
        (b"<html></html>", "XML"),
        (b"one.two.three", "text of 13 bytes"),
        (b"eyJ said nobody.", "text of 16 bytes"),
        (b"eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl", "web token"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no structure"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA", "broken block"),
        (&[0x11, 0xe0, 1], "SPDM measurement request"),
        (&[0x84, 0x44, 0xa1, 0x01, 0x38, 0x22], "COSE"),
        (&[0xd2, 0x84, 0xff], "COSE"),
        (&[0xff, b'T', b'C', b'G', 0x80], "TPM quote alone"),
        (&[4, 0, 2, 0, 0x81, 0, 0, 0], "beginning of a TDX quote"),
    ] {
        let found = read(bytes);
        assert!(found.evidence.is_empty() && found.endorsements.is_empty());
        assert_eq!(found.left_aside.len(), 1, "{:?}", found.left_aside);
        assert!(found.left_aside[0].reason.contains(word), "{} / {word}", found.left_aside[0]);
    }
    let mut long = vec![0xff; 16 * 1024 * 1024];
    assert!(!read(&long).left_aside[0].reason.contains("at most"));
    long.push(0xff);
    assert!(read(&long).left_aside[0].reason.contains("at most"));
}

#[test]
fn a_files_own_endorsements_come_first_and_each_once() {
    let hex = HEXLOWER.encode(ROOT);
    let own = format!("{{\"report\":\"{}\",\"c\":\"{hex}\"}}", HEXLOWER.encode(&report()));
    let mut other = ROOT.to_vec();
    *other.last_mut().unwrap() ^= 1;
    let file = |bytes| File { name: "f", bytes, role: Role::Anything };
    let found = recognise(&[file(&other), file(ROOT), file(own.as_bytes())], None);
    assert_eq!(found.endorsements.len(), 3);
    assert_eq!(found.endorsements_for(&found.evidence[0]), [ROOT, &other[..]]);
}
