//! Time that never passes: no model waits for a deadline.

use std::time::Duration;

#[derive(Clone, Copy)]
pub(crate) struct Still;

pub(crate) fn monotonic() -> Still {
    Still
}

impl Still {
    #[allow(clippy::unused_self, reason = "the engine's clock has state")]
    pub(crate) fn plus(self, _: Duration) -> Self {
        self
    }

    #[allow(clippy::unused_self, reason = "the engine's clock has state")]
    pub(crate) fn since(self, _: Self) -> Duration {
        Duration::from_secs(1)
    }
}
