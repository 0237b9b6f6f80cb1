//! Opening a data folder.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::OpenFolderError;

/// What a server is told about its data folder.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// The folder; made if it is not there.
    pub path: PathBuf,
    /// How many cores will serve it, at least 1.
    pub cores: usize,
    /// Segment size in bytes for a new folder; an existing folder keeps its own. Default 128 MiB.
    pub segment_bytes: Option<u64>,
    /// Ceiling of the memory that the engine takes for data, in bytes, over all cores.
    pub memory_bytes: u64,
    /// Bytes of segments written ahead before serving, over all cores.
    pub reserve_bytes: u64,
    /// Which streams are metered.
    pub quota: QuotaSwitch,
    /// How long a stream stays CREATING and DELETING; zero for not at all.
    pub state_delay: Duration,
    /// The account that streams are stored under.
    pub account: String,
    /// The region that streams are stored under.
    pub region: String,
}

/// Which streams are metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaSwitch {
    /// Provisioned streams.
    #[default]
    Mode,
    /// All streams.
    Aws,
    /// None.
    Off,
}

/// An opened folder, ready for its cores.
#[derive(Debug)]
pub struct OpenFolder {
    /// One per core, in core order; each goes to its core's thread.
    pub cores: Vec<CoreSeed>,
    /// The control thread.
    pub control: Control,
    /// What recovery found, one line each.
    pub report: Vec<String>,
}

/// All that one core's engine starts from.
#[derive(Debug)]
pub struct CoreSeed {}

/// The control thread's handle.
#[derive(Debug)]
pub struct Control {}

impl Control {
    /// Ends the control thread after the requests it has, and waits for it. To be called after
    /// every engine was closed. The folder's lock ends with it.
    pub fn stop(self) {
        unimplemented!()
    }
}

/// Locks the folder, reads its FORMAT file and catalog and recovers all logs. Blocks; for the boot
/// thread, before cores start.
pub fn open_folder(_options: &FolderOptions) -> Result<OpenFolder, OpenFolderError> {
    unimplemented!()
}
