//! Why nothing was read.

use thiserror::Error;
use weir_protocol::model::{ShardId, StreamId, StreamName, StreamStatus};
use weir_protocol::wire::error::{ErrorCode, WireError};

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
