//! Makes the first files of `fuzz/corpus`, from simulated evidence only:
//! `cargo test -p bulla-attestation --test make_fuzz_corpus -- --ignored`.
#![allow(clippy::disallowed_methods, reason = "a generator writes files")]
#![allow(dead_code, unused_imports, reason = "the simulated worlds are included by path")]
#![allow(clippy::duplicate_mod, reason = "each simulated world brings its simulated TEE")]

mod azure_simulated;
mod csv_simulated;
mod simulated;
mod simulated_nvidia;
mod simulated_tdx;

use bulla_attestation::tee::tdx::event_log::EventLog;
use bulla_wire::cbor::Bytes;
use bulla_wire::evidence_bundle::{EvidenceBundle, Piece};
use bulla_wire::leaf::Leaf;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

fn write(parser: &str, name: &str, bytes: &[u8]) {
    let folder = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/{}"), parser);
    std::fs::create_dir_all(&folder).expect("the folder is made");
    std::fs::write(format!("{folder}/{name}"), bytes).expect("the file is written");
}

#[test]
#[ignore = "writes into the repository"]
fn make() {
    snp();
    tdx();
    nvidia();
    azure();
    let csv = csv_simulated::CsvWorld::new().report();
    write("csv_evidence", "report", &csv);
    write("recognise", "csv-report", &csv);
    wire();
    for (name, text) in [
        ("strict", include_str!("../../policies/appraisal/strict.toml")),
        ("authentic", include_str!("../../policies/appraisal/authentic.toml")),
    ] {
        write("policy", name, text.as_bytes());
    }
}

/// Records and leaves of the protocol's vectors, and a gateway's keys.
fn wire() {
    for name in ["order", "grant", "delegation", "epoch-open", "epoch-close", "price-book"] {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/protocol");
        let text = std::fs::read_to_string(format!("{vectors}/{name}.json")).expect("it reads");
        let vector: Value = serde_json::from_str(&text).expect("it is JSON");
        let message = vector["message"].as_str().expect("a record has its bytes");
        write("wire_cbor", name, &HEXLOWER.decode(message.as_bytes()).expect("it is hex"));
    }
    let leaf = Leaf::EpochOpen { record: Bytes(vec![7; 32]) };
    write("wire_cbor", "leaf", &leaf.to_vec());
    let key = simulated::sealing_key(simulated::X_WING);
    write("wire_cbor", "key-configuration", &HEXLOWER.decode(key.as_bytes()).expect("it is hex"));
}

/// A binary log as firmware writes it: what it is, then two events of two registers.
fn ccel() -> Vec<u8> {
    const SHA384: [u8; 2] = 12u16.to_le_bytes();
    let number = |n: u32| n.to_le_bytes();
    let mut identity = b"Spec ID Event03\0".to_vec();
    identity.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0]);
    identity.extend([&SHA384[..], &48u16.to_le_bytes(), &[0]].concat());
    let length = number(identity.len() as u32);
    let mut log = [&number(0)[..], &number(3), &[0; 20], &length, &identity].concat();
    for register in [1, 2] {
        let digest = [&SHA384[..], &[0xa0 + register; 48]].concat();
        let head = [number(u32::from(register)), number(0x8000_0006), number(1)].concat();
        log.extend([&head[..], &digest, &number(4), b"boot"].concat());
    }
    log
}

fn snp() {
    let world = simulated::World::new();
    let document = world.document();
    let evidence = &document.attestation.evidence;
    write("snp_report", "report", &evidence.report);
    write("recognise", "snp-report", &evidence.report);
    write("certificate", "vcek", &evidence.endorsements[0].data);
    write("certificate", "ask", &world.ask);
    write("crl", "ark", &world.crls[0]);
    write("endorsements", "vcek", &evidence.endorsements[0].data);
    write("wire_json", "report", &document.to_json());
    write("wire_json", "keyset", &serde_json::to_vec(&world.keyset).expect("it is JSON"));
    let kind = "snp".to_owned();
    let piece = Piece { kind, bytes: Bytes(evidence.report.clone()) };
    let bundle = EvidenceBundle::new(simulated::NOW, vec![piece], [world.ask.clone()]);
    write("wire_cbor", "evidence-bundle", &bundle.to_vec().expect("it is one"));
}

fn tdx() {
    let world = simulated_tdx::World::new();
    let (quote, endorsements) = world.evidence(&[0x11; 64]);
    write("tdx_quote", "quote", &quote);
    write("recognise", "tdx-quote", &quote);
    write("tdx_event_log", "log", world.event_log.as_bytes());
    EventLog::read(&ccel()).expect("firmware's log is read");
    write("tdx_event_log", "ccel", &ccel());
    for (n, endorsement) in endorsements.iter().enumerate() {
        write("endorsements", &format!("intel-{n}"), endorsement);
    }
}

fn nvidia() {
    let world = simulated_nvidia::World::new();
    let document = serde_json::to_vec(&world.document()).expect("it is JSON");
    write("nvidia_evidence", "document", &document);
    write("nvidia_evidence", "report", &world.signed_report());
    write("recognise", "nvidia-document", &document);
    let report = data_encoding::BASE64URL_NOPAD.encode(&world.signed_report());
    let message = |kind: &str, content: &str| json!([format!("application/{kind}"), content]);
    let collection = json!({
        "__cmwc_t": "tag:nvidia.com,2026:verifier-input",
        "nonce": message("octet-stream", "AA"),
        "gpu_0": {"evidence": message("vnd.nvidia.spdm", &report), "certificate": message("pem", "")},
    });
    write("nvidia_evidence", "messages", collection.to_string().as_bytes());
    for (n, manifest) in world.manifests().iter().enumerate() {
        write("rim", &format!("rim-{n}"), manifest.as_bytes());
        write("endorsements", &format!("rim-{n}"), manifest.as_bytes());
    }
    for (n, (issuer, template)) in world.answers.iter().enumerate() {
        write("ocsp", &format!("answer-{n}"), &world.answer(*issuer, template));
    }
}

fn azure() {
    let world = azure_simulated::AzureWorld::new();
    let document = serde_json::to_vec(&world.document()).expect("it is JSON");
    write("azure_evidence", "document", &document);
    write("recognise", "azure-document", &document);
}
