//! Trust anchors: the roots a relying party names. Nothing else is trusted to begin with.
//!
//! An anchor pins a key (its SubjectPublicKeyInfo) or one whole certificate. The shipped AMD
//! anchors carry their certificates; an anchor given by digest alone is matched against the root
//! certificate among the endorsements. A simulated TEE is an anchor like any other that somebody
//! has to name, marked `simulated`: the mark goes into every verdict it leads to.

use bulla_wire::ids::Digest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::endorsement::{Certificate, CertificateError};
use crate::hash::sha256;
use crate::signature::Memory;

/// What of a root is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pin {
    /// SHA-256 of the SubjectPublicKeyInfo.
    Spki(Digest),
    /// SHA-256 of the whole certificate.
    Certificate(Digest),
}

/// What a root is trusted to speak about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// AMD's chips (ARK).
    Amd,
    /// Intel's platforms and collateral (SGX root).
    Intel,
    /// NVIDIA's devices.
    NvidiaDevice,
    /// NVIDIA's reference integrity manifests.
    NvidiaRim,
    /// Hygon's chips (HRK).
    Hygon,
}

/// One root somebody trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    label: String,
    /// `None`: whatever it signs. Roots that a person names carry none.
    domain: Option<Domain>,
    pin: Pin,
    certificate: Option<Certificate>,
    simulated: bool,
}

impl TrustAnchor {
    /// A vendor's root, pinned by its key; `der` is its certificate.
    pub fn hardware(label: &str, der: &[u8]) -> Result<TrustAnchor, CertificateError> {
        TrustAnchor::of_certificate(label, der, false)
    }

    /// A vendor's root that speaks about `domain` only.
    pub fn vendor(
        domain: Domain,
        label: &str,
        der: &[u8],
    ) -> Result<TrustAnchor, CertificateError> {
        let anchor = TrustAnchor::of_certificate(label, der, false)?;
        Ok(TrustAnchor { domain: Some(domain), ..anchor })
    }

    /// A vendor's root that speaks about `domain` only and is no X.509 certificate (Hygon's have a
    /// form of their own), pinned by the SHA-256 of its bytes. Of a simulated one the digest is
    /// enough: [`TrustAnchor::by_certificate`].
    pub fn vendor_bytes(domain: Domain, label: &str, root: &[u8]) -> TrustAnchor {
        let anchor = TrustAnchor::by_certificate(label, sha256(root), false);
        TrustAnchor { domain: Some(domain), ..anchor }
    }

    /// The root of a simulated TEE, pinned by its key; `der` is its certificate, or the key alone
    /// (SubjectPublicKeyInfo).
    pub fn simulated(label: &str, der: &[u8]) -> Result<TrustAnchor, CertificateError> {
        match SubjectPublicKeyInfo::from_der(der) {
            Ok(([], _)) => Ok(TrustAnchor::by_spki(label, sha256(der), true)),
            _ => TrustAnchor::of_certificate(label, der, true),
        }
    }

    /// A root known by the SHA-256 of its SubjectPublicKeyInfo; its certificate must be among the
    /// endorsements.
    pub fn by_spki(label: &str, spki_sha256: Digest, simulated: bool) -> TrustAnchor {
        let pin = Pin::Spki(spki_sha256);
        TrustAnchor { label: label.to_owned(), domain: None, pin, certificate: None, simulated }
    }

    /// A root known by the SHA-256 of its DER certificate, which must be among the endorsements.
    pub fn by_certificate(label: &str, sha256: Digest, simulated: bool) -> TrustAnchor {
        let pin = Pin::Certificate(sha256);
        TrustAnchor { label: label.to_owned(), domain: None, pin, certificate: None, simulated }
    }

    /// Name for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it may speak about `domain`.
    pub fn speaks_about(&self, domain: Domain) -> bool {
        self.domain.is_none_or(|own| own == domain)
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

    /// Whether the key `spki` (DER SubjectPublicKeyInfo) is the pinned one. An anchor that pins a
    /// certificate says no.
    pub fn matches_spki(&self, spki: &[u8]) -> bool {
        matches!(&self.pin, Pin::Spki(pinned) if *pinned == sha256(spki))
    }

    /// Whether `root`, in whatever form, is the pinned one byte for byte. An anchor that pins a key
    /// says no.
    pub fn matches_bytes(&self, root: &[u8]) -> bool {
        matches!(&self.pin, Pin::Certificate(pinned) if *pinned == sha256(root))
    }

    fn of_certificate(
        label: &str,
        der: &[u8],
        simulated: bool,
    ) -> Result<TrustAnchor, CertificateError> {
        let certificate = Certificate::from_der(der)?;
        let pin = Pin::Spki(sha256(&certificate.spki));
        let certificate = Some(certificate);
        Ok(TrustAnchor { label: label.to_owned(), domain: None, pin, certificate, simulated })
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
        let mut anchors = crate::tee::snp::roots::amd_anchors();
        anchors.extend(crate::tee::tdx::intel_anchors());
        anchors.extend(crate::tee::nvidia::nvidia_anchors());
        anchors.extend(crate::tee::csv::hygon_anchors());
        TrustAnchors { anchors }
    }

    /// Those that may speak about `domain`.
    pub fn about(&self, domain: Domain) -> TrustAnchors {
        let anchors = self.iter().filter(|anchor| anchor.speaks_about(domain)).cloned().collect();
        TrustAnchors { anchors }
    }

    /// From now on, valid signatures by these roots are computed once per `memory`.
    pub fn remember_in(&mut self, memory: &Memory) {
        let certificates = self.anchors.iter_mut().filter_map(|anchor| anchor.certificate.as_mut());
        certificates.for_each(|certificate| certificate.remember_in(memory));
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
