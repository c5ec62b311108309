//! What a TPM 2.0 says, byte by byte: quotes, attestation keys, signatures. Whether it is to be
//! believed is for the kind of evidence it stands in ([`azure`](super::azure),
//! [`vtpm`](super::vtpm)).

mod key;
mod quote;
mod reader;
pub(super) mod registers;

pub use key::{KeyError, TpmKey, ecdsa_signature};
pub use quote::{Clock, MAX_QUOTE_BYTES, PCRS, QuoteError};
pub(super) use quote::{Quote, attest_of, signature_of};
pub use reader::{Reader, Shape};
