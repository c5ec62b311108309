//! Changes that are accepted with the same claims: which, and why they may be. A change that is
//! accepted and that no entry covers fails the test.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::{Certificate, Endorsements};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::tdx::quote::Quote;
use serde_json::Value;

/// A change that was accepted.
pub struct Accepted<'a> {
    pub kind: TeeKind,
    pub is_evidence: bool,
    pub before: &'a [u8],
    pub after: &'a [u8],
    /// The verdict is, check by check, the one without this endorsement.
    pub is_as_if_not_given: bool,
}

/// One kind of change that no signature covers.
pub struct Uncovered {
    pub what: &'static str,
    pub why: &'static str,
    pub covers: fn(&Accepted<'_>) -> bool,
}

pub const UNCOVERED: &[Uncovered] = &[
    Uncovered {
        what: "zeros after the evidence",
        why: "quotes and SPDM reports come in buffers of fixed size, filled up with zeros; their \
              own length fields say where they end, and anything but zeros there is refused",
        covers: |case| case.is_evidence && is_zero_padding(case),
    },
    Uncovered {
        what: "the other signature of an ECDSA pair",
        why: "whoever has (r, s) can write (r, n - s), which is as valid over the same bytes by the \
              same key; nothing here is named or remembered by its signature alone",
        covers: |case| case.is_evidence && is_other_of_pair(case),
    },
    Uncovered {
        what: "white space and notation of a JSON document",
        why: "guest agents put the signed bytes into a document of their own, which nobody signs; \
              the values in it are the same",
        covers: |case| {
            case.is_evidence && json(case.before).is_some_and(|v| Some(v) == json(case.after))
        },
    },
    Uncovered {
        what: "certificates inside a quote",
        why: "the PCK chain is text outside the signed part of the quote. A certificate counts by \
              its issuer's signature; one that is spoiled is not believed, and the verdict holds \
              only where another copy, or the pinned root, completes the chain",
        covers: |case| {
            case.kind == TeeKind::Tdx && case.is_evidence && is_quote_with_other_chain(case)
        },
    },
    Uncovered {
        what: "the certificate inside Azure's document",
        why: "a copy for convenience: it counts by its issuer's signature, and where it is spoiled \
              the same certificate among the endorsements completes the chain",
        covers: |case| case.kind == TeeKind::AzureSnp && case.is_evidence && is_same_but_vcek(case),
    },
    Uncovered {
        what: "zeros at the end of a paravisor's report",
        why: "its runtime data say how long they are; up to the page's end follow zeros",
        covers: |case| {
            case.kind == TeeKind::AzureSnp && case.is_evidence && is_padded_otherwise(case)
        },
    },
    Uncovered {
        what: "an endorsement that reads the same",
        why: "PEM armour and white space around DER, white space and order around signed JSON and \
              XML: what is signed is kept byte for byte, and the pieces found are equal",
        covers: |case| !case.is_evidence && reads_the_same(case),
    },
    Uncovered {
        what: "an endorsement as if it had not been given",
        why: "changed so far that it is no endorsement any more, or one about something else, and \
              the policy can do without it; every check says what it says without it",
        covers: |case| case.is_as_if_not_given,
    },
    Uncovered {
        what: "a piece of a collection, lost or spoiled",
        why: "Intel's collateral is one document with four chains and two revocation lists in it; \
              a piece that does not read is left aside, one that nobody signed is not believed, and \
              the others still make the verdict",
        covers: |case| !case.is_evidence && is_spoiled_at_most(case.before, case.after),
    },
];

fn is_zero_padding(case: &Accepted<'_>) -> bool {
    let (short, long) = match case.before.len() < case.after.len() {
        true => (case.before, case.after),
        false => (case.after, case.before),
    };
    long.strip_prefix(short).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// The same bytes except for one s, which became n - s. That it is accepted says the rest: no other
/// s makes a valid signature of the same r.
fn is_other_of_pair(case: &Accepted<'_>) -> bool {
    let places = super::twins::places(case.kind);
    case.before.len() == case.after.len()
        && places.iter().any(|place| {
            let outside = |bytes: &[u8]| [&bytes[..place.start], &bytes[place.end..]].concat();
            place.end <= case.before.len() && outside(case.before) == outside(case.after)
        })
}

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

fn is_same_but_vcek(case: &Accepted<'_>) -> bool {
    let without = |bytes: &[u8]| {
        let mut document = json(bytes)?;
        document.as_object_mut()?.remove("vcek");
        Some(document)
    };
    without(case.before).is_some_and(|document| Some(document) == without(case.after))
}

fn is_padded_otherwise(case: &Accepted<'_>) -> bool {
    let trimmed = |bytes: &[u8]| {
        let mut document = json(bytes)?;
        let report = document.get_mut("report")?.as_array_mut()?;
        while report.last().is_some_and(|byte| *byte == 0) {
            report.pop();
        }
        Some(document)
    };
    trimmed(case.before).is_some_and(|document| Some(document) == trimmed(case.after))
}

fn is_quote_with_other_chain(case: &Accepted<'_>) -> bool {
    let (Ok(before), Ok(mut after)) = (Quote::parse(case.before), Quote::parse(case.after)) else {
        return false;
    };
    let chains = (before.certification.data, after.certification.data);
    after.certification.data = before.certification.data;
    before == after && is_spoiled_at_most(chains.0, chains.1)
}

fn reads_the_same(case: &Accepted<'_>) -> bool {
    let (before, mut after) = (Endorsements::sort([case.before]), Endorsements::sort([case.after]));
    after.left_aside = before.left_aside;
    after == before
}

/// Every piece of `after` was in `before`, or carries a signature of nobody.
fn is_spoiled_at_most(before: &[u8], after: &[u8]) -> bool {
    let (before, after) = (Endorsements::sort([before]), Endorsements::sort([after]));
    let shipped = TrustAnchors::vendors();
    let roots: Vec<&Certificate> = shipped.iter().filter_map(|root| root.certificate()).collect();
    let issuers = || roots.iter().copied().chain(&before.certificates).chain(&after.certificates);
    let certificates = after.certificates.iter().all(|certificate| {
        let mut keys = issuers().map(|issuer| &issuer.public_key);
        before.certificates.contains(certificate) || !keys.any(|key| certificate.is_signed_by(key))
    });
    let crls = after.crls.iter().all(|crl| {
        let mut keys = issuers().map(|issuer| &issuer.public_key);
        before.crls.contains(crl) || !keys.any(|key| crl.is_signed_by(key))
    });
    let infos = after.tcb_infos.iter().all(|info| before.tcb_infos.contains(info));
    let identities = after.qe_identities.iter().all(|id| before.qe_identities.contains(id));
    let rims = after.rims.iter().all(|rim| before.rims.contains(rim));
    let answers = after.ocsp_answers.iter().all(|answer| before.ocsp_answers.contains(answer));
    certificates && crls && infos && identities && rims && answers
}

impl Accepted<'_> {
    /// Where the change begins and how it looks, for whoever has to extend the list.
    pub fn difference(&self) -> String {
        let same = self.before.iter().zip(self.after).take_while(|(a, b)| a == b).count();
        let shown = |bytes: &[u8]| {
            let start = same.saturating_sub(16).min(bytes.len());
            let end = (same + 24).min(bytes.len());
            String::from_utf8_lossy(&bytes[start..end]).into_owned()
        };
        format!(
            "{} bytes, then {} bytes; first difference at {same}: {:?} became {:?}",
            self.before.len(),
            self.after.len(),
            shown(self.before),
            shown(self.after)
        )
    }
}
