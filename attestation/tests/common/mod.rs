//! Where the real evidence lies, and how to read it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

use std::path::PathBuf;

use bulla_attestation::endorsement::Endorsements;

/// Reads files of the evidence folder.
pub struct EvidenceFolder(PathBuf);

impl EvidenceFolder {
    /// `$BULLA_EVIDENCE`, or `../shared/evidence` beside the repository. Says so and returns `None`
    /// where there is none.
    pub fn open() -> Option<EvidenceFolder> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/evidence");
        let folder =
            std::env::var_os("BULLA_EVIDENCE").map_or_else(|| beside.into(), PathBuf::from);
        if folder.join("MANIFEST.json").is_file() {
            return Some(EvidenceFolder(folder));
        }
        println!("skipped: no evidence folder");
        None
    }

    /// The bytes of one file.
    pub fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Several files, sorted as endorsements.
    pub fn endorsements<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Endorsements {
        let files: Vec<Vec<u8>> = paths.into_iter().map(|path| self.read(path)).collect();
        Endorsements::sort(files.iter().map(Vec::as_slice))
    }

    /// The manifest: what each file is, and the expected verdict.
    pub fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&self.read("MANIFEST.json")).expect("the manifest is JSON")
    }
}
