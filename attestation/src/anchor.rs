//! Trust anchors: the roots a relying party names. Nothing else is trusted to begin with.
//!
//! An anchor pins a key (its SubjectPublicKeyInfo) or one whole certificate. The shipped AMD
//! anchors carry their certificates; an anchor given by digest alone is matched against the root
//! certificate among the endorsements. A simulated TEE is an anchor like any other that somebody
//! has to name, marked `simulated`: the mark goes into every verdict it leads to.

use bulla_wire::ids::Digest;

use crate::endorsement::{Certificate, CertificateError};
use crate::hash::sha256;

/// What of a root is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pin {
    /// SHA-256 of the SubjectPublicKeyInfo.
    Spki(Digest),
    /// SHA-256 of the whole certificate.
    Certificate(Digest),
}

/// One root somebody trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    label: String,
    pin: Pin,
    certificate: Option<Certificate>,
    simulated: bool,
}

impl TrustAnchor {
    /// A vendor's root, pinned by its key; `der` is its certificate.
    pub fn hardware(label: &str, der: &[u8]) -> Result<TrustAnchor, CertificateError> {
        TrustAnchor::of_certificate(label, der, false)
    }

    /// The root of a simulated TEE, pinned by its key; `der` is its certificate.
    pub fn simulated(label: &str, der: &[u8]) -> Result<TrustAnchor, CertificateError> {
        TrustAnchor::of_certificate(label, der, true)
    }

    /// A root known by the SHA-256 of its SubjectPublicKeyInfo; its certificate must be among the
    /// endorsements.
    pub fn by_spki(label: &str, spki_sha256: Digest, simulated: bool) -> TrustAnchor {
        let pin = Pin::Spki(spki_sha256);
        TrustAnchor { label: label.to_owned(), pin, certificate: None, simulated }
    }

    /// A root known by the SHA-256 of its DER certificate, which must be among the endorsements.
    pub fn by_certificate(label: &str, sha256: Digest, simulated: bool) -> TrustAnchor {
        let pin = Pin::Certificate(sha256);
        TrustAnchor { label: label.to_owned(), pin, certificate: None, simulated }
    }

    /// Name for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether evidence under this root comes from no hardware.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// The root certificate, where the anchor was given with it.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Whether `certificate` is the pinned root.
    pub fn matches(&self, certificate: &Certificate) -> bool {
        match &self.pin {
            Pin::Spki(pinned) => *pinned == sha256(&certificate.spki),
            Pin::Certificate(pinned) => *pinned == sha256(&certificate.der),
        }
    }

    fn of_certificate(
        label: &str,
        der: &[u8],
        simulated: bool,
    ) -> Result<TrustAnchor, CertificateError> {
        let certificate = Certificate::from_der(der)?;
        let pin = Pin::Spki(sha256(&certificate.spki));
        Ok(TrustAnchor { label: label.to_owned(), pin, certificate: Some(certificate), simulated })
    }
}

/// The roots one relying party trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor>,
}

impl TrustAnchors {
    /// No root at all: everything is refused.
    pub fn none() -> TrustAnchors {
        TrustAnchors::default()
    }

    /// The vendors' roots shipped in this crate. No simulated root is ever among them.
    pub fn vendors() -> TrustAnchors {
        TrustAnchors { anchors: crate::tee::snp::roots::amd_anchors() }
    }

    /// These and `anchor`.
    pub fn with(mut self, anchor: TrustAnchor) -> TrustAnchors {
        self.anchors.push(anchor);
        self
    }

    /// Every anchor, in the order named.
    pub fn iter(&self) -> impl Iterator<Item = &TrustAnchor> {
        self.anchors.iter()
    }

    /// The anchor that pins `certificate`. Where a root is named twice, as hardware and as
    /// simulated, it counts as simulated.
    pub fn pinning(&self, certificate: &Certificate) -> Option<&TrustAnchor> {
        let matching = || self.iter().filter(|anchor| anchor.matches(certificate));
        matching().find(|anchor| anchor.simulated).or_else(|| matching().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tee::snp::roots::AMD_ROOTS;

    #[test]
    fn a_root_named_as_hardware_and_as_simulated_is_simulated() {
        let (label, der) = AMD_ROOTS[0];
        let anchors = TrustAnchors::vendors().with(TrustAnchor::simulated(label, der).unwrap());
        let root = Certificate::from_der(der).unwrap();
        assert!(anchors.pinning(&root).unwrap().is_simulated());
    }

    #[test]
    fn pins_by_digest_match_only_their_certificate() {
        let milan = Certificate::from_der(AMD_ROOTS[0].1).unwrap();
        let genoa = Certificate::from_der(AMD_ROOTS[1].1).unwrap();
        for anchor in [
            TrustAnchor::by_spki("key", sha256(&milan.spki), false),
            TrustAnchor::by_certificate("certificate", sha256(&milan.der), false),
        ] {
            assert!(anchor.matches(&milan) && !anchor.matches(&genoa), "{}", anchor.label());
        }
        assert!(TrustAnchors::none().pinning(&milan).is_none());
    }
}
