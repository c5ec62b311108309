//! A simulated NVIDIA: devices that sign measurement reports, a signer of manifests, a responder for
//! OCSP, all in the real formats and under roots of their own.
//!
//! * [`Signer`]: a P-384 key with a name; certifies others, deterministic (RFC 6979).
//! * [`ReportTemplate`]: every field of a GPU's or switch's report.
//! * [`ManifestTemplate`]: every row of a reference integrity manifest.
//! * [`AnswerTemplate`]: every field of an OCSP answer.

mod answer;
mod manifest;
mod report;
mod signer;

pub use answer::{AnswerTemplate, Status};
pub use manifest::{ManifestTemplate, Row};
pub use report::{ReportTemplate, firmware_identity};
pub use signer::{Signer, authority_extensions, leaf_extensions, responder_extensions};
