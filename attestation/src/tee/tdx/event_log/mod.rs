//! Event logs: what went into a TD's run-time measurement registers (RTMR 0 to 3), one digest at a
//! time. Replaying a log gives the registers; where they are those of a quote, the log is what
//! happened.
//!
//! A log is not signed by anyone: the registers it leads to are. It comes as the firmware's table
//! (CCEL, [`ccel`]) or as JSON ([`json`]).

pub mod ccel;
pub mod json;

use ring::digest::{Context, SHA384};

/// Registers of a TD.
pub const REGISTERS: usize = 4;
/// Length of a register in bytes (SHA-384).
pub const REGISTER_BYTES: usize = 48;
/// Largest log in bytes (ours; firmware reserves 64 to 256 KiB).
pub const MAX_LOG_BYTES: usize = 4 * 1024 * 1024;
/// Most events of one log (ours; real ones have under 200).
pub const MAX_EVENTS: usize = 8192;
/// Most logs one appraisal replays (ours).
pub const MAX_LOGS: usize = 4;

/// What is in the registers.
pub type Registers = [[u8; REGISTER_BYTES]; REGISTERS];

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which register, 0 to 3.
    pub register: usize,
    /// What was added.
    pub digest: [u8; REGISTER_BYTES],
}

/// A log, in the order of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// Where it was read from: `"CCEL"` or `"JSON"`.
    pub form: &'static str,
    /// What was measured.
    pub events: Vec<Event>,
}

impl EventLog {
    /// Finds a log in `bytes`; `None` where they are something else, or a log that does not read.
    pub fn read(bytes: &[u8]) -> Option<EventLog> {
        if bytes.len() > MAX_LOG_BYTES {
            return None;
        }
        if ccel::is_log(bytes) {
            let events = ccel::events(bytes).ok()?;
            return Some(EventLog { form: "CCEL", events });
        }
        Some(EventLog { form: "JSON", events: json::events(bytes).ok()? })
    }

    /// The registers this log leads to.
    pub fn replay(&self) -> Registers {
        replay(&self.events)
    }
}

/// The registers `events` lead to, from zero: each becomes the SHA-384 of itself and the digest.
pub fn replay(events: &[Event]) -> Registers {
    let mut registers = [[0; REGISTER_BYTES]; REGISTERS];
    for event in events {
        if let Some(register) = registers.get_mut(event.register) {
            let mut hash = Context::new(&SHA384);
            hash.update(register);
            hash.update(&event.digest);
            register.copy_from_slice(hash.finish().as_ref());
        }
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_nothing_went_into_stay_zero_and_order_matters() {
        let event = |register, byte| Event { register, digest: [byte; REGISTER_BYTES] };
        let one = replay(&[event(1, 1), event(1, 2)]);
        let other = replay(&[event(1, 2), event(1, 1)]);
        assert_ne!(one[1], other[1]);
        assert_eq!((one[0], one[2], one[3]), ([0; 48], [0; 48], [0; 48]));
    }

    #[test]
    fn a_log_has_at_most_four_mebibytes() {
        let mut log = format!(r#"[{{"imr":0,"digest":"{}"}}]"#, "ab".repeat(48)).into_bytes();
        log.resize(4 * 1024 * 1024, b' ');
        assert!(EventLog::read(&log).is_some());
        log.push(b' ');
        assert_eq!(EventLog::read(&log), None);
    }

    #[test]
    fn finds_no_log_in_something_else() {
        for bytes in [&b""[..], b"{}", b"[]", b"rubbish", b"{\"event_log\":\"\"}"] {
            assert_eq!(EventLog::read(bytes), None, "{bytes:?}");
        }
    }
}
