//! When records may be forgotten.
//!
//! Owns: the expiry clock, the only clock that deletes. Never: what is deleted, which the log
//! decides from this clock and each shard's retention.
//!
//! A record expires when both the wall clock and a monotonic account of elapsed time say so. The
//! expiry clock therefore follows the wall clock, but never runs faster than time passes, and never
//! back. After the wall clock jumped ahead it stays behind until every record that arrived before
//! the jump has had its full time; then it catches up, since what arrived after the jump carries
//! the new time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use weir_protocol::model::Timestamp;
use weir_reactor::Monotonic;

/// A wall clock that gained this much on elapsed time, at once or in steps, has jumped. The expiry
/// clock may stay behind by less for ever; it never makes up for it, or many small steps would add
/// up to a jump.
const JUMP_MS: u64 = 5_000;

/// What of the expiry clock outlives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiryAccount {
    /// The expiry clock, in milliseconds since 1970.
    pub(crate) effective_ms: u64,
    /// Milliseconds that passed since the wall clock last jumped ahead.
    pub(crate) since_jump_ms: u64,
    /// How far it was behind the wall clock then.
    pub(crate) behind_ms: u64,
    /// The monotonic clock when this was written, in nanoseconds.
    pub(crate) monotonic_ns: u64,
}

/// The newest account that is durable, for all cores to see. A clock that goes on from it may have
/// moved by all the time that passed since; nothing is stamped with an earlier time than that, or a
/// record would seem older than it is.
#[derive(Debug, Clone)]
pub(crate) struct NotedExpiry(Arc<AtomicI64>);

impl NotedExpiry {
    pub(crate) fn new(account: &ExpiryAccount, now: Monotonic) -> Self {
        let noted = Self(Arc::default());
        let stood = account.stood(now);
        noted.put(account.effective_ms, stood);
        noted
    }

    /// `account` is durable.
    pub(crate) fn note(&self, account: &ExpiryAccount) {
        self.put(account.effective_ms, account.monotonic_ns);
    }

    fn put(&self, effective_ms: u64, monotonic_ns: u64) {
        let ahead = effective_ms.cast_signed() - (monotonic_ns / 1_000_000).cast_signed();
        self.0.store(ahead, Ordering::Relaxed);
    }

    /// How far a clock that goes on from the account may be ahead of the monotonic one, in
    /// milliseconds.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ExpiryAccount {
    /// Where the monotonic clock stood when this was written, by the clock of this start of the
    /// machine.
    fn stood(&self, now: Monotonic) -> u64 {
        if now.0 >= self.monotonic_ns {
            self.monotonic_ns
        } else {
            0
        }
    }
}

/// The clock that deletes.
#[derive(Debug, Clone)]
pub(crate) struct ExpiryClock {
    effective_ms: u64,
    since_jump_ms: u64,
    /// How far it was behind the wall clock when that last jumped, or less, if less since.
    behind_ms: u64,
    /// Up to here elapsed time is accounted for.
    looked: Monotonic,
}

impl ExpiryClock {
    /// The clock of a new folder: the wall clock.
    pub(crate) fn new(wall: Timestamp, now: Monotonic) -> Self {
        Self {
            effective_ms: wall.as_millis(),
            since_jump_ms: u64::MAX / 2,
            behind_ms: 0,
            looked: now,
        }
    }

    /// Goes on after a restart. The monotonic clock counts while the machine runs, also without
    /// this server; if it stands lower than it stood, the machine was started anew since, and at
    /// least the time since then has passed.
    pub(crate) fn resume(account: ExpiryAccount, now: Monotonic) -> Self {
        let stood = account.stood(now);
        Self {
            effective_ms: account.effective_ms,
            since_jump_ms: account.since_jump_ms,
            behind_ms: account.behind_ms,
            looked: Monotonic(stood),
        }
    }

    /// Looks at both clocks and says what the expiry clock shows. `longest_ms` is the longest
    /// retention of any stream.
    pub(crate) fn tick(&mut self, wall: Timestamp, now: Monotonic, longest_ms: u64) -> Timestamp {
        let elapsed_ms = now.since(self.looked).as_millis() as u64;
        self.looked = Monotonic(self.looked.0 + elapsed_ms * 1_000_000);
        self.since_jump_ms = self.since_jump_ms.saturating_add(elapsed_ms);
        let reached = self
            .effective_ms
            .saturating_add(elapsed_ms)
            .min(wall.as_millis());
        self.effective_ms = self.effective_ms.max(reached);
        let behind_ms = wall.as_millis().saturating_sub(self.effective_ms);
        if behind_ms > self.behind_ms.saturating_add(JUMP_MS) {
            self.since_jump_ms = 0;
            self.behind_ms = behind_ms;
        }
        self.behind_ms = self.behind_ms.min(behind_ms);
        if behind_ms > JUMP_MS && self.since_jump_ms > longest_ms {
            self.effective_ms = wall.as_millis();
            self.behind_ms = 0;
        }
        Timestamp::from_millis(self.effective_ms)
    }

    /// What to keep for the next start.
    pub(crate) fn account(&self) -> ExpiryAccount {
        ExpiryAccount {
            effective_ms: self.effective_ms,
            since_jump_ms: self.since_jump_ms,
            behind_ms: self.behind_ms,
            monotonic_ns: self.looked.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    const START: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    #[test]
    fn follows_the_wall_clock() {
        let mut clock = ExpiryClock::new(at(0), Monotonic(0));
        for second in 1..100 {
            let shown = clock.tick(at(second * 1000), Monotonic(second * SECOND), DAY_MS);
            assert_eq!(shown, at(second * 1000));
        }
    }

    #[test]
    fn ten_years_ahead_delete_nothing_early() {
        let ten_years = 10 * 365 * DAY_MS;
        let mut clock = ExpiryClock::new(at(0), Monotonic(0));
        // A record of time 0 kept for a day must be there for a day.
        for hour in 1..=24 {
            let now = Monotonic(hour * 3600 * SECOND);
            let shown = clock.tick(at(ten_years + hour * HOUR_MS), now, DAY_MS);
            assert_eq!(shown, at(hour * HOUR_MS));
        }
        // Afterwards only records of the new time are left, and the clock must count for them.
        let shown = clock.tick(
            at(ten_years + 26 * HOUR_MS),
            Monotonic(26 * 3600 * SECOND),
            DAY_MS,
        );
        assert_eq!(shown, at(ten_years + 26 * HOUR_MS));
    }

    #[test]
    fn an_hour_back_deletes_nothing_early_and_shows_no_earlier_time() {
        let mut clock = ExpiryClock::new(at(0), Monotonic(0));
        let before = clock.tick(at(2 * HOUR_MS), Monotonic(7200 * SECOND), DAY_MS);
        let after = clock.tick(at(HOUR_MS), Monotonic(7201 * SECOND), DAY_MS);
        assert_eq!(before, after);
        // Set right again: no more than elapsed time was gained.
        let right = clock.tick(at(2 * HOUR_MS + 2000), Monotonic(7202 * SECOND), DAY_MS);
        assert_eq!(right, at(2 * HOUR_MS + 1000));
    }

    #[test]
    fn small_steps_add_up_to_a_jump() {
        let mut clock = ExpiryClock::new(at(0), Monotonic(0));
        for second in 1..=3_600 {
            // The wall clock gains three seconds with every second.
            let shown = clock.tick(at(second * 4_000), Monotonic(second * SECOND), HOUR_MS);
            assert_eq!(shown, at(second * 1_000));
        }
    }

    #[test]
    fn two_jumps_ahead_start_the_wait_anew() {
        let mut clock = ExpiryClock::new(at(0), Monotonic(0));
        clock.tick(at(DAY_MS), Monotonic(SECOND), HOUR_MS);
        clock.tick(at(DAY_MS + HOUR_MS / 2), Monotonic(1800 * SECOND), HOUR_MS);
        let second_jump = Monotonic(3000 * SECOND);
        clock.tick(at(3 * DAY_MS), second_jump, HOUR_MS);
        let shown = clock.tick(at(3 * DAY_MS), Monotonic(6000 * SECOND), HOUR_MS);
        assert!(shown < at(2 * HOUR_MS));
    }

    #[test]
    fn a_restart_counts_the_time_between_and_not_more() {
        let mut clock = ExpiryClock::new(at(0), Monotonic(100 * SECOND));
        clock.tick(at(10_000), Monotonic(110 * SECOND), DAY_MS);
        let account = clock.account();
        // Same machine, a minute later.
        let mut same = ExpiryClock::resume(account, Monotonic(170 * SECOND));
        assert_eq!(
            same.tick(at(70_000), Monotonic(170 * SECOND), DAY_MS),
            at(70_000)
        );
        // The wall clock runs ahead while the server is down.
        let mut ahead = ExpiryClock::resume(account, Monotonic(170 * SECOND));
        assert_eq!(
            ahead.tick(at(9 * DAY_MS), Monotonic(170 * SECOND), DAY_MS),
            at(70_000)
        );
        // The machine was started anew five seconds ago: that much is sure.
        let mut anew = ExpiryClock::resume(account, Monotonic(5 * SECOND));
        assert_eq!(
            anew.tick(at(DAY_MS), Monotonic(5 * SECOND), DAY_MS),
            at(15_000)
        );
    }
}
