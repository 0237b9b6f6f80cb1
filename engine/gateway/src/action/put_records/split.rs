//! Which shard each record of a call goes to, and the batches that come of it.
//!
//! Owns: where each record went. Never: what became of it.

use rustc_hash::FxHashMap;
use weir_protocol::batch::{BATCH_HEADER_BYTES, BatchBuilder, ProducerMark, RECORD_HEADER_BYTES};
use weir_protocol::limits::MIB;
use weir_protocol::model::{Count, HashKey, ShardIndex, Timestamp};
use weir_reactor::{Reactor, Spares};
use weir_stream::{AppendError, ShardBatch, Stored, Stream};

use super::is_closed;
use crate::action::record::{SentRecord, any_hash_key};
use crate::call::{Call, Ids, spreads};
use crate::error::ServiceError;

/// Most bytes of data and keys of one call (AWS: 10 MiB).
const CALL_BYTES_MAX: usize = 10 * MIB as usize;
/// Records of a call that a stream which spreads them puts into one shard before it takes another:
/// enough to make a batch worth its overhead.
const SPREAD_RECORDS: usize = 100;

/// The points of the hash space that decide the records' shards.
fn hash_keys(
    records: &[SentRecord<'_>],
    stream: &Stream,
    ids: &Ids,
) -> Result<Vec<HashKey>, ServiceError> {
    if !spreads(stream) {
        return SentRecord::hash_keys(records);
    }
    let groups = records.chunks(SPREAD_RECORDS);
    Ok(groups
        .flat_map(|group| std::iter::repeat_n(any_hash_key(ids), group.len()))
        .collect())
}

/// Where a record went: which of the call's shards, and which record of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u32,
    pub(super) nth: Count,
}

/// A call's records, split by shard.
pub(super) struct Split {
    /// One batch for each of `shards`, or for the last of them if the others were asked already.
    pub(super) batches: Vec<ShardBatch>,
    pub(super) shards: Vec<ShardIndex>,
    /// By shard: the time that its numbers begin with.
    pub(super) created: Vec<Timestamp>,
    /// One for each record, in the order they came.
    pub(super) places: Vec<Place>,
}

impl Split {
    pub(super) fn build<R: Reactor>(
        records: &[SentRecord<'_>],
        stream: &Stream,
        call: &Call<'_, R>,
    ) -> Result<Self, ServiceError> {
        Self::build_in(records, stream, call.ids, call.engine.spares())
    }

    pub(super) fn build_in(
        records: &[SentRecord<'_>],
        stream: &Stream,
        ids: &Ids,
        spares: &Spares,
    ) -> Result<Self, ServiceError> {
        let mut slots: FxHashMap<ShardIndex, u32> = FxHashMap::default();
        let mut shards: Vec<ShardIndex> = Vec::new();
        let mut created: Vec<Timestamp> = Vec::new();
        let mut fill: Vec<(Count, usize)> = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        let mut total = 0;
        let keys = hash_keys(records, stream, ids)?;
        for (record, key) in records.iter().zip(keys) {
            record.check_weight(stream)?;
            total += record.weight();
            let shard = stream.route(key);
            let slot = *slots.entry(shard.index).or_insert_with(|| {
                shards.push(shard.index);
                created.push(shard.created);
                fill.push((Count(0), 0));
                shards.len() as u32 - 1
            });
            let (count, bytes) = &mut fill[slot as usize];
            places.push(Place { slot, nth: *count });
            count.0 += 1;
            *bytes += RECORD_HEADER_BYTES + record.weight();
        }
        if total > CALL_BYTES_MAX {
            return Err(ServiceError::invalid_argument(
                "Records size exceeds 10 MB limit",
            ));
        }
        let mut batches: Vec<ShardBatch> = shards
            .iter()
            .zip(&fill)
            .map(|(shard, (_, bytes))| ShardBatch {
                shard: stream.shard_id(*shard),
                bytes: spares.take(BATCH_HEADER_BYTES + bytes),
            })
            .collect();
        let mut builders: Vec<BatchBuilder<'_>> = batches
            .iter_mut()
            .map(|ShardBatch { shard, bytes }| {
                BatchBuilder::new(bytes, *shard, stream.map_version, ProducerMark::default())
            })
            .collect();
        for (record, place) in records.iter().zip(&places) {
            if let Some(data) = record.data {
                builders[place.slot as usize]
                    .push_with(record.key.unwrap_or_default(), data.bytes(), |out| {
                        data.decode_into(out);
                    })
                    .map_err(|full| ServiceError::internal(full.to_string()))?;
            }
        }
        builders.into_iter().for_each(BatchBuilder::finish);
        Ok(Self {
            batches,
            shards,
            created,
            places,
        })
    }

    /// The records whose shards were split or merged before they came there, in their order.
    pub(super) fn refused_by_closed_shards(
        &self,
        outcomes: &[Result<Stored, AppendError>],
    ) -> Vec<usize> {
        if !outcomes.iter().any(is_closed) {
            return Vec::new();
        }
        let places = self.places.iter().enumerate();
        let moved = places.filter(|(_, place)| is_closed(&outcomes[place.slot as usize]));
        moved.map(|(at, _)| at).collect()
    }

    /// Has the records `moved` go where `again` splits them to.
    pub(super) fn go_on(&mut self, moved: &[usize], again: Self) {
        let asked = self.shards.len() as u32;
        for (at, place) in moved.iter().zip(again.places) {
            let slot = asked + place.slot;
            self.places[*at] = Place { slot, ..place };
        }
        self.shards.extend(again.shards);
        self.created.extend(again.created);
        self.batches = again.batches;
    }
}
