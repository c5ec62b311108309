//! `bulla verify`: is there an enclave behind this address, and whose workload is it?
//!
//! Speaks to any aci/1 service. Exit code 0: the evidence is affirmed, that of devices beside it
//! too, a live connection is bound to it, and the sessions asked about hold; 1: not so; 2: no report
//! could be had or read.

mod channel;
mod sessions;
mod target;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context;
use bulla_attestation::aci::{ServiceReport, read_report};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{MAX_FILE_BYTES, Role};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::cbor::Bytes;
use bulla_wire::evidence::{AttestationReport, Endorsement, MAX_ENDORSEMENTS};
use bulla_wire::ids::{Digest, InstanceId};
use bulla_wire::units::UnixSeconds;
use clap::Args;
use serde_json::json;

use self::channel::Channel;
use self::sessions::Upstream;
use self::target::Fetched;
use super::show::{BAD, FAINT, GOOD, WARN, harmless};
use super::{EXIT_OK, EXIT_REFUSED, GlobalArgs};
use crate::commands::appraise::instant;
use crate::endorsements::{Material, Request};
use crate::io::client::{anchors, policy};
use crate::io::endorsements::{Cache, Gathered};
use crate::io::folder::{Folder, read_limited};

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
    /// Address of an enclave or broker (https://HOST:PORT), or a file with a saved report or bundle
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
    /// Certificates, revocation lists, collateral, manifests, OCSP answers besides those that came
    /// with the report and those kept (see `bulla endorsements`)
    #[arg(long, value_name = "FILE")]
    pub endorsement: Vec<PathBuf>,
    /// Ask for the cacheable report instead of a fresh one: binding is judged, freshness is not
    #[arg(long)]
    pub passport: bool,
    /// Judge a saved report as of this instant (RFC 3339) [default: when a bundle says it was
    /// collected, else now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub at: Option<UnixSeconds>,
    /// Check this session of an aggregator, too: which upstream it verified, and how (repeatable)
    #[arg(long, value_name = "ID")]
    pub session: Vec<Digest>,
    /// Write report, endorsements and nonce to a bundle, to be judged again offline
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// Everything that was found out.
struct Found {
    result: AttestationResult,
    /// One verdict per document of device evidence beside the report's own.
    devices: Vec<AttestationResult>,
    report: AttestationReport,
    channel: Channel,
    sessions: Vec<Upstream>,
    tls_key: Option<Digest>,
    collected_at: UnixSeconds,
    /// How many endorsements the cache added.
    kept: usize,
    /// What is needed and not at hand, with where it is to be had.
    missing: Vec<(String, Option<String>)>,
    remarks: Vec<String>,
}

impl Verify {
    /// Fetches, appraises, shows. Exit code 0 affirmed, 1 refused.
    pub async fn run(&self, global: &GlobalArgs) -> anyhow::Result<u8> {
        let (policy, anchors) = self.rules(global)?;
        let path = PathBuf::from(&self.target);
        let mut fetched = match path.is_file() {
            true => target::saved(&path)?,
            false => {
                let instance = self.instance.as_ref();
                target::live(&self.target, instance, self.passport, &self.session).await?
            }
        };
        for path in &self.endorsement {
            let mut given = Material::default();
            given.add(
                &path.display().to_string(),
                &read_limited(path, MAX_FILE_BYTES)?,
                Role::Endorsement,
            )?;
            fetched.endorsements.extend(given.endorsements);
        }
        let cache = Cache::open(&Folder::open(&global.client_folder())?)?;
        let at = self.at.unwrap_or(fetched.collected_at);
        let (material, gathered) = gather(&fetched, &cache, at)?;
        if let Some(path) = &self.save {
            save(path, &material, &gathered, &fetched, &policy)?;
        }
        let found = judge(fetched, &gathered, &anchors, &policy, at)?;
        match global.json {
            true => println!("{}", serde_json::to_string_pretty(&found.document())?),
            false => found.show(),
        }
        Ok(if found.is_good() { EXIT_OK } else { EXIT_REFUSED })
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
}

pub(super) fn named_policy(name: &str) -> anyhow::Result<Policy> {
    match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        Some((_, text)) => Ok(Policy::from_toml(text)?),
        None => Ok(policy(&PathBuf::from(name))?),
    }
}

/// Everything of one report, and what the cache adds to it.
fn gather(
    fetched: &Fetched,
    cache: &Cache,
    at: UnixSeconds,
) -> anyhow::Result<(Material, Gathered)> {
    let mut material = Material::default();
    material.add("report", &fetched.report, Role::Anything)?;
    material.endorsements.extend(fetched.endorsements.iter().cloned());
    let at = i64::try_from(at.0).unwrap_or(i64::MAX);
    let gathered = Gathered::gather(&material, Some(cache), None, at)?;
    Ok((material, gathered))
}

/// Writes everything to a bundle: the report as served, all endorsements, the nonce that was sent.
fn save(
    path: &PathBuf,
    material: &Material,
    gathered: &Gathered,
    fetched: &Fetched,
    policy: &Policy,
) -> anyhow::Result<()> {
    let mut bundle = material.bundle(gathered.taken().map(<[u8]>::to_vec), fetched.collected_at);
    bundle.policy = Some(policy.digest());
    if let Freshness::Nonce(nonce) = fetched.freshness {
        bundle.nonce = Some(Bytes(nonce.to_vec()));
    }
    let bytes = bundle.to_vec().context("the report does not fit into a bundle")?;
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn judge(
    fetched: Fetched,
    gathered: &Gathered,
    anchors: &TrustAnchors,
    policy: &Policy,
    at: UnixSeconds,
) -> anyhow::Result<Found> {
    let ServiceReport { mut report, devices, left_aside } = read_report(&fetched.report)?;
    let more = fetched.endorsements.iter().map(Vec::as_slice).chain(gathered.taken());
    let pieces = &mut report.attestation.evidence.endorsements;
    let room = MAX_ENDORSEMENTS.saturating_sub(pieces.len());
    let added = more.map(|data| Endorsement { kind: "kept".to_owned(), data: data.to_vec() });
    pieces.extend(added.take(room));
    let blobs = report.attestation.evidence.endorsements.iter();
    let endorsements = Endorsements::sort(blobs.map(|piece| piece.data.as_slice()));
    let devices = devices.iter().map(|document| {
        let expected = Expectations::default();
        appraise_raw(TeeKind::Nvidia, document, &endorsements, anchors, policy, &expected, at)
    });
    let devices = devices.collect();
    let result = appraise(&report, anchors, policy, fetched.freshness, at);
    let missing = gathered
        .missing
        .iter()
        .map(|need| (need.to_string(), Request::of(need).ok().map(|request| request.url())));
    let mut remarks = gathered.needs.remarks.clone();
    remarks.extend(left_aside.into_iter().map(|left| format!("left aside: {left}")));
    Ok(Found {
        channel: Channel::of(&report.attestation.workload_keyset, fetched.connection.as_ref()),
        sessions: fetched
            .sessions
            .iter()
            .map(|(id, record)| Upstream::read(id, record, at))
            .collect(),
        tls_key: fetched.connection.and_then(|connection| connection.tls_key),
        collected_at: fetched.collected_at,
        kept: gathered.kept.len(),
        missing: missing.collect(),
        result,
        devices,
        report,
        remarks,
    })
}

impl Found {
    fn is_good(&self) -> bool {
        let devices = self.devices.iter().all(AttestationResult::is_affirmed);
        self.result.is_affirmed()
            && devices
            && self.channel != Channel::Unbound
            && self.sessions.iter().all(Upstream::is_good)
    }

    fn keyset_digest(&self) -> Digest {
        bulla_attestation::hash::keyset_digest(&self.report.attestation.workload_keyset)
    }

    fn document(&self) -> serde_json::Value {
        let attestation = &self.report.attestation;
        let missing = self.missing.iter().map(|(need, url)| json!({ "need": need, "url": url }));
        json!({
            "result": self.result,
            "devices": self.devices,
            "keyset_digest": self.keyset_digest().prefixed(),
            "subject": attestation.workload_keyset.subject,
            "tls_key": self.tls_key,
            "tls": self.channel.tls_word(self.tls_key.is_some()),
            "channel": self.channel.word(),
            "sessions": self.sessions.iter().map(Upstream::document).collect::<Vec<_>>(),
            "serving": self.report.service_capabilities.serving,
            "stated_provenance": attestation.source_provenance,
            "collected_at": self.collected_at,
            "endorsements": { "kept": self.kept, "missing": missing.collect::<Vec<_>>() },
            "remarks": self.remarks,
        })
    }

    fn show(&self) {
        for result in std::iter::once(&self.result).chain(&self.devices) {
            show_result(result);
        }
        let attestation = &self.report.attestation;
        let subject = attestation.workload_keyset.subject.as_deref().unwrap_or("-");
        println!("keyset   {}", self.keyset_digest().prefixed());
        println!("subject  {}", harmless(subject));
        let provenance = &attestation.source_provenance;
        for (what, text) in [
            ("source", &provenance.repo_url),
            ("commit", &provenance.repo_commit),
            ("image", &provenance.image_digest),
        ] {
            if let Some(text) = text {
                let text: String = text.chars().take(200).collect();
                anstream::println!(
                    "{what:8} {FAINT}{} (its own word, not measured){FAINT:#}",
                    harmless(&text)
                );
            }
        }
        self.show_channel();
        if self.report.service_capabilities.serving == "aggregator" {
            anstream::println!(
                "serving  {WARN}an aggregator{WARN:#}: it forwards prompts; see its sessions (--session)"
            );
        }
        self.sessions.iter().for_each(Upstream::show);
        for (need, url) in &self.missing {
            let url = url.as_deref().unwrap_or("nobody's service has it");
            anstream::println!("{FAINT}missing  {} ({url}){FAINT:#}", harmless(need));
        }
        for remark in &self.remarks {
            anstream::println!("{FAINT}remark   {}{FAINT:#}", harmless(remark));
        }
    }

    fn show_channel(&self) {
        match self.channel {
            Channel::Tls => println!("tls      this connection ends at a key of the keyset"),
            Channel::Sealed => anstream::println!(
                "tls      {FAINT}another key than the keyset's: a broker or relay answered; what is sealed to the keyset stays closed to it{FAINT:#}"
            ),
            Channel::Unbound => anstream::println!(
                "tls      {BAD}refused: the keyset does not list this connection's key for this host, and has none that bulla seals to{BAD:#}"
            ),
            Channel::NotJudged => println!("tls      no connection was judged"),
        }
    }
}

fn show_result(result: &AttestationResult) {
    let text = result.to_string();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let style = match (result.is_affirmed(), result.is_simulated()) {
        (false, _) => BAD,
        (true, true) => WARN,
        (true, false) => GOOD,
    };
    anstream::println!("{style}{}{style:#}", harmless(first));
    anstream::print!("{}", harmless(rest));
}
