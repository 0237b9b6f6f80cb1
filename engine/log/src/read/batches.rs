//! What a reader gets: batches in the memory they lie in.

use std::ops::Range;
use std::rc::Rc;

use weir_protocol::model::Offset;
use weir_reactor::{Map, Reactor};

use crate::log::{BufferOf, BytesOf, MapOf};
use crate::sealed::Loaded;
use crate::tail::FrameBytes;

/// Memory that some batches lie in.
pub(super) enum Chunk<R: Reactor> {
    Tail(FrameBytes<BufferOf<R>>, Range<usize>),
    Disk(Rc<BytesOf<R>>, Range<usize>),
    /// The segment goes along: its slot is not used again while somebody reads the mapping.
    Map {
        _segment: Rc<Loaded<R>>,
        map: Rc<MapOf<R>>,
        range: Range<usize>,
    },
}

/// Batches of one shard, in offset order. Holds the memory they lie in: drop it before waiting for
/// a slow client.
pub struct ReadBatches<R: Reactor> {
    chunks: Vec<Chunk<R>>,
    /// How many batches.
    pub count: u32,
    /// Their bytes.
    pub bytes: usize,
    /// Where the next read begins.
    pub next: Offset,
    /// One past the newest durable record.
    pub durable_next: Offset,
}

impl<R: Reactor> std::fmt::Debug for ReadBatches<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadBatches")
            .field("count", &self.count)
            .field("bytes", &self.bytes)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<R: Reactor> ReadBatches<R> {
    pub(super) fn new(next: Offset, durable_next: Offset) -> Self {
        Self {
            chunks: Vec::new(),
            count: 0,
            bytes: 0,
            next,
            durable_next,
        }
    }

    /// The batches, in runs of whole ones.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|chunk| match chunk {
            Chunk::Tail(bytes, range) => bytes.slice(range.clone()),
            Chunk::Disk(bytes, range) => &(**bytes).as_ref()[range.clone()],
            Chunk::Map { map, range, .. } => map.slice(range.clone()),
        })
    }

    /// No batches.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn push(&mut self, chunk: Chunk<R>, bytes: usize, next: Offset) {
        self.count += 1;
        self.bytes += bytes;
        self.next = next;
        self.chunks.push(chunk);
    }
}
