//! Endorsements: which ones an appraisal needs, which vendor's service has them, how long one is
//! worth keeping. Pure: files are in [`crate::io::endorsements`], and so is the network.
//!
//! Nothing here is believed. Evidence that asks for endorsements has not been judged yet, so only
//! numbers of a known shape are taken from it, never an address; and what a service or a cache
//! gives is judged by the verifier, whoever gave it.

mod evidence;
mod material;
mod need;
mod ocsp_request;
mod piece;
mod service;

#[cfg(test)]
mod tests;

pub use evidence::{Needs, needs};
pub use material::Material;
pub use need::{AmdKey, Need, PckAuthority, RimId};
pub use ocsp_request::ocsp_request;
pub use piece::{Keep, MAX_PIECE_BYTES, Piece, meets as is_met};
pub use service::{Request, SERVICES, Service, Unfetchable};
