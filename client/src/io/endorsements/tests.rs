//! The cache in a folder, and the fetcher against a stand-in for the vendors' services, which can
//! behave badly in every way that was thought of.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::tee::snp::tcb::Tcb;
use futures_util::stream;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::*;
use crate::endorsements::{AmdKey, Keep, Need, PckAuthority, RimId, SERVICES};
use crate::io::folder::Folder;
use crate::testing::{ARK, ASK, VCEK};

/// An instant inside every window used here: 2027-01-15.
const NOW: i64 = 1_800_000_000;
const LINE: ProductLine = ProductLine::Genoa;
const IDENTITY: &str = r#"{"enclaveIdentity":{"id":"TD_QE","version":2,"issueDate":"2027-01-01T00:00:00Z","nextUpdate":"2027-02-01T00:00:00Z","tcbEvaluationDataNumber":18,"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5","isvprodid":2,"tcbLevels":[{"tcb":{"isvsvn":4},"tcbDate":"2024-11-13T00:00:00Z","tcbStatus":"UpToDate"}]},"signature":"abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab"}"#;

fn vcek() -> Need {
    let tcb = Tcb { fmc: None, bootloader: 10, tee: 0, snp: 25, microcode: 84 };
    Need::AmdVcek { line: LINE, hardware_id: (0..64).collect(), tcb }
}

fn chain() -> Need {
    Need::AmdChain { line: LINE, key: AmdKey::Vcek }
}

fn crl() -> Need {
    Need::AmdCrl { line: LINE, key: AmdKey::Vcek }
}

pub(crate) fn pem(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// A revocation list of somebody called `name`, for a month around [`NOW`].
fn crl_of(name: &str) -> Vec<u8> {
    crl_between(name, (2027, 1), (2027, 2))
}

/// The same, from one month (year, month) to another.
pub(crate) fn crl_between(name: &str, from: (i32, u8), to: (i32, u8)) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(from.0, from.1, 1),
        next_update: rcgen::date_time_ymd(to.0, to.1, 1),
        crl_number: rcgen::SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

// The cache.

fn cache() -> (tempfile::TempDir, Cache) {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::open(&home.path().join("client")).unwrap();
    let cache = Cache::open(&folder).unwrap();
    (home, cache)
}

#[test]
fn what_is_kept_is_found_again_by_what_it_says() {
    let (_home, cache) = cache();
    let list = crl_of("ARK-Genoa");
    for bytes in [VCEK, ASK, &list, VCEK] {
        cache.put(bytes).unwrap();
    }
    assert_eq!(cache.all().unwrap().len(), 3, "one file per content");
    let found = cache.meeting(&[vcek(), chain(), crl()], NOW).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].keep(), Keep::ForEver, "what holds longest comes first");
    let after = NOW + 60 * 86_400;
    assert_eq!(
        cache.meeting(&[crl()], after).unwrap().len(),
        0,
        "a list that is over says nothing"
    );
    assert_eq!(cache.meeting(&[Need::IntelRootCrl], NOW).unwrap().len(), 0);
}

#[test]
fn pruning_drops_what_is_over_and_what_is_damaged() {
    let (_home, cache) = cache();
    cache.put(VCEK).unwrap();
    let list = cache.put(&crl_of("ARK-Genoa")).unwrap();
    let damaged = cache.put(ASK).unwrap();
    std::fs::write(cache.path().join(damaged.to_string()), VCEK).unwrap();
    std::fs::write(cache.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(cache.all().unwrap().len(), 2, "a file that is not what its name says is no file");
    assert_eq!(cache.prune(NOW).unwrap(), Pruned { ended: 0, damaged: 2, kept: 2 });
    assert!(cache.path().join(list.to_string()).exists());
    assert_eq!(cache.prune(NOW + 60 * 86_400).unwrap(), Pruned { ended: 1, damaged: 0, kept: 1 });
    // A damaged file is mended by keeping its content again.
    assert_eq!(cache.put(ASK).unwrap(), damaged);
    assert_eq!(cache.all().unwrap().len(), 2);
}

#[test]
fn only_endorsements_are_kept() {
    let (_home, cache) = cache();
    for rubbish in [&b""[..], b"<html>", b"{}"] {
        assert!(matches!(cache.put(rubbish), Err(CacheError::NoEndorsement)));
    }
    assert!(cache.all().unwrap().is_empty());
}

// The stand-in for the services.

#[derive(Clone)]
pub(crate) enum Behaviour {
    Answers(Vec<u8>, Vec<(&'static str, String)>),
    Status(u16, Vec<(&'static str, &'static str)>),
    /// Says "not now" this often first.
    Busy(usize, Vec<u8>),
    /// More than was announced is missing.
    Truncates(Vec<u8>),
    NeverEnds,
    NeverAnswers,
}

#[derive(Default)]
pub(crate) struct StandIn {
    by_path: Mutex<HashMap<String, Behaviour>>,
    pub(crate) asked: AtomicUsize,
    hosts: Mutex<Vec<String>>,
}

async fn answer(State(stand_in): State<Arc<StandIn>>, request: HttpRequest) -> Response {
    let asked = stand_in.asked.fetch_add(1, Ordering::Relaxed);
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    stand_in.hosts.lock().unwrap().push(host);
    let path = request.uri().path().to_owned();
    let behaviour = stand_in.by_path.lock().unwrap().get(&path).cloned();
    match behaviour {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Behaviour::Answers(body, headers)) => with_headers(200, &headers, Body::from(body)),
        Some(Behaviour::Status(status, headers)) => {
            let headers: Vec<_> = headers.into_iter().map(|(n, v)| (n, v.to_owned())).collect();
            with_headers(status, &headers, Body::empty())
        }
        Some(Behaviour::Busy(times, _)) if asked < times => {
            with_headers(429, &[("retry-after", "0".to_owned())], Body::empty())
        }
        Some(Behaviour::Busy(_, body)) => with_headers(200, &[], Body::from(body)),
        Some(Behaviour::Truncates(body)) => {
            let length = (body.len() + 1000).to_string();
            let part = stream::iter([Ok::<_, std::io::Error>(body)]);
            with_headers(200, &[("content-length", length)], Body::from_stream(part))
        }
        Some(Behaviour::NeverEnds) => {
            let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 4096]));
            with_headers(200, &[], Body::from_stream(endless))
        }
        Some(Behaviour::NeverAnswers) => std::future::pending().await,
    }
}

fn with_headers(status: u16, headers: &[(&'static str, String)], body: Body) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), map, body).into_response()
}

/// Starts it under a certificate for every service's name; where it is, and its root.
fn start(stand_in: Arc<StandIn>) -> (SocketAddr, RootCertStore) {
    let names = SERVICES.map(|service| service.host.to_owned());
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let private = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(stand_in);
    let tls = RustlsConfig::from_config(Arc::new(config));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    (address, root(made.cert.der()))
}

fn root(certificate: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    roots
}

/// The services, with `behaviours` by path.
pub(crate) fn services(behaviours: &[(&str, Behaviour)]) -> (Arc<StandIn>, Fetcher) {
    let stand_in = Arc::new(StandIn::default());
    for (path, behaviour) in behaviours {
        stand_in.by_path.lock().unwrap().insert((*path).to_owned(), behaviour.clone());
    }
    let (address, roots) = start(stand_in.clone());
    (stand_in, Fetcher::stand_in(address, roots, 2_000))
}

pub(crate) fn vcek_path() -> String {
    let chip: Vec<u8> = (0..64).collect();
    format!("/vcek/v1/Genoa/{}", data_encoding::HEXLOWER.encode(&chip))
}

pub(crate) fn answers(body: &[u8]) -> Behaviour {
    Behaviour::Answers(body.to_vec(), Vec::new())
}

#[tokio::test]
async fn fetches_what_is_needed_from_the_service_that_has_it() {
    let chain_header =
        pem(ASK).replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B").replace('=', "%3D");
    let intel = Behaviour::Answers(
        IDENTITY.into(),
        vec![("SGX-Enclave-Identity-Issuer-Chain", chain_header)],
    );
    let both = [pem(ASK), pem(ARK)].concat();
    let (stand_in, fetcher) = services(&[
        (&vcek_path(), answers(VCEK)),
        ("/vcek/v1/Genoa/cert_chain", answers(both.as_bytes())),
        ("/vcek/v1/Genoa/crl", answers(&crl_of("ARK-Genoa"))),
        ("/tdx/certification/v4/qe/identity", intel),
        ("/sgx/certification/v4/pckcrl", answers(&crl_of("Intel SGX PCK Platform CA"))),
        ("/IntelSGXRootCA.der", answers(&crl_of("Intel SGX Root CA"))),
    ]);
    assert_eq!(fetcher.fetch(&vcek(), NOW).await.unwrap(), [VCEK]);
    assert_eq!(fetcher.fetch(&chain(), NOW).await.unwrap(), [ASK, ARK], "one by one");
    assert_eq!(fetcher.fetch(&crl(), NOW).await.unwrap().len(), 1);
    let identity = fetcher.fetch(&Need::IntelQeIdentity, NOW).await.unwrap();
    assert_eq!(identity, [IDENTITY.as_bytes(), ASK], "the chain of the header comes along");
    let authority = PckAuthority::Platform;
    fetcher.fetch(&Need::IntelPckCrl { authority }, NOW).await.unwrap();
    fetcher.fetch(&Need::IntelRootCrl, NOW).await.unwrap();
    let hosts = stand_in.hosts.lock().unwrap().clone();
    assert_eq!(hosts[0], "kdsintf.amd.com");
    assert_eq!(hosts[3], "api.trustedservices.intel.com");
    assert_eq!(hosts[5], "certificates.trustedservices.intel.com");
}

/// Each row: one way to behave badly, and the error it gives.
#[tokio::test]
async fn a_service_that_behaves_badly_gives_a_clear_error_and_nothing_else() {
    type Is = fn(&FetchError) -> bool;
    let elsewhere = ("location", "https://elsewhere.example/vcek");
    let rows: Vec<(&str, Behaviour, Is)> = vec![
        ("redirects", Behaviour::Status(302, vec![elsewhere]), |e| {
            matches!(e, FetchError::Redirect { status: 302, .. })
        }),
        ("redirects for ever", Behaviour::Status(308, vec![elsewhere]), |e| {
            matches!(e, FetchError::Redirect { status: 308, .. })
        }),
        ("never ends", Behaviour::NeverEnds, |e| matches!(e, FetchError::TooLong { .. })),
        ("never answers", Behaviour::NeverAnswers, |e| matches!(e, FetchError::Timeout { .. })),
        ("stops half-way", Behaviour::Truncates(VCEK[..100].to_vec()), |e| {
            matches!(e, FetchError::Broken { .. })
        }),
        ("answers with a page", answers(b"<html>sign in to the network</html>"), |e| {
            matches!(e, FetchError::OtherContent { .. })
        }),
        (
            "answers with another certificate",
            answers(ASK),
            |e| matches!(e, FetchError::OtherContent { what, .. } if what.contains("SEV-Genoa")),
        ),
        (
            "compresses",
            Behaviour::Answers(VCEK.to_vec(), vec![("content-encoding", "gzip".to_owned())]),
            |e| matches!(e, FetchError::OtherContent { what, .. } if what.contains("gzip")),
        ),
        ("asks for an hour", Behaviour::Status(429, vec![("retry-after", "3600")]), |e| {
            matches!(e, FetchError::RateLimited { retry_after_s: Some(3600), .. })
        }),
        ("is never free", Behaviour::Status(503, vec![("retry-after", "0")]), |e| {
            matches!(e, FetchError::RateLimited { retry_after_s: Some(0), .. })
        }),
        ("fails", Behaviour::Status(500, vec![]), |e| matches!(e, FetchError::Status { .. })),
        ("has no such thing", Behaviour::Status(404, vec![]), |e| {
            matches!(e, FetchError::NotFound { .. })
        }),
    ];
    for (name, behaviour, is_expected) in rows {
        let (_, fetcher) = services(&[(&vcek_path(), behaviour)]);
        let error = fetcher.fetch(&vcek(), NOW).await.unwrap_err();
        assert!(is_expected(&error), "{name}: {error}");
        assert!(error.to_string().contains("kdsintf.amd.com"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_busy_service_is_asked_again_and_not_for_ever() {
    let (stand_in, fetcher) = services(&[(&vcek_path(), Behaviour::Busy(2, VCEK.to_vec()))]);
    assert_eq!(fetcher.fetch(&vcek(), NOW).await.unwrap(), [VCEK]);
    assert_eq!(stand_in.asked.load(Ordering::Relaxed), 3);
    let (stand_in, fetcher) = services(&[(&vcek_path(), Behaviour::Busy(9, VCEK.to_vec()))]);
    assert!(fetcher.fetch(&vcek(), NOW).await.is_err());
    assert_eq!(stand_in.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_list_that_is_over_is_not_what_was_asked_for() {
    let (_, fetcher) = services(&[("/vcek/v1/Genoa/crl", answers(&crl_of("ARK-Genoa")))]);
    let error = fetcher.fetch(&crl(), NOW + 60 * 86_400).await.unwrap_err();
    assert!(matches!(error, FetchError::OtherContent { .. }), "{error}");
}

#[tokio::test]
async fn a_stranger_under_the_services_name_is_not_met() {
    let stand_in = Arc::new(StandIn::default());
    stand_in.by_path.lock().unwrap().insert(vcek_path(), answers(VCEK));
    let (address, _) = start(stand_in.clone());
    let other = rcgen::generate_simple_self_signed(vec!["kdsintf.amd.com".to_owned()]).unwrap();
    let stranger = Fetcher::stand_in(address, root(other.cert.der()), 2_000);
    let error = stranger.fetch(&vcek(), NOW).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    // The shipped roots do not know it either.
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let shipped = Fetcher::stand_in(address, roots, 2_000);
    assert!(shipped.fetch(&vcek(), NOW).await.unwrap_err().is_offline());
    assert_eq!(stand_in.asked.load(Ordering::Relaxed), 0, "nothing was asked of it");
}

#[tokio::test]
async fn a_service_without_tls_is_not_met() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let fetcher = Fetcher::stand_in(address, RootCertStore::empty(), 2_000);
    let error = fetcher.fetch(&vcek(), NOW).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn without_a_network_the_error_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fetcher = Fetcher::stand_in(free, RootCertStore::empty(), 2_000);
    let id = RimId::new("NV_GPU_DRIVER_GH100_550.90.07").unwrap();
    let error = fetcher.fetch(&Need::NvidiaRim { id }, NOW).await.unwrap_err();
    assert!(error.is_offline(), "{error}");
    assert!(error.to_string().contains("rim.attestation.nvidia.com"), "{error}");
}
