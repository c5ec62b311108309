//! Endorsements outside the verifier: a folder that keeps them, and a fetcher for the vendors'
//! services. Neither is trusted: a wrong answer, or a file somebody changed, is what the verifier
//! finds wrong.

mod cache;
mod fetch;
mod gather;
#[cfg(test)]
pub(crate) mod tests;

pub use cache::{Cache, CacheError, Kept, Pruned};
pub use fetch::{FetchError, Fetcher};
pub use gather::Gathered;
