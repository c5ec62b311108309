//! The local endpoint: OpenAI's API on loopback, everything behind it sealed, ordered, receipted.
//!
//! `POST /v1/chat/completions`, `POST /v1/embeddings`, `GET /v1/models`, `GET /v1/models/{id}`, `GET /healthz`. Requests
//! arrive here in the clear, so it listens on loopback only; see [`guard`] for who may use it.
//! Without `local_credential` any program on this machine may, and spends the account's tokens.
//!
//! Left out, each answered with a clear 404: completions, responses, files and every
//! other path of OpenAI's API.

mod chat;
mod failure;
pub mod guard;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router, middleware};
use bulla_wire::http::{PATH_HEALTH, PATH_MODELS};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::client::{Client, PATH_CHAT, PATH_EMBEDDINGS, PlanError};
use crate::listing::{self, ModelList};
pub use failure::Failure;
use guard::Guard;

/// Header of an answer: id of its usage receipt (not on streams: there it ends the stream, as a
/// comment).
pub const HEADER_RECEIPT_ID: &str = "bulla-receipt-id";
/// Header of an answer: the hold its order names.
pub const HEADER_HOLD: &str = "bulla-hold";

/// Why the endpoint does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}; choose another under [proxy] listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Serving failed.
    #[error("local endpoint: {source}")]
    Serve {
        /// What the system says.
        source: std::io::Error,
    },
}

/// Serves until `shutdown` completes. `ready` learns the address once connections are accepted.
pub async fn serve(
    client: Arc<Client>,
    ready: oneshot::Sender<SocketAddr>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ProxyError> {
    let address = client.config().proxy.listen;
    let failed = |source| ProxyError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let credential = client.config().proxy.local_credential.clone();
    let guard = Arc::new(Guard::new(bound.port(), credential));
    // Nobody has to listen for readiness.
    let _ = ready.send(bound);
    // Tokens reach the application when they are here; a socket that cannot be told so still works.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, router(client, guard))
        .with_graceful_shutdown(shutdown)
        .await
        .map_err(|source| ProxyError::Serve { source })
}

fn router(client: Arc<Client>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route(PATH_CHAT, post(chat::complete))
        .route(PATH_EMBEDDINGS, post(chat::embed))
        .route(PATH_MODELS, get(models))
        .route(&format!("{PATH_MODELS}/{{*id}}"), get(model))
        .route(PATH_HEALTH, get(|| async { Json(serde_json::json!({"status": "ok"})) }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(guard, check))
        .with_state(client)
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

async fn models(State(client): State<Arc<Client>>) -> Result<Json<ModelList>, Failure> {
    Ok(Json(list(&client).await?))
}

async fn model(
    State(client): State<Arc<Client>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    match list(&client).await?.entry(&id) {
        Some(entry) => Ok(Json(entry).into_response()),
        None => Err(Failure::model_not_found(&id)),
    }
}

/// The models this client can ask for.
pub async fn list(client: &Client) -> Result<ModelList, Failure> {
    let failed = |e: PlanError| Failure::from(&e);
    let collateral = client.collateral();
    let book = collateral.price_book(client.broker(), client.folder()).await;
    let book = book.map_err(|e| failed(e.into()))?;
    let catalogue = collateral.catalogue(client.broker()).await.map_err(|e| failed(e.into()))?;
    Ok(listing::models(&book, &catalogue, &client.config().spending.unit))
}

async fn no_such_path(request: Request) -> Failure {
    let message = format!(
        "{} is not served here: POST {PATH_CHAT}, POST {PATH_EMBEDDINGS} and GET {PATH_MODELS} are",
        request.uri().path()
    );
    Failure::new(404, "invalid_request_error", "unknown_url").saying(message)
}

async fn no_such_method(request: Request) -> Failure {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Failure::new(405, "invalid_request_error", "method_not_allowed").saying(message)
}
