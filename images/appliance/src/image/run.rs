//! `bulla image run`: the enclave in a machine of its own, broker and client outside.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::weights::WeightsKey;
use bulla_client::commands::{GlobalArgs, failure};
use bulla_client::io::key_broker::{KeyBroker, OneKey, is_waiting};
use bulla_enclave::command::load_engine;
use bulla_image::io::qemu::{self, Running};
use bulla_image::io::tpm::SoftwareTpm;
use bulla_wire::ids::Digest;
use bulla_wire::receipt::SecurityMode;
use clap::{Args, ValueEnum};

use super::guest::Guest;
use super::reference;
use crate::up::find_model;
use crate::up::folders::Folders;
use crate::up::paper::Paper;
use crate::up::roles::{Enclave, Home, INSTANCE, Roles, Rules, Serving};
use crate::up::story;

/// How long the machine may take to open and load its weights.
const OPENED_WITHIN: Duration = Duration::from_secs(120);

/// What is done to the machine before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tamper {
    /// One bit of the model's disk is turned.
    Volume,
    /// The command line names another root hash.
    RootHash,
    /// The command line has one word more.
    CommandLine,
}

/// Build a development image, start it under QEMU, and tell the story with the enclave inside.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Folder with the locked packages; what is missing is fetched by this machine's apt.
    #[arg(long, value_name = "DIR")]
    pub packages: PathBuf,
    /// Take `bulla-init` and `bulla-enclave` from this folder instead of compiling them.
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// The checkout it is built from.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub source: PathBuf,
    /// The model: a Hugging Face folder. Default: the demo model.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Memory of the machine.
    #[arg(long, value_name = "MIB", default_value_t = 384)]
    pub memory_mib: u64,
    /// How long the machine may take to its first answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
    /// Exit after the story: 0 when every step held.
    #[arg(long)]
    pub once: bool,
    /// Port of the local OpenAI-compatible endpoint; 0 picks one.
    #[arg(long, default_value_t = 8118)]
    pub port: u16,
    /// What to ask in the story.
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Start it by UEFI firmware beside a TPM that this machine keeps: the evidence is that TPM's
    /// quote (vtpm-dev), and the client holds register 9 against a signed manifest.
    #[arg(long)]
    pub measured: bool,
    /// Encrypt the model's files; a key broker releases their key once the machine's evidence passed.
    #[arg(long)]
    pub sealed_weights: bool,
    /// Folder with OVMF_CODE_4M.fd and OVMF_VARS_4M.fd (Debian: ovmf).
    #[arg(long, value_name = "DIR", default_value = "/usr/share/OVMF")]
    pub firmware: PathBuf,
    /// Tamper with the machine first: the story must not hold.
    #[arg(long)]
    pub tamper: Option<Tamper>,
}

/// Runs it.
pub async fn execute(args: RunArgs, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    if !qemu::is_here() {
        bail!("{} is not here (Debian: qemu-system-x86)", qemu::PROGRAM);
    }
    let model = find_model(args.model.as_deref())?;
    let folders = Folders::open(&global.data)?;
    let mut paper = Paper::new(global.json);
    paper.title("bulla image run", &format!("data in {}", folders.root().display()));
    paper.step("Build: kernel, initial RAM disk, model volume");
    let guest = Guest::build(&folders, &model, &args)?;
    for artefact in &guest.built.description.artefacts {
        paper.fact(&artefact.name, format!("{} bytes, {}", artefact.bytes, artefact.sha256));
    }
    paper.fact("command line", &guest.built.description.command_line);
    let manifest = load_engine(&model)?.info();

    let (tpm, rules) = match args.measured {
        true => measured(&folders, &guest, &mut paper)?,
        false => (None, None),
    };
    paper.step("Boot: the machine starts without hardware virtualisation and without a TEE");
    let (running, answered) = boot(&guest, &args, tpm.as_ref())?;
    paper.fact("first answer", format!("after {:.1} s", answered.as_secs_f64()));
    if let Some(kib) = running.resident_kib() {
        paper.fact("memory", format!("QEMU holds {} MiB", kib / 1024));
    }
    if let Some(key) = &guest.key {
        release(&folders, &guest, key, rules.as_ref(), &mut paper)
            .await
            .with_context(|| running.console_text())?;
    }
    let enclave = Enclave {
        instance: INSTANCE.parse()?,
        security: SecurityMode::Simulated,
        keyset_digest: None,
        model: Digest(manifest.manifest_digest),
        model_name: manifest.model,
        address: guest.address(),
    };
    let home = Home::Machine(Box::new(enclave), rules);
    tell(&folders, &model, home, &args, &mut paper).await.with_context(|| running.console_text())
}

/// A TPM, the image's reference values, and the policies that judge one by the other.
fn measured(
    folders: &Folders,
    guest: &Guest,
    paper: &mut Paper,
) -> anyhow::Result<(Option<SoftwareTpm>, Option<Rules>)> {
    paper.step("Publish: a TPM whose key is named, a signed manifest, a policy that names it");
    paper.warning(
        "VTPM-DEV: a TPM kept by this machine. It shows measured boot and protects nothing.",
    );
    let tpm = reference::provision(guest)?;
    let (rules, manifest, leaf) = reference::publish(folders, guest, &tpm)?;
    paper.fact("attestation key", tpm.root.display());
    paper.fact("manifest", format!("{}, leaf {leaf} of the log", manifest.digest()));
    for values in manifest.body().images.iter().flat_map(|image| &image.vtpm) {
        for (register, value) in &values.pcrs {
            paper.fact(&format!("PCR {register}"), value);
        }
    }
    Ok((Some(SoftwareTpm::start(&tpm.folder)?), Some(rules)))
}

/// Starts the machine and waits for the enclave's first word.
fn boot(
    guest: &Guest,
    args: &RunArgs,
    tpm: Option<&SoftwareTpm>,
) -> anyhow::Result<(Running, Duration)> {
    let mut running = guest.machine(args, tpm)?.start()?;
    let limit = Duration::from_secs(args.patience);
    let answered = running.wait_until_it_answers(guest.port, limit)?;
    Ok((running, answered))
}

/// The owner's part: the machine's evidence under the client's policy, and then the key.
async fn release(
    folders: &Folders,
    guest: &Guest,
    key: &WeightsKey,
    rules: Option<&Rules>,
    paper: &mut Paper,
) -> anyhow::Result<()> {
    paper.step("Release: the key broker appraises the machine, and seals the weights' key to it");
    let (policy, roots) = match rules {
        Some(rules) => (rules.client.clone(), rules.simulated_roots.clone()),
        None => (folders.write_policy(true)?, vec![folders.simulated_root()]),
    };
    let mut anchors = TrustAnchors::none();
    for root in &roots {
        anchors = anchors.with(TrustAnchor::simulated("simulated", &std::fs::read(root)?)?);
    }
    let policy = bulla_client::io::rules::read(&policy)?;
    let broker = KeyBroker { policy, anchors, source: OneKey(key.clone()) };
    let url = format!("https://{}", guest.address());
    let released = broker.release(&url).await?;
    paper.fact("key", &released.key);
    paper.fact("sealed to keyset", released.keyset);
    let began = std::time::Instant::now();
    while is_waiting(&url).await.unwrap_or(true) {
        if began.elapsed() > OPENED_WITHIN {
            bail!("the machine did not open its weights within {} s", OPENED_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    paper.fact("serving", format!("after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

async fn tell(
    folders: &Folders,
    model: &std::path::Path,
    home: Home,
    args: &RunArgs,
    paper: &mut Paper,
) -> anyhow::Result<ExitCode> {
    let serving = Serving { port: args.port, any_port: args.once, anonymous: false };
    let mut roles = Roles::start_with(folders, model, home, serving, paper).await?;
    let told = story::tell(&roles, args.prompt.as_deref(), paper).await;
    if let Err(error) = &told {
        paper.failed(&failure(error));
    }
    let held = told.is_ok();
    if !args.once {
        paper.serving(&roles.endpoint(), folders.root(), false);
        crate::signal::interrupted().await;
    }
    roles.stop().await?;
    paper.finish(held);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
