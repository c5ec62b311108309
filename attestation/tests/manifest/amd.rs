//! AMD: certificates, CRLs, reports, and pairs that do not belong together.

use bulla_attestation::endorsement::Crl;
use bulla_attestation::result::CheckName;
use serde_json::Value;

use super::{
    Case, Outcome, Run, TODAY, affirmed, at, companions, failed, refused, text, with_companions,
};

impl Run {
    pub fn amd_authority(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let certificate = self.certificate(file);
        match text(entry, "/expected/verdict") {
            "trust-anchor" => assert!(self.anchors.pinning(&certificate).is_some(), "{file}"),
            _ => {
                let root = format!("snp/ca/{}/ark.pem", text(entry, "/product"));
                let root = self.certificate(&root);
                assert!(certificate.is_signed_by(&root.public_key), "{file}");
                assert!(self.anchors.pinning(&certificate).is_none(), "{file}");
            }
        }
        Outcome::Material
    }

    pub fn amd_leaf(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let leaf = self.certificate(file);
        let is_current = (leaf.not_before..=leaf.not_after).contains(&(at(TODAY).0 as i64));
        let issuer = companions(entry).first().map(|file| self.certificate(file));
        let milan = || self.certificate("snp/ca/milan/ask.pem");
        let is_signed = leaf.is_signed_by(&issuer.unwrap_or_else(milan).public_key);
        let (reason, verdict) = (text(entry, "/expected/reason"), text(entry, "/expected/verdict"));
        match (verdict, reason) {
            ("accept", _) => {
                assert!(is_current && is_signed, "{file}");
                Outcome::Affirmed
            }
            ("reject", reason) if reason.contains("expired") => {
                assert!(!is_current && is_signed, "{file}");
                Outcome::Refused
            }
            _ => {
                assert!(!is_signed, "{file}");
                Outcome::Refused
            }
        }
    }

    pub fn amd_crl(&self, entry: &Value) -> Outcome {
        let found = self.recognise(&[text(entry, "/file")]);
        let crl = Crl::from_der(&found.endorsements[0].bytes).unwrap();
        let root = self.certificate("snp/ca/milan/ark.pem");
        assert!(crl.is_signed_by(&root.public_key) && !crl.is_current(at(TODAY).0 as i64));
        assert!(crl.is_current(at("2025-06-01T00:00:00Z").0 as i64) && crl.revoked.is_empty());
        Outcome::Material
    }

    pub fn snp_report(&self, entry: &Value) -> Outcome {
        let (file, reason) = (text(entry, "/file"), text(entry, "/expected/reason"));
        let result = self.judge_only(&Case::new(with_companions(entry), TODAY));
        let claims = serde_json::to_value(result.claims()).unwrap();
        for field in ["measurement", "report_data", "chip_id"] {
            assert_eq!(claims[field], entry["expected"]["fields"][field], "{file}");
        }
        match text(entry, "/expected/verdict") {
            "accept" => {
                assert_eq!(result.product(), entry["product"].as_str(), "{file}");
                affirmed(&result, file)
            }
            _ if reason.contains("DEBUG") => {
                assert_eq!(failed(&result), [CheckName::GuestDebug], "{file}");
                Outcome::Refused
            }
            _ if reason.contains("expired") => {
                assert_eq!(failed(&result), [CheckName::CertificateDates], "{file}");
                let inside = Case::new(with_companions(entry), "2025-06-01T00:00:00Z");
                affirmed(&self.judge_only(&inside), file);
                Outcome::Refused
            }
            "parse-only" => refused(&result, file, |check| check.name == CheckName::SigningKey),
            other => panic!("{file}: {other}"),
        }
    }

    pub fn unreadable(&self, entry: &Value) -> Outcome {
        let found = self.recognise(&[text(entry, "/file")]);
        assert!(found.evidence.is_empty() && found.endorsements.is_empty());
        assert!(found.left_aside[0].reason.contains("793 of 1184"), "{:?}", found.left_aside);
        Outcome::Refused
    }

    /// Evidence and endorsements of one folder, in protobuf; the intermediate is AMD's.
    pub fn oak(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let (folder, name) = file.rsplit_once('/').unwrap();
        if name.starts_with("reference_values") {
            let found = self.recognise(&[file]);
            assert!(found.evidence.is_empty() && found.endorsements.is_empty(), "{file}");
            return Outcome::Material;
        }
        let [evidence, endorsements] =
            ["evidence", "endorsements"].map(|name| format!("{folder}/{name}.binarypb"));
        let authorities = self.files("amd-ca-cert");
        let files = [vec![evidence.as_str(), &endorsements], authorities].concat();
        affirmed(&self.judge_only(&Case::new(files, TODAY)), file)
    }

    pub fn cross_pairs(&self, entry: &Value) -> Outcome {
        let pairs = entry["expected"].as_array().unwrap();
        for pair in pairs {
            let (report, certificate) = (text(pair, "/report"), text(pair, "/cert"));
            let right = self.of_kind("snp-report").find(|other| text(other, "/file") == report);
            let authorities: Vec<String> = match pair["ca"].as_str() {
                Some(folder) => ["ask", "asvk", "ark"].map(|n| format!("{folder}/{n}.pem")).into(),
                None => companions(right.unwrap()).into_iter().skip(1).map(str::to_owned).collect(),
            };
            let files: Vec<&str> = [report, certificate]
                .into_iter()
                .chain(authorities.iter().map(String::as_str))
                .collect();
            let result = self.judge_only(&Case::new(files, "2025-06-01T00:00:00Z"));
            let expected = match pair["ca"].is_string() {
                true => CheckName::LeafSignature,
                false => CheckName::ReportSignature,
            };
            assert!(failed(&result).contains(&expected), "{report} {certificate}\n{result}");
            assert!(!result.is_affirmed());
        }
        println!("cross-pairs: {} refused", pairs.len());
        assert!(pairs.len() >= 20);
        Outcome::Refused
    }
}
