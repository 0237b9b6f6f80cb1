//! Opens a folder, in the order that keeps every promise.
//!
//! Owns: the steps between a locked folder and running cores. Never: threads, but the one that looks at
//! the catalog; the simulator runs the same steps.
//!
//! The order: a look at all of the catalog, FORMAT, catalog, one more incarnation noted durably, every
//! log recovered, transitions that a stop cut short ended, shards homed. Nothing of a log is written
//! before the incarnation is durable; no core serves before every log of the folder is recovered.

use std::sync::Arc;

use weir_log::{
    FolderIdentity, LogParts, LogSettings, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, epoch_after, recover,
};
use weir_protocol::limits::{KIB, MIB};
use weir_protocol::model::{Epoch, LogId, StreamStatus, Timestamp};
use weir_reactor::{BlockingDisk, Disk, Mailbox, Reactor, mailbox};

use crate::catalog::control::{ControlPlane, ControlRequest, REQUESTS_MAX};
use crate::catalog::look::{CatalogFault, look_at_catalog};
use crate::catalog::model::Model;
use crate::catalog::publish::CoreState;
use crate::catalog::store::{Catalog, CatalogError, Contents, Namespace};
use crate::catalog::unfollowed::Unfollowed;
use crate::catalog::without_effect::WithoutEffect;
use crate::consumer::ConsumerStatus;
use crate::cross_core::CoreAddress;
use crate::error::OpenFolderError;
use crate::folder::{CoreSeed, FolderOptions, catalog_rots};
use crate::format::{self, FORMAT_VERSION, FormatError};
use crate::given_up;
use crate::homing::{Homes, LastStop, Logs};
use crate::retention::{ExpiryAccount, ExpiryClock, NotedExpiry};
use crate::subscription::SubscriptionTimes;

/// Bytes of the disk that new segments leave free: the catalog must be able to note a deletion on
/// a disk that records have filled.
const DISK_RESERVE_BYTES: u64 = 64 * MIB as u64;
/// Segments that may be made for each core beyond that, by starts on a disk that records have
/// filled: each needs one to open its log.
const DISK_RESERVE_SEGMENTS: u64 = 2;

/// A folder that was opened, before anything runs: what [`crate::open_folder`] starts, and what a
/// simulation runs as tasks.
pub struct Opened<D: BlockingDisk> {
    /// One per core, in core order.
    pub cores: Vec<CoreSeed>,
    /// To be run, on a thread of its own or as a task.
    pub control: ControlPlane<D>,
    /// Ends it.
    pub stop: ControlStop,
    /// What recovery found, one line each.
    pub report: Vec<String>,
}

/// Ends a control plane.
#[derive(Clone)]
pub struct ControlStop(Mailbox<ControlRequest>);

impl ControlStop {
    /// Asks the control plane to end after the requests it has; `false` if there is no room for one
    /// more now. To be called after every engine was closed.
    pub fn ask(&self) -> bool {
        self.0.send(ControlRequest::Stop).is_ok()
    }
}

impl std::fmt::Debug for ControlStop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlStop")
    }
}

/// Opens the folder that `reactor` and `disk` both see, which is locked by the caller. Of the
/// options, the path is for the texts of errors only.
pub async fn open_in<R: Reactor, D: BlockingDisk>(
    reactor: &R,
    disk: &D,
    options: &FolderOptions,
) -> Result<Opened<D>, OpenFolderError> {
    if options.cores == 0 {
        return Err(OpenFolderError::Options {
            text: "0 cores, expected at least 1".to_owned(),
        });
    }
    let cores = options.cores as u32;
    let folder = options.path.display().to_string();
    look_at_catalog_first(disk, options)?;
    let logs = found_logs(reactor)
        .await
        .map_err(|error| io_error(&folder, &error))?;
    let identity = identity_of(reactor, disk, options, logs.is_empty())?;
    let (catalog, mut contents) = open_catalog(reactor, disk, options, logs.is_empty())?;
    let failed = |error: CatalogError| catalog_error(&folder, &error);
    let logs = with_known(logs, &catalog).map_err(failed)?;
    let life = catalog.begin_life(cores).map_err(failed)?;

    let mut report = Vec::new();
    let mut recovered = Vec::new();
    for log in logs {
        let mut ledger = catalog.ledger(log).map_err(failed)?;
        ledger.closed = contents.is_clean;
        let found = recover(reactor, identity, log, life.incarnation, &ledger).await;
        let found = found.map_err(|error| OpenFolderError::Log {
            folder: folder.clone(),
            log: log.to_string(),
            text: error.to_string(),
        })?;
        report.push(found.report.to_string());
        recovered.push(found);
    }
    let is_clean = contents.is_clean && recovered.iter().all(|log| log.clean);

    end_transitions(&catalog, &mut contents, cores).map_err(failed)?;
    let seal_key = contents.seal_key;
    let expiry = expiry_of(reactor, &catalog, contents.expiry).map_err(failed)?;
    let noted = NotedExpiry::new(&expiry);
    let model = Model::new(&mut contents, cores);
    let streams = model.snapshot();
    let stop = if is_clean {
        LastStop::Clean
    } else {
        // One epoch for all shards, above what any log names and above the last one that was given
        // out: rot may have taken what one log knew of its own.
        let named = epoch_after(recovered.iter().flat_map(|log| &log.shards));
        let noted = life.epoch.map_or(Some(Epoch::default()), Epoch::next);
        let epoch = named.zip(noted).map(|(named, noted)| named.max(noted));
        if let Some(epoch) = epoch {
            catalog.put_epoch(epoch).map_err(failed)?;
        }
        LastStop::Unclean { epoch }
    };
    let given_up = catalog.given_up().map_err(failed)?;
    report.extend(given_up::line_of(&given_up));
    let homes = Homes::new(&streams, &recovered, stop, &given_up);
    given_up::forget_outlived(&catalog, &given_up, &streams, &recovered, Some(expiry))
        .map_err(failed)?;

    let (mailbox, requests) = mailbox(REQUESTS_MAX);
    let mut addresses = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..cores {
        let (address, asked, published) = CoreAddress::new();
        addresses.push(address);
        ends.push((asked, published));
    }
    let settings = log_settings(options, identity, life.incarnation);
    let logs = Logs::new(recovered, cores, life.has_cores_changed);
    let stepped_over = given_up::stepped_over(&given_up);
    let began = (
        Timestamp::from_millis(reactor.wall_ms()),
        reactor.monotonic(),
    );
    let mut seeds = Vec::new();
    for (core, (requests, publications)) in (0..).zip(ends) {
        let (shards, elsewhere) = homes.of_core(core);
        let (seed, foreign, adopted) = logs.of_core(core);
        seeds.push(CoreSeed {
            core,
            identity,
            settings,
            log: LogParts {
                seed,
                foreign,
                adopted,
                shards,
                elsewhere,
                given_up: stepped_over.clone(),
            },
            streams: Arc::clone(&streams),
            addresses: addresses.clone(),
            requests,
            publications,
            control: mailbox.clone(),
            quota: options.quota,
            state_delay: options.state_delay,
            account: options.account.clone(),
            region: options.region.clone(),
            seal_key,
            expiry,
            began,
            noted: noted.clone(),
            held_bytes_max: options.memory.waiting,
            spare_bytes_max: options.memory.spare,
            subscription_times: SubscriptionTimes::default(),
        });
    }
    let control = ControlPlane {
        catalog,
        model,
        requests,
        noted,
        cores: addresses.into_iter().map(CoreState::Starting).collect(),
        state_delay: options.state_delay,
        quota: options.quota,
        publications: 0,
        reopenings: 0,
        without_effect: WithoutEffect::default(),
        unfollowed: Unfollowed::default(),
    };
    Ok(Opened {
        cores: seeds,
        control,
        stop: ControlStop(mailbox),
        report,
    })
}

/// A catalog is read whole before anything is written by what it says: rot in it stops the start.
pub(crate) fn look_at_catalog_first<D: BlockingDisk>(
    disk: &D,
    options: &FolderOptions,
) -> Result<(), OpenFolderError> {
    let folder = options.path.display().to_string();
    let failed = |error: std::io::Error| io_error(&folder, &error);
    if !Catalog::exists(disk).map_err(failed)? {
        return Ok(());
    }
    let (account, region) = (options.account.clone(), options.region.clone());
    match look_at_catalog(disk, Namespace { account, region }).map_err(failed)? {
        Ok(looked) if looked.in_order => Ok(()),
        Ok(_) => Err(catalog_rots(&folder, "its pages do not verify")),
        Err(fault) if fault.is_rot => Err(catalog_rots(&folder, &fault.text)),
        Err(CatalogFault { text, .. }) => Err(OpenFolderError::Catalog { folder, text }),
    }
}

/// The expiry clock's account, noted before anything is stored. A first life that left none would let the
/// next one begin with whatever the wall clock says then; and a wall clock that is right again is not to
/// wait for a later note, for what is stamped meanwhile.
fn expiry_of<R: Reactor, D: BlockingDisk>(
    reactor: &R,
    catalog: &Catalog<D>,
    noted: Option<ExpiryAccount>,
) -> Result<ExpiryAccount, CatalogError> {
    let wall = Timestamp::from_millis(reactor.wall_ms());
    let (now, boot) = (reactor.monotonic(), reactor.boot());
    let first = || ExpiryClock::first_account(wall, now, boot);
    let mut clock = ExpiryClock::resume(noted.unwrap_or_else(first), now, boot);
    // How long records are kept is not known yet: a clock that jumped stays behind.
    clock.tick(wall, now, u64::MAX);
    let account = clock.account();
    catalog.put_expiry(&account)?;
    Ok(account)
}

fn io_error(folder: &str, error: &std::io::Error) -> OpenFolderError {
    OpenFolderError::Io {
        folder: folder.to_owned(),
        text: error.to_string(),
    }
}

fn catalog_error(folder: &str, error: &CatalogError) -> OpenFolderError {
    OpenFolderError::Catalog {
        folder: folder.to_owned(),
        text: error.to_string(),
    }
}

/// Numbers of the folders called `log-0000` and so on, ascending.
pub(crate) async fn found_logs<R: Reactor>(reactor: &R) -> std::io::Result<Vec<LogId>> {
    let entries = reactor.disk().list("").await?;
    let number = |name: &str| name.strip_prefix("log-")?.parse().ok();
    let folders = entries.iter().filter(|entry| entry.is_folder);
    let mut logs: Vec<LogId> = folders
        .filter_map(|entry| number(&entry.name).map(LogId))
        .collect();
    logs.sort_unstable();
    Ok(logs)
}

/// These logs, and those that only the catalog knows of: a log whose folder is gone is missed by what
/// was recorded of it. None is rightly gone: one of a former core keeps its newest segment.
fn with_known<D: BlockingDisk>(
    mut logs: Vec<LogId>,
    catalog: &Catalog<D>,
) -> Result<Vec<LogId>, CatalogError> {
    logs.extend(catalog.logs()?.into_iter().map(LogId));
    logs.sort_unstable();
    logs.dedup();
    Ok(logs)
}

/// What the FORMAT file says; a folder without logs gets one.
fn identity_of<R: Reactor, D: BlockingDisk>(
    reactor: &R,
    disk: &D,
    options: &FolderOptions,
    is_new: bool,
) -> Result<FolderIdentity, OpenFolderError> {
    let folder = options.path.display().to_string();
    let file = options.path.join(format::FILE).display().to_string();
    let found = format::read(disk).map_err(|error| match error {
        FormatError::Newer { found } => {
            let known = FORMAT_VERSION;
            OpenFolderError::NewerFormat {
                folder: folder.clone(),
                found,
                known,
            }
        }
        FormatError::Nonsense(text) => OpenFolderError::Format {
            file: file.clone(),
            text,
        },
        FormatError::Io(error) => io_error(&folder, &error),
    })?;
    if let Some(identity) = found {
        return Ok(identity);
    }
    if !is_new {
        let text = "it is missing, and the folder holds logs".to_owned();
        return Err(OpenFolderError::Format { file, text });
    }
    let segment_bytes = options.segment_bytes.unwrap_or(SEGMENT_BYTES_DEFAULT);
    if !format::is_segment_size(segment_bytes) {
        let text = format!(
            "a segment cannot have {segment_bytes} bytes: expected whole blocks of 4 KiB, \
             {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes"
        );
        return Err(OpenFolderError::Options { text });
    }
    let identity = FolderIdentity {
        folder: reactor.random(),
        segment_bytes,
    };
    format::write(disk, identity).map_err(|error| io_error(&folder, &error))?;
    Ok(identity)
}

fn open_catalog<R: Reactor, D: BlockingDisk>(
    reactor: &R,
    disk: &D,
    options: &FolderOptions,
    is_new: bool,
) -> Result<(Catalog<D>, Contents), OpenFolderError> {
    let folder = options.path.display().to_string();
    let failed = |error: CatalogError| catalog_error(&folder, &error);
    if !Catalog::exists(disk).map_err(|error| io_error(&folder, &error))? {
        if !is_new {
            let text = "it is missing, and the folder holds logs".to_owned();
            return Err(OpenFolderError::Catalog { folder, text });
        }
        let mut seal_key = [0; 32];
        for part in seal_key.chunks_exact_mut(8) {
            part.copy_from_slice(&reactor.random().to_le_bytes());
        }
        Catalog::create(disk, seal_key).map_err(failed)?;
    }
    let (account, region) = (options.account.clone(), options.region.clone());
    let catalog = Catalog::open(disk, Namespace { account, region }).map_err(failed)?;
    let contents = catalog.read(options.cores as u32).map_err(failed)?;
    Ok((catalog, contents))
}

/// Ends what a stop cut short: what was being created or changed is there, what was being deleted
/// is gone.
fn end_transitions<D: BlockingDisk>(
    catalog: &Catalog<D>,
    contents: &mut Contents,
    cores: u32,
) -> Result<(), CatalogError> {
    let mut changed = false;
    for stream in &contents.named {
        if stream.status == StreamStatus::Deleting {
            catalog.remove_stream(&stream.name)?;
            changed = true;
            continue;
        }
        let mut ended = stream.clone();
        // A pending reshard goes on once the cores run.
        if stream.pending.is_none() {
            ended.status = StreamStatus::Active;
        }
        ended
            .consumers
            .retain(|consumer| consumer.status != ConsumerStatus::Deleting);
        for consumer in &mut ended.consumers {
            consumer.status = ConsumerStatus::Active;
        }
        if ended != *stream {
            catalog.put_stream(&ended, contents.next_stream)?;
            changed = true;
        }
    }
    if changed {
        *contents = catalog.read(cores)?;
    }
    Ok(())
}

fn log_settings(
    options: &FolderOptions,
    identity: FolderIdentity,
    incarnation: u64,
) -> LogSettings {
    let segment_bytes = identity.segment_bytes;
    let block = u64::from(weir_protocol::limits::BLOCK_BYTES);
    // Small segments, which tests have, get small frames: a segment holds several.
    let frame_bytes = (512 * u64::from(KIB))
        .min(segment_bytes / 8)
        .next_multiple_of(block);
    let reserve = options
        .reserve_bytes
        .div_ceil(segment_bytes)
        .div_ceil(options.cores as u64);
    LogSettings {
        incarnation,
        tail_bytes: options.memory.tail.max(8 * frame_bytes as usize),
        frame_bytes: frame_bytes as usize,
        in_flight: 4,
        free_segments_min: 2,
        free_segments_max: 4,
        reserve_segments: reserve as usize,
        disk_reserve_bytes: DISK_RESERVE_BYTES
            + DISK_RESERVE_SEGMENTS * segment_bytes * options.cores as u64,
        footer_cache_bytes: options.memory.footers,
    }
}
