//! The identity of Intel's TD quoting enclave, and what Intel thinks of its versions.

use serde::Deserialize;

use super::tcb_info::{EnclaveLevelDocument, ModuleLevel, enclave_levels};
use super::{Dated, hex, seconds};

/// Versions of the format understood.
const VERSIONS: [u32; 2] = [2, 3];
/// The `id` of the enclave that quotes TDs; `QE` and `QVE` are others.
const ID: &str = "TD_QE";

/// One level of an enclave: the same facts as of a TDX module.
pub type EnclaveLevel = ModuleLevel;

/// What a genuine TD quoting enclave looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QeIdentity {
    /// See [`Dated`].
    pub issue_date: i64,
    /// See [`Dated`].
    pub next_update: i64,
    /// See [`Dated`].
    pub evaluation_number: u32,
    /// MISCSELECT, under its mask; bytes in the order of the report.
    pub miscselect: [u8; 4],
    /// Which bits of MISCSELECT count.
    pub miscselect_mask: [u8; 4],
    /// ATTRIBUTES, under its mask.
    pub attributes: [u8; 16],
    /// Which bits of ATTRIBUTES count.
    pub attributes_mask: [u8; 16],
    /// Who signed the enclave.
    pub mrsigner: [u8; 32],
    /// Which of its enclaves.
    pub isv_prod_id: u16,
    /// Its levels, highest first.
    pub levels: Vec<EnclaveLevel>,
}

impl Dated for QeIdentity {
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

impl QeIdentity {
    /// Reads the JSON object; `None` where it is not the identity of the TD quoting enclave.
    pub(super) fn read(json: &str) -> Option<QeIdentity> {
        let document: Document = serde_json::from_str(json).ok()?;
        if document.id != ID || !VERSIONS.contains(&document.version) {
            return None;
        }
        let mut levels = enclave_levels(document.tcb_levels)?;
        levels.sort_by_key(|level| std::cmp::Reverse(level.isv_svn));
        Some(QeIdentity {
            issue_date: seconds(&document.issue_date)?,
            next_update: seconds(&document.next_update)?,
            evaluation_number: document.tcb_evaluation_data_number,
            miscselect: hex(&document.miscselect)?,
            miscselect_mask: hex(&document.miscselect_mask)?,
            attributes: hex(&document.attributes)?,
            attributes_mask: hex(&document.attributes_mask)?,
            mrsigner: hex(&document.mrsigner)?,
            isv_prod_id: document.isvprodid,
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
    tcb_evaluation_data_number: u32,
    miscselect: String,
    miscselect_mask: String,
    attributes: String,
    attributes_mask: String,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<EnclaveLevelDocument>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str, version: u32) -> String {
        let (zeros, ones) = ("00".repeat(16), "FF".repeat(16));
        format!(
            r#"{{"id":"{id}","version":{version},"issueDate":"2026-01-01T00:00:00Z",
            "nextUpdate":"2026-02-01T00:00:00Z","tcbEvaluationDataNumber":18,
            "miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"{zeros}",
            "attributesMask":"{ones}","mrsigner":"{zeros}{zeros}","isvprodid":2,"tcbLevels":[]}}"#
        )
    }

    #[test]
    fn the_enclave_that_quotes_tds_is_read_in_two_versions_and_no_other_enclave() {
        let read = |id: &str, version: u32| QeIdentity::read(&identity(id, version)).is_some();
        assert_eq!([1, 2, 3, 4].map(|version| read("TD_QE", version)), [false, true, true, false]);
        assert!(!read("QE", 2) && !read("QVE", 3));
        let read = QeIdentity::read(&identity("TD_QE", 2)).unwrap();
        assert_eq!((read.evaluation_number(), read.isv_prod_id), (18, 2));
    }
}
