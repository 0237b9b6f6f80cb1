//! A log on a real core and a real folder, to which a thread hands work.

use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tempfile::TempDir;
use weir_log::{
    FolderIdentity, Ledger, LedgerChange, LedgerFailed, Log, LogParts, LogSeed, LogSettings,
    Retention, ShardTip,
};
use weir_protocol::model::{LogId, Timestamp};
use weir_reactor::{
    CorePlan, CoreReactor, Inbox, Mailbox, Running, choose_cpus, mailbox, oneshot, start_cores,
};

use crate::batches::shard;

type Job = Box<dyn FnOnce(BenchLog) -> LocalBoxFuture<'static, ()> + Send>;

/// The log and the core it runs on.
#[derive(Clone)]
pub struct BenchLog {
    /// The core, for its clock.
    pub reactor: CoreReactor,
    /// The log; [`shard`] is homed in it.
    pub log: Log<CoreReactor>,
}

/// How the log is made.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Segments written ahead.
    pub reserve_segments: usize,
    /// Bytes of recent frames kept in memory.
    pub tail_bytes: usize,
    /// Bytes of batches kept, so that a long run fits a bounded folder.
    pub retain_bytes: u64,
}

/// A log that takes work until it is dropped; then its folder goes.
pub struct LogOnACore {
    jobs: Option<Mailbox<Job>>,
    running: Option<Running<()>>,
    _folder: TempDir,
}

/// Longest that one piece of work may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Nobody restarts these logs: what is recorded may be forgotten.
struct NoLedger;

impl Ledger for NoLedger {
    fn record(&self, _change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>> {
        async { Ok(()) }.boxed_local()
    }
}

impl LogOnACore {
    /// Opens the log in a fresh folder under `target/`, which lies on a disk, as temporary folders
    /// may not.
    pub fn start(options: LogOptions) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
            PathBuf::from,
        );
        let folder = tempfile::Builder::new()
            .prefix("bench-log-")
            .tempdir_in(target);
        let folder = folder.expect("the target folder takes a folder");
        let plan = CorePlan {
            cpus: choose_cpus(1).expect("there is a CPU"),
            folder: folder.path().to_owned(),
        };
        let (jobs, inbox) = mailbox::<Job>(1);
        let inbox = Arc::new(Mutex::new(Some(inbox)));
        let running = start_cores(&plan, move |reactor| {
            let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
            let inbox = inbox.expect("there is one core");
            serve(reactor, options, inbox)
        });
        Self {
            jobs: Some(jobs),
            running: Some(running.expect("io_uring is there")),
            _folder: folder,
        }
    }

    /// Runs `work` on the core and waits for what it gives.
    pub fn run<T, F>(&self, work: impl FnOnce(BenchLog) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (reply, waiting) = oneshot();
        let job: Job = Box::new(|log| {
            let work = work(log);
            async move { reply.send(work.await) }.boxed_local()
        });
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job).is_ok());
        assert_eq!(sent, Some(true), "the core takes one job at a time");
        let answer = waiting.wait(PATIENCE).expect("work ends in time");
        answer.expect("the core lives")
    }
}

impl Drop for LogOnACore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(running) = self.running.take() {
            running.join();
        }
    }
}

async fn serve(reactor: CoreReactor, options: LogOptions, mut jobs: Inbox<Job>) {
    let identity = FolderIdentity {
        folder: 1,
        segment_bytes: options.segment_bytes,
    };
    let settings = LogSettings {
        tail_bytes: options.tail_bytes,
        reserve_segments: options.reserve_segments,
        free_segments_max: options.reserve_segments + 2,
        ..LogSettings::default()
    };
    let retention = Retention {
        millis: u64::MAX,
        none_before: Timestamp::ZERO,
        bytes: Some(options.retain_bytes),
    };
    let parts = LogParts {
        seed: LogSeed::new(LogId(0)),
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards: vec![(ShardTip::empty(shard()), retention)],
        elsewhere: Vec::new(),
        given_up: Vec::new(),
    };
    let ledger = Rc::new(NoLedger);
    let log = Log::open(reactor.clone(), identity, settings, parts, ledger).await;
    let log = log.expect("the log opens");
    let bench = BenchLog { reactor, log };
    while let Some(job) = jobs.receive().await {
        job(bench.clone()).await;
    }
    bench.log.close().await;
}
