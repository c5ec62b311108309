//! What the devices say, for people and for JSON: hex in lower case, versions as the vendor writes
//! them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::Case;
use super::identity::{Architecture, DeviceKind, hex};
use crate::hex::Hex;

/// The claims of all devices of one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NvidiaClaims {
    /// Driver version, where all GPUs have one.
    pub driver: Option<String>,
    /// VBIOS version, where all GPUs have one, or all switches where there is no GPU.
    pub vbios: Option<String>,
    /// The nonce of the request, where all answer one.
    pub nonce: Option<Hex<32>>,
    /// Each device, in the order of the document.
    pub devices: Vec<DeviceClaims>,
}

/// The claims of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceClaims {
    /// GPU or switch.
    pub kind: DeviceKind,
    /// Its generation, where it is one of those known here.
    pub architecture: Option<Architecture>,
    /// The chip, such as `GH100`.
    pub chip: Option<String>,
    /// Serial number of the leaf certificate: of this chip with this firmware.
    pub serial: Option<String>,
    /// Serial number of the certificate above it: of the chip.
    pub chip_serial: Option<String>,
    /// Driver version; GPUs only.
    pub driver: Option<String>,
    /// VBIOS version.
    pub vbios: Option<String>,
    /// The VBIOS field as it stands: bytes of a GPU, text of a switch.
    pub vbios_raw: String,
    /// Board project.
    pub project: Option<String>,
    /// SKU of the project.
    pub sku: Option<String>,
    /// SKU of the chip.
    pub chip_sku: Option<String>,
    /// Digest of the firmware its key was derived for: as certified.
    pub fwid: Option<Hex<48>>,
    /// The device's own nonce.
    pub responder_nonce: Hex<32>,
    /// How many measurements it shows.
    pub measurements: usize,
    /// Whether its links to other devices are protected by isolation instead of encryption.
    pub protected_pcie: Option<bool>,
    /// How many devices share a secure session, in NVIDIA's words.
    pub feature: Option<&'static str>,
    /// What NVIDIA's service calls the manifests it needs.
    pub manifests: Vec<String>,
    /// Every opaque field, known or not: type to value, hex.
    pub opaque: BTreeMap<u16, String>,
}

impl NvidiaClaims {
    pub(super) fn of(cases: &[Case<'_>]) -> NvidiaClaims {
        let devices: Vec<DeviceClaims> = cases.iter().map(DeviceClaims::of).collect();
        let has_gpu = devices.iter().any(|device| device.kind == DeviceKind::Gpu);
        let speaking =
            || devices.iter().filter(|device| !has_gpu || device.kind == DeviceKind::Gpu);
        let nonces = cases.iter().map(|case| Some(Hex(case.device.report.nonce)));
        NvidiaClaims {
            driver: common(speaking().map(|device| device.driver.clone())),
            vbios: common(speaking().map(|device| device.vbios.clone())),
            nonce: common(nonces),
            devices,
        }
    }
}

/// What all say, if all say the same.
fn common<T: PartialEq>(mut said: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = said.next()??;
    said.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

impl DeviceClaims {
    fn of(case: &Case<'_>) -> DeviceClaims {
        let (identity, report) = (&case.identity, &case.device.report);
        let serial =
            |certificate: &crate::endorsement::Certificate| hex(certificate.short_serial());
        let is_text = !identity.vbios_raw.is_empty() && identity.vbios_raw.is_ascii();
        let vbios_raw = match (identity.kind, is_text) {
            (DeviceKind::Switch, true) => {
                String::from_utf8_lossy(&identity.vbios_raw).trim_end_matches('\0').to_owned()
            }
            _ => hex(&identity.vbios_raw),
        };
        DeviceClaims {
            kind: identity.kind,
            architecture: identity.architecture(),
            chip: identity.chip.clone(),
            serial: case.leaf.map(serial),
            chip_serial: case.chip_certificate().map(serial),
            driver: identity.driver.clone(),
            vbios: identity.vbios.clone(),
            vbios_raw,
            project: identity.project.clone(),
            sku: identity.project_sku.clone(),
            chip_sku: identity.chip_sku.clone(),
            fwid: identity.certified_fwid,
            responder_nonce: Hex(report.responder_nonce),
            measurements: report.measurements.len(),
            protected_pcie: identity.protected_pcie,
            feature: identity.feature,
            manifests: manifests(case),
            opaque: report.opaque.iter().map(|(kind, value)| (*kind, hex(value))).collect(),
        }
    }
}

fn manifests(case: &Case<'_>) -> Vec<String> {
    let driver = match case.identity.kind {
        DeviceKind::Gpu => case.identity.driver_rim_id(),
        DeviceKind::Switch => None,
    };
    driver.into_iter().chain(case.identity.vbios_rim_id()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tee::nvidia::case::tests::{Fields, with_devices};
    use crate::tee::nvidia::identity::tests::BLACKWELL as GPU;

    const SWITCH: Fields<'_> = &[(6, b"96.10.55.00.01\0"), (24, &[2, 0])];

    fn claims(devices: &[Fields<'_>]) -> NvidiaClaims {
        with_devices(devices, NvidiaClaims::of)
    }

    #[test]
    fn gpus_speak_for_a_set_and_switches_where_there_is_none() {
        for (devices, driver, vbios) in [
            (&[GPU][..], Some("595.91.07"), Some("97.00.E4.00.1E")),
            (&[GPU, SWITCH], Some("595.91.07"), Some("97.00.E4.00.1E")),
            (&[SWITCH, SWITCH], None, Some("96.10.55.00.01")),
        ] {
            let claims = claims(devices);
            assert_eq!((claims.driver.as_deref(), claims.vbios.as_deref()), (driver, vbios));
        }
    }

    #[test]
    fn each_device_names_the_manifests_it_needs() {
        let devices = claims(&[GPU, SWITCH]).devices;
        let of_gpu = ["NV_GPU_CC_DRIVER_GB100_595.91.07", "NV_GPU_VBIOS_G525_0220_886_9700E4001E"];
        assert_eq!(devices[0].manifests, of_gpu);
        assert_eq!(devices[1].manifests, ["NV_SWITCH_BIOS_5612_0002_890_9610550001"]);
    }

    #[test]
    fn a_vbios_field_is_shown_as_text_only_where_a_switch_writes_text() {
        let raw = |fields: Fields<'_>| claims(&[fields]).devices.remove(0).vbios_raw;
        assert_eq!(raw(GPU), "00e400971e000000");
        assert_eq!(raw(SWITCH), "96.10.55.00.01");
        assert_eq!(raw(&[(6, &[0x39, 0xff]), (24, &[2, 0])]), "39ff");
        assert_eq!(raw(&[(24, &[2, 0])]), "");
    }
}
