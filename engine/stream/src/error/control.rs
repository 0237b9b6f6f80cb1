//! Why a change of what exists was refused.

use thiserror::Error;
use weir_protocol::limits::{
    COUNT_UPDATES_PER_DAY, POLICY_BYTES_MAX, RECORD_BYTES_CEILING, RECORD_BYTES_MAX,
    RESOURCE_TAGS_MAX, RETAIN_BYTES_MIN, RETENTION_MS_MAX, RETENTION_MS_MIN,
    STREAM_CONSUMERS_CREATING_MAX, STREAM_MODE_CHANGES_PER_DAY, STREAM_SHARDS_MAX,
};
use weir_protocol::model::{
    ConsumerName, HashKey, HashKeyRange, ShardIndex, StreamName, StreamStatus, Timestamp,
};
use weir_protocol::wire::error::ErrorCode;

use crate::settings::WARM_THROUGHPUT_MIBPS_MAX;

/// Why a change of what exists was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The name is taken, also by a stream that is being deleted.
    #[error("stream \"{name}\" already exists")]
    StreamExists {
        /// The name.
        name: StreamName,
    },
    /// No stream of that name.
    #[error("stream \"{name}\" does not exist")]
    StreamNotFound {
        /// The name.
        name: StreamName,
    },
    /// The stream is in a state that does not allow it.
    #[error("stream \"{name}\" is {}, not ACTIVE", .status.aws_name())]
    NotActive {
        /// The name.
        name: StreamName,
        /// Where it stands.
        status: StreamStatus,
    },
    /// No shards at all, or more than a stream may have.
    #[error("{asked} shards asked for, expected 1 to {STREAM_SHARDS_MAX}")]
    ShardCount {
        /// Shards asked for.
        asked: u32,
    },
    /// The folder would hold more shards than it may.
    #[error("{asked} more shards would exceed the folder's limit of {limit}, {current} exist")]
    TooManyShards {
        /// Shards asked for.
        asked: u32,
        /// Shards that exist.
        current: u32,
        /// The most there may be.
        limit: u32,
    },
    /// The stream has no such shard.
    #[error("stream \"{name}\" has no {shard}")]
    ShardNotFound {
        /// The stream.
        name: StreamName,
        /// The shard asked for.
        shard: ShardIndex,
    },
    /// The shard was split or merged before.
    #[error("{shard} of stream \"{name}\" has already been merged or split")]
    ShardClosed {
        /// The stream.
        name: StreamName,
        /// The shard asked for.
        shard: ShardIndex,
    },
    /// Two shards whose hash ranges do not meet.
    #[error("{shard} and {adjacent} of stream \"{name}\" are not neighbours")]
    NotAdjacent {
        /// The stream.
        name: StreamName,
        /// The shard to merge.
        shard: ShardIndex,
        /// The one that is not its neighbour.
        adjacent: ShardIndex,
    },
    /// A split at a hash key that leaves one side with less than two keys.
    #[error(
        "{shard} of stream \"{name}\" takes hash keys {} to {}: it cannot be split at {at}",
        .range.start, .range.end
    )]
    SplitKey {
        /// The stream.
        name: StreamName,
        /// The shard to split.
        shard: ShardIndex,
        /// The hash key asked for.
        at: HashKey,
        /// What the shard takes.
        range: HashKeyRange,
    },
    /// An on-demand stream has no shards to count.
    #[error("stream \"{name}\" is in on-demand mode: its shards are not split or merged by hand")]
    OnDemand {
        /// The stream.
        name: StreamName,
    },
    /// More than twice as many shards at once.
    #[error("{target} shards are more than twice the {current} that are open")]
    ScaledUpTooFar {
        /// Open shards.
        current: u32,
        /// Open shards asked for.
        target: u32,
    },
    /// Less than half as many shards at once.
    #[error("{target} shards are less than half of the {current} that are open")]
    ScaledDownTooFar {
        /// Open shards.
        current: u32,
        /// Open shards asked for.
        target: u32,
    },
    /// The count of a stream that is metered as AWS was changed as often as AWS allows.
    #[error(
        "the shard count of stream \"{name}\" was changed {COUNT_UPDATES_PER_DAY} times within a day"
    )]
    TooManyCountUpdates {
        /// The stream.
        name: StreamName,
    },
    /// A retention outside its bounds.
    #[error("retention of {millis} ms, expected {RETENTION_MS_MIN} to {RETENTION_MS_MAX}")]
    InvalidRetention {
        /// The value asked for, in milliseconds.
        millis: u64,
    },
    /// A byte cap below its bound.
    #[error("byte cap of {bytes}, expected at least {RETAIN_BYTES_MIN}")]
    InvalidRetainBytes {
        /// The value asked for.
        bytes: u64,
    },
    /// A retention that was to be longer is shorter than now.
    #[error("retention of {millis} ms is shorter than the present {present} ms")]
    RetentionNotLonger {
        /// The value asked for, in milliseconds.
        millis: u64,
        /// The present value, in milliseconds.
        present: u64,
    },
    /// A retention that was to be shorter is longer than now.
    #[error("retention of {millis} ms is longer than the present {present} ms")]
    RetentionNotShorter {
        /// The value asked for, in milliseconds.
        millis: u64,
        /// The present value, in milliseconds.
        present: u64,
    },
    /// A record size outside its bounds.
    #[error(
        "records of up to {bytes} bytes, expected {RECORD_BYTES_MAX} to {RECORD_BYTES_CEILING}"
    )]
    InvalidRecordBytes {
        /// The value asked for.
        bytes: u32,
    },
    /// More tags than a stream or consumer may have.
    #[error("{asked} tags, at most {RESOURCE_TAGS_MAX} are allowed")]
    TooManyTags {
        /// Tags there would be.
        asked: usize,
    },
    /// The mode was changed too often.
    #[error(
        "the mode of stream \"{name}\" was changed {STREAM_MODE_CHANGES_PER_DAY} times within 24 \
         hours"
    )]
    ModeChangedOften {
        /// The stream.
        name: StreamName,
    },
    /// Only on-demand streams have it.
    #[error("stream \"{name}\" is not ON_DEMAND")]
    NotOnDemand {
        /// The stream.
        name: StreamName,
    },
    /// More throughput than a stream may have held ready.
    #[error(
        "a warm throughput of {asked} MiB per second was asked for, at most \
         {WARM_THROUGHPUT_MIBPS_MAX} are allowed"
    )]
    WarmThroughput {
        /// What was asked for.
        asked: u32,
    },
    /// A policy longer than may be stored.
    #[error("a policy of {bytes} bytes, at most {POLICY_BYTES_MAX} are allowed")]
    PolicyTooLong {
        /// Bytes of the policy.
        bytes: usize,
    },
    /// There is no policy to delete.
    #[error("there is no policy")]
    NoPolicy,
    /// The consumer's name is taken, also by one that is being deregistered.
    #[error("consumer \"{consumer}\" of stream \"{stream}\" already exists")]
    ConsumerExists {
        /// The stream.
        stream: StreamName,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// No consumer of that name, or one that was registered at another time.
    #[error("consumer \"{consumer}\" of stream \"{stream}\" does not exist")]
    ConsumerNotFound {
        /// The stream.
        stream: StreamName,
        /// The consumer.
        consumer: ConsumerName,
    },
    /// The stream has as many consumers as it may.
    #[error("stream \"{name}\" has {limit} consumers, the most it may have")]
    TooManyConsumers {
        /// The stream.
        name: StreamName,
        /// The most there may be.
        limit: usize,
    },
    /// As many consumers are being created as may be at a time.
    #[error(
        "{STREAM_CONSUMERS_CREATING_MAX} consumers of stream \"{name}\" are being created, the \
         most at a time"
    )]
    TooManyConsumersCreating {
        /// The stream.
        name: StreamName,
    },
    /// The consumer is being registered or deregistered.
    #[error("consumer \"{consumer}\" of stream \"{stream}\" is not ACTIVE")]
    ConsumerNotActive {
        /// The stream.
        stream: StreamName,
        /// The consumer.
        consumer: ConsumerName,
        /// When it was registered.
        created: Timestamp,
    },
    /// Only on-demand streams find the shards of their records by themselves.
    #[error("stream \"{name}\" is PROVISIONED: its records find their shards by their keys")]
    ProvisionedSpread {
        /// The stream.
        name: StreamName,
    },
    /// The stream has consumers, and may be deleted only with them.
    #[error("stream \"{name}\" has consumers")]
    HasConsumers {
        /// The stream.
        name: StreamName,
    },
    /// The catalog could not be written; nothing was changed.
    #[error("the catalog could not be written: {text}")]
    CatalogFailed {
        /// What it said.
        text: String,
    },
    /// More control requests wait than may.
    #[error("too many control requests are waiting")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl ControlError {
    /// Its code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::StreamExists { .. } => ErrorCode::StreamExists,
            Self::StreamNotFound { .. } => ErrorCode::StreamNotFound,
            Self::NotActive { .. } => ErrorCode::StreamNotActive,
            Self::ShardNotFound { .. } => ErrorCode::ShardNotFound,
            Self::ShardCount { .. }
            | Self::TooManyShards { .. }
            | Self::ShardClosed { .. }
            | Self::NotAdjacent { .. }
            | Self::SplitKey { .. }
            | Self::OnDemand { .. }
            | Self::ScaledUpTooFar { .. }
            | Self::ScaledDownTooFar { .. }
            | Self::TooManyCountUpdates { .. }
            | Self::InvalidRetention { .. }
            | Self::InvalidRetainBytes { .. }
            | Self::RetentionNotLonger { .. }
            | Self::RetentionNotShorter { .. }
            | Self::InvalidRecordBytes { .. }
            | Self::TooManyTags { .. }
            | Self::ModeChangedOften { .. }
            | Self::NotOnDemand { .. }
            | Self::WarmThroughput { .. }
            | Self::PolicyTooLong { .. }
            | Self::NoPolicy
            | Self::ConsumerExists { .. }
            | Self::ConsumerNotFound { .. }
            | Self::TooManyConsumers { .. }
            | Self::TooManyConsumersCreating { .. }
            | Self::ConsumerNotActive { .. }
            | Self::ProvisionedSpread { .. }
            | Self::HasConsumers { .. } => ErrorCode::InvalidArgument,
            Self::CatalogFailed { .. } => ErrorCode::Internal,
            Self::Overloaded => ErrorCode::Overloaded,
            Self::Stopping => ErrorCode::Stopping,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }
}
