//! What can go wrong, one small enum per operation, each with its code on the wire.

use thiserror::Error;
use weir_protocol::batch::BatchError;
use weir_protocol::limits::{
    COUNT_UPDATES_PER_DAY, POLICY_BYTES_MAX, RECORD_BYTES_CEILING, RECORD_BYTES_MAX,
    RESOURCE_TAGS_MAX, RETAIN_BYTES_MIN, RETENTION_MS_MAX, RETENTION_MS_MIN,
    STREAM_CONSUMERS_CREATING_MAX, STREAM_MODE_CHANGES_PER_DAY, STREAM_SHARDS_MAX,
};
use weir_protocol::model::{
    ConsumerName, HashKey, HashKeyRange, ShardId, ShardIndex, StreamId, StreamName, StreamStatus,
    Timestamp,
};
use weir_protocol::wire::error::{ErrorCode, WireError};

use crate::settings::WARM_THROUGHPUT_MIBPS_MAX;

/// Why a batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The bytes are not a batch, or break a limit.
    #[error("{0}")]
    InvalidBatch(#[from] BatchError),
    /// The batch does not fit a segment of this folder.
    #[error("a batch of {bytes} bytes does not fit a segment of {limit} bytes")]
    TooLong {
        /// Bytes of the batch.
        bytes: usize,
        /// Bytes of a segment, which also holds a header and a footer.
        limit: usize,
    },
    /// No stream of this number.
    #[error("stream number {} does not exist", .stream.get())]
    StreamNotFound {
        /// The number in the batch.
        stream: StreamId,
    },
    /// The stream is being created or deleted.
    #[error("stream \"{name}\" is {}, not ACTIVE", .status.aws_name())]
    StreamNotActive {
        /// Its name.
        name: StreamName,
        /// Where it stands.
        status: StreamStatus,
    },
    /// The stream has no shard of this index.
    #[error("shard {shard} does not exist")]
    ShardNotFound {
        /// The shard in the batch.
        shard: ShardId,
    },
    /// A split or merge closed the shard: routing must follow the newer map.
    #[error("shard {shard} is closed, see shard map version {map_version}")]
    ShardClosed {
        /// The shard.
        shard: ShardId,
        /// Version of the map that says so.
        map_version: u32,
    },
    /// Another core appends to this shard.
    #[error("shard {shard} belongs to core {owner}")]
    NotOwner {
        /// The shard.
        shard: ShardId,
        /// The core to connect to.
        owner: u32,
        /// Version of the map that says so.
        map_version: u32,
    },
    /// The shard's quota is used up for now.
    #[error("rate exceeded for {what} of shard {shard}")]
    Throttled {
        /// The shard.
        shard: ShardId,
        /// Which quota.
        what: &'static str,
    },
    /// The shard is being closed and what was taken before is being made durable: wait for
    /// [`crate::Engine::released`] and try again. Never returned by [`crate::Engine::append`].
    #[error("shard {shard} is being closed just now")]
    Resharding {
        /// The shard.
        shard: ShardId,
    },
    /// No buffer space just now: wait for [`crate::Engine::room`] and try again. Never returned by
    /// [`crate::Engine::append`], which waits itself.
    #[error("the log has no buffer space just now")]
    Busy,
    /// The owning core has more waiting than it may hold.
    #[error("the server has no memory left for this request now")]
    Overloaded,
    /// No room on the disk.
    #[error("the disk is full")]
    DiskFull,
    /// The log failed and is being recovered: whether the batch is stored is not known.
    #[error("the log failed and is being recovered")]
    LogFailed,
    /// The log takes no writes until an operator looks at it.
    #[error("the log is read-only after repeated write faults")]
    ReadOnly,
    /// The shard's numbers are used up.
    #[error("the numbers of shard {shard} are used up")]
    Exhausted {
        /// The shard.
        shard: ShardId,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl AppendError {
    /// Its code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidBatch(_) | Self::TooLong { .. } => ErrorCode::InvalidBatch,
            Self::StreamNotFound { .. } => ErrorCode::StreamNotFound,
            Self::StreamNotActive { .. } => ErrorCode::StreamNotActive,
            Self::ShardNotFound { .. } => ErrorCode::ShardNotFound,
            Self::ShardClosed { .. } => ErrorCode::ShardClosed,
            Self::NotOwner { .. } => ErrorCode::NotOwner,
            Self::Throttled { .. } => ErrorCode::Throttled,
            Self::Busy | Self::Resharding { .. } | Self::Overloaded => ErrorCode::Overloaded,
            Self::DiskFull => ErrorCode::DiskFull,
            Self::LogFailed => ErrorCode::LogFailed,
            Self::ReadOnly => ErrorCode::ReadOnly,
            Self::Exhausted { .. } => ErrorCode::Exhausted,
            Self::Stopping => ErrorCode::Stopping,
        }
    }

    /// Whether the same batch may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }

    /// The owner and map version that a client needs to act on it; zeros where they say nothing.
    pub fn owner_and_map_version(&self) -> (u32, u32) {
        match self {
            Self::NotOwner {
                owner, map_version, ..
            } => (*owner, *map_version),
            Self::ShardClosed { map_version, .. } => (0, *map_version),
            _ => (0, 0),
        }
    }
}

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No stream of this number, or it was deleted while the read waited.
    #[error("stream number {} does not exist", .stream.get())]
    StreamNotFound {
        /// The number asked for.
        stream: StreamId,
    },
    /// The stream is still being created.
    #[error("stream \"{name}\" is {}, not ACTIVE", .status.aws_name())]
    StreamNotActive {
        /// Its name.
        name: StreamName,
        /// Where it stands.
        status: StreamStatus,
    },
    /// The stream has no shard of this index.
    #[error("shard {shard} does not exist")]
    ShardNotFound {
        /// The shard asked for.
        shard: ShardId,
    },
    /// Another core reads this shard.
    #[error("shard {shard} belongs to core {owner}")]
    NotOwner {
        /// The shard.
        shard: ShardId,
        /// The core to connect to.
        owner: u32,
        /// Version of the map that says so.
        map_version: u32,
    },
    /// The shard's read quota is used up for now.
    #[error("rate exceeded for {what} of shard {shard}")]
    Throttled {
        /// The shard.
        shard: ShardId,
        /// Which quota.
        what: &'static str,
    },
    /// The owning core has more waiting than it may hold.
    #[error("the server has no memory left for this request now")]
    Overloaded,
    /// The next batch is longer than the asker has room for.
    #[error("the next batch of shard {shard} has {bytes} bytes")]
    LongBatch {
        /// The shard.
        shard: ShardId,
        /// How long it is.
        bytes: usize,
    },
    /// The bytes asked for are damaged on disk.
    #[error("shard {shard} is damaged: {text}")]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// Where, and where reading can go on.
        text: String,
    },
    /// The disk refused to read.
    #[error("shard {shard} could not be read: {text}")]
    Io {
        /// The shard.
        shard: ShardId,
        /// What the disk said.
        text: String,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl ReadError {
    /// Its code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::StreamNotFound { .. } => ErrorCode::StreamNotFound,
            Self::StreamNotActive { .. } => ErrorCode::StreamNotActive,
            Self::ShardNotFound { .. } => ErrorCode::ShardNotFound,
            Self::NotOwner { .. } => ErrorCode::NotOwner,
            Self::Throttled { .. } => ErrorCode::Throttled,
            Self::Overloaded | Self::LongBatch { .. } => ErrorCode::Overloaded,
            Self::Damaged { .. } => ErrorCode::Damaged,
            Self::Io { .. } => ErrorCode::Internal,
            Self::Stopping => ErrorCode::Stopping,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }

    /// The answer on the wire.
    pub fn to_wire(&self) -> WireError {
        let mut wire = WireError::new(self.code(), self.to_string());
        if let Self::NotOwner {
            owner, map_version, ..
        } = self
        {
            wire.owner = *owner;
            wire.map_version = *map_version;
        }
        wire
    }
}

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

/// Why a data folder could not be opened: one sentence each, for a person.
#[derive(Debug, Error)]
pub enum OpenFolderError {
    /// Another process uses it, or the lock could not be taken.
    #[error("{text}")]
    Locked {
        /// The sentence, naming the holder.
        text: String,
    },
    /// A newer build made it.
    #[error(
        "data folder {folder} has format version {found}, this build reads version {known}: use a \
         newer build"
    )]
    NewerFormat {
        /// The folder.
        folder: String,
        /// The version found.
        found: u32,
        /// The version this build knows.
        known: u32,
    },
    /// The FORMAT file makes no sense.
    #[error("{file} is not a folder description: {text}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        text: String,
    },
    /// A value in the options that cannot be.
    #[error("{text}")]
    Options {
        /// The sentence.
        text: String,
    },
    /// The catalog does not open.
    #[error("the catalog of {folder} cannot be read: {text}")]
    Catalog {
        /// The folder.
        folder: String,
        /// What it said.
        text: String,
    },
    /// A log could not be recovered.
    #[error("{log} of {folder} cannot be recovered: {text}")]
    Log {
        /// The folder.
        folder: String,
        /// The log.
        log: String,
        /// What it said.
        text: String,
    },
    /// The folder cannot be read or written.
    #[error("data folder {folder}: {text}")]
    Io {
        /// The folder.
        folder: String,
        /// What the system said.
        text: String,
    },
}
