//! Which shards held the records of a key, in which order they are read, and what of the rest must
//! be read with them.

use std::collections::BTreeSet;

use weir_protocol::model::ShardIndex;
use weir_protocol::wire::response::ShardDescription;

use super::Evidence;

/// One shard to be read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) shard: ShardDescription,
    /// Slots whose last shard this is: all that was acknowledged of them was found by its end.
    pub(crate) ends: Vec<usize>,
}

/// What is read to judge some slots.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Parents before children.
    pub(crate) readings: Vec<Reading>,
    /// All slots that have records in one of these shards.
    pub(crate) slots: BTreeSet<usize>,
    /// Slots none of whose shards is there any more.
    pub(crate) lost: Vec<usize>,
}

impl Evidence<'_> {
    /// The shards that took a slot's records, in order: one key is in one open shard at a time, and
    /// a child has a higher number than its parents.
    fn line(&self, slot: usize) -> impl Iterator<Item = &ShardDescription> {
        let homes = self.ledgers.iter().filter_map(|l| l.first_home(slot));
        let first = homes.min().unwrap_or(self.targets[slot].shard);
        let hash = self.targets[slot].hash();
        let is_in_line = move |s: &&ShardDescription| s.index >= first && s.range.contains(hash);
        self.shards.iter().filter(is_in_line)
    }

    /// What must be read for `wanted`: the shards of their lines, and those of every other slot that
    /// a merge brought into one of them.
    pub(crate) fn plan(&self, wanted: &[usize]) -> Plan {
        let lines: Vec<Vec<ShardIndex>> = (0..self.targets.len())
            .map(|slot| self.line(slot).map(|shard| shard.index).collect())
            .collect();
        let mut slots: BTreeSet<usize> = wanted.iter().copied().collect();
        let mut shards: BTreeSet<ShardIndex> = BTreeSet::new();
        loop {
            shards.extend(slots.iter().flat_map(|slot| &lines[*slot]).copied());
            let joined: Vec<usize> = (0..lines.len())
                .filter(|slot| !slots.contains(slot))
                .filter(|slot| lines[*slot].iter().any(|shard| shards.contains(shard)))
                .collect();
            if joined.is_empty() {
                break;
            }
            slots.extend(joined);
        }
        let mut readings: Vec<Reading> = self
            .shards
            .iter()
            .filter(|shard| shards.contains(&shard.index))
            .map(|shard| Reading {
                shard: *shard,
                ends: Vec::new(),
            })
            .collect();
        let mut lost = Vec::new();
        for slot in &slots {
            let last = lines[*slot].last();
            let reading = readings.iter_mut().find(|r| Some(&r.shard.index) == last);
            match reading {
                Some(reading) => reading.ends.push(*slot),
                None => lost.push(*slot),
            }
        }
        // A connection is to one core. Where no slot has two shards, any order will do.
        if lines.iter().all(|line| line.len() <= 1) {
            readings.sort_by_key(|reading| reading.shard.core);
        }
        Plan {
            readings,
            slots,
            lost,
        }
    }
}
