//! `bulla`: one binary for people, every role as a subcommand.

#![forbid(unsafe_code)]

mod admin;
mod bench;
mod cli;
mod completions;
mod image;
mod replay;
mod signal;
mod up;

use std::io::IsTerminal;
use std::process::ExitCode;

use bulla_client::commands::{ClientCommand, EXIT_FAILED, failure};
use clap::Parser;

use cli::{Cli, Command};

/// What could not be done is 2, like a usage error (a panic is 101): 1 is a verdict.
#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("bulla: {}", failure(&error));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(args) => up::execute(args, &cli.global).await,
        Command::Image(action) => image::execute(action, &cli.global).await,
        Command::Bench(args) => bench::execute(args, &cli.global).await,
        Command::Enclave(args) => {
            bulla_enclave::command::execute(args, signal::stopped()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Broker(args) => {
            args.execute(&mut std::io::stdout(), signal::interrupted()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Admin(args) => {
            admin::execute(&args, &cli.global).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Client(ClientCommand::Audit(args)) if args.replay.is_some() => {
            tokio::task::spawn_blocking(move || replay::execute(&args, &cli.global)).await?
        }
        Command::Client(command) => bulla_client::commands::run(command, cli.global).await,
        Command::Completions(args) => {
            completions::print(&args);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Logs go to standard error; `BULLA_LOG` chooses what, `up` is quiet because it tells a story.
fn start_logging(cli: &Cli) {
    let quiet = match cli.command {
        Command::Enclave(_) | Command::Broker(_) => "info",
        _ => "error",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("BULLA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(quiet));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
