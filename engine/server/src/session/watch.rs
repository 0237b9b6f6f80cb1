//! All connections of one core: their deadlines, their end, and what they counted.
//!
//! Deadlines are looked at by one sweep a second over all connections; no operation has a timer of
//! its own.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use weir_gateway::{Pace, ReadBudget};
use weir_reactor::{Monotonic, Reactor, Socket};

use super::event::Event;
use super::intake::Intake;
use crate::metrics::DurationBuckets;

/// How long a new connection may take for its hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How long a begun frame, or bytes that wait to be sent, may make no progress.
const STALL_PATIENCE: Duration = Duration::from_mins(1);
/// How long a connection may be silent.
const IDLE_PATIENCE: Duration = Duration::from_hours(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A frame must be whole so long after its first byte, however it trickles.
const FRAME_PATIENCE: Duration = Duration::from_mins(5);
/// The same while others wait for memory that begun frames hold.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
/// How often buffers that nobody used are freed.
const SWEEPS_PER_CLEARING: u64 = 10;
/// A core has a request under way for so many bytes of the memory for what comes in: a read that
/// waits takes some KiB.
const REQUEST_BYTES: usize = 4 * 1024;
const REQUESTS_LEAST: usize = 4_096;
/// For what comes in, where nobody says how much.
const INTAKE_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// For records that go out, where nobody says how much.
const RECORD_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// One connection, as the sweep sees it.
#[derive(Debug)]
pub(crate) struct Watch<S> {
    socket: S,
    /// Its hello has not come yet.
    pub(crate) is_greeting: Cell<bool>,
    /// Bytes are awaited.
    pub(crate) is_receiving: Cell<bool>,
    /// Since when a frame has begun to come and is not whole.
    pub(crate) partial_since: Cell<Option<Monotonic>>,
    /// How fast the rest of it comes.
    pub(crate) pace: Cell<Pace>,
    /// The other side has to take bytes.
    pub(crate) is_sending: Cell<bool>,
    /// When bytes moved last.
    pub(crate) progress: Cell<Monotonic>,
    /// Requests without an answer sent, or bytes not sent.
    pub(crate) is_busy: Cell<bool>,
    /// The connection or its core is ending.
    pub(crate) ending: Event,
    /// The sweep has ended it.
    is_given_up: Cell<bool>,
}

impl<S> Watch<S> {
    /// A frame has begun, and this is not all of it.
    pub(crate) fn begins_frame(&self) {
        let now = self.progress.get();
        self.partial_since.set(Some(now));
        self.pace.set(Pace::new(now));
    }

    /// So many bytes came.
    pub(crate) fn comes_on(&self, bytes: usize, now: Monotonic) {
        self.progress.set(now);
        let mut pace = self.pace.get();
        pace.came(bytes);
        self.pace.set(pace);
    }

    /// Whether the rest of a frame trickles.
    fn trickles(&self, now: Monotonic) -> bool {
        if !self.is_receiving.get() {
            // We let it wait.
            self.pace.set(Pace::new(now));
            return false;
        }
        let mut pace = self.pace.get();
        let is_too_slow = pace.is_too_slow(now);
        self.pace.set(pace);
        is_too_slow && self.partial_since.get().is_some()
    }

    /// Completes when the sweep has ended the connection. One that waits for memory does not see
    /// that its socket is over.
    pub(crate) async fn given_up(&self) {
        loop {
            let seen = self.ending.count();
            if self.is_given_up.get() {
                return;
            }
            self.ending.after(seen).await;
        }
    }
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
    /// Requests under way, of all connections.
    pub(crate) requests: Cell<usize>,
    /// So many of them are taken from anybody.
    pub(crate) requests_max: usize,
    /// Memory for what comes in.
    pub(crate) intake: Rc<Intake>,
    /// Memory for records that go out.
    pub(crate) records: Rc<ReadBudget>,
}

impl<S> Default for CoreSessions<S> {
    fn default() -> Self {
        let records = ReadBudget::new(RECORD_BYTES_DEFAULT);
        Self::new(INTAKE_BYTES_DEFAULT, records)
    }
}

impl<S> CoreSessions<S> {
    /// Connections that hold at most `intake_bytes` of what comes in, and take what they read out of
    /// `records`.
    pub(crate) fn new(intake_bytes: usize, records: Rc<ReadBudget>) -> Self {
        Self {
            intake: Intake::new(intake_bytes),
            records,
            requests: Cell::new(0),
            requests_max: (intake_bytes / REQUEST_BYTES).max(REQUESTS_LEAST),
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
            is_receiving: Cell::new(false),
            partial_since: Cell::new(None),
            pace: Cell::new(Pace::new(now)),
            is_sending: Cell::new(false),
            progress: Cell::new(now),
            is_busy: Cell::new(false),
            ending: Event::default(),
            is_given_up: Cell::new(false),
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
        let mut sweeps = 0;
        while !self.stopping.get() {
            reactor.sleep(SWEEP_INTERVAL).await;
            self.sweep_once(reactor.monotonic());
            sweeps += 1;
            if sweeps % SWEEPS_PER_CLEARING == 0 {
                self.intake.let_go_of_unused();
            }
        }
    }

    fn sweep_once(&self, now: Monotonic) {
        self.watches
            .borrow_mut()
            .retain(|watch| watch.strong_count() > 0);
        let frame_patience = if self.intake.has_waiting() {
            SHORT_PATIENCE
        } else {
            FRAME_PATIENCE
        };
        for watch in self.watches.borrow().iter().filter_map(Weak::upgrade) {
            let silent = now.since(watch.progress.get());
            // Only where the client is waited for: a frame that is dealt with may take its time.
            let partial = watch
                .partial_since
                .get()
                .filter(|_| watch.is_receiving.get());
            let is_slow = partial.is_some_and(|since| now.since(since) > frame_patience);
            let is_slow = is_slow || watch.trickles(now);
            let patience = if watch.is_greeting.get() {
                HELLO_PATIENCE
            } else if partial.is_some() || watch.is_sending.get() {
                STALL_PATIENCE
            } else if watch.is_busy.get() {
                // A read waits for data, or the log for the disk.
                Duration::MAX
            } else {
                IDLE_PATIENCE
            };
            if (silent > patience || is_slow) && !watch.is_given_up.replace(true) {
                self.counters
                    .timed_out
                    .set(self.counters.timed_out.get() + 1);
                watch.socket.shutdown();
                watch.ending.notify();
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::{Context, Poll};

    use futures_util::FutureExt;

    use super::*;

    /// Neither gives nor takes.
    #[derive(Clone)]
    struct Silent;

    impl Socket for Silent {
        fn poll_receive(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_send(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn shutdown(&self) {}
    }

    /// A connection that waited for memory did not see that its socket was over: it stayed, and was
    /// counted anew each second.
    #[test]
    fn who_is_given_up_is_told_and_counted_once() {
        let sessions = CoreSessions::new(1 << 20, ReadBudget::new(1 << 20));
        let watch = sessions.watch(Silent, Monotonic(1));
        let late = 2 * HELLO_PATIENCE.as_nanos() as u64;
        sessions.sweep_once(Monotonic(late / 4));
        assert!(watch.given_up().now_or_never().is_none());
        for _ in 0..3 {
            sessions.sweep_once(Monotonic(late));
        }
        assert!(watch.given_up().now_or_never().is_some());
        assert_eq!(sessions.counters.timed_out.get(), 1);
    }

    /// Seconds until a frame is given up that comes with so many bytes a second.
    fn given_up_after(bytes: usize) -> Option<u64> {
        let sessions = CoreSessions::new(1 << 20, ReadBudget::new(1 << 20));
        let watch = sessions.watch(Silent, Monotonic(1));
        watch.is_greeting.set(false);
        watch.begins_frame();
        watch.is_receiving.set(true);
        (1..200).find(|second| {
            let now = Monotonic(1 + second * 1_000_000_000);
            watch.comes_on(bytes, now);
            sessions.sweep_once(now);
            watch.given_up().now_or_never().is_some()
        })
    }

    #[test]
    fn who_is_silent_for_an_hour_is_given_up() {
        let sessions = CoreSessions::new(1 << 20, ReadBudget::new(1 << 20));
        let watch = sessions.watch(Silent, Monotonic(1));
        watch.is_greeting.set(false);
        let hour = IDLE_PATIENCE.as_nanos() as u64;
        sessions.sweep_once(Monotonic(hour));
        assert!(watch.given_up().now_or_never().is_none());
        sessions.sweep_once(Monotonic(hour + 2));
        assert!(watch.given_up().now_or_never().is_some());
    }

    #[test]
    fn a_frame_that_trickles_is_given_up() {
        assert_eq!(given_up_after(1), Some(30));
        assert_eq!(given_up_after(1_023), Some(30));
        assert_eq!(given_up_after(1_024), None);
    }
}
