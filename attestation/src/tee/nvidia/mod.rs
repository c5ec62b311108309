//! NVIDIA GPUs and switches: SPDM measurement reports of Hopper, Blackwell, Rubin and LS10 devices,
//! alone or in the JSON documents of NVIDIA's tools, under their device chains; compared with the
//! signed manifests of driver and VBIOS; revocation by OCSP answers and lists.
//!
//! Several devices of one document get one verdict, refused where any device is. They are numbered
//! from 1 in the order of the document, and a line of the verdict names those it is about.
//!
//! Left out, visibly: SPDM 1.2 and later (another signing context: a failed `report_format`);
//! manifests in CoRIM, which NVIDIA signs for Rubin and for Blackwell's FSP (their measurements stay
//! unknown, so a policy that asks for manifests refuses); and verdicts of NVIDIA's remote service,
//! which would be somebody else's word.

mod case;
mod checks;
mod claims;
pub mod document;
pub mod identity;
mod manifests;
mod revocation;
pub mod roots;
pub mod spdm;
pub mod version;

pub use claims::{DeviceClaims, NvidiaClaims};
pub use identity::{Architecture, DeviceKind};
pub use roots::nvidia_anchors;

use bulla_wire::units::UnixSeconds;

use self::case::{Appraisal, Case};
use self::document::Device;
use self::identity::Identity;
use self::manifests::Manifest;
use super::TeeKind;
use crate::anchor::{Domain, TrustAnchors};
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// Most manifests about the devices of one document that are looked at (ours; a set of GPUs and
/// switches needs three).
const MAX_MANIFESTS: usize = 16;

/// Appraises `evidence`, a report or a document with several, at the instant `now`. The nonce
/// expected is the verifier's, in the request. The result never yields keys: nothing is bound to
/// the devices here.
pub fn appraise_raw(
    evidence: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let tee_type = checks::tee_type(policy);
    let expected = "SPDM 1.1 reports, raw or in a JSON document";
    let (devices, format) = match document::read(evidence) {
        Ok(mut devices) => {
            let certificates = devices.iter_mut().flat_map(|device| &mut device.certificates);
            certificates.for_each(|certificate| certificate.remember_in(&endorsements.memory));
            let got = format!("{} of them", devices.len());
            (devices, Check::judge(CheckName::ReportFormat, true, expected, got))
        }
        Err(error) => {
            let format = Check::judge(CheckName::ReportFormat, false, expected, error.to_string());
            return AttestationResult::new(TeeKind::Nvidia, policy, now, vec![tee_type, format]);
        }
    };
    let Some(rules) = policy.nvidia() else {
        return AttestationResult::new(TeeKind::Nvidia, policy, now, vec![tee_type, format]);
    };
    let device_anchors = anchors.about(Domain::NvidiaDevice);
    let rim_anchors = anchors.about(Domain::NvidiaRim);
    let all = Appraisal {
        endorsements,
        device_anchors: &device_anchors,
        policy,
        rules,
        expectations,
        // A date past the year 292 billion is past every certificate.
        now: i64::try_from(now.0).unwrap_or(i64::MAX),
    };
    let manifests = manifests_about(&devices, &all, &rim_anchors);
    let first_nonce = devices.first().map_or([0; 32], |device| device.report.nonce);
    let numbered = devices.iter().zip(1..);
    let cases: Vec<Case<'_>> = numbered
        .map(|(device, number)| Case::of(&all, number, device, first_nonce, &manifests))
        .collect();
    let mut lines = vec![tee_type, format];
    lines.extend(checks::all(&cases, rules));
    let claims = Claims::Nvidia(Box::new(NvidiaClaims::of(&cases)));
    let is_simulated = cases.iter().any(Case::is_simulated);
    AttestationResult::new(TeeKind::Nvidia, policy, now, lines).about(
        product(&cases),
        is_simulated,
        claims,
    )
}

/// The manifests that name a version of some device, each verified once.
fn manifests_about<'a>(
    devices: &[Device],
    all: &Appraisal<'a>,
    anchors: &'a TrustAnchors,
) -> Vec<Manifest<'a>> {
    let shown: Vec<Identity> =
        devices.iter().map(|device| Identity::of(&device.report, None)).collect();
    let is_shown = |version: &str| {
        let mut versions = shown.iter().flat_map(|one| [&one.driver, &one.vbios]).flatten();
        versions.any(|own| own.eq_ignore_ascii_case(version))
    };
    let rims = all.endorsements.rims.iter().filter(|rim| is_shown(&rim.version));
    rims.take(MAX_MANIFESTS)
        .map(|rim| Manifest::verify(rim, all.endorsements, anchors, all.now))
        .collect()
}

/// The generations, each once, in the order of the document.
fn product(cases: &[Case<'_>]) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for case in cases {
        let known = case.identity.architecture().map(|architecture| architecture.to_string());
        let name = known.or_else(|| case.identity.chip.clone())?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join(" + "))
}
