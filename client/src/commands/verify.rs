//! `bulla verify`: is there an enclave behind this address, and whose workload is it?

use std::path::PathBuf;

use anyhow::{Context, bail};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::policy::Policy;
use bulla_attestation::result::AttestationResult;
use bulla_wire::evidence::{AttestationReport, MAX_REPORT_BYTES};
use bulla_wire::http::PATH_ATTESTATION;
use bulla_wire::ids::{Digest, InstanceId};
use clap::Args;
use data_encoding::HEXLOWER;
use rand_core::Rng;
use serde_json::json;

use super::show::{BAD, FAINT, GOOD, WARN};
use super::{EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::io::client::{anchors, policy};
use crate::io::folder::{Folder, read_limited};
use crate::io::system::{SystemRng, now};
use crate::io::tls::{ObservedKey, ServerIdentity};
use crate::io::transport::Transport;

/// The policies shipped with bulla, by name.
pub(super) const SHIPPED: [(&str, &str); 4] = [
    ("authentic", include_str!("../../../policies/appraisal/authentic.toml")),
    ("standard", include_str!("../../../policies/appraisal/standard.toml")),
    ("strict", include_str!("../../../policies/appraisal/strict.toml")),
    ("development", include_str!("../../../policies/appraisal/development.toml")),
];
/// The policy when nothing is configured: judges evidence, says nothing of whose workload it is.
const USUAL_POLICY: &str = "authentic";
/// Largest simulated root, in bytes.
const MAX_ROOT_BYTES: usize = 64 * 1024;

/// Appraises a service.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Address of an enclave or broker (https://HOST:PORT), or a file with a saved report
    pub target: String,
    /// Which enclave behind a broker; its first when left out
    #[arg(long)]
    pub instance: Option<InstanceId>,
    /// Policy: a file, or one shipped with bulla: authentic, standard, strict, development
    /// [default: the client's configured policy, else authentic]
    #[arg(long)]
    pub policy: Option<String>,
    /// Root certificate (DER) of a simulated TEE to trust besides; the policy must allow it
    #[arg(long, value_name = "FILE")]
    pub simulated_root: Vec<PathBuf>,
    /// Ask for the cacheable report instead of a fresh one: binding is judged, freshness is not
    #[arg(long)]
    pub passport: bool,
}

/// A report as it came.
struct Fetched {
    report: Vec<u8>,
    freshness: Freshness,
    tls_key: Option<Digest>,
    host: String,
}

impl Verify {
    /// Fetches, appraises, shows. Exit code 0 affirmed, 1 refused.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let (policy, anchors) = self.rules(global)?;
        let fetched = self.fetch().await?;
        let report = AttestationReport::from_json(&fetched.report)?;
        let freshness = fetched.freshness.clone();
        let result = appraise(&report, &anchors, &policy, freshness, now().seconds());
        let digest = bulla_attestation::hash::keyset_digest(&report.attestation.workload_keyset);
        let tls = tls_verdict(&report, &fetched);
        if global.json {
            let document = json!({
                "result": result,
                "keyset_digest": digest.prefixed(),
                "subject": report.attestation.workload_keyset.subject,
                "tls_key": fetched.tls_key,
                "tls": tls.word(),
            });
            println!("{}", serde_json::to_string_pretty(&document)?);
        } else {
            show(&result, &report, &digest, tls);
        }
        Ok(if result.is_affirmed() { EXIT_OK } else { EXIT_REFUSED })
    }

    /// Policy and anchors: the client's own where it is configured, unless others are named.
    fn rules(&self, global: &GlobalArgs) -> anyhow::Result<(Policy, TrustAnchors)> {
        let folder = Folder::open(&global.client_folder())?;
        let path = global.config.clone().unwrap_or_else(|| folder.config_path());
        let config = match path.exists() || global.config.is_some() {
            true => Some(folder.config(&path)?),
            false => None,
        };
        let policy = match (&self.policy, &config) {
            (Some(name), _) => named_policy(name)?,
            (None, Some(config)) => policy(&config.appraisal.policy)?,
            (None, None) => named_policy(USUAL_POLICY)?,
        };
        let mut anchors = match &config {
            Some(config) => anchors(&config.appraisal)?,
            None => TrustAnchors::vendors(),
        };
        for path in &self.simulated_root {
            let label = path.display().to_string();
            let root = TrustAnchor::simulated(&label, &read_limited(path, MAX_ROOT_BYTES)?);
            anchors = anchors.with(root.with_context(|| label)?);
        }
        Ok((policy, anchors))
    }

    async fn fetch(&self) -> anyhow::Result<Fetched> {
        let path = PathBuf::from(&self.target);
        if path.is_file() {
            let report = read_limited(&path, MAX_REPORT_BYTES)?;
            let (freshness, host) = (Freshness::Passport, String::new());
            return Ok(Fetched { report, freshness, tls_key: None, host });
        }
        if !self.target.contains("://") {
            bail!("{:?} is neither a file nor an address (https://HOST[:PORT])", self.target);
        }
        let observed = ObservedKey::default();
        let identity = ServerIdentity::DangerousAny(observed.clone());
        let transport = Transport::new(&self.target, Some(&identity), None)?;
        let (query, freshness) = self.query();
        let path = format!("{PATH_ATTESTATION}{query}");
        let report = transport.fetch(&path, MAX_REPORT_BYTES).await?.to_vec();
        let host = host_of(transport.base());
        Ok(Fetched { report, freshness, tls_key: observed.seen(), host })
    }

    fn query(&self) -> (String, Freshness) {
        let mut parts = Vec::new();
        let freshness = match self.passport {
            true => Freshness::Passport,
            false => {
                let mut nonce = [0; 32];
                SystemRng::new().fill_bytes(&mut nonce);
                parts.push(format!("nonce={}", HEXLOWER.encode(&nonce)));
                Freshness::Nonce(nonce)
            }
        };
        parts.extend(self.instance.as_ref().map(|instance| format!("instance={instance}")));
        let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
        (query, freshness)
    }
}

/// The policy shipped under `name`, or in the file called so.
pub(super) fn named_policy(name: &str) -> anyhow::Result<Policy> {
    match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        Some((_, text)) => Ok(Policy::from_toml(text)?),
        None => Ok(policy(&PathBuf::from(name))?),
    }
}

fn host_of(base: &str) -> String {
    let authority = base.split("://").nth(1).unwrap_or(base);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    };
    host.unwrap_or(authority).to_owned()
}

/// What the TLS key says about who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsVerdict {
    /// The connection ended inside the enclave.
    Attested,
    /// Somebody else answered: a broker, a relay, a TLS terminator.
    Other,
    /// There was no TLS connection.
    None,
}

impl TlsVerdict {
    fn word(self) -> &'static str {
        match self {
            TlsVerdict::Attested => "attested",
            TlsVerdict::Other => "not_in_keyset",
            TlsVerdict::None => "none",
        }
    }
}

fn tls_verdict(report: &AttestationReport, fetched: &Fetched) -> TlsVerdict {
    let Some(key) = fetched.tls_key else { return TlsVerdict::None };
    let pinned = report.attestation.workload_keyset.tls_public_keys.iter().any(|entry| {
        let for_host = entry.domain.as_deref().is_none_or(|domain| domain == fetched.host);
        entry.spki_sha256 == key && for_host
    });
    if pinned { TlsVerdict::Attested } else { TlsVerdict::Other }
}

fn show(result: &AttestationResult, report: &AttestationReport, digest: &Digest, tls: TlsVerdict) {
    let text = result.to_string();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let style = match (result.is_affirmed(), result.is_simulated()) {
        (false, _) => BAD,
        (true, true) => WARN,
        (true, false) => GOOD,
    };
    anstream::println!("{style}{}{style:#}", super::show::harmless(first));
    anstream::print!("{}", super::show::harmless(rest));
    let subject = report.attestation.workload_keyset.subject.as_deref().unwrap_or("-");
    println!("keyset   {}", digest.prefixed());
    println!("subject  {}", super::show::harmless(subject));
    match tls {
        TlsVerdict::Attested => println!("tls      this connection ends at a key of the keyset"),
        TlsVerdict::Other => anstream::println!(
            "tls      {FAINT}another key than the keyset's: a broker or relay answered; what is sealed to the keyset stays closed to it{FAINT:#}"
        ),
        TlsVerdict::None => println!("tls      no TLS connection was judged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_policy_reads() {
        for (name, _) in SHIPPED {
            assert_eq!(named_policy(name).unwrap().name(), name);
        }
    }

    #[test]
    fn hosts_are_read_out_of_addresses() {
        assert_eq!(host_of("https://a.example:8443"), "a.example");
        assert_eq!(host_of("https://[::1]:8443"), "::1");
        assert_eq!(host_of("https://a.example"), "a.example");
    }
}
