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

mod engine;
mod error;
mod folder;
mod log_api;
mod stream;

pub use engine::{
    CoreCounters, CreateStream, Engine, ReadHere, ReadOwned, ReadRequest, ShardBatch, StartError,
    Stored, StreamChange,
};
pub use error::{AppendError, ControlError, OpenFolderError, ReadError};
pub use folder::{Control, CoreSeed, FolderOptions, OpenFolder, QuotaSwitch, open_folder};
pub use log_api::{Appended, ReadBatches};
pub use stream::{Closed, Shard, Stream, Streams};
