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
//!
//! That last clause is made true, not hoped for: the wall clock may go back for a moment that no
//! tick sees, on one core and not on another, or in the seconds before a crash. So one clock drafts
//! for all cores, each shows only what is durable of it, and as long as the durable account may
//! catch up, every core stamps with no earlier time than it may catch up to ([`NotedExpiry`]). The
//! wait counts only while that is so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use weir_protocol::model::Timestamp;
use weir_reactor::{BootId, Monotonic};

/// A wall clock that gained this much on elapsed time, at once or in steps, has jumped. The expiry
/// clock may stay behind by less for ever; it never makes up for it, or many small steps would add
/// up to a jump.
const JUMP_MS: u64 = 5_000;
/// What of a draft differs by more from what was sent to be noted is not kept for the next round.
const NEWS_MS: i64 = 1_000;

/// What of the expiry clock outlives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpiryAccount {
    /// The expiry clock, in milliseconds since 1970.
    pub(crate) effective_ms: u64,
    /// Milliseconds that passed since the wall clock last jumped ahead, and stamps followed. 0 also
    /// says that they may not have followed yet.
    pub(crate) since_jump_ms: u64,
    /// By how much it may catch up.
    pub(crate) behind_ms: u64,
    /// The monotonic clock when this was written, in nanoseconds.
    pub(crate) monotonic_ns: u64,
    /// Which start of the machine that clock was of.
    pub(crate) boot: BootId,
}

/// The newest account that is durable, for all cores to see: what their clocks show, and what
/// nothing is stamped before.
#[derive(Debug, Clone)]
pub(crate) struct NotedExpiry(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    /// How far the clock is ahead of the monotonic one, in milliseconds.
    shows: AtomicI64,
    /// How far it is once it has caught up.
    reaches: AtomicI64,
    /// When the account was written, by which it is known.
    at: AtomicU64,
}

impl NotedExpiry {
    /// `account` was written in this start of the machine.
    pub(crate) fn new(account: &ExpiryAccount) -> Self {
        Self(Arc::new(Noted {
            shows: AtomicI64::new(account.shows()),
            reaches: AtomicI64::new(account.reaches()),
            at: AtomicU64::new(account.monotonic_ns),
        }))
    }

    /// `account` is durable.
    pub(crate) fn note(&self, account: &ExpiryAccount) {
        // Whoever sees the clock catch up sees what stamps have to be by then.
        self.0.reaches.store(account.reaches(), Ordering::SeqCst);
        self.0.shows.store(account.shows(), Ordering::SeqCst);
        self.0.at.store(account.monotonic_ns, Ordering::SeqCst);
    }

    /// What the clock shows.
    pub(crate) fn shown(&self, wall: Timestamp, now: Monotonic) -> Timestamp {
        let passed = self.0.shows.load(Ordering::SeqCst);
        let passed = passed.saturating_add_unsigned(now.0 / 1_000_000);
        Timestamp::from_millis(passed.max(0).cast_unsigned()).min(wall)
    }

    /// How far stamps are ahead of the monotonic clock at least, in milliseconds: a clock that goes
    /// on from the account may have moved by all the time that passed since, and may have caught up.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.0.reaches.load(Ordering::SeqCst)
    }
}

impl ExpiryAccount {
    /// As it would be had this start of the machine written it. Of another one's clock nothing is known,
    /// not even that its start came later: a folder may have moved to a machine that has been up for
    /// longer. No time has passed for sure, then.
    fn by_the_clock_of(self, now: Monotonic, boot: BootId) -> Self {
        if self.boot.is_same(boot) && now.0 >= self.monotonic_ns {
            return self;
        }
        Self {
            monotonic_ns: now.0,
            boot,
            ..self
        }
    }

    fn shows(&self) -> i64 {
        let effective = i64::try_from(self.effective_ms).unwrap_or(i64::MAX);
        effective.saturating_sub_unsigned(self.monotonic_ns / 1_000_000)
    }

    fn reaches(&self) -> i64 {
        self.shows().saturating_add_unsigned(self.behind_ms)
    }

    /// Whether this is more than time that passed since `sent`: a jump, an end of the wait, or a wall
    /// clock that went back and took the reason for it away.
    fn is_news_after(&self, sent: &Self) -> bool {
        let gave_up = sent.behind_ms.saturating_sub(self.behind_ms);
        self.shows().saturating_sub(sent.shows()) > NEWS_MS
            || self.reaches().saturating_sub(sent.reaches()) > NEWS_MS
            || gave_up > NEWS_MS.unsigned_abs()
    }
}

/// The clock that deletes: what it comes to is a draft until it is durable.
#[derive(Debug, Clone)]
pub(crate) struct ExpiryClock {
    effective_ms: u64,
    since_jump_ms: u64,
    /// How far it was behind the wall clock when that last jumped, or less, if less since.
    behind_ms: u64,
    /// Up to here elapsed time is accounted for.
    looked: Monotonic,
    /// Nothing was stamped before what this may catch up to, since the last tick or earlier.
    is_followed: bool,
    /// What was last sent to be noted.
    sent: ExpiryAccount,
    boot: BootId,
}

impl ExpiryClock {
    /// The account of a new folder: the wall clock.
    pub(crate) fn first_account(wall: Timestamp, now: Monotonic, boot: BootId) -> ExpiryAccount {
        ExpiryAccount {
            effective_ms: wall.as_millis(),
            since_jump_ms: u64::MAX / 2,
            behind_ms: 0,
            monotonic_ns: now.0,
            boot,
        }
    }

    /// Goes on after a restart. The monotonic clock counts while the machine runs, also without
    /// this server; what passed before or since another start of the machine does not count.
    pub(crate) fn resume(account: ExpiryAccount, now: Monotonic, boot: BootId) -> Self {
        let account = account.by_the_clock_of(now, boot);
        Self {
            effective_ms: account.effective_ms,
            since_jump_ms: account.since_jump_ms,
            behind_ms: account.behind_ms,
            looked: Monotonic(account.monotonic_ns),
            is_followed: account.since_jump_ms > 0,
            sent: account,
            boot: account.boot,
        }
    }

    /// Looks at both clocks. `longest_ms` is the longest retention of any stream.
    pub(crate) fn tick(&mut self, wall: Timestamp, now: Monotonic, longest_ms: u64) {
        let elapsed_ms = now.since(self.looked).as_millis() as u64;
        self.looked = Monotonic(self.looked.0 + elapsed_ms * 1_000_000);
        if self.is_followed {
            self.since_jump_ms = self.since_jump_ms.saturating_add(elapsed_ms);
        }
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
        if self.behind_ms > JUMP_MS && self.since_jump_ms > longest_ms {
            // Not to the wall clock, which may have gained since the jump: to what was stamped least.
            self.effective_ms += std::mem::take(&mut self.behind_ms);
        }
    }

    /// Looks whether stamps follow: what was sent last is durable, and reaches as far as this.
    pub(crate) fn heed(&mut self, noted: &NotedExpiry) {
        let is_noted = noted.0.at.load(Ordering::SeqCst) == self.sent.monotonic_ns;
        self.is_followed = is_noted && noted.ahead_ms() >= self.account().reaches();
    }

    /// Whether it should be noted now.
    pub(crate) fn has_news(&self) -> bool {
        self.account().is_news_after(&self.sent)
    }

    /// What the clock comes to is sent to be noted.
    pub(crate) fn sends(&mut self, account: ExpiryAccount) {
        self.sent = account;
    }

    /// What to keep for the next start.
    pub(crate) fn account(&self) -> ExpiryAccount {
        ExpiryAccount {
            effective_ms: self.effective_ms,
            since_jump_ms: self.since_jump_ms,
            behind_ms: self.behind_ms,
            monotonic_ns: self.looked.0,
            boot: self.boot,
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

    fn boot(number: u64) -> BootId {
        BootId::from_bits(number)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    /// A clock whose every draft is durable at once, and what it shows.
    struct Durable(ExpiryClock);

    impl Durable {
        fn new(wall: Timestamp, now: Monotonic) -> Self {
            Self::resume(ExpiryClock::first_account(wall, now, boot(1)), now)
        }

        fn resume(account: ExpiryAccount, now: Monotonic) -> Self {
            Self(ExpiryClock::resume(account, now, boot(1)))
        }

        fn tick(&mut self, wall: Timestamp, now: Monotonic, longest_ms: u64) -> Timestamp {
            self.0.tick(wall, now, longest_ms);
            let account = self.0.account();
            self.0.sends(account);
            self.0.heed(&NotedExpiry::new(&account));
            Timestamp::from_millis(account.effective_ms)
        }
    }

    #[test]
    fn follows_the_wall_clock() {
        let mut clock = Durable::new(at(0), Monotonic(0));
        for second in 1..100 {
            let shown = clock.tick(at(second * 1000), Monotonic(second * SECOND), DAY_MS);
            assert_eq!(shown, at(second * 1000));
        }
    }

    #[test]
    fn ten_years_ahead_delete_nothing_early() {
        let ten_years = 10 * 365 * DAY_MS;
        let mut clock = Durable::new(at(0), Monotonic(0));
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
        let mut clock = Durable::new(at(0), Monotonic(0));
        let before = clock.tick(at(2 * HOUR_MS), Monotonic(7200 * SECOND), DAY_MS);
        let after = clock.tick(at(HOUR_MS), Monotonic(7201 * SECOND), DAY_MS);
        assert_eq!(before, after);
        // Set right again: no more than elapsed time was gained.
        let right = clock.tick(at(2 * HOUR_MS + 2000), Monotonic(7202 * SECOND), DAY_MS);
        assert_eq!(right, at(2 * HOUR_MS + 1000));
    }

    #[test]
    fn small_steps_add_up_to_a_jump() {
        let mut clock = Durable::new(at(0), Monotonic(0));
        for second in 1..=3_600 {
            // The wall clock gains three seconds with every second.
            let shown = clock.tick(at(second * 4_000), Monotonic(second * SECOND), HOUR_MS);
            assert_eq!(shown, at(second * 1_000));
        }
    }

    #[test]
    fn two_jumps_ahead_start_the_wait_anew() {
        let mut clock = Durable::new(at(0), Monotonic(0));
        clock.tick(at(DAY_MS), Monotonic(SECOND), HOUR_MS);
        clock.tick(at(DAY_MS + HOUR_MS / 2), Monotonic(1800 * SECOND), HOUR_MS);
        let second_jump = Monotonic(3000 * SECOND);
        clock.tick(at(3 * DAY_MS), second_jump, HOUR_MS);
        let shown = clock.tick(at(3 * DAY_MS), Monotonic(6000 * SECOND), HOUR_MS);
        assert!(shown < at(2 * HOUR_MS));
    }

    #[test]
    fn a_restart_counts_the_time_between_and_not_more() {
        let mut clock = Durable::new(at(0), Monotonic(100 * SECOND));
        clock.tick(at(10_000), Monotonic(110 * SECOND), DAY_MS);
        let account = clock.0.account();
        // Same machine, a minute later.
        let mut same = Durable::resume(account, Monotonic(170 * SECOND));
        assert_eq!(
            same.tick(at(70_000), Monotonic(170 * SECOND), DAY_MS),
            at(70_000)
        );
        // The wall clock runs ahead while the server is down.
        let mut ahead = Durable::resume(account, Monotonic(170 * SECOND));
        assert_eq!(
            ahead.tick(at(9 * DAY_MS), Monotonic(170 * SECOND), DAY_MS),
            at(70_000)
        );
    }

    /// The machine was started anew, or it is another one, which has been up for longer: its clock says
    /// nothing of the time between, nor does an account that names no boot.
    #[test]
    fn another_boot_counts_from_its_first_look() {
        let mut clock = Durable::new(at(0), Monotonic(100 * SECOND));
        clock.tick(at(10_000), Monotonic(110 * SECOND), DAY_MS);
        let account = clock.0.account();
        let of_an_earlier_build = ExpiryAccount {
            boot: boot(0),
            ..account
        };
        for (account, now_boot) in [(account, 2), (account, 0), (of_an_earlier_build, 1)] {
            for up in [5, 100, 2 * 24 * 3600] {
                let up = Monotonic(up * SECOND);
                let mut anew = Durable(ExpiryClock::resume(account, up, boot(now_boot)));
                assert_eq!(anew.tick(at(25 * HOUR_MS), up, DAY_MS), at(10_000));
                // From here on time counts as ever, and the account is of this boot.
                let second = Monotonic(up.0 + SECOND);
                let shown = anew.tick(at(25 * HOUR_MS), second, DAY_MS);
                assert_eq!(shown, at(11_000));
                assert_eq!(anew.0.account().boot, boot(now_boot));
                // Once all from before has had its time, the clock catches up.
                let later = Monotonic(up.0 + 25 * 3600 * SECOND);
                let shown = anew.tick(at(50 * HOUR_MS), later, DAY_MS);
                assert!(shown > at(49 * HOUR_MS), "{shown:?}");
            }
        }
    }
}
