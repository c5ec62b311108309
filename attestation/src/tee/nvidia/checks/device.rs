//! Which devices the policy takes.

use std::collections::BTreeMap;

use crate::policy::{Accept, Demand, NvidiaPolicy, Tolerance, VersionFloor};
use crate::result::{Check, CheckName};
use crate::tee::nvidia::case::Case;
use crate::tee::nvidia::identity::{DeviceKind, hex};
use crate::tee::nvidia::version::{DriverVersion, VbiosVersion};

pub(super) fn architecture(case: &Case<'_>) -> Check {
    let name = CheckName::ProductAllowed;
    let chip = case.identity.chip.as_deref().unwrap_or("unknown chip");
    let architecture = case.identity.architecture();
    let got = architecture.map_or(chip.to_owned(), |known| format!("{known} ({chip})"));
    match &case.all.rules.architectures {
        Accept::Any => Check::not_required(name, got),
        listed => {
            let taken = architecture.is_some_and(|known| listed.accepts(&known));
            Check::judge(name, taken, "an architecture the policy lists", got)
        }
    }
}

pub(super) fn switches(case: &Case<'_>) -> Check {
    let name = CheckName::SwitchAllowed;
    let is_gpu = case.identity.kind == DeviceKind::Gpu;
    match case.all.rules.switches {
        Tolerance::Refused => Check::judge(name, is_gpu, "a GPU", case.identity.kind.to_string()),
        Tolerance::Allowed => Check::not_required(name, case.identity.kind.to_string()),
    }
}

/// The driver of a GPU; switches have none.
fn driver(case: &Case<'_>) -> Option<Result<DriverVersion, String>> {
    if case.identity.kind == DeviceKind::Switch {
        return None;
    }
    let text = case.identity.driver.as_deref().unwrap_or("no driver version");
    Some(text.parse().map_err(|_| text.to_owned()))
}

fn vbios(case: &Case<'_>) -> Result<VbiosVersion, String> {
    let text = case.identity.vbios.as_deref().unwrap_or("no vbios version");
    text.parse().map_err(|_| text.to_owned())
}

fn words<V: ToString>(version: &Result<V, String>) -> String {
    version.as_ref().map_or_else(String::clone, V::to_string)
}

pub(super) fn driver_allowed(case: &Case<'_>) -> Check {
    let name = CheckName::DriverAllowed;
    let Some(driver) = driver(case) else {
        return Check::not_required(name, "a switch has no driver");
    };
    let got = words(&driver);
    match &case.all.rules.drivers {
        Accept::Any => Check::not_required(name, got),
        listed => {
            let taken = driver.is_ok_and(|driver| listed.accepts(&driver));
            Check::judge(name, taken, "a driver the policy lists", got)
        }
    }
}

pub(super) fn vbios_allowed(case: &Case<'_>) -> Check {
    let name = CheckName::VbiosAllowed;
    let vbios = vbios(case);
    let got = words(&vbios);
    match &case.all.rules.vbios {
        Accept::Any => Check::not_required(name, got),
        listed => {
            let taken = vbios.is_ok_and(|vbios| listed.accepts(&vbios));
            Check::judge(name, taken, "a vbios the policy lists", got)
        }
    }
}

fn floor<'a>(case: &Case<'a>) -> Option<&'a VersionFloor> {
    case.identity.architecture().and_then(|known| case.all.rules.floor_for(known))
}

pub(super) fn minimum_driver(case: &Case<'_>) -> Check {
    let name = CheckName::MinimumDriver;
    let Some(driver) = driver(case) else {
        return Check::not_required(name, "a switch has no driver");
    };
    let got = words(&driver);
    if case.all.rules.minimum_versions == Demand::NotRequired {
        return Check::not_required(name, got);
    }
    let Some(floor) = floor(case) else {
        return Check::judge(name, false, "a floor for this architecture", got);
    };
    let listed: Vec<String> = floor.drivers.iter().map(ToString::to_string).collect();
    let expected = format!("at least {} ({})", listed.join(" or "), floor.source);
    let reaches = driver.is_ok_and(|driver| reaches_floor(&driver, &floor.drivers));
    Check::judge(name, reaches, expected, got)
}

/// Branches are maintained side by side, so each has its own floor.
fn reaches_floor(driver: &DriverVersion, floors: &[DriverVersion]) -> bool {
    let newest = floors.iter().map(DriverVersion::branch).max();
    match floors.iter().find(|floor| floor.branch() == driver.branch()) {
        Some(floor) => driver >= floor,
        None => newest.is_some_and(|newest| driver.branch() > newest),
    }
}

pub(super) fn minimum_vbios(case: &Case<'_>) -> Check {
    let name = CheckName::MinimumVbios;
    let vbios = vbios(case);
    let got = words(&vbios);
    if case.all.rules.minimum_versions == Demand::NotRequired {
        return Check::not_required(name, got);
    }
    match floor(case) {
        Some(floor) => {
            let expected = format!("at least {} ({})", floor.vbios, floor.source);
            Check::judge(name, vbios.is_ok_and(|vbios| vbios >= floor.vbios), expected, got)
        }
        None => Check::judge(name, false, "a floor for this architecture", got),
    }
}

/// The serial number of the leaf, which changes with the firmware, or of the chip, which does not.
fn serials(case: &Case<'_>) -> Vec<String> {
    let both = case.leaf.into_iter().chain(case.chip_certificate());
    both.map(|certificate| hex(certificate.short_serial())).collect()
}

pub(super) fn pinned(case: &Case<'_>) -> Check {
    let name = CheckName::ChipIdPinned;
    let serials = serials(case);
    let got =
        if serials.is_empty() { "no serial number".to_owned() } else { serials.join(", chip ") };
    match &case.all.rules.devices {
        Accept::Any => Check::not_required(name, got),
        listed => {
            let pinned = serials.iter().any(|serial| listed.accepts(serial));
            Check::judge(name, pinned, "a device the policy lists", got)
        }
    }
}

/// One GPU shown twice would count for two.
pub(super) fn distinct(cases: &[Case<'_>], rules: &NvidiaPolicy) -> Check {
    let name = CheckName::DistinctDevices;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeated = Vec::new();
    for case in cases {
        let Some(serial) = serials(case).pop() else { continue };
        match seen.get(&serial) {
            Some(first) => repeated.push(format!("{} is device {first}", case.label())),
            None => {
                seen.insert(serial, case.number);
            }
        }
    }
    let holds = repeated.is_empty();
    let got = if holds { format!("{} different", cases.len()) } else { repeated.join("; ") };
    let demand = match rules.repeated_devices {
        Tolerance::Refused => Demand::Required,
        Tolerance::Allowed => Demand::NotRequired,
    };
    super::demanded(name, demand, holds, "each device once", got)
}

/// Each GPU signs the ids of the switches behind its links, each switch its own: a GPU that is
/// wired to something that is not shown has a listener.
pub(super) fn closed_fabric(cases: &[Case<'_>], rules: &NvidiaPolicy) -> Check {
    let name = CheckName::FabricClosed;
    let of_kind = |kind: DeviceKind| cases.iter().filter(move |case| case.identity.kind == kind);
    let mut switches: Vec<_> =
        of_kind(DeviceKind::Switch).filter_map(|case| case.identity.fabric_id).collect();
    switches.sort_unstable_by_key(|id| id.0);
    switches.dedup();
    let stray = of_kind(DeviceKind::Gpu).find(|case| case.identity.fabric_peers != switches);
    let got = match stray {
        Some(case) => {
            let peers: Vec<String> =
                case.identity.fabric_peers.iter().map(ToString::to_string).collect();
            let shown = switches.len();
            format!("{} is linked to [{}], {shown} switches shown", case.label(), peers.join(", "))
        }
        None => format!("{} switches, all shown", switches.len()),
    };
    let expected = "links only to the switches shown";
    super::demanded(name, rules.closed_fabric, stray.is_none(), expected, got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_branch_has_its_own_floor() {
        let version = |text: &str| text.parse::<DriverVersion>().unwrap();
        let floors = [version("535.274.02"), version("570.195.03"), version("580.95.05")];
        for (driver, reaches) in [
            ("535.274.02", true),
            ("535.86.09", false),
            ("570.195.03", true),
            ("570.133.20", false),
            ("575.57.08", false),
            ("580.95.05", true),
            ("590.12", true),
            ("550.163.01", false),
        ] {
            assert_eq!(reaches_floor(&version(driver), &floors), reaches, "{driver}");
        }
        assert!(!reaches_floor(&version("590.12"), &[]));
    }
}
