//! Whether bytes that are awaited come fast enough.
//!
//! Owns: the least rate, for whatever protocol. Never: what is awaited, and what becomes of a client
//! that is too slow.

use std::time::Duration;

use weir_reactor::Monotonic;

/// Bytes are counted over stretches of this length: a link may fail for some seconds.
const STRETCH: Duration = Duration::from_secs(30);
/// A stretch that is looked at so much later is not judged: it was us who did not look.
const LATE: Duration = Duration::from_secs(5);
/// What must come within each: 1 KiB a second. A modem of 1990 has more.
const STRETCH_BYTES_MIN: usize = 30 * 1024;

/// How fast the rest of something comes that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    since: Monotonic,
    bytes: usize,
}

impl Pace {
    /// Nothing was awaited before `now`.
    pub fn new(now: Monotonic) -> Self {
        Self {
            since: now,
            bytes: 0,
        }
    }

    /// So many bytes came.
    pub fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether too little came in the stretch that is over; if one is over, the next begins.
    pub fn is_too_slow(&mut self, now: Monotonic) -> bool {
        let age = now.since(self.since);
        if age < STRETCH {
            return false;
        }
        let is_slow = age < STRETCH + LATE && self.bytes < STRETCH_BYTES_MIN;
        *self = Self::new(now);
        is_slow
    }

    /// When the stretch is over, seen from `now`.
    pub fn left(&self, now: Monotonic) -> Duration {
        STRETCH.saturating_sub(now.since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(1 + seconds * 1_000_000_000)
    }

    #[test]
    fn each_stretch_is_judged_by_itself() {
        let mut pace = Pace::new(at(0));
        pace.came(STRETCH_BYTES_MIN);
        assert!(!pace.is_too_slow(at(30)));
        pace.came(STRETCH_BYTES_MIN - 1);
        assert_eq!(pace.left(at(59)), Duration::from_secs(1));
        assert!(!pace.is_too_slow(at(59)));
        assert!(pace.is_too_slow(at(60)));
        assert_eq!(pace.left(at(70)), Duration::from_secs(20));
        // The process was stopped for a while.
        assert!(!pace.is_too_slow(at(120)));
        assert!(pace.is_too_slow(at(150)));
    }
}
