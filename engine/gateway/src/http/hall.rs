//! What the connections of one server and core share.
//!
//! Owns: how many of them hyper serves at the moment, and how many were too slow. Never: what any of
//! them says.

use std::cell::Cell;
use std::rc::Rc;

/// Connections of HTTP/1.1 that wait for their next request with hyper at hand. Beyond these, hyper
/// is let go of after each request and built anew for the next.
const AWAKE_IDLE_MAX: usize = 128;

/// Where connections are served.
#[derive(Debug)]
pub struct Hall<R> {
    reactor: R,
    /// Connections of HTTP/1.1 that hyper serves.
    awake: Cell<usize>,
    timed_out: TimedOut,
}

/// Connections and bodies that were given up because the client was too slow.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimedOut(Rc<Cell<u64>>);

impl TimedOut {
    pub(crate) fn count(&self) {
        self.0.set(self.0.get() + 1);
    }

    pub(crate) fn so_far(&self) -> u64 {
        self.0.get()
    }
}

impl<R> Hall<R> {
    /// An empty one on the reactor's core.
    pub fn new(reactor: R) -> Self {
        Self {
            reactor,
            awake: Cell::new(0),
            timed_out: TimedOut::default(),
        }
    }

    pub(super) fn reactor(&self) -> &R {
        &self.reactor
    }

    pub(crate) fn timed_out(&self) -> &TimedOut {
        &self.timed_out
    }

    /// Counts a connection of HTTP/1.1 that hyper serves from now on.
    pub(super) fn wake(&self) -> Awake<'_> {
        self.awake.set(self.awake.get() + 1);
        Awake { all: &self.awake }
    }
}

/// A connection that hyper serves; dropped when it does no more.
#[derive(Debug)]
pub(super) struct Awake<'h> {
    all: &'h Cell<usize>,
}

impl Awake<'_> {
    pub(super) fn are_many(&self) -> bool {
        self.all.get() > AWAKE_IDLE_MAX
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.all.set(self.all.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The count was the thread's: one server's connections put those of another to sleep.
    #[test]
    fn a_crowded_hall_puts_nobody_elsewhere_to_sleep() {
        let (crowded, quiet) = (Hall::new(()), Hall::new(()));
        let mut crowd: Vec<_> = (0..=AWAKE_IDLE_MAX).map(|_| crowded.wake()).collect();
        let one = quiet.wake();
        assert!(crowd[0].are_many() && !one.are_many());
        crowd.pop();
        assert!(!crowd[0].are_many());
    }
}
