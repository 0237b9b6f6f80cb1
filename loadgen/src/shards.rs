//! Which shards are written to, and under which partition keys.

use weir_protocol::model::HashKey;
use weir_protocol::wire::response::{ShardDescription, StreamDescription};

use crate::payload::KEY_BYTES;
use crate::verify::Target;

/// Most keys that are tried. 10,000 even shards need about 100,000.
const TRIES_MAX: u64 = 20_000_000;

/// The open shards of a stream, each with a key of its own that hashes into it.
pub(crate) fn targets(stream: &StreamDescription) -> Result<Vec<Target>, String> {
    let mut open: Vec<&ShardDescription> = stream.shards.iter().filter(|s| !s.closed).collect();
    if open.is_empty() {
        return Err(format!("stream {} has no open shard", stream.name));
    }
    open.sort_by_key(|shard| shard.range.start);
    let mut keys: Vec<Option<[u8; KEY_BYTES]>> = vec![None; open.len()];
    let mut missing = open.len();
    for number in 0..TRIES_MAX {
        if missing == 0 {
            break;
        }
        let text = format!("{number:016x}");
        let hash = HashKey::of_partition_key(&text);
        let after = open.partition_point(|shard| shard.range.start <= hash);
        let Some(place) = after.checked_sub(1) else {
            continue;
        };
        if keys[place].is_none() && open[place].range.contains(hash) {
            let mut key = [0; KEY_BYTES];
            key.copy_from_slice(text.as_bytes());
            keys[place] = Some(key);
            missing -= 1;
        }
    }
    let target = |(shard, key): (&ShardDescription, Option<[u8; KEY_BYTES]>)| {
        let key = key.ok_or_else(|| {
            format!(
                "{TRIES_MAX} partition keys were tried and none hashes into {}",
                shard.index
            )
        })?;
        Ok(Target {
            shard: shard.index,
            core: shard.core,
            key,
        })
    };
    open.into_iter().zip(keys).map(target).collect()
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
        HashKeyRange, ShardIndex, StreamId, StreamMode, StreamName, StreamQuota, StreamStatus,
        Timestamp,
    };

    #[test]
    fn every_open_shard_gets_a_key_that_hashes_into_it() {
        let shards: Vec<_> = HashKeyRange::divide(1000)
            .zip(0..)
            .map(|(range, index)| ShardDescription {
                index: ShardIndex(index),
                core: index % 3,
                range,
                created: Timestamp::ZERO,
                closed: index == 7,
            })
            .collect();
        let stream = StreamDescription {
            name: StreamName::new("s").unwrap(),
            id: StreamId::new(1),
            status: StreamStatus::Active,
            mode: StreamMode::OnDemand,
            retention_ms: 0,
            retain_bytes: 0,
            quota: StreamQuota::Server,
            record_bytes_max: 1 << 20,
            created: Timestamp::ZERO,
            map_version: 1,
            cores: 3,
            shards,
        };
        let targets = targets(&stream).unwrap();
        assert_eq!(targets.len(), 999);
        assert_eq!(owners(&targets), [0, 1, 2]);
        for target in targets {
            let key = std::str::from_utf8(&target.key).unwrap();
            let range = stream.shards[target.shard.0 as usize].range;
            assert!(range.contains(HashKey::of_partition_key(key)));
            assert_ne!(target.shard, ShardIndex(7));
        }
    }
}
