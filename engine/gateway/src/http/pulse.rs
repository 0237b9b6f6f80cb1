//! A connection's deadlines: who is being waited for, and since when.
//!
//! Owns: when a silent client is given up. Never: requests that we are still working on.

use std::cell::Cell;
use std::time::Duration;

use weir_reactor::{Monotonic, Reactor};

/// A connection without a request may stay this long; SDKs keep theirs for minutes.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// A request's head must be there this long after its first byte.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// A client that takes none of its answer for this long is given up.
const SEND_MAX: Duration = Duration::from_mins(1);
/// How often the deadlines are looked at; each may pass by this much.
const LOOK: Duration = Duration::from_secs(5);

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of its head.
    Head,
    /// Us; the body has a deadline of its own, where it is read.
    Working,
}

/// One connection's state, told by its socket and its service.
#[derive(Debug)]
pub(super) struct Pulse<R: Reactor> {
    reactor: R,
    phase: Cell<Phase>,
    since: Cell<Monotonic>,
    /// Since when a send has made no progress.
    sending_since: Cell<Option<Monotonic>>,
}

impl<R: Reactor> Pulse<R> {
    pub(super) fn new(reactor: R) -> Self {
        let now = reactor.monotonic();
        Self {
            reactor,
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            sending_since: Cell::new(None),
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.reactor.monotonic());
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A request's head is complete.
    pub(super) fn request_began(&self) {
        self.phase.set(Phase::Working);
    }

    /// The answer is ready to be sent.
    pub(super) fn request_answered(&self) {
        self.enter(Phase::Idle);
    }

    /// A send began, and made no progress yet.
    pub(super) fn send_began(&self) {
        self.sending_since.set(Some(self.reactor.monotonic()));
    }

    /// The send is done.
    pub(super) fn send_ended(&self) {
        self.sending_since.set(None);
        if self.phase.get() == Phase::Idle {
            self.since.set(self.reactor.monotonic());
        }
    }

    fn is_overdue(&self) -> bool {
        let now = self.reactor.monotonic();
        if let Some(since) = self.sending_since.get() {
            return now.since(since) > SEND_MAX;
        }
        let waited = now.since(self.since.get());
        match self.phase.get() {
            Phase::Idle => waited > IDLE_MAX,
            Phase::Head => waited > HEAD_MAX,
            Phase::Working => false,
        }
    }

    /// Completes when a deadline has passed.
    pub(super) async fn overdue(&self) {
        while !self.is_overdue() {
            self.reactor.sleep(LOOK).await;
        }
    }
}
