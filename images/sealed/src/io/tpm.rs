//! swtpm: a TPM that this machine keeps. It shows that measured boot is judged rightly; it protects
//! nothing from this machine.

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
    /// Starts a TPM with its state in `folder`, made anew.
    pub fn start(folder: &Path) -> anyhow::Result<SoftwareTpm> {
        files::make_folder(folder)?;
        let folder = folder.canonicalize().context("opening the TPM's folder")?;
        let state = folder.display().to_string();
        let made = Command::new("swtpm_setup")
            .args(["--tpm2", "--overwrite", "--tpmstate", &state])
            .output()
            .context("running swtpm_setup (Debian: swtpm-tools)")?;
        if !made.status.success() {
            bail!("swtpm_setup: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let socket = folder.join("sock");
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={state}"), "--ctrl"])
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("running swtpm (Debian: swtpm)")?;
        let tpm = SoftwareTpm { child, socket };
        let begun = Instant::now();
        while !tpm.socket.exists() {
            if begun.elapsed() > APPEARS_WITHIN {
                bail!("swtpm opened no socket");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tpm)
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
