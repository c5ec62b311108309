//! The most memory a process had at a time.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a command to its end; the most memory it had in RAM, mapped files included, in bytes. None
/// where a signal ended it.
pub fn peak_of(mut command: Command) -> anyhow::Result<Option<u64>> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("starting a process whose memory is measured")?;
    let mut peak = 0;
    loop {
        // The system keeps the highest value itself, so the last look before the end tells it.
        peak = high_water_mark(child.id()).unwrap_or(peak).max(peak);
        match child.try_wait()? {
            None => std::thread::sleep(LOOK_EVERY),
            Some(status) if status.success() && peak > 0 => return Ok(Some(peak)),
            Some(status) if status.code().is_none() => return Ok(None),
            Some(status) => bail!("the process whose memory is measured ended with {status}"),
        }
    }
}

fn high_water_mark(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_a_process_takes() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.1"]);
        let peak = peak_of(command).unwrap().unwrap();
        assert!((100_000..100_000_000).contains(&peak), "{peak}");
    }

    #[test]
    fn tells_a_signal_from_an_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -ILL $$"]);
        assert_eq!(peak_of(command).unwrap(), None);
    }
}
