//! One life of a server with several cores, judged while it runs.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{HashKey, Offset, StreamName};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::sim::{Faults, PlainFaults, SimReactor};
use weir_reactor::{Lane, Reactor};
use weir_stream::{
    AppendError, ControlStop, Engine, Opened, ReadError, ReadRequest, Shard, ShardBatch, Stream,
    open_in,
};

use super::judge::Found;
use super::{Plan, World};
use crate::judge::{RecordId, data_of};

/// When faults have ended, everything must work within this much virtual time.
pub(super) const LIVELY_WITHIN: Duration = Duration::from_mins(2);

/// How a life ended by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Refused(String),
}

/// What the tasks of one life share.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) reactor: SimReactor,
    pub(super) world: Rc<World>,
    pub(super) engines: Rc<Vec<Engine<SimReactor>>>,
    /// Tasks begin nothing more.
    pub(super) ends: Rc<Cell<bool>>,
    /// Tasks that have not ended.
    running: Rc<Cell<u32>>,
}

/// One life: open, look at everything, work under faults, show that all is well once they ended.
pub(super) async fn live(reactor: SimReactor, world: Rc<World>, plan: Plan) -> Ending {
    if plan.faults_in_recovery {
        reactor.set_faults(plan.faults.clone());
    }
    if plan.catalog_faults_in_recovery {
        world.disk.set_plain_faults(plan.catalog.clone());
    }
    let opened = open(&reactor, &world, &plan).await;
    reactor.set_faults(Faults::default());
    let (engines, stop) = match opened {
        Ok(opened) => opened,
        Err(what) => return Ending::Refused(what),
    };
    let life = Life {
        reactor: reactor.clone(),
        world,
        engines: Rc::new(engines),
        ends: Rc::default(),
        running: Rc::default(),
    };
    life.look_at_catalog();
    life.look_at_everything().await;
    reactor.set_faults(plan.faults.clone());
    life.world
        .disk
        .stop_plain_operations_after(plan.catalog_stops_after);
    if !plan.catalog_faults_in_recovery {
        life.world.disk.set_plain_faults(plan.catalog.clone());
    }
    life.work(&plan);
    life.pass(&plan).await;

    reactor.set_faults(Faults::default());
    life.world.disk.stop_plain_operations_after(None);
    life.world.disk.set_plain_faults(PlainFaults::default());
    life.ends.set(true);
    let before = reactor.elapsed();
    while life.running.get() > 0 {
        reactor.sleep(Duration::from_millis(5)).await;
        if reactor.elapsed().saturating_sub(before) > LIVELY_WITHIN {
            life.fail(format!(
                "{} tasks did not end after the faults did",
                life.running.get()
            ));
            return Ending::Done;
        }
    }
    if plan.leaves_all_alive() {
        life.be_lively().await;
    }
    if plan.is_last {
        life.look_at_everything().await;
        life.expire_all().await;
    }
    if plan.close {
        if plan.catalog_faults_in_close {
            life.world.disk.set_plain_faults(plan.catalog.clone());
        }
        for engine in life.engines.iter() {
            engine.close().await;
        }
        stop.ask();
        reactor.sleep(Duration::from_secs(1)).await;
        life.world.closed.set(true);
    }
    Ending::Done
}

async fn open(
    reactor: &SimReactor,
    world: &World,
    plan: &Plan,
) -> Result<(Vec<Engine<SimReactor>>, ControlStop), String> {
    let opened = open_in(reactor, &world.disk, &plan.options).await;
    let Opened {
        cores,
        control,
        stop,
        report: _,
    } = opened.map_err(|error| error.to_string())?;
    reactor.spawn(Lane::Background, control.run());
    let mut engines = Vec::new();
    for seed in cores {
        let engine = Engine::start(reactor.clone(), seed).await;
        engines.push(engine.map_err(|error| error.to_string())?);
    }
    Ok((engines, stop))
}

impl Life {
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.reactor.random() % bound
    }

    pub(super) fn engine(&self) -> &Engine<SimReactor> {
        &self.engines[self.below(self.engines.len() as u64) as usize]
    }

    pub(super) fn fail(&self, what: String) {
        self.world.judge.borrow_mut().fail(what);
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.running.set(self.running.get() + 1);
        let running = Rc::clone(&self.running);
        self.reactor.spawn(Lane::Network, async move {
            task.await;
            running.set(running.get() - 1);
        });
    }

    pub(super) async fn pause(&self, millis: u64) {
        let micros = self.below(millis * 1_000);
        self.reactor.sleep(Duration::from_micros(micros)).await;
    }

    fn work(&self, plan: &Plan) {
        for writer in 0..plan.writers {
            let life = self.clone();
            self.spawn(async move { life.write(writer).await });
        }
        for _ in 0..plan.readers {
            let life = self.clone();
            self.spawn(async move { life.read_here_and_there().await });
        }
        let life = self.clone();
        self.spawn(async move { life.reshard().await });
        let life = self.clone();
        self.spawn(async move { life.change().await });
    }

    /// The life's time passes: clocks jump, the disk is full for a while.
    async fn pass(&self, plan: &Plan) {
        let part = plan.lasts / 4;
        self.reactor.sleep(part).await;
        if let Some(millis) = plan.jumps {
            self.reactor.jump_wall_clock(millis);
        }
        self.reactor.sleep(part).await;
        if plan.is_full_for_a_while {
            let disk_full = true;
            let full = Faults {
                disk_full,
                ..plan.faults.clone()
            };
            self.reactor.set_faults(full);
            self.reactor.sleep(part).await;
            self.reactor.set_faults(plan.faults.clone());
        }
        self.reactor.sleep(part).await;
    }

    /// A stream that is there, drawn.
    pub(super) fn any_stream(&self) -> Option<std::sync::Arc<Stream>> {
        let streams = self.engine().streams();
        let count = streams.in_name_order().count() as u64;
        let nth = self.reactor.random().checked_rem(count)?;
        let stream = streams.in_name_order().nth(nth as usize).cloned()?;
        if stream.is_usable() {
            self.world.judge.borrow_mut().sees(&stream);
        }
        Some(stream)
    }

    /// Appends records of keys that no other task has, one batch after the other.
    async fn write(&self, writer: u32) {
        while !self.ends.get() {
            if let Some(stream) = self.any_stream().filter(|stream| stream.is_usable()) {
                let key = format!("key-{writer}-{}", self.below(3));
                self.append(&stream.name, &key).await;
            }
            if self.below(3) == 0 {
                self.pause(20).await;
            }
        }
    }

    /// Appends one batch; says whether it is stored.
    pub(super) async fn append(&self, name: &StreamName, key: &str) -> bool {
        let count = 1 + self.below(3);
        let ids: Vec<RecordId> = (0..count).map(|_| self.world.next_id()).collect();
        loop {
            let engine = self.engine().clone();
            let Some(stream) = engine.streams().by_name(name.as_str()).cloned() else {
                return false;
            };
            let shard = stream.route(HashKey::of_partition_key(key)).index;
            let id = stream.shard_id(shard);
            let mut bytes = Vec::new();
            let mark = ProducerMark::default();
            let mut batch = BatchBuilder::new(&mut bytes, id, stream.map_version, mark);
            for id in &ids {
                batch
                    .push(key, &data_of(*id))
                    .expect("a small batch has room");
            }
            batch.finish();
            self.world
                .judge
                .borrow_mut()
                .sends(stream.id, &ids, key, self.reactor.elapsed());
            let batch = ShardBatch { shard: id, bytes };
            match engine.append(vec![batch]).await.remove(0) {
                Ok(stored) => {
                    let place = (shard, stored.first_offset);
                    let mut judge = self.world.judge.borrow_mut();
                    judge.acknowledged(stream.id, place, stored.arrival, &ids);
                    return true;
                }
                // Known not to be stored: the map moved on.
                Err(AppendError::ShardClosed { .. }) => self.pause(2).await,
                Err(AppendError::InvalidBatch(error)) => {
                    self.fail(format!("a good batch was refused: {error}"));
                    return false;
                }
                Err(_) => {
                    self.pause(30).await;
                    return false;
                }
            }
        }
    }

    /// Reads from all five positions.
    async fn read_here_and_there(&self) {
        while !self.ends.get() {
            self.pause(15).await;
            let Some(stream) = self.any_stream().filter(|stream| stream.is_usable()) else {
                continue;
            };
            let nth = self.below(stream.shards.len() as u64) as usize;
            let shard = &stream.shards[nth];
            let draw = self.reactor.random();
            let known = {
                let judge = self.world.judge.borrow();
                judge
                    .streams
                    .get(&stream.id)
                    .and_then(|ledger| ledger.any_kept(shard.index, draw))
            };
            let from = match (self.below(5), known) {
                (0, _) | (3.., None) => ReadFrom::TrimHorizon,
                (1, _) => ReadFrom::Latest,
                (2, Some((_, kept))) => ReadFrom::Time(kept.arrival),
                (2, None) => ReadFrom::Time(stream.created),
                (3, Some((offset, _))) => ReadFrom::Offset(offset),
                (_, Some((offset, _))) => ReadFrom::Offset(next(offset)),
            };
            self.read_from(&stream, shard, from).await;
        }
    }

    async fn read_from(&self, stream: &Stream, shard: &Shard, from: ReadFrom) {
        let newest = {
            let judge = self.world.judge.borrow();
            let ledger = judge.streams.get(&stream.id);
            let all = ledger.map(|ledger| {
                ledger
                    .kept
                    .range((shard.index, Offset::ZERO)..=(shard.index, Offset::MAX))
            });
            all.and_then(|mut all| all.next_back())
                .map(|(place, _)| place.1)
        };
        let engine = self.engine().clone();
        let wait_ms = if self.below(4) == 0 { 50 } else { 0 };
        let Some(read) = self.read(&engine, stream, shard, from, wait_ms).await else {
            return;
        };
        let now = self.reactor.elapsed();
        let forgives = self.world.judge.borrow().forgives;
        if from == ReadFrom::Latest && newest.is_some_and(|newest| read.from <= newest) && !forgives
        {
            self.fail(format!(
                "LATEST of {} is {}, after {newest:?}",
                shard.index, read.from
            ));
        }
        let Some(first) = read.records.first() else {
            return;
        };
        if let ReadFrom::Time(at) = from
            && first.arrival < at
            && !self.world.jumped_back.get()
        {
            self.fail(format!("{} arrived before {at}", first.offset));
        }
        let begun = match from {
            ReadFrom::Offset(offset) => offset,
            ReadFrom::TrimHorizon => Offset::ZERO,
            ReadFrom::Latest | ReadFrom::Time(_) => read.from,
        };
        let mut judge = self.world.judge.borrow_mut();
        judge.begins(stream.id, shard.index, begun, first.offset, now);
    }

    /// One read, judged; `None` after an error.
    pub(super) async fn read(
        &self,
        engine: &Engine<SimReactor>,
        stream: &Stream,
        shard: &Shard,
        from: ReadFrom,
        wait_ms: u32,
    ) -> Option<Read> {
        let request = ReadRequest {
            shard: stream.shard_id(shard.index),
            from,
            bytes_max: 1 + self.below(60_000) as u32,
            wait_ms,
            polling: false,
        };
        let read = match engine.read(request).await {
            Ok(read) => read,
            Err(ReadError::Damaged { text, .. }) => {
                if !self.world.judge.borrow().forgives {
                    self.fail(format!("damage that nobody made: {text}"));
                }
                return None;
            }
            Err(_) => return None,
        };
        let mut records = Vec::new();
        let mut rest = &read.batches[..];
        while !rest.is_empty() {
            let Ok(batch) = BatchView::decode_unverified(rest) else {
                self.fail(format!("a reader of {} got no batch", shard.index));
                return None;
            };
            for (record, nth) in batch.records().zip(0..) {
                let offset = batch.header.first_offset.get() + nth;
                let offset = Offset::new(offset).expect("offsets are small here");
                if offset >= read.from {
                    records.push(Found {
                        offset,
                        arrival: batch.header.arrival,
                        key: String::from_utf8_lossy(record.key).into_owned(),
                        data: record.data.to_vec(),
                    });
                }
            }
            rest = &rest[batch.as_bytes().len()..];
        }
        let mut judge = self.world.judge.borrow_mut();
        for record in &records {
            judge.reads(stream.id, shard, record);
        }
        drop(judge);
        Some(Read {
            from: read.from,
            next: read.next,
            is_all: read.at_end || (read.count == 0 && read.next >= read.tip),
            records,
        })
    }
}

/// What one read gave.
pub(super) struct Read {
    from: Offset,
    pub(super) next: Offset,
    pub(super) is_all: bool,
    pub(super) records: Vec<Found>,
}

fn next(offset: Offset) -> Offset {
    Offset::new(offset.get() + 1).expect("offsets are small here")
}
