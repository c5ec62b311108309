//! QEMU on this machine, without hardware virtualisation: slow, the same everywhere, and without a
//! TEE. What runs in it is protected by nobody.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// The port the enclave listens on, in the guest.
const GUEST_PORT: u16 = 8443;
/// Most of the guest's console that is shown.
const MAX_CONSOLE_BYTES: u64 = 64 * 1024;

/// How long one question waits for an answer.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// A machine to be.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// The model's disk.
    pub volume: PathBuf,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Port of this machine that leads to the enclave's.
    pub port: u16,
    /// File for the guest's console.
    pub console: PathBuf,
    /// UEFI firmware and a TPM, for a measured boot.
    pub measured: Option<Measured>,
}

/// What a measured boot needs.
#[derive(Debug, Clone)]
pub struct Measured {
    /// OVMF's code, read-only.
    pub code: PathBuf,
    /// OVMF's variables, a copy of one's own.
    pub variables: PathBuf,
    /// The control socket of swtpm.
    pub tpm: PathBuf,
}

/// A machine that runs; it is stopped when dropped.
pub struct Running {
    child: Child,
    console: PathBuf,
    started: Instant,
}

impl Machine {
    /// The command line of QEMU.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-machine",
            "q35,accel=tcg",
            // With AVX2: the engine's fast paths, and less to emulate than `max`.
            "-cpu",
            "Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid",
            "-smp",
            "1",
        ]
        .map(str::to_owned)
        .into();
        let shown = |path: &Path| path.display().to_string();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("-m", self.memory_mib.to_string());
        add("-serial", format!("file:{}", shown(&self.console)));
        let forward = format!("hostfwd=tcp:127.0.0.1:{}-:{GUEST_PORT}", self.port);
        add("-netdev", format!("user,id=net,restrict=on,{forward}"));
        add("-device", "virtio-net-pci,netdev=net,romfile=".to_owned());
        let volume = shown(&self.volume);
        add("-drive", format!("file={volume},format=raw,if=none,id=model,readonly=on"));
        add("-device", "virtio-blk-pci,drive=model".to_owned());
        if let Some(Measured { code, variables, tpm }) = &self.measured {
            add("-drive", format!("if=pflash,format=raw,unit=0,readonly=on,file={}", shown(code)));
            add("-drive", format!("if=pflash,format=raw,unit=1,file={}", shown(variables)));
            add("-chardev", format!("socket,id=tpm-socket,path={}", shown(tpm)));
            add("-tpmdev", "emulator,id=tpm,chardev=tpm-socket".to_owned());
            add("-device", "tpm-crb,tpmdev=tpm".to_owned());
        }
        add("-kernel", shown(&self.kernel));
        add("-initrd", shown(&self.initramfs));
        add("-append", self.command_line.clone());
        arguments
    }

    /// Starts it.
    pub fn start(&self) -> anyhow::Result<Running> {
        let child = Command::new(PROGRAM)
            .args(self.arguments())
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("running {PROGRAM} (Debian: qemu-system-x86)"))?;
        Ok(Running { child, console: self.console.clone(), started: Instant::now() })
    }
}

impl Running {
    /// How long it runs.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Resident memory of QEMU in KiB, where the system tells.
    pub fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// An error where the machine has gone down, with what its console said last.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("asking for QEMU")? {
            None => Ok(()),
            Some(status) => bail!("the machine went down ({status})\n{}", self.console_text()),
        }
    }

    /// Waits until the enclave answers on its port: whatever it says to a word that is no TLS. QEMU
    /// takes connections long before the guest does, so a connection alone says nothing.
    pub fn wait_until_it_answers(
        &mut self,
        port: u16,
        limit: Duration,
    ) -> anyhow::Result<Duration> {
        while self.age() < limit {
            self.check()?;
            let answered =
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
                    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
                    stream.write_all(&[b'?'; 64])?;
                    stream.read(&mut [0; 1])
                });
            if answered.is_ok_and(|count| count > 0) {
                return Ok(self.age());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no answer within {} s\n{}", limit.as_secs(), self.console_text())
    }

    /// Waits until the machine goes down by itself; `None` where it does not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("asking for QEMU")? {
                return Ok(Some(status));
            }
            if begun.elapsed() > limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the guest's console said, as far as it is shown.
    pub fn console_text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(&self.console) {
            let _ = file.take(MAX_CONSOLE_BYTES).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether QEMU can be had here.
pub fn is_here() -> bool {
    let asked = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
