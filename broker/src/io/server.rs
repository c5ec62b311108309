//! The HTTP surface: routes, limits, and nothing to decide.

mod anonymous;
mod log;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bulla_wire::cose::Sign1;
use bulla_wire::decision::Decision;
use bulla_wire::http::*;
use bulla_wire::ids::{Digest, HoldId, InstanceId, PublicKey};
use bulla_wire::labels;
use bulla_wire::order::{MAX_ORDER_BYTES, Order};
use bulla_wire::problem::{ErrorBody, Problem};
use bulla_wire::statement::parse_nonce;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use super::clock;
use super::commerce;
use super::driver::{Driver, Refusal};
use super::enclave::{EnclaveError, Enclaves, header as text_header};
use super::export::Exporter;
use super::gate::{self, Gate, Ticket};
use super::idempotency::{HEADER_KEY, once};
use super::relay::{Piece, Relay};
use super::store::Results;
use super::views;
use super::writer::Writer;
use crate::account::{Account, CredentialError, Principal, authenticate, principal};
use crate::broker::Broker;
use crate::ledger::{Command, Queries};
use crate::limit::{Standings, limits_of};

/// Largest body of a short request (registration), in bytes.
const MAX_SHORT_BODY_BYTES: usize = 64 * 1024;
/// Longest wait for a short question to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most audit bundles made at once: each holds a snapshot of the ledger.
const MAX_BUNDLES: usize = 4;
/// Most draws of blind tokens made at once: each takes a core for some tens of milliseconds.
const MAX_DRAWS: usize = 2;
/// Most short questions that wait at once; more are told to come later.
const MAX_QUESTIONS: usize = 4096;

/// What the routes work with.
#[derive(Clone)]
pub struct Service {
    driver: Driver,
    relay: Relay,
    enclaves: Arc<Enclaves>,
    exporter: Exporter,
    gate: Gate,
    bundles: Arc<Semaphore>,
    draws: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    log_folder: Option<Arc<PathBuf>>,
    writer: Option<Writer>,
}

/// What a route answers.
pub(super) type Answer = Result<Response, Refusal>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = self.problem.body(&self.message).error.about_spent(&self.spent);
        let mut response = (status, axum::Json(ErrorBody { error })).into_response();
        tell(&mut response, &self.standings);
        if let Some(seconds) = self.retry_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let receipt = self.receipt.map(|receipt| BASE64URL_NOPAD.encode(&receipt));
        if let Some(receipt) = receipt.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(TRAILER_RECEIPT, receipt);
        }
        response
    }
}

/// Says in an answer's headers where its sender stands with its limits.
fn tell(response: &mut Response, standings: &Standings) {
    for (name, value) in gate::headers(standings) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

impl Service {
    /// The routes' state.
    pub fn new(driver: Driver, enclaves: Arc<Enclaves>, exporter: Exporter, gate: Gate) -> Service {
        Service {
            relay: Relay::new(driver.clone(), enclaves.clone()),
            driver,
            enclaves,
            exporter,
            gate,
            bundles: Arc::new(Semaphore::new(MAX_BUNDLES)),
            draws: Arc::new(Semaphore::new(MAX_DRAWS)),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            log_folder: None,
            writer: None,
        }
    }

    /// Serves the log's tiles from this folder, where they are there already.
    pub fn with_log_folder(self, folder: PathBuf) -> Service {
        Service { log_folder: Some(Arc::new(folder)), ..self }
    }

    /// Takes disputes: their commands go to the ledger here.
    pub fn with_writer(self, writer: Writer) -> Service {
        Service { writer: Some(writer), ..self }
    }

    /// All routes.
    pub fn router(self) -> Router {
        Router::new()
            .route(PATH_HEALTH, get(|| async { "ok\n" }))
            .route(PATH_MODELS, get(models))
            .route(PATH_ENCLAVES, get(enclaves))
            .route(PATH_ATTESTATION, get(attestation))
            .route(PATH_SEALED, post(sealed).layer(DefaultBodyLimit::disable()))
            .route(&format!("{PATH_SEALED}/{{hold}}"), get(refetch))
            .route(PATH_PRICE_BOOK, get(price_book))
            .route(PATH_ACCOUNT, get(account))
            .route(PATH_ORDER_KEYS, post(order_key))
            .route(PATH_RECEIPTS, get(receipts))
            .route("/v1/log/key", get(log::key))
            .route(PATH_CHECKPOINT, get(log::checkpoint))
            .route(&format!("{PATH_TILES}/{{*path}}"), get(log::tile))
            .route(&format!("{PATH_PROOFS}/{{digest}}"), get(log::proof))
            .route(&format!("{PATH_LOG_RECEIPT}/{{digest}}"), get(log::receipt))
            .route(&format!("{PATH_LOG_EPOCH}/{{keyset}}"), get(log::epoch))
            .route(PATH_INVOICES, get(commerce::invoices))
            .route(&format!("{PATH_INVOICES}/{{number}}"), get(commerce::invoice))
            .route(&format!("{PATH_WHY}/{{id}}"), get(commerce::why))
            .route(
                PATH_DISPUTES,
                post(commerce::dispute).layer(DefaultBodyLimit::max(commerce::MAX_DISPUTE_BYTES)),
            )
            .route(PATH_AUDIT_BUNDLE, get(bundle))
            .route(PATH_BLIND_KEYS, get(anonymous::keys))
            .route(PATH_BLIND_DRAW, post(anonymous::draw))
            .route(&format!("{PATH_BLIND_CHANGE}/{{hold}}"), get(anonymous::change))
            .fallback(|| async { Refusal::new(Problem::NotFound, "no such path") })
            .layer(DefaultBodyLimit::max(MAX_SHORT_BODY_BYTES))
            .with_state(self)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Broker, &dyn Queries) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal::new(Problem::Busy, "the broker is busy: try again later");
        let _permit = self.questions.try_acquire().map_err(|_| busy())?;
        match tokio::time::timeout(ANSWER_TIMEOUT, self.driver.ask(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(busy()),
        }
    }

    /// The account behind the request's credential.
    pub(super) async fn account(&self, headers: &HeaderMap) -> Result<Account, Refusal> {
        let credential = bearer(headers);
        let now = clock::now().seconds();
        let account =
            self.ask(move |_, store| authenticate(store, credential.as_deref(), now)).await?;
        account.map_err(no_entry)
    }

    /// Asks the ledger through a connection of its own, for what takes longer.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Queries) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = |_| Refusal::new(Problem::Busy, "the broker is busy: try again later");
        let permit = self.bundles.clone().try_acquire_owned().map_err(busy)?;
        let exporter = self.exporter.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let answer = exporter.ask(question);
            drop(permit);
            answer
        });
        let failed = |error: &dyn std::fmt::Display| Refusal::new(Problem::Internal, error);
        asked.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Has commands carried out in one durable batch.
    pub(super) async fn execute(&self, commands: Vec<Command>) -> Result<Results, Refusal> {
        let writer = self.writer.as_ref().ok_or_else(Refusal::stopping)?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        writer.submit(commands, move |results| {
            // Whoever asked may have gone.
            let _ = answer.send(results);
        });
        let results = answered.await.map_err(|_| Refusal::stopping())?;
        results.map_err(|error| Refusal::new(Problem::Internal, error))
    }

    /// Whose signature invoices bear.
    pub(super) async fn root_public_key(&self) -> Result<PublicKey, Refusal> {
        self.ask(|broker, _| broker.keys().root_public()).await
    }

    /// Who sends the request, and a ticket for it: its limits and its account's reservations are
    /// looked up with the credential. A request without an order is one for an answer that is there
    /// already, and counts against no limit.
    async fn enter(
        &self,
        headers: &HeaderMap,
        order: Option<&[u8]>,
    ) -> Result<(Principal, Ticket), Refusal> {
        let credential = bearer(headers);
        let now = clock::now();
        let asked = self.ask(move |broker, store| {
            let principal = principal(store, credential.as_deref(), now.seconds())?;
            let limits = limits_of(store, principal.account.number, &principal.spender)?;
            let slots = broker.booked_slots(principal.account.number, now.seconds());
            Ok((principal, limits, slots))
        });
        let (principal, limits, slots) = asked.await?.map_err(no_entry)?;
        let account = principal.account.number;
        let limits = if order.is_some() { limits } else { Vec::new() };
        let request = gate::Request { account, slots, limits, tokens: order.map_or(0, ceilings) };
        match (self.gate.admit(request).await, order) {
            (Ok(ticket), _) => Ok((principal, ticket)),
            (Err(refusal), Some(order)) => {
                let decision = match refusal.problem {
                    Problem::RateLimited => Decision::RateLimited,
                    _ => Decision::Busy,
                };
                self.driver.turned_away(account, order.to_vec(), decision).await;
                Err(refusal)
            }
            (Err(refusal), None) => Err(refusal),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let text = text_header(headers, header::AUTHORIZATION.as_str())?;
    text.strip_prefix("Bearer ").map(|text| text.trim().to_owned())
}

fn no_entry(error: CredentialError) -> Refusal {
    match error {
        CredentialError::Store(error) => Refusal::new(Problem::Internal, error),
        no => Refusal::new(Problem::Unauthorized, no),
    }
}

/// What an order may use, by its ceilings; the order is judged later.
fn ceilings(order: &[u8]) -> u64 {
    let order = Sign1::parse(order, labels::TYP_ORDER, MAX_ORDER_BYTES).ok();
    let order = order.and_then(|message| message.decode::<Order>().ok());
    order
        .map_or(0, |order| order.ceiling_input_tokens.saturating_add(order.ceiling_output_tokens).0)
}

/// JSON.
pub(super) fn json(value: &Value) -> Response {
    axum::Json(value).into_response()
}

fn typed(media: &'static str, bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, media)], bytes.into()).into_response()
}

fn streamed(media: &'static str, pieces: mpsc::Receiver<Piece>) -> Response {
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    typed(media, Body::from_stream(pieces))
}

async fn models(State(service): State<Service>, headers: HeaderMap) -> Answer {
    service.account(&headers).await?;
    let view = service.ask(|broker, _| views::models(broker, clock::now().seconds())).await?;
    Ok(json(&view))
}

async fn enclaves(State(service): State<Service>) -> Answer {
    let view = service.ask(|broker, _| views::enclaves(broker, clock::now().seconds())).await?;
    Ok(json(&view))
}

#[derive(Deserialize)]
struct AttestationQuery {
    nonce: Option<String>,
    instance: Option<String>,
}

async fn attestation(
    State(service): State<Service>,
    Query(query): Query<AttestationQuery>,
) -> Answer {
    let bad = |error: String| Refusal::new(Problem::BadRequest, error);
    let nonce = query.nonce.as_deref().map(parse_nonce).transpose();
    let nonce = nonce.map_err(|e| bad(e.to_string()))?;
    let instance = match query.instance {
        Some(name) => name.parse::<InstanceId>().map_err(|e| bad(e.to_string()))?,
        None => only_instance(&service).await?,
    };
    let report = service.enclaves.report(&instance, nonce.as_ref()).await.map_err(|error| {
        let problem = match error {
            EnclaveError::Unknown(_) => Problem::NotFound,
            _ => Problem::Unavailable,
        };
        Refusal::new(problem, error)
    })?;
    Ok(typed("application/json", report))
}

/// Without a name, the first that serves.
async fn only_instance(service: &Service) -> Result<InstanceId, Refusal> {
    let first = service
        .ask(|broker, _| {
            let mut ready = broker.catalogue().all_ready(clock::now().seconds());
            ready.next().map(|(instance, _)| instance.clone())
        })
        .await?;
    first.ok_or_else(|| Refusal::new(Problem::Unavailable, "no enclave serves now: try later"))
}

async fn sealed(State(service): State<Service>, headers: HeaderMap, body: Body) -> Answer {
    let missing = |name: &str| {
        Refusal::new(Problem::BadRequest, format!("header {name} is missing or malformed"))
    };
    let order = text_header(&headers, HEADER_ORDER)
        .filter(|text| text.len() <= MAX_ORDER_BYTES * 2)
        .and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
        .ok_or_else(|| missing(HEADER_ORDER))?;
    let instance = text_header(&headers, HEADER_INSTANCE)
        .and_then(|text| text.parse::<InstanceId>().ok())
        .ok_or_else(|| missing(HEADER_INSTANCE))?;
    check_length(&headers)?;
    check_key(&headers, &order)?;
    if headers.contains_key(HEADER_PAYMENT) {
        return anonymous::sealed(service, &headers, (order, instance), body).await;
    }
    let (who, ticket) = service.enter(&headers, Some(&order)).await?;
    let standings = ticket.standings();
    let told = |refusal: Refusal| Refusal { standings: Box::new(standings), ..refusal };
    let granted = service.driver.order(who.account.number, who.spender, instance, order);
    let granted = granted.await.map_err(told)?;
    let pieces = service.relay.serve(granted, body, ticket).await.map_err(told)?;
    let mut response = streamed(MEDIA_SEALED_RESPONSE, pieces);
    tell(&mut response, &standings);
    Ok(response)
}

/// The hold is an order's idempotency key; a header that says otherwise is a mistake.
fn check_key(headers: &HeaderMap, order: &[u8]) -> Result<(), Refusal> {
    let Some(key) = text_header(headers, HEADER_KEY) else { return Ok(()) };
    let order = Sign1::parse(order, labels::TYP_ORDER, MAX_ORDER_BYTES).ok();
    let hold = order.and_then(|message| message.decode::<Order>().ok()).map(|order| order.hold);
    match hold {
        Some(hold) if hold.to_string() != key => {
            let message = format!("{HEADER_KEY} of an order is its hold id, {hold}: leave it out");
            Err(Refusal::new(Problem::IdempotencyConflict, message))
        }
        _ => Ok(()),
    }
}

/// A length given is checked before anything is held.
fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = text_header(headers, header::CONTENT_LENGTH.as_str())
        .and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(got) if got > MAX_SEALED_REQUEST_BYTES as u64 => {
            let message = format!(
                "sealed request has {got} bytes, at most {MAX_SEALED_REQUEST_BYTES} are allowed"
            );
            Err(Refusal::new(Problem::TooLarge, message))
        }
        _ => Ok(()),
    }
}

async fn refetch(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(hold): Path<String>,
) -> Answer {
    let named = || hold.parse().map_err(|error| Refusal::new(Problem::BadRequest, error));
    if let Some(offer) = service.without_credential(&headers).await? {
        return anonymous::refetch(service, named()?, offer).await;
    }
    let (Principal { account, .. }, permit) = service.enter(&headers, None).await?;
    let hold: HoldId = named()?;
    let known = service.ask(move |_, store| store.hold(&hold)).await?;
    let known = known.map_err(|error| Refusal::new(Problem::Internal, error))?;
    // Another account's hold is as good as none.
    let known = known.filter(|known| known.account == account.number);
    let known = known.ok_or_else(|| Refusal::new(Problem::NotFound, format!("no hold {hold}")))?;
    let pieces = service.relay.refetch(known.instance, hold, permit).await?;
    Ok(streamed(MEDIA_SEALED_RESPONSE, pieces))
}

async fn price_book(State(service): State<Service>) -> Answer {
    let book = service
        .ask(|broker, _| {
            let book = broker.price_book_in_force(clock::now().seconds());
            book.map(|book| book.bytes().to_vec())
        })
        .await?;
    match book {
        Some(book) => Ok(typed(MEDIA_COSE, book)),
        None => Err(Refusal::new(Problem::Unavailable, "no price book is in force")),
    }
}

async fn account(State(service): State<Service>, headers: HeaderMap) -> Answer {
    let account = service.account(&headers).await?;
    let view = service.ask(move |_, store| views::account(store, &account)).await?;
    Ok(json(&view.map_err(|error| Refusal::new(Problem::Internal, error))?))
}

async fn order_key(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Answer {
    let account = service.account(&headers).await?;
    let once = once(&headers, "POST", PATH_ORDER_KEYS, &body)?;
    service.driver.register(account.number, body.to_vec(), once).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct ReceiptsQuery {
    limit: Option<usize>,
    after: Option<String>,
}

async fn receipts(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(query): Query<ReceiptsQuery>,
) -> Answer {
    let account = service.account(&headers).await?;
    let after = query.after.map(|text| text.parse::<Digest>()).transpose();
    let after = after.map_err(|error| Refusal::new(Problem::BadRequest, error))?;
    let limit = query.limit.unwrap_or(views::USUAL_RECEIPTS);
    let own = Some(account.number);
    let view = service.ask(move |_, store| views::receipts(store, own, after, limit)).await??;
    Ok(json(&view))
}

#[derive(Deserialize)]
struct BundleQuery {
    view: Option<String>,
}

async fn bundle(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(query): Query<BundleQuery>,
) -> Answer {
    let account = service.account(&headers).await?;
    let full = match query.view.as_deref() {
        None => false,
        Some("full") if account.operator => true,
        Some("full") => {
            let message = "the full view needs the credential of an operator's account \
                           (`bulla up` keeps one: --data DATA/operator)";
            return Err(Refusal::new(Problem::Forbidden, message));
        }
        Some(_) => return Err(Refusal::new(Problem::BadRequest, "view must be full or absent")),
    };
    let number = account.number;
    let keys = service.ask(move |_, store| store.order_keys(number)).await?;
    if !full && keys.is_ok_and(|keys| keys.is_empty()) {
        let message = "this account has no order key, so nothing could be billed to it: \
                       run `bulla account register-key` first";
        return Err(Refusal::new(Problem::NotFound, message));
    }
    let busy = |_| Refusal::new(Problem::Busy, "other bundles are being made: try again later");
    let permit = service.bundles.clone().try_acquire_owned().map_err(busy)?;
    let head = log::head_for_bundle(&service).await?;
    let pieces = service.exporter.start(head, full, account.number, permit);
    Ok(streamed(MEDIA_CBOR_SEQ, pieces))
}
