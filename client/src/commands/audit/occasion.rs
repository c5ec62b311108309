//! What was judged, when and by what: stands at the head of every report.

use bulla_wire::ids::Digest;
use bulla_wire::units::UnixMillis;

use super::lens::Lens;

/// One audit of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// The file's name, without its folder.
    pub bundle: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was judged.
    pub at: UnixMillis,
    /// For whom.
    pub lens: Lens,
}

/// This program.
pub const TOOL: &str = "bulla audit";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
