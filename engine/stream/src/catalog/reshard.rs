//! The rules of splitting, merging and counting shards.
//!
//! Owns: what may be begun, and the stream after each step. Never: durability, which is the
//! caller's; the plan of a step, which is [`crate::reshard`]'s.

use weir_protocol::limits::{COUNT_UPDATES_PER_DAY, STREAM_SHARDS_MAX};
use weir_protocol::model::{
    Offset, ShardIndex, StreamId, StreamMode, StreamName, StreamStatus, Timestamp,
};

use super::model::Model;
use crate::error::ControlError;
use crate::folder::QuotaSwitch;
use crate::reshard::{Reshard, ReshardRules, Round, join, next_round, shards_created};
use crate::settings::is_as_aws;
use crate::shard::placement::core_of;
use crate::shard::routing::Routes;
use crate::stream::{Closed, Shard, Stream};

const DAY_MS: u64 = 24 * 3_600_000;
const SECOND_MS: u64 = 1_000;

impl Model {
    /// The stream `name` with a reshard pending, if it may have it.
    pub(crate) fn begin_reshard(
        &self,
        name: &StreamName,
        reshard: Reshard,
        rules: ReshardRules,
        quota: QuotaSwitch,
        now: Timestamp,
    ) -> Result<Stream, ControlError> {
        let stream = self.find(name)?;
        if stream.status != StreamStatus::Active {
            let status = stream.status;
            return Err(ControlError::NotActive {
                name: name.clone(),
                status,
            });
        }
        if rules == ReshardRules::Aws && stream.mode == StreamMode::OnDemand {
            return Err(ControlError::OnDemand { name: name.clone() });
        }
        let created = match reshard {
            Reshard::Split { shard, at } => {
                let found = open_shard(stream, shard)?;
                // AWS's rule: the first child gets at least two keys, the second too.
                let least = found.range.start.get().saturating_add(1);
                if at.get() <= least || at >= found.range.end {
                    return Err(ControlError::SplitKey {
                        name: name.clone(),
                        shard,
                        at,
                        range: found.range,
                    });
                }
                let open = stream.open_shards().count() as u32;
                check_count(open, open + 1)?;
                2
            }
            Reshard::Merge { shard, adjacent } => {
                let one = open_shard(stream, shard)?.range;
                let other = open_shard(stream, adjacent)?.range;
                if join(one, other).is_none() {
                    return Err(ControlError::NotAdjacent {
                        name: name.clone(),
                        shard,
                        adjacent,
                    });
                }
                1
            }
            Reshard::Count { target } => {
                if rules == ReshardRules::Aws {
                    check_scale(stream, target)?;
                }
                check_count(stream.open_shards().count() as u32, target)?;
                shards_created(stream, target)
            }
        };
        self.check_folder(created)?;
        let mut changed = Stream::clone(stream);
        if rules == ReshardRules::Aws && matches!(reshard, Reshard::Count { .. }) {
            let since = now.minus_millis(DAY_MS);
            changed.count_updates.retain(|at| *at > since);
            let is_limited = is_as_aws(quota, stream.settings.quota);
            if is_limited && changed.count_updates.len() >= COUNT_UPDATES_PER_DAY {
                return Err(ControlError::TooManyCountUpdates { name: name.clone() });
            }
            changed.count_updates.push(now);
            let surplus = changed
                .count_updates
                .len()
                .saturating_sub(COUNT_UPDATES_PER_DAY);
            changed.count_updates.drain(..surplus);
        }
        changed.status = StreamStatus::Updating;
        changed.pending = Some(reshard);
        Ok(changed)
    }

    /// The next round of the reshard that is pending in a stream; `None` if none is left.
    pub(crate) fn next_round(&self, id: StreamId) -> Option<Round> {
        let stream = self.by_id(id)?;
        next_round(stream, stream.pending?)
    }

    /// The stream after a round whose parents ended where `ends` says. `None` if it is not what the
    /// round was planned for, so nothing may be changed.
    pub(crate) fn end_round(
        &self,
        id: StreamId,
        round: &Round,
        ends: &[(ShardIndex, Offset)],
        now: Timestamp,
    ) -> Option<Stream> {
        let stream = self.by_id(id)?;
        let pending = stream.pending?;
        if stream.map_version != round.map_version || !stream.is_usable() {
            return None;
        }
        let mut changed = Stream::clone(stream);
        let mut next = changed.shards.last().map_or(0, |shard| shard.index.0 + 1);
        for replacement in &round.replacements {
            let mut created = Timestamp::ZERO;
            let mut opened = now;
            for index in &replacement.parents {
                let end = ends.iter().find(|(shard, _)| shard == index)?.1;
                let parent = changed.shards.iter_mut().find(|s| s.index == *index)?;
                assert!(parent.closed.is_none(), "a round closes open shards");
                // A clock that went back must not end a shard before it began.
                opened = opened.max(parent.opened);
                parent.closed = Some(Closed {
                    at: opened,
                    next: end,
                });
                created = created.max(parent.created);
            }
            // Numbers are compared by the second of creation first.
            let created = Timestamp::from_millis(created.max(opened).as_millis() + SECOND_MS);
            for range in &replacement.children {
                let index = ShardIndex(next);
                next += 1;
                changed.shards.push(Shard {
                    index,
                    range: *range,
                    created,
                    opened,
                    core: core_of(id, index, self.cores()),
                    parent: replacement.parents.first().copied(),
                    adjacent_parent: replacement.parents.get(1).copied(),
                    closed: None,
                });
            }
        }
        changed.routes = Routes::new(&changed.shards).expect("children take their parents' keys");
        changed.map_version += 1;
        let is_over = match pending {
            Reshard::Split { .. } | Reshard::Merge { .. } => true,
            Reshard::Count { .. } => next_round(&changed, pending).is_none(),
        };
        if is_over {
            changed.pending = None;
            changed.status = StreamStatus::Active;
        }
        Some(changed)
    }

    /// The stream with its reshard ended where it is; `None` if none is pending.
    pub(crate) fn end_reshard(&self, id: StreamId) -> Option<Stream> {
        let stream = self.by_id(id)?;
        stream.pending?;
        let mut changed = Stream::clone(stream);
        changed.pending = None;
        changed.status = StreamStatus::Active;
        Some(changed)
    }

    /// The stream without closed shards whose records are forgotten; `None` if it has none of them.
    pub(crate) fn without_shards(&self, id: StreamId, gone: &[ShardIndex]) -> Option<Stream> {
        let stream = self.by_id(id)?;
        let is_gone = |shard: &Shard| shard.closed.is_some() && gone.contains(&shard.index);
        if !stream.is_usable() || !stream.shards.iter().any(is_gone) {
            return None;
        }
        let mut changed = Stream::clone(stream);
        changed.shards.retain(|shard| !is_gone(shard));
        changed.routes = Routes::new(&changed.shards).expect("open shards stay");
        Some(changed)
    }
}

fn open_shard(stream: &Stream, index: ShardIndex) -> Result<&Shard, ControlError> {
    let name = || stream.name.clone();
    let found = stream
        .shard(index)
        .ok_or_else(|| ControlError::ShardNotFound {
            name: name(),
            shard: index,
        })?;
    if found.closed.is_some() {
        return Err(ControlError::ShardClosed {
            name: name(),
            shard: index,
        });
    }
    Ok(found)
}

/// Whether a stream of `current` open shards may have `wanted`.
fn check_count(current: u32, wanted: u32) -> Result<(), ControlError> {
    if wanted == 0 {
        return Err(ControlError::ShardCount { asked: wanted });
    }
    if wanted > STREAM_SHARDS_MAX {
        return Err(ControlError::TooManyShards {
            asked: wanted.saturating_sub(current),
            current,
            limit: STREAM_SHARDS_MAX,
        });
    }
    Ok(())
}

fn check_scale(stream: &Stream, target: u32) -> Result<(), ControlError> {
    let current = stream.open_shards().count() as u32;
    if target > current.saturating_mul(2) {
        return Err(ControlError::ScaledUpTooFar { current, target });
    }
    if target.saturating_mul(2) < current {
        return Err(ControlError::ScaledDownTooFar { current, target });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_shards_than_a_stream_may_have_are_a_limit_and_not_a_wrong_argument() {
        assert_eq!(check_count(9_999, STREAM_SHARDS_MAX), Ok(()));
        assert_eq!(
            check_count(STREAM_SHARDS_MAX, STREAM_SHARDS_MAX + 1),
            Err(ControlError::TooManyShards {
                asked: 1,
                current: STREAM_SHARDS_MAX,
                limit: STREAM_SHARDS_MAX,
            })
        );
        assert_eq!(
            check_count(3, 0),
            Err(ControlError::ShardCount { asked: 0 })
        );
    }
}
