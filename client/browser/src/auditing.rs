//! One audit: a bundle under the keys, roots and policy a person named.

use bulla_client::audit::{AuditReport, AuditTrust, audit_bytes};
use serde::{Deserialize, Serialize};

use crate::request::{Request, RequestError, Role};
use crate::trust::{self, PolicyChoice, TrustError, TypedKeys};

/// Settings of an audit.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// What archived evidence must look like.
    pub policy: PolicyChoice,
    /// Whether the hardware vendors' roots are trusted.
    pub vendor_roots: bool,
    /// The keys typed in; those in trust files are added.
    #[serde(default)]
    pub keys: TypedKeys,
}

/// Why there is no audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The page asked wrongly.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// Nobody to believe.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// No bundle, or several.
    #[error("one bundle at a time, got {got}")]
    Bundles {
        /// How many.
        got: usize,
    },
}

/// A report, and under what it was reached.
#[derive(Debug, Clone, Serialize)]
pub struct Audited {
    /// The bundle's file name.
    pub name: String,
    /// 0 nothing wrong, 1 errors found, 2 not readable to its end: as `bulla audit` exits.
    pub exit_code: u8,
    /// What is wrong.
    pub errors: usize,
    /// What is left open.
    pub warnings: usize,
    /// The policy for archived evidence.
    pub policy: String,
    /// The logs whose keys are believed.
    pub logs: Vec<String>,
    /// What `bulla audit --json` prints.
    pub report: AuditReport,
}

/// Audits the one bundle in `request`.
pub fn audit(request: &[u8]) -> Result<Audited, AuditError> {
    let request: Request<'_, Settings> = Request::parse(request)?;
    let settings = request.settings();
    let bundles: Vec<_> = request.given_for(Role::Judged).collect();
    let [file] = bundles.as_slice() else {
        return Err(AuditError::Bundles { got: bundles.len() });
    };
    let keys = trust::keys(&request, &settings.keys)?;
    let trust = AuditTrust {
        log_keys: keys.log_keys,
        broker_root: keys.broker_root,
        anchors: trust::anchors(&request, settings.vendor_roots)?,
        policy: settings.policy.policy()?,
    };
    let report = audit_bytes(file.bytes, &trust);
    Ok(Audited {
        name: file.name.to_owned(),
        exit_code: report.exit_code(),
        errors: report.errors().count(),
        warnings: report.warnings().count(),
        policy: trust.policy.name().to_owned(),
        logs: trust.log_keys.iter().map(|key| key.name().to_owned()).collect(),
        report,
    })
}
