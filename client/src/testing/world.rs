//! A broker that relays to a simulated enclave, a client and its local endpoint, over real sockets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bulla_attestation::hash;
use bulla_attestation::sign::{SigningKey, verify_self_named};
use bulla_wire::evidence::AttestationReport;
use bulla_wire::http::*;
use bulla_wire::ids::{AccountHandle, Digest};
use bulla_wire::order::OrderKeyRegistration;
use bulla_wire::price::{PriceBook, PriceRow, Rates};
use bulla_wire::problem::Problem;
use bulla_wire::receipt::SecurityMode;
use bulla_wire::statement::parse_nonce;
use bulla_wire::units::{TokenCount, Unit};
use data_encoding::BASE64URL_NOPAD;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use super::{ARK, Enclave, POLICY, Tamper};
use crate::catalogue::{Catalogue, EnclaveEntry, ServedModel};
use crate::io::client::{Client, PATH_CHAT};
use crate::io::folder::Folder;
use crate::io::proxy::serve;
use crate::io::records::Record;
use crate::io::system::now;
use crate::io::transport::{Refusal, Transport, TransportError};

/// The body of an unstreamed answer.
pub const DOCUMENT: [&str; 2] = ["{\"choices\":[{\"message\":", "{\"content\":\"42\"}}]}"];
/// The body of a streamed one.
pub const EVENTS: [&str; 3] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"4\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"2\"}}]}\n\n",
    "data: [DONE]\n\n",
];

/// How the broker of a test behaves.
#[derive(Clone, Copy)]
pub struct Manner {
    pub tamper: Tamper,
    /// Pieces of an answer that get through the first time.
    pub pieces: usize,
    pub problem: Option<Problem>,
    /// Whether the stream then stays open without a word.
    pub stalls: bool,
}

/// Does what it should.
pub const HONEST: Manner =
    Manner { tamper: |_| (), pieces: usize::MAX, problem: None, stalls: false };

/// A broker with one enclave behind it.
pub struct FakeBroker {
    enclave: Enclave,
    book: Vec<u8>,
    manner: Manner,
    answers: Mutex<HashMap<String, Vec<u8>>>,
    order_keys: Mutex<Vec<AccountHandle>>,
    reports: AtomicUsize,
    /// Told when a listener goes away from a stalled answer.
    pub left: Arc<Notify>,
}

/// Says so when the answer it belongs to is dropped.
struct Listening(Arc<Notify>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn root() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

impl FakeBroker {
    pub fn new(manner: Manner) -> Arc<FakeBroker> {
        let rates = Rates { input: 2_000_000, output: 8_000_000, ..Rates::default() };
        let (model, name, unit) = (Digest([5; 32]), "m".to_owned(), Unit::tokens());
        let rows = vec![PriceRow { model, unit, rates, name }];
        let (issued_at, effective_from) = (now().seconds(), now().seconds());
        let book =
            root().sign(PriceBook { issued_at, version: 1, effective_from, rows, variants: None });
        let enclave = Enclave::at("one", 1, now());
        let (book, answers) = (book.bytes().to_vec(), Mutex::default());
        Arc::new(FakeBroker {
            enclave,
            book,
            manner,
            answers,
            order_keys: Mutex::default(),
            reports: AtomicUsize::new(0),
            left: Arc::default(),
        })
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route(PATH_ENCLAVES, get(Self::enclaves))
            .route(PATH_PRICE_BOOK, get(|State(b): State<Arc<Self>>| async move { b.book.clone() }))
            .route(PATH_ATTESTATION, get(Self::attestation))
            .route(PATH_SEALED, post(Self::sealed))
            .route(&format!("{PATH_SEALED}/{{hold}}"), get(Self::again))
            .route(PATH_ACCOUNT, get(Self::account))
            .route(PATH_ORDER_KEYS, post(Self::register))
            .with_state(self)
    }

    async fn enclaves(State(broker): State<Arc<Self>>) -> Json<Catalogue> {
        let keyset = &broker.enclave.keyset;
        let model = ServedModel {
            accelerator: "cpu:test".to_owned(),
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
        broker.reports.fetch_add(1, Ordering::Relaxed);
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
        let is_stream =
            serde_json::from_slice::<Value>(&asked.request.body).unwrap()["stream"] == json!(true);
        let (media, body): (&str, &[&str]) = match is_stream {
            true => ("text/event-stream", &EVENTS),
            false => ("application/json", &DOCUMENT),
        };
        let tamper = broker.manner.tamper;
        let pieces = broker.enclave.answer_with(media, body, &order, &sealed, tamper);
        let hold = bulla_attestation::sign::verify_order(&order).unwrap().hold.to_string();
        broker.answers.lock().unwrap().insert(hold, pieces.concat());
        let told: Vec<u8> = pieces.into_iter().take(broker.manner.pieces).flatten().collect();
        if !broker.manner.stalls {
            return Ok(Response::new(Body::from(told)));
        }
        let listening = Listening(broker.left.clone());
        let stream = stream::unfold((Some(told), listening), |(told, listening)| async move {
            match told {
                Some(told) => Some((Ok::<_, Infallible>(told), (None, listening))),
                None => std::future::pending().await,
            }
        });
        Ok(Response::new(Body::from_stream(stream)))
    }

    async fn again(State(broker): State<Arc<Self>>, Path(hold): Path<String>) -> Response {
        let answer = broker.answers.lock().unwrap().get(&hold).cloned();
        Response::new(Body::from(answer.unwrap()))
    }

    async fn account(State(broker): State<Arc<Self>>) -> Json<Value> {
        let package = json!({
            "number": 1, "unit": "TOK", "granted": 5, "available": 4, "held": 1, "spent": 0,
            "expired": 0, "priority": 100, "effective_from": 0, "expires_at": null,
            "promotional": false, "memo": "welcome",
        });
        let keys = broker.order_keys.lock().unwrap().clone();
        Json(json!({"account": 1, "name": "demo", "packages": [package], "order_keys": keys}))
    }

    async fn register(State(broker): State<Arc<Self>>, body: Bytes) -> StatusCode {
        let key = |claim: &OrderKeyRegistration| claim.order_key;
        let claim = verify_self_named(&body, key).unwrap();
        broker.order_keys.lock().unwrap().push(hash::account_handle(&claim.order_key));
        StatusCode::NO_CONTENT
    }

    /// Attestation reports it gave.
    pub fn reports(&self) -> usize {
        self.reports.load(Ordering::Relaxed)
    }

    /// Orders it took.
    pub fn orders(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

/// A broker, a client and its endpoint, all running.
pub struct World {
    pub home: tempfile::TempDir,
    pub broker: Arc<FakeBroker>,
    pub client: Arc<Client>,
    pub endpoint: Transport,
    pub address: SocketAddr,
}

impl World {
    pub async fn start(manner: Manner) -> World {
        World::start_with(manner, ARK, "").await
    }

    pub async fn start_with(manner: Manner, simulated_root: &[u8], more: &str) -> World {
        let broker = FakeBroker::new(manner);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, broker.clone().router()).into_future());
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(&home.path().join("client")).unwrap();
        folder.store_credential("bulla_test").unwrap();
        std::fs::write(folder.file("policy.toml"), POLICY).unwrap();
        std::fs::write(folder.file("root.der"), simulated_root).unwrap();
        let root_key = root().public();
        let config = format!(
            "[broker]\nurl = \"{url}\"\nroot_key = \"{root_key}\"\n\
             [appraisal]\npolicy = \"policy.toml\"\nvendor_roots = true\n\
             simulated_roots = [\"root.der\"]\n[proxy]\nlisten = \"127.0.0.1:0\"\n{more}\n"
        );
        std::fs::write(folder.config_path(), config).unwrap();
        let client = Arc::new(Client::open(folder.path(), None).unwrap());
        let (ready, address) = oneshot::channel();
        tokio::spawn(serve(client.clone(), ready, std::future::pending()));
        let address = address.await.unwrap();
        let endpoint = Transport::new(&format!("http://{address}"), None, None).unwrap();
        World { home, broker, client, endpoint, address }
    }

    pub async fn chat(&self, model: &str, stream: bool) -> Result<String, Refusal> {
        let messages = [json!({"role": "user", "content": "hi"})];
        let body = json!({"model": model, "messages": messages, "stream": stream}).to_string();
        let answer = self.endpoint.post(PATH_CHAT, &[], Bytes::from(body), 1 << 20).await;
        match answer {
            Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
            Err(TransportError::Problem(refusal)) => Err(*refusal),
            Err(other) => panic!("{other}"),
        }
    }

    /// The raw answer to raw bytes.
    pub async fn raw(&self, request: String) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub fn records(&self) -> Vec<Record> {
        self.client.records().read().unwrap()
    }
}
