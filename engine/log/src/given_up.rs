//! Records that an operator gave up: damaged or missing, and stepped over by every reader.
//!
//! Owns: which numbers those are. Never: who decided it, which the catalog remembers.

use rustc_hash::FxHashMap;
use weir_protocol::model::{Offset, ShardId};

/// Numbers of a shard that reads step over. The shard's next number must not lie before the end of
/// any of them: what is appended later would be stepped over too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// The shard.
    pub shard: ShardId,
    /// The first of them.
    pub from: Offset,
    /// One past the last.
    pub until: Offset,
}

/// All that was given up, by shard: sorted, and apart from each other.
#[derive(Debug, Default)]
pub(crate) struct GivenUpRanges {
    shards: FxHashMap<ShardId, Vec<(Offset, Offset)>>,
}

impl GivenUpRanges {
    pub(crate) fn new(mut all: Vec<GivenUp>) -> Self {
        all.retain(|range| range.from < range.until);
        all.sort_unstable_by_key(|range| (range.shard, range.from));
        let mut shards: FxHashMap<ShardId, Vec<(Offset, Offset)>> = FxHashMap::default();
        for GivenUp { shard, from, until } in all {
            let ranges = shards.entry(shard).or_default();
            match ranges.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => ranges.push((from, until)),
            }
        }
        Self { shards }
    }

    fn of(&self, shard: ShardId) -> &[(Offset, Offset)] {
        self.shards.get(&shard).map_or(&[], Vec::as_slice)
    }

    /// How many ranges of a shard.
    pub(crate) fn count(&self, shard: ShardId) -> usize {
        self.of(shard).len()
    }

    /// `from`, or the end of the range that it lies in.
    pub(crate) fn step_over(&self, shard: ShardId, from: Offset) -> Offset {
        let ranges = self.of(shard);
        let behind = ranges.partition_point(|(_, until)| *until <= from);
        match ranges.get(behind) {
            Some((start, until)) if *start <= from => *until,
            _ => from,
        }
    }

    /// Where the first range behind `from` begins.
    pub(crate) fn next(&self, shard: ShardId, from: Offset) -> Option<Offset> {
        let ranges = self.of(shard);
        let behind = ranges.partition_point(|(start, _)| *start <= from);
        ranges.get(behind).map(|(start, _)| *start)
    }

    /// Whether all of `from` to `until` was given up.
    pub(crate) fn covers(&self, shard: ShardId, from: Offset, until: Offset) -> bool {
        self.step_over(shard, from) >= until
    }

    /// Forgets a shard.
    pub(crate) fn forget(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
    }
}

#[cfg(test)]
mod tests {
    use weir_protocol::model::{Count, ShardIndex, StreamId};

    use super::*;

    #[test]
    fn ranges_are_joined_and_stepped_over() {
        let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
        let at = |count| Offset::ZERO + Count(count);
        let range = |from, until| GivenUp {
            shard,
            from: at(from),
            until: at(until),
        };
        let ranges = vec![range(20, 30), range(5, 10), range(9, 12), range(40, 40)];
        let mut given_up = GivenUpRanges::new(ranges);
        assert_eq!(given_up.count(shard), 2);
        let steps = [(4, 4), (5, 12), (11, 12), (12, 12), (20, 30), (29, 30)];
        for (from, to) in steps {
            assert_eq!(given_up.step_over(shard, at(from)), at(to), "from {from}");
        }
        assert_eq!(given_up.next(shard, at(0)), Some(at(5)));
        assert_eq!(given_up.next(shard, at(5)), Some(at(20)));
        assert_eq!(given_up.next(shard, at(20)), None);
        assert!(given_up.covers(shard, at(6), at(12)));
        assert!(!given_up.covers(shard, at(6), at(13)));
        assert!(!given_up.covers(shard, at(12), at(13)));
        given_up.forget(shard);
        assert_eq!(given_up.step_over(shard, at(5)), at(5));
    }
}
