//! Policy for Intel TDX evidence.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Accept, Demand, Limit, Tolerance};
use crate::endorsement::intel::TcbStatus;
use crate::hex::Hex;

/// Rules for TDX evidence. A TD with DEBUG, and one for whose TCB Intel's collateral has no level (or
/// a revoked one), are refused by every policy: there is no key for either. So collateral is always
/// demanded, inside its dates; how old it may be is asked here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// Oldest quote version taken.
    pub minimum_quote_version: u16,
    /// TCB states taken, in Intel's words.
    #[serde(deserialize_with = "statuses")]
    pub tcb_statuses: Accept<TcbStatus>,
    /// Lowest of Intel's counters of TCB recoveries that collateral must take into account.
    pub minimum_tcb_evaluation_data_number: u32,
    /// Greatest age of the collateral in seconds.
    pub maximum_collateral_age_seconds: Limit,
    /// Advisories that may apply to the platform.
    pub advisories: Accept<String>,
    /// Advisories that must not apply, whatever the list above says.
    pub refused_advisories: Vec<String>,
    /// Current revocation lists for platform and authority.
    pub revocation: Demand,
    /// Platforms taken, by platform instance id or PPID.
    pub chip_ids: Accept<Hex<16>>,
    /// Values of MRTD taken.
    pub measurements: Accept<Hex<48>>,
    /// Values of RTMR 0 taken: firmware configuration.
    pub rtmr0: Accept<Hex<48>>,
    /// Values of RTMR 1 taken: boot loader, kernel.
    pub rtmr1: Accept<Hex<48>>,
    /// Values of RTMR 2 taken: kernel command line, initial file system.
    pub rtmr2: Accept<Hex<48>>,
    /// Values of RTMR 3 taken: what the workload added.
    pub rtmr3: Accept<Hex<48>>,
    /// TDX modules taken, by their measurement. Intel's signature and the module's level are
    /// always asked.
    pub mrseam: Accept<Hex<48>>,
    /// Values of MRCONFIGID taken.
    pub mrconfigid: Accept<Hex<48>>,
    /// Values of MROWNER taken.
    pub mrowner: Accept<Hex<48>>,
    /// Values of MROWNERCONFIG taken.
    pub mrownerconfig: Accept<Hex<48>>,
    /// SEPT_VE_DISABLE.
    pub sept_ve_disable: Demand,
    /// TDs whose performance counters the host may watch.
    pub profiling: Tolerance,
    /// TDs that a service TD may move to another platform.
    pub migration: Tolerance,
    /// TDs with service TDs bound to them (MRSERVICETD not zero).
    pub service_td: Tolerance,
}

/// In a policy a word Intel does not use is a slip of the pen.
fn statuses<'de, D: Deserializer<'de>>(d: D) -> Result<Accept<TcbStatus>, D::Error> {
    let accept = Accept::deserialize(d)?;
    match &accept {
        Accept::Only(words) if words.contains(&TcbStatus::Unrecognised) => {
            Err(D::Error::custom("a TCB status that is not one of Intel's words"))
        }
        _ => Ok(accept),
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{Policy, PolicyError};

    const STRICT: &str = include_str!("../../../policies/appraisal/strict.toml");

    /// The shipped strict policy with one line of its section `[tdx]` changed.
    fn changed(from: &str, to: &str) -> Result<Policy, PolicyError> {
        let (before, tdx) = STRICT.split_at(STRICT.find("\n[tdx]\n").unwrap());
        assert!(tdx.contains(from), "{from}");
        Policy::from_toml(&format!("{before}{}", tdx.replacen(from, to, 1)))
    }

    #[test]
    fn refuses_a_status_in_other_words_than_intels() {
        assert!(changed("[\"UpToDate\"]", "[\"UpToDate\", \"OutOfDate\"]").is_ok());
        for wrong in ["[\"uptodate\"]", "[\"Unrecognised\"]", "\"all\"", "[1]"] {
            let error = changed("[\"UpToDate\"]", wrong).unwrap_err();
            assert!(matches!(error, PolicyError::Syntax { .. }), "{wrong}: {error}");
        }
    }

    #[test]
    fn refuses_unknown_keys_and_missing_ones() {
        let unknown =
            changed("minimum_quote_version = 4", "minimum_quote_version = 4\ndebug = true");
        assert!(unknown.unwrap_err().to_string().contains("unknown field"));
        let missing = changed("sept_ve_disable = \"required\"", "");
        assert!(missing.unwrap_err().to_string().contains("missing field"));
    }

    #[test]
    fn refuses_any_td_on_real_hardware() {
        let any = changed("measurements = []", "measurements = \"any\"");
        assert_eq!(any, Err(PolicyError::AnyMeasurement));
    }
}
