//! The endpoint against a broker that relays to a simulated enclave, over real sockets.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bulla_attestation::hash;
use bulla_attestation::sign::SigningKey;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::http::*;
use bulla_wire::ids::Digest;
use bulla_wire::price::{PriceBook, PriceRow, Rates};
use bulla_wire::problem::Problem;
use bulla_wire::receipt::SecurityMode;
use bulla_wire::statement::parse_nonce;
use bulla_wire::units::{MicroUnits, TokenCount, Unit};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::catalogue::{Catalogue, EnclaveEntry, ServedModel};
use crate::config::ClientConfig;
use crate::io::folder::Folder;
use crate::io::records::Record;
use crate::io::system::now;
use crate::io::transport::{Refusal, Transport, TransportError};
use crate::testing::{ARK, Enclave, POLICY, Tamper};

const DOCUMENT: [&str; 2] = ["{\"answer\":", "42}"];
const EVENTS: [&str; 3] = ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n", "data: [DONE]\n\n"];

/// How the broker of a test behaves.
#[derive(Clone, Copy)]
struct Manner {
    tamper: Tamper,
    /// Pieces of an answer that get through the first time.
    pieces: usize,
    problem: Option<Problem>,
}

const HONEST: Manner = Manner { tamper: |_| (), pieces: usize::MAX, problem: None };

/// A broker with one enclave behind it.
struct FakeBroker {
    enclave: Enclave,
    book: Vec<u8>,
    manner: Manner,
    answers: Mutex<HashMap<String, Vec<u8>>>,
}

fn root() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

impl FakeBroker {
    fn new(manner: Manner) -> Arc<FakeBroker> {
        let rates = Rates { input: 2_000_000, output: 8_000_000, ..Rates::default() };
        let (model, name, unit) = (Digest([5; 32]), "m".to_owned(), Unit::tokens());
        let rows = vec![PriceRow { model, unit, rates, name }];
        let (issued_at, effective_from) = (now().seconds(), now().seconds());
        let book = root().sign(PriceBook { issued_at, version: 1, effective_from, rows });
        let enclave = Enclave::at("one", 1, now());
        let (book, answers) = (book.bytes().to_vec(), Mutex::default());
        Arc::new(FakeBroker { enclave, book, manner, answers })
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route(PATH_ENCLAVES, get(Self::enclaves))
            .route(PATH_PRICE_BOOK, get(|State(b): State<Arc<Self>>| async move { b.book.clone() }))
            .route(PATH_ATTESTATION, get(Self::attestation))
            .route(PATH_SEALED, post(Self::sealed))
            .route(&format!("{PATH_SEALED}/{{hold}}"), get(Self::again))
            .with_state(self)
    }

    async fn enclaves(State(broker): State<Arc<Self>>) -> Json<Catalogue> {
        let keyset = &broker.enclave.keyset;
        let model = ServedModel {
            name: "m".to_owned(),
            manifest: Digest([5; 32]),
            context_tokens: TokenCount(4096),
        };
        Json(Catalogue {
            enclaves: vec![EnclaveEntry {
                instance: broker.enclave.instance.clone(),
                keyset_digest: hash::keyset_digest(keyset),
                security: SecurityMode::Simulated,
                models: vec![model],
                not_after: keyset.not_after,
            }],
        })
    }

    async fn attestation(
        State(broker): State<Arc<Self>>,
        axum::extract::Query(query): axum::extract::Query<HashMap<String, String>>,
    ) -> Json<AttestationReport> {
        assert_eq!(query["instance"], "one");
        Json(broker.enclave.report(Some(parse_nonce(&query["nonce"]).unwrap())))
    }

    async fn sealed(
        State(broker): State<Arc<Self>>,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, (StatusCode, Json<Value>)> {
        assert_eq!(headers["authorization"], "Bearer bulla_test");
        assert_eq!(headers[HEADER_INSTANCE], "one");
        if let Some(problem) = broker.manner.problem {
            let status = StatusCode::from_u16(problem.status()).unwrap();
            return Err((status, Json(serde_json::to_value(problem.body("no")).unwrap())));
        }
        let order = BASE64URL_NOPAD.decode(headers[HEADER_ORDER].as_bytes()).unwrap();
        let sealed = to_bytes(body, MAX_SEALED_REQUEST_BYTES).await.unwrap();
        let asked = broker.enclave.sealing.open(&sealed, &mut crate::testing::rng(8)).unwrap();
        let is_stream = ChatRequestView::is_stream(&asked.request.body);
        let (media, body): (&str, &[&str]) = match is_stream {
            true => ("text/event-stream", &EVENTS),
            false => ("application/json", &DOCUMENT),
        };
        let tamper = broker.manner.tamper;
        let pieces = broker.enclave.answer_with(media, body, &order, &sealed, tamper);
        let hold = bulla_attestation::sign::verify_order(&order).unwrap().hold.to_string();
        broker.answers.lock().unwrap().insert(hold, pieces.concat());
        let told: Vec<u8> = pieces.into_iter().take(broker.manner.pieces).flatten().collect();
        Ok(Response::new(Body::from(told)))
    }

    async fn again(State(broker): State<Arc<Self>>, Path(hold): Path<String>) -> Response {
        let answer = broker.answers.lock().unwrap().get(&hold).cloned();
        Response::new(Body::from(answer.unwrap()))
    }

    fn orders(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

struct ChatRequestView;

impl ChatRequestView {
    fn is_stream(body: &[u8]) -> bool {
        serde_json::from_slice::<Value>(body).unwrap()["stream"] == json!(true)
    }
}

/// A broker, a client and its endpoint, all running.
struct World {
    _home: tempfile::TempDir,
    broker: Arc<FakeBroker>,
    client: Arc<Client>,
    endpoint: Transport,
    address: SocketAddr,
}

impl World {
    async fn start(manner: Manner) -> World {
        World::start_with(manner, ARK, "").await
    }

    async fn start_with(manner: Manner, simulated_root: &[u8], more: &str) -> World {
        let broker = FakeBroker::new(manner);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, broker.clone().router()).into_future());
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        folder.store_credential("bulla_test").unwrap();
        std::fs::write(folder.file("policy.toml"), POLICY).unwrap();
        std::fs::write(folder.file("root.der"), simulated_root).unwrap();
        let root_key = root().public();
        let config = format!(
            "[broker]\nurl = \"{url}\"\nroot_key = \"{root_key}\"\n\
             [appraisal]\npolicy = \"policy.toml\"\nvendor_roots = true\n\
             simulated_roots = [\"root.der\"]\n[proxy]\nlisten = \"127.0.0.1:0\"\n{more}\n"
        );
        ClientConfig::from_toml(&config).unwrap();
        std::fs::write(folder.config_path(), config).unwrap();
        let client = Arc::new(Client::open(home.path(), None).unwrap());
        let (ready, address) = oneshot::channel();
        tokio::spawn(serve(client.clone(), ready, std::future::pending()));
        let address = address.await.unwrap();
        let endpoint = Transport::new(&format!("http://{address}"), None, None).unwrap();
        World { _home: home, broker, client, endpoint, address }
    }

    async fn chat(&self, model: &str, stream: bool) -> Result<String, Refusal> {
        let messages = [json!({"role": "user", "content": "hi"})];
        let body = json!({"model": model, "messages": messages, "stream": stream}).to_string();
        let answer = self.endpoint.post(PATH_CHAT, &[], Bytes::from(body), 1 << 20).await;
        match answer {
            Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
            Err(TransportError::Problem(refusal)) => Err(refusal),
            Err(other) => panic!("{other}"),
        }
    }

    /// The raw answer to raw bytes.
    async fn raw(&self, request: String) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn records(&self) -> Vec<Record> {
        self.client.records().read().unwrap()
    }
}

#[tokio::test]
async fn a_document_comes_with_its_receipt_kept() {
    let world = World::start(HONEST).await;
    assert_eq!(world.chat("m", false).await.unwrap(), DOCUMENT.concat());
    let records = world.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].usage().unwrap().charge, MicroUnits(38));
    assert_eq!(records[0].usage().unwrap().hold, records[0].hold().unwrap());
    let keyset = records[0].usage().unwrap().keyset;
    assert!(world.client.folder().file("evidence").join(format!("{keyset}.json")).exists());
}

#[tokio::test]
async fn a_stream_ends_with_its_marker_and_receipt() {
    let world = World::start(HONEST).await;
    let text = world.chat("m", true).await.unwrap();
    let id = world.records()[0].usage().unwrap().id;
    assert_eq!(text, format!("{}: {HEADER_RECEIPT_ID} {id}\n\n", EVENTS.concat()));
}

#[tokio::test]
async fn receipt_id_and_hold_are_headers_of_a_document() {
    let world = World::start(HONEST).await;
    let body = r#"{"model":"m","messages":[]}"#;
    let answer = world
        .raw(format!(
            "POST {PATH_CHAT} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            world.address,
            body.len()
        ))
        .await;
    let record = &world.records()[0];
    assert!(answer.contains(&format!("{HEADER_HOLD}: {}", record.hold().unwrap())), "{answer}");
    let id = record.usage().unwrap().id;
    assert!(answer.contains(&format!("{HEADER_RECEIPT_ID}: {id}")), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
}

#[tokio::test]
async fn an_unknown_model_is_404_before_anything_is_sealed() {
    let world = World::start(HONEST).await;
    let refusal = world.chat("nobody", false).await.unwrap_err();
    assert_eq!((refusal.status, refusal.problem), (404, Problem::NotFound));
    assert!(refusal.message.contains("nobody"), "{}", refusal.message);
    assert_eq!(world.broker.orders(), 0);
}

#[tokio::test]
async fn a_false_receipt_is_an_error_and_never_an_end() {
    let tamper: Tamper = |receipt| receipt.charge = MicroUnits(1);
    let world = World::start(Manner { tamper, ..HONEST }).await;
    let refusal = world.chat("m", false).await.unwrap_err();
    assert_eq!(refusal.status, 502);
    assert!(refusal.message.contains("receipt"), "{}", refusal.message);
    let text = world.chat("m", true).await.unwrap();
    assert!(text.contains("receipt_refused") && !text.contains("[DONE]"), "{text}");
    assert_eq!(world.records(), []);
}

#[tokio::test]
async fn an_answer_cut_on_its_way_is_fetched_again() {
    let world = World::start(Manner { pieces: 2, ..HONEST }).await;
    let text = world.chat("m", true).await.unwrap();
    assert!(text.starts_with(&EVENTS.concat()), "{text}");
    assert_eq!(world.broker.orders(), 1);
}

#[tokio::test]
async fn evidence_under_another_root_seals_nothing() {
    let other = include_bytes!("../../../../attestation/src/tee/snp/roots/ark-milan.der");
    let world = World::start_with(HONEST, other, "").await;
    let refusal = world.chat("m", false).await.unwrap_err();
    assert_eq!(refusal.status, 502);
    assert!(refusal.message.contains("root_pinned"), "{}", refusal.message);
    assert_eq!(world.broker.orders(), 0);
}

#[tokio::test]
async fn what_the_broker_refuses_is_said_as_it_is() {
    let problem = Some(Problem::InsufficientBalance);
    let world = World::start(Manner { problem, ..HONEST }).await;
    let refusal = world.chat("m", false).await.unwrap_err();
    assert_eq!((refusal.status, refusal.problem), (402, Problem::InsufficientBalance));
}

#[tokio::test]
async fn lists_models_and_answers_openai_shaped_404s() {
    let world = World::start(HONEST).await;
    let list = world.endpoint.fetch(PATH_MODELS, 1 << 20).await.unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["data"][0]["id"], "m");
    assert_eq!(list["data"][0]["bulla"]["security"], "simulated");
    let one = world.endpoint.fetch("/v1/models/m", 1 << 20).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&one).unwrap(), list["data"][0]);
    for path in ["/v1/models/other", "/v1/embeddings"] {
        let error = world.endpoint.fetch(path, 1 << 20).await.unwrap_err();
        assert!(matches!(&error, TransportError::Problem(r) if r.status == 404), "{error}");
    }
}

#[tokio::test]
async fn refuses_other_hosts_web_pages_and_wrong_credentials() {
    let world = World::start(HONEST).await;
    let get =
        |headers: &str| format!("GET {PATH_MODELS} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    let port = world.address.port();
    let good = format!("host: localhost:{port}\r\n");
    assert!(world.raw(get(&good)).await.starts_with("HTTP/1.1 200"));
    let evil = format!("host: evil.example:{port}\r\n");
    assert!(world.raw(get(&evil)).await.starts_with("HTTP/1.1 403"));
    let page = format!("{good}origin: http://localhost:{port}\r\n");
    assert!(world.raw(get(&page)).await.starts_with("HTTP/1.1 403"));
    let secret = "local_credential = \"0123456789abcdef\"";
    let world = World::start_with(HONEST, ARK, secret).await;
    let refusal = world.chat("m", false).await.unwrap_err();
    assert_eq!(refusal.status, 401);
}

#[tokio::test]
async fn refuses_a_body_that_is_no_chat_request() {
    let world = World::start(HONEST).await;
    for (body, status) in [("{", 400), ("{}", 400), (&*" ".repeat(3 << 20 | 1), 413)] {
        let body = Bytes::from(body.to_owned());
        let error = world.endpoint.post(PATH_CHAT, &[], body, 1 << 20).await.unwrap_err();
        assert!(matches!(&error, TransportError::Problem(r) if r.status == status), "{error}");
    }
}
