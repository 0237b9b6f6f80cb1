//! Streams: what exists, who may write and read what, and which core does it.
//!
//! Owns: the catalog and its control thread, stream and shard records, routing, admission and
//! quotas, read positions, retention, the hop between cores, opening a data folder.
//! Never: bytes of HTTP or of the wire format; files other than the folder's `FORMAT` and the
//! catalog's.
//!
//! Start reading at [`Engine`]: one per core, the door for sessions. [`open_folder`] makes what
//! the engines start from.
#![warn(missing_docs)]

mod append;
mod boot;
mod catalog;
mod check;
mod consumer;
mod control_plane;
mod cross_core;
mod engine;
mod error;
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod given_up;
mod homing;
mod iterator;
mod ledger;
mod quota;
mod read;
mod repair;
mod request;
mod reshard;
mod retention;
mod settings;
mod shard;
mod stream;
mod subscription;

pub use boot::{ControlStop, Opened, open_in};
pub use catalog::control::ControlPlane;
pub use catalog::look::CATALOG_THREAD;
pub use catalog::model::FOLDER_SHARDS_MAX;
pub use check::{
    CheckedDamage, CheckedFolder, CheckedGivenUp, CheckedShard, GivenUpAs, check_folder,
};
pub use consumer::{Consumer, ConsumerStatus};
pub use engine::Engine;
pub use error::{AppendError, ControlError, OpenFolderError, ReadError};
pub use folder::{
    Control, CoreSeed, EngineMemory, FolderOptions, OpenFolder, QuotaSwitch, catalog_rots,
    open_folder,
};
pub use repair::{RepairPlan, RepairTarget, plan_repair};
pub use request::{
    Change, Changed, ConsumerKey, ConsumersOnDelete, CoreCounters, CreateStream, ReadAnswer,
    ReadHere, ReadOwned, ReadRequest, ShardBatch, StartError, Stored, StreamChange,
};
pub use reshard::{Reshard, ReshardRules};
pub use settings::{
    AccountSettings, Commitment, RecordDistribution, ShardMetrics, StreamSettings, Tags,
};
pub use stream::{Closed, Shard, Stream, Streams};
pub use subscription::{
    Next, SubscribeError, Subscriber, Subscription, SubscriptionEnd, SubscriptionTimes,
};
pub use weir_log::{Appended, DamageKind, LogCheck, LogCounters, LogState, ReadBatches};

#[cfg(test)]
mod simulated;
