//! The same evidence in another encoding, and Azure's documents opened for what is inside.

use bulla_attestation::input::{self, File, Role};
use bulla_attestation::tee::TeeKind;
use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::json;

use super::{Run, text};

/// Each piece of raw evidence in every encoding: the same bytes come out, so the same verdict.
#[test]
fn the_encoding_changes_nothing() {
    let Some(run) = Run::open() else { return };
    let mut count = 0;
    for kind in ["snp-report", "tdx-quote", "sgx-quote", "nvidia-spdm-report"] {
        for entry in run.of_kind(kind) {
            let file = text(entry, "/file");
            let raw = run.folder.read(file);
            let plain = run.recognise(&[file]).evidence.remove(0);
            for (how, wrapped) in wrappings(&raw) {
                let view = File { name: file, bytes: &wrapped, role: Role::Anything };
                let found = input::recognise(&[view], None);
                assert_eq!(found.evidence.len(), 1, "{file} as {how}: {:?}", found.left_aside);
                assert_eq!(found.evidence[0].kind, plain.kind, "{file} as {how}");
                assert!(found.evidence[0].bytes == plain.bytes, "{file} as {how}");
                count += 1;
            }
        }
    }
    for entry in run.of_kind("snp-vcek").chain(run.of_kind("nvidia-ocsp")) {
        let file = text(entry, "/file");
        let raw = run.folder.read(file);
        for (how, wrapped) in wrappings(&raw) {
            let view = File { name: file, bytes: &wrapped, role: Role::Endorsement };
            let found = input::recognise(&[view], None);
            assert_eq!(found.endorsements.len(), 1, "{file} as {how}: {:?}", found.left_aside);
            assert!(found.endorsements[0].bytes == raw, "{file} as {how}");
            count += 1;
        }
    }
    println!("{count} re-encoded files read like the originals");
    assert!(count > 400);
}

fn wrappings(raw: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = HEXLOWER.encode(raw);
    let lines: Vec<String> =
        hex.as_bytes().chunks(60).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let base64 = BASE64.encode(raw);
    let inner = json!({ "quote": base64 }).to_string();
    let texts = [
        ("hex", hex.clone()),
        ("upper hex", HEXUPPER.encode(raw)),
        ("0x hex", format!("0x{hex}\n")),
        ("hex in lines", lines.join("\n")),
        ("base64", base64.clone()),
        ("unpadded base64", base64.trim_end_matches('=').to_owned()),
        ("base64 in lines", BASE64_MIME.encode(raw)),
        ("base64url", BASE64URL_NOPAD.encode(raw)),
        ("base64 of hex", BASE64.encode(hex.as_bytes())),
        ("PEM", format!("-----BEGIN DATA-----\n{}-----END DATA-----\n", BASE64_MIME.encode(raw))),
        ("JSON hex", json!({ "a": [{ "report": hex }] }).to_string()),
        ("JSON numbers", json!({ "report": raw }).to_string()),
        ("JSON in JSON", json!({ "payload": inner }).to_string()),
        ("JSON text", json!(hex).to_string()),
    ];
    texts.into_iter().map(|(how, text)| (how, text.into_bytes())).collect()
}

/// Azure's documents are opened for the report inside where that is asked for.
#[test]
fn a_named_kind_opens_azures_documents() {
    let Some(run) = Run::open() else { return };
    for entry in run.of_kind("azure-hcl-vtpm-evidence") {
        let file = text(entry, "/file");
        let wanted = match text(entry, "/expected/hcl_report_type") {
            "tdx" => TeeKind::Tdx,
            _ => TeeKind::Snp,
        };
        let bytes = run.folder.read(file);
        let view = File { name: file, bytes: &bytes, role: Role::Anything };
        let found = input::recognise(&[view], Some(wanted));
        assert_eq!(found.evidence.len(), 1, "{file}");
        assert_eq!(found.evidence[0].kind, wanted, "{file}");
    }
}
