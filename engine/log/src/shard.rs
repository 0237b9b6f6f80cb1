//! What a log knows of each shard homed in it.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use weir_protocol::model::{Offset, ShardId, Timestamp};

use crate::extent::Extent;

/// Records that were acknowledged and cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First offset that may be missing.
    pub from: Offset,
    /// First offset known to be there again; equal to the shard's next offset if none is.
    pub until: Offset,
}

/// Where a shard stands, as recovery found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardTip {
    /// The shard.
    pub shard: ShardId,
    /// One past its last record: the next one's offset, unless the epoch rises.
    pub next: Offset,
    /// Arrival time of its last record.
    pub last_arrival: Timestamp,
    /// Damage found below the durable mark.
    pub holes: Vec<Hole>,
}

impl ShardTip {
    /// A shard without records.
    pub fn empty(shard: ShardId) -> Self {
        Self {
            shard,
            next: Offset::ZERO,
            last_arrival: Timestamp::ZERO,
            holes: Vec::new(),
        }
    }
}

/// How long a shard's records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Milliseconds after arrival.
    pub millis: u64,
    /// What arrived before this is gone, however long records are kept by now: it expired when they
    /// were kept for a shorter time.
    pub none_before: Timestamp,
    /// Bytes of batches this shard keeps at most: older ones go early, by whole segments' shares.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Nothing ever expires.
    pub const FOREVER: Self = Self {
        millis: u64::MAX,
        none_before: Timestamp::ZERO,
        bytes: None,
    };

    /// Records that arrived before this are gone when the expiry clock shows `expiry`.
    pub fn cutoff(&self, expiry: Timestamp) -> Timestamp {
        expiry.minus_millis(self.millis).max(self.none_before)
    }
}

/// Where a shard stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The next record's offset.
    pub next: Offset,
    /// One past the last durable record.
    pub durable_next: Offset,
    /// Arrival time of the last record taken in.
    pub last_arrival: Timestamp,
    /// Arrival time of the last durable record.
    pub durable_arrival: Timestamp,
}

/// A shard homed in the log.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) next: Offset,
    pub(crate) durable_next: Offset,
    pub(crate) last_arrival: Timestamp,
    pub(crate) durable_arrival: Timestamp,
    pub(crate) retention: Retention,
    pub(crate) holes: Vec<Hole>,
    /// Batches of unsealed segments, in offset order.
    pub(crate) extents: VecDeque<Extent>,
    /// Oldest offset that retention by bytes or by time still keeps, as far as it was computed.
    pub(crate) horizon: Offset,
    /// Ordinal of the segment whose list of present shards already names this one.
    pub(crate) listed_in: u64,
    /// First segment ordinal whose footer has room for this shard although it is not present.
    pub(crate) since: u64,
    /// Readers waiting for durable data.
    pub(crate) waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
    /// How often waiting readers were told to look again although nothing came.
    pub(crate) called: u64,
}

impl Shard {
    pub(crate) fn new(tip: ShardTip, retention: Retention, since: u64) -> Self {
        Self {
            next: tip.next,
            durable_next: tip.next,
            last_arrival: tip.last_arrival,
            durable_arrival: tip.last_arrival,
            retention,
            holes: tip.holes,
            extents: VecDeque::new(),
            horizon: Offset::ZERO,
            listed_in: u64::MAX,
            since,
            waiting: BTreeMap::new(),
            next_waiter: 0,
            called: 0,
        }
    }

    pub(crate) fn tip(&self) -> Tip {
        Tip {
            next: self.next,
            durable_next: self.durable_next,
            last_arrival: self.last_arrival,
            durable_arrival: self.durable_arrival,
        }
    }

    /// The hole that `from` lies in, if any.
    pub(crate) fn hole_at(&self, from: Offset) -> Option<Hole> {
        self.holes
            .iter()
            .copied()
            .find(|h| h.from <= from && from < h.until)
    }

    /// The first hole that begins after `from`.
    pub(crate) fn next_hole(&self, from: Offset) -> Option<Offset> {
        self.holes
            .iter()
            .map(|h| h.from)
            .filter(|at| *at > from)
            .min()
    }

    /// Enters a waiter, or refreshes it under the id it has.
    pub(crate) fn register(&mut self, id: Option<u64>, waker: &Waker) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.next_waiter += 1;
            self.next_waiter
        });
        self.waiting.insert(id, waker.clone());
        id
    }

    pub(crate) fn wake(&mut self) {
        for (_, waker) in std::mem::take(&mut self.waiting) {
            waker.wake();
        }
    }
}
