//! Reference values (RFC 9334): signed manifests that say which measurements belong to which
//! image, under a root whose keys rotate by threshold.
//!
//! Documents are JSON that people can read; what is signed is the JCS form (RFC 8785) of `signed`
//! behind a line that names its kind, so white space and member order are nobody's business and
//! nothing else is left open.
//!
//! * [`RootDocument`]: who may sign manifests and who may sign the next root, each a threshold of
//!   keys. A policy pins one root document by digest; from there, version n + 1 counts when k of
//!   version n's root keys and k of its own signed it. Skipping back is impossible, two documents
//!   of one version are refused, and the newest one must not have expired.
//! * [`Manifest`]: the images and models of one line of releases, signed by the newest root's
//!   manifest keys, with a version that only grows and a date at which it ends.
//!
//! Left out, visibly: nothing here remembers the newest version seen; a policy's
//! `minimum_version` and the manifest's end bound how old a manifest can be shown.

mod envelope;
mod instant;
mod judge;
mod manifest;
mod resolve;
mod root;
mod sign;

pub use envelope::{DocumentError, SignatureEntry};
pub use instant::Instant;
pub(crate) use judge::judge;
pub use manifest::{
    CsvValues, Image, Manifest, ManifestBody, Model, SnpValues, TdxValues, VtpmValues,
};
pub use resolve::{ManifestState, ReferenceDocuments, ReferenceValues};
pub use root::{Role, RootBody, RootDocument, RotationError};
pub use sign::{Described, add_signature, describe};
