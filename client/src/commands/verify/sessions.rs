//! Sessions of an aggregator, as far as they can be checked without its policy (aci/1 §9.2).

use bulla_attestation::aci::session::{Session, SessionError, Status};
use bulla_wire::ids::Digest;
use bulla_wire::units::UnixSeconds;
use serde_json::{Value, json};

use crate::commands::show::{BAD, FAINT, GOOD, harmless};

/// The claim without which a session says nothing about where a prompt is seen.
const TEE_ATTESTED: &str = "tee_attested";

/// A session asked about.
pub(super) struct Upstream {
    id: Digest,
    session: Result<Session, SessionError>,
    is_current: bool,
}

impl Upstream {
    /// Reads the record of `id` as of `at`.
    pub fn read(id: &Digest, record: &[u8], at: UnixSeconds) -> Upstream {
        let session = Session::read(record, id);
        let is_current = session.as_ref().is_ok_and(|session| session.is_current(at));
        Upstream { id: *id, session, is_current }
    }

    /// The record is genuine and current, a channel was enforced, and hardware proves the TEE.
    pub fn is_good(&self) -> bool {
        self.why_not().is_none()
    }

    fn why_not(&self) -> Option<String> {
        let session = match &self.session {
            Ok(session) => session,
            Err(error) => return Some(error.to_string()),
        };
        if !self.is_current {
            let (from, to) = (session.established_at, session.expires_at);
            return Some(format!("it is valid from {from} to {to}"));
        }
        if !session.is_bound() {
            return Some("it names no channel that was enforced".to_owned());
        }
        match session.claims.get(TEE_ATTESTED) {
            Some(claim) if claim.is_hardware_proven() => None,
            Some(claim) if claim.status() == Status::Refuted => {
                Some("the aggregator says: no TEE".to_owned())
            }
            _ => Some("it does not say that hardware proves a TEE".to_owned()),
        }
    }

    /// For machines.
    pub fn document(&self) -> Value {
        let session = self.session.as_ref().ok();
        json!({
            "session_id": self.id,
            "holds": self.is_good(),
            "why_not": self.why_not(),
            "upstream": session.map(|session| &session.upstream_name),
            "endpoint": session.and_then(|session| session.endpoint.as_ref()),
            "expires_at": session.map(|session| session.expires_at),
            "evidence_bytes": session.map(|session| session.evidence.len()),
        })
    }

    /// For people.
    pub fn show(&self) {
        let id = self.id.to_string();
        let short = id.get(..12).unwrap_or(&id);
        match (&self.session, self.why_not()) {
            (Ok(session), None) => anstream::println!(
                "session  {GOOD}{short}{GOOD:#} {} {FAINT}(the aggregator's word, and evidence of {} bytes){FAINT:#}",
                harmless(&session.upstream_name),
                session.evidence.len()
            ),
            (_, why) => {
                let why = why.unwrap_or_default();
                anstream::println!("session  {BAD}{short} refused{BAD:#}: {}", harmless(&why));
            }
        }
    }
}
