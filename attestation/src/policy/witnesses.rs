//! Policy for witnesses: whose cosignatures a log's checkpoint must carry.
//!
//! Cosignatures are verified with `bulla-tlog`; here is decided whether those that held suffice.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use bulla_tlog::{Quorum, WitnessKey};
use bulla_wire::units::UnixSeconds;

use super::PolicyError;
use crate::result::{Check, CheckName};

/// What a verified log says of the epoch whose evidence is judged. The caller has verified the
/// checkpoint, its cosignatures and the inclusion of the epoch-open record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// When the epoch's keys were first seen by the witnesses: the evidence is not older.
    pub since: UnixSeconds,
    /// The witnesses whose cosignature held.
    pub cosigners: Vec<WitnessKey>,
}

/// How many of which witnesses must have cosigned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessRule {
    /// How many; zero asks for none.
    pub quorum: usize,
    /// The witnesses that count, as `name+id+key` (C2SP signed-note, type 0x04).
    #[serde(deserialize_with = "witness_keys")]
    pub keys: Vec<WitnessKey>,
}

impl WitnessRule {
    /// Judges the witnesses that cosigned; `None` where no log was shown.
    pub fn judge(&self, cosigners: Option<&[WitnessKey]>) -> Check {
        let name = CheckName::Witnesses;
        if self.quorum == 0 {
            let got = cosigners.map_or(0, <[_]>::len);
            return Check::not_required(name, format!("{got} cosigned"));
        }
        let expected = format!("{} of {} named witnesses", self.quorum, self.keys.len());
        let Some(cosigners) = cosigners else {
            return Check::judge(name, false, expected, "no checkpoint of a log was shown");
        };
        let counted: Vec<&str> =
            self.keys.iter().filter(|key| cosigners.contains(key)).map(WitnessKey::name).collect();
        let got = match counted.is_empty() {
            true => "none of them".to_owned(),
            false => format!("{}: {}", counted.len(), counted.join(", ")),
        };
        Check::judge(name, counted.len() >= self.quorum, expected, got)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.quorum == 0 && self.keys.is_empty() {
            return Ok(());
        }
        let quorum = Quorum::new(self.quorum.max(1), self.keys.clone());
        quorum.map(|_| ()).map_err(|error| PolicyError::Witnesses { reason: error.to_string() })
    }
}

fn witness_keys<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<WitnessKey>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    let parse = |text: &String| {
        WitnessKey::parse(text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::CheckResult::{Fail, NotRequired, Pass};

    fn key(n: u8) -> WitnessKey {
        WitnessKey::new(&format!("witness-{n}.example"), [n; 32]).unwrap()
    }

    fn rule(quorum: usize, keys: &[u8]) -> WitnessRule {
        WitnessRule { quorum, keys: keys.iter().map(|n| key(*n)).collect() }
    }

    #[test]
    fn counts_only_named_witnesses_and_each_once() {
        let two_of_three = rule(2, &[1, 2, 3]);
        let judged = |cosigners: &[u8]| {
            let cosigners: Vec<_> = cosigners.iter().map(|n| key(*n)).collect();
            two_of_three.judge(Some(&cosigners)).result
        };
        assert_eq!(judged(&[1, 3]), Pass);
        assert_eq!(judged(&[1, 2, 3]), Pass);
        for too_few in [&[][..], &[1], &[1, 1], &[1, 9], &[7, 8, 9]] {
            assert_eq!(judged(too_few), Fail, "{too_few:?}");
        }
        assert_eq!(two_of_three.judge(None).result, Fail);
        assert_eq!(rule(0, &[]).judge(None).result, NotRequired);
    }

    #[test]
    fn a_name_with_another_key_does_not_count() {
        let impostor = WitnessKey::new("witness-1.example", [9; 32]).unwrap();
        assert_eq!(rule(1, &[1]).judge(Some(&[impostor])).result, Fail);
    }

    #[test]
    fn refuses_rules_that_cannot_be_met_or_count_one_twice() {
        let mut renamed = rule(1, &[1]);
        renamed.keys.push(WitnessKey::new("other.example", [1; 32]).unwrap());
        for bad in [rule(2, &[1]), rule(1, &[1, 1]), rule(0, &[1, 1]), rule(1, &[]), renamed] {
            assert!(matches!(bad.check(), Err(PolicyError::Witnesses { .. })), "{bad:?}");
        }
        for good in [rule(2, &[1, 2]), rule(0, &[]), rule(0, &[1])] {
            assert_eq!(good.check(), Ok(()));
        }
    }
}
