//! What waits for one shard: records not sent yet, and the one batch that is on its way.
//!
//! One batch per shard is in flight at any time. A refused batch is tried again before anything
//! behind it is sent, so that the order of a key's lines never changes and nothing is stored twice
//! by a retry of ours. While a batch is on its way the next one grows, so that a busy shard gets
//! larger batches by itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use weir_protocol::batch::{BatchBuilder, ProducerMark, RECORD_HEADER_BYTES};
use weir_protocol::limits::BATCH_RECORDS_MAX;
use weir_protocol::model::ShardId;

/// A batch that has this many bytes takes no more records, unless it would be empty.
pub(crate) const BATCH_BYTES_TARGET: usize = 1024 * 1024;

/// Records that will travel as one batch.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// Lengths of key and data, in order.
    records: Vec<(u16, u32)>,
    opened: Instant,
}

impl Pending {
    fn new(now: Instant) -> Self {
        Self {
            bytes: Vec::new(),
            records: Vec::new(),
            opened: now,
        }
    }

    fn takes(&self, bytes: usize) -> bool {
        let free = self.held_bytes() + bytes <= BATCH_BYTES_TARGET;
        self.records.len() < BATCH_RECORDS_MAX as usize && (free || self.records.is_empty())
    }

    /// Bytes of memory that the records take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.records.len() * RECORD_HEADER_BYTES
    }

    pub(crate) fn record_count(&self) -> u64 {
        self.records.len() as u64
    }

    /// Bytes of the records' data, without keys.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.records.iter().map(|(_, data)| u64::from(*data)).sum()
    }

    /// Key and data of each record, in order.
    fn records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.records.iter().map(move |(key_bytes, data_bytes)| {
            let (key, after) = rest.split_at(usize::from(*key_bytes));
            let (data, after) = after.split_at(*data_bytes as usize);
            rest = after;
            let key = std::str::from_utf8(key).expect("it was a str when it was pushed");
            (key, data)
        })
    }

    /// Appends the batch to `out`.
    pub(crate) fn encode(&self, shard: ShardId, map_version: u32, out: &mut Vec<u8>) {
        let mut batch = BatchBuilder::new(out, shard, map_version, ProducerMark::default());
        for (key, data) in self.records() {
            batch.push(key, data).expect("a batch keeps the caps");
        }
        batch.finish();
    }
}

/// A batch on its way.
#[derive(Debug)]
struct InFlight {
    batch: Pending,
    departed: Instant,
    /// The connection it left by, once it did.
    connection: Option<u64>,
}

/// One shard's queue.
#[derive(Debug)]
pub(crate) struct ShardQueue {
    pub(crate) id: ShardId,
    /// The core that owns the shard, as far as we know.
    pub(crate) core: u32,
    waiting: VecDeque<Pending>,
    in_flight: Option<InFlight>,
    /// Rises with every batch that leaves, and tells answers to earlier tries from the latest one's.
    departure: u32,
    /// Set while the front batch was refused and waits for its next try.
    not_before: Option<Instant>,
    first_refused: Option<Instant>,
    attempts: u32,
    /// A split or merge closed the shard: what waits here goes to others.
    closed: bool,
}

/// What a push did to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It opened a batch, whose linger time starts now.
    Opened,
    /// It joined a batch.
    Joined,
}

impl ShardQueue {
    pub(crate) fn new(id: ShardId, core: u32) -> Self {
        Self {
            id,
            core,
            waiting: VecDeque::new(),
            in_flight: None,
            departure: 0,
            not_before: None,
            first_refused: None,
            attempts: 0,
            closed: false,
        }
    }

    pub(crate) fn push(&mut self, key: &str, data: &[u8], now: Instant) -> Pushed {
        let bytes = key.len() + data.len() + RECORD_HEADER_BYTES;
        // A batch that was refused is sent again as it was; what comes later waits behind it.
        let refused = usize::from(self.attempts > 0);
        let joins = self.waiting.len() > refused
            && self.waiting.back().is_some_and(|last| last.takes(bytes));
        if !joins {
            self.waiting.push_back(Pending::new(now));
        }
        let last = self.waiting.back_mut().expect("one is there now");
        last.bytes.extend_from_slice(key.as_bytes());
        last.bytes.extend_from_slice(data);
        last.records.push((key.len() as u16, data.len() as u32));
        if joins {
            Pushed::Joined
        } else {
            Pushed::Opened
        }
    }

    /// Whether the front batch should leave now.
    pub(crate) fn is_due(
        &self,
        now: Instant,
        linger: Duration,
        records_enough: usize,
        input_ended: bool,
    ) -> bool {
        let Some(front) = self.waiting.front() else {
            return false;
        };
        if self.in_flight.is_some() || self.closed {
            return false;
        }
        match self.not_before {
            Some(moment) => moment <= now,
            None => {
                input_ended
                    || self.waiting.len() > 1
                    || front.records.len() >= records_enough
                    || !front.takes(1)
                    || front.opened + linger <= now
            }
        }
    }

    /// Takes the front batch on its way.
    pub(crate) fn depart(&mut self, now: Instant) -> &Pending {
        assert!(
            self.in_flight.is_none(),
            "one batch of a shard is in flight"
        );
        let front = self.waiting.pop_front().expect("a due queue is not empty");
        self.not_before = None;
        self.departure = self.departure.wrapping_add(1);
        let leaving = InFlight {
            batch: front,
            departed: now,
            connection: None,
        };
        &self.in_flight.insert(leaving).batch
    }

    /// The number of the latest departure; its answer carries it.
    pub(crate) fn departure(&self) -> u32 {
        self.departure
    }

    /// Whether an answer to this departure is awaited. One to an earlier try is not: it says nothing
    /// of what is on its way now.
    pub(crate) fn awaits(&self, departure: u32) -> bool {
        self.in_flight.is_some() && self.departure == departure
    }

    /// The batch in flight leaves by `connection`.
    pub(crate) fn leaves_by(&mut self, connection: u64) {
        if let Some(leaving) = &mut self.in_flight {
            leaving.connection = Some(connection);
        }
    }

    /// Whether the batch in flight left by `connection`.
    pub(crate) fn left_by(&self, connection: u64) -> bool {
        let left = self.in_flight.as_ref();
        left.is_some_and(|left| left.connection == Some(connection))
    }

    /// The batch in flight was stored.
    pub(crate) fn stored(&mut self) -> Option<Pending> {
        self.attempts = 0;
        self.first_refused = None;
        self.in_flight.take().map(|left| left.batch)
    }

    /// The batch in flight was refused, or its fate is unknown: it goes back to the front. Gives
    /// the moment of its next try, and for how long it has been refused.
    pub(crate) fn refused(&mut self, now: Instant) -> Option<(Instant, Duration)> {
        let batch = self.in_flight.take()?.batch;
        self.waiting.push_front(batch);
        let pause = Duration::from_millis(20 << self.attempts.min(6));
        self.attempts += 1;
        let next = now + pause;
        self.not_before = Some(next);
        let since = *self.first_refused.get_or_insert(now);
        Some((next, now.duration_since(since)))
    }

    /// The shard takes nothing more: the batch in flight goes back to the front, and nothing leaves.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        if let Some(left) = self.in_flight.take() {
            self.waiting.push_front(left.batch);
        }
    }

    /// Whether something is here that a closed shard would refuse.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none()
    }

    /// Gives everything that waits to `take`, in order. Nothing is in flight.
    pub(crate) fn move_out(&mut self, mut take: impl FnMut(&str, &[u8])) {
        assert!(self.in_flight.is_none(), "what is in flight may be stored");
        for batch in std::mem::take(&mut self.waiting) {
            batch.records().for_each(|(key, data)| take(key, data));
        }
    }

    /// When the batch in flight left.
    pub(crate) fn departed(&self) -> Option<Instant> {
        self.in_flight.as_ref().map(|left| left.departed)
    }

    /// Records of the batch in flight.
    pub(crate) fn in_flight_count(&self) -> u64 {
        self.in_flight
            .as_ref()
            .map_or(0, |left| left.batch.record_count())
    }

    /// Records not acknowledged yet.
    pub(crate) fn record_count(&self) -> u64 {
        let waiting: u64 = self.waiting.iter().map(Pending::record_count).sum();
        waiting + self.in_flight_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::batch::BatchView;
    use weir_protocol::model::{ShardIndex, StreamId};

    const LINGER: Duration = Duration::from_millis(20);

    fn queue() -> ShardQueue {
        ShardQueue::new(ShardId::new(StreamId::new(1), ShardIndex(0)), 0)
    }

    fn keys(batch: &Pending) -> Vec<String> {
        let mut bytes = Vec::new();
        batch.encode(ShardId::new(StreamId::new(1), ShardIndex(0)), 1, &mut bytes);
        let view = BatchView::decode(&bytes).unwrap();
        view.check_records(1 << 20).unwrap();
        view.records()
            .map(|record| String::from_utf8(record.key.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn batches_leave_when_full_or_after_their_linger() {
        let start = super::super::super::clock::now();
        let mut queue = queue();
        assert_eq!(queue.push("a", b"1", start), Pushed::Opened);
        assert!(!queue.is_due(start, LINGER, 2, false));
        assert!(queue.is_due(start, LINGER, 2, true));
        assert!(queue.is_due(start + LINGER, LINGER, 2, false));
        assert_eq!(queue.push("b", b"2", start), Pushed::Joined);
        assert!(queue.is_due(start, LINGER, 2, false));
        assert_eq!(keys(queue.depart(start)), ["a", "b"]);
        assert_eq!(queue.push("c", b"3", start), Pushed::Opened);
        assert!(
            !queue.is_due(start + LINGER, LINGER, 2, true),
            "one is in flight"
        );
        assert_eq!(queue.stored().unwrap().record_count(), 2);
        assert!(queue.is_due(start + LINGER, LINGER, 2, false));
        assert_eq!(queue.record_count(), 1);
    }

    #[test]
    fn a_refused_batch_is_not_overtaken_and_not_changed() {
        let start = super::super::super::clock::now();
        let mut queue = queue();
        queue.push("a", b"1", start);
        queue.depart(start);
        let (next, refused_for) = queue.refused(start).unwrap();
        assert!(next > start && refused_for == Duration::ZERO);
        queue.push("b", b"2", start);
        assert!(!queue.is_due(start, LINGER, 10, true));
        assert!(queue.is_due(next, LINGER, 10, false));
        assert_eq!(keys(queue.depart(next)), ["a"]);
        let (_, refused_for) = queue.refused(next).unwrap();
        assert_eq!(refused_for, next - start);
        assert_eq!(keys(queue.depart(next + LINGER * 100)), ["a"]);
        queue.stored();
        assert_eq!(keys(queue.depart(next + LINGER * 100)), ["b"]);
    }

    #[test]
    fn what_an_old_connection_says_is_not_about_a_batch_sent_again() {
        let start = super::super::super::clock::now();
        let mut queue = queue();
        queue.push("a", b"1", start);
        queue.depart(start);
        queue.leaves_by(1);
        let first = queue.departure();
        assert!(queue.awaits(first) && queue.left_by(1));
        // The write of another batch failed first: this one goes again, over a new connection.
        let (next, _) = queue.refused(start).unwrap();
        assert!(!queue.awaits(first) && !queue.left_by(1));
        queue.depart(next);
        assert!(!queue.left_by(1) && !queue.left_by(2));
        queue.leaves_by(2);
        assert!(!queue.awaits(first) && !queue.left_by(1));
        assert!(queue.awaits(queue.departure()) && queue.left_by(2));
    }

    #[test]
    fn a_closed_queue_gives_everything_away_in_order() {
        let start = super::super::super::clock::now();
        let mut queue = queue();
        queue.push("a", b"1", start);
        queue.depart(start);
        queue.push("b", b"2", start);
        queue.push("a", b"3", start);
        queue.close();
        assert!(!queue.is_due(start + LINGER, LINGER, 1, true));
        assert_eq!((queue.record_count(), queue.departed()), (3, None));
        let mut moved = Vec::new();
        queue.move_out(|key, data| moved.push((key.to_owned(), data.to_vec())));
        let moved: Vec<_> = moved.iter().map(|(k, d)| (k.as_str(), d[0])).collect();
        assert_eq!(moved, [("a", b'1'), ("b", b'2'), ("a", b'3')]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_record_of_the_longest_kind_travels_alone() {
        let start = super::super::super::clock::now();
        let mut queue = queue();
        let long = vec![7; BATCH_BYTES_TARGET - 1];
        queue.push("a", &long, start);
        queue.push("b", b"2", start);
        assert_eq!(keys(queue.depart(start)), ["a"]);
    }
}
