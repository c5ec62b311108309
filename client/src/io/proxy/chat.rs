//! `POST /v1/chat/completions` and `POST /v1/embeddings`: the enclave's answer is OpenAI-shaped already and passes through as
//! it opens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bulla_wire::ids::HoldId;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::{HEADER_HOLD, HEADER_RECEIPT_ID};
use crate::io::ask::{AskError, Progress, ask};
use crate::io::client::Client;
use crate::request::{ChatRequest, MAX_REQUEST_BYTES, RequestError};
use crate::session::{Piece, Settled};

type Answer = mpsc::Receiver<Result<Progress, AskError>>;

/// Asks for a chat completion, and answers with what comes.
pub async fn complete(State(client): State<Arc<Client>>, body: Body) -> Result<Response, Failure> {
    pass_on(client, body, ChatRequest::read).await
}

/// Asks for embeddings.
pub async fn embed(State(client): State<Arc<Client>>, body: Body) -> Result<Response, Failure> {
    pass_on(client, body, ChatRequest::read_embeddings).await
}

async fn pass_on(
    client: Arc<Client>,
    body: Body,
    read: fn(&[u8]) -> Result<ChatRequest, RequestError>,
) -> Result<Response, Failure> {
    let body = to_bytes(body, MAX_REQUEST_BYTES)
        .await
        .map_err(|_| Failure::from(&RequestError::TooLong { got_bytes: MAX_REQUEST_BYTES + 1 }))?;
    let request = read(&body).map_err(|e| Failure::from(&e))?;
    let mut answer = ask(client, request);
    let head = head(&mut answer).await?;
    match head.is_stream() {
        true => Ok(streamed(head, answer)),
        false => whole(head, answer).await,
    }
}

/// What is known when the answer begins.
struct Head {
    status: StatusCode,
    media: String,
    hold: Option<HoldId>,
}

impl Head {
    fn is_stream(&self) -> bool {
        self.media.starts_with("text/event-stream")
    }

    fn response(&self, receipt: Option<&Settled>, body: Body) -> Response {
        let mut builder = Response::builder()
            .status(self.status)
            .header("content-type", &self.media)
            .header("cache-control", "no-store");
        if let Some(hold) = self.hold {
            builder = builder.header(HEADER_HOLD, hold.to_string());
        }
        if let Some(settled) = receipt {
            builder = builder.header(HEADER_RECEIPT_ID, settled.receipt.id.to_string());
        }
        let internal = |_| Failure::new(502, "server_error", "answer_refused").into_response();
        builder.body(body).unwrap_or_else(internal)
    }
}

/// Reads on until the answer begins. Errors up to here have a status of their own.
async fn head(answer: &mut Answer) -> Result<Head, Failure> {
    let mut hold = None;
    while let Some(progress) = answer.recv().await {
        match progress.map_err(|e| Failure::from(&e))? {
            Progress::Ordered { order, .. } => hold = Some(order.hold),
            Progress::Answer(Piece::Head { status, headers }) => {
                let media = headers.into_iter().find(|(name, _)| name == "content-type");
                let media = media.map_or_else(|| "application/json".to_owned(), |(_, v)| v);
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                return Ok(Head { status, media, hold });
            }
            _ => (),
        }
    }
    Err(ended_early())
}

fn ended_early() -> Failure {
    Failure::new(502, "server_error", "answer_refused").saying("the answer ended before its end")
}

/// One document, released by its receipt.
async fn whole(head: Head, mut answer: Answer) -> Result<Response, Failure> {
    let mut body = Vec::new();
    while let Some(progress) = answer.recv().await {
        match progress.map_err(|e| Failure::from(&e))? {
            Progress::Answer(Piece::Body(bytes)) => body.extend(bytes),
            Progress::Done(settled) => return Ok(head.response(Some(&settled), Body::from(body))),
            _ => (),
        }
    }
    Err(ended_early())
}

/// Events as they come; `data: [DONE]` only after the receipt held, an error event otherwise. The
/// receipt's id follows as a comment, which readers of event streams pass over.
fn streamed(head: Head, answer: Answer) -> Response {
    let events = futures_util::stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        loop {
            let (bytes, more) = match answer.recv().await {
                Some(Ok(Progress::Answer(Piece::Body(bytes)))) => (Bytes::from(bytes), true),
                Some(Ok(Progress::Done(settled))) => (receipt_comment(&settled), false),
                Some(Ok(_)) => continue,
                Some(Err(error)) => (error_event(&Failure::from(&error)), false),
                None => (error_event(&ended_early()), false),
            };
            return Some((Ok::<_, Infallible>(bytes), more.then_some(answer)));
        }
    });
    head.response(None, Body::from_stream(events))
}

fn receipt_comment(settled: &Settled) -> Bytes {
    Bytes::from(format!(": {HEADER_RECEIPT_ID} {}\n\n", settled.receipt.id))
}

fn error_event(failure: &Failure) -> Bytes {
    let body = serde_json::to_string(&failure.body).unwrap_or_default();
    Bytes::from(format!("data: {body}\n\n"))
}
