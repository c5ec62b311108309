//! Answers, and the headers every one of them carries.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::Markup;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::api::query::{ApiError, MEDIA_PROBLEM};
use crate::io::relay::Piece;
use crate::pages::CONTENT_POLICY;

/// What an operation answers.
pub enum Reply {
    /// JSON.
    Json(Vec<u8>),
    /// Something else, whole.
    Whole {
        /// Media type.
        media: &'static str,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A file, piece by piece.
    File {
        /// Media type.
        media: &'static str,
        /// Its name.
        name: String,
        /// The pieces.
        pieces: mpsc::Receiver<Piece>,
    },
}

/// A view as JSON.
pub fn json(view: &impl Serialize) -> Result<Reply, ApiError> {
    let bytes = serde_json::to_vec(view).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(Reply::Json(bytes))
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Reply::Json(bytes) => typed("application/json", bytes),
            Reply::Whole { media, bytes } => typed(media, bytes),
            Reply::File { media, name, mut pieces } => {
                let pieces = stream::poll_fn(move |context| pieces.poll_recv(context));
                let mut response = typed(media, Body::from_stream(pieces));
                let name = format!("attachment; filename=\"{name}\"");
                if let Ok(name) = HeaderValue::from_str(&name) {
                    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
                }
                response
            }
        }
    }
}

/// A body of a media type.
pub fn typed(media: &'static str, bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, media)], bytes.into()).into_response()
}

/// A page.
pub fn page(status: u16, markup: Markup) -> Response {
    let mut response = typed("text/html; charset=utf-8", markup.into_string());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}

/// Another page, to be got.
pub fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// An error as a problem document.
pub fn problem(error: &ApiError) -> Response {
    let bytes = serde_json::to_vec(&error.view()).unwrap_or_default();
    let mut response = typed(MEDIA_PROBLEM, bytes);
    let (status, _) = error.status();
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == 401 {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Adds a cookie.
pub fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What browsers and caches are told about everything that leaves here.
pub fn guard(headers: &mut HeaderMap, secure: bool) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: browsers would send the pages' own forms from "null".
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if secure {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
