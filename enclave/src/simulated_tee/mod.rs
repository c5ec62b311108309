//! The simulated TEE: certificates and reports in the real formats, from keys that no hardware
//! holds. It fakes the hardware, never the verifier: the shipped verifier judges what it signs, and
//! refuses it wherever nobody named its root.
//!
//! Pure: keys, instants and randomness are arguments, and no file is touched, so the simulated
//! world uses it as it stands. [`io::attester`](crate::io::attester) keeps the
//! keys in a data folder.
//!
//! * [`Authority`]: an ARK and an ASK (RSA-4096) of its own, and what they sign: leaf certificates
//!   and revocation lists.
//! * [`Chip`]: a VCEK (P-384) with its certificate, and the reports it signs.
//! * [`Node`]: a chip with what it reports and what endorses it: evidence for the asking.
//! * [`nvidia`]: GPUs and switches, signers of manifests, OCSP responders.
//! * [`tdx`]: Intel's platforms and the collateral about them.
//! * [`ReportTemplate`], [`LeafTemplate`]: every field, so that a test can make one wrong.

mod authority;
mod chip;
mod der;
mod node;
pub mod nvidia;
mod report;
pub mod tdx;

pub use authority::{Authority, AuthorityError, Validity};
pub use chip::{Chip, ChipError, LeafTemplate};
pub use der::{Certificate, Extension, Name, Serial};
pub use node::Node;
pub use report::{ReportTemplate, default_measurement};

/// What every name, label and screen says of it.
pub const SIMULATED_ORGANISATION: &str = "bulla simulated TEE (no hardware)";
