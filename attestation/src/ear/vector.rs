//! Our checks in the terms of AR4SI (draft-ietf-rats-ar4si): eight aspects, each with a number.
//!
//! | aspect | affirming | not affirming |
//! |---|---|---|
//! | instance-identity | 2: the chip is one the policy lists | 97: it is not; 96: revoked, hidden, or not the keyset's |
//! | configuration | 2: everything a workload policy asks of the guest's configuration holds | 96: something does not |
//! | executables | 3: the launch measurement is a known one | 33: it is not |
//! | hardware | 2: genuine under its vendor's root | 32: firmware below the minimum; 96: a product, signer or firmware that is refused; 97: simulated |
//! | runtime-opaque | 2: memory encrypted, no debugger | 96: a debug guest, or simulated |
//! | file-system, storage-opaque, sourced-data | never claimed: nothing measures them | |
//!
//! Where the evidence itself is not genuine every aspect that was looked at is 99 (cryptographic
//! validation failed). What the policy does not ask is 0, no claim.

use crate::policy::Purpose;
use crate::result::{About, AttestationResult, CheckName, CheckResult};
use crate::tee::TeeKind;

const CRYPTO_FAILED: i8 = 99;
const RECOGNIZED_INSTANCE: i8 = 2;
const UNTRUSTWORTHY_INSTANCE: i8 = 96;
const UNRECOGNIZED_INSTANCE: i8 = 97;
const APPROVED_CONFIGURATION: i8 = 2;
const UNSUPPORTABLE_CONFIGURATION: i8 = 96;
const APPROVED_BOOT: i8 = 3;
const UNRECOGNIZED_RUNTIME: i8 = 33;
const GENUINE_HARDWARE: i8 = 2;
const UNSAFE_HARDWARE: i8 = 32;
const CONTRAINDICATED_HARDWARE: i8 = 96;
const UNRECOGNIZED_HARDWARE: i8 = 97;
const ENCRYPTED_MEMORY: i8 = 2;
const VISIBLE_MEMORY: i8 = 96;

/// A tier of trust (AR4SI §2.3.2), the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Nothing is claimed.
    None,
    /// As it should be.
    Affirming,
    /// With reservations.
    Warning,
    /// Not to be trusted.
    Contraindicated,
}

impl Tier {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::None => "none",
            Tier::Affirming => "affirming",
            Tier::Warning => "warning",
            Tier::Contraindicated => "contraindicated",
        }
    }

    /// The number in CBOR.
    pub fn number(self) -> i8 {
        match self {
            Tier::None => 0,
            Tier::Affirming => 2,
            Tier::Warning => 32,
            Tier::Contraindicated => 96,
        }
    }

    fn of(value: i8) -> Tier {
        match value.unsigned_abs() {
            0 | 1 => Tier::None,
            2..=31 => Tier::Affirming,
            32..=95 => Tier::Warning,
            _ => Tier::Contraindicated,
        }
    }
}

/// AR4SI's trustworthiness vector; 0 is no claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrustVector {
    /// Is it this very machine?
    pub instance_identity: i8,
    /// Is it configured as it should be?
    pub configuration: i8,
    /// Is what was launched known?
    pub executables: i8,
    /// Is it genuine hardware with sound firmware?
    pub hardware: i8,
    /// Is its memory closed to its operator?
    pub runtime_opaque: i8,
}

/// What of a machine a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aspect {
    /// Whether the evidence is what it seems; without that nothing else means anything.
    Genuine,
    Instance,
    Configuration,
    Executables,
    Firmware,
    Hardware,
    Runtime,
}

/// A check that stands in no line here is about the evidence, about the configuration a policy asks
/// for, or about the keys presented with it.
fn aspect(name: CheckName) -> Aspect {
    use CheckName as N;
    match name {
        N::GuestDebug => Aspect::Runtime,
        N::ChipIdPinned | N::ChipIdMasked | N::Revocation | N::RevocationKnown => Aspect::Instance,
        N::Measurement | N::ReferenceValues | N::TpmPcrs => Aspect::Executables,
        N::Rtmr0 | N::Rtmr1 | N::Rtmr2 | N::Rtmr3 => Aspect::Executables,
        N::MinimumReportedTcb | N::MinimumLaunchTcb => Aspect::Firmware,
        N::MinimumCommittedTcb | N::MinimumCurrentTcb | N::TcbOrder => Aspect::Firmware,
        N::TcbStatus | N::TcbEvaluationNumber | N::Advisories => Aspect::Firmware,
        N::MinimumDriver | N::MinimumVbios => Aspect::Firmware,
        N::TeeType | N::SimulatedRoot | N::SigningKeyAllowed | N::ReportVersion => Aspect::Hardware,
        N::ProductAllowed | N::ProductBanned | N::AliasCheckComplete => Aspect::Hardware,
        N::TcbLevel | N::MrSeam | N::DeviceMeasurements => Aspect::Hardware,
        N::DriverAllowed | N::VbiosAllowed | N::CsvGeneration => Aspect::Hardware,
        other => match other.about() {
            About::Evidence => Aspect::Genuine,
            About::Policy => Aspect::Configuration,
            About::Binding => Aspect::Instance,
        },
    }
}

impl TrustVector {
    /// The vector of a verdict, by the table of this module.
    pub fn of(result: &AttestationResult) -> TrustVector {
        if fails(result, Aspect::Genuine) || result.checks().is_empty() {
            return TrustVector::forged();
        }
        TrustVector {
            instance_identity: instance(result),
            configuration: configuration(result),
            executables: executables(result),
            hardware: hardware(result),
            runtime_opaque: runtime(result),
        }
    }

    fn forged() -> TrustVector {
        TrustVector {
            instance_identity: CRYPTO_FAILED,
            configuration: CRYPTO_FAILED,
            executables: CRYPTO_FAILED,
            hardware: CRYPTO_FAILED,
            runtime_opaque: CRYPTO_FAILED,
        }
    }

    /// The aspects claimed: number in CBOR, name in JSON, value.
    pub fn claimed(&self) -> impl Iterator<Item = (u8, &'static str, i8)> {
        let all = [
            (0, "instance-identity", self.instance_identity),
            (1, "configuration", self.configuration),
            (2, "executables", self.executables),
            (4, "hardware", self.hardware),
            (5, "runtime-opaque", self.runtime_opaque),
        ];
        all.into_iter().filter(|(.., value)| *value != 0)
    }

    /// The worst tier among them.
    pub fn worst(&self) -> Tier {
        self.claimed().map(|(.., value)| Tier::of(value)).max().unwrap_or(Tier::None)
    }
}

fn fails(result: &AttestationResult, of: Aspect) -> bool {
    result.failed().any(|check| aspect(check.name) == of)
}

fn passes(result: &AttestationResult, name: CheckName) -> bool {
    result.check(name).is_some_and(|check| check.result == CheckResult::Pass)
}

fn instance(result: &AttestationResult) -> i8 {
    let unlisted = |name| result.failed().any(|check| check.name == name);
    let failing = result.failed().filter(|check| aspect(check.name) == Aspect::Instance).count();
    match failing {
        0 if result.is_simulated() => 0,
        0 if passes(result, CheckName::ChipIdPinned) => RECOGNIZED_INSTANCE,
        0 => 0,
        1 if unlisted(CheckName::ChipIdPinned) => UNRECOGNIZED_INSTANCE,
        _ => UNTRUSTWORTHY_INSTANCE,
    }
}

/// A policy that judges evidence of any workload approves of no configuration.
fn configuration(result: &AttestationResult) -> i8 {
    match (fails(result, Aspect::Configuration), result.purpose()) {
        (true, _) => UNSUPPORTABLE_CONFIGURATION,
        (false, Purpose::Workload) => APPROVED_CONFIGURATION,
        (false, Purpose::Evidence) => 0,
    }
}

fn executables(result: &AttestationResult) -> i8 {
    let known =
        passes(result, CheckName::Measurement) || passes(result, CheckName::ReferenceValues);
    match fails(result, Aspect::Executables) {
        true => UNRECOGNIZED_RUNTIME,
        false if known => APPROVED_BOOT,
        false => 0,
    }
}

fn hardware(result: &AttestationResult) -> i8 {
    if result.is_simulated() {
        UNRECOGNIZED_HARDWARE
    } else if fails(result, Aspect::Hardware) {
        CONTRAINDICATED_HARDWARE
    } else if fails(result, Aspect::Firmware) {
        UNSAFE_HARDWARE
    } else {
        GENUINE_HARDWARE
    }
}

/// Evidence of a device says that it is in confidential mode, not that its memory is encrypted.
fn runtime(result: &AttestationResult) -> i8 {
    if result.is_simulated() || fails(result, Aspect::Runtime) {
        VISIBLE_MEMORY
    } else if result.tee() == TeeKind::Nvidia {
        0
    } else {
        ENCRYPTED_MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AR4SI §2.3.2, at the edges.
    #[test]
    fn every_value_has_the_tier_of_its_range() {
        let rows = [
            (Tier::None, [0, 1, -1]),
            (Tier::Affirming, [2, 31, -31]),
            (Tier::Warning, [32, 95, -32]),
            (Tier::Contraindicated, [96, 127, -128]),
        ];
        for (tier, values) in rows {
            assert_eq!(values.map(Tier::of), [tier; 3]);
        }
    }
}
