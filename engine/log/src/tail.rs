//! Recent frames, kept in memory: the main cache. Readers at the end never touch the disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use weir_protocol::model::Position;

/// Memory that a frame is kept in.
#[derive(Debug)]
pub(crate) enum FrameBytes<B> {
    /// The buffer that was written to disk.
    Buffer(Rc<B>),
    /// A copy, for a frame that used little of its buffer.
    Copy(Rc<[u8]>),
}

impl<B> Clone for FrameBytes<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Buffer(buffer) => Self::Buffer(Rc::clone(buffer)),
            Self::Copy(copy) => Self::Copy(Rc::clone(copy)),
        }
    }
}

impl<B: AsRef<[u8]>> FrameBytes<B> {
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Buffer(buffer) => &(**buffer).as_ref()[range],
            Self::Copy(copy) => &copy[range],
        }
    }
}

/// A frame in memory.
#[derive(Debug)]
struct TailFrame<B> {
    start: Position,
    end: Position,
    held_bytes: usize,
    bytes: FrameBytes<B>,
}

/// The newest durable frames, in position order.
#[derive(Debug)]
pub(crate) struct Tail<B> {
    frames: VecDeque<TailFrame<B>>,
    held_bytes: usize,
    held_bytes_max: usize,
    /// Buffers that nobody holds any more, to be filled again: fresh memory costs a page fault for
    /// every page, a fifth of the processor time of a flat-out append.
    /// With the bytes that the allocator gave for each.
    spare: Vec<(B, usize)>,
}

/// Spare buffers kept at most.
const SPARE_MAX: usize = 16;
/// Buffers below this size are left to the allocator, which keeps them warm itself.
const SPARE_BYTES_MIN: usize = 128 * 1024;
/// Frames of at most this length are copied out of their buffer.
const COPY_BYTES_MAX: usize = 16 * 1024;

impl<B: AsRef<[u8]>> Tail<B> {
    pub(crate) fn new(held_bytes_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            held_bytes: 0,
            held_bytes_max,
            spare: Vec::new(),
        }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes in a durable frame whose buffer has `capacity` bytes; lets go of the oldest ones.
    pub(crate) fn push(&mut self, start: Position, end: Position, buffer: Rc<B>, capacity: usize) {
        let length = (end.0 - start.0) as usize;
        let (bytes, held_bytes) = if length <= COPY_BYTES_MAX && length < capacity {
            (
                FrameBytes::Copy((*buffer).as_ref()[..length].into()),
                length,
            )
        } else {
            (FrameBytes::Buffer(buffer), capacity)
        };
        self.held_bytes += held_bytes;
        self.frames.push_back(TailFrame {
            start,
            end,
            held_bytes,
            bytes,
        });
        while self.held_bytes > self.held_bytes_max && self.frames.len() > 1 {
            let oldest = self.frames.pop_front().expect("more than one frame");
            self.held_bytes -= oldest.held_bytes;
            if let FrameBytes::Buffer(buffer) = oldest.bytes
                && let Ok(buffer) = Rc::try_unwrap(buffer)
            {
                self.keep_spare(buffer, oldest.held_bytes);
            }
        }
    }

    fn keep_spare(&mut self, buffer: B, capacity: usize) {
        if self.spare.len() < SPARE_MAX && buffer.as_ref().len() >= SPARE_BYTES_MIN {
            self.spare.push((buffer, capacity));
        }
    }

    /// A spare buffer of at least `need` bytes and at most `most`, with what it holds in fact.
    pub(crate) fn take_spare(&mut self, need: usize, most: usize) -> Option<(B, usize)> {
        let fits = |(buffer, _): &(B, usize)| (need..=most).contains(&buffer.as_ref().len());
        let found = self.spare.iter().position(fits);
        // Spares of sizes that nobody asks for must not stay for ever.
        if found.is_none() && need >= SPARE_BYTES_MIN {
            self.spare.pop();
        }
        found.map(|at| self.spare.swap_remove(at))
    }

    /// The frame that holds `position`, and the place of `position` in it.
    pub(crate) fn find(&self, position: Position) -> Option<(FrameBytes<B>, usize)> {
        let index = self.frames.partition_point(|f| f.end <= position);
        let frame = self.frames.get(index)?;
        if position < frame.start {
            return None;
        }
        Some((frame.bytes.clone(), (position.0 - frame.start.0) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_newest_within_its_bytes() {
        let mut tail = Tail::<Vec<u8>>::new(40_000);
        for i in 0..10_u64 {
            let buffer = Rc::new(vec![i as u8; 4096]);
            tail.push(Position(i * 4096), Position((i + 1) * 4096), buffer, 65_536);
        }
        assert!(tail.held_bytes() <= 40_000);
        assert!(tail.find(Position(0)).is_none());
        let (bytes, at) = tail.find(Position(9 * 4096 + 5)).unwrap();
        assert_eq!((bytes.slice(at..at + 1), at), (&[9][..], 5));
        assert!(tail.find(Position(10 * 4096)).is_none());
    }
}
