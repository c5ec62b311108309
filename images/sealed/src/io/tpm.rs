//! swtpm: a TPM that this machine keeps. It shows that measured boot is judged rightly; it protects
//! nothing from this machine.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::files;

/// How long the socket may take to appear.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

/// A TPM that runs; it is stopped when dropped.
pub struct SoftwareTpm {
    child: Child,
    socket: PathBuf,
}

impl SoftwareTpm {
    /// Makes a TPM anew in `folder` and lets `speak` talk to it, before any machine does: what its
    /// keys are is learnt from the TPM, not from a guest that says so.
    pub fn provision<T>(
        folder: &Path,
        speak: impl FnOnce(&mut UnixStream) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        files::make_folder(folder)?;
        let folder = folder.canonicalize().context("opening the TPM's folder")?;
        let made = Command::new("swtpm_setup")
            .args(["--tpm2", "--overwrite", "--tpmstate", &folder.display().to_string()])
            .output()
            .context("running swtpm_setup (Debian: swtpm-tools)")?;
        if !made.status.success() {
            bail!("swtpm_setup: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let socket = folder.join("commands");
        let server = format!("type=unixio,path={}", socket.display());
        let flags = "not-need-init,startup-clear";
        let tpm = SoftwareTpm::run(&folder, &["--server", &server, "--flags", flags])?;
        appears(&socket)?;
        let mut stream = UnixStream::connect(&socket).context("connecting to swtpm")?;
        let said = speak(&mut stream);
        drop(tpm);
        let _ = std::fs::remove_file(&socket);
        said
    }

    /// Starts the TPM of `folder`, as provisioned, for a machine.
    pub fn start(folder: &Path) -> anyhow::Result<SoftwareTpm> {
        let folder = folder.canonicalize().context("opening the TPM's folder")?;
        let tpm = SoftwareTpm::run(&folder, &[])?;
        appears(&tpm.socket)?;
        Ok(tpm)
    }

    fn run(folder: &Path, more: &[&str]) -> anyhow::Result<SoftwareTpm> {
        let socket = folder.join("sock");
        // A socket that a killed one left would look like this one's.
        let _ = std::fs::remove_file(&socket);
        let state = format!("dir={}", folder.display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &state, "--ctrl"])
            .arg(format!("type=unixio,path={}", socket.display()))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("running swtpm (Debian: swtpm)")?;
        Ok(SoftwareTpm { child, socket })
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

fn appears(socket: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !socket.exists() {
        if begun.elapsed() > APPEARS_WITHIN {
            bail!("swtpm opened no socket");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
