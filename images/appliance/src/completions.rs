//! `bulla completions SHELL`.

use clap::{Args, CommandFactory};

use crate::cli::Cli;

/// Print shell completions.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell.
    shell: clap_complete::Shell,
}

/// Prints them to standard output.
pub fn print(args: &CompletionsArgs) {
    clap_complete::generate(args.shell, &mut Cli::command(), "bulla", &mut std::io::stdout());
}
