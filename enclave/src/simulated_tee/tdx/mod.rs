//! A simulated Intel: platforms that quote TDs, and the collateral about them, in the real formats and
//! under a root of its own.
//!
//! * [`Signer`]: a P-256 key with a name; certifies others, signs quotes and collateral. Its keys and
//!   signatures are random: `ring` takes no other source.
//! * [`PlatformTemplate`]: every field of a PCK certificate's extension.
//! * [`QuoteTemplate`]: every field of a quote of version 4 or 5.
//! * [`TcbInfoTemplate`], [`QeIdentityTemplate`]: every field of the collateral.
//! * [`Intel`]: all of its keys, and one platform that agrees with itself.

mod collateral;
mod intel;
mod platform;
mod quote;
mod signer;

pub use collateral::{EnclaveLevel, Level, Module, QeIdentityTemplate, TcbInfoTemplate, Window};
pub use intel::{Intel, PLATFORM_CA, ROOT_CA, TCB_SIGNING};
pub use platform::PlatformTemplate;
pub use quote::{Keys, QuoteTemplate, TdTemplate};
pub use signer::{KeyError, Signer, authority_extensions, leaf_extensions};
