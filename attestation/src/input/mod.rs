//! What is in a file: evidence, endorsements or both, in whatever encoding the tool that wrote it
//! chose.
//!
//! Evidence travels raw, as hex, base64 or base64url, as PEM, as the JSON documents of the vendors'
//! tools, as protobuf or CBOR, and as these inside one another. [`recognise`] takes such wrappings
//! off and says what it found, by structure: a SEV-SNP report is 1184 bytes that parse as one, a
//! quote has a quote's header and lengths. Nothing is judged here, and nothing found is believed:
//! bytes that end up as evidence go to [`raw::appraise_raw`](crate::raw::appraise_raw), the rest to
//! [`Endorsements::sort`](crate::endorsement::Endorsements::sort).
//!
//! Wrappings are signed by nobody, so taking them off may be lenient; the evidence inside is handed
//! on byte for byte. Some wrappings hold a report or quote field by field (the `sev` crate's JSON,
//! go-sev-guest's and go-tdx-guest's protobuf): there its bytes are put together again, and the
//! signature says whether they are the ones the hardware signed.

mod binary;
mod bundle;
mod cbor;
mod document;
mod encoding;
mod json;
mod proto;
mod quote_fields;
mod reader;
mod snp_fields;
mod table;

pub use table::certificate_table;

use crate::tee::TeeKind;
use reader::Reader;

/// Largest file looked at, in bytes (ours; RIMs and event logs are below 1 MiB).
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// Most files looked at together (ours).
pub const MAX_FILES: usize = 256;
/// Most encodings inside one another (ours; dstack's JSON in JSON in base64 is three).
pub const MAX_NESTED_ENCODINGS: usize = 8;
/// Most bytes looked at for one file over all its encodings (ours: a file of the largest size in
/// three encodings).
pub const MAX_LOOKED_AT_BYTES: usize = 4 * MAX_FILE_BYTES;
/// Most members, elements and fields looked at for one file (ours).
pub const MAX_NODES: usize = 100_000;
/// Most pieces of evidence taken from all files (ours; a machine has eight GPUs and four switches).
pub const MAX_EVIDENCE: usize = 64;
/// Most endorsements taken from all files (ours).
pub const MAX_ENDORSEMENTS: usize = 512;
/// Most remarks about what was left aside (ours).
pub const MAX_LEFT_ASIDE: usize = 64;

/// A file to look at.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
    /// What the caller gave it as.
    pub role: Role,
}

/// What the caller gave a file as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Evidence, endorsements, or both.
    Anything,
    /// Endorsements: evidence inside is left aside.
    Endorsement,
}

/// A piece of evidence, out of its wrappings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which kind.
    pub kind: TeeKind,
    /// What [`appraise_raw`](crate::raw::appraise_raw) takes for this kind.
    pub bytes: Vec<u8>,
    /// Where it was and how it was wrapped, for people.
    pub from: String,
    /// Which of the files.
    pub file: usize,
}

/// What an endorsement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndorsementKind {
    /// An X.509 certificate.
    Certificate,
    /// A certificate revocation list.
    Crl,
    /// An OCSP answer.
    Ocsp,
    /// A certificate of Hygon's own form.
    HygonCertificate,
    /// TCB information, enclave identity, or all the collateral of a quote.
    IntelCollateral,
    /// A reference integrity manifest.
    Rim,
    /// What a measured boot logged.
    EventLog,
}

impl EndorsementKind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            EndorsementKind::Certificate => "certificate",
            EndorsementKind::Crl => "certificate revocation list",
            EndorsementKind::Ocsp => "OCSP answer",
            EndorsementKind::HygonCertificate => "Hygon certificate",
            EndorsementKind::IntelCollateral => "Intel collateral",
            EndorsementKind::Rim => "reference integrity manifest",
            EndorsementKind::EventLog => "event log",
        }
    }
}

/// An endorsement, out of its wrappings: DER, JSON or XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// What it is.
    pub kind: EndorsementKind,
    /// What [`Endorsements::sort`](crate::endorsement::Endorsements::sort) takes.
    pub bytes: Vec<u8>,
    /// Where it was and how it was wrapped, for people.
    pub from: String,
    /// Which of the files.
    pub file: usize,
}

/// Something that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAside {
    /// Where it was.
    pub from: String,
    /// Why.
    pub reason: String,
    /// Which of the files.
    pub file: usize,
}

impl std::fmt::Display for LeftAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.from, self.reason)
    }
}

/// Everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recognised {
    /// Evidence, in the order given.
    pub evidence: Vec<Evidence>,
    /// Endorsements, in the order given.
    pub endorsements: Vec<Endorsement>,
    /// What was not taken.
    pub left_aside: Vec<LeftAside>,
}

impl Recognised {
    /// Every endorsement, those that came in the same file as `evidence` first, each once.
    pub fn endorsements_for(&self, evidence: &Evidence) -> Vec<&[u8]> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.endorsements.iter().partition(|endorsement| endorsement.file == evidence.file);
        let mut seen = std::collections::HashSet::new();
        let all = own.into_iter().chain(others).map(|endorsement| endorsement.bytes.as_slice());
        all.filter(|bytes| seen.insert(*bytes)).collect()
    }
}

/// Finds out what `files` hold. `wanted` forces the reading: evidence of another kind is left aside,
/// and Azure's documents are opened for the report or quote inside where that is asked for.
pub fn recognise(files: &[File<'_>], wanted: Option<TeeKind>) -> Recognised {
    let mut found = Recognised::default();
    for (index, file) in files.iter().enumerate().take(MAX_FILES) {
        Reader::new(&mut found, index, file, wanted).read(file.bytes);
    }
    for (index, file) in files.iter().enumerate().skip(MAX_FILES).take(1) {
        let reason = format!("more than {MAX_FILES} files");
        found.left_aside.push(LeftAside { from: file.name.to_owned(), reason, file: index });
    }
    found
}

#[cfg(test)]
mod tests;
