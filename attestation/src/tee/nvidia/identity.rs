//! What a report says its device is: read from the opaque fields the device signs, and from the
//! names in its certificates.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::spdm::Report;
use crate::endorsement::{Certificate, Element};
use crate::hex::Hex;

/// Opaque fields this crate reads, by type. Others are kept and listed.
mod field {
    pub const DRIVER: u16 = 3;
    pub const VBIOS: u16 = 6;
    pub const NVDEC0: u16 = 11;
    pub const CHIP_SKU: u16 = 15;
    pub const PROJECT: u16 = 17;
    pub const PROJECT_SKU: u16 = 18;
    pub const FWID: u16 = 20;
    pub const PROTECTED_PCIE: u16 = 21;
    /// Of a switch, its own id; of a GPU, one id per link of the switch behind it.
    pub const SWITCH_IDS: u16 = 22;
    pub const POSITION: u16 = 24;
    pub const LOCK: u16 = 25;
    pub const GPU_IDS: u16 = 26;
    pub const CHIP: u16 = 35;
    pub const FEATURE: u16 = 36;
}

/// NVIDIA's byte for "off"; 0xaa is "on".
const OFF: u8 = 0x55;
const ON: u8 = 0xaa;
/// Length of the id of a device on the NVLink fabric.
const FABRIC_ID_BYTES: usize = 8;
/// SHA-384, which a firmware id is.
const FWID_BYTES: usize = 48;

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A GPU.
    Gpu,
    /// An NVLink switch.
    Switch,
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            DeviceKind::Gpu => "gpu",
            DeviceKind::Switch => "switch",
        })
    }
}

/// A generation of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// H100 and its like (GH100).
    Hopper,
    /// B200, RTX PRO 6000 and their like (GB100, GB20x).
    Blackwell,
    /// The generation after it (GR100).
    Rubin,
    /// NVLink switches of the third generation.
    Ls10,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Architecture; 4] =
        [Architecture::Hopper, Architecture::Blackwell, Architecture::Rubin, Architecture::Ls10];

    /// Whether `text` is its name, in any case: NVIDIA's tools write capitals.
    pub fn is_called(self, text: &str) -> bool {
        self.to_string().eq_ignore_ascii_case(text)
    }

    fn of_chip(chip: &str) -> Option<Architecture> {
        match chip {
            chip if chip.starts_with("GH1") => Some(Architecture::Hopper),
            chip if chip.starts_with("GB1") || chip.starts_with("GB2") => {
                Some(Architecture::Blackwell)
            }
            chip if chip.starts_with("GR1") => Some(Architecture::Rubin),
            "LS10" => Some(Architecture::Ls10),
            _ => None,
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Architecture::Hopper => "hopper",
            Architecture::Blackwell => "blackwell",
            Architecture::Rubin => "rubin",
            Architecture::Ls10 => "ls10",
        })
    }
}

/// What one device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the shape of its report says.
    pub kind: DeviceKind,
    /// The chip its certificate names, such as `GH100`.
    pub chip: Option<String>,
    /// The chip its report names, where it does (Blackwell).
    pub reported_chip: Option<String>,
    /// Driver version; GPUs only.
    pub driver: Option<String>,
    /// VBIOS version as the vendor writes it, such as `96.00.9F.00.01`.
    pub vbios: Option<String>,
    /// The VBIOS field as it stands.
    pub vbios_raw: Vec<u8>,
    /// Board project.
    pub project: Option<String>,
    /// SKU of the project.
    pub project_sku: Option<String>,
    /// SKU of the chip.
    pub chip_sku: Option<String>,
    /// Digest of the firmware its key was derived for, as the report says.
    pub fwid: Option<Hex<FWID_BYTES>>,
    /// The same, as its certificate says.
    pub certified_fwid: Option<Hex<FWID_BYTES>>,
    /// The first video decoder is off: measurement 36 is then not meaningful.
    pub is_nvdec0_off: bool,
    /// Whether the links to other devices are protected by isolation instead of encryption; `None`
    /// where the report does not tell.
    pub protected_pcie: Option<bool>,
    /// How many devices share a secure session, in NVIDIA's words; `None` where the report does not
    /// tell.
    pub feature: Option<&'static str>,
    /// Its id on the fabric (a switch).
    pub fabric_id: Option<Hex<FABRIC_ID_BYTES>>,
    /// Ids of the devices its links lead to, sorted, each once.
    pub fabric_peers: Vec<Hex<FABRIC_ID_BYTES>>,
}

impl Identity {
    /// Reads what `report` says, and what `leaf` adds.
    pub fn of(report: &Report, leaf: Option<&Certificate>) -> Identity {
        let fields = Fields(&report.opaque);
        let kind = fields.kind();
        let ids = |kind: u16| fields.fabric_ids(kind);
        let (fabric_id, fabric_peers) = match kind {
            DeviceKind::Gpu => (None, ids(field::SWITCH_IDS)),
            DeviceKind::Switch => (ids(field::SWITCH_IDS).into_iter().next(), ids(field::GPU_IDS)),
        };
        Identity {
            kind,
            chip: leaf.and_then(chip_of),
            reported_chip: fields.text(field::CHIP),
            driver: fields.text(field::DRIVER),
            vbios: fields.vbios(),
            vbios_raw: fields.bytes(field::VBIOS).to_vec(),
            project: fields.text(field::PROJECT),
            project_sku: fields.text(field::PROJECT_SKU),
            chip_sku: fields.text(field::CHIP_SKU),
            fwid: fields.bytes(field::FWID).try_into().ok().map(Hex),
            certified_fwid: leaf.and_then(certified_fwid),
            is_nvdec0_off: fields.bytes(field::NVDEC0) == [OFF],
            protected_pcie: match fields.bytes(field::PROTECTED_PCIE) {
                [OFF] => Some(false),
                [ON] => Some(true),
                _ => None,
            },
            feature: fields.feature(),
            fabric_id,
            fabric_peers,
        }
    }

    /// Its generation, where it is one of those known here.
    pub fn architecture(&self) -> Option<Architecture> {
        self.chip.as_deref().and_then(Architecture::of_chip)
    }

    /// The kind of device its certificate names; `None` for a chip nobody has heard of.
    pub fn certified_kind(&self) -> Option<DeviceKind> {
        match self.chip.as_deref()? {
            chip if chip.starts_with("LS") => Some(DeviceKind::Switch),
            chip if chip.starts_with('G') => Some(DeviceKind::Gpu),
            _ => None,
        }
    }

    /// Whether `product`, as a manifest says it, is this chip. `X` in it stands for any last digit.
    pub fn is_of_product(&self, product: &str) -> bool {
        let product = product.replace('_', "").to_ascii_uppercase();
        let same = |chip: &str| match product.strip_suffix('X') {
            Some(family) => chip.strip_prefix(family).is_some_and(|digit| digit.len() == 1),
            None => chip == product,
        };
        [&self.reported_chip, &self.chip].into_iter().flatten().any(|chip| same(chip))
    }

    /// What NVIDIA's service calls the manifest of its driver.
    pub fn driver_rim_id(&self) -> Option<String> {
        let chip = self.reported_chip.as_ref().or(self.chip.as_ref())?;
        let family = match self.architecture() {
            Some(Architecture::Hopper | Architecture::Rubin) => "NV_GPU_DRIVER",
            _ => "NV_GPU_CC_DRIVER",
        };
        Some(format!("{family}_{chip}_{}", self.driver.as_ref()?))
    }

    /// What NVIDIA's service calls the manifest of its VBIOS.
    pub fn vbios_rim_id(&self) -> Option<String> {
        let version = self.vbios.as_ref()?.replace('.', "").to_ascii_uppercase();
        match self.kind {
            // There is one board of this switch; its report does not name it.
            DeviceKind::Switch => Some(format!("NV_SWITCH_BIOS_5612_0002_890_{version}")),
            DeviceKind::Gpu => {
                let (project, sku) = (self.project.as_ref()?, self.project_sku.as_ref()?);
                let chip_sku = self.chip_sku.as_ref()?;
                Some(format!("NV_GPU_VBIOS_{project}_{sku}_{chip_sku}_{version}"))
            }
        }
    }
}

struct Fields<'a>(&'a BTreeMap<u16, Vec<u8>>);

impl Fields<'_> {
    fn bytes(&self, kind: u16) -> &[u8] {
        self.0.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// A text, filled up with zeros; `None` where it is empty or not made of visible ASCII.
    fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, filling) = bytes.split_at_checked(end)?;
        let reads = text.iter().all(u8::is_ascii_graphic) && filling.iter().all(|byte| *byte == 0);
        (reads && !text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// Switches report what only switches have, and no driver.
    fn kind(&self) -> DeviceKind {
        let has = |kind: &u16| self.0.contains_key(kind);
        let is_switch = [field::POSITION, field::LOCK, field::GPU_IDS].iter().any(has);
        if is_switch && !has(&field::DRIVER) { DeviceKind::Switch } else { DeviceKind::Gpu }
    }

    /// A switch writes its version as text. A GPU gives eight bytes, the version in reversed order
    /// with its last part in the upper half: `009f009601000000` is 96.00.9F.00.01.
    fn vbios(&self) -> Option<String> {
        let bytes = self.bytes(field::VBIOS);
        match (self.kind(), bytes) {
            (DeviceKind::Gpu, [d, c, b, a, e, 0, 0, 0]) => {
                Some(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}"))
            }
            _ => self.text(field::VBIOS),
        }
    }

    fn feature(&self) -> Option<&'static str> {
        match self.bytes(field::FEATURE) {
            [0, ..] => Some("single GPU passthrough"),
            [1, ..] => Some("multiple GPU passthrough"),
            [2, ..] => Some("protected PCIe"),
            _ => None,
        }
    }

    /// Ids of eight bytes each, as switches write their own; GPUs write them in reversed order. Zeros
    /// are links that lead nowhere.
    fn fabric_ids(&self, kind: u16) -> Vec<Hex<FABRIC_ID_BYTES>> {
        let is_of_gpu = self.kind() == DeviceKind::Gpu;
        let chunks = self.bytes(kind).chunks_exact(FABRIC_ID_BYTES);
        let ids = chunks.filter_map(|chunk| <[u8; FABRIC_ID_BYTES]>::try_from(chunk).ok());
        let mut ids: Vec<[u8; FABRIC_ID_BYTES]> = ids.filter(|id| *id != [0; 8]).collect();
        if is_of_gpu {
            ids.iter_mut().for_each(|id| id.reverse());
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(Hex).collect()
    }
}

/// The chip a leaf's common name begins with: `GH100 A01 GSP FMC LF`, `LS_10 A01 FSP FMC LF`.
fn chip_of(leaf: &Certificate) -> Option<String> {
    let chip = leaf.subject.common_name.split(' ').next()?.replace('_', "");
    (!chip.is_empty()).then_some(chip)
}

/// The digest beside SHA-384's identifier in the leaf's DICE extension: the older form with a key
/// and one digest (Hopper), or the list of digests of a TCB description (Blackwell).
fn certified_fwid(leaf: &Certificate) -> Option<Hex<FWID_BYTES>> {
    /// tcg-dice-TcbInfo, and the identifier NVIDIA uses beside it.
    const TCB_INFO: [&str; 2] = ["2.23.133.5.4.1", "2.23.133.5.4.1.1"];
    let value = TCB_INFO.iter().find_map(|oid| leaf.extension(oid))?;
    digest_within(value, 0)
}

fn digest_within(mut content: &[u8], depth: usize) -> Option<Hex<FWID_BYTES>> {
    const MAX_DEPTH: usize = 6;
    const CONSTRUCTED: u8 = 0x20;
    const OBJECT: u8 = 0x06;
    const OCTETS: u8 = 0x04;
    const SHA384: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
    let mut is_after_sha384 = false;
    while let Some((element, rest)) = Element::read(content) {
        if is_after_sha384 && element.tag == OCTETS {
            return element.content.try_into().ok().map(Hex);
        }
        // The algorithm is an identifier, or a sequence of it and absent parameters.
        let algorithm = match element.tag {
            OBJECT => Some(element.content),
            _ if element.content.starts_with(&[OBJECT, 9]) => element.content.get(2..11),
            _ => None,
        };
        is_after_sha384 = algorithm == Some(&SHA384);
        let is_constructed = element.tag & CONSTRUCTED != 0 && depth < MAX_DEPTH;
        let within = is_constructed.then(|| digest_within(element.content, depth + 1)).flatten();
        if within.is_some() {
            return within;
        }
        content = rest;
    }
    None
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::endorsement::der;

    /// The fields of a GPU that names its driver, its VBIOS and their manifests.
    pub const BLACKWELL: &[(u16, &[u8])] = &[
        (3, b"595.91.07\0"),
        (6, &[0, 0xe4, 0, 0x97, 0x1e, 0, 0, 0]),
        (15, b"886\0\0\0"),
        (17, b"G525\0"),
        (18, b"0220\0"),
        (35, b"GB100\0"),
    ];

    /// Opaque fields by type, as a report has them.
    pub fn fields(list: &[(u16, &[u8])]) -> BTreeMap<u16, Vec<u8>> {
        list.iter().map(|(kind, value)| (*kind, value.to_vec())).collect()
    }

    fn of_chip(chip: &str) -> Identity {
        let report = Report::parse(&report_with(&fields(&[(3, b"1.2\0")]))).unwrap();
        Identity { chip: Some(chip.to_owned()), ..Identity::of(&report, None) }
    }

    /// A report that is nothing but its opaque fields.
    pub fn report_with(fields: &BTreeMap<u16, Vec<u8>>) -> Vec<u8> {
        let mut opaque = Vec::new();
        for (kind, value) in fields {
            opaque.extend(kind.to_le_bytes());
            opaque.extend((value.len() as u16).to_le_bytes());
            opaque.extend(value);
        }
        let mut bytes = vec![0x11, 0xe0, 1, 0xff];
        bytes.extend([0; 33]);
        bytes.extend([0x11, 0x60, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0; 32]);
        bytes.extend((opaque.len() as u16).to_le_bytes());
        bytes.extend(opaque);
        bytes.extend([0; 96]);
        bytes
    }

    fn identity(list: &[(u16, &[u8])]) -> Identity {
        Identity::of(&Report::parse(&report_with(&fields(list))).unwrap(), None)
    }

    /// SHA-384's identifier.
    const SHA384: [u8; 11] = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];

    #[test]
    fn features_chips_and_generations_have_their_names() {
        let feature = |bytes: &[u8]| identity(&[(field::FEATURE, bytes)]).feature;
        let expected = ["single GPU passthrough", "multiple GPU passthrough", "protected PCIe"];
        assert_eq!([0, 1, 2].map(|n| feature(&[n, 0])), expected.map(Some));
        assert_eq!((feature(&[3]), feature(&[])), (None, None));
        let kind = |chip: &str| of_chip(chip).certified_kind();
        assert_eq!(kind("LS10"), Some(DeviceKind::Switch));
        assert_eq!((kind("GH100"), kind("XY10")), (Some(DeviceKind::Gpu), None));
        let hopper = |text: &str| Architecture::Hopper.is_called(text);
        assert!(hopper("HOPPER") && hopper("hopper") && !hopper("blackwell"));
    }

    #[test]
    fn a_vbios_version_is_reversed_in_a_gpu_and_plain_in_a_switch() {
        let gpu = identity(&[(6, &[0, 0x9f, 0, 0x96, 1, 0, 0, 0]), (3, b"550.90.07\0")]);
        assert_eq!(gpu.vbios.as_deref(), Some("96.00.9F.00.01"));
        let switch = identity(&[(6, b"96.10.55.00.01"), (24, &[2, 0])]);
        assert_eq!(switch.kind, DeviceKind::Switch);
        assert_eq!(switch.vbios.as_deref(), Some("96.10.55.00.01"));
        let id = "NV_SWITCH_BIOS_5612_0002_890_9610550001";
        assert_eq!(switch.vbios_rim_id().as_deref(), Some(id));
    }

    #[test]
    fn manifests_are_named_as_the_service_names_them() {
        let blackwell = identity(BLACKWELL);
        let driver = "NV_GPU_CC_DRIVER_GB100_595.91.07";
        assert_eq!(blackwell.driver_rim_id().as_deref(), Some(driver));
        let vbios = "NV_GPU_VBIOS_G525_0220_886_9700E4001E";
        assert_eq!(blackwell.vbios_rim_id().as_deref(), Some(vbios));
    }

    #[test]
    fn products_are_compared_as_the_vendor_spells_them() {
        assert!(of_chip("GB202").is_of_product("GB20X") && of_chip("GB202").is_of_product("GB202"));
        assert!(
            !of_chip("GB202").is_of_product("GB100") && !of_chip("GB20").is_of_product("GB20X")
        );
        assert!(of_chip("LS10").is_of_product("LS_10") && of_chip("GH100").is_of_product("gh100"));
        assert_eq!(of_chip("GB202").architecture(), Some(Architecture::Blackwell));
        assert_eq!(of_chip("GR100").architecture(), Some(Architecture::Rubin));
        assert_eq!(of_chip("GX100").architecture(), None);
    }

    #[test]
    fn texts_that_are_none_are_left_out() {
        let odd = identity(&[(3, b"55\x01\0"), (17, b"\0\0"), (18, b"a\0b")]);
        assert_eq!((odd.driver, odd.project, odd.project_sku), (None, None, None));
    }

    #[test]
    fn only_their_two_bytes_say_off_and_on() {
        let read = |byte: &[u8]| {
            let identity = identity(&[(11, byte), (21, byte)]);
            (identity.is_nvdec0_off, identity.protected_pcie)
        };
        assert_eq!(read(&[0x55]), (true, Some(false)));
        assert_eq!(read(&[0xaa]), (false, Some(true)));
        for other in [&[][..], &[0], &[0x55, 0x55], &[0xaa, 0xaa]] {
            assert_eq!(read(other), (false, None), "{other:?}");
        }
    }

    #[test]
    fn a_switch_has_fields_of_its_own_and_no_driver() {
        let kind = |list: &[(u16, &[u8])]| identity(list).kind;
        for own in [24, 25, 26] {
            assert_eq!(kind(&[(own, &[1])]), DeviceKind::Switch, "{own}");
            assert_eq!(kind(&[(own, &[1]), (3, b"1.2\0")]), DeviceKind::Gpu, "{own}");
        }
        assert_eq!(kind(&[]), DeviceKind::Gpu);
        assert_eq!(kind(&[(3, b"1.2\0")]), DeviceKind::Gpu);
    }

    #[test]
    fn ids_on_the_fabric_are_reversed_in_a_gpu_and_plain_in_a_switch() {
        let (plain, reversed) = ([1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]);
        let gpu = identity(&[(22, &reversed)]);
        assert_eq!((gpu.fabric_id, gpu.fabric_peers), (None, vec![Hex(plain)]));
        let switch = identity(&[(22, &plain), (26, &[[0; 8], reversed].concat())]);
        assert_eq!(
            (switch.fabric_id, switch.fabric_peers),
            (Some(Hex(plain)), vec![Hex(reversed)])
        );
    }

    #[test]
    fn a_firmware_digest_is_looked_for_six_sequences_deep_and_in_nothing_else() {
        let digest = [0x42; 48];
        let octets = der(4, &[&digest]);
        let pair = [&SHA384[..], &octets].concat();
        let inside =
            |levels: usize| (0..levels).fold(pair.clone(), |inner, _| der(0x30, &[&inner]));
        for (levels, found) in [(0, true), (1, true), (6, true), (7, false)] {
            let expected = found.then_some(Hex(digest));
            assert_eq!(digest_within(&inside(levels), 0), expected, "{levels}");
        }
        // A text may hold anything.
        assert_eq!(digest_within(&der(4, &[&pair]), 0), None);
        // The identifier's bytes, which no identifier's tag stands before.
        let alike = der(0x30, &[&der(4, &[&SHA384[2..]])]);
        assert_eq!(digest_within(&[alike, octets].concat(), 0), None);
    }

    /// The list of digests in a TCB description (tcg-dice-TcbInfo, field 6), as Blackwell's.
    #[test]
    fn a_firmware_digest_is_found_in_both_forms() {
        let digest = [0x42; 48];
        let octets = der(4, &[&digest]);
        let pair = der(0x30, &[&SHA384, &octets]);
        let listed = der(0x30, &[&der(0x80, &[b"NVIDIA"]), &der(0xa6, &[&pair])]);
        assert_eq!(digest_within(&listed, 0), Some(Hex(digest)));
        let algorithm = der(0x30, &[&SHA384]);
        let in_sequence = der(0x30, &[&algorithm, &octets]);
        assert_eq!(digest_within(&in_sequence, 0), Some(Hex(digest)));
        assert_eq!(digest_within(&der(0x30, &[&der(4, &[&digest])]), 0), None);
    }
}
