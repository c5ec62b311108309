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
    /// say nothing the later one is kept: it came from an answer.
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
