//! A report as events of the Open Cybersecurity Schema Framework 1.3.0, class Compliance Finding
//! (2003): one per finding, and one per check that holds or stays open; JSON lines for a SIEM.

use bulla_wire::bundle::FORMAT;
use serde_json::{Value, json};

use super::occasion::{Occasion, TOOL, VERSION};
use crate::audit::{AuditReport, Check, CheckResult, Finding, Severity};

const OCSF_VERSION: &str = "1.3.0";

/// `compliance.status_id` with its caption, and `severity_id` with its own.
struct Grade {
    status: (u8, &'static str),
    severity: (u8, &'static str),
}

const PASS: Grade = Grade { status: (1, "Pass"), severity: (1, "Informational") };
const WARNING: Grade = Grade { status: (2, "Warning"), severity: (2, "Low") };
const FAIL: Grade = Grade { status: (3, "Fail"), severity: (4, "High") };

/// All events.
pub fn ocsf(report: &AuditReport, occasion: &Occasion) -> Vec<Value> {
    let findings = occasion.lens.findings(report).enumerate().map(|(number, finding)| {
        let uid = format!("{}/{}/{number}", occasion.sha256, finding.check);
        event(occasion, report, &uid, &grade(finding), about(finding))
    });
    let held = occasion.lens.checks(report).filter_map(|check| {
        let grade = match check.result {
            CheckResult::Pass => PASS,
            CheckResult::Unknown => WARNING,
            CheckResult::Fail | CheckResult::NotRequired => return None,
        };
        let uid = format!("{}/{}", occasion.sha256, check.name);
        Some(event(occasion, report, &uid, &grade, of_check(check)))
    });
    findings.chain(held).collect()
}

fn grade(finding: &Finding) -> Grade {
    match finding.severity {
        Severity::Error => FAIL,
        Severity::Warning => WARNING,
    }
}

/// What an event is about.
struct About {
    control: String,
    sentence: &'static str,
    detail: String,
    resource: Option<(String, Value)>,
}

fn about(finding: &Finding) -> About {
    About {
        control: finding.check.to_string(),
        sentence: finding.check.sentence(),
        detail: finding.message.clone(),
        resource: Some((finding.record.to_string(), json!(finding.record))),
    }
}

fn of_check(check: &Check) -> About {
    About {
        control: check.name.to_string(),
        sentence: check.name.sentence(),
        detail: check.detail.clone(),
        resource: None,
    }
}

fn event(
    occasion: &Occasion,
    report: &AuditReport,
    uid: &str,
    grade: &Grade,
    about: About,
) -> Value {
    let bundle = json!({
        "name": occasion.bundle,
        "uid": occasion.sha256,
        "type": FORMAT,
    });
    let record = about
        .resource
        .map(|(name, record)| json!({"name": name, "type": "record", "data": record}));
    let resources: Vec<Value> = std::iter::once(bundle).chain(record).collect();
    json!({
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": 1,
        "activity_name": "Create",
        "type_uid": 200_301,
        "type_name": "Compliance Finding: Create",
        "time": occasion.at,
        "severity_id": grade.severity.0,
        "severity": grade.severity.1,
        "status_id": 1,
        "status": "New",
        "message": about.detail,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": TOOL, "vendor_name": "bulla", "version": VERSION},
        },
        "finding_info": {
            "uid": uid,
            "title": about.control,
            "desc": about.sentence,
            "created_time": occasion.at,
        },
        "compliance": {
            "standards": [FORMAT],
            "control": about.control,
            "status_id": grade.status.0,
            "status": grade.status.1,
            "status_detail": about.detail,
        },
        "resources": resources,
        "unmapped": {"simulated": report.simulated, "view": report.view},
    })
}
