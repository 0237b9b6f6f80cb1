//! Which sockets of a core have something to receive, or room to send.
//!
//! Owns: a ring of its own beside the runtime's, on which each socket is polled once for its whole
//! life. Never: bytes; a socket that is told goes to the kernel itself.
//!
//! The runtime polls a socket anew each time it waits, and every such poll that completes interrupts
//! whatever the core does. Here many sockets become ready in one look at one queue.

#![expect(
    unsafe_code,
    reason = "a ring's entries are pushed raw, and the runtime reads the event descriptor"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use glommio::io::BufferedFile;
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

/// Entries that are submitted at once; a socket needs one in its life, and one to end it.
const SUBMISSIONS: u32 = 256;
/// Completions that fit before the kernel keeps them for us; a socket has few at a time.
const COMPLETIONS: u32 = 8_192;
/// What a socket is polled for.
const EVENTS: u32 = (libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP) as u32;
/// Marks completions that say nothing about a socket.
const NOBODY: u64 = u64::MAX;
/// Set in a completion's result when the other side sends no more, or all is over.
const ENDED: i32 = (libc::POLLRDHUP | libc::POLLHUP) as i32;
/// Set when there is an error to be found, in either direction.
const ERROR: i32 = libc::POLLERR as i32;

thread_local! {
    static HERE: RefCell<Option<Rc<Readiness>>> = const { RefCell::new(None) };
}

/// One core's sockets. Lives on the core's thread.
pub(crate) struct Readiness {
    ring: RefCell<IoUring>,
    /// Signalled by the kernel when there is something to look at.
    event: OwnedFd,
    slots: RefCell<Slots>,
    /// Entries that the kernel has not taken yet.
    backlog: RefCell<VecDeque<squeue::Entry>>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

/// A socket's place.
#[derive(Default)]
struct Slot {
    /// Rises when the place is taken anew, so that late words about the former socket are known.
    generation: u32,
    descriptor: RawFd,
    state: State,
    receive: Direction,
    send: Direction,
    /// The other side sends no more: receiving never waits again.
    has_ended: bool,
    /// The kernel does not poll it; its number of the error.
    failed: Option<i32>,
}

/// What one look found to be done.
#[derive(Default)]
struct Found {
    woken: Vec<Waker>,
    /// Sockets whose poll ended by itself.
    to_poll: Vec<(u64, RawFd)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Polled,
    /// Its socket is gone and its poll not yet.
    Leaving,
}

#[derive(Default)]
struct Direction {
    is_ready: bool,
    waiting: Option<Waker>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

impl Slot {
    fn way(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::In => &mut self.receive,
            Way::Out => &mut self.send,
        }
    }
}

impl Readiness {
    /// A ring for the calling thread, which alone may use it.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        let ring = builder
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            // Work waits until we look, instead of interrupting what the core does.
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSIONS)?;
        // SAFETY: the call has no memory of ours, and its result is checked.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Rc::new(Self {
            ring: RefCell::new(ring),
            event,
            slots: RefCell::default(),
            backlog: RefCell::default(),
        }))
    }

    /// Makes it the one that sockets of this thread are entered in.
    pub(crate) fn install(self: Rc<Self>) {
        HERE.with_borrow_mut(|here| *here = Some(self));
    }

    /// The one of this thread. Panics beside a core.
    pub(super) fn here() -> Rc<Self> {
        HERE.with_borrow(|here| here.clone().expect("sockets live on cores"))
    }

    /// Looks after the ring until dropped.
    pub(crate) async fn watch(self: Rc<Self>) {
        let event = self.event.try_clone().expect("a descriptor can be shared");
        // SAFETY: the clone is owned by nobody else.
        let event =
            unsafe { BufferedFile::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(event)) };
        loop {
            if self.look() {
                // More may be there when those that were woken have run.
                glommio::executor().yield_task_queue_now().await;
            } else if let Err(error) = event.read_at(0, 8).await {
                panic!("the event descriptor of a ring cannot be read: {error}");
            }
        }
    }

    /// Wakes whoever waits for what happened; whether anything did.
    fn look(&self) -> bool {
        self.flush();
        let mut ring = self.ring.borrow_mut();
        let (submitter, submissions, mut completions) = ring.split();
        completions.sync();
        // One entering may do a part of what waits, and that part may come to nothing; the event is
        // signalled for the whole only.
        while completions.is_empty() && (submissions.taskrun() || submissions.cq_overflow()) {
            // SAFETY: nothing is submitted and nothing is waited for.
            let entered = unsafe { submitter.enter::<libc::sigset_t>(0, 0, GET_EVENTS, None) };
            if let Err(error) = entered
                && error.raw_os_error() != Some(libc::EINTR)
            {
                panic!("a ring cannot be entered: {error}");
            }
            completions.sync();
        }
        let mut slots = self.slots.borrow_mut();
        let mut found = Found::default();
        let mut any = false;
        for completion in &mut completions {
            any = true;
            if completion.user_data() != NOBODY {
                slots.take_in(&completion, &mut found);
            }
        }
        // What wakes may run anything, also what enters and leaves sockets.
        drop((slots, submissions, completions));
        drop(ring);
        for (key, descriptor) in found.to_poll {
            self.poll_socket(key, descriptor);
        }
        found.woken.into_iter().for_each(Waker::wake);
        any
    }

    /// Enters a socket; whoever has the key must give it back with [`Self::leave`].
    pub(super) fn enter(&self, descriptor: RawFd) -> u64 {
        let key = self.slots.borrow_mut().take(descriptor);
        self.poll_socket(key, descriptor);
        key
    }

    fn poll_socket(&self, key: u64, descriptor: RawFd) {
        let poll = opcode::PollAdd::new(Fd(descriptor), EVENTS).multi(true);
        self.submit(poll.build().user_data(key));
    }

    /// Ends the polling of a socket, which may be closed afterwards.
    pub(super) fn leave(&self, key: u64) {
        let left = self.slots.borrow_mut().begin_leaving(key);
        if left.is_some() {
            // Removing a poll comes to nothing while it is about to tell something, and it would hold
            // the socket for as long as the ring lasts; cancelling marks it, and it ends then.
            self.submit(opcode::AsyncCancel::new(key).build().user_data(NOBODY));
        }
    }

    fn submit(&self, entry: squeue::Entry) {
        self.backlog.borrow_mut().push_back(entry);
        self.flush();
    }

    /// Gives the kernel what it has not got yet.
    fn flush(&self) {
        let mut ring = self.ring.borrow_mut();
        let mut backlog = self.backlog.borrow_mut();
        loop {
            while let Some(entry) = backlog.front() {
                // SAFETY: the entry refers to no memory; its descriptor is open, or the kernel says
                // that it is not.
                if unsafe { ring.submission().push(entry) }.is_err() {
                    break;
                }
                backlog.pop_front();
            }
            if backlog.is_empty() && ring.submission().is_empty() {
                return;
            }
            match ring.submit().map_err(|error| error.raw_os_error()) {
                Ok(_) | Err(Some(libc::EINTR)) => {}
                // It wants memory, or its completions taken first: whoever watches tries again.
                Err(Some(libc::EAGAIN | libc::EBUSY)) => return self.nudge(),
                Err(error) => panic!("a ring takes no entries: error {error:?}"),
            }
        }
    }

    /// Has the watching task look, as the kernel does.
    fn nudge(&self) {
        let mut event = File::from(self.event.try_clone().expect("a descriptor can be shared"));
        // It fails only when the counter is full: then it is signalled.
        let _ = event.write(&1_u64.to_le_bytes());
    }

    /// Tries `act` if the socket may be ready for it; waits if it is not.
    pub(super) fn poll(
        &self,
        key: u64,
        way: Way,
        context: &mut Context<'_>,
        mut act: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut slots = self.slots.borrow_mut();
            let slot = slots
                .of(key)
                .expect("a socket that is entered has its place");
            if let Some(number) = slot.failed {
                return Poll::Ready(Err(io::Error::from_raw_os_error(number)));
            }
            let direction = slot.way(way);
            if !direction.is_ready {
                let before = direction.waiting.replace(context.waker().clone());
                // Dropping a waker may drop its task, and a socket with it.
                drop(slots);
                drop(before);
                return Poll::Pending;
            }
            drop(slots);
            match act() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(slot) = self.slots.borrow_mut().of(key) {
                        slot.way(way).is_ready = false;
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// A receive found less than it had room for: the next one waits for the kernel's word, unless
    /// that was the last word there is.
    pub(super) fn drained(&self, key: u64) {
        if let Some(slot) = self.slots.borrow_mut().of(key) {
            slot.receive.is_ready = slot.has_ended;
        }
    }
}

const GET_EVENTS: u32 = 1;

impl Slots {
    fn take(&mut self, descriptor: RawFd) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot::default());
            self.all.len() as u32 - 1
        });
        let slot = &mut self.all[place as usize];
        let generation = slot.generation.wrapping_add(1) & (u32::MAX >> 1);
        *slot = Slot {
            generation,
            descriptor,
            state: State::Polled,
            ..Slot::default()
        };
        // Whoever comes first just tries.
        slot.receive.is_ready = true;
        slot.send.is_ready = true;
        (u64::from(generation) << 32) | u64::from(place)
    }

    /// The place of a socket that is still here.
    fn of(&mut self, key: u64) -> Option<&mut Slot> {
        let slot = self.all.get_mut(key as u32 as usize)?;
        (u64::from(slot.generation) == key >> 32 && slot.state != State::Free).then_some(slot)
    }

    /// Nobody waits for the socket any more; who did is for the caller to drop.
    fn begin_leaving(&mut self, key: u64) -> Option<[Option<Waker>; 2]> {
        let slot = self.of(key)?;
        let waited = [slot.receive.waiting.take(), slot.send.waiting.take()];
        if slot.failed.is_some() {
            // Its poll is over already.
            self.free(key);
        } else {
            slot.state = State::Leaving;
        }
        Some(waited)
    }

    fn free(&mut self, key: u64) {
        let place = key as u32;
        self.all[place as usize].state = State::Free;
        self.free.push(place);
    }

    fn take_in(&mut self, completion: &cqueue::Entry, found: &mut Found) {
        let (key, result) = (completion.user_data(), completion.result());
        let more = cqueue::more(completion.flags());
        let Some(slot) = self.of(key) else { return };
        if slot.state == State::Leaving {
            if !more {
                self.free(key);
            }
            return;
        }
        if result < 0 {
            slot.failed = Some(-result);
        } else if !more {
            found.to_poll.push((key, slot.descriptor));
        }
        slot.has_ended |= result < 0 || result & ENDED != 0;
        for (way, event) in [(Way::In, libc::POLLIN), (Way::Out, libc::POLLOUT)] {
            if slot.has_ended || result & (i32::from(event) | ERROR) != 0 {
                let direction = slot.way(way);
                direction.is_ready = true;
                found.woken.extend(direction.waiting.take());
            }
        }
    }
}
