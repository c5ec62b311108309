//! Policy for NVIDIA GPU and switch evidence.

use serde::Deserialize;

use super::{Accept, Demand, PolicyError, Tolerance};
use crate::tee::nvidia::Architecture;
use crate::tee::nvidia::version::{DriverVersion, VbiosVersion};

/// Oldest versions taken of one generation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFloor {
    /// Which generation.
    pub architecture: Architecture,
    /// Oldest driver taken of each branch (the number before the first dot). A branch newer than
    /// all listed is taken; any other that is not listed is refused. Empty for switches, whose
    /// reports name no driver.
    pub drivers: Vec<DriverVersion>,
    /// Oldest VBIOS taken.
    pub vbios: VbiosVersion,
    /// Where the numbers come from: a vendor bulletin, or "set by operator".
    pub source: String,
}

/// Rules for NVIDIA evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvidiaPolicy {
    /// Generations taken.
    pub architectures: Accept<Architecture>,
    /// Switches.
    pub switches: Tolerance,
    /// Driver versions taken.
    pub drivers: Accept<DriverVersion>,
    /// VBIOS versions taken.
    pub vbios: Accept<VbiosVersion>,
    /// Whether driver and VBIOS must reach the floor of the generation; one without a floor is then
    /// refused.
    pub minimum_versions: Demand,
    /// The floors.
    pub floor: Vec<VersionFloor>,
    /// Devices taken: the serial number of the leaf certificate, or of the chip's certificate above
    /// it, lower-case hex. The UUIDs that tools show are in no signed evidence.
    pub devices: Accept<String>,
    /// One device shown several times.
    pub repeated_devices: Tolerance,
    /// The links of the GPUs lead to the switches shown, and to no others.
    pub closed_fabric: Demand,
    /// Manifests of driver and VBIOS, so that every measurement can be compared.
    pub manifests: Demand,
    /// A current answer about every certificate between leaf and root.
    pub revocation: Demand,
    /// The same about the signers of manifests.
    pub manifest_revocation: Demand,
    /// Certificates on hold: revoked, until the vendor takes it back.
    pub certificate_hold: Tolerance,
}

impl NvidiaPolicy {
    /// The floor of `architecture`.
    pub fn floor_for(&self, architecture: Architecture) -> Option<&VersionFloor> {
        self.floor.iter().find(|floor| floor.architecture == architecture)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        for (index, floor) in self.floor.iter().enumerate() {
            let mut earlier = self.floor.iter().take(index);
            if earlier.any(|earlier| earlier.architecture == floor.architecture) {
                let architecture = floor.architecture.to_string();
                return Err(PolicyError::RepeatedVersionFloor { architecture });
            }
        }
        Ok(())
    }
}
