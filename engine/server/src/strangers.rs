//! Connections of one core that have not shown who they are.
//!
//! Owns: how many there may be, so that those who show nothing leave room for those who do. Never: who
//! is known; see [`Caller`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use weir_gateway::Caller;
use weir_reactor::{Monotonic, Socket};

/// A stranger has this long before it may have to leave for another: a client that means well sends its
/// first request at once.
const GRACE: Duration = Duration::from_secs(1);
/// How many there may be, of all cores together, where nobody says.
const STRANGERS_MAX: usize = 1_000;
/// They take at most this part of the room for connections.
const PART_OF_ROOM: usize = 4;

/// How many strangers there may be, and who is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// On each core.
    max: usize,
    /// This machine's own are strangers too.
    has_own: bool,
}

impl Welcome {
    /// As many as `wanted`, of all cores together, and then this machine's own are among them. If
    /// nothing is wanted, they are not: behind them stands a proxy, or whoever could take the server
    /// down in other ways.
    pub(crate) fn new(wanted: Option<usize>, connections: usize, cores: usize) -> Self {
        let usual = STRANGERS_MAX.min(connections / PART_OF_ROOM);
        Self {
            max: wanted.unwrap_or(usual).div_ceil(cores).max(1),
            has_own: wanted.is_some(),
        }
    }

    /// The other end of a new connection.
    pub(crate) fn caller(self, address: IpAddr) -> Rc<Caller> {
        let caller = Caller::new(address);
        if caller.address().is_loopback() && !self.has_own {
            caller.becomes_known();
        }
        Rc::new(caller)
    }
}

/// The strangers of one core.
#[derive(Debug)]
pub(crate) struct Strangers<S> {
    max: usize,
    /// The oldest first; those that left or became known are taken out by and by.
    all: RefCell<VecDeque<Weak<Stranger<S>>>>,
    sent_away: Cell<u64>,
}

/// One connection's place among them.
#[derive(Debug)]
pub(crate) struct Stranger<S> {
    socket: S,
    caller: Rc<Caller>,
    since: Monotonic,
}

impl<S: Socket> Strangers<S> {
    pub(crate) fn new(welcome: Welcome) -> Self {
        Self {
            max: welcome.max,
            all: RefCell::default(),
            sent_away: Cell::new(0),
        }
    }

    /// Lets a connection in. Where there are too many strangers, one that had its time is sent away
    /// for it; if none had, it is not let in.
    pub(crate) fn admit(
        &self,
        socket: S,
        caller: Rc<Caller>,
        now: Monotonic,
    ) -> Option<Rc<Stranger<S>>> {
        let stranger = Rc::new(Stranger {
            socket,
            caller,
            since: now,
        });
        if stranger.caller.is_known() {
            return Some(stranger);
        }
        let mut all = self.all.borrow_mut();
        if all.len() >= self.max {
            all.retain(|stranger| is_strange(stranger).is_some());
        }
        if all.len() >= self.max {
            self.sent_away.set(self.sent_away.get() + 1);
            let oldest = all.front().and_then(Weak::upgrade);
            let oldest = oldest.filter(|oldest| now.since(oldest.since) >= GRACE)?;
            oldest.socket.shutdown();
            all.pop_front();
        }
        all.push_back(Rc::downgrade(&stranger));
        Some(stranger)
    }

    /// How many there are.
    pub(crate) fn present(&self) -> usize {
        let all = self.all.borrow();
        all.iter().filter_map(is_strange).count()
    }

    /// How many were sent away, or not let in, because there were too many.
    pub(crate) fn sent_away(&self) -> u64 {
        self.sent_away.get()
    }
}

/// Who is still there and still unknown.
fn is_strange<S>(stranger: &Weak<Stranger<S>>) -> Option<Rc<Stranger<S>>> {
    stranger.upgrade().filter(|there| !there.caller.is_known())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::{Context, Poll};

    use super::*;

    /// Neither gives nor takes, and knows whether it was ended.
    #[derive(Debug, Clone, Default)]
    struct Silent(Rc<Cell<bool>>);

    impl Socket for Silent {
        fn poll_receive(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_send(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn shutdown(&self) {
            self.0.set(true);
        }
    }

    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    struct Scene {
        welcome: Welcome,
        strangers: Strangers<Silent>,
    }

    impl Scene {
        fn new(max: usize) -> Self {
            let welcome = Welcome::new(Some(max), 100, 1);
            Self {
                strangers: Strangers::new(welcome),
                welcome,
            }
        }

        fn come(&self, ms: u64) -> Option<Rc<Stranger<Silent>>> {
            let now = Monotonic(1 + ms * 1_000_000);
            let caller = self.welcome.caller(THERE);
            self.strangers.admit(Silent::default(), caller, now)
        }
    }

    #[test]
    fn who_came_first_makes_room_when_it_had_its_time() {
        let scene = Scene::new(3);
        let there: Vec<_> = [0, 1, 2].map(|ms| scene.come(ms).unwrap()).into();
        assert!(scene.come(999).is_none());
        assert!(!there[0].socket.0.get());
        let fourth = scene.come(1_000).unwrap();
        assert!(there[0].socket.0.get() && !there[1].socket.0.get());
        assert!(scene.come(1_000).is_none());
        assert_eq!(scene.strangers.sent_away(), 3);
        assert_eq!(scene.strangers.present(), 3);
        drop(fourth);
        assert!(scene.come(1_000).is_some());
    }

    #[test]
    fn who_is_known_keeps_its_place() {
        let scene = Scene::new(2);
        let known: Vec<_> = (0..100)
            .map(|ms| {
                let stranger = scene.come(ms).unwrap();
                stranger.caller.becomes_known();
                stranger
            })
            .collect();
        let strange: Vec<_> = [200, 200].map(|ms| scene.come(ms).unwrap()).into();
        let others: Vec<_> = (2..9).map(|s| scene.come(s * 1_000).unwrap()).collect();
        assert!(known.iter().all(|known| !known.socket.0.get()));
        assert!(strange.iter().all(|strange| strange.socket.0.get()));
        assert_eq!(
            others.iter().filter(|other| !other.socket.0.get()).count(),
            2
        );
    }

    #[test]
    fn this_machine_is_none_unless_it_is_said() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let usual = Welcome::new(None, 20_000, 2);
        assert_eq!(usual.max, 500);
        assert!(usual.caller(here).is_known() && usual.caller(mapped).is_known());
        assert!(!usual.caller(THERE).is_known());
        assert!(!Welcome::new(Some(1_000), 20_000, 2).caller(here).is_known());
        // Where there is little room, they do not take it all.
        assert_eq!(Welcome::new(None, 100, 2).max, 13);
        assert_eq!(Welcome::new(None, 0, 2).max, 1);
    }
}
