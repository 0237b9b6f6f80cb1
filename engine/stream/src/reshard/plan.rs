//! Which shards take the place of which: the rounds of a reshard.
//!
//! Owns: plans, made from the map of open shards alone. Never: time, numbers of new shards, the
//! catalog. A plan that was cut short by a crash is made again from the map that is found.

use std::collections::BTreeMap;

use weir_protocol::model::{HashKey, HashKeyRange, ShardIndex};

use crate::stream::Stream;

/// A change of a stream's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reshard {
    /// One shard becomes two.
    Split {
        /// The shard.
        shard: ShardIndex,
        /// Where the upper child begins.
        at: HashKey,
    },
    /// Two neighbours become one.
    Merge {
        /// The shard that the child names as its parent.
        shard: ShardIndex,
        /// Its neighbour, on either side.
        adjacent: ShardIndex,
    },
    /// The stream's hash space is divided evenly, in as many rounds as that takes.
    Count {
        /// Open shards afterwards.
        target: u32,
    },
}

/// Whose rules a change of shards keeps, beside those that hold for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReshardRules {
    /// AWS's: not for on-demand streams, a count at most doubles and at least halves, and only so
    /// often a day.
    Aws,
    /// The operator's, who owns the machine: none.
    Operator,
}

/// One step of a reshard: all its parents close at one moment, all its children open at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    /// Version of the map that it was planned for: it fits no other.
    pub(crate) map_version: u32,
    pub(crate) replacements: Vec<Replacement>,
}

/// One parent by two children, or two parents by one child, that cover the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) parents: Vec<ShardIndex>,
    pub(crate) children: Vec<HashKeyRange>,
}

impl Round {
    /// Every shard that the round closes.
    pub(crate) fn parents(&self) -> impl Iterator<Item = ShardIndex> {
        self.replacements.iter().flat_map(|r| r.parents.clone())
    }
}

/// The open part of a map while a plan is made: which shard has which keys, in hash order.
#[derive(Debug, Clone)]
struct Map {
    open: Vec<(HashKeyRange, ShardIndex)>,
}

/// The next round of what is pending in `stream`; `None` when nothing is left to do.
///
/// A pending split or merge has one round, after which it is no longer pending: the shards it
/// names are closed then.
pub(crate) fn next_round(stream: &Stream, reshard: Reshard) -> Option<Round> {
    let open = |index| {
        let shard = stream.shard(index)?;
        shard.closed.is_none().then_some(shard)
    };
    let replacements = match reshard {
        Reshard::Split { shard, at } => {
            let range = open(shard)?.range;
            let children = cut(range, at)?;
            vec![Replacement {
                parents: vec![shard],
                children: children.to_vec(),
            }]
        }
        Reshard::Merge { shard, adjacent } => {
            let range = join(open(shard)?.range, open(adjacent)?.range)?;
            vec![Replacement {
                parents: vec![shard, adjacent],
                children: vec![range],
            }]
        }
        Reshard::Count { target } => Map::of(stream).round(target),
    };
    (!replacements.is_empty()).then_some(Round {
        map_version: stream.map_version,
        replacements,
    })
}

/// How many shards a change to `target` open shards creates over all its rounds.
pub(crate) fn shards_created(stream: &Stream, target: u32) -> u32 {
    let mut map = Map::of(stream);
    let mut created = 0;
    loop {
        let round = map.round(target);
        if round.is_empty() {
            return created;
        }
        created += round.iter().map(|r| r.children.len() as u32).sum::<u32>();
        map.apply(&round);
    }
}

/// The two parts of `range` when the upper one begins at `at`; `None` if one would be empty.
fn cut(range: HashKeyRange, at: HashKey) -> Option<[HashKeyRange; 2]> {
    if at <= range.start || at > range.end {
        return None;
    }
    let below = HashKey::new(at.get() - 1);
    let lower = HashKeyRange {
        start: range.start,
        end: below,
    };
    let upper = HashKeyRange {
        start: at,
        end: range.end,
    };
    Some([lower, upper])
}

/// The keys of two neighbours, in either order; `None` if they are none.
pub(crate) fn join(one: HashKeyRange, other: HashKeyRange) -> Option<HashKeyRange> {
    let (low, high) = if one.start < other.start {
        (one, other)
    } else {
        (other, one)
    };
    let meets = low.end.get().checked_add(1) == Some(high.start.get());
    meets.then_some(HashKeyRange {
        start: low.start,
        end: high.end,
    })
}

impl Map {
    fn of(stream: &Stream) -> Self {
        let mut open: Vec<_> = stream
            .open_shards()
            .map(|shard| (shard.range, shard.index))
            .collect();
        open.sort_unstable_by_key(|(range, _)| range.start);
        Self { open }
    }

    /// The next round on the way to `target` even parts: where a border of theirs lies inside a
    /// shard, the shard is split there; when none does, neighbours that lie in one part are merged
    /// in pairs. Each takes about as many rounds as the logarithm of the most of them in one place.
    fn round(&self, target: u32) -> Vec<Replacement> {
        let parts: Vec<HashKeyRange> = HashKeyRange::divide(target).collect();
        let splits = self.splits(&parts);
        if splits.is_empty() {
            self.merges(&parts)
        } else {
            splits
        }
    }

    fn splits(&self, parts: &[HashKeyRange]) -> Vec<Replacement> {
        let mut splits = Vec::new();
        for (range, index) in &self.open {
            // Parts that begin inside the shard, behind its first key.
            let from = parts.partition_point(|part| part.start <= range.start);
            let until = parts.partition_point(|part| part.start <= range.end);
            if from >= until {
                continue;
            }
            let middle = parts[usize::midpoint(from, until - 1)].start;
            let children = cut(*range, middle).expect("the border lies inside the shard");
            splits.push(Replacement {
                parents: vec![*index],
                children: children.to_vec(),
            });
        }
        splits
    }

    fn merges(&self, parts: &[HashKeyRange]) -> Vec<Replacement> {
        let part_of = |range: &HashKeyRange| parts.partition_point(|p| p.start <= range.start);
        let mut merges = Vec::new();
        let mut at = 0;
        while let [(low, first), (high, second), ..] = self.open[at..] {
            if part_of(&low) != part_of(&high) {
                at += 1;
                continue;
            }
            let range = join(low, high).expect("open shards tile the hash space");
            merges.push(Replacement {
                parents: vec![first, second],
                children: vec![range],
            });
            at += 2;
        }
        merges
    }

    /// The map after `round`; its new shards get no numbers that mean anything.
    fn apply(&mut self, round: &[Replacement]) {
        let mut open: BTreeMap<HashKey, (HashKeyRange, ShardIndex)> = BTreeMap::new();
        let mut next = self.open.iter().map(|(_, i)| i.0).max().unwrap_or(0) + 1;
        let closed: std::collections::BTreeSet<ShardIndex> =
            round.iter().flat_map(|r| r.parents.clone()).collect();
        for entry in self.open.drain(..) {
            if !closed.contains(&entry.1) {
                open.insert(entry.0.start, entry);
            }
        }
        for range in round.iter().flat_map(|r| &r.children) {
            open.insert(range.start, (*range, ShardIndex(next)));
            next += 1;
        }
        self.open = open.into_values().collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(starts: &[u128]) -> Map {
        let mut starts: Vec<u128> = starts.iter().copied().chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        let ends = starts[1..].iter().map(|s| s - 1).chain([u128::MAX]);
        let open = starts.iter().zip(ends).zip(0..);
        Map {
            open: open
                .map(|((start, end), index)| {
                    let range = HashKeyRange {
                        start: HashKey::new(*start),
                        end: HashKey::new(end),
                    };
                    (range, ShardIndex(index))
                })
                .collect(),
        }
    }

    fn even(count: u32) -> Map {
        let starts: Vec<u128> = HashKeyRange::divide(count).map(|r| r.start.get()).collect();
        map(&starts)
    }

    /// Rounds until nothing is left: how many, and how many shards they made.
    fn run(map: &mut Map, target: u32) -> (u32, usize) {
        let (mut rounds, mut created) = (0, 0);
        loop {
            let round = map.round(target);
            if round.is_empty() {
                return (rounds, created);
            }
            let mut parents: Vec<_> = round.iter().flat_map(|r| r.parents.clone()).collect();
            parents.sort_unstable();
            assert!(parents.windows(2).all(|p| p[0] != p[1]), "one use a round");
            rounds += 1;
            created += round.iter().map(|r| r.children.len()).sum::<usize>();
            map.apply(&round);
            let next = |end: HashKey| end.get().checked_add(1);
            let mut expected = Some(0);
            for (range, _) in &map.open {
                assert_eq!(expected, Some(range.start.get()), "the shards tile");
                expected = next(range.end);
            }
            assert_eq!(expected, None);
        }
    }

    #[test]
    fn doubling_splits_all_at_once_and_halving_merges_all_at_once() {
        assert_eq!(run(&mut even(4), 8), (1, 8));
        assert_eq!(run(&mut even(8), 4), (1, 4));
        assert_eq!(run(&mut even(5), 5), (0, 0));
        // Two and three have no border in common but the ends: split twice, then merge once.
        let (rounds, created) = run(&mut even(2), 3);
        assert_eq!((rounds, created), (2, 5));
        assert_eq!(run(&mut even(1), 1024).0, 10);
    }

    proptest! {
        #[test]
        fn any_map_ends_as_the_even_division(
            starts in prop::collection::vec(any::<u128>(), 0..60),
            near in prop::collection::vec(0_u128..4, 0..4),
            target in 1_u32..80,
        ) {
            // Shards of a single key too, at the low end.
            let starts: Vec<u128> = starts.into_iter().chain(near).collect();
            let mut map = map(&starts);
            let (rounds, _) = run(&mut map, target);
            prop_assert!(rounds <= 16, "{} rounds", rounds);
            let found: Vec<HashKeyRange> = map.open.iter().map(|(range, _)| *range).collect();
            prop_assert_eq!(found, HashKeyRange::divide(target).collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbours_join_in_either_order_and_others_do_not() {
        let parts: Vec<HashKeyRange> = HashKeyRange::divide(3).collect();
        let joined = join(parts[1], parts[0]).unwrap();
        assert_eq!((joined.start, joined.end), (parts[0].start, parts[1].end));
        assert_eq!(join(parts[0], parts[1]), Some(joined));
        assert_eq!(join(parts[0], parts[2]), None);
        assert_eq!(join(parts[2], parts[0]), None);
        assert_eq!(cut(parts[0], parts[0].start), None);
        assert_eq!(cut(parts[0], parts[1].start), None);
    }
}
