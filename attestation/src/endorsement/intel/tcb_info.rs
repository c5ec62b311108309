//! TCB info (version 3, for TDX): which security versions Intel knows for one kind of platform, and
//! what it thinks of them.

use serde::{Deserialize, Serialize};

use super::{Dated, hex, seconds};

/// The only version that speaks of TDX.
const VERSION: u32 = 3;
/// The `id` of TCB info about TDX; the one about SGX is another document.
const ID: &str = "TDX";
/// Components of a TCB.
const COMPONENTS: usize = 16;
/// Most levels, modules or advisories in one list (ours; real documents have under 30).
const MAX_ENTRIES: usize = 256;
/// Longest name of an advisory or module in bytes (ours; real ones are 14).
const MAX_NAME_BYTES: usize = 64;

/// What Intel calls the state of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TcbStatus {
    /// Current.
    UpToDate,
    /// Current, as far as software mitigations are in place.
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    /// Current, and a setting may have to change.
    ConfigurationNeeded,
    /// Both of these.
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    /// An update is missing.
    OutOfDate,
    /// An update is missing, and a setting may have to change.
    OutOfDateConfigurationNeeded,
    /// The TD was launched before an update that the platform has now (TDX 1.5).
    #[serde(rename = "TDRelaunchAdvised")]
    TdRelaunchAdvised,
    /// The same, and a setting may have to change.
    #[serde(rename = "TDRelaunchAdvisedConfigurationNeeded")]
    TdRelaunchAdvisedConfigurationNeeded,
    /// Not to be trusted any more.
    Revoked,
    /// A word this version does not know.
    #[serde(other)]
    Unrecognised,
}

impl TcbStatus {
    /// Intel's word.
    pub fn as_str(self) -> &'static str {
        match self {
            TcbStatus::UpToDate => "UpToDate",
            TcbStatus::SwHardeningNeeded => "SWHardeningNeeded",
            TcbStatus::ConfigurationNeeded => "ConfigurationNeeded",
            TcbStatus::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            TcbStatus::OutOfDate => "OutOfDate",
            TcbStatus::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            TcbStatus::TdRelaunchAdvised => "TDRelaunchAdvised",
            TcbStatus::TdRelaunchAdvisedConfigurationNeeded => {
                "TDRelaunchAdvisedConfigurationNeeded"
            }
            TcbStatus::Revoked => "Revoked",
            TcbStatus::Unrecognised => "Unrecognised",
        }
    }
}

impl std::fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One level: whoever reaches all its security versions has at least this status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcbLevel {
    /// Security versions of the platform's components. A byte by their definition; Intel's sample
    /// has greater numbers, which then no platform reaches.
    pub sgx: [u16; COMPONENTS],
    /// Security version of the provisioning enclave.
    pub pce_svn: u16,
    /// Security versions of TDX's components.
    pub tdx: [u16; COMPONENTS],
    /// What Intel thinks of it.
    pub status: TcbStatus,
    /// Seconds since 1970: what was known then is taken care of.
    pub date: i64,
    /// What applies to it.
    pub advisory_ids: Vec<String>,
}

/// Who may have signed a TDX module, and its attributes under a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// MRSIGNERSEAM.
    pub mrsigner: [u8; 48],
    /// SEAMATTRIBUTES.
    pub attributes: [u8; 8],
    /// Which bits of the attributes count.
    pub attributes_mask: [u8; 8],
}

/// One level of a TDX module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleLevel {
    /// Security version, which a module must reach.
    pub isv_svn: u16,
    /// What Intel thinks of it.
    pub status: TcbStatus,
    /// Seconds since 1970.
    pub date: i64,
    /// What applies to it.
    pub advisory_ids: Vec<String>,
}

/// A generation of TDX modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleIdentity {
    /// `TDX_` and the generation in two digits of hex.
    pub id: String,
    /// Who signs it.
    pub module: Module,
    /// Its levels, highest first.
    pub levels: Vec<ModuleLevel>,
}

/// TCB info about TDX on one kind of platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcbInfo {
    /// The kind of platform.
    pub fmspc: [u8; 6],
    /// The kind of provisioning enclave.
    pub pce_id: [u8; 2],
    /// See [`Dated`].
    pub issue_date: i64,
    /// See [`Dated`].
    pub next_update: i64,
    /// See [`Dated`].
    pub evaluation_number: u32,
    /// The TDX module where its generation is 0.
    pub module: Option<Module>,
    /// The TDX modules of later generations.
    pub module_identities: Vec<ModuleIdentity>,
    /// Highest first, in the order of Intel's verification library: platform components, then
    /// provisioning enclave, then TDX components.
    pub levels: Vec<TcbLevel>,
}

impl Dated for TcbInfo {
    fn issue_date(&self) -> i64 {
        self.issue_date
    }
    fn next_update(&self) -> i64 {
        self.next_update
    }
    fn evaluation_number(&self) -> u32 {
        self.evaluation_number
    }
}

impl TcbInfo {
    /// Reads the JSON object; `None` where it is not TCB info about TDX.
    pub(super) fn read(json: &str) -> Option<TcbInfo> {
        let document: Document = serde_json::from_str(json).ok()?;
        let lengths = [document.tcb_levels.len(), document.tdx_module_identities.len()];
        let fits = lengths.iter().all(|length| *length <= MAX_ENTRIES);
        if document.id != ID || document.version != VERSION || !fits {
            return None;
        }
        let mut levels: Vec<TcbLevel> =
            document.tcb_levels.into_iter().map(LevelDocument::read).collect::<Option<_>>()?;
        levels.sort_by_key(|level| std::cmp::Reverse((level.sgx, level.pce_svn, level.tdx)));
        Some(TcbInfo {
            fmspc: hex(&document.fmspc)?,
            pce_id: hex(&document.pce_id)?,
            issue_date: seconds(&document.issue_date)?,
            next_update: seconds(&document.next_update)?,
            evaluation_number: document.tcb_evaluation_data_number,
            module: match &document.tdx_module {
                Some(module) => Some(module.read()?),
                None => None,
            },
            module_identities: document
                .tdx_module_identities
                .into_iter()
                .map(IdentityDocument::read)
                .collect::<Option<_>>()?,
            levels,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_evaluation_data_number: u32,
    tdx_module: Option<ModuleDocument>,
    #[serde(default)]
    tdx_module_identities: Vec<IdentityDocument>,
    tcb_levels: Vec<LevelDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleDocument {
    mrsigner: String,
    attributes: String,
    attributes_mask: String,
}

impl ModuleDocument {
    fn read(&self) -> Option<Module> {
        Some(Module {
            mrsigner: hex(&self.mrsigner)?,
            attributes: hex(&self.attributes)?,
            attributes_mask: hex(&self.attributes_mask)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityDocument {
    id: String,
    #[serde(flatten)]
    module: ModuleDocument,
    tcb_levels: Vec<EnclaveLevelDocument>,
}

impl IdentityDocument {
    fn read(self) -> Option<ModuleIdentity> {
        let mut levels: Vec<ModuleLevel> = enclave_levels(self.tcb_levels)?;
        levels.sort_by_key(|level| std::cmp::Reverse(level.isv_svn));
        let fits = self.id.len() <= MAX_NAME_BYTES;
        fits.then_some(ModuleIdentity { module: self.module.read()?, id: self.id, levels })
    }
}

/// A level of a TDX module, or of an enclave.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnclaveLevelDocument {
    tcb: EnclaveTcb,
    tcb_date: String,
    tcb_status: TcbStatus,
    #[serde(rename = "advisoryIDs", default)]
    advisory_ids: Vec<String>,
}

#[derive(Deserialize)]
struct EnclaveTcb {
    isvsvn: u16,
}

pub(super) fn enclave_levels(documents: Vec<EnclaveLevelDocument>) -> Option<Vec<ModuleLevel>> {
    if documents.len() > MAX_ENTRIES {
        return None;
    }
    let level = |document: EnclaveLevelDocument| {
        Some(ModuleLevel {
            isv_svn: document.tcb.isvsvn,
            status: document.tcb_status,
            date: seconds(&document.tcb_date)?,
            advisory_ids: advisories(document.advisory_ids)?,
        })
    };
    documents.into_iter().map(level).collect()
}

fn advisories(ids: Vec<String>) -> Option<Vec<String>> {
    let fits = ids.len() <= MAX_ENTRIES && ids.iter().all(|id| id.len() <= MAX_NAME_BYTES);
    fits.then_some(ids)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LevelDocument {
    tcb: TcbDocument,
    tcb_date: String,
    tcb_status: TcbStatus,
    #[serde(rename = "advisoryIDs", default)]
    advisory_ids: Vec<String>,
}

#[derive(Deserialize)]
struct TcbDocument {
    sgxtcbcomponents: [Component; COMPONENTS],
    tdxtcbcomponents: [Component; COMPONENTS],
    pcesvn: u16,
}

#[derive(Deserialize)]
struct Component {
    svn: u16,
}

impl LevelDocument {
    fn read(self) -> Option<TcbLevel> {
        Some(TcbLevel {
            sgx: self.tcb.sgxtcbcomponents.map(|component| component.svn),
            pce_svn: self.tcb.pcesvn,
            tdx: self.tcb.tdxtcbcomponents.map(|component| component.svn),
            status: self.tcb_status,
            date: seconds(&self.tcb_date)?,
            advisory_ids: advisories(self.advisory_ids)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str, first: u8, second: u8) -> String {
        let components = |svn: u8| {
            let all: Vec<String> = (0..COMPONENTS).map(|_| format!("{{\"svn\":{svn}}}")).collect();
            all.join(",")
        };
        let level = |svn: u8| {
            let all = components(svn);
            format!(
                r#"{{"tcb":{{"sgxtcbcomponents":[{all}],"pcesvn":11,"tdxtcbcomponents":[{all}]}},
                "tcbDate":"2024-11-13T00:00:00Z","tcbStatus":"Odd"}}"#
            )
        };
        format!(
            r#"{{"id":"{id}","version":3,"issueDate":"2026-01-01T00:00:00Z","nextUpdate":
            "2026-02-01T00:00:00Z","fmspc":"B0c06F000000","pceId":"0000","tcbType":0,
            "tcbEvaluationDataNumber":18,"tcbLevels":[{},{}]}}"#,
            level(first),
            level(second)
        )
    }

    #[test]
    fn sorts_levels_highest_first_and_reads_fmspc_in_either_case() {
        let info = TcbInfo::read(&info("TDX", 1, 2)).unwrap();
        assert_eq!(info.fmspc, [0xb0, 0xc0, 0x6f, 0, 0, 0]);
        assert_eq!(info.levels.iter().map(|level| level.sgx[0]).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(info.levels[0].status, TcbStatus::Unrecognised);
        assert!(info.is_current(info.issue_date) && info.is_current(info.next_update));
        assert!(!info.is_current(info.issue_date - 1) && !info.is_current(info.next_update + 1));
    }

    #[test]
    fn lists_have_their_limits() {
        let levels = |count: usize| {
            let level =
                r#"{"tcb":{"isvsvn":1},"tcbDate":"2024-11-13T00:00:00Z","tcbStatus":"UpToDate"}"#;
            let all = vec![level; count].join(",");
            let documents = serde_json::from_str(&format!("[{all}]")).unwrap();
            enclave_levels(documents).map(|levels| levels.len())
        };
        assert_eq!((levels(256), levels(257)), (Some(256), None));
        let ids = |count: usize, bytes: usize| advisories(vec!["x".repeat(bytes); count]).is_some();
        assert!(ids(256, 64) && !ids(257, 64) && !ids(1, 65));
    }

    #[test]
    fn refuses_info_about_sgx_and_lists_of_another_length() {
        assert!(TcbInfo::read(&info("SGX", 1, 2)).is_none());
        assert!(TcbInfo::read(&info("TDX", 1, 2).replacen("{\"svn\":1},", "", 1)).is_none());
        assert!(TcbInfo::read("{}").is_none());
        let of_version = |version: u32| {
            let text =
                info("TDX", 1, 2).replacen("\"version\":3", &format!("\"version\":{version}"), 1);
            TcbInfo::read(&text).is_some()
        };
        assert_eq!([2, 3, 4].map(of_version), [false, true, false]);
        assert_eq!(TcbInfo::read(&info("TDX", 1, 2)).unwrap().evaluation_number(), 18);
    }

    #[test]
    fn every_status_is_written_as_it_is_read() {
        for word in ["UpToDate", "SWHardeningNeeded", "TDRelaunchAdvised", "Revoked"] {
            let status: TcbStatus = serde_json::from_str(&format!("\"{word}\"")).unwrap();
            assert_eq!(status.to_string(), word);
        }
    }
}
