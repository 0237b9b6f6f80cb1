//! What can go wrong, one small enum per operation.

use thiserror::Error;
use weir_protocol::model::{LogId, Offset, ShardId};

/// Why a batch was not taken in. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// No buffer space now: wait for room and try again.
    #[error("no buffer space now")]
    Busy,
    /// The shard is not homed in this log.
    #[error("shard {shard} is not homed in this log")]
    ShardNotFound {
        /// The shard asked for.
        shard: ShardId,
    },
    /// The disk has no room for another segment.
    #[error("the disk is full")]
    DiskFull,
    /// The log failed and is being reopened.
    #[error("the log failed and is being reopened")]
    Failed,
    /// The log failed too often and takes no writes until a restart.
    #[error("the log is read-only after repeated write faults")]
    ReadOnly,
    /// The shard's numbers are used up.
    #[error("shard {shard} has used up its numbers")]
    Exhausted {
        /// The shard asked for.
        shard: ShardId,
    },
    /// The batch does not fit a segment of this folder.
    #[error("a batch of {bytes} bytes does not fit a segment of {limit} bytes")]
    TooLong {
        /// Bytes of the batch.
        bytes: usize,
        /// Bytes of a segment, which also holds a header and a footer.
        limit: usize,
    },
    /// The log is closing.
    #[error("the log is closing")]
    Stopping,
}

impl AppendError {
    /// Whether the same batch may be taken later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::DiskFull | Self::Failed | Self::Stopping
        )
    }
}

/// The log failed before the append was durable: it may or may not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log failed before the append was durable")]
pub struct LogFailed;

/// Why records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The shard is not homed in this log.
    #[error("shard {shard} is not homed in this log")]
    ShardNotFound {
        /// The shard asked for.
        shard: ShardId,
    },
    /// Records that were acknowledged are damaged on disk.
    #[error("shard {shard} is damaged from offset {from}: {what}")]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// The first offset that cannot be read.
        from: Offset,
        /// What was found where.
        what: String,
    },
    /// The disk refused the read.
    #[error("reading shard {shard} failed: {what}")]
    Io {
        /// The shard.
        shard: ShardId,
        /// What the system said.
        what: String,
    },
}

/// Why a log cannot be recovered. Nothing was changed on disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecoveryError {
    /// A read failed. That is not a torn write: the operator must look at the disk.
    #[error("{log}: reading {file} at byte {at} failed: {what}")]
    Read {
        /// The log.
        log: LogId,
        /// The file.
        file: String,
        /// Where.
        at: u64,
        /// What the system said.
        what: String,
    },
    /// A write or flush of recovery itself failed.
    #[error("{log}: writing {file} during recovery failed: {what}")]
    Write {
        /// The log.
        log: LogId,
        /// The file.
        file: String,
        /// What the system said.
        what: String,
    },
    /// A segment that counts is in no slot: a file is gone, or all of it is.
    #[error(
        "{log}: segment {generation} counts, and no file of the log's folder holds it: put its file \
         back, for its records would be passed over"
    )]
    Missing {
        /// The log.
        log: LogId,
        /// The segment's generation.
        generation: u64,
    },
    /// A segment that belongs to another folder or geometry.
    #[error("{log}: {file} does not belong to this data folder: {what}")]
    Foreign {
        /// The log.
        log: LogId,
        /// The file.
        file: String,
        /// What was found.
        what: String,
    },
}

/// Why a recovered log cannot be opened for writing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// No first segment could be made.
    #[error("{log}: making a segment failed: {what}")]
    Segment {
        /// The log.
        log: LogId,
        /// What the system said.
        what: String,
    },
    /// The disk has no room for the first segment.
    #[error("{log}: the disk has no room for a segment of {bytes} bytes")]
    DiskFull {
        /// The log.
        log: LogId,
        /// Bytes of a segment.
        bytes: u64,
    },
    /// The catalog did not take what recovery found.
    #[error("{log}: {what}")]
    Ledger {
        /// The log.
        log: LogId,
        /// What the catalog said.
        what: String,
    },
}

/// The catalog did not take a change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the catalog refused a change of segments: {what}")]
pub struct LedgerFailed {
    /// What it said.
    pub what: String,
}
