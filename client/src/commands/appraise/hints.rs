//! What a person can do about a verdict.

use bulla_attestation::result::{CheckName, CheckResult};
use bulla_attestation::tee::TeeKind;

use super::judge::Judged;

/// Sentences, most useful first.
pub fn hints(judged: &Judged) -> Vec<String> {
    let result = &judged.result;
    let is = |name: CheckName, wanted: CheckResult| {
        result.check(name).is_some_and(|check| check.result == wanted)
    };
    let failed = |name| is(name, CheckResult::Fail);
    let says = |name: CheckName, word: &str| {
        failed(name) && result.check(name).is_some_and(|check| check.got.contains(word))
    };
    let named = |wanted: CheckResult, word: &str| {
        let mut of_result = result.checks().iter().filter(|check| check.result == wanted);
        of_result.any(|check| check.name.as_str().contains(word))
    };
    let unknown_named = |word| named(CheckResult::Unknown, word);
    let mut hints = Vec::new();
    let mut hint = |applies: bool, text: &str| {
        if applies {
            hints.push(text.to_owned());
        }
    };
    hint(
        says(CheckName::SigningKey, "no VCEK"),
        "no VCEK or VLEK was given: pass it with --endorsement, or fetch it with `bulla endorsements fetch`",
    );
    hint(
        says(CheckName::LeafSignature, "no ASK") && !says(CheckName::SigningKey, "no VCEK"),
        "no ASK or ASVK was given: AMD's key server gives it with the root as `cert_chain`; pass it with --endorsement",
    );
    hint(
        result.tee() == TeeKind::Tdx && failed(CheckName::TcbLevel),
        "no TCB level matches: pass Intel's collateral of the time with --endorsement, or fetch it with `bulla endorsements fetch`",
    );
    hint(
        result.tee() == TeeKind::Nvidia && unknown_named("measurement"),
        "measurements were compared with nothing: pass the driver's and VBIOS's manifests (RIM) with --endorsement",
    );
    hint(
        failed(CheckName::CertificateDates),
        "a certificate is outside its dates at this instant: --at judges as of another one",
    );
    hint(
        is(CheckName::Revocation, CheckResult::Unknown) && result.tee() == TeeKind::Snp,
        "revocation is not known: pass a current revocation list with --endorsement",
    );
    hint(
        failed(CheckName::TeeType),
        "this policy does not take this kind of evidence: --policy names another",
    );
    hint(
        failed(CheckName::RootPinned),
        "the root is none of the vendors': a simulated TEE's must be named with --simulated-root",
    );
    hint(
        failed(CheckName::Measurement),
        "genuine evidence of another workload is still another workload",
    );
    hints
}
