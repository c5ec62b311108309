//! Which manifests are about a device, and how its measurements compare with them.

use std::collections::BTreeMap;

use super::identity::{DeviceKind, Identity};
use super::revocation::Standings;
use super::spdm::Report;
use crate::anchor::TrustAnchors;
use crate::endorsement::path::Path;
use crate::endorsement::rim::{GoldenRow, Rim};
use crate::endorsement::{Certificate, Endorsements};

/// Row of the first video decoder, which NVIDIA leaves out where the report says it is off.
const NVDEC0_ROW: u16 = 35;

/// What a manifest is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The driver and the firmware it loads.
    Driver,
    /// The VBIOS; of a switch, its only firmware.
    Vbios,
}

impl Part {
    /// The manifests a device of this kind needs.
    pub fn needed(kind: DeviceKind) -> &'static [Part] {
        match kind {
            DeviceKind::Gpu => &[Part::Driver, Part::Vbios],
            DeviceKind::Switch => &[Part::Vbios],
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Part::Driver => "driver",
            Part::Vbios => "vbios",
        })
    }
}

/// A manifest with what was found out about it once, for all devices.
#[derive(Debug, Clone)]
pub(super) struct Manifest<'a> {
    pub rim: &'a Rim,
    pub is_signed: bool,
    /// From its signer up; `None` where it carries no certificate that reads.
    pub path: Option<Path<'a>>,
    pub standings: Standings,
}

impl<'a> Manifest<'a> {
    /// Verifies `rim` and follows its signer to a root.
    pub fn verify(
        rim: &'a Rim,
        endorsements: &'a Endorsements,
        anchors: &'a TrustAnchors,
        now: i64,
    ) -> Manifest<'a> {
        let pool: Vec<&Certificate> =
            rim.certificates.iter().chain(&endorsements.certificates).collect();
        let path = rim.signer().map(|signer| Path::find(signer, &pool, anchors));
        let links = path.iter().flat_map(Path::links);
        let standings = Standings::find(links, endorsements, now);
        Manifest { rim, is_signed: rim.is_signed(), path, standings }
    }

    /// Its name in a verdict.
    pub fn label(&self) -> String {
        format!("{} {}", self.rim.product, self.rim.version)
    }

    /// Whether the vendor signed it, at whatever time: what is compared where there are several. The
    /// checks judge dates and revocation of each.
    fn is_trusted(&self) -> bool {
        let is_pinned = |path: &Path<'_>| path.anchor.is_some() && path.broken_link().is_none();
        self.is_signed && self.path.as_ref().is_some_and(is_pinned)
    }
}

/// What `rim` is about, of this device; `None` where it is about something else.
pub(super) fn part_of(rim: &Rim, identity: &Identity) -> Option<Part> {
    let other_edition = match identity.kind {
        DeviceKind::Gpu => "SWITCH",
        DeviceKind::Switch => "GPU",
    };
    if rim.edition == other_edition || !identity.is_of_product(&rim.product) {
        return None;
    }
    let is_version = |own: &Option<String>| {
        own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&rim.version))
    };
    // The board is named only beside the manifest: another board's is about something else.
    let is_id = |own: Option<String>| match (&rim.id, own) {
        (Some(id), Some(own)) => id.eq_ignore_ascii_case(&own),
        _ => true,
    };
    if is_version(&identity.driver) && is_id(identity.driver_rim_id()) {
        Some(Part::Driver)
    } else if is_version(&identity.vbios) && is_id(identity.vbios_rim_id()) {
        Some(Part::Vbios)
    } else {
        None
    }
}

/// How the measurements of a device compare with its manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Rows that agree.
    pub matching: usize,
    /// Rows that do not, counted from 0 as the manifests do.
    pub mismatched: Vec<u16>,
    /// The row of a decoder that is off did not agree, which NVIDIA allows.
    pub nvdec0_excused: bool,
    /// Parts that were compared.
    pub parts: Vec<Part>,
    /// A row that two manifests claim.
    pub contested: Option<u16>,
}

impl Comparison {
    /// Compares with one manifest per part. Where several are about one part, as those of boards
    /// that share a version, the trusted one that fits best is taken.
    pub fn of(report: &Report, identity: &Identity, manifests: &[(Part, &Manifest<'_>)]) -> Self {
        let mut golden: BTreeMap<u16, &GoldenRow> = BTreeMap::new();
        let mut comparison = Comparison::default();
        for part in Part::needed(identity.kind) {
            let candidates = manifests.iter().filter(|(other, _)| other == part);
            let readable = candidates.filter_map(|(_, manifest)| {
                let rows = manifest.rim.rows.as_ref().ok()?;
                let misfits = rows.iter().filter(|(index, row)| !fits(report, **index, row));
                Some((!manifest.is_trusted(), misfits.count(), rows))
            });
            let Some((_, _, rows)) =
                readable.min_by_key(|(untrusted, misfits, _)| (*untrusted, *misfits))
            else {
                continue;
            };
            comparison.parts.push(*part);
            for (index, row) in rows {
                if golden.insert(*index, row).is_some() {
                    comparison.contested = Some(*index);
                }
            }
        }
        for (index, row) in golden {
            if fits(report, index, row) {
                comparison.matching += 1;
            } else if index == NVDEC0_ROW
                && identity.kind == DeviceKind::Gpu
                && identity.is_nvdec0_off
            {
                comparison.nvdec0_excused = true;
            } else {
                comparison.mismatched.push(index);
            }
        }
        comparison
    }

    /// The needed parts that no manifest was given for.
    pub fn missing(&self, kind: DeviceKind) -> Vec<Part> {
        let needed = Part::needed(kind).iter().copied();
        needed.filter(|part| !self.parts.contains(part)).collect()
    }
}

/// Row i speaks of measurement i + 1.
fn fits(report: &Report, index: u16, row: &GoldenRow) -> bool {
    let number = index.checked_add(1).and_then(|number| u8::try_from(number).ok());
    let value = number.and_then(|number| report.measurements.get(&number));
    value.is_some_and(|value| row.alternatives.contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchor::TrustAnchor;
    use crate::tee::nvidia::identity::tests::{fields, report_with};

    const ROOT: &[u8] = include_bytes!("roots/corim-signing-root-ca.der");
    const OTHER_ROOT: &[u8] = include_bytes!("roots/device-identity-ca.der");

    /// A manifest of one row.
    fn rim(row: u16, value: u8) -> Rim {
        let xml = "<SoftwareIdentity name='GH100' \
                   xmlns='http://standards.iso.org/iso/19770/-2/2015/schema.xsd'>\
                   <Meta product='GH100' colloquialVersion='550.90.07' edition='GPU'/>\
                   </SoftwareIdentity>";
        let rows = BTreeMap::from([(row, GoldenRow { alternatives: vec![vec![value]] })]);
        Rim { rows: Ok(rows), ..Rim::read(xml.as_bytes()).unwrap() }
    }

    fn manifest<'a>(rim: &'a Rim, is_signed: bool, path: Option<Path<'a>>) -> Manifest<'a> {
        Manifest { rim, is_signed, path, standings: Standings::default() }
    }

    fn report(list: &[(u16, &[u8])], measurement: (u8, u8)) -> (Report, Identity) {
        let mut report = Report::parse(&report_with(&fields(list))).unwrap();
        report.measurements = BTreeMap::from([(measurement.0, vec![measurement.1])]);
        let identity = Identity::of(&report, None);
        (report, identity)
    }

    fn pinned() -> TrustAnchors {
        TrustAnchors::none().with(TrustAnchor::hardware("root", ROOT).unwrap())
    }

    #[test]
    fn a_manifest_is_trusted_where_its_signature_and_its_whole_path_hold() {
        let root = Certificate::from_der(ROOT).unwrap();
        // Names the root as its issuer, and another key signed it.
        let mut stray = Certificate::from_der(OTHER_ROOT).unwrap();
        stray.issuer = root.subject.clone();
        let (anchors, none) = (pinned(), TrustAnchors::none());
        let whole = Path::find(&root, &[], &anchors);
        let unpinned = Path::find(&root, &[], &none);
        let broken = Path::find(&stray, &[], &anchors);
        let neither = Path::find(&stray, &[&root], &none);
        assert!(whole.anchor.is_some() && whole.broken_link().is_none());
        assert!(unpinned.anchor.is_none() && unpinned.broken_link().is_none());
        assert!(broken.anchor.is_some() && broken.broken_link().is_some());
        assert!(neither.anchor.is_none() && neither.broken_link().is_some());
        let rim = rim(0, 1);
        for (path, is_trusted) in [
            (Some(whole), true),
            (Some(unpinned), false),
            (Some(broken), false),
            (Some(neither), false),
            (None, false),
        ] {
            assert_eq!(manifest(&rim, true, path.clone()).is_trusted(), is_trusted, "{path:?}");
            assert!(!manifest(&rim, false, path).is_trusted());
        }
    }

    #[test]
    fn of_several_manifests_a_trusted_one_is_taken_and_of_those_the_one_that_fits() {
        let (root, anchors) = (Certificate::from_der(ROOT).unwrap(), pinned());
        let (right, wrong) = (rim(0, 1), rim(0, 2));
        let trusted = |rim| manifest(rim, true, Some(Path::find(&root, &[], &anchors)));
        let forged = |rim| manifest(rim, false, Some(Path::find(&root, &[], &anchors)));
        let (report, identity) = report(&[], (1, 1));
        for (one, other, agrees) in [
            (trusted(&right), trusted(&wrong), true),
            (forged(&right), forged(&wrong), true),
            (trusted(&right), forged(&wrong), true),
            (forged(&right), trusted(&wrong), false),
        ] {
            for pair in [[&one, &other], [&other, &one]] {
                let pair = pair.map(|manifest| (Part::Driver, manifest));
                let comparison = Comparison::of(&report, &identity, &pair);
                assert_eq!(comparison.mismatched.is_empty(), agrees);
                assert_eq!(comparison.matching, usize::from(agrees));
                assert_eq!(comparison.parts, [Part::Driver]);
            }
        }
    }

    #[test]
    fn only_row_35_of_a_gpu_whose_decoder_is_off_is_excused() {
        let (off, on): (&[u8], &[u8]) = (&[0x55], &[0xaa]);
        for (list, row, is_excused) in [
            (&[(11, off)][..], 35, true),
            (&[(11, off)], 34, false),
            (&[(11, off)], 36, false),
            (&[(11, on)], 35, false),
            (&[], 35, false),
            (&[(11, off), (24, &[2, 0])], 35, false),
        ] {
            let (report, identity) = report(list, (36, 1));
            let rim = rim(row, 2);
            let manifest = manifest(&rim, true, None);
            let comparison = Comparison::of(&report, &identity, &[(Part::Vbios, &manifest)]);
            let mismatched = if is_excused { vec![] } else { vec![row] };
            assert_eq!(comparison.mismatched, mismatched, "{list:?}, {row}");
            assert_eq!((comparison.nvdec0_excused, comparison.matching), (is_excused, 0));
        }
    }

    #[test]
    fn a_manifest_is_called_by_product_and_version() {
        assert_eq!(manifest(&rim(0, 1), false, None).label(), "GH100 550.90.07");
    }
}
