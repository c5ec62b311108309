//! Everything of the broker that touches the world.

pub mod clock;
pub mod store;
pub mod workload;
pub mod writer;
