//! A core's part in the expiry clock: it shows what is durable of it; the first core drafts it.

use weir_protocol::limits::RETENTION_MS_MIN;
use weir_protocol::model::Timestamp;
use weir_reactor::Reactor;

use super::Engine;
use crate::catalog::control::ControlRequest;

/// How many ticks the catalog's note of the expiry clock may be old.
const TICKS_PER_NOTE: u32 = 10;

impl<R: Reactor> Engine<R> {
    /// What the expiry clock showed last.
    pub(crate) fn expiry(&self) -> Timestamp {
        self.inner.expiry.get()
    }

    /// Moves the expiry clock, and has it noted if it is time: round `tick` of this life.
    pub(super) fn tick(&self, tick: u32) {
        if self.core() == 0 {
            self.draft_expiry(tick.is_multiple_of(TICKS_PER_NOTE));
        }
        let noted = self.inner.noted.shown(self.wall(), self.monotonic());
        self.inner.expiry.set(self.expiry().max(noted));
        self.inner.log.expire(self.expiry());
        self.follow_expiry();
    }

    /// Nothing is stamped behind what some core's clock may show before its time. Asked for with each
    /// batch: the wait before the clocks catch up counts from when all cores do so.
    pub(crate) fn follow_expiry(&self) {
        self.inner.log.stamp_from(self.inner.noted.ahead_ms());
    }

    /// Has the catalog note where the clock stands, at once where that is more than time that passed.
    /// A note that finds no room is made up for by the next.
    pub(super) fn draft_expiry(&self, is_due: bool) {
        let streams = self.inner.published.borrow();
        let longest_ms = streams.all().map(|stream| stream.retention_ms).max();
        let longest_ms = longest_ms.unwrap_or(RETENTION_MS_MIN);
        let mut clock = self.inner.clock.borrow_mut();
        clock.tick(self.wall(), self.monotonic(), longest_ms);
        clock.heed(&self.inner.noted);
        if is_due || clock.has_news() {
            let account = clock.account();
            let request = ControlRequest::Expiry { account };
            if self.inner.control.send(request).is_ok() {
                clock.sends(account);
            }
        }
    }
}
