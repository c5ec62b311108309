//! All roles in one process: what the tests of the whole workspace share.
//!
//! * [`chip`]: simulated TEE nodes under the worthless test authorities of `vectors/`.
//! * [`customer`]: an order key, a package's worth of rates, sealed requests.
//! * [`rig`]: one enclave core with a scripted engine, driven by hand.

pub mod chip;
pub mod customer;
pub mod rig;
pub mod world;
