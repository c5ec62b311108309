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

    /// Whether everything holds that makes it the vendor's word.
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
