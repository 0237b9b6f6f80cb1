//! Room for one piece of an answer that is handed over and not sent.
//!
//! Owns: whether the room is taken, since when, and whether its answer was given up. Never: the
//! bytes. The piece itself tells when it is gone, and it may be dropped anywhere as far as the
//! compiler knows: hence the atomics.

use std::sync::Arc;
use std::task::Waker;

use crate::sync::{AtomicBool, AtomicU64, AtomicWaker, Ordering};

/// The room of one answer.
#[derive(Debug)]
pub(crate) struct Room {
    is_endless: bool,
    /// Since when the piece is held, in the clock's nanoseconds; 0 when there is none.
    held_since: AtomicU64,
    given_up: AtomicBool,
    waker: AtomicWaker,
    /// Counts the pieces of the connection that were taken.
    taken: Arc<AtomicU64>,
}

/// What an answer that has more to give finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is held.
    Free,
    /// The piece before is; its end wakes whoever looked.
    Held,
    /// The client takes nothing.
    GivenUp,
}

impl Room {
    pub(crate) fn new(is_endless: bool, taken: Arc<AtomicU64>) -> Self {
        Self {
            is_endless,
            held_since: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            taken,
        }
    }

    pub(crate) fn is_endless(&self) -> bool {
        self.is_endless
    }

    /// The clock's nanoseconds when the piece was handed over that is held still.
    pub(crate) fn held_since_ns(&self) -> Option<u64> {
        Some(self.held_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Whether the next piece may be handed over; `waker` is woken when that changes.
    pub(crate) fn look(&self, waker: &Waker) -> Standing {
        // Before the looks, so that what happens after them wakes.
        self.waker.register(waker);
        if self.given_up.load(Ordering::Relaxed) {
            Standing::GivenUp
        } else if self.held_since_ns().is_some() {
            Standing::Held
        } else {
            Standing::Free
        }
    }

    /// Hands `bytes` over.
    pub(crate) fn hold<B>(self: &Arc<Self>, bytes: B, now_ns: u64) -> Piece<B> {
        // The clock's zero is long ago.
        self.held_since.store(now_ns.max(1), Ordering::Relaxed);
        Piece {
            bytes,
            room: Arc::clone(self),
        }
    }
}

/// Bytes that were handed over; dropped when the socket has them all.
pub(crate) struct Piece<B> {
    bytes: B,
    room: Arc<Room>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Piece<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl<B> Drop for Piece<B> {
    fn drop(&mut self) {
        self.room.held_since.store(0, Ordering::Relaxed);
        if !self.room.given_up.load(Ordering::Relaxed) {
            self.room.taken.fetch_add(1, Ordering::Relaxed);
        }
        self.room.wake();
    }
}
