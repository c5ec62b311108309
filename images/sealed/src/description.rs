//! What came out of a build: `image.json`, published beside the artefacts, and what a rebuild is
//! compared with.

use serde::{Deserialize, Serialize};

use crate::hash::{hex, sha256};

/// Longest description, in bytes.
pub const MAX_DESCRIPTION_BYTES: u64 = 256 * 1024;
/// Its name among the artefacts.
pub const FILE: &str = "image.json";
/// The kernel among the artefacts.
pub const KERNEL: &str = "vmlinuz";
/// The initial RAM disk among the artefacts.
pub const INITRAMFS: &str = "initramfs.cpio";

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Version of this format: 1.
    pub format: u32,
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is one for development.
    pub development: bool,
    /// What compiled it.
    pub toolchain: Toolchain,
    /// What it was made of, by hash.
    pub inputs: Vec<Input>,
    /// What a machine is given to start.
    pub artefacts: Vec<Artefact>,
    /// Kernel modules, in the order they are loaded.
    pub modules: Vec<String>,
    /// The kernel's command line.
    pub command_line: String,
}

/// What compiled the programs inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// `rustc --version`.
    pub rustc: String,
    /// First line of `cc --version`: the C compiler behind ring's assembly.
    pub cc: String,
    /// Target triple.
    pub target: String,
}

/// Something an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub name: String,
    /// SHA-256, hex.
    pub sha256: String,
}

/// A file a machine is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// File name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Input {
    /// An input by its bytes.
    pub fn of(name: impl Into<String>, bytes: &[u8]) -> Input {
        Input { name: name.into(), sha256: hex(&sha256(bytes)) }
    }
}

impl Artefact {
    /// An artefact by its bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Artefact {
        let sha256 = hex(&sha256(bytes));
        Artefact { name: name.to_owned(), bytes: bytes.len() as u64, sha256 }
    }
}

impl Description {
    /// Reads a description.
    pub fn from_json(bytes: &[u8]) -> Result<Description, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Writes it, the same text for the same image.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    /// The artefact called `name`.
    pub fn artefact(&self, name: &str) -> Option<&Artefact> {
        self.artefacts.iter().find(|artefact| artefact.name == name)
    }
}
