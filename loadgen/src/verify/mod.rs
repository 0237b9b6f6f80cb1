//! Proves that what was promised is kept: nothing lost, doubled, reordered or damaged, and
//! nothing there that was never sent.
//!
//! [`family`] says which shards to read in which order, [`reader`] fetches their records, [`check`]
//! judges them.

pub(crate) mod check;
pub(crate) mod family;
pub(crate) mod reader;

use std::fmt;

use thiserror::Error;
use weir_protocol::model::{HashKey, HashKeyRange, Offset, ShardIndex};

use weir_protocol::wire::response::ShardDescription;

use crate::client::ClientError;
use crate::payload::KEY_BYTES;
use crate::witness::Ledger;

/// A key that is written under, and the shard that takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) shard: ShardIndex,
    /// The core that owns it.
    pub(crate) core: u32,
    /// Its part of the hash space.
    pub(crate) range: HashKeyRange,
    /// A partition key whose hash the shard owns.
    pub(crate) key: [u8; KEY_BYTES],
    /// The slot of a shard that this one's keys came from; whoever writes there writes here. Its own
    /// number for one of the start.
    pub(crate) beside: usize,
}

impl Target {
    /// The hash of its key.
    pub(crate) fn hash(&self) -> HashKey {
        let key = std::str::from_utf8(&self.key).expect("keys are made of digits");
        HashKey::of_partition_key(key)
    }
}

/// All that is known of a run when its load has ended.
pub(crate) struct Evidence<'a> {
    pub(crate) run: u64,
    pub(crate) batch_records: u64,
    /// By slot, as the run ended.
    pub(crate) targets: &'a [Target],
    /// All shards of the stream after the run, in index order.
    pub(crate) shards: &'a [ShardDescription],
    /// By writer.
    pub(crate) ledgers: &'a [Ledger],
    /// Nobody else writes to the stream.
    pub(crate) alone: bool,
}

/// What was found. Record counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Acknowledged records found at exactly their offset.
    pub(crate) found: u64,
    /// Acknowledged records behind the trim horizon of a stream that trims.
    pub(crate) trimmed: u64,
    /// Records found whose append had no clear answer.
    pub(crate) unanswered: u64,
    /// Records of others, in a stream that is not this run's own.
    pub(crate) foreign: u64,
    /// Records found beyond what the ledger could note.
    pub(crate) beyond: u64,
}

/// The first record that is not as promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) shard: ShardIndex,
    pub(crate) offset: Offset,
    /// Writer and sequence, where they are known.
    pub(crate) record: Option<(u32, u64)>,
    pub(crate) what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset {}", self.shard, self.offset)?;
        if let Some((writer, sequence)) = self.record {
            write!(f, " (writer {writer}, sequence {sequence})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Reading back ended early.
#[derive(Debug, Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Wrong(Box<Wrong>),
}

impl From<Wrong> for VerifyError {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(Box::new(wrong))
    }
}
