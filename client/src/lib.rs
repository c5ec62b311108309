//! The client: relying party, payer and auditor.
//!
//! Appraises an enclave before it speaks, seals the request to the keys the evidence binds, signs
//! an order for what it may cost, opens the answer as it streams, and believes it only with a
//! usage receipt that repeats the order.
//!
//! * [`session`]: one request as a state machine; [`price`], [`request`], [`config`],
//!   [`catalogue`], [`listing`]: what it is made of. All pure: no clock, files, network or
//!   randomness of their own.
//! * [`io`]: files, network, the local OpenAI-compatible endpoint.
//! * [`commands`]: what people type.
//! * [`audit`]: judging a log and a ledger.

#![forbid(unsafe_code)]

pub mod audit;
pub mod catalogue;
pub mod commands;
pub mod config;
pub mod io;
pub mod listing;
pub mod price;
pub mod request;
pub mod session;

#[cfg(test)]
mod testing;
