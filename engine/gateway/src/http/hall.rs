//! What the connections of one server and core share.
//!
//! Owns: how many were too slow; who is awake is the crowd's. Never: what any of them says.

use std::cell::Cell;
use std::rc::Rc;

use super::crowd::Crowd;

/// Where connections are served.
#[derive(Debug)]
pub struct Hall<R> {
    reactor: R,
    crowd: Rc<Crowd>,
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
    /// An empty one on the reactor's core, of a usual size.
    pub fn new(reactor: R) -> Self {
        Self::with_crowd(reactor, Rc::default())
    }

    /// One that has room for this crowd.
    pub fn with_crowd(reactor: R, crowd: Rc<Crowd>) -> Self {
        Self {
            reactor,
            crowd,
            timed_out: TimedOut::default(),
        }
    }

    pub(super) fn reactor(&self) -> &R {
        &self.reactor
    }

    pub(crate) fn timed_out(&self) -> &TimedOut {
        &self.timed_out
    }

    pub(super) fn crowd(&self) -> &Rc<Crowd> {
        &self.crowd
    }
}
