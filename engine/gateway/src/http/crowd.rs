//! The HTTP connections of one core that are awake, and the memory they take for it.
//!
//! Owns: how many may have a request coming in or being answered, whose turn it is, and long buffers
//! to receive into. Never: requests' bodies, which have a ceiling of their own. A connection that
//! sleeps costs little and needs no place here. One that finds none waits in line: it is not
//! received from meanwhile. Those that were answered before have a part for themselves, so that
//! strangers who begin requests and end none hold up each other only.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::FutureExt as _;

use crate::read_budget::{Permit, ReadBudget, Wish};

/// What an awake connection costs beyond one that sleeps: hyper's state and buffers, in the middle of
/// a head or of a body, or HTTP/2's. Measured by kind: 25 to 43 KB.
const PLACE_BYTES: usize = 48 * 1024;
/// Places for those that were answered before, of all: one in so many.
const KNOWN_PART: usize = 4;
/// The budgets give one part in so many beyond their bound, to whoever does not wait in line.
const BEYOND_PART: usize = 8;
/// Connections of HTTP/1.1 that wait for their next request with hyper at hand, at most. Beyond
/// these, hyper is let go of after each request and built anew for the next.
const AWAKE_IDLE_MAX: usize = 128;

/// The awake connections of one core. They share it.
#[derive(Debug)]
pub struct Crowd {
    newcomers: Rc<ReadBudget>,
    known: Rc<ReadBudget>,
    awake: Cell<usize>,
    idle_max: usize,
    receiving: Cell<usize>,
    receiving_max: usize,
}

/// A connection's place among the awake, until it is dropped.
pub(super) struct Place {
    crowd: Rc<Crowd>,
    _permit: Permit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.awake.set(self.crowd.awake.get() - 1);
    }
}

/// A long buffer to receive into, until it is dropped.
#[derive(Debug)]
pub(super) struct Covered {
    crowd: Rc<Crowd>,
    bytes: usize,
}

impl Drop for Covered {
    fn drop(&mut self) {
        let receiving = self.crowd.receiving.get();
        self.crowd.receiving.set(receiving - self.bytes);
    }
}

impl Crowd {
    /// Room for connections that are awake, and for their long buffers, in bytes.
    pub fn new(awake_bytes: usize, receiving_bytes: usize) -> Rc<Self> {
        Rc::new(Self::of(awake_bytes / PLACE_BYTES, receiving_bytes))
    }

    fn of(places: usize, receiving_bytes: usize) -> Self {
        let known = places / KNOWN_PART;
        let budget = |places: usize| {
            let beyond = places.div_ceil(BEYOND_PART + 1);
            ReadBudget::new((places - beyond).max(1))
        };
        Self {
            newcomers: budget(places - known),
            known: budget(known),
            awake: Cell::new(0),
            idle_max: AWAKE_IDLE_MAX.min(places / KNOWN_PART),
            receiving: Cell::new(0),
            receiving_max: receiving_bytes,
        }
    }

    /// Waits for a place.
    pub(super) async fn enter(self: &Rc<Self>, is_known: bool) -> Place {
        let one = || Wish::exactly(1);
        let own = if is_known {
            &self.known
        } else {
            &self.newcomers
        };
        let now = |budget: &Rc<ReadBudget>| budget.reserve(one()).now_or_never();
        let at_once = self.newcomers.spare(1).or_else(|| now(own));
        let permit = match at_once.or_else(|| now(&self.newcomers)) {
            Some(permit) => permit,
            None => own.reserve(one()).await,
        };
        self.awake.set(self.awake.get() + 1);
        Place {
            crowd: Rc::clone(self),
            _permit: permit,
        }
    }

    /// Whether connections wait for a place: whoever has one must get on.
    pub(super) fn is_crowded(&self) -> bool {
        self.newcomers.has_waiting() || self.known.has_waiting()
    }

    /// Whether so many are awake that who has nothing to do should sleep.
    pub(super) fn are_many(&self) -> bool {
        self.awake.get() > self.idle_max
    }

    /// Covers a buffer of `bytes` to receive into, if there is room.
    pub(super) fn cover(self: &Rc<Self>, bytes: usize) -> Option<Covered> {
        let receiving = self.receiving.get() + bytes;
        (receiving <= self.receiving_max).then(|| {
            self.receiving.set(receiving);
            Covered {
                crowd: Rc::clone(self),
                bytes,
            }
        })
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self::of(512, 16 << 20)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn strangers_leave_places_to_those_that_were_answered_before() {
        let crowd = Crowd::new(72 * PLACE_BYTES, 0);
        let mut strangers = Vec::new();
        while let Some(place) = crowd.enter(false).now_or_never() {
            strangers.push(place);
        }
        assert_eq!(strangers.len(), 54);
        assert!(!crowd.is_crowded(), "whoever gives up waits no more");
        let mut waits = pin!(crowd.enter(false));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(crowd.is_crowded());
        let mut known = Vec::new();
        while let Some(place) = crowd.enter(true).now_or_never() {
            known.push(place);
        }
        assert_eq!(known.len(), 18);
        assert!(crowd.are_many());
        // What strangers do not use is everybody's.
        let alone = Crowd::new(72 * PLACE_BYTES, 0);
        let mut all = Vec::new();
        while let Some(place) = alone.enter(true).now_or_never() {
            all.push(place);
        }
        assert_eq!(all.len(), 72);
        // Not one of those beyond the line's bound.
        drop(strangers.remove(0));
        assert!(waits.now_or_never().is_some());
        assert!(!crowd.is_crowded());
    }

    #[test]
    fn long_buffers_have_a_bound() {
        let crowd = Crowd::new(PLACE_BYTES, 100);
        let first = crowd.cover(60).unwrap();
        assert!(crowd.cover(41).is_none());
        drop(first);
        assert_eq!(crowd.cover(100).unwrap().bytes, 100);
    }
}
