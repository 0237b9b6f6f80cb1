//! Buffers that are used again: what a core's requests and answers are read into and written to.
//!
//! Owns: how many bytes of them are kept, of which sizes, and for how long. Never: how much may be
//! in use; callers count that.
//!
//! A buffer of a megabyte fresh from the allocator costs a page fault for every 4 KiB of it, more
//! than all that is done with the bytes. These have been touched before.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::sync::{ArrayQueue, AtomicUsize, Ordering};

/// Capacity of the first shelf's buffers in bytes; each shelf's are twice as large as those of the
/// one before, so that a buffer is never more than twice what was asked for.
const SHELF_BYTES_MIN: usize = 64 * 1024;
/// The last one's are 16 MiB: the longest body, and the longest answer.
const SHELVES: usize = 9;
/// Buffers that one shelf keeps at most; the bytes of all are bounded apart.
const SHELF_COUNT_MAX: usize = 64;
/// Less than this is left to the allocator.
const LENT_BYTES_MIN: usize = 16 * 1024;
/// Bytes kept where nobody says how many.
const KEPT_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// One core's spare buffers. A clone is the same; a buffer may end its life on another core.
#[derive(Clone)]
pub struct Spares {
    shared: Arc<Shared>,
}

struct Shared {
    shelves: [Shelf; SHELVES],
    /// Bytes on all shelves.
    kept: AtomicUsize,
    kept_max: usize,
}

struct Shelf {
    buffers: ArrayQueue<Vec<u8>>,
    /// The fewest that lay here since the last look: so many are not needed.
    fewest: AtomicUsize,
}

const fn shelf_bytes(shelf: usize) -> usize {
    SHELF_BYTES_MIN << shelf
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares")
            .field("kept_bytes", &self.kept_bytes())
            .field("kept_max", &self.shared.kept_max)
            .finish_non_exhaustive()
    }
}

impl Default for Spares {
    fn default() -> Self {
        Self::new(KEPT_BYTES_DEFAULT)
    }
}

impl Spares {
    /// Shelves that keep up to `kept_max` bytes; buffers that come back beyond that are freed.
    pub fn new(kept_max: usize) -> Self {
        let shelf = |_| Shelf {
            buffers: ArrayQueue::new(SHELF_COUNT_MAX),
            fewest: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::new(Shared {
                shelves: std::array::from_fn(shelf),
                kept: AtomicUsize::new(0),
                kept_max,
            }),
        }
    }

    /// Bytes that lie on the shelves and are not in use.
    pub fn kept_bytes(&self) -> usize {
        self.shared.kept.load(Ordering::Relaxed)
    }

    /// An empty buffer with room for at least `bytes`, and for at most twice that or 64 KiB.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let fits = |shelf: &usize| shelf_bytes(*shelf) >= bytes;
        if bytes < LENT_BYTES_MIN {
            return Vec::with_capacity(bytes);
        }
        let Some(at) = (0..SHELVES).find(fits) else {
            return Vec::with_capacity(bytes);
        };
        let shelf = &self.shared.shelves[at];
        match shelf.buffers.pop() {
            Some(buffer) => {
                shelf
                    .fewest
                    .fetch_min(shelf.buffers.len(), Ordering::Relaxed);
                self.forget(buffer.capacity());
                buffer
            }
            None => Vec::with_capacity(shelf_bytes(at)),
        }
    }

    /// Takes a buffer back, whoever made it; its bytes are forgotten.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        let Some(at) = (0..SHELVES).rfind(|shelf| shelf_bytes(*shelf) <= room) else {
            return;
        };
        if room >= 2 * shelf_bytes(at) {
            return;
        }
        let kept = self.shared.kept.fetch_add(room, Ordering::Relaxed) + room;
        buffer.clear();
        if kept > self.shared.kept_max || self.shared.shelves[at].buffers.push(buffer).is_err() {
            self.forget(room);
        }
    }

    fn forget(&self, bytes: usize) {
        let kept = self.shared.kept.fetch_sub(bytes, Ordering::Relaxed);
        assert!(kept >= bytes, "a buffer leaves its shelf once");
    }

    /// Frees the buffers that nobody needed since the last call.
    pub fn let_go_of_unused(&self) {
        for shelf in &self.shared.shelves {
            for _ in 0..shelf.fewest.load(Ordering::Relaxed) {
                let Some(buffer) = shelf.buffers.pop() else {
                    break;
                };
                self.forget(buffer.capacity());
            }
            shelf.fewest.store(shelf.buffers.len(), Ordering::Relaxed);
        }
    }

    /// Like [`Self::take`], given back by being dropped.
    pub fn lend(&self, bytes: usize) -> Lent {
        self.lend_back(self.take(bytes))
    }

    /// Has `buffer` given back when it is dropped.
    pub fn lend_back(&self, buffer: Vec<u8>) -> Lent {
        Lent {
            buffer,
            spares: self.clone(),
        }
    }
}

/// A buffer that goes back to its [`Spares`] when dropped.
#[derive(Debug)]
pub struct Lent {
    buffer: Vec<u8>,
    spares: Spares,
}

impl Deref for Lent {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spares.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_empty() {
        let spares = Spares::default();
        let mut first = spares.lend(700_000);
        first.extend_from_slice(b"secret");
        let (at, room) = (first.as_ptr(), first.capacity());
        assert!(room >= 700_000);
        drop(first);
        let again = spares.lend(900_000);
        assert_eq!(again.as_ptr(), at);
        assert!(again.is_empty());
        // It is in use: another one is made.
        assert_ne!(spares.lend(900_000).as_ptr(), at);
    }

    #[test]
    fn a_buffer_is_never_smaller_than_asked() {
        let spares = Spares::default();
        for made in [70_000, 300_000, 1_500_000, 20_000_000, 40_000_000] {
            spares.give(Vec::with_capacity(made));
        }
        for asked in [0, 1, 16_384, 65_536, 65_537, 262_145, 1_048_577, 16_777_217] {
            assert!(spares.take(asked).capacity() >= asked, "{asked}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let spares = Spares::new(40 * 1024 * 1024);
        for _ in 0..1_000 {
            spares.give(Vec::with_capacity(64 * 1024));
            spares.give(Vec::with_capacity(20 * 1024 * 1024));
        }
        let kept = SHELF_COUNT_MAX * 64 * 1024 + 20 * 1024 * 1024;
        assert_eq!(spares.kept_bytes(), kept);
        let taken = spares.take(16 * 1024 * 1024);
        assert_eq!(spares.kept_bytes(), kept - taken.capacity());
    }

    #[test]
    fn what_is_not_needed_is_given_back() {
        let spares = Spares::default();
        let in_use: Vec<_> = (0..5).map(|_| spares.lend(1_000_000)).collect();
        drop(in_use);
        let kept = spares.kept_bytes();
        // They were needed a moment ago.
        spares.let_go_of_unused();
        assert_eq!(spares.kept_bytes(), kept);
        // Two at a time were since.
        for _ in 0..10 {
            drop((spares.lend(1_000_000), spares.lend(1_000_000)));
        }
        spares.let_go_of_unused();
        assert_eq!(spares.kept_bytes(), kept / 5 * 2);
        spares.let_go_of_unused();
        assert_eq!(spares.kept_bytes(), 0);
    }
}
