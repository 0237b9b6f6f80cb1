//! What requests take of a core while they wait or are worked on: memory, and a place.

use weir_reactor::Reactor;

use super::Engine;

/// Memory held for a request; given back when dropped.
pub(crate) struct Held<R: Reactor> {
    engine: Engine<R>,
    bytes: usize,
}

impl<R: Reactor> Drop for Held<R> {
    fn drop(&mut self) {
        let held = &self.engine.inner.held_bytes;
        held.set(held.get() - self.bytes);
    }
}

/// A place among the requests that are worked on; given back when dropped.
pub(crate) struct Place<R: Reactor> {
    engine: Engine<R>,
}

impl<R: Reactor> Drop for Place<R> {
    fn drop(&mut self) {
        let taken = &self.engine.inner.in_progress;
        taken.set(taken.get() - 1);
    }
}

impl<R: Reactor> Engine<R> {
    /// Holds `bytes` of the core's memory for a request that waits; `None` at the ceiling. One
    /// request passes always, so that none is too large.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held<R>> {
        let held = self.inner.held_bytes.get();
        if held > 0 && held.saturating_add(bytes) > self.inner.held_bytes_max {
            return None;
        }
        self.inner.held_bytes.set(held + bytes);
        Some(Held {
            engine: self.clone(),
            bytes,
        })
    }

    /// Takes a place among the requests of other cores that are worked on; `None` if `most` are.
    pub(crate) fn enter(&self, most: usize) -> Option<Place<R>> {
        let taken = self.inner.in_progress.get();
        if taken >= most {
            return None;
        }
        self.inner.in_progress.set(taken + 1);
        Some(Place {
            engine: self.clone(),
        })
    }
}
