//! What Intel thinks of a platform's security versions: the TCB levels it reaches.
//!
//! The rules are those of Intel's documents (*PCS API v4*, "Get TCB Info", TCB status algorithm) and
//! verification library: the first level all of whose versions are reached by platform (PCK
//! certificate), provisioning enclave and TDX components; where the TDX module has a generation, its
//! own level beside that, and the first two TDX components are left to it; then the quoting enclave.
//! A missing update anywhere makes the whole out of date, a revoked part makes it revoked. Since TDX
//! 1.5 the module can be updated under a running TD, so the versions that run now are judged too, and
//! a TD launched on old ones over current ones is advised to relaunch.

use super::body::Body;
use super::pck::Platform;
use super::quote::QeReport;
use crate::endorsement::intel::{
    EnclaveLevel, Module, ModuleIdentity, ModuleLevel, QeIdentity, TcbInfo, TcbLevel, TcbStatus,
};

/// What the levels add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// In Intel's word.
    pub status: TcbStatus,
    /// Seconds since 1970: the earliest date of platform and module level.
    pub date: i64,
    /// Everything that applies, each once: platform, module, quoting enclave.
    pub advisory_ids: Vec<String>,
    /// Lowest of the evaluation numbers of what was consulted.
    pub evaluation_number: u32,
}

/// Why no level matches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLevel {
    /// Security versions below every level.
    #[error("no TCB level matches: older than the lowest one listed ({which} TEE_TCB_SVN)")]
    Platform {
        /// Those at launch, or those that run now.
        which: &'static str,
    },
    /// A generation of modules the TCB info does not list.
    #[error("no TDX module {id} in the TCB info ({which} TEE_TCB_SVN)")]
    ModuleUnknown {
        /// Its name.
        id: String,
        /// See above.
        which: &'static str,
    },
    /// A module below every level of its generation.
    #[error("no level of TDX module {id} matches version {isv_svn} ({which} TEE_TCB_SVN)")]
    Module {
        /// Its name.
        id: String,
        /// Its version.
        isv_svn: u8,
        /// See above.
        which: &'static str,
    },
    /// A quoting enclave below every level.
    #[error("no level of the quoting enclave matches version {isv_svn}")]
    QuotingEnclave {
        /// Its version.
        isv_svn: u16,
    },
    /// The level that matches has a status nobody defined.
    #[error("the level that matches has a status this version does not know")]
    UnrecognisedStatus,
}

/// Evaluates a platform, what was reported on it, and the enclave that quoted it.
pub fn evaluate(
    platform: &Platform,
    body: &Body,
    qe: &QeReport<'_>,
    info: &TcbInfo,
    identity: &QeIdentity,
) -> Result<Evaluation, NoLevel> {
    let enclave = enclave_level(identity, qe.isv_svn)?;
    let launch = part(platform, &body.tee_tcb_svn, info, "launch")?;
    let mut status = converge(launch.status, enclave.status);
    if let Some(now) = &body.tee_tcb_svn2 {
        let current = part(platform, now, info, "current")?;
        status = relaunch(status, converge(current.status, enclave.status));
    }
    let mut advisory_ids = launch.advisory_ids;
    add_missing(&mut advisory_ids, &enclave.advisory_ids);
    Ok(Evaluation {
        status,
        date: launch.date,
        advisory_ids,
        evaluation_number: info.evaluation_number.min(identity.evaluation_number),
    })
}

/// Platform and module together, for one set of TDX security versions.
struct Part {
    status: TcbStatus,
    date: i64,
    advisory_ids: Vec<String>,
}

fn part(
    platform: &Platform,
    tee_tcb_svn: &[u8; 16],
    info: &TcbInfo,
    which: &'static str,
) -> Result<Part, NoLevel> {
    let reached = |level: &&TcbLevel| reaches(platform, tee_tcb_svn, level);
    let level = info.levels.iter().find(reached).ok_or(NoLevel::Platform { which })?;
    let mut part = Part {
        status: recognised(level.status)?,
        date: level.date,
        advisory_ids: level.advisory_ids.clone(),
    };
    if let Some(module) = module_level(tee_tcb_svn, info, which)? {
        part.status = converge(part.status, recognised(module.status)?);
        part.date = part.date.min(module.date);
        add_missing(&mut part.advisory_ids, &module.advisory_ids);
    }
    Ok(part)
}

fn reaches(platform: &Platform, tee_tcb_svn: &[u8; 16], level: &TcbLevel) -> bool {
    let all = |have: &[u8; 16], wanted: &[u16; 16], skip: usize| {
        have.iter().zip(wanted).skip(skip).all(|(have, wanted)| u16::from(*have) >= *wanted)
    };
    // The first two are the module's, which has levels of its own where it has a generation.
    let skip = if generation(tee_tcb_svn) > 0 { 2 } else { 0 };
    all(&platform.components, &level.sgx, 0)
        && platform.pce_svn >= level.pce_svn
        && all(tee_tcb_svn, &level.tdx, skip)
}

/// Generation of the TDX module.
fn generation(tee_tcb_svn: &[u8; 16]) -> u8 {
    tee_tcb_svn[1]
}

/// What the TCB info calls the modules of a generation.
fn module_id(generation: u8) -> String {
    format!("TDX_{generation:02x}")
}

fn module_identity<'a>(tee_tcb_svn: &[u8; 16], info: &'a TcbInfo) -> Option<&'a ModuleIdentity> {
    let id = module_id(generation(tee_tcb_svn));
    info.module_identities.iter().find(|identity| identity.id.eq_ignore_ascii_case(&id))
}

fn module_level<'a>(
    tee_tcb_svn: &[u8; 16],
    info: &'a TcbInfo,
    which: &'static str,
) -> Result<Option<&'a ModuleLevel>, NoLevel> {
    if generation(tee_tcb_svn) == 0 {
        return Ok(None);
    }
    let id = module_id(generation(tee_tcb_svn));
    let Some(identity) = module_identity(tee_tcb_svn, info) else {
        return Err(NoLevel::ModuleUnknown { id, which });
    };
    let isv_svn = tee_tcb_svn[0];
    let mut levels = identity.levels.iter();
    let level = levels.find(|level| u16::from(isv_svn) >= level.isv_svn);
    level.map(Some).ok_or(NoLevel::Module { id, isv_svn, which })
}

fn enclave_level(identity: &QeIdentity, isv_svn: u16) -> Result<&EnclaveLevel, NoLevel> {
    let mut levels = identity.levels.iter();
    let level = levels.find(|level| isv_svn >= level.isv_svn);
    let level = level.ok_or(NoLevel::QuotingEnclave { isv_svn })?;
    recognised(level.status).map(|_| level)
}

/// Which module the TCB info expects a TD of this launch to run under.
pub(super) fn expected_module<'a>(body: &Body, info: &'a TcbInfo) -> Option<&'a Module> {
    match generation(&body.tee_tcb_svn) {
        0 => info.module.as_ref(),
        _ => module_identity(&body.tee_tcb_svn, info).map(|identity| &identity.module),
    }
}

fn recognised(status: TcbStatus) -> Result<TcbStatus, NoLevel> {
    match status {
        TcbStatus::Unrecognised => Err(NoLevel::UnrecognisedStatus),
        known => Ok(known),
    }
}

/// A platform's status, and that of a part of it: only a missing update or a revocation of the part
/// changes the whole.
fn converge(whole: TcbStatus, part: TcbStatus) -> TcbStatus {
    use TcbStatus as S;
    match (part, whole) {
        (S::Revoked, _) => S::Revoked,
        (S::OutOfDate, S::UpToDate | S::SwHardeningNeeded) => S::OutOfDate,
        (S::OutOfDate, S::ConfigurationNeeded | S::ConfigurationAndSwHardeningNeeded) => {
            S::OutOfDateConfigurationNeeded
        }
        _ => whole,
    }
}

/// The status at launch, and that of what runs now. Unlike Intel's library, a revoked part that runs
/// now makes the whole revoked, too.
fn relaunch(launch: TcbStatus, current: TcbStatus) -> TcbStatus {
    use TcbStatus as S;
    let is_current = matches!(
        current,
        S::UpToDate
            | S::SwHardeningNeeded
            | S::ConfigurationNeeded
            | S::ConfigurationAndSwHardeningNeeded
    );
    let needs_configuration =
        matches!(current, S::ConfigurationNeeded | S::ConfigurationAndSwHardeningNeeded);
    match launch {
        _ if current == S::Revoked => S::Revoked,
        S::OutOfDate if is_current && !needs_configuration => S::TdRelaunchAdvised,
        S::OutOfDate | S::OutOfDateConfigurationNeeded if is_current => {
            S::TdRelaunchAdvisedConfigurationNeeded
        }
        other => other,
    }
}

fn add_missing(ids: &mut Vec<String>, more: &[String]) {
    for id in more {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TcbStatus as S;
    use super::*;

    #[test]
    fn a_part_out_of_date_or_revoked_changes_the_whole() {
        for (whole, part, expected) in [
            (S::UpToDate, S::UpToDate, S::UpToDate),
            (S::UpToDate, S::OutOfDate, S::OutOfDate),
            (S::SwHardeningNeeded, S::OutOfDate, S::OutOfDate),
            (S::ConfigurationNeeded, S::OutOfDate, S::OutOfDateConfigurationNeeded),
            (S::ConfigurationAndSwHardeningNeeded, S::OutOfDate, S::OutOfDateConfigurationNeeded),
            (S::OutOfDate, S::OutOfDate, S::OutOfDate),
            (S::UpToDate, S::Revoked, S::Revoked),
            (S::Revoked, S::UpToDate, S::Revoked),
            (S::UpToDate, S::ConfigurationNeeded, S::UpToDate),
        ] {
            assert_eq!(converge(whole, part), expected, "{whole} {part}");
        }
    }

    #[test]
    fn a_launch_on_old_versions_over_current_ones_advises_a_relaunch() {
        for (launch, current, expected) in [
            (S::OutOfDate, S::UpToDate, S::TdRelaunchAdvised),
            (S::OutOfDate, S::SwHardeningNeeded, S::TdRelaunchAdvised),
            (S::OutOfDate, S::ConfigurationNeeded, S::TdRelaunchAdvisedConfigurationNeeded),
            (S::OutOfDateConfigurationNeeded, S::UpToDate, S::TdRelaunchAdvisedConfigurationNeeded),
            (S::OutOfDate, S::OutOfDate, S::OutOfDate),
            (S::UpToDate, S::OutOfDate, S::UpToDate),
            (S::OutOfDate, S::Revoked, S::Revoked),
            (S::UpToDate, S::Revoked, S::Revoked),
            (S::Revoked, S::UpToDate, S::Revoked),
            (S::ConfigurationNeeded, S::UpToDate, S::ConfigurationNeeded),
        ] {
            assert_eq!(relaunch(launch, current), expected, "{launch} {current}");
        }
    }
}
