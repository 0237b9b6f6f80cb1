//! Which shards are written to, and under which partition keys.

use weir_protocol::model::{HashKey, HashKeyRange};
use weir_protocol::wire::response::{ShardDescription, StreamDescription};

use crate::payload::KEY_BYTES;
use crate::verify::Target;

/// Most keys that are tried. 10,000 even shards need about 100,000.
const TRIES_MAX: u64 = 20_000_000;
/// The same while the load runs, whose processor this takes: under a second.
const TRIES_MAX_RUNNING: u64 = 2_000_000;

/// What is written to, by the shard map of one version. A slot is a partition key; it keeps its place
/// in the list for the whole run, and goes from shard to shard with the map.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) version: u32,
    /// By slot.
    pub(crate) targets: Vec<Target>,
}

impl Map {
    /// The open shards of a stream, each with a key of its own that hashes into it.
    pub(crate) fn of(stream: &StreamDescription) -> Result<Self, String> {
        let open = open_shards(stream);
        if open.is_empty() {
            return Err(format!("stream {} has no open shard", stream.name));
        }
        let ranges: Vec<_> = open.iter().map(|shard| shard.range).collect();
        let keys = keys_into(&ranges, TRIES_MAX);
        let target = |(slot, (shard, key)): (usize, (&ShardDescription, Option<_>))| {
            let key = key.ok_or_else(|| {
                format!(
                    "{TRIES_MAX} partition keys were tried and none hashes into {}",
                    shard.index
                )
            })?;
            Ok(target_of(shard, key, slot))
        };
        let targets: Result<_, String> = open
            .iter()
            .copied()
            .zip(keys)
            .enumerate()
            .map(target)
            .collect();
        Ok(Self {
            version: stream.map_version,
            targets: targets?,
        })
    }

    /// The slots by the stream's newer map: each key goes to the shard that it hashes into now, and
    /// a shard into which none does gets a new slot. One too narrow for a key to be found is left out.
    pub(crate) fn redrawn(&self, stream: &StreamDescription) -> Self {
        let open = open_shards(stream);
        let mut has_slot = vec![false; open.len()];
        let mut targets = Vec::with_capacity(self.targets.len() + 1);
        for target in &self.targets {
            let place = place_of(&open, target.hash()).expect("open shards cover every key");
            has_slot[place] = true;
            targets.push(target_of(open[place], target.key, target.beside));
        }
        let bare: Vec<_> = (0..open.len()).filter(|place| !has_slot[*place]).collect();
        let ranges: Vec<_> = bare.iter().map(|place| open[*place].range).collect();
        for (place, key) in bare.into_iter().zip(keys_into(&ranges, TRIES_MAX_RUNNING)) {
            let shard = open[place];
            let Some(key) = key else {
                eprintln!(
                    "weir-load: nothing is sent to {}: no key was found that hashes into it",
                    shard.index
                );
                continue;
            };
            let shares = |slot: &usize| overlap(self.targets[*slot].range, shard.range);
            let beside = (0..self.targets.len()).find(shares).unwrap_or(0);
            targets.push(target_of(shard, key, beside));
        }
        Self {
            version: stream.map_version,
            targets,
        }
    }
}

fn target_of(shard: &ShardDescription, key: [u8; KEY_BYTES], beside: usize) -> Target {
    Target {
        shard: shard.index,
        core: shard.core,
        range: shard.range,
        key,
        beside,
    }
}

fn open_shards(stream: &StreamDescription) -> Vec<&ShardDescription> {
    let mut open: Vec<&ShardDescription> = stream.shards.iter().filter(|s| !s.closed).collect();
    open.sort_by_key(|shard| shard.range.start);
    open
}

fn place_of(open: &[&ShardDescription], hash: HashKey) -> Option<usize> {
    let after = open.partition_point(|shard| shard.range.start <= hash);
    let place = after.checked_sub(1)?;
    open[place].range.contains(hash).then_some(place)
}

fn overlap(one: HashKeyRange, other: HashKeyRange) -> bool {
    one.start <= other.end && other.start <= one.end
}

/// For each of `ranges`, which are in order and apart, a key that hashes into it.
fn keys_into(ranges: &[HashKeyRange], tries: u64) -> Vec<Option<[u8; KEY_BYTES]>> {
    let mut keys: Vec<Option<[u8; KEY_BYTES]>> = vec![None; ranges.len()];
    let mut missing = ranges.len();
    for number in 0..tries {
        if missing == 0 {
            break;
        }
        let text = format!("{number:016x}");
        let hash = HashKey::of_partition_key(&text);
        let after = ranges.partition_point(|range| range.start <= hash);
        let Some(place) = after.checked_sub(1) else {
            continue;
        };
        if keys[place].is_none() && ranges[place].contains(hash) {
            let mut key = [0; KEY_BYTES];
            key.copy_from_slice(text.as_bytes());
            keys[place] = Some(key);
            missing -= 1;
        }
    }
    keys
}

/// The cores that own shards, in order.
pub(crate) fn owners(targets: &[Target]) -> Vec<u32> {
    let mut cores: Vec<u32> = targets.iter().map(|target| target.core).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::{
        ShardIndex, StreamId, StreamMode, StreamName, StreamQuota, StreamStatus, Timestamp,
    };

    fn stream(shards: Vec<ShardDescription>, map_version: u32) -> StreamDescription {
        StreamDescription {
            name: StreamName::new("s").unwrap(),
            id: StreamId::new(1),
            status: StreamStatus::Active,
            mode: StreamMode::OnDemand,
            retention_ms: 0,
            retain_bytes: 0,
            quota: StreamQuota::Server,
            record_bytes_max: 1 << 20,
            created: Timestamp::ZERO,
            map_version,
            cores: 3,
            shards,
        }
    }

    fn shard(index: u32, range: HashKeyRange, closed: bool) -> ShardDescription {
        ShardDescription {
            index: ShardIndex(index),
            core: index % 3,
            range,
            created: Timestamp::ZERO,
            closed,
        }
    }

    #[test]
    fn every_open_shard_gets_a_key_that_hashes_into_it() {
        let shards: Vec<_> = HashKeyRange::divide(1000)
            .zip(0..)
            .map(|(range, index)| shard(index, range, index == 7))
            .collect();
        let stream = stream(shards, 1);
        let map = Map::of(&stream).unwrap();
        assert_eq!(map.targets.len(), 999);
        assert_eq!(owners(&map.targets), [0, 1, 2]);
        for target in map.targets {
            let range = stream.shards[target.shard.0 as usize].range;
            assert!(range.contains(target.hash()));
            assert_ne!(target.shard, ShardIndex(7));
        }
    }

    #[test]
    fn keys_follow_the_map_and_a_child_without_one_gets_one() {
        let halves: Vec<_> = HashKeyRange::divide(2).collect();
        let quarters: Vec<_> = HashKeyRange::divide(4).collect();
        let first = stream(
            vec![shard(0, halves[0], false), shard(1, halves[1], false)],
            1,
        );
        let before = Map::of(&first).unwrap();
        let split = stream(
            vec![
                shard(0, halves[0], false),
                shard(1, halves[1], true),
                shard(2, quarters[2], false),
                shard(3, quarters[3], false),
            ],
            2,
        );
        let after = before.redrawn(&split);
        assert_eq!((after.version, after.targets.len()), (2, 3));
        assert_eq!(after.targets[0].shard, ShardIndex(0), "it stays");
        for (slot, target) in after.targets.iter().enumerate() {
            let range = split.shards[target.shard.0 as usize].range;
            assert!(range.contains(target.hash()), "slot {slot}");
            assert!(!split.shards[target.shard.0 as usize].closed, "slot {slot}");
        }
        assert_eq!(after.targets[1].key, before.targets[1].key);
        assert_eq!(
            after.targets[2].beside, 1,
            "it comes from the shard that was split"
        );
        assert_ne!(after.targets[1].shard, after.targets[2].shard);

        let merged = stream(vec![shard(4, HashKeyRange::ALL, false)], 5);
        let end = after.redrawn(&merged);
        assert_eq!(end.targets.len(), 3, "keys stay");
        assert!(
            end.targets
                .iter()
                .all(|target| target.shard == ShardIndex(4))
        );
        let again = end.redrawn(&split);
        assert_eq!(again.targets.len(), 3, "and are enough");
    }

    #[test]
    fn a_shard_too_narrow_for_any_key_gets_none() {
        let low = HashKeyRange {
            start: HashKey::MIN,
            end: HashKey::new(9),
        };
        let high = HashKeyRange {
            start: HashKey::new(10),
            end: HashKey::MAX,
        };
        let before = Map::of(&stream(vec![shard(0, HashKeyRange::ALL, false)], 1)).unwrap();
        let split = stream(vec![shard(1, low, false), shard(2, high, false)], 2);
        assert_eq!(before.redrawn(&split).targets.len(), 1);
    }
}
