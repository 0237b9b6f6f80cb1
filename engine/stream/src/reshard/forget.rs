//! Closed shards whose records retention has forgotten leave the map.
//!
//! Children go on naming them; a reader that still has a place in one is told that it does not
//! exist, as at AWS.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::{Lane, Monotonic, Reactor};

use crate::catalog::control::ControlRequest;
use crate::engine::Engine;
use crate::stream::Stream;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Shards looked at in one round: each may cost a read of the disk.
const LOOKED_AT_MAX: usize = 64;
/// A shard that could not be read is left alone for this long.
const UNREADABLE_FOR: Duration = Duration::from_mins(1);

/// Where the rounds stand.
#[derive(Default)]
struct Rounds {
    /// The shard that was looked at last: the next round goes on behind it.
    last: Option<ShardId>,
    /// When shards could not be read.
    unreadable: BTreeMap<ShardId, Monotonic>,
}

impl Rounds {
    /// The candidates that are looked at now.
    fn choose(
        &mut self,
        candidates: &BTreeMap<ShardId, Offset>,
        now: Monotonic,
    ) -> Vec<(ShardId, Offset)> {
        self.unreadable.retain(|shard, since| {
            candidates.contains_key(shard) && now.since(*since) < UNREADABLE_FOR
        });
        let behind = self.last.map_or(Unbounded, Excluded);
        let rest = candidates.range((behind, Unbounded));
        let chosen: Vec<_> = rest
            .chain(candidates.iter())
            .take(candidates.len())
            .filter(|(shard, _)| !self.unreadable.contains_key(shard))
            .take(LOOKED_AT_MAX)
            .map(|(shard, end)| (*shard, *end))
            .collect();
        self.last = chosen.last().map(|(shard, _)| *shard);
        chosen
    }
}

impl<R: Reactor> Engine<R> {
    /// Forgets for as long as the core runs. A task of its own: a disk that answers late must not
    /// hold the expiry clock up.
    pub(crate) fn start_forgetting(&self) {
        let engine = self.clone();
        self.reactor().spawn(Lane::Background, async move {
            let mut rounds = Rounds::default();
            while !engine.is_stopping() {
                engine.forget_expired_shards(&mut rounds).await;
                engine.reactor().sleep(ROUND).await;
            }
        });
    }

    /// Has the catalog forget closed shards of this core that hold nothing any more. What finds no
    /// room with the control thread is found again by a later round.
    async fn forget_expired_shards(&self, rounds: &mut Rounds) {
        let (streams, expiry) = (self.streams(), self.expiry());
        let mut candidates = BTreeMap::new();
        for stream in streams.all().filter(|stream| stream.is_usable()) {
            let closed = self.closed_before(stream, expiry);
            candidates.extend(
                closed
                    .into_iter()
                    .map(|(index, end)| (stream.shard_id(index), end)),
            );
        }
        let mut gone: BTreeMap<StreamId, Vec<ShardIndex>> = BTreeMap::new();
        for (shard, end) in rounds.choose(&candidates, self.monotonic()) {
            match self.log().horizon(shard).await {
                Ok(horizon) if horizon >= end => {
                    gone.entry(shard.stream).or_default().push(shard.index);
                }
                Ok(_) => {}
                // A shard whose segments cannot be read is left for the operator.
                Err(_) => drop(rounds.unreadable.insert(shard, self.monotonic())),
            }
        }
        for (stream, shards) in gone {
            self.control()
                .send(ControlRequest::ForgetShards { stream, shards })
                .ok();
        }
    }

    /// Closed shards of this core that have been closed for longer than records are kept.
    fn closed_before(&self, stream: &Stream, expiry: Timestamp) -> Vec<(ShardIndex, Offset)> {
        let cutoff = stream.horizon(expiry);
        let here = stream.shards.iter().filter(|s| s.core == self.core());
        here.filter_map(|shard| {
            let closed = shard.closed.filter(|closed| closed.at < cutoff)?;
            Some((shard.index, closed.next))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(count: u32) -> BTreeMap<ShardId, Offset> {
        let shard = |index| ShardId::new(StreamId::new(1), ShardIndex(index));
        (0..count)
            .map(|index| (shard(index), Offset::default()))
            .collect()
    }

    #[test]
    fn rounds_are_bounded_and_come_to_every_shard() {
        let candidates = shards(150);
        let mut rounds = Rounds::default();
        let mut seen = BTreeMap::new();
        for _ in 0..3 {
            let chosen = rounds.choose(&candidates, Monotonic(0));
            assert_eq!(chosen.len(), LOOKED_AT_MAX);
            for (shard, _) in chosen {
                *seen.entry(shard).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 150);
        // Fewer than a round has room for: each once.
        assert_eq!(rounds.choose(&shards(3), Monotonic(0)).len(), 3);
        assert!(rounds.choose(&shards(0), Monotonic(0)).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_left_alone_for_a_while() {
        let candidates = shards(2);
        let mut rounds = Rounds::default();
        let first = *candidates.keys().next().unwrap();
        rounds.unreadable.insert(first, Monotonic(0));
        let chosen = |rounds: &mut Rounds, seconds: u64| {
            rounds
                .choose(&candidates, Monotonic(seconds * 1_000_000_000))
                .len()
        };
        assert_eq!(chosen(&mut rounds, 59), 1);
        assert_eq!(chosen(&mut rounds, 60), 2);
        assert!(rounds.unreadable.is_empty());
    }
}
