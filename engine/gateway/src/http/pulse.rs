//! A connection's deadlines: who is being waited for, and since when.
//!
//! Owns: when a silent client is given up. Never: requests that we are still working on.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::select;
use weir_reactor::{Lane, Monotonic, Reactor};

use super::connection_io::Spoken;
use super::crowd::{Crowd, Place};
use super::frame_watch::FramesSeen;
use super::hall::{Hall, TimedOut};
use super::room::Room;
use crate::caller::Caller;
use crate::sync::{AtomicU64, Ordering};

/// A connection without a request may stay this long: clients that close theirs by themselves do it
/// before, so that no request meets a connection that ends.
const IDLE_MAX: Duration = Duration::from_mins(2);
/// One that has not shown who it is has less.
const STRANGER_IDLE_MAX: Duration = Duration::from_secs(30);
/// A request's head must be there this long after its first byte, however it trickles; the longest is
/// 32 KiB. Of HTTP/2 also any frame that is not of a body.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// The same for a frame of a body: the longest is 16 KiB.
const FRAME_MAX: Duration = Duration::from_secs(30);
/// A client that takes none of its answer for this long is given up. A consumer that stops to collect
/// garbage, or to work off what it has, takes nothing for tens of seconds.
const SEND_MAX: Duration = Duration::from_mins(1);
/// An answer that was given up is gone this long after. If nothing else moved on its connection, that
/// ends too.
const GIVE_UP_MAX: Duration = Duration::from_secs(15);
/// The last bytes of an answer of HTTP/2 cannot be taken back from hyper. They are few; a
/// connection on which others move may keep them this long.
const LINGER_MAX: Duration = Duration::from_mins(10);
/// The same while others wait for the place that the connection has among the awake.
const CROWDED_MAX: Duration = Duration::from_secs(10);
/// How often the deadlines are looked at; each may pass by this much.
const LOOK: Duration = Duration::from_secs(5);

/// Why a connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked for a long time, or the client was turned away.
    Idle,
    /// The client stopped in the middle of a request, or takes nothing.
    Stuck,
}

/// One connection's state, told by its bytes and its service.
#[derive(Debug)]
pub(super) struct Pulse<R: Reactor> {
    reactor: R,
    caller: Rc<Caller>,
    crowd: Rc<Crowd>,
    /// What the connection speaks, while it has a place among the awake.
    place: Cell<Option<Spoken>>,
    /// Requests in work, or whose answer is not handed over.
    requests: Cell<usize>,
    begun_so_far: Cell<u64>,
    /// Since when there are none.
    idle_since: Cell<Monotonic>,
    /// Since when a request's head is not complete, or a frame.
    head_since: Cell<Option<Monotonic>>,
    /// Whether that is a frame of a body.
    in_body: Cell<bool>,
    /// Since when a send has made no progress.
    sending_since: Cell<Option<Monotonic>>,
    stopping: Cell<bool>,
    /// Answers on their way, those of HTTP/1.1 only if they are long.
    rooms: RefCell<Vec<Watched>>,
    /// The request of HTTP/2 whose task is about to be made.
    begun: RefCell<Option<Rc<Cut>>>,
    /// Pieces of answers that were taken, and how many of them were noticed.
    taken: Arc<AtomicU64>,
    taken_seen: Cell<u64>,
    /// When a request came last, or a piece was seen to be taken.
    moved_at: Cell<Monotonic>,
    /// Whether an answer was given up since.
    gave_up: Cell<bool>,
    timed_out: TimedOut,
}

#[derive(Debug)]
struct Watched {
    room: Weak<Room>,
    cut: Option<Rc<Cut>>,
}

/// Ends one request's task from outside: an answer that waits for the client's window looks at
/// nothing else.
#[derive(Debug, Default)]
struct Cut {
    is_cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Cut {
    fn cut(&self) {
        self.is_cut.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn happens(&self) {
        poll_fn(|context| {
            if self.is_cut.get() {
                return Poll::Ready(());
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl<R: Reactor> Pulse<R> {
    pub(super) fn new(hall: &Hall<R>, caller: Rc<Caller>) -> Self {
        let reactor = hall.reactor().clone();
        let now = reactor.monotonic();
        Self {
            reactor,
            caller,
            timed_out: hall.timed_out().clone(),
            crowd: Rc::clone(hall.crowd()),
            place: Cell::new(None),
            in_body: Cell::new(false),
            requests: Cell::new(0),
            begun_so_far: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            sending_since: Cell::new(None),
            stopping: Cell::new(false),
            rooms: RefCell::default(),
            begun: RefCell::default(),
            taken: Arc::default(),
            taken_seen: Cell::new(0),
            moved_at: Cell::new(now),
            gave_up: Cell::new(false),
        }
    }

    pub(super) fn now(&self) -> Monotonic {
        self.reactor.monotonic()
    }

    pub(super) fn crowd(&self) -> &Rc<Crowd> {
        &self.crowd
    }

    /// Waits for a place among the awake. HTTP/2 has it for as long as the connection lasts.
    pub(super) async fn wake_up(&self, spoken: Spoken) -> Place {
        let is_known = self.begun_so_far.get() > 0;
        let place = self.crowd.enter(is_known).await;
        self.place.set(Some(spoken));
        place
    }

    /// Gives the place back.
    pub(super) fn fall_asleep(&self, place: Place) {
        drop(place);
        self.place.set(None);
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.reactor.sleep(duration).await;
    }

    /// Bytes of HTTP/1.1 came in.
    pub(super) fn received(&self) {
        if self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(self.now()));
        }
    }

    /// Bytes of HTTP/2 came in.
    pub(super) fn frames_seen(&self, seen: FramesSeen, in_body: bool) {
        self.in_body.set(in_body);
        match seen {
            FramesSeen::Whole => self.head_since.set(None),
            FramesSeen::Begun => self.head_since.set(Some(self.now())),
            FramesSeen::Unfinished => {}
        }
    }

    /// A request's head is complete. It is in work until the guard is dropped.
    pub(super) fn request(self: &Rc<Self>) -> InWork<R> {
        self.requests.set(self.requests.get() + 1);
        self.begun_so_far.set(self.begun_so_far.get() + 1);
        InWork {
            pulse: Rc::clone(self),
            cut: None,
        }
    }

    /// The same for a request of HTTP/2, which gets a task of its own.
    pub(super) fn begin_request(self: &Rc<Self>) -> InWork<R> {
        self.moves();
        let cut = Rc::new(Cut::default());
        self.begun.replace(Some(Rc::clone(&cut)));
        let mut work = self.request();
        work.cut = Some(cut);
        work
    }

    /// Runs the request that began last, until it is answered or given up.
    pub(super) fn spawn(&self, request: impl Future<Output = ()> + 'static) {
        let cut = self.begun.take().unwrap_or_default();
        self.reactor.spawn(Lane::Network, async move {
            select(pin!(request), pin!(cut.happens())).await;
        });
    }

    pub(super) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    fn moves(&self) {
        self.moved_at.set(self.now());
        self.gave_up.set(false);
    }

    /// The head of the only request that can be under way is complete.
    pub(super) fn head_ended(&self) {
        self.head_since.set(None);
    }

    /// While all requests are answered and nothing of another came: how many there were.
    pub(super) fn at_rest_after(&self) -> Option<u64> {
        let is_at_rest = self.requests.get() == 0 && self.head_since.get().is_none();
        is_at_rest.then(|| self.begun_so_far.get())
    }

    /// A send finds no room.
    pub(super) fn send_waits(&self) {
        if self.sending_since.get().is_none() {
            self.sending_since.set(Some(self.now()));
        }
    }

    /// A send made progress, or failed.
    pub(super) fn send_moves(&self) {
        self.sending_since.set(None);
    }

    /// The server stops: answers without an end end now.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        for watched in self.rooms.borrow().iter() {
            if let Some(room) = watched.room.upgrade() {
                room.wake();
            }
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    fn watch(&self, watched: Watched) {
        let mut rooms = self.rooms.borrow_mut();
        // Looked through before it would grow, not with every answer.
        if rooms.len() == rooms.capacity() {
            rooms.retain(|watched| watched.room.strong_count() > 0);
        }
        rooms.push(watched);
    }

    /// Whether an answer without an end is under way.
    pub(super) fn is_streaming(&self) -> bool {
        let rooms = self.rooms.borrow();
        rooms
            .iter()
            .filter_map(|watched| watched.room.upgrade())
            .any(|room| room.is_endless())
    }

    fn look(&self) -> Option<Overdue> {
        let now = self.now();
        let is_past = |since: Option<Monotonic>, most| since.is_some_and(|s| now.since(s) > most);
        let head_max = if self.in_body.get() {
            FRAME_MAX
        } else {
            HEAD_MAX
        };
        let in_the_way = self.place.get().filter(|_| self.crowd.is_crowded());
        let most = |usual: Duration| in_the_way.map_or(usual, |_| usual.min(CROWDED_MAX));
        if is_past(self.sending_since.get(), most(SEND_MAX))
            || is_past(self.head_since.get(), most(head_max))
        {
            return Some(Overdue::Stuck);
        }
        if self.taken_seen.replace(self.taken.load(Ordering::Relaxed))
            != self.taken.load(Ordering::Relaxed)
        {
            self.moves();
        }
        for watched in self.rooms.borrow().iter() {
            let Some(room) = watched.room.upgrade() else {
                continue;
            };
            let held_since = room.held_since_ns().map(Monotonic);
            if is_past(held_since, LINGER_MAX) {
                return Some(Overdue::Stuck);
            }
            if is_past(held_since, SEND_MAX) {
                self.gave_up.set(true);
                room.give_up();
                if let Some(cut) = &watched.cut {
                    cut.cut();
                }
            }
        }
        if self.gave_up.get() && is_past(Some(self.moved_at.get()), SEND_MAX + GIVE_UP_MAX) {
            return Some(Overdue::Stuck);
        }
        let idle_max = if self.caller.is_known() {
            IDLE_MAX
        } else {
            STRANGER_IDLE_MAX
        };
        if self.caller.is_turned_away() {
            return Some(Overdue::Idle);
        }
        let is_idle = self.requests.get() == 0;
        // HTTP/1.1 falls asleep instead.
        let idle_max = match in_the_way {
            Some(Spoken::Http2) => CROWDED_MAX,
            _ => idle_max,
        };
        (is_idle && now.since(self.idle_since.get()) > idle_max).then_some(Overdue::Idle)
    }

    /// Completes when a deadline has passed.
    pub(super) async fn overdue(&self) -> Overdue {
        loop {
            if let Some(overdue) = self.look() {
                if overdue == Overdue::Stuck {
                    self.timed_out.count();
                }
                return overdue;
            }
            self.reactor.sleep(LOOK).await;
        }
    }
}

/// A request that is in work.
#[derive(Debug)]
pub(super) struct InWork<R: Reactor> {
    pulse: Rc<Pulse<R>>,
    cut: Option<Rc<Cut>>,
}

impl<R: Reactor> InWork<R> {
    pub(super) fn pulse(&self) -> &Pulse<R> {
        &self.pulse
    }

    /// Its answer begins.
    pub(super) fn watch(&self, room: &Arc<Room>) {
        self.pulse.watch(Watched {
            room: Arc::downgrade(room),
            cut: self.cut.clone(),
        });
    }
}

impl<R: Reactor> Drop for InWork<R> {
    fn drop(&mut self) {
        let requests = self.pulse.requests.get();
        assert!(requests > 0, "a request ends once");
        self.pulse.requests.set(requests - 1);
        if requests == 1 {
            self.pulse.idle_since.set(self.pulse.now());
        }
    }
}
