//! Splits, merges and counts at random, under appends, crashes, log faults and other numbers of
//! cores, judged by what the writers saw.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use weir_protocol::batch::BatchView;
use weir_protocol::model::{
    Count, HashKey, Offset, SequenceNumber, ShardIndex, StreamMode, StreamStatus, Timestamp,
};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::sim::{Crash, Dice, Faults, RunLimit, SimReactor};
use weir_reactor::{Lane, Reactor};

use super::{Server, asked, batch, create, machine, options};
use crate::engine::Engine;
use crate::error::{AppendError, ControlError};
use crate::folder::QuotaSwitch;
use crate::homing::retention_of;
use crate::request::ReadRequest;
use crate::reshard::{Reshard, ReshardRules};
use crate::stream::{Shard, Stream};

/// A record of the story: which of its key's records it is.
type Record = (String, u64);

/// What the writers know, over all lives of a story.
#[derive(Default)]
struct Judge {
    /// The number of each key's next record.
    next: BTreeMap<String, u64>,
    acknowledged: BTreeMap<Record, (ShardIndex, Offset)>,
    /// Where shards ended, once they were seen closed.
    ends: BTreeMap<ShardIndex, Offset>,
    map_version: u32,
    maps: u32,
    told_of_new_maps: u32,
    failure: Option<String>,
}

impl Judge {
    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// A start after whatever end shows no older map than any core had before it.
    fn sees_after_a_start(&mut self, stream: &Stream) {
        if stream.map_version < self.map_version {
            let (before, now) = (self.map_version, stream.map_version);
            self.fail(format!(
                "map {before} was seen, and after a start map {now}"
            ));
        }
        self.sees(stream);
    }

    fn holds_what_ended(&mut self, stream: &Stream) {
        for shard in self.ends.keys() {
            if stream.shard(*shard).is_none_or(|s| s.closed.is_none()) {
                self.failure
                    .get_or_insert(format!("{shard} was closed and is not"));
            }
        }
    }

    /// A map that some core works by: open shards tile the hash space, ends stay what they are.
    fn sees(&mut self, stream: &Stream) {
        let mut open: Vec<&Shard> = stream.open_shards().collect();
        open.sort_by_key(|shard| shard.range.start);
        let mut expected = Some(0);
        for shard in open {
            if expected != Some(shard.range.start.get()) {
                self.fail(format!(
                    "map {}: a gap at {}",
                    stream.map_version, shard.index
                ));
            }
            expected = shard.range.end.get().checked_add(1);
        }
        if expected.is_some() {
            self.fail(format!(
                "map {}: the top is not covered",
                stream.map_version
            ));
        }
        for shard in &stream.shards {
            let Some(closed) = shard.closed else { continue };
            let known = *self.ends.entry(shard.index).or_insert(closed.next);
            if known != closed.next {
                self.fail(format!(
                    "{} ended at {known}, now {}",
                    shard.index, closed.next
                ));
            }
        }
        // Cores learn of a map one after the other: one may still have the map before.
        if stream.map_version >= self.map_version {
            self.holds_what_ended(stream);
        }
        if stream.map_version > self.map_version {
            self.map_version = stream.map_version;
            self.maps += 1;
        }
    }

    /// Everything the stream holds, shard by shard, against everything that was acknowledged.
    fn compare(&mut self, stream: &Stream, found: &BTreeMap<ShardIndex, Vec<Found>>) {
        let mut seen: BTreeMap<Record, (ShardIndex, Offset)> = BTreeMap::new();
        let mut by_key: BTreeMap<&str, BTreeMap<u64, SequenceNumber>> = BTreeMap::new();
        for (index, records) in found {
            let shard = stream.shard(*index).expect("it was read by this map");
            for record in records {
                let place = (*index, record.offset);
                if !shard.range.contains(HashKey::of_partition_key(&record.key)) {
                    self.fail(format!("{index} does not take the key of {record:?}"));
                }
                if shard
                    .closed
                    .is_some_and(|closed| record.offset >= closed.next)
                {
                    self.fail(format!("{index} grew after it was closed: {record:?}"));
                }
                let id = (record.key.clone(), record.number);
                if let Some(before) = seen.insert(id, place) {
                    self.fail(format!("{record:?} is at {before:?} and at {place:?}"));
                }
                let sequence =
                    SequenceNumber::of_record(*index, shard.created, record.offset, record.arrival);
                by_key
                    .entry(&record.key)
                    .or_default()
                    .insert(record.number, sequence);
            }
        }
        for (record, place) in &self.acknowledged {
            if seen.get(record) != Some(place) {
                let what = format!(
                    "{record:?} was put at {place:?}, is at {:?}",
                    seen.get(record)
                );
                self.failure.get_or_insert(what);
            }
        }
        for (key, numbers) in by_key {
            if !numbers.values().is_sorted_by(|a, b| a < b) {
                self.fail(format!("the records of {key} are out of order"));
            }
        }
        for shard in &stream.shards {
            for parent in [shard.parent, shard.adjacent_parent].into_iter().flatten() {
                let parent = stream.shard(parent).expect("nothing is forgotten here");
                let Some(closed) = parent.closed else {
                    self.fail(format!("{} has an open parent", shard.index));
                    continue;
                };
                let end = SequenceNumber::of_shard_end(parent.index, parent.created, closed.at);
                let start = SequenceNumber::of_shard_start(shard.index, shard.created);
                if start <= end || shard.opened < closed.at {
                    self.fail(format!("{} begins before its parent ended", shard.index));
                }
            }
        }
    }
}

/// A record as a reader found it.
#[derive(Debug)]
struct Found {
    offset: Offset,
    arrival: Timestamp,
    key: String,
    number: u64,
}

/// Reads a shard to its end; closed ones must end where they were closed.
async fn read_whole(engine: &Engine<SimReactor>, stream: &Stream, shard: &Shard) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = ReadFrom::TrimHorizon;
    loop {
        let request = ReadRequest {
            shard: stream.shard_id(shard.index),
            from,
            bytes_max: 64 << 10,
            wait_ms: 0,
            polling: false,
        };
        let read = engine.read(request).await.expect("the shard can be read");
        let mut rest = &read.batches[..];
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).expect("what is read are batches");
            for (record, nth) in batch.records().zip(0..) {
                let data = String::from_utf8(record.data.to_vec()).expect("data is text");
                found.push(Found {
                    offset: batch.header.first_offset + Count(nth),
                    arrival: batch.header.arrival,
                    key: String::from_utf8(record.key.to_vec()).expect("keys are text"),
                    number: data
                        .trim_end_matches('x')
                        .parse()
                        .expect("data is a number"),
                });
            }
            rest = &rest[batch.as_bytes().len()..];
        }
        let is_closed = shard.closed.is_some();
        if read.at_end || (read.count == 0 && read.next >= read.tip) {
            assert_eq!(read.at_end, is_closed, "{shard:?} {read:?}");
            return found;
        }
        from = ReadFrom::Offset(read.next);
    }
}

fn present(engine: &Engine<SimReactor>) -> std::sync::Arc<Stream> {
    let streams = engine.streams();
    streams.by_name("logs").expect("the stream stays").clone()
}

/// Appends records of one key, one after the other, for ever.
async fn write(engines: Vec<Engine<SimReactor>>, judge: Rc<RefCell<Judge>>, key: String) {
    let reactor = engines[0].reactor().clone();
    loop {
        let number = {
            let mut judge = judge.borrow_mut();
            let next = judge.next.entry(key.clone()).or_default();
            *next += 1;
            *next
        };
        let padding = "x".repeat((reactor.random() % 4_000) as usize);
        let text = format!("{number}{padding}");
        let engine = &engines[(reactor.random() % engines.len() as u64) as usize];
        let mut told: Option<u32> = None;
        loop {
            let stream = present(engine);
            judge.borrow_mut().sees(&stream);
            if told.is_some_and(|told| stream.map_version < told) {
                let what = "a writer was told of a map before every core had it";
                judge.borrow_mut().fail(what.to_owned());
            }
            let batch = batch(&stream, &key, &[&text]);
            let shard = batch.shard.index;
            match engine.append(vec![batch]).await.remove(0) {
                Ok(stored) => {
                    let place = (shard, stored.first_offset);
                    let record = (key.clone(), number);
                    judge.borrow_mut().acknowledged.insert(record, place);
                    break;
                }
                Err(AppendError::ShardClosed { map_version, .. }) => {
                    told = Some(map_version);
                    judge.borrow_mut().told_of_new_maps += 1;
                }
                Err(AppendError::LogFailed | AppendError::ReadOnly) => break,
                Err(AppendError::Stopping) => return,
                Err(error) => {
                    judge.borrow_mut().fail(format!("append refused: {error}"));
                    return;
                }
            }
        }
        if reactor.random().is_multiple_of(3) {
            let pause = Duration::from_micros(reactor.random() % 3_000);
            reactor.sleep(pause).await;
        }
    }
}

/// Reads from the tip of one shard after the other, through ends to children.
async fn follow(engine: Engine<SimReactor>, judge: Rc<RefCell<Judge>>, first: ShardIndex) {
    let (mut shard, mut from) = (first, ReadFrom::TrimHorizon);
    loop {
        let request = ReadRequest {
            shard: present(&engine).shard_id(shard),
            from,
            bytes_max: 10_000,
            wait_ms: 1_000,
            polling: false,
        };
        let Ok(read) = engine.read(request).await else {
            return;
        };
        from = ReadFrom::Offset(read.next);
        if read.at_end {
            let stream = present(&engine);
            let Some(child) = stream.children(shard).next() else {
                let what = format!("{shard} ended and its children are not known yet");
                return judge.borrow_mut().fail(what);
            };
            (shard, from) = (child.index, ReadFrom::TrimHorizon);
        }
    }
}

/// Splits, merges and counts at random, for ever.
async fn reshard(engines: Vec<Engine<SimReactor>>, judge: Rc<RefCell<Judge>>) {
    let reactor = engines[0].reactor().clone();
    let below = |bound: usize| (reactor.random() % bound as u64) as usize;
    loop {
        reactor
            .sleep(Duration::from_millis(reactor.random() % 15))
            .await;
        let engine = &engines[below(engines.len())];
        let stream = present(engine);
        judge.borrow_mut().sees(&stream);
        let mut open: Vec<&Shard> = stream.open_shards().collect();
        open.sort_by_key(|shard| shard.range.start);
        let any = below(open.len());
        let asked = match below(3) {
            0 if open.len() < 12 => {
                let range = open[any].range;
                let width = range.end.get() - range.start.get();
                let at = range.start.get() + 2 + u128::from(reactor.random()) % (width / 2).max(1);
                Reshard::Split {
                    shard: open[any].index,
                    at: HashKey::new(at),
                }
            }
            1 if open.len() > 1 => {
                let low = any.min(open.len() - 2);
                let (shard, adjacent) = if below(2) == 0 { (0, 1) } else { (1, 0) };
                Reshard::Merge {
                    shard: open[low + shard].index,
                    adjacent: open[low + adjacent].index,
                }
            }
            _ => {
                let least = open.len().div_ceil(2);
                let most = (open.len() * 2).min(12);
                Reshard::Count {
                    target: (least + below(most.saturating_sub(least) + 1)) as u32,
                }
            }
        };
        match engine
            .reshard_stream(&stream.name, asked, ReshardRules::Aws)
            .await
        {
            Ok(stream) if stream.status != StreamStatus::Updating => {
                judge.borrow_mut().fail("a reshard began unseen".to_owned());
            }
            // The map moved on meanwhile, or a split was drawn at a border.
            Ok(_)
            | Err(
                ControlError::NotActive { .. }
                | ControlError::ShardClosed { .. }
                | ControlError::ScaledUpTooFar { .. }
                | ControlError::ScaledDownTooFar { .. }
                | ControlError::SplitKey { .. },
            ) => {}
            Err(ControlError::Stopping) => return,
            Err(error) => {
                judge.borrow_mut().fail(format!("reshard refused: {error}"));
                return;
            }
        }
    }
}

/// One life of the server.
async fn live(
    reactor: SimReactor,
    disk: weir_reactor::sim::SimDisk,
    judge: Rc<RefCell<Judge>>,
    life: Life,
) {
    let mut options = options(life.cores);
    options.quota = QuotaSwitch::Off;
    let server = Server::start(reactor.clone(), disk, options).await.unwrap();
    let engines = server.engines.clone();
    for engine in engines
        .iter()
        .filter(|e| e.streams().by_name("logs").is_some())
    {
        judge.borrow_mut().sees_after_a_start(&present(engine));
    }
    match life.planted {
        Some(Plant::SwitchBeforeTheDrain) => {
            engines
                .iter()
                .for_each(Engine::plant_a_switch_before_the_drain);
        }
        Some(Plant::ForgottenLastRecord) => {
            engines
                .iter()
                .for_each(Engine::plant_a_forgotten_last_record);
        }
        None => {}
    }
    if engines[0].streams().by_name("logs").is_none() {
        create(&engines[0], asked("logs", 2, StreamMode::Provisioned)).await;
    }
    reactor.set_faults(Faults {
        write_errors: life.write_errors,
        ..Faults::default()
    });
    let stream = present(&engines[0]);
    for key in 0..8 {
        let work = write(engines.clone(), Rc::clone(&judge), format!("key-{key}"));
        reactor.spawn(Lane::Network, work);
    }
    for shard in stream.open_shards() {
        let reader = engines[life.cores - 1].clone();
        reactor.spawn(
            Lane::Network,
            follow(reader, Rc::clone(&judge), shard.index),
        );
    }
    reactor.spawn(Lane::Network, reshard(engines.clone(), Rc::clone(&judge)));
    reactor.sleep(life.lasts).await;
    reactor.set_faults(Faults::default());
    server.stop().await;
}

/// A bug that the judge must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    SwitchBeforeTheDrain,
    ForgottenLastRecord,
}

struct Life {
    cores: usize,
    lasts: Duration,
    write_errors: u32,
    planted: Option<Plant>,
}

/// Waits until nothing is pending, and looks at everything.
async fn look(reactor: SimReactor, disk: weir_reactor::sim::SimDisk, judge: Rc<RefCell<Judge>>) {
    let mut options = options(2);
    options.quota = QuotaSwitch::Off;
    let server = Server::start(reactor.clone(), disk, options).await.unwrap();
    let engine = &server.engines[1];
    if engine.streams().by_name("logs").is_some() {
        let mut waited = 0;
        while present(engine).status != StreamStatus::Active {
            reactor.sleep(Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 2_000, "a pending reshard was not taken up");
        }
        let stream = present(engine);
        judge.borrow_mut().sees_after_a_start(&stream);
        let mut found = BTreeMap::new();
        for shard in &stream.shards {
            found.insert(shard.index, read_whole(engine, &stream, shard).await);
        }
        judge.borrow_mut().compare(&stream, &found);
    }
    server.stop().await;
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    maps: u32,
    told: u32,
}

fn story(seed: u64, planted: Option<Plant>) -> Result<Tally, String> {
    let sim = machine(seed);
    let mut dice = Dice::new(seed);
    let judge = Rc::new(RefCell::new(Judge::default()));
    for _ in 0..dice.between(1, 3) {
        let life = Life {
            cores: dice.between(1, 3) as usize,
            lasts: Duration::from_millis(dice.between(20, 300)),
            write_errors: if dice.below(4) == 0 { 20 } else { 0 },
            planted,
        };
        let limit = match dice.below(3) {
            0 => RunLimit::done(),
            _ => RunLimit::Steps(dice.between(500, 12_000)),
        };
        let work = live(sim.reactor(), sim.disk(), Rc::clone(&judge), life);
        let ended = sim.run(limit, work).is_some();
        sim.crash(if ended || dice.coin() {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        // A life's faults end with it: the next start is to succeed.
        *sim.faults() = Faults::default();
    }
    let work = look(sim.reactor(), sim.disk(), Rc::clone(&judge));
    sim.run(RunLimit::done(), work).expect("looking ends");
    let judge = judge.borrow();
    match &judge.failure {
        Some(what) => Err(format!("seed {seed}: {what}")),
        None => Ok(Tally {
            acknowledged: judge.acknowledged.len(),
            maps: judge.maps,
            told: judge.told_of_new_maps,
        }),
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_by_resharding() {
    let mut total = Tally::default();
    for seed in 0..40 {
        let tally = story(seed, None).unwrap();
        total.acknowledged += tally.acknowledged;
        total.maps += tally.maps;
        total.told += tally.told;
    }
    // Otherwise nothing was shown.
    assert!(
        total.acknowledged > 5_000 && total.maps > 100 && total.told > 50,
        "{total:?}"
    );
}

#[test]
#[ignore = "some minutes; run it after a change of this"]
fn a_thousand_stories_of_resharding() {
    for seed in 1_000..2_000 {
        story(seed, None).unwrap();
    }
}

/// In how many of twenty stories the judge sees something wrong.
fn catches(planted: Plant) -> usize {
    let caught = (0..20).filter(|seed| {
        let told = std::panic::catch_unwind(|| story(*seed, Some(planted)));
        !matches!(told, Ok(Ok(_)))
    });
    caught.count()
}

#[test]
fn a_switch_before_the_drain_is_caught() {
    assert!(catches(Plant::SwitchBeforeTheDrain) >= 10);
}

#[test]
fn forgetting_a_parents_last_record_is_caught() {
    assert!(catches(Plant::ForgottenLastRecord) >= 10);
}

#[test]
fn closed_shards_keep_their_part_and_leave_the_map_after_retention() {
    let sim = machine(11);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let engine = server.engines[0].clone();
        let pause = Duration::from_millis(50);
        let mut asked = asked("logs", 2, StreamMode::Provisioned);
        (asked.retention_ms, asked.retain_bytes) = (Some(2_000), Some(1 << 30));
        let stream = create(&engine, asked).await;
        for stored in engine.append(vec![batch(&stream, "k", &["old"])]).await {
            stored.unwrap();
        }
        engine.reactor().sleep(pause).await;
        let parent = stream.route(HashKey::of_partition_key("k"));
        let (index, at) = (parent.index, parent.range.start.get() + 7);
        let split = Reshard::Split {
            shard: index,
            at: HashKey::new(at),
        };
        engine
            .reshard_stream(&stream.name, split, ReshardRules::Aws)
            .await
            .unwrap();
        while present(&engine).status != StreamStatus::Active {
            engine.reactor().sleep(pause).await;
        }
        let after = present(&engine);
        let parts: Vec<u64> = retention_of(&after)
            .iter()
            .filter_map(|r| r.bytes)
            .collect();
        let mut expected = vec![(1 << 30) / 3; 4];
        expected[index.0 as usize] = (1 << 30) / 2;
        assert_eq!(parts, expected);
        assert!(after.shard(index).is_some_and(|s| s.closed.is_some()));
        // The simulation ends with an error if this never comes true.
        while server
            .engines
            .iter()
            .any(|e| present(e).shard(index).is_some())
        {
            engine.reactor().sleep(pause).await;
        }
        let forgotten = present(&engine);
        let closed_for = engine
            .wall()
            .millis_since(after.shard(index).and_then(|s| s.closed).unwrap().at);
        assert!(closed_for > 2_000, "it left after {closed_for} ms");
        let children = forgotten.shards.iter().filter(|s| s.parent == Some(index));
        assert_eq!(children.count(), 2);
        assert_eq!(forgotten.shards.len(), 3);
        let bytes = |r: &weir_log::Retention| r.bytes;
        let parts: Vec<_> = retention_of(&forgotten).iter().map(bytes).collect();
        assert_eq!(parts, [Some((1 << 30) / 3); 3]);
        server.stop().await;
    })
    .unwrap();
}
