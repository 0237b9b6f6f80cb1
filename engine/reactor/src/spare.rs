//! Buffers that are used again: what a core's requests and answers are read into and written to.
//!
//! Owns: how many are kept, and of which sizes. Never: how much may be in use; callers count that.
//!
//! A buffer of a megabyte fresh from the allocator costs a page fault for every 4 KiB of it, more
//! than all that is done with the bytes. These have been touched before.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

/// Capacities kept, in bytes, and how many buffers of each: 92 MiB in all, and never twice that,
/// since a buffer may be up to twice as large as its shelf says.
const SHELVES: [(usize, usize); 4] = [
    (64 * 1024, 64),
    (256 * 1024, 32),
    (1024 * 1024, 16),
    (16 * 1024 * 1024, 4),
];
/// Less than this is left to the allocator.
const LENT_BYTES_MIN: usize = 16 * 1024;

/// One core's spare buffers. A clone is the same; a buffer may end its life on another core.
#[derive(Clone)]
pub struct Spares {
    shelves: Arc<[ArrayQueue<Vec<u8>>; SHELVES.len()]>,
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.shelves.iter().map(ArrayQueue::len))
            .finish()
    }
}

impl Default for Spares {
    fn default() -> Self {
        Self {
            shelves: Arc::new(SHELVES.map(|(_, count)| ArrayQueue::new(count))),
        }
    }
}

impl Spares {
    /// An empty buffer with room for at least `bytes`.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let fits = |(capacity, _): &(usize, usize)| *capacity >= bytes;
        if bytes < LENT_BYTES_MIN {
            return Vec::with_capacity(bytes);
        }
        let Some(shelf) = SHELVES.iter().position(fits) else {
            return Vec::with_capacity(bytes);
        };
        self.shelves[shelf]
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(SHELVES[shelf].0))
    }

    /// Takes a buffer back, whoever made it; its bytes are forgotten.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        let fits = |(capacity, _): &(usize, usize)| *capacity <= room;
        if let Some(shelf) = SHELVES.iter().rposition(fits)
            && room <= 2 * SHELVES[shelf].0
        {
            buffer.clear();
            // A full shelf drops it.
            self.shelves[shelf].push(buffer).ok();
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
        let spares = Spares::default();
        for _ in 0..1_000 {
            spares.give(Vec::with_capacity(64 * 1024));
            spares.give(Vec::with_capacity(20 * 1024 * 1024));
        }
        let kept: usize = spares.shelves.iter().map(ArrayQueue::len).sum();
        assert_eq!(kept, 64 + 4);
    }
}
