//! bulla-kernels: the arithmetic of the engine, and the threads it runs on.
//!
//! * [`weights`]: matrices packed for one pass over their bytes: Q8_0, Q4_0, Q4_K, Q6_K, bf16, f32.
//! * [`activation`], [`matmul`]: rows in 8 bits, and products with them.
//! * [`attention`], [`rows`]: what happens between the products; [`weigh`]: and behind the last.
//! * [`pool`]: threads that stay; [`path`]: which instructions they use.
//!
//! # The same bits
//! Every result is one chain of operations in an order that depends on nothing but the shapes: not
//! on how many rows are computed together, not on threads, not on the path. Tests compare all paths
//! with the portable one, bit for bit. That is what lets a receipt be computed again elsewhere. It is
//! also why AVX-512's products of bf16 are not used: they round pairs together and take denormals
//! for zero, which other processors repeat slowly at best. bf16 weights become 32-bit floats in
//! registers, and meet 32-bit activations.
//!
//! # Unsafe code
//! Lives in this crate and nowhere else in bulla's workspace. Its reasons: instructions that need
//! to be detected ([`matmul`], [`attention`]), memory aligned to cache lines ([`buffer`]), one
//! slice written by several threads ([`matmul`], [`rows`]), work lent to threads that stay
//! ([`pool`]), and an allocator that counts, for tests ([`allocations`]). Shapes are compared before
//! any of it runs.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers have constant bounds and index several arrays alike"
)]

pub mod activation;
pub mod allocations;
pub mod attention;
pub mod buffer;
pub mod half;
mod lanes;
pub mod matmul;
pub mod path;
pub mod pool;
pub mod rows;
mod split;
pub mod weigh;
pub mod weights;
