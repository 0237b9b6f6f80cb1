//! Memory for what comes in on the binary connections of one core and is no whole frame yet.
//!
//! Owns: how many bytes of it there may be, and buffers for the next. Never: what the bytes are.
//! A connection holds a buffer while bytes lie in it. At the bound nothing is refused: connections
//! are not read until there is room, short frames apart from long ones; and of those whose frames
//! are long one at a time may go past the bound, so that many begun frames do not hold up each
//! other for ever.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use weir_gateway::{Permit, ReadBudget, Reserving, Wish};

/// What a connection of which nothing is known is received into.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Buffers of this length and its doubles, up to the longest frame.
const SHELVES: usize = 11;
/// Part of the memory that is for short frames only.
const SMALL_PART: usize = 4;
/// Part of it that may lie on the shelves, beside what is held.
const KEPT_PART: usize = 4;
/// The longest frame must fit beside others.
const BYTES_LEAST: usize = 24 * 1024 * 1024;

pub(crate) struct Intake {
    small: Rc<ReadBudget>,
    large: Cell<usize>,
    large_max: usize,
    /// Who may go past the bound.
    turn: Rc<ReadBudget>,
    waiting: Cell<usize>,
    /// Buffers to be used again, each as long as it is: their bytes were written before.
    shelves: RefCell<[Vec<Vec<u8>>; SHELVES]>,
    kept: Cell<usize>,
    kept_max: usize,
    was_used: Cell<bool>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("held_bytes", &self.held_bytes())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// What covers a buffer.
pub(crate) enum Cover {
    Nothing,
    Small {
        _permit: Permit,
    },
    Large {
        _bytes: Large,
        _turn: Option<Permit>,
    },
}

/// Bytes of long frames, until dropped.
pub(crate) struct Large {
    intake: Rc<Intake>,
    bytes: usize,
}

impl Drop for Large {
    fn drop(&mut self) {
        let held = self.intake.large.get();
        self.intake.large.set(held - self.bytes);
    }
}

/// A wait for memory.
pub(crate) struct Line {
    intake: Rc<Intake>,
    wait: Reserving,
    /// What was asked for.
    pub(crate) bytes: usize,
}

impl Drop for Line {
    fn drop(&mut self) {
        let waiting = self.intake.waiting.get();
        self.intake.waiting.set(waiting - 1);
    }
}

impl Line {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Cover> {
        let permit = ready!(Pin::new(&mut self.wait).poll(context));
        Poll::Ready(if self.bytes <= SMALL_BYTES {
            Cover::Small { _permit: permit }
        } else {
            Cover::Large {
                _bytes: self.intake.hold_large(self.bytes),
                _turn: Some(permit),
            }
        })
    }
}

fn shelf_bytes(shelf: usize) -> usize {
    SMALL_BYTES << shelf
}

impl Intake {
    /// Room for `bytes`, or for the least that is of use.
    pub(crate) fn new(bytes: usize) -> Rc<Self> {
        let bytes = bytes.max(BYTES_LEAST);
        let small = bytes / SMALL_PART;
        Rc::new(Self {
            small: ReadBudget::new(small),
            large: Cell::new(0),
            large_max: bytes - small,
            turn: ReadBudget::new(1),
            waiting: Cell::new(0),
            shelves: RefCell::default(),
            kept: Cell::new(0),
            kept_max: bytes / KEPT_PART,
            was_used: Cell::new(false),
        })
    }

    /// Bytes that are held, and that wait on the shelves.
    pub(crate) fn held_bytes(&self) -> usize {
        self.small.held() + self.large.get() + self.kept.get()
    }

    /// Bytes that nobody holds and that wait to be used again.
    #[cfg(test)]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.get()
    }

    /// Whether connections wait for memory.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Whether little is left for long frames.
    pub(crate) fn is_short(&self) -> bool {
        self.large.get() > self.large_max / 2
    }

    fn hold_large(self: &Rc<Self>, bytes: usize) -> Large {
        self.large.set(self.large.get() + bytes);
        Large {
            intake: Rc::clone(self),
            bytes,
        }
    }

    /// Covers a buffer of `bytes` if there is room now.
    pub(crate) fn cover(self: &Rc<Self>, bytes: usize) -> Option<Cover> {
        if bytes <= SMALL_BYTES {
            let permit = self.small.spare(bytes);
            return permit.map(|permit| Cover::Small { _permit: permit });
        }
        (self.large.get() + bytes <= self.large_max).then(|| Cover::Large {
            _bytes: self.hold_large(bytes),
            _turn: None,
        })
    }

    /// Waits for room for `bytes`, or for the turn to go past the bound with them.
    pub(crate) fn line(self: &Rc<Self>, bytes: usize) -> Line {
        self.waiting.set(self.waiting.get() + 1);
        let wait = if bytes <= SMALL_BYTES {
            self.small.reserve(Wish::exactly(bytes))
        } else {
            self.turn.reserve(Wish::exactly(1))
        };
        Line {
            intake: Rc::clone(self),
            wait,
            bytes,
        }
    }

    /// Length of the buffer that [`Self::take`] gives for so many bytes.
    pub(crate) fn buffer_bytes(bytes: usize) -> usize {
        let shelf = (0..SHELVES).find(|shelf| shelf_bytes(*shelf) >= bytes);
        shelf.map_or(bytes, shelf_bytes)
    }

    /// A buffer of at least `bytes`, of any contents.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        self.was_used.set(true);
        let length = Self::buffer_bytes(bytes);
        let shelf = (0..SHELVES).find(|shelf| shelf_bytes(*shelf) == length);
        let kept = shelf.and_then(|shelf| self.shelves.borrow_mut()[shelf].pop());
        if let Some(buffer) = &kept {
            self.kept.set(self.kept.get() - buffer.len());
        }
        kept.unwrap_or_else(|| vec![0; length])
    }

    pub(crate) fn give(&self, buffer: Vec<u8>) {
        let length = buffer.len();
        let shelf = (0..SHELVES).find(|shelf| shelf_bytes(*shelf) == length);
        if let Some(shelf) = shelf
            && self.kept.get() + length <= self.kept_max
        {
            self.kept.set(self.kept.get() + length);
            self.shelves.borrow_mut()[shelf].push(buffer);
        }
    }

    /// Frees what lies on the shelves if nothing was taken since the last call.
    pub(crate) fn let_go_of_unused(&self) {
        if !self.was_used.replace(false) {
            self.kept.set(0);
            self.shelves.take();
        }
    }
}
