//! From the quote and the endorsements, the one path from the platform's key to a root, and Intel's
//! statements about this platform.
//!
//! Nothing is judged here: a piece is chosen because it is about this quote, and the checks say
//! afterwards whether it holds. Every signature is verified once, here, and remembered.

use x509_parser::pem::Pem;

use super::pck::{Platform, is_pck};
use super::quote::Quote;
use crate::anchor::TrustAnchors;
use crate::endorsement::intel::{Dated, Signed};
use crate::endorsement::path::Path;
use crate::endorsement::{Certificate, Endorsements};

/// Most certificates read from a quote (ours; a chain has three).
const MAX_QUOTE_CERTIFICATES: usize = 8;
/// Most PCK certificates tried (ours): each costs a signature.
const MAX_PCK_CERTIFICATES: usize = 8;
/// Most collateral signing certificates tried (ours; Intel has had two).
const MAX_SIGNERS: usize = 8;
/// Most statements about this platform looked at (ours): each costs a signature per signer.
const MAX_STATEMENTS: usize = 16;
/// Common name of the certificates that sign collateral.
pub(super) const SIGNER_NAME: &str = "Intel SGX TCB Signing";

/// The certificates a quote carries: PEM text, or DER one after the other.
pub(super) fn certificates(quote: &Quote<'_>) -> Vec<Certificate> {
    let data = quote.certification.certificates().unwrap_or_default();
    if data.first() == Some(&0x30) {
        return der_certificates(data);
    }
    Pem::iter_from_buffer(data)
        .take(MAX_QUOTE_CERTIFICATES)
        .map_while(Result::ok)
        .filter_map(|block| Certificate::from_der(&block.contents).ok())
        .collect()
}

fn der_certificates(mut data: &[u8]) -> Vec<Certificate> {
    let mut found = Vec::new();
    while let Some((element, rest)) = crate::endorsement::Element::read(data) {
        if found.len() == MAX_QUOTE_CERTIFICATES {
            break;
        }
        found.extend(Certificate::from_der(element.whole).ok());
        data = rest;
    }
    found
}

/// The path from the platform's key.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    /// The PCK certificate and what follows; `None` where there is no PCK certificate.
    pub path: Option<Path<'a>>,
    /// What the PCK certificate says of the platform.
    pub platform: Option<Platform>,
    /// Whether its key signed the quoting enclave's report.
    pub signs_qe_report: bool,
}

impl<'a> Chain<'a> {
    /// Finds the path for `quote`, in its own certificates and the others of `pool`.
    pub fn find(quote: &Quote<'_>, pool: &[&'a Certificate], anchors: &'a TrustAnchors) -> Self {
        let leaves = pool.iter().filter(|certificate| is_pck(certificate));
        let leaves: Vec<&Certificate> = leaves.take(MAX_PCK_CERTIFICATES).copied().collect();
        let signs = |leaf: &&&Certificate| {
            leaf.public_key.verifies_fixed(quote.qe_report.bytes, &quote.qe_signature)
        };
        let signing = leaves.iter().find(signs);
        let leaf = signing.or(leaves.first()).copied();
        Chain {
            path: leaf.map(|leaf| Path::find(leaf, pool, anchors)),
            platform: leaf.and_then(Platform::of),
            signs_qe_report: signing.is_some(),
        }
    }

    /// The PCK certificate.
    pub fn leaf(&self) -> Option<&'a Certificate> {
        Some(self.path.as_ref()?.steps.first()?.certificate)
    }

    /// Who issued it: the PCK authority, as far as there is one between leaf and root.
    pub fn intermediate(&self) -> Option<&'a Certificate> {
        let step = self.path.as_ref()?.steps.get(1)?.certificate;
        (!step.is_self_issued()).then_some(step)
    }

    /// The root, pinned or not.
    pub fn root(&self) -> Option<&'a Certificate> {
        self.path.as_ref()?.root()
    }

    /// Whether its root is a simulated one.
    pub fn is_simulated(&self) -> bool {
        self.path.as_ref().is_some_and(Path::is_simulated)
    }
}

/// Who may have signed collateral: the certificate, and whether the chain's root issued it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    pub certificate: &'a Certificate,
    pub is_issued_by_root: bool,
}

/// The collateral signing certificates of `pool`.
pub(super) fn signers<'a>(pool: &[&'a Certificate], root: Option<&Certificate>) -> Vec<Signer<'a>> {
    let named = pool.iter().filter(|certificate| certificate.subject.common_name == SIGNER_NAME);
    let signer = |certificate: &&'a Certificate| Signer {
        certificate,
        is_issued_by_root: root.is_some_and(|root| {
            certificate.issuer == root.subject && certificate.is_signed_by(&root.public_key)
        }),
    };
    named.take(MAX_SIGNERS).map(signer).collect()
}

/// One statement about this platform.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a, T> {
    pub statement: &'a T,
    /// Whose signature it carries, if anybody's.
    pub signer: Option<Signer<'a>>,
}

/// The statements that `is_about` this platform, those for `now` first, each with its signer.
pub(super) fn statements<'a, T: Dated>(
    all: &'a [Signed<T>],
    is_about: impl Fn(&T) -> bool,
    signers: &[Signer<'a>],
    now: i64,
) -> Vec<Found<'a, T>> {
    let mut about: Vec<&Signed<T>> =
        all.iter().filter(|signed| is_about(&signed.statement)).collect();
    about.sort_by_key(|signed| !signed.statement.is_current(now));
    let found = |signed: &'a Signed<T>| Found {
        statement: &signed.statement,
        signer: signers
            .iter()
            .find(|signer| signed.is_signed_by(&signer.certificate.public_key))
            .copied(),
    };
    about.into_iter().take(MAX_STATEMENTS).map(found).collect()
}

/// Intel's statements about this platform.
#[derive(Debug, Clone)]
pub(super) struct Statements<'a, T> {
    pub all: Vec<Found<'a, T>>,
    /// The one to go by: genuine, current, of the highest evaluation number, made last.
    pub chosen: Option<&'a T>,
}

impl<'a, T: Dated> Statements<'a, T> {
    /// Chooses among `all` at `now`; `is_sound` tells which signers hold.
    pub fn choose(
        all: Vec<Found<'a, T>>,
        now: i64,
        is_sound: impl Fn(&Signer<'a>) -> bool,
    ) -> Statements<'a, T> {
        let usable = all.iter().filter(|found| {
            found.statement.is_current(now) && found.signer.as_ref().is_some_and(&is_sound)
        });
        let chosen = usable
            .map(|found| found.statement)
            .max_by_key(|statement| (statement.evaluation_number(), statement.issue_date()));
        Statements { all, chosen }
    }

    /// The genuine ones that are current at `now`, or not.
    pub fn signed(&self, now: i64, is_current: bool) -> impl Iterator<Item = &Found<'a, T>> {
        self.all.iter().filter(move |found| {
            found.signer.is_some() && found.statement.is_current(now) == is_current
        })
    }

    /// Whether one carries a signature of nobody who was given.
    pub fn has_unsigned(&self) -> bool {
        self.all.iter().any(|found| found.signer.is_none())
    }
}

/// Everything given that could belong to a path: the quote's own certificates first.
pub(super) fn pool<'a>(
    own: &'a [Certificate],
    endorsements: &'a Endorsements,
) -> Vec<&'a Certificate> {
    let mut pool: Vec<&Certificate> = own.iter().collect();
    let others = endorsements.certificates.iter();
    pool.extend(others.filter(|other| !own.contains(other)));
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_follow_one_another_and_there_are_at_most_8() {
        let root = include_bytes!("../snp/roots/ark-milan.der");
        let read = |count: usize| der_certificates(&root.repeat(count)).len();
        assert_eq!([2, 8, 9].map(read), [2, 8, 8]);
    }
}
