//! Where the batches of unsealed segments lie. Sealed segments keep theirs in a footer on disk.

use std::collections::VecDeque;

use weir_protocol::model::{Count, Offset, Position, Timestamp};

/// One batch: its place in the shard and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: Offset,
    pub(crate) arrival: Timestamp,
    pub(crate) position: Position,
    pub(crate) bytes: u32,
    pub(crate) records: Count,
}

impl Extent {
    pub(crate) fn next(&self) -> Offset {
        self.first + self.records
    }
}

/// Index of the first extent that ends behind `from`: the one that holds it, or the next one.
pub(crate) fn first_behind(extents: &VecDeque<Extent>, from: Offset) -> usize {
    extents.partition_point(|e| e.next() <= from)
}

/// Index of the first extent that arrived at or after `at`.
pub(crate) fn first_arrived(extents: &VecDeque<Extent>, at: Timestamp) -> usize {
    extents.partition_point(|e| e.arrival < at)
}
