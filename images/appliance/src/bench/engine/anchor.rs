//! The peer: llama.cpp's own tools, run as they are on the same file.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::memory;

/// How long the server may take to load a model.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A folder with `llama-bench`, `llama-batched-bench` and `llama-server`.
pub struct Anchor {
    tools: PathBuf,
    threads: usize,
    /// Whether weights may be laid out anew at load: tried first.
    repack: bool,
}

impl Anchor {
    /// Finds the tools in `folder`, or in `bin` or `build/bin` below it.
    pub fn open(folder: &Path, threads: usize) -> anyhow::Result<Anchor> {
        let places = [folder.to_owned(), folder.join("bin"), folder.join("build/bin")];
        let Some(tools) = places.into_iter().find(|place| place.join("llama-bench").is_file())
        else {
            bail!(
                "no llama-bench in {0}, {0}/bin or {0}/build/bin: name the folder with llama.cpp's \
                 tools with --anchor",
                folder.display()
            );
        };
        let tools = tools.canonicalize().context("--anchor")?;
        Ok(Anchor { tools, threads, repack: true })
    }

    /// What had to be left out for the tools to run.
    pub fn remark(&self) -> Option<&'static str> {
        (!self.repack).then_some("llama.cpp without repacking: its tools crash with it here")
    }

    /// Tokens per second of a prompt.
    pub fn read(&mut self, file: &Path, tokens: usize) -> anyhow::Result<f64> {
        self.bench(file, tokens, 0)
    }

    /// Tokens per second of one answer.
    pub fn decode(&mut self, file: &Path, tokens: usize) -> anyhow::Result<f64> {
        self.bench(file, 0, tokens)
    }

    fn bench(&mut self, file: &Path, prompt: usize, answer: usize) -> anyhow::Result<f64> {
        let work = [("-p", prompt), ("-n", answer), ("-r", 1)];
        let output = self.run("llama-bench", &["--repack", "0"], |command| {
            command.arg("-m").arg(file).args(["-o", "json"]);
            numbers(command, &work);
        })?;
        let rows: Value = serde_json::from_slice(&output.stdout).context("llama-bench's JSON")?;
        rows[0]["avg_ts"].as_f64().context("llama-bench gave no avg_ts")
    }

    /// Tokens per second of `streams` answers together.
    pub fn decode_together(
        &mut self,
        file: &Path,
        streams: usize,
        prompt: usize,
        answer: usize,
    ) -> anyhow::Result<f64> {
        let context = streams * (prompt + answer);
        let work = [("-npp", prompt), ("-ntg", answer), ("-npl", streams), ("-c", context)];
        let output = self.run("llama-batched-bench", &["--no-repack"], |command| {
            command.arg("-m").arg(file).args(["--output-format", "jsonl"]);
            numbers(command, &work);
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let rates: Vec<f64> = rows.filter_map(|row| row["speed_tg"].as_f64()).collect();
        rates.last().copied().context("llama-batched-bench gave no speed_tg")
    }

    /// Peak memory of reading and decoding, in bytes.
    pub fn peak_bytes(&mut self, file: &Path, prompt: usize, answer: usize) -> anyhow::Result<u64> {
        loop {
            let mut command = self.command("llama-bench", &["--repack", "0"]);
            command.arg("-m").arg(file).args(["-o", "json"]);
            numbers(&mut command, &[("-r", 1), ("-p", prompt), ("-n", answer)]);
            if let Some(peak) = memory::peak_of(command)? {
                return Ok(peak);
            }
            ensure!(self.repack, "llama-bench dies of a signal, with and without repacking");
            self.repack = false;
        }
    }

    /// Runs a tool; once more without repacking where it dies of a signal.
    fn run(
        &mut self,
        tool: &str,
        no_repack: &[&str],
        arguments: impl Fn(&mut Command),
    ) -> anyhow::Result<Output> {
        loop {
            let mut command = self.command(tool, no_repack);
            arguments(&mut command);
            let output = command.output().with_context(|| format!("starting {tool}"))?;
            if output.status.success() {
                return Ok(output);
            }
            if output.status.code().is_none() && self.repack {
                self.repack = false;
                continue;
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
            bail!("{tool} ended with {}: {last}", output.status);
        }
    }

    /// One of the tools, with where its libraries are.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.join(name));
        command.env("LD_LIBRARY_PATH", &self.tools).stdin(Stdio::null());
        command
    }

    fn command(&self, tool: &str, no_repack: &[&str]) -> Command {
        let mut command = self.tool(tool);
        command.arg("-t").arg(self.threads.to_string());
        if !self.repack {
            command.args(no_repack);
        }
        command
    }

    /// Starts `llama-server` with a slot for each stream; once more without repacking where it dies
    /// of a signal.
    pub fn serve(&mut self, file: &Path, streams: usize, tokens: usize) -> anyhow::Result<Server> {
        loop {
            if let Some(server) = self.start(file, streams, tokens)?.wait_until_ready()? {
                return Ok(server);
            }
            ensure!(self.repack, "llama-server died while it loaded the model");
            self.repack = false;
        }
    }

    fn start(&self, file: &Path, streams: usize, tokens: usize) -> anyhow::Result<Server> {
        let address = free_address()?;
        let mut command = self.command("llama-server", &["--no-repack"]);
        command.arg("-m").arg(file).args(["--host", "127.0.0.1", "--log-disable"]);
        command.args(["--port", &address.port().to_string()]);
        command.args(["-np", &streams.to_string(), "-c", &(streams * tokens).to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Server { child: command.spawn().context("starting llama-server")?, address })
    }
}

/// A running `llama-server`; ends with this value.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// `None` where it died of a signal.
    fn wait_until_ready(mut self) -> anyhow::Result<Option<Server>> {
        let started = Instant::now();
        while !healthy(self.address) {
            match self.child.try_wait()? {
                Some(status) if status.code().is_none() => return Ok(None),
                Some(status) => bail!("llama-server ended with {status} as it loaded the model"),
                None => {}
            }
            ensure!(started.elapsed() < READY_WITHIN, "llama-server was not ready in time");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(self))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn healthy(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let mut answer = [0; 12];
    let asked = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && answer.ends_with(b"200")
}

fn numbers(command: &mut Command, arguments: &[(&str, usize)]) {
    for (name, value) in arguments {
        command.arg(name).arg(value.to_string());
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
