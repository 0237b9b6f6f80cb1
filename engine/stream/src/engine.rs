//! One core's engine: the doors through which sessions append, read and change what exists.

use std::rc::Rc;
use std::sync::Arc;

use thiserror::Error;
use weir_protocol::model::{Offset, Position, ShardId, StreamMode, StreamName, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::{Monotonic, Reactor};

use crate::error::{AppendError, ControlError, ReadError};
use crate::folder::CoreSeed;
use crate::log_api::{Appended, ReadBatches};
use crate::stream::{Stream, Streams};

/// Batches for one shard, in the producer's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardBatch {
    /// The shard; must be the one in the batch.
    pub shard: ShardId,
    /// One whole batch.
    pub bytes: Vec<u8>,
}

/// Where a batch was stored; durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Offset of its first record.
    pub first_offset: Offset,
    /// When it arrived.
    pub arrival: Timestamp,
}

/// Asks for records of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// The shard.
    pub shard: ShardId,
    /// Where to begin.
    pub from: ReadFrom,
    /// Most bytes of batches wanted; at least one batch comes if there is one.
    pub bytes_max: u32,
    /// How long to wait for the first record, in milliseconds; 0 for not at all, at most
    /// `READ_WAIT_MS_MAX`.
    pub wait_ms: u32,
    /// Whether the call counts against the pollers' quota of a metered shard.
    pub polling: bool,
}

/// What was read on the shard's own core. Holds the log's memory: copy and drop it before waiting
/// for a slow client.
#[derive(Debug)]
pub struct ReadHere<R> {
    /// Whole batches; the first may begin before the offset asked for.
    pub batches: ReadBatches<R>,
    /// Where the read began, after resolving TRIM_HORIZON, LATEST and times: skip records below.
    pub from: Offset,
    /// Where to read on.
    pub next: Offset,
    /// One past the newest durable record.
    pub tip: Offset,
    /// How far `next` is behind the newest record in milliseconds; 0 at the tip.
    pub behind_ms: u64,
    /// Whether `next` is the end of a closed shard: nothing will ever follow.
    pub at_end: bool,
}

/// What was read, copied; see [`ReadHere`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOwned {
    /// Whole batches; the first may begin before the offset asked for.
    pub batches: Vec<u8>,
    /// Records in them.
    pub count: u32,
    /// Where the read began, after resolving TRIM_HORIZON, LATEST and times: skip records below.
    pub from: Offset,
    /// Where to read on.
    pub next: Offset,
    /// One past the newest durable record.
    pub tip: Offset,
    /// How far `next` is behind the newest record in milliseconds; 0 at the tip.
    pub behind_ms: u64,
    /// Whether `next` is the end of a closed shard: nothing will ever follow.
    pub at_end: bool,
}

/// Asks for a new stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateStream {
    /// Its name.
    pub name: StreamName,
    /// How many shards.
    pub shards: u32,
    /// What meters them.
    pub mode: StreamMode,
    /// Retention in milliseconds; `None` for 24 hours.
    pub retention_ms: Option<u64>,
    /// Byte cap of the stream; `None` for no cap.
    pub retain_bytes: Option<u64>,
}

/// Changed settings; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamChange {
    /// New mode.
    pub mode: Option<StreamMode>,
    /// New retention in milliseconds.
    pub retention_ms: Option<u64>,
    /// New byte cap; `Some(0)` lifts it.
    pub retain_bytes: Option<u64>,
}

/// What one core did since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreCounters {
    /// The core.
    pub core: u32,
    /// Open shards homed here.
    pub shards: u64,
    /// Batches admitted.
    pub appended_batches: u64,
    /// Records admitted.
    pub appended_records: u64,
    /// Bytes of keys and data admitted.
    pub appended_bytes: u64,
    /// Batches refused by a quota.
    pub throttled_appends: u64,
    /// Batches refused for another reason.
    pub refused_appends: u64,
    /// Reads answered.
    pub reads: u64,
    /// Records in the answers.
    pub read_records: u64,
    /// Bytes of batches in the answers.
    pub read_bytes: u64,
    /// Reads refused by a quota.
    pub throttled_reads: u64,
    /// Requests from other cores answered.
    pub from_other_cores: u64,
}

/// Why an engine did not start.
#[derive(Debug, Error)]
#[error("core {core} could not start: {text}")]
pub struct StartError {
    /// The core.
    pub core: u32,
    /// What went wrong.
    pub text: String,
}

/// One core's engine. A clone is the same engine.
#[derive(Debug)]
pub struct Engine<R: Reactor> {
    inner: Rc<R>,
}

impl<R: Reactor> Clone for Engine<R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

#[expect(clippy::unused_async, reason = "signatures first")]
impl<R: Reactor> Engine<R> {
    /// Opens this core's log and starts answering other cores.
    pub async fn start(_reactor: R, _seed: CoreSeed) -> Result<Self, StartError> {
        unimplemented!()
    }

    /// This core's number.
    pub fn core(&self) -> u32 {
        unimplemented!()
    }

    /// How many cores serve the folder.
    pub fn cores(&self) -> u32 {
        unimplemented!()
    }

    /// What exists, as last published to this core.
    pub fn streams(&self) -> Arc<Streams> {
        unimplemented!()
    }

    /// Admits one batch for a shard of this core: decodes it, verifies checksum and records,
    /// checks stream, shard, owner and quota, and appends it. It is stored when
    /// [`Self::wait_durable`] of its end returns. On [`AppendError::Busy`] nothing happened: wait
    /// for [`Self::room`] and try again.
    pub fn append_here(&self, _batch: &[u8]) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// Completes when buffer space was freed or the log's state changed.
    pub async fn room(&self) {
        unimplemented!()
    }

    /// Everything of this core's log below this position is durable.
    pub fn durable(&self) -> Position {
        unimplemented!()
    }

    /// Completes when everything below `end` is durable; an error means that this is not known.
    pub async fn wait_durable(&self, _end: Position) -> Result<(), AppendError> {
        unimplemented!()
    }

    /// Reads a shard of this core, waiting for the first record if asked to.
    pub async fn read_here(&self, _request: &ReadRequest) -> Result<ReadHere<R>, ReadError> {
        unimplemented!()
    }

    /// Appends batches of any shards, each on its own core; answers in the same order when all are
    /// durable or refused. Batches of one shard keep their order.
    pub async fn append(&self, _batches: Vec<ShardBatch>) -> Vec<Result<Stored, AppendError>> {
        unimplemented!()
    }

    /// Reads any shard.
    pub async fn read(&self, _request: ReadRequest) -> Result<ReadOwned, ReadError> {
        unimplemented!()
    }

    /// The offset that `from` means now.
    pub async fn seek(&self, _shard: ShardId, _from: ReadFrom) -> Result<Offset, ReadError> {
        unimplemented!()
    }

    /// Creates a stream; durable and known on every core when it returns. It is still CREATING
    /// then if the folder has a state delay.
    pub async fn create_stream(&self, _create: CreateStream) -> Result<Arc<Stream>, ControlError> {
        unimplemented!()
    }

    /// Deletes a stream; no append or read is taken when it returns. The name is free again after
    /// the folder's state delay.
    pub async fn delete_stream(&self, _name: &StreamName) -> Result<(), ControlError> {
        unimplemented!()
    }

    /// Changes a stream's settings.
    pub async fn update_stream(
        &self,
        _name: &StreamName,
        _change: StreamChange,
    ) -> Result<Arc<Stream>, ControlError> {
        unimplemented!()
    }

    /// Refuses new work, drains and seals this core's log.
    pub async fn close(&self) {
        unimplemented!()
    }

    /// This core's counters.
    pub fn counters(&self) -> CoreCounters {
        unimplemented!()
    }

    /// Every core's counters, in core order; a core that cannot answer now is left out.
    pub async fn all_counters(&self) -> Vec<CoreCounters> {
        unimplemented!()
    }

    /// The folder's secret for sealing read positions: made at its first start, the same after
    /// each restart.
    pub fn seal_key(&self) -> [u8; 32] {
        unimplemented!()
    }

    /// The account that streams are stored under.
    pub fn account(&self) -> &str {
        unimplemented!()
    }

    /// The region that streams are stored under.
    pub fn region(&self) -> &str {
        unimplemented!()
    }

    /// The wall clock.
    pub fn wall(&self) -> Timestamp {
        unimplemented!()
    }

    /// The clock that never goes back.
    pub fn monotonic(&self) -> Monotonic {
        unimplemented!()
    }

    /// The machine.
    pub fn reactor(&self) -> &R {
        &self.inner
    }
}
