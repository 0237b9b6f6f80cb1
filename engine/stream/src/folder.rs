//! A data folder as a server opens it: options in, one seed per core and a control thread out.
//!
//! Owns: the folder's lock, the control thread. Never: the order of opening, which is
//! [`crate::boot`].

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use weir_log::{FolderIdentity, LogParts, LogSettings};
use weir_protocol::limits::MIB;
use weir_protocol::model::Timestamp;
use weir_reactor::{
    CorePlan, FolderLock, Inbox, Mailbox, Monotonic, PlainDisk, choose_cpus, start_cores,
    start_thread,
};

use crate::boot::{ControlStop, Opened, open_in};
use crate::catalog::control::ControlRequest;
use crate::cross_core::{CoreAddress, CoreRequest, Publication};
use crate::error::OpenFolderError;
use crate::retention::{ExpiryAccount, NotedExpiry};
use crate::stream::Streams;
use crate::subscription::SubscriptionTimes;

/// What a server is told about its data folder.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// The folder; made if it is not there.
    pub path: PathBuf,
    /// How many cores will serve it, at least 1.
    pub cores: usize,
    /// Segment size in bytes for a new folder; an existing folder keeps its own. Default 128 MiB.
    pub segment_bytes: Option<u64>,
    /// What each core's engine may hold.
    pub memory: EngineMemory,
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

/// Bytes that the engine of one core may hold, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineMemory {
    /// Recent frames, for readers at the end. A few frames are kept in any case.
    pub tail: usize,
    /// Requests that wait to be durable, and those that hop between cores.
    pub waiting: usize,
    /// Buffers kept for the next request.
    pub spare: usize,
    /// Footers of sealed segments.
    pub footers: usize,
}

impl Default for EngineMemory {
    /// Room for the longest requests, and little more.
    fn default() -> Self {
        Self {
            tail: 16 * MIB as usize,
            waiting: 32 * MIB as usize,
            spare: 4 * MIB as usize,
            footers: 2 * MIB as usize,
        }
    }
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
pub struct CoreSeed {
    pub(crate) core: u32,
    pub(crate) identity: FolderIdentity,
    pub(crate) settings: LogSettings,
    pub(crate) log: LogParts,
    pub(crate) streams: Arc<Streams>,
    pub(crate) addresses: Vec<CoreAddress>,
    pub(crate) requests: Inbox<CoreRequest>,
    pub(crate) publications: Inbox<Publication>,
    pub(crate) control: Mailbox<ControlRequest>,
    pub(crate) quota: QuotaSwitch,
    pub(crate) state_delay: Duration,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) seal_key: [u8; 32],
    pub(crate) expiry: ExpiryAccount,
    pub(crate) noted: NotedExpiry,
    /// What both clocks showed once, the same for all cores.
    pub(crate) began: (Timestamp, Monotonic),
    pub(crate) held_bytes_max: usize,
    pub(crate) spare_bytes_max: usize,
    pub(crate) subscription_times: SubscriptionTimes,
}

impl CoreSeed {
    /// Has subscriptions live, beat and be taken over by other times than AWS's.
    #[must_use]
    pub fn with_subscription_times(mut self, times: SubscriptionTimes) -> Self {
        self.subscription_times = times;
        self
    }
}

impl fmt::Debug for CoreSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreSeed")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// The control thread's handle; holds the folder's lock.
#[derive(Debug)]
pub struct Control {
    stop: ControlStop,
    thread: JoinHandle<()>,
    _lock: FolderLock,
}

impl Control {
    /// Ends the control thread after the requests it has, and waits for it. To be called after
    /// every engine was closed. The folder's lock ends with it.
    pub fn stop(self) {
        // The thread empties its mailbox, so room comes.
        while !self.stop.ask() && !self.thread.is_finished() {
            weir_reactor::pause(Duration::from_millis(1));
        }
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

/// Locks the folder, reads its FORMAT file and catalog and recovers all logs. Blocks; for the boot
/// thread, before cores start.
pub fn open_folder(options: &FolderOptions) -> Result<OpenFolder, OpenFolderError> {
    let folder = options.path.display().to_string();
    let failed = |text: String| OpenFolderError::Io {
        folder: folder.clone(),
        text,
    };
    std::fs::create_dir_all(&options.path).map_err(|error| failed(error.to_string()))?;
    let lock = FolderLock::take(&options.path).map_err(|error| OpenFolderError::Locked {
        text: error.to_string(),
    })?;

    let Opened {
        cores,
        control,
        stop,
        report,
    } = recover_on_a_core(options)?;
    let thread = start_thread("control", None, move || block_on(control.run()))
        .map_err(|error| failed(format!("the control thread could not be started: {error}")))?;
    let control = Control {
        stop,
        thread,
        _lock: lock,
    };
    Ok(OpenFolder {
        cores,
        control,
        report,
    })
}

/// The sentence about a catalog that cannot be trusted.
pub fn catalog_rots(folder: &str, what: &str) -> OpenFolderError {
    OpenFolderError::Catalog {
        folder: folder.to_owned(),
        text: format!(
            "{what}: nothing was changed; put the whole folder back from a backup, or look with \
             \"weir check\""
        ),
    }
}

/// Recovery reads the disk as a core does, so it runs on one, before the real ones start.
fn recover_on_a_core(options: &FolderOptions) -> Result<Opened<PlainDisk>, OpenFolderError> {
    let folder = options.path.display().to_string();
    let failed = |text: String| OpenFolderError::Io {
        folder: folder.clone(),
        text,
    };
    let cpus = choose_cpus(1).map_err(|error| failed(error.to_string()))?;
    let plan = CorePlan {
        cpus,
        folder: options.path.clone(),
    };
    let options = options.clone();
    let running = start_cores(&plan, move |reactor| {
        let options = options.clone();
        async move { open_in(&reactor, &PlainDisk::new(&options.path), &options).await }
    })
    .map_err(|error| failed(error.to_string()))?;
    let opened = running.join().pop().flatten();
    opened.unwrap_or_else(|| Err(failed("recovery panicked".to_owned())))
}

/// Runs a future on this thread, asleep while it waits.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
