//! The manifests about the device, and its measurements against them.

use super::certificates::{fault, outside_words, root};
use super::{demanded, revocation};
use crate::endorsement::rfc3339;
use crate::policy::Demand;
use crate::result::{Check, CheckName};
use crate::tee::nvidia::case::Case;
use crate::tee::nvidia::identity::DeviceKind;
use crate::tee::nvidia::manifests::{Manifest, Part};
use crate::tee::nvidia::revocation::Standings;

/// Judges every manifest about this device; `wrong` says what is wrong with one.
fn each(
    case: &Case<'_>,
    name: CheckName,
    expected: &str,
    wrong: impl Fn(&Manifest<'_>) -> Option<String>,
) -> Check {
    if case.manifests.is_empty() {
        return Check::unknown(name, expected, "no manifest about this device given");
    }
    let fault = case.manifests.iter().find_map(|(part, manifest)| {
        Some(format!("{part} manifest {}: {}", manifest.label(), wrong(manifest)?))
    });
    let good = || {
        let labels = case.manifests.iter().map(|(_, manifest)| manifest.label());
        labels.collect::<Vec<_>>().join(", ")
    };
    let passes = fault.is_none();
    Check::judge(name, passes, expected, fault.unwrap_or_else(good))
}

pub(super) fn format(case: &Case<'_>) -> Check {
    let name = CheckName::ManifestFormat;
    let expected = "rows that read, each measurement in one manifest only";
    if let Some(row) = case.comparison.contested {
        let got = format!("row {row} is active in the driver's and in the vbios' manifest");
        return Check::judge(name, false, expected, got);
    }
    each(case, name, expected, |manifest| manifest.rim.rows.as_ref().err().map(ToString::to_string))
}

pub(super) fn signature(case: &Case<'_>) -> Check {
    let expected = "enveloped XML signature, C14N 1.1, ECDSA P-384 with SHA-384";
    each(case, CheckName::ManifestSignature, expected, |manifest| {
        if manifest.is_signed {
            return None;
        }
        Some(match &manifest.rim.signature {
            Err(error) => error.to_string(),
            Ok(_) if manifest.rim.signer().is_none() => "no certificate of its signer".to_owned(),
            Ok(signature) if !signature.digest_matches => {
                "altered: not the digest that is signed".to_owned()
            }
            Ok(_) => "signature does not verify".to_owned(),
        })
    })
}

pub(super) fn certificates(case: &Case<'_>) -> Check {
    let expected = "a signer under the vendor's root for manifests";
    each(case, CheckName::ManifestCertificates, expected, |manifest| {
        let Some(path) = &manifest.path else {
            return Some("no certificate of its signer".to_owned());
        };
        if let Some(broken) = path.broken_link() {
            let issuer = &broken.issuer.common_name;
            return Some(format!("{} is not signed by {issuer}", broken.subject.common_name));
        }
        let own: Vec<_> = manifest.rim.certificates.iter().collect();
        let (pinned, got) = root(Some(path), &own);
        if pinned { fault(path) } else { Some(got) }
    })
}

pub(super) fn dates(case: &Case<'_>) -> Check {
    let expected = format!("signers valid at {}", rfc3339(case.all.now));
    each(case, CheckName::ManifestDates, &expected, |manifest| {
        manifest.path.as_ref()?.outside_dates(case.all.now).map(outside_words)
    })
}

pub(super) fn revocation(case: &Case<'_>) -> Check {
    let name = CheckName::ManifestRevocation;
    if case.manifests.is_empty() {
        return Check::unknown(name, "signers not revoked", "no manifest about this device given");
    }
    let hold = case.all.rules.certificate_hold;
    revocation::judge(name, &standings(case), hold, case.all.now)
}

pub(super) fn revocation_known(case: &Case<'_>) -> Check {
    let demand = case.all.rules.manifest_revocation;
    revocation::known(CheckName::ManifestRevocationKnown, &standings(case), demand)
}

/// Of the certificates of all manifests, each once.
fn standings(case: &Case<'_>) -> Standings {
    let mut all = Standings::default();
    for (_, manifest) in &case.manifests {
        for standing in &manifest.standings.of {
            if !all.of.contains(standing) {
                all.of.push(standing.clone());
            }
        }
    }
    all
}

/// Each row that does not agree is named as the manifests count, from 0.
pub(super) fn measurements(case: &Case<'_>) -> Check {
    let name = CheckName::DeviceMeasurements;
    let comparison = &case.comparison;
    let missing = comparison.missing(case.identity.kind);
    let expected = "every active row of the manifests agrees";
    if !comparison.mismatched.is_empty() {
        let rows: Vec<String> = comparison.mismatched.iter().map(u16::to_string).collect();
        let got =
            format!("{} agree, other values in rows {}", comparison.matching, rows.join(", "));
        return Check::judge(name, false, expected, got);
    }
    if !missing.is_empty() {
        let parts: Vec<String> = missing.iter().map(|part| wanted(case, *part)).collect();
        let given = format!("{} agree; not given: {}", comparison.matching, parts.join(", "));
        return Check::unknown(name, expected, given);
    }
    let excused = match comparison.nvdec0_excused {
        true => "; row 35 not compared, its decoder is off",
        false => "",
    };
    Check::judge(name, true, expected, format!("{} agree{excused}", comparison.matching))
}

/// What NVIDIA's service calls the manifest that is missing.
fn wanted(case: &Case<'_>, part: Part) -> String {
    let id = match part {
        Part::Driver => case.identity.driver_rim_id(),
        Part::Vbios => case.identity.vbios_rim_id(),
    };
    id.unwrap_or_else(|| format!("the {part} manifest"))
}

pub(super) fn measurements_known(case: &Case<'_>) -> Check {
    let missing = case.comparison.missing(case.identity.kind);
    let expected = match case.identity.kind {
        DeviceKind::Gpu => "the manifests of driver and vbios",
        DeviceKind::Switch => "the manifest of the vbios",
    };
    let got = match (missing.is_empty(), case.all.rules.manifests) {
        (true, _) => "given".to_owned(),
        (false, Demand::NotRequired) => "taken if given".to_owned(),
        (false, Demand::Required) => {
            let parts: Vec<String> = missing.iter().map(|part| wanted(case, *part)).collect();
            format!("not given: {}", parts.join(", "))
        }
    };
    let demand = case.all.rules.manifests;
    demanded(CheckName::DeviceMeasurementsKnown, demand, missing.is_empty(), expected, got)
}
