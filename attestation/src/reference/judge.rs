//! Whether what was measured is one image of a manifest, wholly.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Image, Manifest, TdxValues, VtpmValues};
use crate::policy::Policy;
use crate::result::{AttestationResult, Check, CheckName, CheckResult};
use crate::tee::TeeKind;

const EXPECTED: &str = "an image of the manifests the policy names";

/// Judges a result's claims against the manifests a policy names.
pub(crate) fn judge(policy: &Policy, result: &AttestationResult) -> Check {
    let name = CheckName::ReferenceValues;
    let manifests = policy.manifests();
    if manifests.iter().next().is_none() {
        return Check::judge(name, false, EXPECTED, "the manifests were not given");
    }
    if let Some(problem) = manifests.problem(result.appraised_at()) {
        return Check::judge(name, false, EXPECTED, problem);
    }
    if result.tee() == TeeKind::Nvidia {
        return Check::not_required(name, "NVIDIA's own manifests speak for its devices");
    }
    // Claims are compared as they are shown, so that a verdict can be checked by reading it.
    let Some(claims) = result.claims().and_then(|claims| serde_json::to_value(claims).ok()) else {
        return Check::unknown(name, EXPECTED, "nothing measured: the evidence does not read");
    };
    let measured = Measured { tee: result.tee(), claims };
    let mut images = manifests.genuine().flat_map(|m| m.body().images.iter().map(move |i| (m, i)));
    match images.find(|(_, image)| measured.is(image)) {
        Some((manifest, image)) => Check::judge(name, true, EXPECTED, words(manifest, image)),
        None => unlisted(&measured, policy, result),
    }
}

/// No image matches wholly. The launch digest may still be one the policy itself lists, or be
/// refused by its own check already.
fn unlisted(measured: &Measured, policy: &Policy, result: &AttestationResult) -> Check {
    let name = CheckName::ReferenceValues;
    let mut images = policy.manifests().genuine().flat_map(|manifest| &manifest.body().images);
    if let Some(image) = images.find(|image| measured.launches(image)) {
        let got = format!("the launch digest of {}, with other registers", image.name);
        return Check::judge(name, false, EXPECTED, got);
    }
    match result.check(CheckName::Measurement).map(|check| check.result) {
        Some(CheckResult::Pass) => {
            Check::judge(name, true, EXPECTED, "a launch digest the policy itself lists")
        }
        Some(CheckResult::Fail) => Check::unknown(name, EXPECTED, "none of them"),
        _ => Check::judge(name, false, EXPECTED, measured.differs(policy)),
    }
}

fn words(manifest: &Manifest, image: &Image) -> String {
    let body = manifest.body();
    format!("{} (manifest {}, version {})", image.name, body.name, body.version)
}

struct Measured {
    tee: TeeKind,
    claims: Value,
}

impl Measured {
    /// Whether everything the image fixes was measured so.
    fn is(&self, image: &Image) -> bool {
        match self.tee {
            TeeKind::Snp => image.snp.iter().any(|v| self.launched(&v.measurement)),
            TeeKind::Tdx => image.tdx.iter().any(|values| self.is_td(values)),
            TeeKind::Csv => image.csv.iter().any(|v| self.launched(&v.measurement)),
            TeeKind::AzureSnp | TeeKind::AzureTdx | TeeKind::VtpmDev => {
                image.vtpm.iter().any(|v| self.has_pcrs(v))
            }
            TeeKind::Nvidia => false,
        }
    }

    /// Whether the launch digest is one of the image's.
    fn launches(&self, image: &Image) -> bool {
        match self.tee {
            TeeKind::Tdx => image.tdx.iter().any(|values| self.launched(&values.mrtd)),
            _ => self.is(image),
        }
    }

    fn launched(&self, digest: &impl std::fmt::Display) -> bool {
        self.shows(&self.claims["measurement"], digest)
    }

    fn is_td(&self, values: &TdxValues) -> bool {
        let agrees = |(index, fixed): (usize, &&Option<_>)| match fixed {
            None => true,
            Some(fixed) => self.shows(self.rtmr(index), fixed),
        };
        self.launched(&values.mrtd) && values.rtmrs().iter().enumerate().all(agrees)
    }

    fn rtmr(&self, index: usize) -> &Value {
        &self.claims["rtmrs"][index]
    }

    fn has_pcrs(&self, values: &VtpmValues) -> bool {
        let agrees = |(pcr, fixed): (&String, _)| self.shows(&self.claims["pcrs"][pcr], fixed);
        !values.pcrs.is_empty() && values.pcrs.iter().all(agrees)
    }

    /// Which registers no image explains, where registers tell images apart.
    fn differs(&self, policy: &Policy) -> String {
        let images = policy.manifests().genuine().flat_map(|manifest| &manifest.body().images);
        let listed: Vec<(&String, _)> =
            images.flat_map(|image| &image.vtpm).flat_map(|values| &values.pcrs).collect();
        let explained = |pcr: &String| {
            let mut values = listed.iter().filter(|(other, _)| *other == pcr);
            values.any(|(_, value)| self.shows(&self.claims["pcrs"][pcr], value))
        };
        let pcrs: BTreeSet<&String> = listed.iter().map(|(pcr, _)| *pcr).collect();
        let got = |pcr: &&String| format!("PCR {pcr} {}", shown(&self.claims["pcrs"][*pcr]));
        let wrong: Vec<String> =
            pcrs.into_iter().filter(|pcr| !explained(pcr)).map(|pcr| got(&pcr)).collect();
        match wrong.is_empty() {
            true => "none of them".to_owned(),
            false => format!("none of them: {}", wrong.join(", ")),
        }
    }

    fn shows(&self, shown: &Value, fixed: &impl std::fmt::Display) -> bool {
        shown.as_str() == Some(fixed.to_string().as_str())
    }
}

/// A register as the claims show it.
fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or("not quoted")
}
