//! From a hash key to the open shard that takes it.
//!
//! Owns: the table of open shards in hash order. Never: hashing, which the protocol does.

use weir_protocol::model::{HashKey, ShardIndex};

use crate::stream::Shard;

/// Open shards in hash order: the first key of each, and its place in the list of shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    starts: Vec<HashKey>,
    places: Vec<u32>,
}

impl Routes {
    /// The table for `shards`. The open ones tile the hash space, or there is none; anything else
    /// is a mistake of ours, or a catalog that lies.
    pub(crate) fn new(shards: &[Shard]) -> Result<Self, Gap> {
        let mut open: Vec<(HashKey, u32)> = shards
            .iter()
            .enumerate()
            .filter(|(_, shard)| shard.closed.is_none())
            .map(|(place, shard)| (shard.range.start, place as u32))
            .collect();
        open.sort_unstable();
        let mut expected = Some(0_u128);
        for (start, place) in &open {
            let shard = &shards[*place as usize];
            if expected != Some(start.get()) || shard.range.end < *start {
                return Err(Gap { shard: shard.index });
            }
            expected = shard.range.end.get().checked_add(1);
        }
        if let (Some(_), Some((_, last))) = (expected, open.last()) {
            return Err(Gap {
                shard: shards[*last as usize].index,
            });
        }
        let (starts, places) = open.into_iter().unzip();
        Ok(Self { starts, places })
    }

    /// The place of the shard that takes `key`. Panics if there is no open shard.
    pub(crate) fn place(&self, key: HashKey) -> usize {
        let behind = self.starts.partition_point(|start| *start <= key);
        assert!(behind > 0, "open shards tile the hash space");
        self.places[behind - 1] as usize
    }
}

/// Open shards leave a gap or overlap at this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) shard: ShardIndex,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_protocol::model::{HashKeyRange, Timestamp};

    use super::*;
    use crate::stream::Closed;
    use weir_protocol::model::Offset;

    fn shards(ranges: impl Iterator<Item = HashKeyRange>) -> Vec<Shard> {
        let shard = |(index, range)| Shard {
            index: ShardIndex(index as u32),
            range,
            created: Timestamp::ZERO,
            opened: Timestamp::ZERO,
            core: 0,
            parent: None,
            adjacent_parent: None,
            closed: None,
        };
        ranges.enumerate().map(shard).collect()
    }

    fn linear(shards: &[Shard], key: HashKey) -> usize {
        let takes = |shard: &Shard| shard.closed.is_none() && shard.range.contains(key);
        shards.iter().position(takes).unwrap()
    }

    proptest! {
        #[test]
        fn routing_agrees_with_a_linear_search(
            count in 1_u32..200,
            keys in prop::collection::vec(any::<u128>(), 50),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u128>()), 0..40),
        ) {
            let mut all = shards(HashKeyRange::divide(count));
            // Split open shards at random keys, as resharding will.
            for (which, raw) in cuts {
                let place = which.index(all.len());
                let range = all[place].range;
                if all[place].closed.is_some() || range.start == range.end {
                    continue;
                }
                let width = range.end.get() - range.start.get();
                let middle = HashKey::new(range.start.get() + 1 + raw % width);
                all[place].closed = Some(Closed { at: Timestamp::ZERO, next: Offset::ZERO });
                let below = HashKey::new(middle.get() - 1);
                let halves = [
                    HashKeyRange { start: range.start, end: below },
                    HashKeyRange { start: middle, end: range.end },
                ];
                for range in halves {
                    let mut child = all[0].clone();
                    child.index = ShardIndex(all.len() as u32);
                    child.range = range;
                    child.closed = None;
                    all.push(child);
                }
            }
            let routes = Routes::new(&all).unwrap();
            for key in keys.into_iter().map(HashKey::new) {
                prop_assert_eq!(routes.place(key), linear(&all, key));
            }
            for shard in all.iter().filter(|shard| shard.closed.is_none()) {
                prop_assert_eq!(all[routes.place(shard.range.start)].index, shard.index);
                prop_assert_eq!(all[routes.place(shard.range.end)].index, shard.index);
            }
        }
    }

    #[test]
    fn a_gap_or_an_overlap_is_refused() {
        let mut all = shards(HashKeyRange::divide(4));
        all[2].range.start = HashKey::new(all[2].range.start.get() + 1);
        assert_eq!(
            Routes::new(&all),
            Err(Gap {
                shard: ShardIndex(2)
            })
        );
        let mut all = shards(HashKeyRange::divide(4));
        all.pop();
        assert_eq!(
            Routes::new(&all),
            Err(Gap {
                shard: ShardIndex(2)
            })
        );
        assert!(Routes::new(&[]).is_ok());
    }
}
