//! Requests whose credentials did not do, by where they came from.
//!
//! Owns: who failed so often that its refusals come late. Never: requests that pass; whoever shows good
//! credentials is answered at once, wherever it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use weir_reactor::{Monotonic, Reactor};

/// How long after it one failure is forgotten; they are forgotten one after the other.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3);
/// So much is remembered of a source at most: 20 failures.
const REMEMBERED: Duration = Duration::from_mins(1);
/// How late a refusal comes then.
const DELAY: Duration = Duration::from_secs(1);
/// Refusals that wait; beyond it they come at once, and the connection ends.
const WAITING_MAX: usize = 1_024;
/// Sources that are remembered; those beyond are counted as one.
const SOURCES_MAX: usize = 4_096;

/// Where failures come from: an address, or the network that one subscriber of IPv6 is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Address(u32),
    Network(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(address.into()),
            IpAddr::V6(address) => Self::Network((u128::from(address) >> 64) as u64),
        }
    }
}

/// The failures of one core.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// When the last failure of each is forgotten.
    sources: RefCell<HashMap<Source, Monotonic>>,
    /// The same for all that had no room.
    others: Cell<Option<Monotonic>>,
    waiting: Cell<usize>,
    so_far: Cell<u64>,
    late: Cell<u64>,
}

impl Failures {
    /// Counts one; whether its refusal should be late.
    pub(crate) fn count(&self, address: IpAddr, now: Monotonic) -> bool {
        self.so_far.set(self.so_far.get() + 1);
        let mut sources = self.sources.borrow_mut();
        let source = Source::from(address);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, forgotten_at| *forgotten_at > now);
        }
        let has_room = sources.len() < SOURCES_MAX || sources.contains_key(&source);
        let before = if has_room {
            sources.get(&source).copied()
        } else {
            self.others.get()
        };
        let remembered = before.map_or(Duration::ZERO, |until| until.since(now));
        let is_late = remembered + FORGOTTEN_AFTER > REMEMBERED;
        if is_late {
            self.late.set(self.late.get() + 1);
        } else {
            let until = now.plus(remembered + FORGOTTEN_AFTER);
            if has_room {
                sources.insert(source, until);
            } else {
                self.others.set(Some(until));
            }
        }
        is_late
    }

    /// Waits before a refusal is told.
    pub(crate) async fn hold_back<R: Reactor>(&self, reactor: &R) {
        if self.waiting.get() >= WAITING_MAX {
            return;
        }
        let _waiting = Waiting::begin(&self.waiting);
        reactor.sleep(DELAY).await;
    }

    /// How many there were.
    pub(crate) fn so_far(&self) -> u64 {
        self.so_far.get()
    }

    /// How many of them were told late.
    pub(crate) fn late(&self) -> u64 {
        self.late.get()
    }
}

/// A refusal that waits; the client may be gone before it is told.
struct Waiting<'f>(&'f Cell<usize>);

impl<'f> Waiting<'f> {
    fn begin(count: &'f Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic(1_000_000_000 + ms * 1_000_000)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn twenty_a_minute_are_told_at_once() {
        let failures = Failures::default();
        let late = (0..20).filter(|ms| failures.count(address(1), at(*ms)));
        assert_eq!(late.count(), 0);
        assert!(failures.count(address(1), at(20)));
        assert!(!failures.count(address(2), at(20)), "it is somebody else");
        // One is forgotten every three seconds, and all within a minute, however many there were.
        let more = (21..2_900).filter(|ms| failures.count(address(1), at(*ms)));
        assert_eq!(more.count(), 2_900 - 21);
        assert!(!failures.count(address(1), at(3_000)));
        assert!(failures.count(address(1), at(3_001)));
        let later = (0..21).filter(|ms| failures.count(address(1), at(63_000 + ms)));
        assert_eq!(later.count(), 1);
        assert_eq!(failures.so_far(), 22 + (2_900 - 21) + 2 + 21);
        assert_eq!(failures.late(), 1 + (2_900 - 21) + 1 + 1);
    }

    #[test]
    fn the_sources_that_are_remembered_are_so_many() {
        let failures = Failures::default();
        for number in 0..10 * SOURCES_MAX as u32 {
            failures.count(address(number), at(0));
        }
        assert_eq!(failures.sources.borrow().len(), SOURCES_MAX);
        // Those without room share one count.
        assert!(failures.count(address(u32::MAX), at(1)));
        assert!(!failures.count(address(0), at(1)));
        // What is forgotten makes room.
        assert!(!failures.count(address(u32::MAX), at(61_000)));
        assert_eq!(failures.sources.borrow().len(), 1);
    }

    #[test]
    fn a_network_of_one_subscriber_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
