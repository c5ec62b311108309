//! NVIDIA: device reports, manifests, OCSP answers, documents of several devices.

use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::result::CheckName;
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::{
    Case, Outcome, Run, TODAY, affirmed, is_named, is_not_there, refused, text, with_companions,
};

impl Run {
    pub fn nvidia_report(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let nonce = HEXLOWER.decode(text(entry, "/expected/nonce").as_bytes()).unwrap();
        let mut case = Case::new(with_companions(entry), TODAY);
        case.nonce = Some(nonce);
        let result = self.judge_only(&case);
        match text(entry, "/expected/verdict") {
            "reject" => refused(&result, file, is_named(&["signature"])),
            _ => {
                let outcome = affirmed(&result, file);
                if matches!(outcome, Outcome::Affirmed) {
                    let claims = serde_json::to_value(result.claims()).unwrap().to_string();
                    for field in ["driver", "nonce"] {
                        let expected = text(entry, &format!("/expected/{field}"));
                        assert!(claims.contains(expected), "{file}: {field} {expected}\n{claims}");
                    }
                    case.nonce = Some(vec![7; 32]);
                    refused(&self.judge_only(&case), file, is_named(&["nonce"]));
                }
                outcome
            }
        }
    }

    /// A manifest with each device report: it passes where it is about the device and genuine, it is
    /// refused where it is about it and altered, and ignored otherwise.
    pub fn nvidia_rim(&self, entry: &Value) -> Outcome {
        let (file, reason) = (text(entry, "/file"), text(entry, "/expected/reason"));
        let verdict = text(entry, "/expected/verdict");
        let signer = reason.split("leaf ('").nth(1).and_then(|dates| dates.split('\'').next());
        let inside = match (signer, verdict.split("before ").nth(1)) {
            (Some(first), _) => format!("{}-12-01T00:00:00Z", &first[..4]),
            (None, Some(_)) => "2025-10-24T12:00:00Z".to_owned(),
            (None, None) => TODAY.to_owned(),
        };
        let mut counts = (0, 0);
        for report in self.of_kind("nvidia-spdm-report") {
            if text(report, "/expected/verdict") == "reject" {
                continue;
            }
            let without = self.judge_only(&Case::new(with_companions(report), &inside));
            if is_not_there(&without) {
                return Outcome::NotJudged;
            }
            let files = [with_companions(report), vec![file]].concat();
            let with = self.judge_only(&Case::new(files, &inside));
            if !with.is_affirmed() {
                assert!(with.failed().any(is_named(&["manifest"])), "{file}\n{with}");
                counts.1 += 1;
            } else if with.checks().iter().zip(without.checks()).any(|(a, b)| a.result != b.result)
            {
                counts.0 += 1;
                if verdict.contains("before") {
                    let files = [with_companions(report), vec![file]].concat();
                    let late = self.judge_only(&Case::new(files, TODAY));
                    refused(&late, file, |check| check.name == CheckName::ManifestDates);
                }
            }
        }
        println!("{file}: passes with {} reports, refused with {} at {inside}", counts.0, counts.1);
        let rim = Rim::read(&self.folder.read(file)).unwrap();
        let mut links = rim.certificates.windows(2);
        let is_chained = links.all(|link| link[0].is_signed_by(&link[1].public_key));
        let is_genuine = rim.is_signed() && is_chained;
        assert_eq!(is_genuine, verdict != "reject", "{file}: signature or chain");
        match verdict {
            "reject" => {
                assert_eq!(counts.0, 0, "{file}");
                Outcome::Refused
            }
            "accept" => {
                assert!(counts.0 > 0 && counts.1 == 0, "{file} {counts:?}");
                Outcome::Affirmed
            }
            // Accepted before its signer's certificate ended.
            _ => {
                assert_eq!(counts.1, 0, "{file}");
                Outcome::Affirmed
            }
        }
    }

    /// Answers of one collection, inside their 24 hours, with the device and its manifests.
    pub fn nvidia_ocsp(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let report = "nvidia/hopper-550.90.07/report.bin";
        let report =
            self.of_kind("nvidia-spdm-report").find(|e| text(e, "/file") == report).unwrap();
        let when = match text(entry, "/expected/reason").contains("2025-08-2") {
            true => "2025-08-21T12:00:00Z",
            false => "2025-10-24T12:00:00Z",
        };
        let rims = self.files("nvidia-rim").into_iter().filter(|rim| rim.contains("550.90.07/"));
        let files: Vec<&str> = with_companions(report).into_iter().chain(rims).collect();
        let all = [files, self.files("nvidia-ocsp")].concat();
        let result = self.judge_only(&Case::new(all, when));
        affirmed(&result, file)
    }

    pub fn nvidia_evidence(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let result = self.judge_only(&Case::new(vec![file], TODAY));
        affirmed(&result, file)
    }
}
