//! Intel: quotes with each collateral they are paired with, event logs, the synthetic set.

use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::EndorsementKind;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::CheckResult;
use serde_json::Value;

use super::{
    Case, Outcome, Run, TODAY, affirmed, at, companions, is_named, is_not_there, refused, text,
    with_companions,
};

impl Run {
    /// The quote with each collateral the manifest pairs it with, at its instant.
    pub fn tdx_quote(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let (verdict, reason) = (text(entry, "/expected/verdict"), text(entry, "/expected/reason"));
        let alone = self.judge_only(&Case::new(vec![file], TODAY));
        if is_not_there(&alone) {
            return Outcome::NotJudged;
        }
        let is_tcb = is_named(&["tcb", "collateral"]);
        assert!(alone.failed().all(&is_tcb) || reason.contains("DEBUG"), "{file}\n{alone}");
        assert!(!alone.is_affirmed(), "{file}: no level matches without collateral\n{alone}");
        let pairs = entry["expected"]["tcb_verdicts"].as_array().unwrap();
        for pair in pairs {
            let files = vec![file, text(pair, "/collateral")];
            let result = self.judge_only(&Case::new(files, text(pair, "/at_utc")));
            let status = text(pair, "/dcap_qvl_0_7_0");
            if reason.contains("DEBUG") {
                refused(&result, file, is_named(&["debug"]));
            } else if status.contains("No matching TCB level") {
                refused(&result, file, is_named(&["tcb"]));
            } else {
                affirmed(&result, file);
                let claims = serde_json::to_value(result.claims()).unwrap();
                if !status.starts_with("ERR") {
                    assert_eq!(claims["tcb_status"], status, "{file}");
                }
                agrees_with(&claims, entry);
            }
        }
        match verdict {
            "accept" | "OutOfDate" | "reject (strict)" => {
                assert!(!pairs.is_empty(), "{file}");
                Outcome::Affirmed
            }
            _ => Outcome::Refused,
        }
    }

    pub fn sgx_quote(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let result = self.judge_only(&Case::new(with_companions(entry), "2025-06-20T10:56:11Z"));
        refused(&result, file, |check| check.got.contains("SGX") || check.got.contains("type 0"))
    }

    /// Collateral is read as such; inside its window a quote of its FMSPC is judged with it above,
    /// and outside it says nothing.
    pub fn tdx_collateral(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let found = self.recognise(&[file]);
        assert_eq!(found.endorsements.len(), 1, "{file}");
        assert_eq!(found.endorsements[0].kind, EndorsementKind::IntelCollateral, "{file}");
        let quotes = self.of_kind("tdx-quote").filter(|quote| companions(quote).contains(&file));
        for quote in quotes {
            let quote = text(quote, "/file");
            let result = self.judge_only(&Case::new(vec![quote, file], TODAY));
            if is_not_there(&result) {
                return Outcome::NotJudged;
            }
            assert!(!result.is_affirmed(), "{file} is out of its window\n{result}");
        }
        Outcome::Material
    }

    /// The log replays to the quote it belongs to; with one digit changed it does not.
    pub fn event_log(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let quote = companions(entry)[0];
        let collateral = self.files("tdx-collateral-v3");
        let pair = self.of_kind("tdx-quote").find(|other| text(other, "/file") == quote).unwrap();
        let when = text(pair, "/expected/tcb_verdicts/0/at_utc");
        let files = [vec![quote], collateral].concat();
        let found = self.recognise(&[file]);
        let log = found.endorsements.iter().find(|e| e.kind == EndorsementKind::EventLog).unwrap();
        let judge = |log: &[u8]| {
            let found = self.recognise(&files);
            let mut blobs = found.endorsements_for(&found.evidence[0]);
            blobs.push(log);
            let (evidence, sorted) = (&found.evidence[0], Endorsements::sort(blobs));
            let none = Expectations::default();
            let (anchors, policy) = (&self.anchors, &self.policy);
            appraise_raw(evidence.kind, &evidence.bytes, &sorted, anchors, policy, &none, at(when))
        };
        let result = judge(&log.bytes);
        if is_not_there(&result) {
            return Outcome::NotJudged;
        }
        let replayed = result.checks().iter().find(|check| is_named(&["log", "rtmr"])(check));
        assert_eq!(replayed.unwrap().result, CheckResult::Pass, "{file}\n{result}");
        affirmed(&result, file)
    }

    /// Evidence under Intel's test root is refused under Intel's own.
    pub fn tdx_synthetic(&self, entry: &Value) -> Outcome {
        let set = self.files("tdx-synthetic-set");
        if !text(entry, "/file").ends_with("quote.dat") {
            return self.material(entry);
        }
        let result = self.judge_only(&Case::new(set, "2025-06-01T00:00:00Z"));
        refused(&result, "synthetic", is_named(&["root", "chain", "certificate", "quote", "pck"]))
    }
}

/// Fields the manifest states for a quote, where the claims have them.
fn agrees_with(claims: &Value, entry: &Value) {
    for (claim, field) in [("measurement", "mr_td"), ("report_data", "report_data")] {
        let expected = &entry["expected"]["fields"][field];
        if expected.is_string() {
            assert_eq!(&claims[claim], expected, "{}: {field}", text(entry, "/file"));
        }
    }
}
