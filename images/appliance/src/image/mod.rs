//! `bulla image`: the tool of `images/sealed`, and `run`, which needs every role.

mod guest;
mod reference;
mod run;

use std::process::ExitCode;

use bulla_client::commands::GlobalArgs;
use bulla_image::commands::ImageCommand;
use clap::Subcommand;

/// What `bulla image` does.
#[derive(Debug, Subcommand)]
pub enum ImageAction {
    #[command(flatten)]
    Tool(ImageCommand),
    /// Build a development image, start it under QEMU, and tell the story with the enclave inside
    Run(run::RunArgs),
}

/// Runs `bulla image`.
pub async fn execute(action: ImageAction, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    match action {
        ImageAction::Run(args) => run::execute(args, global).await,
        ImageAction::Tool(command) => {
            let same = tokio::task::spawn_blocking(|| command.run()).await??;
            Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
