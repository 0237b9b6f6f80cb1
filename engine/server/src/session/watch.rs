//! All connections of one core: their deadlines, their end, and what they counted.
//!
//! Deadlines are looked at by one sweep a second over all connections; no operation has a timer of
//! its own.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use weir_reactor::{Monotonic, Reactor, Socket};

use super::event::Event;
use crate::metrics::DurationBuckets;

/// How long a new connection may take for its hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How long a begun frame, or bytes that wait to be sent, may make no progress.
const STALL_PATIENCE: Duration = Duration::from_mins(1);
/// How long a connection may be silent.
const IDLE_PATIENCE: Duration = Duration::from_hours(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Silent for so long, a connection gives memory back.
const TRIM_AFTER: Duration = Duration::from_secs(5);

/// One connection, as the sweep sees it.
#[derive(Debug)]
pub(crate) struct Watch<S> {
    socket: S,
    /// Its hello has not come yet.
    pub(crate) is_greeting: Cell<bool>,
    /// A frame has begun to come, and the rest is awaited.
    pub(crate) is_partial: Cell<bool>,
    /// The other side has to take bytes.
    pub(crate) is_sending: Cell<bool>,
    /// When bytes moved last.
    pub(crate) progress: Cell<Monotonic>,
    /// Requests without an answer sent, or bytes not sent.
    pub(crate) is_busy: Cell<bool>,
    /// Set by the sweep, cleared by whoever gave memory back.
    pub(crate) is_silent: Cell<bool>,
    /// The connection or its core is ending.
    pub(crate) ending: Event,
}

/// What the sessions of a core did since it started.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    pub(crate) accepted: Cell<u64>,
    pub(crate) timed_out: Cell<u64>,
    pub(crate) malformed: Cell<u64>,
    pub(crate) append: RefCell<DurationBuckets>,
    pub(crate) read: RefCell<DurationBuckets>,
    pub(crate) control: RefCell<DurationBuckets>,
}

/// The connections of one core.
#[derive(Debug)]
pub(crate) struct CoreSessions<S> {
    watches: RefCell<Vec<Weak<Watch<S>>>>,
    stopping: Cell<bool>,
    /// While the core is stopping: a connection fell quiet or ended.
    pub(crate) quieted: Event,
    pub(crate) counters: SessionCounters,
}

impl<S> Default for CoreSessions<S> {
    fn default() -> Self {
        Self {
            watches: RefCell::default(),
            stopping: Cell::default(),
            quieted: Event::default(),
            counters: SessionCounters::default(),
        }
    }
}

impl<S: Socket> CoreSessions<S> {
    /// Looks after a new connection, whose hello is awaited.
    pub(crate) fn watch(&self, socket: S, now: Monotonic) -> Rc<Watch<S>> {
        let watch = Rc::new(Watch {
            socket,
            is_greeting: Cell::new(true),
            is_partial: Cell::new(false),
            is_sending: Cell::new(false),
            progress: Cell::new(now),
            is_busy: Cell::new(false),
            is_silent: Cell::new(false),
            ending: Event::default(),
        });
        self.watches.borrow_mut().push(Rc::downgrade(&watch));
        watch
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        let watches = self.watches.borrow();
        watches
            .iter()
            .filter(|watch| watch.strong_count() > 0)
            .count()
    }

    /// Whether nothing new is taken.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Whether some connection has requests without an answer sent.
    fn is_busy(&self) -> bool {
        let watches = self.watches.borrow();
        let busy = watches
            .iter()
            .filter_map(Weak::upgrade)
            .any(|watch| watch.is_busy.get());
        drop(watches);
        busy
    }

    /// Ends connections that made no progress for too long, for as long as the core runs.
    pub(crate) async fn sweep<R: Reactor>(self: Rc<Self>, reactor: R) {
        while !self.stopping.get() {
            reactor.sleep(SWEEP_INTERVAL).await;
            self.sweep_once(reactor.monotonic());
        }
    }

    fn sweep_once(&self, now: Monotonic) {
        self.watches
            .borrow_mut()
            .retain(|watch| watch.strong_count() > 0);
        for watch in self.watches.borrow().iter().filter_map(Weak::upgrade) {
            let silent = now.since(watch.progress.get());
            let patience = if watch.is_greeting.get() {
                HELLO_PATIENCE
            } else if watch.is_partial.get() || watch.is_sending.get() {
                STALL_PATIENCE
            } else if watch.is_busy.get() {
                // A read waits for data, or the log for the disk.
                Duration::MAX
            } else {
                IDLE_PATIENCE
            };
            watch.is_silent.set(silent > TRIM_AFTER);
            if silent > patience {
                self.counters
                    .timed_out
                    .set(self.counters.timed_out.get() + 1);
                watch.socket.shutdown();
            }
        }
    }

    /// Takes nothing new, and waits until everything taken before was answered, at most for
    /// `patience`. Then ends all connections.
    pub(crate) async fn drain<R: Reactor>(&self, reactor: &R, patience: Duration) {
        self.stopping.set(true);
        for watch in self.watches.borrow().iter().filter_map(Weak::upgrade) {
            watch.ending.notify();
        }
        let quiet = async {
            loop {
                let seen = self.quieted.count();
                if !self.is_busy() {
                    return;
                }
                self.quieted.after(seen).await;
            }
        };
        let quiet = std::pin::pin!(quiet);
        let late = std::pin::pin!(reactor.sleep(patience));
        futures_util::future::select(quiet, late).await;
        for watch in self.watches.borrow().iter().filter_map(Weak::upgrade) {
            watch.socket.shutdown();
        }
    }
}
