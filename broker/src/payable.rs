//! Payables: what of every charge is owed to whom. A split names the parties of a model's charges
//! in parts per million. Each party gets its part rounded down; the platform gets the rest, so
//! the parts are the charge exactly, whatever the shares are.
//!
//! A party is an account, what it is owed a package of it that no hold may burn: earnings, reversals
//! and payouts are ordinary transfers, and the party's statement is its list of transfers.

use bulla_attestation::hash::sha256;
use bulla_wire::units::{MicroUnits, Unit};
use serde::{Deserialize, Serialize};

use crate::ledger::{AccountNumber, PackageNumber};

/// Parts per million: the whole.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Most parties of one split, the platform not counted.
pub const MAX_PARTIES: usize = 16;

/// Who earns what of the charges for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitTerms {
    /// Name of the model; `*` is every model that has no split of its own.
    pub model: String,
    /// Unit of account.
    pub unit: Unit,
    /// The parties and their parts per million.
    pub parties: Vec<Party>,
    /// The account that gets the rest.
    pub platform: AccountNumber,
    /// The package that collects what the platform is owed.
    #[serde(default)]
    pub platform_package: Option<u64>,
}

/// One party of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// What it is: model owner, compute host.
    pub role: String,
    /// Its account.
    pub account: AccountNumber,
    /// Its part of every charge, in parts per million, rounded down.
    pub ppm: u32,
    /// The package that collects what it is owed.
    #[serde(default)]
    pub package: Option<u64>,
}

impl SplitTerms {
    /// Whether the parts fit into the whole.
    pub fn is_sound(&self) -> bool {
        let sum: u64 = self.parties.iter().map(|party| u64::from(party.ppm)).sum();
        sum <= u64::from(WHOLE_PPM) && self.parties.len() <= MAX_PARTIES
    }

    /// The split as a hold carries it; the platform comes last. Nothing while packages are missing.
    pub fn parts(&self) -> Vec<Part> {
        let part = |package: Option<u64>, ppm| Some(Part { package: PackageNumber(package?), ppm });
        let parties = self.parties.iter().map(|party| part(party.package, party.ppm));
        let all = parties.chain([part(self.platform_package, 0)]);
        all.collect::<Option<Vec<Part>>>().unwrap_or_default()
    }
}

/// One party's part of a charge, as a hold carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The package that collects it.
    pub package: PackageNumber,
    /// Parts per million; of the last one whatever is left.
    pub ppm: u32,
}

/// What each party of `parts` gets of `charge`: rounded down, the last one gets the rest.
pub fn divide(parts: &[Part], charge: MicroUnits) -> Vec<(PackageNumber, MicroUnits)> {
    let mut left = charge.0;
    let last = parts.len().saturating_sub(1);
    let mut divided = Vec::with_capacity(parts.len());
    for (place, part) in parts.iter().enumerate() {
        let share = u128::from(charge.0) * u128::from(part.ppm) / u128::from(WHOLE_PPM);
        let share = u64::try_from(share).unwrap_or(left).min(left);
        let amount = if place == last { left } else { share };
        left -= amount;
        divided.push((part.package, MicroUnits(amount)));
    }
    divided
}

/// Each party's part before and after a charge changes. A part rounded down never rises when the
/// charge falls; the platform's may, by what the others no longer get.
pub fn shift(
    parts: &[Part],
    before: MicroUnits,
    after: MicroUnits,
) -> Vec<(PackageNumber, MicroUnits, MicroUnits)> {
    let (before, after) = (divide(parts, before), divide(parts, after));
    let pairs = before.into_iter().zip(after);
    pairs.map(|((package, had), (_, has))| (package, had, has)).collect()
}

/// A split as a store keeps it: `PACKAGE:PPM,…`.
pub fn parts_to_text(parts: &[Part]) -> String {
    let texts: Vec<String> =
        parts.iter().map(|part| format!("{}:{}", part.package, part.ppm)).collect();
    texts.join(",")
}

/// Reads what [`parts_to_text`] writes.
pub fn parts_from_text(text: &str) -> Option<Vec<Part>> {
    let part = |text: &str| {
        let (package, ppm) = text.split_once(':')?;
        let package = PackageNumber(package.parse().ok()?);
        Some(Part { package, ppm: ppm.parse().ok()? })
    };
    text.split(',').filter(|part| !part.is_empty()).map(part).collect()
}

/// The key of the package that collects what an account is owed in a unit: one for ever.
pub fn package_key(account: AccountNumber, unit: &Unit) -> [u8; 16] {
    let digest = sha256(format!("bulla payable {account} {unit}").as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.0[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(ppm: &[u32]) -> Vec<Part> {
        let part = |(n, ppm): (u64, &u32)| Part { package: PackageNumber(n), ppm: *ppm };
        (1..).zip(ppm).map(part).collect()
    }

    #[test]
    fn parts_are_the_charge_exactly_and_the_platform_gets_the_rest() {
        let parts = parts(&[333_333, 333_333, 0]);
        for charge in [0, 1, 2, 3, 7, 1_000_003, u64::MAX >> 1] {
            let divided = divide(&parts, MicroUnits(charge));
            assert_eq!(divided.iter().map(|(_, amount)| amount.0).sum::<u64>(), charge);
        }
        let of_ten: Vec<u64> = divide(&parts, MicroUnits(10)).iter().map(|(_, a)| a.0).collect();
        assert_eq!(of_ten, [3, 3, 4]);
    }

    #[test]
    fn when_a_charge_falls_no_party_gains_but_the_platform() {
        let parts = parts(&[500_000, 500_000, 0]);
        for (before, after) in [(10, 0), (10, 3), (1_000_001, 999_999), (2, 1), (5, 5)] {
            let shifted = shift(&parts, MicroUnits(before), MicroUnits(after));
            let (platform, parties) = shifted.split_last().unwrap();
            assert!(parties.iter().all(|(_, had, has)| has <= had));
            let sum: u64 = shifted.iter().map(|(_, _, has)| has.0).sum();
            assert_eq!(sum, after);
            // Of 2 each party has 1; of 1 neither, and the platform all of it.
            if (before, after) == (2, 1) {
                assert_eq!((platform.1, platform.2), (MicroUnits(0), MicroUnits(1)));
            }
        }
    }

    #[test]
    fn parts_read_as_written() {
        let parts = parts(&[1, 1_000_000, 0]);
        assert_eq!(parts_from_text(&parts_to_text(&parts)), Some(parts));
        assert_eq!(parts_from_text("x"), None);
    }
}
