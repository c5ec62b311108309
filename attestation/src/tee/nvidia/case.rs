//! One device with everything that is known about it: what the checks look at.

use super::document::Device;
use super::identity::Identity;
use super::manifests::{Comparison, Manifest, Part, part_of};
use super::revocation::Standings;
use crate::anchor::TrustAnchors;
use crate::endorsement::path::Path;
use crate::endorsement::{Certificate, Endorsements};
use crate::policy::{NvidiaPolicy, Policy};
use crate::raw::Expectations;
use crate::signature::PublicKey;

/// What holds for all devices of one appraisal.
pub(super) struct Appraisal<'a> {
    pub endorsements: &'a Endorsements,
    /// Roots that may speak about devices.
    pub device_anchors: &'a TrustAnchors,
    pub policy: &'a Policy,
    /// Its section for NVIDIA.
    pub rules: &'a NvidiaPolicy,
    pub expectations: &'a Expectations,
    /// Seconds since 1970, the instant the evidence is judged at.
    pub now: i64,
}

/// One device.
pub(super) struct Case<'a> {
    pub all: &'a Appraisal<'a>,
    /// Counted from 1, in the order of the document.
    pub number: usize,
    pub device: &'a Device,
    /// The nonce of the first device: all answer one.
    pub first_nonce: [u8; 32],
    pub leaf: Option<&'a Certificate>,
    pub signature_holds: bool,
    pub path: Option<Path<'a>>,
    /// The certificates beside the report and among the endorsements.
    pub pool: Vec<&'a Certificate>,
    /// Of each certificate between leaf and root.
    pub standings: Standings,
    pub identity: Identity,
    pub manifests: Vec<(Part, &'a Manifest<'a>)>,
    pub comparison: Comparison,
}

impl<'a> Case<'a> {
    /// Gathers what is about `device`.
    pub fn of(
        all: &'a Appraisal<'a>,
        number: usize,
        device: &'a Device,
        first_nonce: [u8; 32],
        manifests: &'a [Manifest<'a>],
    ) -> Case<'a> {
        let (leaf, signature_holds) = leaf(device, all.endorsements);
        let pool: Vec<&Certificate> =
            device.certificates.iter().chain(&all.endorsements.certificates).collect();
        let path = leaf.map(|leaf| Path::find(leaf, &pool, all.device_anchors));
        // The leaf is made by the device itself, for the firmware it runs: nobody revokes it.
        let authorities = path.iter().flat_map(Path::links).skip(1);
        let standings = Standings::find(authorities, all.endorsements, all.now);
        let identity = Identity::of(&device.report, leaf);
        let about =
            |manifest: &'a Manifest<'a>| Some((part_of(manifest.rim, &identity)?, manifest));
        let mut manifests: Vec<_> = manifests.iter().filter_map(about).collect();
        // So that a verdict reads the same in whatever order they were given.
        manifests.sort_by_key(|(part, _)| *part);
        let comparison = Comparison::of(&device.report, &identity, &manifests);
        Case {
            all,
            number,
            device,
            first_nonce,
            leaf,
            signature_holds,
            path,
            pool,
            standings,
            identity,
            manifests,
            comparison,
        }
    }

    /// The chip itself: the certificate above the leaf, made at the factory.
    pub fn chip_certificate(&self) -> Option<&'a Certificate> {
        let chip = self.path.as_ref()?.steps.get(1)?.certificate;
        (!chip.is_self_issued()).then_some(chip)
    }

    /// Whether any root it leads to is a simulated one.
    pub fn is_simulated(&self) -> bool {
        let is_simulated = |path: &Option<Path<'_>>| path.as_ref().is_some_and(Path::is_simulated);
        is_simulated(&self.path)
            || self.manifests.iter().any(|(_, manifest)| is_simulated(&manifest.path))
    }

    /// Its name in a verdict about several.
    pub fn label(&self) -> String {
        let serial = self.leaf.map(|leaf| super::identity::hex(leaf.short_serial()));
        let serial = serial.unwrap_or_else(|| "without certificate".to_owned());
        format!("device {} ({} {serial})", self.number, self.identity.kind)
    }
}

/// The certificate that signed the report, and whether it did. Where none did, the one that is made
/// for it is taken, so that the verdict can say so.
fn leaf<'a>(device: &'a Device, endorsements: &'a Endorsements) -> (Option<&'a Certificate>, bool) {
    let beside = &device.certificates;
    let pool = if beside.is_empty() { &endorsements.certificates } else { beside };
    let report = &device.report;
    let is_candidate = |certificate: &&Certificate| {
        certificate.is_ca != Some(true)
            && !certificate.is_self_issued()
            && matches!(certificate.public_key, PublicKey::P384(_))
    };
    let signs = |certificate: &&Certificate| {
        certificate.public_key.verifies_fixed(report.signed_bytes(), report.signature())
    };
    let mut candidates = pool.iter().filter(is_candidate);
    match candidates.clone().find(signs) {
        Some(leaf) => (Some(leaf), true),
        None => {
            let has_fwid = |certificate: &&Certificate| {
                let mut extensions = certificate.extensions.iter();
                extensions.any(|extension| extension.oid.starts_with("2.23.133.5.4."))
            };
            (candidates.clone().find(has_fwid).or_else(|| candidates.next()), false)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tee::nvidia::document;
    use crate::tee::nvidia::identity::tests::{fields, report_with};

    /// Opaque fields of a report, by type.
    pub type Fields<'a> = &'a [(u16, &'a [u8])];

    const ROOT: &[u8] = include_bytes!("roots/device-identity-ca.der");
    const OTHER_ROOT: &[u8] = include_bytes!("roots/corim-signing-root-ca.der");

    fn device(list: Fields<'_>) -> Device {
        document::read(&report_with(&fields(list))).unwrap().remove(0)
    }

    /// What `judge` says of devices that report these fields, with no certificate and no manifest.
    pub fn with_devices<T>(list: &[Fields<'_>], judge: impl FnOnce(&[Case<'_>]) -> T) -> T {
        let text = include_str!("../../../../policies/appraisal/authentic.toml");
        let policy = Policy::from_toml(text).unwrap();
        let all = Appraisal {
            endorsements: &Endorsements::default(),
            device_anchors: &TrustAnchors::none(),
            policy: &policy,
            rules: policy.nvidia().unwrap(),
            expectations: &Expectations::default(),
            now: 0,
        };
        let devices: Vec<Device> = list.iter().map(|fields| device(fields)).collect();
        let numbered = devices.iter().zip(1..);
        let cases: Vec<Case<'_>> =
            numbered.map(|(device, number)| Case::of(&all, number, device, [0; 32], &[])).collect();
        judge(&cases)
    }

    #[test]
    fn no_authority_no_root_and_no_key_of_another_kind_is_taken_for_the_leaf() {
        let root = Certificate::from_der(ROOT).unwrap();
        let other = Certificate::from_der(OTHER_ROOT).unwrap();
        let is_taken = |change: &dyn Fn(&mut Certificate)| {
            let mut certificate = root.clone();
            certificate.is_ca = None;
            certificate.issuer = other.subject.clone();
            change(&mut certificate);
            let beside = Device { certificates: vec![certificate.clone()], ..device(&[]) };
            let none = Endorsements::default();
            let (found, holds) = leaf(&beside, &none);
            assert!(!holds && found.is_none_or(|found| *found == certificate));
            found.is_some()
        };
        assert!(is_taken(&|_| {}) && is_taken(&|leaf| leaf.is_ca = Some(false)));
        assert!(!is_taken(&|authority| authority.is_ca = Some(true)));
        assert!(!is_taken(&|root| root.issuer = root.subject.clone()));
        for key in [PublicKey::P256(vec![4; 65].into()), PublicKey::Rsa(vec![0x30].into())] {
            assert!(!is_taken(&|certificate| certificate.public_key = key.clone()));
        }
    }
}
