//! Everything of the broker that touches the world.

pub mod clock;
mod commerce;
pub mod driver;
pub mod enclave;
pub mod export;
pub mod folder;
pub mod gate;
pub mod idempotency;
pub mod log_files;
pub mod puller;
pub mod relay;
pub mod run;
pub mod server;
pub mod setup;
pub mod store;
mod tariff;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod views;
pub mod web;
pub mod witness;
pub mod workload;
pub mod writer;
