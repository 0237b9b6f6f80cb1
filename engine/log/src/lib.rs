//! One log's durable bytes, shared by the shards of a core.
//!
//! All shards of a core append to one log: a group commit is one write, and one device flush, for
//! all of them. Reading order of the modules: [`append`] takes a batch in, [`commit`] makes it
//! durable, [`read`] gives it back, [`recovery`] finds it again after a crash, [`expire`] and
//! [`settle`] forget it.
//!
//! Owns: segments, frames, extents, the durable mark, the tail in memory. Never: sockets, stream
//! names, quotas; the machine is reached through [`weir_reactor::Reactor`] only.
#![warn(missing_docs)]

mod append;
mod close;
mod commit;
mod counters;
mod discipline;
mod error;
mod expire;
mod extent;
mod fault;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod given_up;
mod ledger;
mod log;
mod open;
mod pool;
mod read;
mod recovery;
mod seal;
mod sealed;
mod segment;
mod settings;
mod settle;
mod shard;
mod tail;
mod waiters;

pub use append::Appended;
pub use counters::LogCounters;
pub use discipline::{Discipline, Sound};
pub use error::{AppendError, LedgerFailed, LogFailed, OpenError, ReadError, RecoveryError};
pub use given_up::GivenUp;
pub use ledger::{Ledger, LedgerChange, LedgerState};
pub use log::{Log, LogState};
pub use open::{LogParts, LogSeed};
pub use read::ReadBatches;
pub use recovery::{
    Damage, DamageKind, LogCheck, Lost, RecoveredLog, RecoveryReport, Span, TornTail, check_log,
    epoch_after, recover, recover_with,
};
pub use sealed::SealedSegment;
pub use segment::{layout_of_footer, layout_of_header, layout_of_start_table, layout_of_trailer};
pub use settings::{
    FolderIdentity, LogSettings, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
pub use shard::{Hole, Retention, ShardTip, Tip};
pub use waiters::Event;
