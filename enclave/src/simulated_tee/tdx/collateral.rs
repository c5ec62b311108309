//! TCB info and the quoting enclave's identity, every field settable, as Intel's service writes them.

use data_encoding::{HEXLOWER, HEXUPPER};
use serde_json::json;

use super::signer::{KeyError, Signer};

/// From when to when a statement speaks, RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub issue_date: String,
    /// Last second.
    pub next_update: String,
}

/// A level of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Components of the platform.
    pub sgx: [u8; 16],
    /// Provisioning enclave.
    pub pce_svn: u16,
    /// Components of TDX.
    pub tdx: [u8; 16],
    /// Intel's word.
    pub status: String,
    /// RFC 3339.
    pub date: String,
    /// What applies.
    pub advisory_ids: Vec<String>,
}

/// A level of a module or enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnclaveLevel {
    /// Security version.
    pub isv_svn: u16,
    /// Intel's word.
    pub status: String,
    /// What applies.
    pub advisory_ids: Vec<String>,
}

/// A generation of TDX modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// `TDX_01`.
    pub id: String,
    /// Signer.
    pub mrsigner: [u8; 48],
    /// Levels.
    pub levels: Vec<EnclaveLevel>,
}

/// TCB info about TDX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcbInfoTemplate {
    /// `TDX`.
    pub id: String,
    /// When it speaks.
    pub window: Window,
    /// Kind of platform.
    pub fmspc: [u8; 6],
    /// Kind of provisioning enclave.
    pub pce_id: [u8; 2],
    /// Counter of TCB recoveries.
    pub evaluation_number: u32,
    /// Modules.
    pub modules: Vec<Module>,
    /// Levels.
    pub levels: Vec<Level>,
}

/// Identity of the TD quoting enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QeIdentityTemplate {
    /// `TD_QE`.
    pub id: String,
    /// When it speaks.
    pub window: Window,
    /// Counter of TCB recoveries.
    pub evaluation_number: u32,
    /// Signer.
    pub mrsigner: [u8; 32],
    /// ATTRIBUTES, all bits of which count but those of the real mask.
    pub attributes: [u8; 16],
    /// MISCSELECT, all bits of which count.
    pub miscselect: [u8; 4],
    /// Product.
    pub isv_prod_id: u16,
    /// Levels.
    pub levels: Vec<EnclaveLevel>,
}

/// Date of every level of a module or enclave.
const LEVEL_DATE: &str = "2024-11-13T00:00:00Z";

impl TcbInfoTemplate {
    /// The JSON that is signed.
    pub fn json(&self) -> String {
        let components = |svns: &[u8; 16]| {
            let all: Vec<_> = svns.iter().map(|svn| json!({ "svn": svn })).collect();
            json!(all)
        };
        let levels: Vec<_> = self
            .levels
            .iter()
            .map(|level| {
                json!({
                    "tcb": {
                        "sgxtcbcomponents": components(&level.sgx),
                        "pcesvn": level.pce_svn,
                        "tdxtcbcomponents": components(&level.tdx),
                    },
                    "tcbDate": level.date,
                    "tcbStatus": level.status,
                    "advisoryIDs": level.advisory_ids,
                })
            })
            .collect();
        let modules: Vec<_> = self.modules.iter().map(Module::json).collect();
        json!({
            "id": self.id,
            "version": 3,
            "issueDate": self.window.issue_date,
            "nextUpdate": self.window.next_update,
            "fmspc": HEXUPPER.encode(&self.fmspc),
            "pceId": HEXLOWER.encode(&self.pce_id),
            "tcbType": 0,
            "tcbEvaluationDataNumber": self.evaluation_number,
            "tdxModule": {
                "mrsigner": "00".repeat(48),
                "attributes": "00".repeat(8),
                "attributesMask": "FF".repeat(8),
            },
            "tdxModuleIdentities": modules,
            "tcbLevels": levels,
        })
        .to_string()
    }

    /// As Intel's service answers.
    pub fn response(&self, signer: &Signer) -> Result<String, KeyError> {
        response("tcbInfo", &self.json(), signer)
    }
}

impl Module {
    fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "mrsigner": HEXLOWER.encode(&self.mrsigner),
            "attributes": "00".repeat(8),
            "attributesMask": "FF".repeat(8),
            "tcbLevels": self.levels.iter().map(EnclaveLevel::json).collect::<Vec<_>>(),
        })
    }
}

impl EnclaveLevel {
    fn json(&self) -> serde_json::Value {
        json!({
            "tcb": { "isvsvn": self.isv_svn },
            "tcbDate": LEVEL_DATE,
            "tcbStatus": self.status,
            "advisoryIDs": self.advisory_ids,
        })
    }
}

impl QeIdentityTemplate {
    /// The JSON that is signed.
    pub fn json(&self) -> String {
        json!({
            "id": self.id,
            "version": 2,
            "issueDate": self.window.issue_date,
            "nextUpdate": self.window.next_update,
            "tcbEvaluationDataNumber": self.evaluation_number,
            "miscselect": HEXUPPER.encode(&self.miscselect),
            "miscselectMask": "FFFFFFFF",
            "attributes": HEXUPPER.encode(&self.attributes),
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": HEXUPPER.encode(&self.mrsigner),
            "isvprodid": self.isv_prod_id,
            "tcbLevels": self.levels.iter().map(EnclaveLevel::json).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// As Intel's service answers.
    pub fn response(&self, signer: &Signer) -> Result<String, KeyError> {
        response("enclaveIdentity", &self.json(), signer)
    }
}

fn response(name: &str, json: &str, signer: &Signer) -> Result<String, KeyError> {
    let signature = HEXLOWER.encode(&signer.sign(json.as_bytes())?);
    Ok(format!("{{\"{name}\":{json},\"signature\":\"{signature}\"}}"))
}
