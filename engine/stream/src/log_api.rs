//! Stand-ins for the log's words until the log's crate has them.

use std::marker::PhantomData;

use weir_protocol::model::{Offset, Position, Timestamp};
use weir_reactor::Reactor;

/// What an admitted batch got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// When it arrived.
    pub arrival: Timestamp,
    /// Durable when the log is durable up to here.
    pub end: Position,
}

/// Batches read from a log.
#[derive(Debug)]
pub struct ReadBatches<R> {
    /// Records in the batches.
    pub count: u32,
    /// Bytes of the batches.
    pub bytes: usize,
    /// Where to read on.
    pub next: Offset,
    /// The durable tip.
    pub durable_next: Offset,
    _reactor: PhantomData<R>,
}

impl<R: Reactor> ReadBatches<R> {
    /// Runs of whole, verified batches.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}
