//! What sessions ask of an engine, and what they get.

use std::sync::Arc;

use thiserror::Error;
use weir_log::{LogCounters, LogState, ReadBatches};
use weir_protocol::model::{
    ConsumerName, Offset, ShardId, StreamMode, StreamName, StreamQuota, Timestamp,
};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;

use crate::error::ReadError;
use crate::settings::{RecordDistribution, ShardMetrics, StreamSettings, Tags};
use crate::stream::Stream;

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
    /// Whether the call counts against the pollers' quota of a metered shard. What is given out of
    /// the answer is charged apart, by `Engine::charge_read`.
    pub polling: bool,
}

/// What was read on the shard's own core. Holds the log's memory: copy and drop it before waiting
/// for a slow client.
pub struct ReadHere<R: Reactor> {
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

impl<R: Reactor> ReadHere<R> {
    /// What was read, if it has at most `longest` bytes.
    pub(crate) fn no_longer_than(self, shard: ShardId, longest: usize) -> Result<Self, ReadError> {
        let bytes = self.batches.bytes;
        if bytes > longest {
            return Err(ReadError::LongBatch { shard, bytes });
        }
        Ok(self)
    }

    /// Copies what was read, and lets go of the log's memory.
    pub(crate) fn into_owned(self) -> ReadOwned {
        let mut bytes = Vec::with_capacity(self.batches.bytes);
        for chunk in self.batches.chunks() {
            bytes.extend_from_slice(chunk);
        }
        ReadOwned {
            batches: bytes,
            count: self.batches.count,
            from: self.from,
            next: self.next,
            tip: self.tip,
            behind_ms: self.behind_ms,
            at_end: self.at_end,
        }
    }
}

/// What was read, copied; see [`ReadHere`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOwned {
    /// Whole batches; the first may begin before the offset asked for.
    pub batches: Vec<u8>,
    /// How many batches.
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

/// What was read of any shard: in place if it is this core's, copied if it is another's. Drop it
/// before waiting for a slow client.
pub enum ReadAnswer<R: Reactor> {
    /// In the log's own memory.
    Here(ReadHere<R>),
    /// Copied on the shard's core.
    There(ReadOwned),
}

impl<R: Reactor> ReadAnswer<R> {
    /// The batches, in runs of whole ones; the first may begin before the offset asked for.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let (here, there) = match self {
            Self::Here(read) => (Some(read.batches.chunks()), None),
            Self::There(read) => (None, Some(read.batches.as_slice())),
        };
        here.into_iter().flatten().chain(there)
    }

    /// The same as bytes of its own, and without the log's memory: copied if it is not yet.
    #[must_use]
    pub fn into_owned(self) -> Self {
        match self {
            Self::Here(read) => Self::There(read.into_owned()),
            owned @ Self::There(_) => owned,
        }
    }

    /// Bytes of the batches.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Here(read) => read.batches.bytes,
            Self::There(read) => read.batches.len(),
        }
    }

    /// Where to read on.
    pub fn next(&self) -> Offset {
        match self {
            Self::Here(read) => read.next,
            Self::There(read) => read.next,
        }
    }

    /// How far that is behind the newest record in milliseconds; 0 at the tip.
    pub fn behind_ms(&self) -> u64 {
        match self {
            Self::Here(read) => read.behind_ms,
            Self::There(read) => read.behind_ms,
        }
    }

    /// Whether that is the end of a closed shard: nothing will ever follow.
    pub fn at_end(&self) -> bool {
        match self {
            Self::Here(read) => read.at_end,
            Self::There(read) => read.at_end,
        }
    }
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
    /// Everything else it is told.
    pub settings: StreamSettings,
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
    /// Whether its shards are metered, beside the server's switch.
    pub quota: Option<StreamQuota>,
}

/// One change of a stream or of one of its consumers. It is checked and made in one step: no other
/// change comes between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Several settings at once, as an operator sets them, whatever they were.
    Settings(StreamChange),
    /// Keep records this long, in milliseconds; not shorter than now.
    IncreaseRetention(u64),
    /// Keep records this long, in milliseconds; not longer than now.
    DecreaseRetention(u64),
    /// Add these tags, or give them other values.
    Tag(Tags),
    /// Remove the tags of these keys; keys that are not there are let be.
    Untag(Vec<String>),
    /// Another mode, and the throughput to be held ready if that is on-demand.
    Mode {
        /// The mode.
        mode: StreamMode,
        /// MiB per second; `None` leaves it as it is.
        warm_throughput_mibps: Option<u32>,
    },
    /// Encryption with this key, or none.
    Encryption(Option<String>),
    /// Report these metrics per shard, beside others.
    EnableMonitoring(ShardMetrics),
    /// Report these metrics no longer.
    DisableMonitoring(ShardMetrics),
    /// This policy, or none.
    Policy(Option<String>),
    /// Throughput to be held ready, in MiB per second.
    WarmThroughput(u32),
    /// Longest record in bytes, data plus partition key.
    RecordBytesMax(u32),
    /// How records without a partition key find their shard.
    Distribution(RecordDistribution),
    /// Register a consumer.
    RegisterConsumer {
        /// Its name.
        name: ConsumerName,
        /// Its tags.
        tags: Tags,
    },
    /// Deregister a consumer.
    DeregisterConsumer(ConsumerKey),
    /// Add tags to a consumer, or give them other values.
    TagConsumer(ConsumerKey, Tags),
    /// Remove tags of a consumer.
    UntagConsumer(ConsumerKey, Vec<String>),
    /// A consumer's policy, or none.
    ConsumerPolicy(ConsumerKey, Option<String>),
}

/// Which consumer of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerKey {
    /// Its name.
    pub name: ConsumerName,
    /// The second it was registered in, as its ARN says; `None` for whichever bears the name.
    pub created_secs: Option<u64>,
}

/// A stream before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// As it was.
    pub before: Arc<Stream>,
    /// As it is; still UPDATING, or its consumer CREATING or DELETING, if the folder has a state
    /// delay.
    pub after: Arc<Stream>,
}

/// What a deletion does with consumers of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumersOnDelete {
    /// They go with it.
    Delete,
    /// While there are any, the stream stays.
    Keep,
}

/// What one core did since it started.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Reshards that this core drove to their end.
    pub reshards: u64,
    /// Requests from other cores answered.
    pub from_other_cores: u64,
    /// Subscriptions to this core's shards that are open, now.
    pub subscriptions: u64,
    /// Events for subscribers, heartbeats too.
    pub deliveries: u64,
    /// Bytes of keys and data in those events, of those that are sent.
    pub delivered_bytes: u64,
    /// Bytes of requests that wait for this core's log or another core, now.
    pub waiting_bytes: u64,
    /// Whether the log takes appends, now.
    pub log_state: LogState,
    /// What the log counts.
    pub log: LogCounters,
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
