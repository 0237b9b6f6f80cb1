//! Several cores, and another number of them after a restart.

use std::time::Duration;

use weir_protocol::model::{Offset, ShardIndex, StreamMode};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor as _;
use weir_reactor::sim::{Crash, RunLimit};

use super::{Server, asked, batch, create, machine, name, options, read_all};
use crate::error::AppendError;
use crate::request::ConsumersOnDelete;

#[test]
fn any_core_takes_anything_and_the_owner_only_its_own() {
    let sim = machine(11);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(3)).await.unwrap();
        let stream = create(&server.engines[0], asked("logs", 9, StreamMode::OnDemand)).await;
        let batches: Vec<_> = (0..60)
            .map(|i| batch(&stream, &format!("k{i}"), &["x"]))
            .collect();
        let stored = server.engines[1].append(batches.clone()).await;
        assert!(stored.iter().all(Result::is_ok), "{stored:?}");
        for batch in &batches {
            let owner = stream.shard(batch.shard.index).unwrap().core;
            for engine in &server.engines {
                let result = engine.append_here(&batch.bytes);
                if engine.core() == owner {
                    result.unwrap();
                } else {
                    let (shard, map_version) = (batch.shard, 1);
                    let expected = AppendError::NotOwner {
                        shard,
                        owner,
                        map_version,
                    };
                    assert_eq!(result.unwrap_err(), expected);
                }
            }
        }
        let counters = server.engines[2].all_counters().await;
        assert_eq!(
            counters.iter().map(|c| c.appended_records).sum::<u64>(),
            120
        );
        assert_eq!(counters.iter().map(|c| c.shards).sum::<u64>(), 9);
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn the_number_of_cores_may_change() {
    for seed in 0..6 {
        let sim = machine(seed);
        let mut written = 0_usize;
        for (life, cores) in [1, 3, 2, 4, 1].into_iter().enumerate() {
            let (reactor, disk) = (sim.reactor(), sim.disk());
            let is_crash = (seed + life as u64).is_multiple_of(2);
            let before = written;
            let (told, count) = std::sync::mpsc::channel();
            sim.run(RunLimit::done(), async move {
                let server = Server::start(reactor, disk, options(cores)).await.unwrap();
                let engine = server.engines.last().unwrap().clone();
                let stream = match engine.streams().by_name("logs") {
                    Some(stream) => stream.clone(),
                    None => create(&engine, asked("logs", 5, StreamMode::OnDemand)).await,
                };
                let mut found = 0;
                for index in (0..5).map(ShardIndex) {
                    let records = read_all(&engine, &stream, index, ReadFrom::TrimHorizon).await;
                    assert!(records.is_sorted_by(|a, b| a.0 < b.0));
                    found += records.len();
                }
                assert_eq!(found, before, "life {life} with {cores} cores");
                for i in 0..40 {
                    let text = "x".repeat(5_000);
                    let key = format!("k{i}");
                    let stored = engine.append(vec![batch(&stream, &key, &[&text])]).await;
                    stored[0].clone().unwrap();
                }
                if !is_crash {
                    server.stop().await;
                }
                told.send(40).unwrap();
            })
            .unwrap();
            written += count.recv().unwrap();
            sim.crash(if is_crash {
                Crash::PowerCut
            } else {
                Crash::Kill
            });
        }
    }
}

#[test]
fn a_deleted_stream_stays_deleted_and_an_interrupted_creation_is_ended() {
    let sim = machine(12);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let engine = &server.engines[0];
        let gone = create(engine, asked("gone", 4, StreamMode::OnDemand)).await;
        for i in 0..20 {
            engine
                .append(vec![batch(&gone, &format!("{i}"), &["x"])])
                .await;
        }
        engine
            .create_stream(asked("new", 2, StreamMode::OnDemand))
            .await
            .unwrap();
        engine
            .delete_stream(&name("gone"), ConsumersOnDelete::Keep)
            .await
            .unwrap();
    })
    .unwrap();
    sim.crash(Crash::PowerCut);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let streams = server.engines[1].streams();
        let names: Vec<&str> = streams.in_name_order().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["new"]);
        assert!(streams.by_name("new").unwrap().is_usable());
        let next = create(&server.engines[0], asked("next", 1, StreamMode::OnDemand)).await;
        assert_eq!(next.id.get(), 3);
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_shard_that_stands_still_holds_up_no_other_of_the_same_request() {
    let sim = machine(7);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = &server.engines[0];
        let stream = create(engine, asked("logs", 2, StreamMode::OnDemand)).await;
        let of_shard = |wanted: u32, text: &str| {
            let mut batches = (0..64).map(|key| batch(&stream, &key.to_string(), &[text]));
            let found = batches.find(|batch| batch.shard.index.0 == wanted);
            found.expect("some key names each shard")
        };
        let batches = vec![of_shard(0, "a"), of_shard(1, "b"), of_shard(0, "c")];
        let (still, other) = (batches[0].shard, batches[1].shard);
        engine.stand_still_here(&[still]).await.unwrap();
        let appending = engine.append(batches);
        let letting_go = async {
            while engine.log().tip(other).unwrap().durable_next == Offset::ZERO {
                reactor.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(engine.log().tip(still).unwrap().durable_next, Offset::ZERO);
            engine.let_go_here(&[still]);
        };
        let (answers, ()) = futures_util::future::join(appending, letting_go).await;
        let firsts: Vec<Offset> = answers
            .into_iter()
            .map(|answer| answer.unwrap().first_offset)
            .collect();
        assert_eq!(firsts[..2], [Offset::ZERO; 2]);
        assert!(
            firsts[2] > Offset::ZERO,
            "batches of one shard keep their order"
        );
        server.stop().await;
    })
    .unwrap();
}
