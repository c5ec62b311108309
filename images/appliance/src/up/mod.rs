//! `bulla up`: enclave, broker and local endpoint in one process, and the story of one request.

pub mod folders;
pub mod paper;
pub mod roles;
pub mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use bulla_client::commands::{GlobalArgs, failure};
use clap::Args;

use folders::Folders;
use paper::Paper;
use roles::{Roles, Serving};

/// Start everything on this machine, tell the story of a first request, then serve.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Exit after the story: 0 when every step held.
    #[arg(long)]
    once: bool,
    /// The model: a Hugging Face folder or a GGUF file. Default: the demo model.
    #[arg(long, value_name = "DIR|FILE", env = "BULLA_MODEL")]
    model: Option<PathBuf>,
    /// Port of the local OpenAI-compatible endpoint; 0 picks one.
    #[arg(long, default_value_t = 8118)]
    port: u16,
    /// Sell blind tokens too: experimental, see docs/anonymous.md.
    #[arg(long)]
    anonymous: bool,
    /// What to ask in the story.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
}

/// Where the demo model stands in a checkout.
const DEMO_MODEL: &str = "models/demo/bulla-demo";

/// Runs `bulla up`.
pub async fn execute(args: UpArgs, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let model = find_model(args.model.as_deref())?;
    let folders = Folders::open(&global.data)?;
    let mut paper = Paper::new(global.json);
    paper.title("bulla", &format!("data in {}", folders.root().display()));
    let serving = Serving { port: args.port, any_port: args.once, anonymous: args.anonymous };
    let mut roles = Roles::start(&folders, &model, serving, &mut paper).await?;
    let told = story::tell(&roles, args.prompt.as_deref(), &mut paper).await;
    let held = match &told {
        Ok(()) => true,
        Err(error) => {
            paper.failed(&failure(error));
            false
        }
    };
    if args.once {
        roles.stop().await?;
        paper.finish(held);
        return Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    paper.serving(&roles.endpoint(), &global.data, args.anonymous);
    crate::signal::interrupted().await;
    paper.note("stopping: closing the epoch and settling what is left");
    roles.stop().await?;
    paper.finish(held);
    Ok(ExitCode::SUCCESS)
}

/// The model: as asked, else the demo model beside the working folder or the binary.
pub fn find_model(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = asked {
        if !path.exists() {
            bail!("no model at {}: give a Hugging Face folder or a GGUF file", path.display());
        }
        return Ok(path.to_owned());
    }
    let beside_binary = std::env::current_exe().ok();
    let checkouts = beside_binary.iter().flat_map(|exe| exe.ancestors().skip(1));
    let candidates = [Path::new(".")].into_iter().chain(checkouts);
    for candidate in candidates.map(|folder| folder.join(DEMO_MODEL)) {
        if candidate.join("config.json").exists() {
            return Ok(candidate);
        }
    }
    bail!(
        "the demo model is not here ({DEMO_MODEL}): run inside the checkout or name one with --model"
    )
}
