//! Azure's vTPM form and Hygon's documents.

use bulla_attestation::result::{CheckName, CheckResult};
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::{Case, Outcome, Run, TODAY, affirmed, is_not_there, refused, text, with_companions};

impl Run {
    pub fn azure(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let more = [self.files("amd-ca-cert"), self.files("tdx-collateral-v3")].concat();
        let when = match text(entry, "/expected/hcl_report_type") {
            "tdx" => "2025-07-22T09:13:34Z",
            _ => TODAY,
        };
        let nonce = HEXLOWER.decode(text(entry, "/expected/nonce_hex").as_bytes()).unwrap();
        let mut case = Case::new([vec![file], more].concat(), when);
        case.nonce = Some(nonce);
        let result = self.judge_only(&case);
        if is_not_there(&result) {
            return Outcome::NotJudged;
        }
        case.nonce = Some(b"another challenge".to_vec());
        assert!(!self.judge_only(&case).is_affirmed(), "{file}: any nonce will do");
        affirmed(&result, file)
    }

    /// The document comes without its chip's certificates (HSK, CEK), which Hygon's service hands out
    /// and the manifest's source fetched: all that is given is genuine, and the gap refuses it.
    pub fn csv(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        assert_eq!(text(entry, "/expected/verdict"), "accept-unchecked", "{file}");
        let result = self.judge_only(&Case::new(with_companions(entry), TODAY));
        assert!(
            result
                .check(CheckName::ReportSignature)
                .is_some_and(|check| { check.result == CheckResult::Pass })
        );
        refused(&result, file, |check| check.name == CheckName::RootPinned)
    }
}
