//! The generator's clock: nanoseconds since a run's start.
//!
//! A load generator measures real time; it shares no clock with the engine, so it reads its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// The start in nanoseconds since 1970.
    wall: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            start: Instant::now(),
            wall: wall.map_or(0, nanoseconds),
        }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// A moment of the run in nanoseconds since 1970.
    pub(crate) fn wall(&self, since_start: u64) -> u64 {
        self.wall + since_start
    }
}

/// A time in nanoseconds, cut at what 64 bits hold: 584 years.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds that the calling thread ran on a CPU; `None` where the kernel does not say.
pub(crate) fn thread_cpu() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
