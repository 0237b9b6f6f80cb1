//! The door for writing: admission, then the log.
//!
//! Up: sessions. Down: [`weir_log::Log::append`].

use futures_util::future::join_all;
use weir_log::Appended;
use weir_protocol::batch::{BatchHeader, BatchView};
use weir_protocol::model::{Position, ShardId, StreamStatus};
use weir_reactor::Reactor;

use crate::engine::Engine;
use crate::error::AppendError;
use crate::request::{ShardBatch, Stored};

impl<R: Reactor> Engine<R> {
    /// Admits one batch for a shard of this core: decodes it, verifies checksum and records,
    /// checks stream, shard, owner and quota, and appends it. It is stored when
    /// [`Self::wait_durable`] of its end returns. On [`AppendError::Busy`] nothing happened: wait
    /// for [`Self::room`] and try again; on [`AppendError::Resharding`] for [`Self::released`].
    pub fn append_here(&self, batch: &[u8]) -> Result<Appended, AppendError> {
        let result = self.admit(batch);
        self.count(|counters| match &result {
            Ok(_) | Err(AppendError::Busy | AppendError::Resharding { .. }) => {}
            Err(AppendError::Throttled { .. }) => counters.throttled_appends += 1,
            Err(_) => counters.refused_appends += 1,
        });
        result
    }

    fn admit(&self, bytes: &[u8]) -> Result<Appended, AppendError> {
        if self.is_stopping() {
            return Err(AppendError::Stopping);
        }
        let header = BatchHeader::decode(bytes)?;
        let shard = header.shard;
        let now = self.monotonic();
        // What costs nothing to check comes before the checksum of the payload.
        let record_bytes_max = self
            .with_homed(shard, |homed| {
                if !homed.is_usable {
                    return None;
                }
                if homed.stands_still {
                    return Some(Err(AppendError::Resharding { shard }));
                }
                if homed.closed.is_some() {
                    let map_version = homed.map_version;
                    return Some(Err(AppendError::ShardClosed { shard, map_version }));
                }
                let record_bytes_max = homed.record_bytes_max;
                let admitted = homed.write_quota().map_or(Ok(()), |quota| quota.admit(now));
                let throttled = |what| AppendError::Throttled { shard, what };
                Some(admitted.map_err(throttled).map(|()| record_bytes_max))
            })
            .flatten()
            .unwrap_or_else(|| Err(self.why_not_here(shard)))?;

        let batch = BatchView::decode(bytes)?;
        batch.check_records(record_bytes_max)?;
        self.follow_expiry();
        let appended = self.log().append(&batch).map_err(AppendError::from)?;

        let (records, weight) = (u64::from(header.records.0), header.weight());
        self.with_homed(shard, |homed| {
            homed.last_end = appended.end;
            if let Some(quota) = homed.write_quota() {
                quota.charge(records, weight);
            }
        });
        self.count(|counters| {
            counters.appended_batches += 1;
            counters.appended_records += records;
            counters.appended_bytes += weight;
        });
        Ok(appended)
    }

    /// Why `shard` takes no appends on this core.
    fn why_not_here(&self, shard: ShardId) -> AppendError {
        let streams = self.streams();
        let Some(stream) = streams.by_id(shard.stream) else {
            return AppendError::StreamNotFound {
                stream: shard.stream,
            };
        };
        let Some(found) = stream.shard(shard.index) else {
            return AppendError::ShardNotFound { shard };
        };
        if matches!(
            stream.status,
            StreamStatus::Creating | StreamStatus::Deleting
        ) {
            let (name, status) = (stream.name.clone(), stream.status);
            return AppendError::StreamNotActive { name, status };
        }
        let map_version = stream.map_version;
        AppendError::NotOwner {
            shard,
            owner: found.core,
            map_version,
        }
    }

    /// Completes when buffer space was freed or the log's state changed.
    pub async fn room(&self) {
        self.log().room().await;
    }

    /// Everything of this core's log below this position is durable.
    pub fn durable(&self) -> Position {
        self.log().durable()
    }

    /// Completes when everything below `end` is durable; an error means that this is not known.
    pub async fn wait_durable(&self, end: Position) -> Result<(), AppendError> {
        self.log()
            .wait_durable(end)
            .await
            .map_err(|_| AppendError::LogFailed)
    }

    /// Appends batches of any shards, each on its own core; answers in the same order when all are
    /// durable or refused. Batches of one shard keep their order.
    pub async fn append(&self, batches: Vec<ShardBatch>) -> Vec<Result<Stored, AppendError>> {
        let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        let Some(_held) = self.hold(bytes) else {
            return vec![Err(AppendError::Overloaded); batches.len()];
        };
        match self.only_owner(&batches) {
            Some(core) if core == self.core() => self.append_all_here(batches).await,
            Some(core) => self.append_there(core, batches).await,
            None => self.append_to_many(batches).await,
        }
    }

    /// The core whose shards all of these are for, if it is one.
    fn only_owner(&self, batches: &[ShardBatch]) -> Option<u32> {
        let streams = self.streams();
        let mut owners = batches.iter().map(|batch| {
            let shard = batch.shard;
            let stream = streams.by_id(shard.stream);
            let found = stream.and_then(|stream| stream.shard(shard.index));
            found.map(|found| found.core)
        });
        let first = owners.next()??;
        owners.all(|owner| owner == Some(first)).then_some(first)
    }

    async fn append_to_many(&self, batches: Vec<ShardBatch>) -> Vec<Result<Stored, AppendError>> {
        let mut answers: Vec<Option<Result<Stored, AppendError>>> = vec![None; batches.len()];
        // By owning core: which of the batches, and the batches.
        let mut by_core: Vec<(Vec<usize>, Vec<ShardBatch>)> = Vec::new();
        by_core.resize_with(self.cores() as usize, Default::default);
        let streams = self.streams();
        for (place, batch) in batches.into_iter().enumerate() {
            let stream = streams.by_id(batch.shard.stream);
            match stream.and_then(|stream| stream.shard(batch.shard.index)) {
                Some(shard) => {
                    let (places, group) = &mut by_core[shard.core as usize];
                    places.push(place);
                    group.push(batch);
                }
                None => answers[place] = Some(Err(self.why_not_here(batch.shard))),
            }
        }
        drop(streams);
        let groups = by_core
            .into_iter()
            .zip(0..)
            .filter(|((places, _), _)| !places.is_empty());
        let done = join_all(groups.map(|((places, group), core)| async move {
            let answers = if core == self.core() {
                self.append_all_here(group).await
            } else {
                self.append_there(core, group).await
            };
            (places, answers)
        }))
        .await;
        for (places, group) in done {
            assert_eq!(places.len(), group.len(), "a core answers every batch");
            for (place, answer) in places.into_iter().zip(group) {
                answers[place] = Some(answer);
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.expect("every batch went to a core"))
            .collect()
    }

    /// Appends batches of this core's shards in order and waits until they are durable.
    pub(crate) async fn append_all_here(
        &self,
        batches: Vec<ShardBatch>,
    ) -> Vec<Result<Stored, AppendError>> {
        let mut taken: Vec<Option<Result<Appended, AppendError>>> = vec![None; batches.len()];
        let mut left: Vec<(usize, ShardBatch)> = batches.into_iter().enumerate().collect();
        while let Some(shard) = self.take_in(&mut left, &mut taken).await {
            self.released(shard).await;
        }
        let taken: Vec<_> = taken
            .into_iter()
            .map(|result| result.expect("every batch was taken in or refused"))
            .collect();
        let mut stored = Vec::with_capacity(taken.len());
        // Last first: when that is durable all are, and the others return at once.
        let last = taken.iter().rev().find_map(|result| result.as_ref().ok());
        if let Some(last) = last {
            self.wait_durable(last.end).await.ok();
        }
        for result in taken {
            stored.push(match result {
                Ok(Appended {
                    first_offset,
                    arrival,
                    end,
                }) => self.wait_durable(end).await.map(|()| Stored {
                    first_offset,
                    arrival,
                }),
                Err(error) => Err(error),
            });
        }
        stored
    }

    /// Takes in what can be; what is left is of shards that are being split or merged, one of which
    /// is returned. Others need not wait for them, and batches of one shard keep their order.
    async fn take_in(
        &self,
        left: &mut Vec<(usize, ShardBatch)>,
        taken: &mut [Option<Result<Appended, AppendError>>],
    ) -> Option<ShardId> {
        let mut waiting: Vec<(usize, ShardBatch)> = Vec::new();
        for (place, batch) in left.drain(..) {
            if waiting.iter().any(|(_, other)| other.shard == batch.shard) {
                waiting.push((place, batch));
                continue;
            }
            let result = loop {
                match self.append_here(&batch.bytes) {
                    Err(AppendError::Busy) => self.room().await,
                    result => break result,
                }
            };
            if matches!(result, Err(AppendError::Resharding { .. })) {
                waiting.push((place, batch));
                continue;
            }
            taken[place] = Some(result);
            // The log has its own copy.
            self.spares().give(batch.bytes);
        }
        *left = waiting;
        left.first().map(|(_, batch)| batch.shard)
    }
}

impl From<weir_log::AppendError> for AppendError {
    fn from(error: weir_log::AppendError) -> Self {
        match error {
            weir_log::AppendError::Busy => Self::Busy,
            weir_log::AppendError::ShardNotFound { shard } => Self::ShardNotFound { shard },
            weir_log::AppendError::DiskFull => Self::DiskFull,
            weir_log::AppendError::Failed => Self::LogFailed,
            weir_log::AppendError::ReadOnly => Self::ReadOnly,
            weir_log::AppendError::Exhausted { shard } => Self::Exhausted { shard },
            weir_log::AppendError::TooLong { bytes, limit } => Self::TooLong { bytes, limit },
            weir_log::AppendError::Stopping => Self::Stopping,
        }
    }
}
