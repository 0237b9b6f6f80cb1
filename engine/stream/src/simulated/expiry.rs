//! Whole servers whose wall clock is set here and there: no record goes before it has had its time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use weir_protocol::model::StreamMode;
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_reactor::sim::{Crash, Dice, RunLimit, Sim, SimReactor};

use super::{Server, asked, batch, create, machine, options, read_all};
use crate::engine::Engine;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEARS_MS: i64 = 3_650 * DAY_MS;
const RETENTION: Duration = Duration::from_secs(6);
/// Looking takes time too, in which a record may come of age.
const LOOK: Duration = Duration::from_millis(100);

/// When each record was sent, in virtual time, which no clock of the story moves.
type Sent = Rc<RefCell<BTreeMap<String, Duration>>>;

/// Appends a record under a key of its own.
async fn append(engine: &Engine<SimReactor>, sent: &Sent) {
    let Some(stream) = engine.streams().by_name("logs").cloned() else {
        return;
    };
    let record = format!("record-{}", sent.borrow().len());
    let now = engine.reactor().elapsed();
    let stored = engine.append(vec![batch(&stream, &record, &[&record])]);
    if stored.await[0].is_ok() {
        sent.borrow_mut().insert(record, now);
    }
}

/// Everything younger than the retention must be there.
async fn look(engine: &Engine<SimReactor>, sent: &Sent) {
    let stream = engine.streams().by_name("logs").cloned().unwrap();
    let due: Vec<(String, Duration)> = sent.borrow().clone().into_iter().collect();
    let mut found = BTreeSet::new();
    for shard in &stream.shards {
        let read = read_all(engine, &stream, shard.index, ReadFrom::TrimHorizon).await;
        found.extend(read.into_iter().map(|(_, data)| data));
    }
    let now = engine.reactor().elapsed();
    for (record, at) in due {
        let age = now.saturating_sub(at);
        assert!(
            found.contains(&record) || age + LOOK > RETENTION,
            "{record} is gone after {age:?}"
        );
    }
}

async fn start(reactor: &SimReactor, sim: &weir_reactor::sim::SimDisk, cores: usize) -> Server {
    let server = Server::start(reactor.clone(), sim.clone(), options(cores)).await;
    let server = server.unwrap();
    if server.engines[0].streams().by_name("logs").is_none() {
        let mut asked = asked("logs", 4, StreamMode::OnDemand);
        asked.retention_ms = Some(RETENTION.as_millis() as u64);
        create(&server.engines[0], asked).await;
    }
    server
}

/// The wall clock jumped a day ahead and goes back for moments in which no expiry clock looks: what is
/// stamped in such a moment carries the old time, and the clocks catch up with the new one.
#[test]
fn a_wall_clock_that_is_back_for_moments_takes_nothing_young() {
    let sim = machine(41);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = start(&reactor, &disk, 1).await;
        let engine = &server.engines[0];
        let sent = Sent::default();
        reactor.sleep(Duration::from_secs(3)).await;
        reactor.jump_wall_clock(DAY_MS);
        for _ in 0..60 {
            reactor.sleep(Duration::from_millis(400)).await;
            reactor.jump_wall_clock(-DAY_MS);
            append(engine, &sent).await;
            reactor.jump_wall_clock(DAY_MS);
            look(engine, &sent).await;
        }
        // The clocks did catch up: what carries the new time has an end too.
        reactor.sleep(2 * RETENTION).await;
        let logs = engine.streams().by_name("logs").cloned().unwrap();
        for shard in &logs.shards {
            let read = read_all(engine, &logs, shard.index, ReadFrom::TrimHorizon).await;
            assert!(read.is_empty(), "{read:?}");
        }
        server.stop().await;
    })
    .unwrap();
}

/// Lives on one to three cores in which the wall clock is set to any of a few times, and each ends as it
/// happens to.
fn story(seed: u64) {
    let sim: Sim = machine(seed);
    let mut dice = Dice::new(seed);
    let sent = Sent::default();
    for _ in 0..dice.between(2, 4) {
        let cores = dice.between(1, 3) as usize;
        let steps = dice.between(10, 120);
        let rarely = dice.between(1, 12);
        let closes = dice.coin();
        let mut here = Dice::new(dice.draw());
        let (reactor, disk, sent) = (sim.reactor(), sim.disk(), Rc::clone(&sent));
        sim.run(RunLimit::done(), async move {
            let server = start(&reactor, &disk, cores).await;
            look(&server.engines[0], &sent).await;
            let mut stands = 0;
            for _ in 0..steps {
                if here.below(rarely) == 0 {
                    let times = [0, 0, HOUR_MS, -HOUR_MS, DAY_MS, YEARS_MS];
                    let to = times[here.below(6) as usize];
                    reactor.jump_wall_clock(to - stands);
                    stands = to;
                }
                let engine = &server.engines[here.below(cores as u64) as usize];
                append(engine, &sent).await;
                let pause = here.between(10, 600);
                reactor.sleep(Duration::from_millis(pause)).await;
                if here.below(4) == 0 {
                    look(engine, &sent).await;
                }
            }
            look(&server.engines[0], &sent).await;
            reactor.jump_wall_clock(-stands);
            if closes {
                server.stop().await;
            }
        })
        .unwrap();
        sim.crash(if dice.coin() {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        if dice.below(3) == 0 {
            let hours = dice.between(0, 4);
            sim.jump_wall_clock(hours.cast_signed() * HOUR_MS - HOUR_MS);
        }
    }
}

fn tell(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let told = std::panic::catch_unwind(|| story(seed));
        assert!(told.is_ok(), "seed {seed}");
    }
}

#[test]
fn no_setting_of_the_clock_takes_a_young_record() {
    tell(0..60);
}

#[test]
#[ignore = "takes a minute"]
fn no_setting_of_the_clock_takes_a_young_record_in_many_lives() {
    tell(60..4_000);
}
