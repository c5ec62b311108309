//! The commands over files, with a stand-in for the vendors' services.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use bulla_wire::evidence_bundle::{EvidenceBundle, KIND_ACI};
use clap::Parser;

use super::*;
use crate::commands::{ClientCommand, run};
use crate::endorsements::Piece;
use crate::io::endorsements::Fetcher;
use crate::io::endorsements::tests::{answers, crl_between, pem, services, vcek_path};
use crate::testing::{ARK, ASK, Enclave, VCEK};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

struct Desk {
    home: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { home: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A raw report of the simulated machine, nothing beside it.
    fn report(&self) -> PathBuf {
        let report = Enclave::new("one", 1).report(None).attestation.evidence.report;
        self.write("report.bin", &report)
    }

    fn cache(&self) -> Cache {
        Cache::open(&Folder::open(&self.home.path().join("data/client")).unwrap()).unwrap()
    }

    async fn execute(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        let data = self.home.path().join("data");
        let first = ["bulla", "--json", "--data", data.to_str().unwrap()];
        let Line { global, command } = Line::parse_from(first.iter().chain(words));
        run(command, global).await
    }

    async fn code(&self, words: &[&str]) -> String {
        format!("{:?}", self.execute(words).await.unwrap())
    }

    async fn fetch(&self, words: &[&str], fetcher: &Fetcher) -> u8 {
        let line = ["bulla", "endorsements", "fetch"];
        let Line { command, .. } = Line::parse_from(line.iter().chain(words));
        let ClientCommand::Endorsements(Endorsements { what: What::Fetch(fetch) }) = command else {
            panic!("another command")
        };
        fetch.run_with(&self.cache(), fetcher, true).await.unwrap()
    }
}

fn ok() -> String {
    format!("{:?}", ExitCode::from(EXIT_OK))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn what_is_missing_is_fetched_once_and_kept() {
    let desk = Desk::new();
    let report = desk.report();
    let chain = [pem(ASK), pem(ARK)].concat();
    let (stand_in, fetcher) = services(&[
        (&vcek_path(), answers(VCEK)),
        ("/vcek/v1/Genoa/cert_chain", answers(chain.as_bytes())),
        ("/vcek/v1/Genoa/crl", answers(&current_crl())),
    ]);
    let asked = || stand_in.asked.load(Ordering::Relaxed);
    assert_eq!(desk.fetch(&[text(&report), "--dry-run"], &fetcher).await, EXIT_OK);
    assert_eq!((asked(), desk.cache().all().unwrap().len()), (0, 0), "a dry run asks nobody");
    assert_eq!(desk.fetch(&[text(&report)], &fetcher).await, EXIT_OK);
    assert_eq!((asked(), desk.cache().all().unwrap().len()), (3, 4));
    assert_eq!(desk.fetch(&[text(&report)], &fetcher).await, EXIT_OK);
    assert_eq!(asked(), 3, "what is kept is not asked for again");
}

/// A list around the time of the test: commands read the clock.
fn current_crl() -> Vec<u8> {
    crl_between("ARK-Genoa", (2020, 1), (2120, 1))
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_and_the_rest_is_kept() {
    let desk = Desk::new();
    let report = desk.report();
    let (_, fetcher) = services(&[(&vcek_path(), answers(VCEK))]);
    assert_eq!(desk.fetch(&[text(&report)], &fetcher).await, EXIT_FAILED);
    assert_eq!(desk.cache().all().unwrap().len(), 1);
    let nothing = desk.write("nothing.txt", b"nothing that is known here, at some length");
    let missing = desk.execute(&["endorsements", "fetch", text(&nothing)]).await;
    assert!(missing.unwrap_err().to_string().contains("no evidence"));
}

#[tokio::test]
async fn endorsements_are_imported_listed_and_pruned() {
    let desk = Desk::new();
    let chain = desk.write("chain.pem", [pem(ASK), pem(VCEK)].concat().as_bytes());
    let rubbish = desk.write("rubbish.bin", &[7; 100]);
    let both = ["endorsements", "import", text(&chain), text(&rubbish)];
    assert_eq!(desk.code(&both).await, ok());
    assert_eq!(desk.cache().all().unwrap().len(), 2);
    let only = ["endorsements", "import", text(&rubbish)];
    assert_eq!(desk.code(&only).await, format!("{:?}", ExitCode::from(EXIT_FAILED)));
    std::fs::write(desk.cache().path().join("damaged"), "x").unwrap();
    for words in [["endorsements", "list"], ["endorsements", "prune"]] {
        assert_eq!(desk.code(&words).await, ok());
    }
    assert!(!desk.cache().path().join("damaged").exists());
}

#[tokio::test]
async fn a_bundle_is_judged_like_the_evidence_and_endorsements_in_it() {
    let desk = Desk::new();
    let report = desk.report();
    for certificate in [VCEK, ASK] {
        desk.cache().put(certificate).unwrap();
    }
    let output = desk.home.path().join("saved.bundle");
    let nonce = "00".repeat(32);
    let words = ["endorsements", "bundle", text(&report), "-o", text(&output)];
    let more = ["--nonce", &nonce, "--policy", "authentic"];
    assert_eq!(desk.code(&[&words[..], &more].concat()).await, ok());
    let bundle = EvidenceBundle::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!((bundle.evidence[0].kind.as_str(), bundle.endorsements.len()), ("snp", 2));
    assert_eq!(bundle.nonce.as_ref().unwrap().0, [0; 32]);
    assert!(bundle.policy.is_some());
    let root = desk.write("ark.der", ARK);
    let policy = desk.write("policy.toml", simulated_authentic().as_bytes());
    let judge = ["--simulated-root", text(&root), "--policy", text(&policy)];
    let judge = [&["appraise", text(&output)][..], &judge].concat();
    assert_eq!(desk.code(&judge).await, ok());
    // Completed from a bundle, it is still that bundle, as of then.
    let again = desk.home.path().join("again.bundle");
    let words = ["endorsements", "bundle", text(&output), "-o", text(&again)];
    assert_eq!(desk.code(&words).await, ok());
    let again = EvidenceBundle::from_slice(&std::fs::read(&again).unwrap()).unwrap();
    assert_eq!(again.collected_at, bundle.collected_at);
    assert_eq!(again.nonce, bundle.nonce);
}

#[tokio::test]
async fn a_services_report_goes_into_a_bundle_whole() {
    let desk = Desk::new();
    let report = desk.write("report.json", &Enclave::new("one", 1).report(None).to_json());
    let output = desk.home.path().join("saved.bundle");
    let words = ["endorsements", "bundle", text(&report), "-o", text(&output)];
    assert_eq!(desk.code(&words).await, ok());
    let bundle = EvidenceBundle::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(bundle.evidence[0].kind, KIND_ACI);
    assert!(bundle.endorsements.iter().all(|bytes| Piece::read(&bytes.0).is_some()));
}

/// The shipped policy for evidence alone, which here takes the simulated TEE.
pub(in crate::commands) fn simulated_authentic() -> String {
    let text = include_str!("../../../../policies/appraisal/authentic.toml");
    assert!(text.contains("allow_simulated = false"));
    text.replacen("allow_simulated = false", "allow_simulated = true", 1)
}
