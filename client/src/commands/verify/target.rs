//! What is verified: a live service, a saved report, or an evidence bundle.

use std::path::Path;

use anyhow::{Context, bail};
use bulla_attestation::aci::session::MAX_SESSION_BYTES;
use bulla_attestation::appraise::Freshness;
use bulla_wire::cbor::Bytes;
use bulla_wire::evidence::MAX_REPORT_BYTES;
use bulla_wire::evidence_bundle::{EvidenceBundle, KIND_ACI, MAX_BUNDLE_BYTES};
use bulla_wire::http::PATH_ATTESTATION;
use bulla_wire::ids::{Digest, InstanceId};
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER;
use rand_core::Rng;

use crate::io::folder::read_limited;
use crate::io::system::{SystemRng, now};
use crate::io::tls::{ObservedKey, ServerIdentity};
use crate::io::transport::Transport;

/// An aggregator's records of its upstreams (aci/1 §8.1).
const PATH_SESSIONS: &str = "/v1/aci/sessions";

/// A report as it came.
pub(super) struct Fetched {
    /// JSON as served.
    pub report: Vec<u8>,
    /// Endorsements that came in a bundle.
    pub endorsements: Vec<Vec<u8>>,
    /// What is known of its age.
    pub freshness: Freshness,
    /// When it was collected.
    pub collected_at: UnixSeconds,
    /// Records of the sessions asked for, by their ids.
    pub sessions: Vec<(Digest, Vec<u8>)>,
    /// The connection it came over; `None` for files.
    pub connection: Option<Connection>,
}

/// How a live service was met.
pub(super) struct Connection {
    /// The host name asked for.
    pub host: String,
    /// The TLS key it showed; `None` over plain HTTP on loopback.
    pub tls_key: Option<Digest>,
}

/// Reads a file: a report, or a bundle with one.
pub(super) fn saved(path: &Path) -> anyhow::Result<Fetched> {
    let bytes = read_limited(path, MAX_BUNDLE_BYTES)?;
    if EvidenceBundle::is_likely(&bytes) {
        let bundle = EvidenceBundle::from_slice(&bytes);
        return unpacked(bundle.with_context(|| path.display().to_string())?);
    }
    if bytes.len() > MAX_REPORT_BYTES {
        bail!("{} has more than {MAX_REPORT_BYTES} bytes", path.display());
    }
    Ok(Fetched {
        report: bytes,
        endorsements: Vec::new(),
        freshness: Freshness::Passport,
        collected_at: now().seconds(),
        sessions: Vec::new(),
        connection: None,
    })
}

fn unpacked(bundle: EvidenceBundle) -> anyhow::Result<Fetched> {
    let mut reports = bundle.evidence.into_iter().filter(|piece| piece.kind == KIND_ACI);
    let (Some(report), None) = (reports.next(), reports.next()) else {
        bail!("not a bundle with one aci/1 report: judge raw evidence with `bulla appraise`");
    };
    let freshness = match bundle.nonce {
        None => Freshness::Passport,
        Some(Bytes(nonce)) => {
            Freshness::Nonce(nonce.try_into().ok().context("its nonce is not 32 bytes")?)
        }
    };
    Ok(Fetched {
        report: report.bytes.0,
        endorsements: bundle.endorsements.into_iter().map(|Bytes(bytes)| bytes).collect(),
        freshness,
        collected_at: bundle.collected_at,
        sessions: Vec::new(),
        connection: None,
    })
}

/// Asks a service for its report, under a fresh nonce unless a `passport` will do. Any certificate
/// is taken: a public authority's signature says nothing about where TLS ends (aci/1 §1.1), so the
/// key that was shown is compared with the attested keyset afterwards.
pub(super) async fn live(
    url: &str,
    instance: Option<&InstanceId>,
    passport: bool,
    asked: &[Digest],
) -> anyhow::Result<Fetched> {
    if !url.contains("://") {
        bail!("{url:?} is neither a file nor an address (https://HOST[:PORT])");
    }
    let observed = ObservedKey::default();
    let identity = ServerIdentity::DangerousAny(observed.clone());
    let transport = Transport::new(url, Some(&identity), None)?;
    let (query, freshness) = query(instance, passport);
    let path = format!("{PATH_ATTESTATION}{query}");
    let report = transport.fetch(&path, MAX_REPORT_BYTES).await?.to_vec();
    let mut sessions = Vec::new();
    for id in asked {
        let record = transport.fetch(&format!("{PATH_SESSIONS}/{id}"), MAX_SESSION_BYTES).await?;
        sessions.push((*id, record.to_vec()));
    }
    let host = host_of(transport.base());
    Ok(Fetched {
        report,
        endorsements: Vec::new(),
        freshness,
        collected_at: now().seconds(),
        sessions,
        connection: Some(Connection { host, tls_key: observed.seen() }),
    })
}

fn query(instance: Option<&InstanceId>, passport: bool) -> (String, Freshness) {
    let mut parts = Vec::new();
    let freshness = match passport {
        true => Freshness::Passport,
        false => {
            let mut nonce = [0; 32];
            SystemRng::new().fill_bytes(&mut nonce);
            parts.push(format!("nonce={}", HEXLOWER.encode(&nonce)));
            Freshness::Nonce(nonce)
        }
    };
    parts.extend(instance.map(|instance| format!("instance={instance}")));
    let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
    (query, freshness)
}

fn host_of(base: &str) -> String {
    let authority = base.split("://").nth(1).unwrap_or(base);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    };
    host.unwrap_or(authority).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_out_of_addresses() {
        assert_eq!(host_of("https://a.example:8443"), "a.example");
        assert_eq!(host_of("https://[::1]:8443"), "::1");
        assert_eq!(host_of("https://a.example"), "a.example");
    }
}
