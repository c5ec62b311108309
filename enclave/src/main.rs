//! `bulla-enclave`: the enclave alone, as the sealed image carries it.

use std::io::IsTerminal;

use clap::Parser;
use tokio::sync::watch;

/// Sealed inference inside a trusted execution environment.
#[derive(Parser)]
#[command(name = "bulla-enclave", version)]
struct Cli {
    #[command(flatten)]
    args: bulla_enclave::command::EnclaveArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_ansi(colours).with_writer(std::io::stderr).init();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = stop.send(true);
        }
        // Keep the channel open: a closed one would read as a request to stop.
        std::future::pending::<()>().await;
    });
    bulla_enclave::command::execute(cli.args, stopped).await
}
