//! Sealing: chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp over RFC 9458), post-quantum.
//!
//! ```text
//! client                                          enclave
//! AttestedKeys::seal(request) ── SealedRequest ──▶ SealingKey::open ─▶ InnerRequest
//!        │                                              │
//!   AnswerOpener ◀── nonce, chunk, chunk, final ── AnswerSealer
//! ```
//!
//! # What is in scope
//! The key configuration (RFC 9458 §3), the request and response encapsulation in chunks, binary
//! HTTP inside (RFC 9292), padding of requests to buckets. The framing is still a draft, so it
//! stays in one module.
//!
//! # What is out of scope
//! Sockets: bytes come in and go out as slices. Replay: the caller keeps the `enc` values.
//! Key exchange with X-Wing (0x647a) comes first, X25519 only where an operator chose it.

mod answer;
mod config;
mod frame;
mod gateway;
mod inner;
mod request;
mod response;
mod suite;
#[cfg(test)]
mod tests;

pub use answer::{AnswerEvent, AnswerParser, AnswerWriter, MAX_ANSWER_HEAD_BYTES};
pub use config::{ConfigError, KeyConfiguration};
pub use gateway::{Opened, SealingKey, UnsealError};
pub use inner::{InnerError, InnerRequest, MAX_INNER_HEADERS};
pub use request::{Padding, SealError, SealedRequest};
pub use response::{AnswerOpener, AnswerSealer, OpenError};
pub use suite::{Aead, Kem};
