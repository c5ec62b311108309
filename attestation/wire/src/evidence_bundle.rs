//! The evidence bundle: everything for one appraisal in one file, so that it can be judged years
//! later, offline, as of the time it was collected. It carries no trust: roots, policy and the
//! instant are whoever judges's own.

use crate::cbor::{self, Bytes, CborError, cbor_map};
use crate::ids::Digest;
use crate::units::UnixSeconds;

/// `format` of a bundle.
pub const FORMAT: &str = "bulla-evidence-bundle/1";
/// Largest bundle, in bytes (ours; eight GPUs with their manifests stay below 4 MiB).
pub const MAX_BUNDLE_BYTES: usize = 16 << 20;
/// Most pieces of evidence in one (ours; a machine has one processor, eight GPUs, four switches).
pub const MAX_EVIDENCE: usize = 64;
/// Most endorsements in one (ours; a real set has three to thirty).
pub const MAX_ENDORSEMENTS: usize = 512;
/// Largest piece of evidence or endorsement, in bytes (ours; manifests are near 1 MiB).
pub const MAX_PIECE_BYTES: usize = 4 << 20;
/// Longest name of a kind of evidence, in bytes (ours).
const MAX_KIND_BYTES: usize = 32;

/// `kind` of an aci/1 attestation report, keyset and all, in JSON as it was served. Any other kind
/// is the name of a TEE, and its evidence is what the vendor's tool gives.
pub const KIND_ACI: &str = "aci/1";

cbor_map! {
    /// Everything for one appraisal.
    pub struct EvidenceBundle {
        /// [`FORMAT`].
        1 => format: String,
        /// When the evidence was collected, by the collector's clock.
        6 => collected_at: UnixSeconds,
        /// The evidence, at least one piece.
        -70301 => evidence: Vec<Piece>,
        /// Certificates, revocation lists, collateral, manifests, OCSP answers: DER, PEM, JSON or
        /// XML as the vendor gave them, in the order of their bytes, none twice.
        -70302 => endorsements: Vec<Bytes>,
        /// The nonce the collector sent: fresh then, restated so that it can be compared again.
        -70303 => nonce: Option<Bytes>,
        /// Digest of the text of the policy the collector applied ([`crate::labels::POLICY`]).
        -70304 => policy: Option<Digest>,
    }
}

cbor_map! {
    /// One piece of evidence.
    pub struct Piece {
        /// [`KIND_ACI`], or the name of a TEE: `snp`, `tdx`, `nvidia`, `azure-snp`, …
        -70310 => kind: String,
        /// The evidence, as received.
        -70311 => bytes: Bytes,
    }
}

/// Why bytes are no evidence bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not the deterministic CBOR of one, or too long.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another format, or another version of this one.
    #[error("format must be {FORMAT:?}, got {got:?}")]
    Format {
        /// What it says, cut.
        got: String,
    },
    /// No evidence.
    #[error("a bundle holds at least one piece of evidence")]
    Empty,
    /// Too much of something.
    #[error("{what}: {got}, at most {max} are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
        /// What it has.
        got: usize,
    },
    /// Endorsements out of order, or one given twice.
    #[error("endorsements are not in the order of their bytes, each once")]
    Order,
}

impl EvidenceBundle {
    /// A bundle of these pieces; endorsements are put in order, each once.
    pub fn new(
        collected_at: UnixSeconds,
        evidence: Vec<Piece>,
        endorsements: impl IntoIterator<Item = Vec<u8>>,
    ) -> EvidenceBundle {
        let mut endorsements: Vec<Bytes> = endorsements.into_iter().map(Bytes).collect();
        endorsements.sort();
        endorsements.dedup();
        let format = FORMAT.to_owned();
        EvidenceBundle { format, collected_at, evidence, endorsements, nonce: None, policy: None }
    }

    /// Whether `bytes` begin like a bundle: a map whose first entry is the format's name.
    pub fn is_likely(bytes: &[u8]) -> bool {
        let start = [0x01, 0x60 + FORMAT.len() as u8];
        let map = bytes.first().is_some_and(|first| (0xa4..=0xa6).contains(first));
        let name = bytes.get(1..3) == Some(&start);
        let text = bytes.get(3..).unwrap_or_default();
        map && name && text.starts_with(FORMAT.split('/').next().unwrap_or(FORMAT).as_bytes())
    }

    /// Reads a bundle.
    pub fn from_slice(bytes: &[u8]) -> Result<EvidenceBundle, BundleError> {
        let bundle: EvidenceBundle = cbor::from_slice(bytes, MAX_BUNDLE_BYTES)?;
        bundle.check()?;
        Ok(bundle)
    }

    /// Writes it; the errors are those of reading it again.
    pub fn to_vec(&self) -> Result<Vec<u8>, BundleError> {
        self.check()?;
        let bytes = cbor::to_vec(self);
        within("bytes", MAX_BUNDLE_BYTES, bytes.len())?;
        Ok(bytes)
    }

    fn check(&self) -> Result<(), BundleError> {
        if self.format != FORMAT {
            return Err(BundleError::Format { got: self.format.chars().take(40).collect() });
        }
        if self.evidence.is_empty() {
            return Err(BundleError::Empty);
        }
        within("pieces of evidence", MAX_EVIDENCE, self.evidence.len())?;
        within("endorsements", MAX_ENDORSEMENTS, self.endorsements.len())?;
        for piece in &self.evidence {
            within("bytes of a kind's name", MAX_KIND_BYTES, piece.kind.len())?;
            within("bytes of evidence", MAX_PIECE_BYTES, piece.bytes.0.len())?;
        }
        for endorsement in &self.endorsements {
            within("bytes of an endorsement", MAX_PIECE_BYTES, endorsement.0.len())?;
        }
        if let Some(nonce) = &self.nonce {
            within("bytes of a nonce", 64, nonce.0.len())?;
        }
        match self.endorsements.is_sorted_by(|a, b| a < b) {
            true => Ok(()),
            false => Err(BundleError::Order),
        }
    }
}

fn within(what: &'static str, max: usize, got: usize) -> Result<(), BundleError> {
    if got > max { Err(BundleError::Limit { what, max, got }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: &str) -> Piece {
        Piece { kind: kind.to_owned(), bytes: Bytes(vec![1, 2, 3]) }
    }

    fn bundle() -> EvidenceBundle {
        let endorsements = [vec![9, 9], vec![1], vec![9, 9]];
        EvidenceBundle {
            nonce: Some(Bytes(vec![7; 32])),
            policy: Some(Digest([8; 32])),
            ..EvidenceBundle::new(UnixSeconds(1_800_000_000), vec![piece("snp")], endorsements)
        }
    }

    #[test]
    fn comes_back_byte_for_byte_with_endorsements_in_order_and_once() {
        let bytes = bundle().to_vec().unwrap();
        let read = EvidenceBundle::from_slice(&bytes).unwrap();
        assert_eq!(read.endorsements, [Bytes(vec![1]), Bytes(vec![9, 9])]);
        assert_eq!(read.to_vec().unwrap(), bytes);
        assert!(EvidenceBundle::is_likely(&bytes));
        let bare = EvidenceBundle { nonce: None, policy: None, ..bundle() }.to_vec().unwrap();
        assert!(EvidenceBundle::is_likely(&bare));
        assert!(!EvidenceBundle::is_likely(b"\xa4\x01\x77bulla-audit-bundle"));
    }

    /// Each row: one thing wrong.
    #[test]
    fn refuses_what_is_no_bundle() {
        type Spoil = fn(&mut EvidenceBundle);
        type Named = fn(&BundleError) -> bool;
        let rows: [(&str, Spoil, Named); 7] = [
            (
                "another version",
                |b| b.format = "bulla-evidence-bundle/2".into(),
                |e| matches!(e, BundleError::Format { .. }),
            ),
            ("no evidence", |b| b.evidence.clear(), |e| *e == BundleError::Empty),
            (
                "too much evidence",
                |b| b.evidence = vec![piece("tdx"); MAX_EVIDENCE + 1],
                |e| matches!(e, BundleError::Limit { what: "pieces of evidence", .. }),
            ),
            (
                "a name without end",
                |b| b.evidence[0].kind = "x".repeat(MAX_KIND_BYTES + 1),
                |e| matches!(e, BundleError::Limit { what: "bytes of a kind's name", .. }),
            ),
            (
                "a huge endorsement",
                |b| b.endorsements = vec![Bytes(vec![0; MAX_PIECE_BYTES + 1])],
                |e| matches!(e, BundleError::Limit { what: "bytes of an endorsement", .. }),
            ),
            ("disorder", |b| b.endorsements.reverse(), |e| *e == BundleError::Order),
            (
                "one twice",
                |b| b.endorsements = vec![Bytes(vec![1]), Bytes(vec![1])],
                |e| *e == BundleError::Order,
            ),
        ];
        for (name, spoil, is_expected) in rows {
            let mut spoilt = bundle();
            spoil(&mut spoilt);
            let error = EvidenceBundle::from_slice(&cbor::to_vec(&spoilt)).unwrap_err();
            assert!(is_expected(&error), "{name}: {error}");
            assert_eq!(spoilt.to_vec().unwrap_err(), error, "{name}");
        }
    }

    #[test]
    fn refuses_every_truncation_and_anything_behind() {
        let bytes = bundle().to_vec().unwrap();
        for end in 0..bytes.len() {
            assert!(EvidenceBundle::from_slice(&bytes[..end]).is_err(), "{end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        let error = EvidenceBundle::from_slice(&longer).unwrap_err();
        assert_eq!(error, BundleError::Cbor(CborError::TrailingBytes { count: 1 }));
    }
}
