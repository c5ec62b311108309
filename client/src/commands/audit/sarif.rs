//! A report as SARIF 2.1.0 (OASIS): one rule per check, one result per finding, and a passing result
//! for every check that holds.

use serde_json::{Value, json};

use super::super::show::instant;
use super::occasion::{Occasion, TOOL, VERSION};
use crate::audit::{AuditReport, CheckName, CheckResult, Finding, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The whole document.
pub fn sarif(report: &AuditReport, occasion: &Occasion) -> Value {
    let rules: Vec<Value> = CheckName::ALL.iter().map(|check| rule(*check)).collect();
    let uri = uri(&occasion.bundle);
    let findings = occasion.lens.findings(report).map(|finding| found(finding, &uri));
    let held = occasion.lens.checks(report).filter(|check| check.result == CheckResult::Pass);
    let held = held.map(|check| {
        let text = format!("{}: {}", check.name.sentence(), check.detail);
        json!({
            "ruleId": check.name,
            "ruleIndex": check.name as usize,
            "kind": "pass",
            "level": "none",
            "message": {"text": text},
        })
    });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": TOOL, "version": VERSION, "rules": rules}},
            "artifacts": [{
                "location": {"uri": uri},
                "length": occasion.bytes,
                "hashes": {"sha-256": occasion.sha256},
            }],
            "invocations": [{
                "executionSuccessful": report.readable,
                "exitCode": report.exit_code(),
                "endTimeUtc": instant(occasion.at.seconds()),
            }],
            "results": findings.chain(held).collect::<Vec<Value>>(),
            "properties": {
                "view": report.view,
                "reader": occasion.lens.to_string(),
                "simulated": report.simulated,
                "counts": report.counts,
                "findingsLeftOut": report.findings_left_out,
                "facts": report.facts,
            },
        }],
    })
}

fn rule(check: CheckName) -> Value {
    json!({
        "id": check,
        "shortDescription": {"text": check.sentence()},
        "properties": {"step": check.step().title()},
    })
}

fn found(finding: &Finding, uri: &str) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let name = finding.record.to_string();
    json!({
        "ruleId": finding.check,
        "ruleIndex": finding.check as usize,
        "kind": if finding.severity == Severity::Error { "fail" } else { "open" },
        // Only a failing result has a level of its own (SARIF 3.27.10).
        "level": if finding.severity == Severity::Error { level } else { "none" },
        "message": {"text": format!("{name}: {}", finding.message)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}},
            "logicalLocations": [{"name": name, "kind": "record"}],
        }],
        "properties": {"severity": level, "record": finding.record},
    })
}

/// A file's name as a relative reference (RFC 3986).
fn uri(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().fold(String::new(), |uri, byte| match plain(byte) {
        true => uri + char::from(byte).encode_utf8(&mut [0; 4]),
        false => uri + &format!("%{byte:02X}"),
    })
}
