//! Wall-clock time that never goes back: read once, then carried by the monotone clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bulla_engine::EngineClock;
use bulla_wire::units::UnixMillis;

/// A monotone wall clock.
pub struct Clock {
    started: Instant,
    wall_ms: u64,
}

impl Clock {
    /// Reads the host's clock once.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), wall_ms: millis(wall) }
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.wall_ms.saturating_add(millis(self.started.elapsed())))
    }
}

/// Microseconds since now, for the engine's deadlines and device time.
pub fn stopwatch() -> EngineClock {
    let started = Instant::now();
    Box::new(move || u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
