//! Changes that are accepted with the same claims: which, and why they may be. A change that is
//! accepted and that no entry covers fails the test.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::rim::Rim;
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
        why: "the PCK chain is text outside the signed part of the quote, as is the type that calls \
              it a chain or a leaf. A certificate counts by its issuer's signature; one that is spoiled is not believed, and the verdict holds \
              only where another copy, or the pinned root, completes the chain",
        covers: |case| {
            case.kind == TeeKind::Tdx && case.is_evidence && is_quote_with_other_chain(case)
        },
    },
    Uncovered {
        what: "certificates inside a manifest",
        why: "the signers' chain is outside the signed part of a manifest; each certificate counts \
              by its issuer's signature, and the pinned root takes the place of a spoiled copy",
        covers: |case| {
            case.kind == TeeKind::Nvidia && !case.is_evidence && is_rim_with_other_chain(case)
        },
    },
    Uncovered {
        what: "a TD report's own MAC, and the quote's certificates, inside Azure's document",
        why: "only the machine itself can check the MAC and the hashes under it, so no claim comes \
              from them; every field that is a claim must be the quote's. The quote's certificates \
              are as those of a quote alone",
        covers: |case| {
            case.kind == TeeKind::AzureTdx && case.is_evidence && is_same_quoted_td(case)
        },
    },
    Uncovered {
        what: "what nobody signed of a Hygon certificate or report",
        why: "the owner's signature on a certificate, the serial number beside a report and a MAC \
              whose key stands beside it: none is read, no claim comes from them",
        covers: |case| case.kind == TeeKind::Csv && is_signed_csv_the_same(case),
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
    case.before.len() == case.after.len()
        && super::twins::places(case.kind, case.before).iter().any(|place| {
            let outside = |bytes: &[u8]| [&bytes[..place.start], &bytes[place.end..]].concat();
            place.end <= case.before.len() && outside(case.before) == outside(case.after)
        })
}

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

fn is_pem(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("-----BEGIN CERTIFICATE-----"))
}

fn is_same_but_vcek(case: &Accepted<'_>) -> bool {
    let without = |bytes: &[u8]| {
        let mut document = json(bytes)?;
        // Under another name it is nobody's any more.
        document.as_object_mut()?.retain(|name, value| name != "vcek" && !is_pem(value));
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
    let (Some(chain), Some(other)) =
        (before.certification.certificates(), after.certification.certificates())
    else {
        return false;
    };
    // The type says "chain" or "leaf alone"; either is read as certificates, which speak for themselves.
    after.certification = before.certification;
    before == after && is_spoiled_at_most(chain, other)
}

fn is_rim_with_other_chain(case: &Accepted<'_>) -> bool {
    let (Ok(before), Ok(mut after)) = (Rim::read(case.before), Rim::read(case.after)) else {
        return false;
    };
    if let (Ok(before), Ok(after)) = (&before.signature, &mut after.signature) {
        after.certificates = before.certificates.clone();
    }
    let others = std::mem::replace(&mut after.certificates, before.certificates.clone());
    let is_nobodys = |certificate: &Certificate| {
        let mut keys = before.certificates.iter().map(|issuer| &issuer.public_key);
        !keys.any(|key| certificate.is_signed_by(key))
    };
    before == after && others.iter().all(|one| before.certificates.contains(one) || is_nobodys(one))
}

/// Azure's document around a TD: the paravisor's report with what only the machine can check taken
/// out, the vTPM's quote, and the signed part and signature of the TD's quote.
fn is_same_quoted_td(case: &Accepted<'_>) -> bool {
    /// Where a TD report begins in a paravisor's report.
    const TD_REPORT_AT: usize = 32;
    let numbers = |value: &Value| -> Option<Vec<u8>> {
        value.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
    };
    let parts = |bytes: &[u8]| {
        let mut document = json(bytes)?;
        let mut hcl = numbers(&document["hcl_report"])?;
        // Report data stand at 128 of a TD report, what is quoted at 512, 400 bytes long.
        for unread in [0..128, 192..512, 912..1184] {
            hcl.get_mut(TD_REPORT_AT + unread.start..TD_REPORT_AT + unread.end)?.fill(0);
        }
        while hcl.last() == Some(&0) {
            hcl.pop();
        }
        let quote = numbers(&document["td_quote"])?;
        let rest = document.as_object_mut()?;
        rest.remove("hcl_report");
        rest.remove("td_quote");
        Some((hcl, quote, document))
    };
    let (Some(before), Some(after)) = (parts(case.before), parts(case.after)) else {
        return false;
    };
    let quotes = Accepted { before: &before.1, after: &after.1, ..*case };
    (&before.0, &before.2) == (&after.0, &after.2)
        && (before.1 == after.1 || is_zero_padding(&quotes) || is_quote_with_other_chain(&quotes))
}

/// Reports and certificates up to what nobody signed.
fn is_signed_csv_the_same(case: &Accepted<'_>) -> bool {
    /// The second signature of a certificate in chip form.
    const OWNERS: std::ops::Range<usize> = 1564..2084;
    /// Where the PEK stands in a report of version 2, and the length of what follows it.
    const PEK_AT: usize = 1024 + 144;
    const AFTER_PEK: usize = 128;
    const ROOT_FORM: usize = 832;
    let signed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let unread = match case.is_evidence {
            true => PEK_AT + OWNERS.start..PEK_AT + OWNERS.end + AFTER_PEK,
            false => ROOT_FORM + OWNERS.start..ROOT_FORM + OWNERS.end,
        };
        bytes.get_mut(unread)?.fill(0);
        while case.is_evidence && bytes.last() == Some(&0) {
            bytes.pop();
        }
        Some(bytes)
    };
    let inside = |bytes: &[u8]| -> Option<Vec<u8>> {
        let document = json(bytes)?;
        let data = document["attestation_report"]["data"].as_array()?;
        data.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
    };
    match (inside(case.before), inside(case.after)) {
        (Some(before), Some(after)) => signed(&before) == signed(&after),
        _ => signed(case.before).is_some_and(|before| Some(before) == signed(case.after)),
    }
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
