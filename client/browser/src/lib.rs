//! The verifier and the audit as a WebAssembly module, for the page in `../page`.
//!
//! The module imports nothing: no clock, no network, no randomness, no file. Everything it knows
//! comes in one [request](request::Request): files as bytes, and settings as JSON, the time among
//! them. Everything it says goes out as JSON.
//!
//! * [`appraisal`]: evidence with its endorsements under a policy: the table of checks.
//! * [`auditing`]: an audit bundle under the keys a person named: the findings.
//! * [`trust`]: which policies are built in, and how roots and keys are named.
//! * `boundary` (in the browser only): five functions over linear memory.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod appraisal;
pub mod auditing;
mod pile;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;
pub mod trust;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod boundary;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod randomness;
