//! What OCSP answers and revocation lists say of the certificates of a path.
//!
//! An answer counts inside its window, and a list until its successor is due: outside, they say
//! nothing. A responder whose own certificate is out of its dates says nothing either.

use crate::endorsement::ocsp::{OcspAnswer, OcspStatus, Signer};
use crate::endorsement::{Certificate, Crl, Endorsements, rfc3339};

/// Most answers about one certificate, and most lists of one authority, that are looked at (ours;
/// one of each is usual). Whoever hands over more could as well have left some out.
const MAX_SOURCES: usize = 8;

/// What is known of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not revoked, until this second.
    Good { until: i64 },
    /// On hold: revoked, until the vendor takes it back.
    Hold,
    /// Revoked; the CRLReason, where there is one.
    Revoked(Option<u8>),
    /// Nothing that speaks for this time.
    Unknown(String),
}

/// What is known of each certificate of a path, and whether the sources are genuine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standings {
    /// Name of the certificate, and what is known of it.
    pub of: Vec<(String, Standing)>,
    /// Answers about these certificates; how many are genuine.
    pub answers: (usize, usize),
    /// Lists of these authorities; how many are genuine.
    pub lists: (usize, usize),
}

impl Standings {
    /// Looks up each certificate, given with its issuer.
    pub fn find<'a>(
        links: impl Iterator<Item = (&'a Certificate, &'a Certificate)>,
        endorsements: &Endorsements,
        now: i64,
    ) -> Standings {
        let mut standings = Standings::default();
        for (certificate, issuer) in links {
            let from_answers = standings.ask(certificate, issuer, &endorsements.ocsp_answers, now);
            let from_lists = standings.look_up(certificate, issuer, &endorsements.crls, now);
            let name = certificate.subject.common_name.clone();
            standings.of.push((name, from_answers.worse(from_lists)));
        }
        standings
    }

    fn ask(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
        answers: &[OcspAnswer],
        now: i64,
    ) -> Standing {
        let mut standing = Standing::Unknown("no answer and no list given".to_owned());
        let about =
            answers.iter().filter_map(|answer| Some((answer, answer.about(certificate, issuer)?)));
        for (answer, entry) in about.take(MAX_SOURCES) {
            self.answers.0 += 1;
            let Some(signer) = answer.signer(issuer) else { continue };
            self.answers.1 += 1;
            let may_speak = match signer {
                Signer::Issuer => true,
                Signer::Appointed(responder) => responder.is_valid_at(now),
            };
            let said = if answer.has_unknown_critical {
                Standing::Unknown("an answer with a critical extension nobody knows".to_owned())
            } else if !entry.is_current(now) {
                let until = entry.next_update.map_or("no end".to_owned(), rfc3339);
                let since = rfc3339(entry.this_update);
                Standing::Unknown(format!("an answer for {since} to {until}"))
            } else if !may_speak {
                Standing::Unknown("the responder's certificate is outside its dates".to_owned())
            } else {
                match entry.status {
                    OcspStatus::Good => Standing::Good { until: entry.next_update.unwrap_or(now) },
                    OcspStatus::Hold => Standing::Hold,
                    OcspStatus::Revoked(reason) => Standing::Revoked(reason),
                    OcspStatus::Unknown => {
                        Standing::Unknown("the responder does not know it".to_owned())
                    }
                }
            };
            standing = standing.worse(said);
        }
        standing
    }

    fn look_up(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
        lists: &[Crl],
        now: i64,
    ) -> Standing {
        let mut standing = Standing::Unknown("no answer and no list given".to_owned());
        let named = lists.iter().filter(|list| list.issuer == issuer.subject);
        for list in named.take(MAX_SOURCES) {
            self.lists.0 += 1;
            let may_sign = issuer.key_usage.is_some_and(|usage| usage.signs_crls);
            if !may_sign || !list.is_signed_by(&issuer.public_key) {
                continue;
            }
            self.lists.1 += 1;
            if list.has_unknown_critical || !list.is_current(now) {
                continue;
            }
            let said = match list.revokes(&certificate.serial, now) {
                true => Standing::Revoked(None),
                false => Standing::Good { until: list.next_update.unwrap_or(now) },
            };
            standing = standing.worse(said);
        }
        standing
    }
}

impl Standing {
    /// Revoked counts before on hold, that before good, and anything before nothing. Of two that
    /// say nothing the first is kept, unless it says no more than that nothing was given.
    fn worse(self, other: Standing) -> Standing {
        let rank = |standing: &Standing| match standing {
            Standing::Unknown(_) => 0,
            Standing::Good { .. } => 1,
            Standing::Hold => 2,
            Standing::Revoked(_) => 3,
        };
        match (&self, &other) {
            (Standing::Unknown(own), Standing::Unknown(_)) if own.starts_with("no ") => other,
            _ if rank(&other) > rank(&self) => other,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use p384::ecdsa::signature::Signer as _;
    use p384::ecdsa::{Signature, SigningKey};

    use super::*;
    use crate::endorsement::{Revoked, der};
    use crate::signature::PublicKey;

    /// An authority, and a list of its own from second 10 to second 20 that revokes nothing.
    fn authority() -> (Certificate, Crl) {
        let key = SigningKey::from_slice(&[7; 48]).unwrap();
        let root = include_bytes!("roots/device-identity-ca.der");
        let mut authority = Certificate::from_der(root).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        authority.public_key = PublicKey::P384(point.as_bytes().to_vec().into());
        let ecdsa_with_sha_384 = der(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]]);
        let made_at = der(0x17, &[b"260101000000Z"]);
        let signed =
            der(0x30, &[&[2, 1, 1], &ecdsa_with_sha_384, &authority.subject.der, &made_at]);
        let signature: Signature = key.sign(&signed);
        let signature = der(3, &[&[0], signature.to_der().as_bytes()]);
        let whole = der(0x30, &[&signed, &ecdsa_with_sha_384, &signature]);
        // What a list says is changed behind its signature: only the bytes are signed.
        let mut list = Crl::from_der(&whole).unwrap();
        (list.this_update, list.next_update) = (10, Some(20));
        (authority, list)
    }

    fn nothing() -> Standing {
        Standing::Unknown("no answer and no list given".to_owned())
    }

    #[test]
    fn a_list_says_nothing_outside_its_window_or_with_an_unknown_critical_extension() {
        let (authority, list) = authority();
        let said = |now: i64, has_unknown_critical: bool, is_revoked: bool| {
            let mut list = list.clone();
            list.has_unknown_critical = has_unknown_critical;
            let serial = authority.serial.clone();
            list.revoked.extend(is_revoked.then_some(Revoked { serial, since: 0 }));
            let mut standings = Standings::default();
            let said = standings.look_up(&authority, &authority, &[list], now);
            assert_eq!(standings.lists, (1, 1), "genuine in any case");
            said
        };
        for at in [10, 20] {
            assert_eq!(said(at, false, false), Standing::Good { until: 20 }, "{at}");
            assert_eq!(said(at, false, true), Standing::Revoked(None), "{at}");
        }
        for is_revoked in [false, true] {
            for (now, is_unknown) in [(9, false), (21, false), (15, true), (9, true), (21, true)] {
                assert_eq!(said(now, is_unknown, is_revoked), nothing(), "{now}, {is_unknown}");
            }
        }
    }

    #[test]
    fn a_list_that_its_authority_did_not_sign_or_may_not_sign_says_nothing() {
        let (authority, list) = authority();
        let root = include_bytes!("roots/device-identity-ca.der");
        let another_key = Certificate::from_der(root).unwrap();
        let mut without_usage = authority.clone();
        without_usage.key_usage = None;
        for issuer in [another_key, without_usage] {
            let mut standings = Standings::default();
            let said = standings.look_up(&authority, &issuer, std::slice::from_ref(&list), 15);
            assert_eq!((said, standings.lists), (nothing(), (1, 0)));
        }
    }

    #[test]
    fn the_worse_of_two_words_counts_and_of_equals_the_first() {
        let unknown = |why: &str| Standing::Unknown(why.to_owned());
        let in_order = [
            nothing(),
            unknown("an answer of yesterday"),
            Standing::Good { until: 1 },
            Standing::Hold,
            Standing::Revoked(Some(4)),
        ];
        for (place, better) in in_order.iter().enumerate() {
            for worse in &in_order[place..] {
                assert_eq!(better.clone().worse(worse.clone()), *worse);
                assert_eq!(worse.clone().worse(better.clone()), *worse);
            }
        }
        for (first, second) in [
            (unknown("an answer of yesterday"), unknown("the responder does not know it")),
            (Standing::Good { until: 1 }, Standing::Good { until: 2 }),
            // A list gives no reason, an answer may.
            (Standing::Revoked(Some(4)), Standing::Revoked(None)),
        ] {
            assert_eq!(first.clone().worse(second), first);
        }
    }
}
