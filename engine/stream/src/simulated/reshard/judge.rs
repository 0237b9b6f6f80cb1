//! What the writers know, and what must be true of what readers find.

use std::collections::BTreeMap;

use weir_protocol::model::{HashKey, Offset, SequenceNumber, ShardIndex, Timestamp};

use crate::stream::{Shard, Stream};

/// A record of the story: which of its key's records it is.
pub(super) type Record = (String, u64);

/// What the writers know, over all lives of a story.
#[derive(Default)]
pub(super) struct Judge {
    /// The number of each key's next record.
    pub(super) next: BTreeMap<String, u64>,
    pub(super) acknowledged: BTreeMap<Record, (ShardIndex, Offset)>,
    /// Where shards ended, once they were seen closed.
    ends: BTreeMap<ShardIndex, Offset>,
    map_version: u32,
    pub(super) maps: u32,
    pub(super) told_of_new_maps: u32,
    pub(super) failure: Option<String>,
}

impl Judge {
    pub(super) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// A start after whatever end shows no older map than any core had before it.
    pub(super) fn sees_after_a_start(&mut self, stream: &Stream) {
        if stream.map_version < self.map_version {
            let (before, now) = (self.map_version, stream.map_version);
            self.fail(format!(
                "map {before} was seen, and after a start map {now}"
            ));
        }
        self.sees(stream);
    }

    fn holds_what_ended(&mut self, stream: &Stream) {
        for shard in self.ends.keys() {
            if stream.shard(*shard).is_none_or(|s| s.closed.is_none()) {
                self.failure
                    .get_or_insert(format!("{shard} was closed and is not"));
            }
        }
    }

    /// A map that some core works by: open shards tile the hash space, ends stay what they are.
    pub(super) fn sees(&mut self, stream: &Stream) {
        let mut open: Vec<&Shard> = stream.open_shards().collect();
        open.sort_by_key(|shard| shard.range.start);
        let mut expected = Some(0);
        for shard in open {
            if expected != Some(shard.range.start.get()) {
                self.fail(format!(
                    "map {}: a gap at {}",
                    stream.map_version, shard.index
                ));
            }
            expected = shard.range.end.get().checked_add(1);
        }
        if expected.is_some() {
            self.fail(format!(
                "map {}: the top is not covered",
                stream.map_version
            ));
        }
        for shard in &stream.shards {
            let Some(closed) = shard.closed else { continue };
            let known = *self.ends.entry(shard.index).or_insert(closed.next);
            if known != closed.next {
                self.fail(format!(
                    "{} ended at {known}, now {}",
                    shard.index, closed.next
                ));
            }
        }
        // Cores learn of a map one after the other: one may still have the map before.
        if stream.map_version >= self.map_version {
            self.holds_what_ended(stream);
        }
        if stream.map_version > self.map_version {
            self.map_version = stream.map_version;
            self.maps += 1;
        }
    }

    /// Everything the stream holds, shard by shard, against everything that was acknowledged.
    pub(super) fn compare(&mut self, stream: &Stream, found: &BTreeMap<ShardIndex, Vec<Found>>) {
        let mut seen: BTreeMap<Record, (ShardIndex, Offset)> = BTreeMap::new();
        let mut by_key: BTreeMap<&str, BTreeMap<u64, SequenceNumber>> = BTreeMap::new();
        for (index, records) in found {
            let shard = stream.shard(*index).expect("it was read by this map");
            for record in records {
                let place = (*index, record.offset);
                if !shard.range.contains(HashKey::of_partition_key(&record.key)) {
                    self.fail(format!("{index} does not take the key of {record:?}"));
                }
                if shard
                    .closed
                    .is_some_and(|closed| record.offset >= closed.next)
                {
                    self.fail(format!("{index} grew after it was closed: {record:?}"));
                }
                let id = (record.key.clone(), record.number);
                if let Some(before) = seen.insert(id, place) {
                    self.fail(format!("{record:?} is at {before:?} and at {place:?}"));
                }
                let sequence =
                    SequenceNumber::of_record(*index, shard.created, record.offset, record.arrival);
                by_key
                    .entry(&record.key)
                    .or_default()
                    .insert(record.number, sequence);
            }
        }
        for (record, place) in &self.acknowledged {
            if seen.get(record) != Some(place) {
                let what = format!(
                    "{record:?} was put at {place:?}, is at {:?}",
                    seen.get(record)
                );
                self.failure.get_or_insert(what);
            }
        }
        for (key, numbers) in by_key {
            if !numbers.values().is_sorted_by(|a, b| a < b) {
                self.fail(format!("the records of {key} are out of order"));
            }
        }
        for shard in &stream.shards {
            for parent in [shard.parent, shard.adjacent_parent].into_iter().flatten() {
                let parent = stream.shard(parent).expect("nothing is forgotten here");
                let Some(closed) = parent.closed else {
                    self.fail(format!("{} has an open parent", shard.index));
                    continue;
                };
                let end = SequenceNumber::of_shard_end(parent.index, parent.created, closed.at);
                let start = SequenceNumber::of_shard_start(shard.index, shard.created);
                if start <= end || shard.opened < closed.at {
                    self.fail(format!("{} begins before its parent ended", shard.index));
                }
            }
        }
    }
}

/// A record as a reader found it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) offset: Offset,
    pub(super) arrival: Timestamp,
    pub(super) key: String,
    pub(super) number: u64,
}
