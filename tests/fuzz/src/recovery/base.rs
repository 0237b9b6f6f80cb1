//! A small log that the engine itself wrote, on a simulated machine, and what it must give back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use weir_log::{
    AppendError, FolderIdentity, Ledger, LedgerChange, LedgerFailed, LedgerState, Log, LogParts,
    LogSeed, LogSettings, RecoveredLog, Retention, ShardTip, epoch_after,
};
use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{
    Count, LogId, Offset, Position, ShardId, ShardIndex, StreamId, Timestamp,
};
use weir_reactor::Reactor;
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor};

/// Least that a segment may have: recovery reads all of it.
pub(super) const SEGMENT_BYTES: u64 = 64 * 1024;
pub(super) const IDENTITY: FolderIdentity = FolderIdentity {
    folder: 0x8f14_e45f_ceea_167a,
    segment_bytes: SEGMENT_BYTES,
};
pub(super) const SHARDS: u32 = 3;

/// A file of the log: its path and its bytes.
pub type Slot = (String, Vec<u8>);

/// A record that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) key: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// Log position where its frame ends.
    pub(super) end: Position,
    /// It is younger than its retention.
    pub(super) is_young: bool,
}

/// The bytes of a log when its server ended.
#[derive(Debug, Clone)]
pub struct Base {
    /// Every slot.
    pub slots: Vec<Slot>,
    /// The same slots in an earlier life: what a lost write leaves.
    pub older: Vec<Slot>,
    /// What the catalog says of the log.
    pub(super) ledger: LedgerState,
    pub(super) kept: BTreeMap<(ShardId, Offset), Kept>,
}

/// The catalog: what it is told is durable at once.
pub(super) struct Catalog(pub(super) Rc<RefCell<LedgerState>>);

impl Ledger for Catalog {
    fn record(&self, change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>> {
        self.0.borrow_mut().apply(&change);
        Box::pin(std::future::ready(Ok(())))
    }
}

pub(super) fn shards() -> impl Iterator<Item = ShardId> {
    (0..SHARDS).map(|index| ShardId::new(StreamId::new(7), ShardIndex(index)))
}

/// Opens a log with these shards, whose records are kept for `retention`.
pub(super) async fn open(
    reactor: SimReactor,
    seed: LogSeed,
    tips: &[ShardTip],
    ledger: Rc<RefCell<LedgerState>>,
    incarnation: u64,
    retention: Retention,
) -> Result<Log<SimReactor>, weir_log::OpenError> {
    let tip = |shard| {
        let known = tips.iter().find(|tip| tip.shard == shard).cloned();
        known.unwrap_or_else(|| ShardTip::empty(shard))
    };
    let parts = LogParts {
        seed,
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards: shards().map(|shard| (tip(shard), retention)).collect(),
        elsewhere: Vec::new(),
        given_up: Vec::new(),
    };
    let settings = LogSettings {
        incarnation,
        free_segments_min: 1,
        free_segments_max: 3,
        ..LogSettings::default()
    };
    Log::open(reactor, IDENTITY, settings, parts, Rc::new(Catalog(ledger))).await
}

/// Writes a log through two rounds of its slots; `close` ends it in good order.
pub(super) fn write(close: bool) -> Base {
    let sim = Sim::new(11, SimOptions::default());
    let ledger = Rc::new(RefCell::new(LedgerState::default()));
    let kept = Rc::new(RefCell::new(BTreeMap::new()));
    let retention = Retention {
        millis: 5_000,
        ..Retention::FOREVER
    };
    let (reactor, state, all) = (sim.reactor(), Rc::clone(&ledger), Rc::clone(&kept));
    let first = sim.run(RunLimit::done(), async move {
        let seed = LogSeed::new(LogId(0));
        let log = open(reactor.clone(), seed, &[], state, 1, retention).await;
        let log = log.expect("a new log opens");
        append(&log, 0..40, &all).await;
        log
    });
    let log = first.expect("it ran");
    let older = slots(&sim);
    for old in kept.borrow_mut().values_mut() {
        let old: &mut Kept = old;
        old.is_young = false;
    }
    let (reactor, all) = (sim.reactor(), Rc::clone(&kept));
    sim.run(RunLimit::done(), async move {
        reactor.sleep(Duration::from_secs(20)).await;
        log.expire(Timestamp::from_millis(reactor.wall_ms()));
        reactor.sleep(Duration::from_secs(3)).await;
        append(&log, 40..70, &all).await;
        // The idle mark says that all of it is durable.
        reactor.sleep(Duration::from_secs(3)).await;
        if close {
            log.close().await;
        }
    });
    let (ledger, kept) = (ledger.borrow().clone(), kept.borrow().clone());
    Base {
        slots: slots(&sim),
        older,
        ledger,
        kept,
    }
}

fn slots(sim: &Sim) -> Vec<Slot> {
    let disk = sim.disk();
    let read = |path: String| {
        let bytes = disk.visible_bytes(&path).expect("it is listed");
        (path, bytes)
    };
    disk.paths().into_iter().map(read).collect()
}

/// Appends batches and waits for each, so that each has a frame of its own; every third goes with
/// its neighbour.
async fn append(
    log: &Log<SimReactor>,
    numbers: std::ops::Range<u32>,
    kept: &Rc<RefCell<BTreeMap<(ShardId, Offset), Kept>>>,
) {
    let all: Vec<ShardId> = shards().collect();
    for number in numbers {
        let shard = all[(number % SHARDS) as usize];
        let mut bytes = Vec::new();
        let mut builder = BatchBuilder::new(&mut bytes, shard, 1, ProducerMark::default());
        for record in 0..=(number % 3) {
            let data = vec![(number * 3 + record) as u8; 40 + (number as usize * 97) % 5_000];
            let pushed = builder.push(&format!("k{number}"), &data);
            pushed.expect("a small batch has room");
        }
        builder.finish();
        let view = BatchView::decode(&bytes).expect("it was just built");
        let appended = loop {
            match log.append(&view) {
                Ok(appended) => break appended,
                Err(AppendError::Busy) => log.room().await,
                Err(error) => panic!("the log does not take it: {error}"),
            }
        };
        for (i, record) in view.records().enumerate() {
            let entry = Kept {
                key: record.key.to_vec(),
                data: record.data.to_vec(),
                end: appended.end,
                is_young: true,
            };
            let offset = appended.first_offset + Count(i as u32);
            kept.borrow_mut().insert((shard, offset), entry);
        }
        if number % 3 != 0 {
            let durable = log.wait_durable(appended.end).await;
            durable.expect("the simulated disk is sound");
        }
    }
}

/// A recovered log is opened as a server opens it.
pub(super) async fn reopen(
    reactor: SimReactor,
    recovered: RecoveredLog,
    ledger: LedgerState,
    incarnation: u64,
) -> Result<Log<SimReactor>, weir_log::OpenError> {
    let mut tips = recovered.shards;
    let fresh = epoch_after(&tips).filter(|_| !recovered.clean);
    for tip in &mut tips {
        if let Some(epoch) = fresh {
            tip.next = tip.next.raised_to(epoch);
        }
    }
    let ledger = Rc::new(RefCell::new(ledger));
    open(
        reactor,
        recovered.seed,
        &tips,
        ledger,
        incarnation,
        Retention::FOREVER,
    )
    .await
}
