//! Brings the records of many shards into one order: by arrival time as far as that is known, and
//! always in order within a shard.
//!
//! A shard that is known to have more records holds the others back until they came; a shard at
//! its tip holds nobody back, for its next record is yet to arrive.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use weir_protocol::model::Timestamp;

use super::records::{Record, RecordRun};

#[derive(Debug, Default)]
struct Lane {
    runs: VecDeque<RecordRun>,
    /// More records are known to exist than came so far.
    has_more: bool,
}

/// The merge; shards are named by their slot.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    lanes: Vec<Lane>,
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Lanes without records at hand that are known to have more.
    awaited: usize,
}

impl Merge {
    /// One more shard, behind the others; its slot. It may have records until its first answer says
    /// otherwise.
    pub(crate) fn add(&mut self) -> usize {
        self.lanes.push(Lane {
            runs: VecDeque::new(),
            has_more: true,
        });
        self.awaited += 1;
        self.lanes.len() - 1
    }

    /// An answer came for a shard; `has_more` tells whether records are known to exist behind it.
    pub(crate) fn push(&mut self, slot: usize, run: Option<RecordRun>, has_more: bool) {
        let lane = &mut self.lanes[slot];
        let was_empty = lane.runs.is_empty();
        if was_empty && lane.has_more {
            self.awaited -= 1;
        }
        lane.has_more = has_more;
        if let Some(run) = run {
            let head = run.peek().map(|record| record.arrival);
            if let Some(arrival) = head {
                lane.runs.push_back(run);
                if was_empty {
                    self.heads.push(Reverse((arrival, slot)));
                }
            }
        }
        if lane.runs.is_empty() && lane.has_more {
            self.awaited += 1;
        }
    }

    /// How many answers of a shard wait to be handed out.
    pub(crate) fn runs(&self, slot: usize) -> usize {
        self.lanes[slot].runs.len()
    }

    /// The next record of all, with its shard; `None` until more answers came.
    pub(crate) fn peek(&self) -> Option<(usize, Record<'_>)> {
        if self.awaited > 0 {
            return None;
        }
        let Reverse((_, slot)) = self.heads.peek()?;
        let run = self.lanes[*slot].runs.front()?;
        run.peek().map(|record| (*slot, record))
    }

    /// Goes past the record that [`Merge::peek`] gave.
    pub(crate) fn advance(&mut self) {
        let Some(Reverse((_, slot))) = self.heads.pop() else {
            return;
        };
        let lane = &mut self.lanes[slot];
        let run = lane.runs.front_mut().expect("a head has a run");
        run.advance();
        if run.peek().is_none() {
            lane.runs.pop_front();
        }
        match lane.runs.front().and_then(RecordRun::peek) {
            Some(record) => self.heads.push(Reverse((record.arrival, slot))),
            None if lane.has_more => self.awaited += 1,
            None => {}
        }
    }

    /// Nothing is at hand and nothing is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.awaited == 0 && self.heads.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::batch::{BatchBuilder, ProducerMark, stamp};
    use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId};

    fn run(arrivals: &[u64]) -> RecordRun {
        let mut out = Vec::new();
        for (i, arrival) in arrivals.iter().enumerate() {
            let start = out.len();
            let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
            let mut batch = BatchBuilder::new(&mut out, shard, 1, ProducerMark::default());
            batch.push("k", arrival.to_string().as_bytes()).unwrap();
            batch.finish();
            let offset = Offset::new(i as u64).unwrap();
            stamp(&mut out[start..], offset, Timestamp::from_millis(*arrival));
        }
        RecordRun::verify(out, Offset::ZERO, Offset::MAX).unwrap()
    }

    fn merge(count: usize) -> Merge {
        let mut merge = Merge::default();
        (0..count).for_each(|slot| assert_eq!(merge.add(), slot));
        merge
    }

    fn drain(merge: &mut Merge) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some((_, record)) = merge.peek() {
            all.push(record.arrival.as_millis());
            merge.advance();
        }
        all
    }

    #[test]
    fn records_come_by_arrival_once_every_shard_has_spoken() {
        let mut merge = merge(3);
        merge.push(0, Some(run(&[1, 5, 9])), false);
        merge.push(1, Some(run(&[2, 3, 20])), true);
        assert_eq!(drain(&mut merge), [0; 0], "shard 2 may have older ones");
        merge.push(2, None, false);
        assert_eq!(drain(&mut merge), [1, 2, 3, 5, 9, 20]);
        assert!(!merge.is_empty(), "shard 1 has more");
        merge.push(1, Some(run(&[21])), false);
        assert_eq!(drain(&mut merge), [21]);
        assert!(merge.is_empty());
    }

    #[test]
    fn a_shard_with_more_holds_the_others_back_only_while_it_is_empty() {
        let mut merge = merge(2);
        merge.push(0, Some(run(&[1])), true);
        merge.push(1, Some(run(&[2, 4])), false);
        assert_eq!(drain(&mut merge), [1]);
        merge.push(0, Some(run(&[3, 5])), true);
        assert_eq!(merge.runs(0), 1);
        assert_eq!(drain(&mut merge), [2, 3, 4, 5]);
        merge.push(0, None, false);
        assert!(merge.is_empty());
    }
}
