//! Process 1 of the sealed image. It mounts what must be mounted, loads a fixed list of kernel
//! modules and forbids any more, checks the model's disk against the measured root hash, brings up
//! one network interface, and starts the enclave behind landlock and seccomp. It listens to nobody.
//!
//! Everything it obeys was measured before it ran: the files beside it in the initial RAM disk, and
//! the kernel's command line. Whatever goes wrong ends the machine; there is no shell to fall into.

mod cmdline;
mod confine;
mod kernel;
mod machine;
mod network;
mod verity;

use std::convert::Infallible;
use std::process::{Command, Stdio};

use cmdline::Settings;

/// The enclave, as the image carries it.
const ENCLAVE: &str = "/bulla-enclave";
/// Its configuration, measured with the rest of the initial RAM disk.
const CONFIGURATION: &str = "/etc/bulla/enclave.toml";
/// The port it listens on, the only one landlock lets it bind.
const PORT: u16 = 8443;
/// The argument under which this program confines itself and becomes the enclave.
const CONFINE: &str = "confine";

/// Why the machine does not come up, or goes down.
#[derive(Debug, thiserror::Error)]
enum BootError {
    /// A system call or a file.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the kernel says.
        error: std::io::Error,
    },
    /// The command line.
    #[error(transparent)]
    CommandLine(#[from] cmdline::CommandLineError),
    /// The enclave is gone: without it there is nothing to keep up.
    #[error("the enclave ended: {status}")]
    Ended {
        /// How.
        status: std::process::ExitStatus,
    },
}

/// Says what was tried when the system refuses.
fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BootError {
    let what = what.into();
    move |error| BootError::System { what, error }
}

fn main() {
    let confined = std::env::args().nth(1).as_deref() == Some(CONFINE);
    let outcome = if confined { become_enclave() } else { boot() };
    let Err(error) = outcome;
    eprintln!("bulla-init: {error}");
    if !confined && std::process::id() == 1 {
        machine::power_off();
    }
    std::process::exit(1);
}

/// Process 1.
fn boot() -> Result<Infallible, BootError> {
    machine::mount_kernel_trees()?;
    let settings = Settings::parse(&machine::command_line()?)?;
    if settings.development {
        eprintln!("bulla-init: DEVELOPMENT IMAGE: no production policy accepts it");
    }
    machine::load_modules()?;
    machine::mount_configfs()?;
    verity::mount_model(&settings.model)?;
    network::bring_up(settings.address, settings.gateway)?;
    settings.weights_mib.map_or(Ok(()), machine::make_room)?;
    machine::prepare_data(settings.development)?;
    machine::harden()?;
    let status = enclave(&settings).status().map_err(system("starting the enclave"))?;
    Err(BootError::Ended { status })
}

/// The enclave's process: this program again, which then confines itself. A production image says
/// nothing to anybody: where its output would go, nothing is.
fn enclave(settings: &Settings) -> Command {
    let mut command = Command::new("/init");
    command.arg(CONFINE).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    if settings.development {
        command.env("BULLA_LOG", "info");
    } else {
        command.stderr(Stdio::null());
    }
    command
}

fn become_enclave() -> Result<Infallible, BootError> {
    use std::os::unix::process::CommandExt;
    confine::confine()?;
    let error = Command::new(ENCLAVE).args(["--config", CONFIGURATION]).exec();
    Err(system(format!("running {ENCLAVE}"))(error))
}
