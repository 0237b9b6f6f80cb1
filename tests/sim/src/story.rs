//! One seed's story.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_log::{
    AppendError, Discipline, FolderIdentity, LedgerState, Log, LogParts, LogSettings, LogState,
    ReadError, Retention, ShardTip, recover_with,
};
use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::Lane;
use weir_reactor::Reactor;
use weir_reactor::sim::{Crash, Dice, Faults, RunLimit, Sim, SimOptions, SimReactor};

use crate::judge::{Judge, Promise, RecordId, data_of, key_of};
use crate::ledger::{Durable, SimLedger};

/// What a story came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives of the server.
    pub lives: u32,
    /// Crashes among their ends.
    pub crashes: u32,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read and compared.
    pub compared: u64,
    /// Bits rotted and sectors zeroed.
    pub rotted: u32,
    /// Hash of every event: equal for equal seeds.
    pub trace: u64,
}

/// What every life shares.
struct World {
    judge: RefCell<Judge>,
    durable: Durable,
    identity: FolderIdentity,
    shards: Vec<(ShardId, Retention)>,
    next_id: Cell<RecordId>,
    on_purpose: Cell<bool>,
    /// Expiry was called with this at most.
    expiry: Cell<Timestamp>,
    closed_cleanly: Cell<bool>,
}

/// What one life is to do.
#[derive(Debug, Clone)]
struct Plan {
    incarnation: u64,
    settings: LogSettings,
    writers: u32,
    batches: u32,
    idle_at_end: bool,
    close: bool,
    faults: Faults,
    faults_in_recovery: bool,
}

/// How a life ended by itself.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// Recovery or opening failed with a typed error.
    Refused(String),
}

/// Tells the story of `seed` under a discipline; an error is what went wrong.
pub fn run<D: Discipline>(seed: u64) -> Result<Tally, String> {
    let mut dice = Dice::new(seed);
    let segment_bytes = 4096 * dice.between(20, 60);
    let capacity_bytes = if dice.below(6) == 0 {
        segment_bytes * 7
    } else {
        1 << 30
    };
    let sim = Sim::new(
        seed,
        SimOptions {
            capacity_bytes,
            faults: Faults::default(),
        },
    );
    let world = Rc::new(new_world(&mut dice, segment_bytes));
    let mut tally = Tally::default();
    let lives = dice.between(2, 6) as u32;
    for life in 0..=lives {
        let last = life == lives;
        let plan = new_plan(&mut dice, life, last);
        let limit = if last || dice.below(4) == 0 {
            RunLimit::done()
        } else if dice.below(5) == 0 {
            RunLimit::Steps(dice.between(1, 200))
        } else {
            RunLimit::Steps(dice.between(200, 4_000))
        };
        let idle = plan.idle_at_end;
        let faultless = plan.faults.write_errors == 0
            && plan.faults.read_errors == 0
            && plan.faults.create_errors == 0;
        world.closed_cleanly.set(false);
        tally.lives += 1;
        let ending = sim.run(limit, live::<D>(sim.reactor(), Rc::clone(&world), plan));
        *sim.faults() = Faults::default();
        if let Some(what) = world.judge.borrow().failure() {
            return Err(format!("seed {seed}, life {life}: {what}"));
        }
        match &ending {
            Some(Ending::Refused(what))
                if faultless && !world.on_purpose.get() && capacity_bytes == 1 << 30 =>
            {
                return Err(format!(
                    "seed {seed}, life {life}: refused without a fault: {what}"
                ));
            }
            Some(Ending::Refused(_)) if world.on_purpose.get() => break,
            _ => {}
        }
        tally.crashes += 1;
        sim.crash(if dice.coin() {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        let covered = world.closed_cleanly.get()
            || (idle && faultless && capacity_bytes == 1 << 30 && ending == Some(Ending::Done));
        if covered && dice.below(4) == 0 {
            rot(&sim, &mut dice);
            tally.rotted += 1;
            world.on_purpose.set(true);
        }
        if dice.below(8) == 0 {
            sim.jump_wall_clock(dice.between(0, 7_200_000).cast_signed() - 3_600_000);
        }
    }
    let judge = world.judge.borrow();
    tally.acknowledged = judge.acknowledged;
    tally.compared = judge.compared;
    tally.trace = sim.trace_hash();
    Ok(tally)
}

fn new_world(dice: &mut Dice, segment_bytes: u64) -> World {
    let shards = (0..dice.between(1, 5) as u32)
        .map(|i| {
            let shard = ShardId::new(StreamId::new(u64::from(i / 3) + 1), ShardIndex(i % 3));
            let retention = match dice.below(5) {
                0 => Retention {
                    millis: dice.between(200, 3_000),
                    bytes: None,
                },
                1 => Retention {
                    millis: u64::MAX,
                    bytes: Some(dice.between(10, 100) * 1024),
                },
                _ => Retention::FOREVER,
            };
            (shard, retention)
        })
        .collect();
    World {
        judge: RefCell::new(Judge::default()),
        durable: Rc::new(RefCell::new(LedgerState::default())),
        identity: FolderIdentity {
            folder: dice.draw(),
            segment_bytes,
        },
        shards,
        next_id: Cell::new(1),
        on_purpose: Cell::new(false),
        expiry: Cell::new(Timestamp::ZERO),
        closed_cleanly: Cell::new(false),
    }
}

fn new_plan(dice: &mut Dice, life: u32, last: bool) -> Plan {
    let mut faults = Faults::default();
    if !last {
        if dice.below(4) == 0 {
            faults.write_errors = dice.between(1, 60) as u32;
        }
        if dice.below(5) == 0 {
            faults.read_errors = dice.between(1, 60) as u32;
        }
        if dice.below(8) == 0 {
            faults.create_errors = dice.between(100, 5_000) as u32;
        }
        if dice.below(6) == 0 {
            faults.slow_operations = dice.between(1, 200) as u32;
        }
    }
    let faults_in_recovery = dice.below(3) == 0;
    Plan {
        incarnation: u64::from(life) + 1,
        settings: LogSettings {
            incarnation: u64::from(life) + 1,
            tail_bytes: dice.between(0, 64) as usize * 1024,
            frame_bytes: 4096 * dice.between(2, 8) as usize,
            in_flight: dice.between(1, 4) as usize,
            free_segments_min: dice.between(1, 2) as usize,
            free_segments_max: dice.between(1, 3) as usize,
            reserve_segments: 0,
            disk_reserve_bytes: 0,
            footer_cache_bytes: dice.between(0, 20) as usize * 1024,
        },
        writers: dice.between(1, 4) as u32,
        batches: dice.between(5, 60) as u32,
        idle_at_end: dice.coin(),
        close: dice.below(3) == 0,
        faults,
        faults_in_recovery,
    }
}

/// Damages bytes that lie on disk: a bit or a sector of some slot.
fn rot(sim: &Sim, dice: &mut Dice) {
    let disk = sim.disk();
    let paths = disk.paths();
    if paths.is_empty() {
        return;
    }
    let path = &paths[dice.below(paths.len() as u64) as usize];
    let bytes = disk.durable_bytes(path).expect("a listed file can be read");
    let used: Vec<usize> = (0..bytes.len() / 512)
        .filter(|s| bytes[s * 512..(s + 1) * 512].iter().any(|b| *b != 0))
        .collect();
    if used.is_empty() {
        return;
    }
    let sector = used[dice.below(used.len() as u64) as usize] as u64;
    let byte = sector * 512 + dice.below(512);
    if dice.coin() {
        disk.rot_bit(path, byte, dice.below(8) as u8)
            .expect("the byte is inside the file");
    } else {
        disk.zero_sector(path, byte)
            .expect("the sector is inside the file");
    }
}

/// One life: recover, open, look at everything, write and read, perhaps close.
async fn live<D: Discipline>(reactor: SimReactor, world: Rc<World>, plan: Plan) -> Ending {
    if plan.faults_in_recovery {
        reactor.set_faults(plan.faults.clone());
    }
    let log = match open::<D>(&reactor, &world, &plan).await {
        Ok(log) => log,
        Err(what) => return Ending::Refused(what),
    };
    reactor.set_faults(Faults::default());
    look_at_everything(&reactor, &world, &log).await;
    reactor.set_faults(plan.faults.clone());
    let left = Rc::new(Cell::new(plan.writers));
    for _ in 0..plan.writers {
        let (reactor, world, log) = (reactor.clone(), Rc::clone(&world), log.clone());
        let (left, batches) = (Rc::clone(&left), plan.batches);
        reactor.clone().spawn(Lane::Network, async move {
            write(&reactor, &world, &log, batches).await;
            left.set(left.get() - 1);
        });
    }
    for (shard, _) in world.shards.clone() {
        let (reactor, world, log) = (reactor.clone(), Rc::clone(&world), log.clone());
        reactor
            .clone()
            .spawn(Lane::Network, follow(reactor.clone(), world, log, shard));
    }
    while left.get() > 0 {
        reactor.sleep(Duration::from_millis(5)).await;
        expire(&reactor, &world, &log);
    }
    reactor.set_faults(Faults::default());
    if plan.idle_at_end {
        reactor.sleep(Duration::from_millis(2_500)).await;
        expire(&reactor, &world, &log);
        look_at_everything(&reactor, &world, &log).await;
    }
    if plan.close {
        let writable = log.state() == LogState::Writable;
        log.close().await;
        world.closed_cleanly.set(writable);
    }
    Ending::Done
}

async fn open<D: Discipline>(
    reactor: &SimReactor,
    world: &Rc<World>,
    plan: &Plan,
) -> Result<Log<SimReactor, D>, String> {
    let known = world.durable.borrow().clone();
    let recovered =
        recover_with::<_, D>(reactor, world.identity, LogId(0), plan.incarnation, &known)
            .await
            .map_err(|e| e.to_string())?;
    if std::env::var_os("WEIR_SIM_VERBOSE").is_some() {
        eprintln!(
            "life {}: {}, clean {}",
            plan.incarnation, recovered.report, recovered.clean
        );
        for tip in &recovered.shards {
            eprintln!("  {tip:?}");
        }
        eprintln!("  {:?} {known:?} {:?}", plan.settings, world.shards);
    }
    let mut shards = Vec::new();
    for (shard, retention) in &world.shards {
        let mut tip = recovered
            .shards
            .iter()
            .find(|t| t.shard == *shard)
            .cloned()
            .unwrap_or_else(|| ShardTip::empty(*shard));
        if !recovered.clean {
            tip.next = tip.next.next_epoch().expect("epochs are left");
        }
        shards.push((tip, *retention));
    }
    let parts = LogParts {
        seed: recovered.seed,
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards,
        elsewhere: Vec::new(),
    };
    let ledger = Rc::new(SimLedger::new(reactor.clone(), Rc::clone(&world.durable)));
    Log::open(
        reactor.clone(),
        world.identity,
        plan.settings,
        parts,
        ledger,
    )
    .await
    .map_err(|e| e.to_string())
}

fn expire<D: Discipline>(reactor: &SimReactor, world: &World, log: &Log<SimReactor, D>) {
    let now = Timestamp::from_millis(reactor.wall_ms());
    world.expiry.set(world.expiry.get().max(now));
    log.expire(now);
}

async fn write<D: Discipline>(
    reactor: &SimReactor,
    world: &Rc<World>,
    log: &Log<SimReactor, D>,
    batches: u32,
) {
    for _ in 0..batches {
        let shard = world.shards[(reactor.random() % world.shards.len() as u64) as usize].0;
        let count = 1 + reactor.random() % 4;
        let ids: Vec<RecordId> = (0..count)
            .map(|_| {
                let id = world.next_id.get();
                world.next_id.set(id + 1);
                id
            })
            .collect();
        let mut bytes = Vec::new();
        let mut builder = BatchBuilder::new(&mut bytes, shard, 0, ProducerMark::default());
        for id in &ids {
            builder
                .push(&key_of(*id), &data_of(*id))
                .expect("a small batch has room");
        }
        builder.finish();
        append(reactor, world, log, shard, &ids, &bytes).await;
        if reactor.random().is_multiple_of(4) {
            reactor
                .sleep(Duration::from_micros(reactor.random() % 20_000))
                .await;
        }
    }
}

async fn append<D: Discipline>(
    reactor: &SimReactor,
    world: &Rc<World>,
    log: &Log<SimReactor, D>,
    shard: ShardId,
    ids: &[RecordId],
    bytes: &[u8],
) {
    let view = BatchView::decode(bytes).expect("the batch was just built");
    let mut tries = 0;
    let appended = loop {
        match log.append(&view) {
            Ok(appended) => break appended,
            Err(AppendError::Busy) => log.room().await,
            Err(AppendError::DiskFull | AppendError::Failed) if tries < 50 => {
                tries += 1;
                reactor.sleep(Duration::from_millis(20)).await;
            }
            Err(AppendError::TooLong { .. } | AppendError::DiskFull | AppendError::Failed) => {
                return;
            }
            Err(AppendError::ReadOnly | AppendError::Stopping) => return,
            Err(error) => {
                world
                    .judge
                    .borrow_mut()
                    .fail(format!("append refused: {error}"));
                return;
            }
        }
    };
    let (first, arrival) = (appended.first_offset, appended.arrival);
    world
        .judge
        .borrow_mut()
        .handed_out(shard, first, arrival, ids);
    let (world, log, count) = (Rc::clone(world), log.clone(), ids.len());
    reactor.spawn(Lane::Network, async move {
        if log.wait_durable(appended.end).await.is_ok() {
            world.judge.borrow_mut().acknowledged(shard, first, count);
        }
    });
}

/// Reads a shard as it grows.
async fn follow<D: Discipline>(
    reactor: SimReactor,
    world: Rc<World>,
    log: Log<SimReactor, D>,
    shard: ShardId,
) {
    let mut from = Offset::ZERO;
    loop {
        let bytes_max = 1 + (reactor.random() % 60_000) as usize;
        match read_once(&world, &log, shard, from, bytes_max, None).await {
            Some(next) if next > from => from = next,
            Some(_) => {
                let data = std::pin::pin!(log.wait_data(shard, from));
                let pause = std::pin::pin!(reactor.sleep(Duration::from_millis(200)));
                if let Either::Left(_) = select(data, pause).await {}
                if log.state() == LogState::Closed {
                    return;
                }
            }
            None => reactor.sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One read, judged. `None` after an error.
async fn read_once<D: Discipline>(
    world: &World,
    log: &Log<SimReactor, D>,
    shard: ShardId,
    from: Offset,
    bytes_max: usize,
    mut seen: Option<&mut BTreeSet<Offset>>,
) -> Option<Offset> {
    let batches = match log.read(shard, from, bytes_max).await {
        Ok(batches) => batches,
        Err(ReadError::Damaged { what, .. }) => {
            let on_purpose = world.on_purpose.get();
            world.judge.borrow_mut().damaged(shard, on_purpose, &what);
            return None;
        }
        Err(ReadError::Io { .. }) => return None,
        Err(error) => {
            world
                .judge
                .borrow_mut()
                .fail(format!("read refused: {error}"));
            return None;
        }
    };
    let mut judge = world.judge.borrow_mut();
    let mut last: Option<Offset> = None;
    for chunk in batches.chunks() {
        let mut rest = chunk;
        while !rest.is_empty() {
            let view = match BatchView::decode_unverified(rest) {
                Ok(view) => view,
                Err(error) => {
                    judge.fail(format!("shard {shard}: a reader got no batch: {error}"));
                    return None;
                }
            };
            rest = &rest[view.as_bytes().len()..];
            for (i, record) in view.records().enumerate() {
                let offset = Offset::new(view.header.first_offset.get() + i as u64)
                    .expect("offsets are small here");
                if last.is_some_and(|last| last >= offset) {
                    judge.fail(format!("shard {shard}: {offset} came after {last:?}"));
                }
                last = Some(offset);
                if offset >= from {
                    judge.read(shard, offset, record.key, record.data);
                    if let Some(seen) = seen.as_deref_mut() {
                        seen.insert(offset);
                    }
                }
            }
        }
    }
    Some(batches.next)
}

/// Reads every shard from its horizon to its tip and compares it with what was promised.
async fn look_at_everything<D: Discipline>(
    reactor: &SimReactor,
    world: &World,
    log: &Log<SimReactor, D>,
) {
    for (shard, retention) in &world.shards {
        let Some(tip) = log.tip(*shard) else {
            world
                .judge
                .borrow_mut()
                .fail(format!("shard {shard} is gone"));
            return;
        };
        let mut seen = BTreeSet::new();
        let mut from = Offset::ZERO;
        let mut errors = 0;
        while from < tip.durable_next {
            let bytes_max = 1 + (reactor.random() % 200_000) as usize;
            match read_once(world, log, *shard, from, bytes_max, Some(&mut seen)).await {
                Some(next) if next > from => from = next,
                Some(_) => {
                    let what = format!("shard {shard}: a read stood still at {from}");
                    world.judge.borrow_mut().fail(what);
                    return;
                }
                None if errors < 10 => {
                    errors += 1;
                    reactor.sleep(Duration::from_millis(1)).await;
                }
                None => break,
            }
        }
        let cutoff = world.expiry.get().minus_millis(retention.millis);
        let promise = Promise {
            cutoff,
            bytes: retention.bytes,
        };
        world.judge.borrow_mut().whole(*shard, &seen, promise);
    }
}
