//! Why a batch was not stored.

use thiserror::Error;
use weir_protocol::batch::BatchError;
use weir_protocol::model::{ShardId, StreamId, StreamName, StreamStatus};
use weir_protocol::wire::error::ErrorCode;

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
