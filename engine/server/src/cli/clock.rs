//! The client's own clock: it runs on the user's machine, not on a core of the engine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use weir_protocol::model::Timestamp;

/// A moment that never goes back.
#[allow(
    clippy::disallowed_methods,
    reason = "the client is not part of the engine and has a clock of its own"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock.
#[allow(
    clippy::disallowed_methods,
    reason = "the client is not part of the engine and has a clock of its own"
)]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, |d| d.as_millis() as u64))
}
