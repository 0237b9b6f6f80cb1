//! Splits, merges and counts at random, under appends, crashes, log faults and other numbers of
//! cores, judged by what the writers saw.

mod clients;
mod judge;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use weir_protocol::model::{HashKey, StreamMode, StreamStatus};
use weir_reactor::sim::{Crash, Dice, Faults, RunLimit, SimDisk, SimReactor};
use weir_reactor::{Lane, Reactor};

use self::clients::{follow, present, read_whole, reshard, write};
use self::judge::Judge;
use super::{Server, asked, batch, create, machine, options};
use crate::engine::Engine;
use crate::folder::QuotaSwitch;
use crate::homing::retention_of;
use crate::reshard::{Reshard, ReshardRules};

/// One life of the server.
async fn live(reactor: SimReactor, disk: SimDisk, judge: Rc<RefCell<Judge>>, life: Life) {
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
async fn look(reactor: SimReactor, disk: SimDisk, judge: Rc<RefCell<Judge>>) {
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
