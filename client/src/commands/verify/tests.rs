//! `bulla verify` against services as others run them: their own JSON, their own certificates.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use bulla_attestation::endorsement::Certificate;
use bulla_attestation::hash::sha256;
use bulla_wire::evidence_bundle::EvidenceBundle;
use bulla_wire::http::PATH_ATTESTATION;
use bulla_wire::ids::Digest;
use bulla_wire::keyset::{KeyEntry, TlsKey};
use bulla_wire::statement::parse_nonce;
use clap::Parser;
use serde_json::{Value, json};

use super::{SHIPPED, named_policy};
use crate::commands::endorsements::tests::simulated_authentic;
use crate::commands::{ClientCommand, EXIT_OK, EXIT_REFUSED, GlobalArgs, run};
use crate::io::endorsements::Cache;
use crate::io::folder::Folder;
use crate::io::system::now;
use crate::testing::{ARK, ASK, Enclave, VCEK};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

/// Another's service, over TLS, with the simulated machine behind it.
struct Service {
    enclave: Enclave,
    /// Changes what is served.
    change: fn(&mut Value),
    /// How often it was asked.
    asked: Mutex<usize>,
}

#[derive(serde::Deserialize)]
struct Asked {
    nonce: Option<String>,
}

async fn attestation(State(service): State<Arc<Service>>, Query(asked): Query<Asked>) -> String {
    *service.asked.lock().unwrap() += 1;
    let nonce = asked.nonce.map(|nonce| parse_nonce(&nonce).unwrap());
    let report = service.enclave.report(nonce);
    let mut value: Value = serde_json::from_slice(&report.to_json()).unwrap();
    value["attestation"]["evidence"] = json!({
        "snp_report": data_encoding::HEXLOWER.encode(&report.attestation.evidence.report),
        "firmware": "ovmf",
    });
    value["attestation"].as_object_mut().unwrap().remove("nonce");
    value["legacy_signing_address"] = json!("0xabc");
    (service.change)(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

/// A record of an upstream, valid around now.
fn record(upstream: &str, expires_in_s: u64) -> Value {
    let now = now().seconds().0;
    let evidence = b"a quote";
    json!({
        "api_version": "aci/1", "upstream_name": upstream, "endpoint": null,
        "verifier_id": "example/1", "established_at": now - 60,
        "expires_at": now - 60 + expires_in_s,
        "channel_binding": [{ "type": "tls_spki_sha256", "origin": "https://u.example",
            "spki_sha256": "d1".repeat(32) }],
        "claims": { "tee_attested": { "status": "asserted", "source": "hardware_proven",
            "reason": "verified" }, "extra": { "tcb_status": "UpToDate" } },
        "evidence": { "digest": sha256(evidence).prefixed(),
            "data": format!("data:application/octet-stream;base64,{}",
                data_encoding::BASE64.encode(evidence)) },
    })
}

fn id_of(record: &Value) -> String {
    // Canonical here: sorted names, integers, plain ASCII.
    let mut sorted = record.clone();
    sorted.sort_all_objects();
    sha256(sorted.to_string().as_bytes()).to_string()
}

/// Serves what was put under its own name, and once something else.
static RECORDS: Mutex<Vec<(String, Value)>> = Mutex::new(Vec::new());

async fn session(axum::extract::Path(id): axum::extract::Path<String>) -> String {
    let records = RECORDS.lock().unwrap();
    let found = records.iter().find(|(name, _)| *name == id).map(|(_, record)| record);
    found.map(|record| serde_json::to_string_pretty(record).unwrap()).unwrap_or_default()
}

struct Desk {
    home: tempfile::TempDir,
    root: PathBuf,
    policy: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let home = tempfile::tempdir().unwrap();
        let (root, policy) = (home.path().join("ark.der"), home.path().join("policy.toml"));
        std::fs::write(&root, ARK).unwrap();
        std::fs::write(&policy, simulated_authentic()).unwrap();
        let desk = Desk { home, root, policy };
        let folder = Folder::open(&desk.home.path().join("data/client")).unwrap();
        let cache = Cache::open(&folder).unwrap();
        for certificate in [VCEK, ASK] {
            cache.put(certificate).unwrap();
        }
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    async fn verify(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        let data = self.file("data");
        let rules = ["--simulated-root", text(&self.root), "--policy", text(&self.policy)];
        let first = ["bulla", "--json", "--data", text(&data), "verify"];
        let Line { global, command } =
            Line::parse_from(first.iter().chain(words).chain(&rules).copied());
        run(command, global).await
    }

    async fn code(&self, words: &[&str]) -> String {
        format!("{:?}", self.verify(words).await.unwrap())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn exit(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

/// Starts a service whose keyset lists its TLS key for `domain`, or another key; its address.
fn start(lists_own_key: bool, domain: Option<&str>, change: fn(&mut Value)) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let own = sha256(&Certificate::from_der(made.cert.der()).unwrap().spki);
    let mut enclave = Enclave::at("one", 1, now());
    enclave.keyset.tls_public_keys = vec![TlsKey {
        spki_sha256: if lists_own_key { own } else { Digest([9; 32]) },
        domain: domain.map(str::to_owned),
    }];
    enclave.keyset.subject = Some("spiffe://example.org/inference".to_owned());
    enclave.keyset.e2ee_public_keys = vec![KeyEntry {
        key_id: "v2".to_owned(),
        algo: "x25519-aes-256-gcm-hkdf-sha256".to_owned(),
        public_key: "5d".repeat(32),
    }];
    let service = Arc::new(Service { enclave, change, asked: Mutex::new(0) });
    let private = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The oldest TLS that others may still speak.
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new()
        .route(PATH_ATTESTATION, get(attestation))
        .route("/v1/aci/sessions/{id}", get(session))
        .with_state(service);
    let tls = RustlsConfig::from_config(Arc::new(config));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn another_implementation_is_judged_with_endorsements_from_the_cache() {
    let url = start(true, None, |_| {});
    assert_eq!(Desk::new().code(&[&url]).await, exit(EXIT_OK));
    let listed = start(true, Some("LOCALHOST"), |_| {});
    assert_eq!(Desk::new().code(&[&listed]).await, exit(EXIT_OK));
    // Without them the same evidence has nobody to vouch for it.
    let bare = Desk::new();
    let kept = bare.file("data/client/endorsements");
    std::fs::remove_dir_all(&kept).unwrap();
    assert_eq!(bare.code(&[&url]).await, exit(EXIT_REFUSED));
    // Given by hand they do as well.
    let (leaf, chain) = (bare.file("vcek.der"), bare.file("ask.der"));
    std::fs::write(&leaf, VCEK).unwrap();
    std::fs::write(&chain, ASK).unwrap();
    let words = [&url, "--endorsement", text(&leaf), "--endorsement", text(&chain)];
    assert_eq!(bare.code(&words).await, exit(EXIT_OK));
}

#[tokio::test]
async fn a_connection_that_ends_elsewhere_is_refused_where_nothing_is_sealed() {
    for (own_key, domain) in [(false, None), (true, Some("other.example"))] {
        let url = start(own_key, domain, |_| {});
        assert_eq!(Desk::new().code(&[&url]).await, exit(EXIT_REFUSED), "{domain:?}");
    }
}

/// Each row: what a service changes on the way, and is refused for.
#[tokio::test]
async fn a_service_that_lies_is_refused() {
    type Change = fn(&mut Value);
    let rows: [(&str, Change); 4] = [
        ("an old report", |v| {
            let enclave = Enclave::at("one", 1, now());
            let old = enclave.report(Some([1; 32]));
            let old: Value = serde_json::from_slice(&old.to_json()).unwrap();
            v["attestation"] = old["attestation"].clone();
            v["workload_keyset_digest"] = old["workload_keyset_digest"].clone();
        }),
        ("a key of its own", |v| {
            v["attestation"]["workload_keyset"]["receipt_signing_keys"][0]["public_key"] =
                json!("ab".repeat(32));
        }),
        ("another digest beside the keyset", |v| {
            v["workload_keyset_digest"] = json!(Digest([1; 32]).prefixed());
        }),
        ("another TEE's name", |v| v["attestation"]["tee_type"] = json!("sgx")),
    ];
    for (name, change) in rows {
        let url = start(true, None, change);
        assert_eq!(Desk::new().code(&[&url]).await, exit(EXIT_REFUSED), "{name}");
    }
    let url = start(true, None, |v| v["api_version"] = json!("aci/9"));
    assert!(Desk::new().verify(&[&url]).await.is_err(), "another protocol is no verdict");
}

#[tokio::test]
async fn a_saved_bundle_is_judged_later_as_of_its_own_time() {
    let desk = Desk::new();
    let url = start(true, None, |_| {});
    let saved = desk.file("saved.bundle");
    assert_eq!(desk.code(&[&url, "--save", text(&saved)]).await, exit(EXIT_OK));
    let bundle = EvidenceBundle::from_slice(&std::fs::read(&saved).unwrap()).unwrap();
    assert_eq!(bundle.endorsements.len(), 2, "those of the cache went along");
    assert_eq!(bundle.nonce.as_ref().unwrap().0.len(), 32);
    std::fs::remove_dir_all(desk.file("data/client/endorsements")).unwrap();
    assert_eq!(desk.code(&[text(&saved)]).await, exit(EXIT_OK), "nothing else is needed");
    let later = [text(&saved), "--at", "2040-01-01T00:00:00Z"];
    assert_eq!(desk.code(&later).await, exit(EXIT_REFUSED), "the keyset is over by then");
    // The nonce is part of what is judged.
    let other = EvidenceBundle { nonce: Some(bulla_wire::cbor::Bytes(vec![1; 32])), ..bundle };
    let replayed = desk.file("replayed.bundle");
    std::fs::write(&replayed, other.to_vec().unwrap()).unwrap();
    assert_eq!(desk.code(&[text(&replayed)]).await, exit(EXIT_REFUSED));
    let bare = EvidenceBundle { evidence: Vec::new(), ..other };
    std::fs::write(&replayed, bulla_wire::cbor::to_vec(&bare)).unwrap();
    assert!(desk.verify(&[text(&replayed)]).await.is_err());
}

#[test]
fn every_shipped_policy_reads() {
    for (name, _) in SHIPPED {
        assert_eq!(named_policy(name).unwrap().name(), name);
    }
}

#[tokio::test]
async fn sessions_of_an_aggregator_are_checked_by_their_content() {
    let good = record("good", 3_600);
    let over = record("over", 30);
    let unbound = {
        let mut record = record("unbound", 3_600);
        record["channel_binding"] = json!([]);
        record
    };
    let swapped = record("swapped", 3_600);
    let ids = [&good, &over, &unbound, &swapped].map(id_of);
    {
        let mut records = RECORDS.lock().unwrap();
        records.push((ids[0].clone(), good.clone()));
        records.push((ids[1].clone(), over));
        records.push((ids[2].clone(), unbound));
        records.push((ids[3].clone(), good));
    }
    let url = start(true, None, |v| v["service_capabilities"]["serving"] = json!("aggregator"));
    for (at, code) in [(0, EXIT_OK), (1, EXIT_REFUSED), (2, EXIT_REFUSED), (3, EXIT_REFUSED)] {
        let words = [&url, "--session", &ids[at]];
        assert_eq!(Desk::new().code(&words).await, exit(code), "{at}");
    }
}
