//! One life of the simulated server, judged while it runs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_log::{
    AppendError, Discipline, Log, LogParts, LogState, ReadError, ShardTip, epoch_after,
    recover_with,
};
use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{LogId, Offset, ShardId, Timestamp};
use weir_reactor::Lane;
use weir_reactor::Reactor;
use weir_reactor::sim::{Faults, SimReactor};

use crate::judge::{Promise, RecordId, data_of, key_of};
use crate::ledger::SimLedger;
use crate::story::{Ending, Plan, World, is_verbose};

/// One life: recover, open, look at everything, write and read, perhaps close.
pub(crate) async fn live<D: Discipline>(
    reactor: SimReactor,
    world: Rc<World>,
    plan: Plan,
) -> Ending {
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
    if plan.faults.misdirected_writes > 0 {
        world.on_purpose.set(true);
        // Nobody knows where they went.
        world.judge.borrow_mut().strike([], true);
    }
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
        if let Some(notes) = &world.notes {
            notes.is_clean.set(true);
        }
    }
    Ending::Done
}

async fn open<D: Discipline>(
    reactor: &SimReactor,
    world: &Rc<World>,
    plan: &Plan,
) -> Result<Log<SimReactor, D>, String> {
    let known = world.durable.borrow().clone();
    let was_clean = world.notes.as_ref().map(|n| n.is_clean.replace(false));
    let recovered =
        recover_with::<_, D>(reactor, world.identity, LogId(0), plan.incarnation, &known)
            .await
            .map_err(|e| e.to_string())?;
    if is_verbose() {
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
    let mut fresh = epoch_after(&recovered.shards).expect("epochs are left");
    // A planted bug takes every stop for a clean one.
    let is_clean = recovered.clean && (was_clean != Some(false) || !D::NEW_INCARNATION_AFTER_CUT);
    if let Some(notes) = world.notes.as_ref().filter(|_| !is_clean) {
        fresh = fresh.max(notes.epoch.get().next().expect("epochs are left"));
        notes.epoch.set(fresh);
    }
    for (shard, retention) in &world.shards {
        let mut tip = recovered
            .shards
            .iter()
            .find(|t| t.shard == *shard)
            .cloned()
            .unwrap_or_else(|| ShardTip::empty(*shard));
        if !is_clean {
            tip.next = tip.next.raised_to(fresh);
        }
        shards.push((tip, *retention));
    }
    let parts = LogParts {
        seed: recovered.seed,
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards,
        elsewhere: Vec::new(),
        given_up: Vec::new(),
    };
    let ledger = Rc::new(SimLedger::new(
        reactor.clone(),
        Rc::clone(&world.durable),
        plan.ledger_fails_one_in,
    ));
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
    let damaged = world.on_purpose.get();
    world
        .judge
        .borrow_mut()
        .handed_out(shard, first, arrival, ids, damaged);
    let (world, log, count) = (Rc::clone(world), log.clone(), ids.len());
    reactor.spawn(Lane::Network, async move {
        if log.wait_durable(appended.end).await.is_ok() {
            world.judge.borrow_mut().acknowledged(shard, first, count);
        }
    });
}

/// What one read came to.
enum Read {
    /// The next offset to read.
    Next(Offset),
    Damaged,
    Failed,
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
            Read::Next(next) if next > from => from = next,
            Read::Next(_) => {
                let data = std::pin::pin!(log.wait_data(shard, from));
                let pause = std::pin::pin!(reactor.sleep(Duration::from_millis(200)));
                if let Either::Left(_) = select(data, pause).await {}
                if log.state() == LogState::Closed {
                    return;
                }
            }
            Read::Damaged | Read::Failed => reactor.sleep(Duration::from_millis(50)).await,
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
) -> Read {
    let batches = match log.read(shard, from, bytes_max).await {
        Ok(batches) => batches,
        Err(ReadError::Damaged { what, .. }) => {
            let on_purpose = world.on_purpose.get();
            world.judge.borrow_mut().damaged(shard, on_purpose, &what);
            return Read::Damaged;
        }
        Err(ReadError::Io { .. }) => return Read::Failed,
        Err(error) => {
            world
                .judge
                .borrow_mut()
                .fail(format!("read refused: {error}"));
            return Read::Failed;
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
                    return Read::Failed;
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
    Read::Next(batches.next)
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
        // What is promised by now lies below the tip; what is acknowledged while we read may not.
        let until = world.judge.borrow().newest_promised(*shard);
        let mut seen = BTreeSet::new();
        let mut from = Offset::ZERO;
        let mut errors = 0;
        while from < tip.durable_next {
            let bytes_max = 1 + (reactor.random() % 200_000) as usize;
            match read_once(world, log, *shard, from, bytes_max, Some(&mut seen)).await {
                Read::Next(next) if next > from => from = next,
                Read::Next(_) => {
                    let what = format!("shard {shard}: a read stood still at {from}");
                    world.judge.borrow_mut().fail(what);
                    return;
                }
                // What lies behind the damage must be there.
                Read::Damaged if world.judge.borrow().knows_what_was_struck() => {
                    match world.judge.borrow().next_promised(*shard, from) {
                        Some(next) => from = next,
                        None => break,
                    }
                }
                Read::Damaged | Read::Failed if errors < 10 => {
                    errors += 1;
                    reactor.sleep(Duration::from_millis(1)).await;
                }
                Read::Damaged | Read::Failed => break,
            }
        }
        let cutoff = retention.cutoff(world.expiry.get());
        let promise = Promise {
            cutoff,
            bytes: retention.bytes,
            until,
        };
        world.judge.borrow_mut().whole(*shard, &seen, promise);
    }
}
