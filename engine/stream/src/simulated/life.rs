//! One core, from an empty folder through crashes.

use std::time::Duration;

use weir_protocol::batch::BatchError;
use weir_protocol::model::{Offset, ShardIndex, StreamMode};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::sim::{Crash, RunLimit};
use weir_reactor::{Lane, Reactor};

use super::{Server, asked, batch, create, machine, name, options, read_all};
use crate::error::{AppendError, ControlError, ReadError};
use crate::request::{Change, ConsumersOnDelete, ReadRequest, StreamChange};

const FIRST: ShardIndex = ShardIndex(0);

#[test]
fn what_goes_in_comes_out_also_after_a_restart() {
    let sim = machine(1);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk.clone(), options(1))
            .await
            .unwrap();
        let engine = &server.engines[0];
        let stream = create(engine, asked("logs", 4, StreamMode::OnDemand)).await;
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); 4];
        for round in 0..50 {
            let texts: Vec<String> = (0..20).map(|i| format!("{round}/{i}")).collect();
            let batches: Vec<_> = texts
                .iter()
                .map(|text| batch(&stream, text, &[text, text]))
                .collect();
            for (batch, text) in batches.iter().zip(&texts) {
                let shard = &mut expected[batch.shard.index.0 as usize];
                shard.extend([text.clone(), text.clone()]);
            }
            let stored = engine.append(batches).await;
            assert!(stored.iter().all(Result::is_ok), "{stored:?}");
        }
        for (expected, index) in expected.iter().zip((0..).map(ShardIndex)) {
            let found = read_all(engine, &stream, index, ReadFrom::TrimHorizon).await;
            assert!(found.iter().map(|(_, text)| text).eq(expected));
            assert!(
                found
                    .iter()
                    .map(|(offset, _)| offset.get())
                    .eq(0..expected.len() as u64)
            );
        }
        let key = engine.seal_key();
        server.stop().await;

        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        let engine = &server.engines[0];
        assert_eq!(engine.seal_key(), key);
        let found = engine.streams().by_name("logs").unwrap().clone();
        assert_eq!(found, stream);
        for (expected, index) in expected.iter().zip((0..).map(ShardIndex)) {
            let found = read_all(engine, &stream, index, ReadFrom::TrimHorizon).await;
            assert!(found.iter().map(|(_, text)| text).eq(expected));
        }
        // After a clean stop the numbers go on without a gap.
        let stored = engine
            .append(vec![batch(&stream, "k", &["next"])])
            .await
            .remove(0)
            .unwrap();
        assert_eq!(stored.first_offset.epoch().get(), 0);
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_crash_keeps_what_was_acknowledged_and_never_uses_a_number_twice() {
    for seed in 0..40 {
        let sim = machine(seed);
        let mut known: Vec<(Offset, String)> = Vec::new();
        for life in 0..4_u64 {
            let (reactor, disk) = (sim.reactor(), sim.disk());
            let before = known.clone();
            let (told, acknowledged) = std::sync::mpsc::channel();
            let limit = RunLimit::Steps(1_500 + seed * 997 % 9_000 + life * 500);
            sim.run(limit, async move {
                let server = Server::start(reactor, disk, options(1)).await.unwrap();
                let engine = &server.engines[0];
                let stream = match engine.streams().by_name("logs") {
                    Some(stream) => stream.clone(),
                    None => create(engine, asked("logs", 1, StreamMode::OnDemand)).await,
                };
                let found = read_all(engine, &stream, FIRST, ReadFrom::TrimHorizon).await;
                for record in &before {
                    assert!(found.contains(record), "{record:?} is lost");
                }
                assert!(found.is_sorted_by(|a, b| a.0 < b.0));
                for number in 0.. {
                    let text = format!("{life}/{number}");
                    let stored = engine.append(vec![batch(&stream, "k", &[&text])]).await;
                    let stored = stored[0].clone().unwrap();
                    assert!(
                        before
                            .iter()
                            .all(|(offset, _)| *offset < stored.first_offset)
                    );
                    told.send((stored.first_offset, text)).unwrap();
                }
            });
            known.extend(acknowledged.try_iter());
            sim.crash(if life % 2 == 0 {
                Crash::Kill
            } else {
                Crash::PowerCut
            });
        }
        assert!(!known.is_empty(), "seed {seed} acknowledged nothing");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let sim = machine(seed);
        let (reactor, disk) = (sim.reactor(), sim.disk());
        sim.run(RunLimit::done(), async move {
            let server = Server::start(reactor, disk, options(2)).await.unwrap();
            let stream = create(&server.engines[0], asked("logs", 8, StreamMode::OnDemand)).await;
            for i in 0..50 {
                let key = format!("k{i}");
                server.engines[i % 2]
                    .append(vec![batch(&stream, &key, &["x"])])
                    .await;
            }
            server.stop().await;
        })
        .unwrap();
        sim.trace_hash()
    };
    // The folder's secrets are drawn from the seed, so two runs agree to the bit.
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_waiting_read_gets_the_next_record() {
    let sim = machine(2);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = server.engines[0].clone();
        let stream = create(&engine, asked("logs", 1, StreamMode::OnDemand)).await;
        engine.append(vec![batch(&stream, "k", &["old"])]).await;
        let shard = stream.shard_id(FIRST);
        let latest = ReadRequest {
            shard,
            from: ReadFrom::Latest,
            bytes_max: 1_000,
            wait_ms: 30_000,
            polling: false,
        };
        let (producer, writer) = (engine.clone(), stream.clone());
        reactor.spawn(Lane::Network, async move {
            producer.reactor().sleep(Duration::from_secs(3)).await;
            producer.append(vec![batch(&writer, "k", &["new"])]).await;
        });
        let started = engine.monotonic();
        let read = engine.read_here(&latest).await.unwrap();
        let waited = engine.monotonic().since(started);
        assert_eq!((read.batches.count, read.behind_ms), (1, 0));
        assert!(waited >= Duration::from_secs(3) && waited < Duration::from_millis(3_200));
        drop(read);
        // Nothing comes: the wait ends in time, at the tip.
        let started = engine.monotonic();
        let read = engine.read(latest).await.unwrap();
        assert_eq!((read.count, read.next == read.tip), (0, true));
        let waited = engine.monotonic().since(started);
        assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(31));
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn deleting_a_stream_ends_its_waiting_reads_and_frees_its_name() {
    let sim = machine(3);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = server.engines[0].clone();
        let stream = create(&engine, asked("logs", 1, StreamMode::OnDemand)).await;
        let shard = stream.shard_id(FIRST);
        let request = ReadRequest {
            shard,
            from: ReadFrom::Latest,
            bytes_max: 1_000,
            wait_ms: 60_000,
            polling: false,
        };
        let deleter = engine.clone();
        reactor.spawn(Lane::Network, async move {
            deleter.reactor().sleep(Duration::from_secs(1)).await;
            deleter
                .delete_stream(&name("logs"), ConsumersOnDelete::Keep)
                .await
                .unwrap();
            let again = deleter
                .delete_stream(&name("logs"), ConsumersOnDelete::Keep)
                .await;
            assert!(matches!(again, Err(ControlError::NotActive { .. })));
            let taken = deleter
                .create_stream(asked("logs", 1, StreamMode::OnDemand))
                .await;
            assert_eq!(
                taken.unwrap_err(),
                ControlError::StreamExists { name: name("logs") }
            );
        });
        let ended = engine.read(request).await.unwrap_err();
        assert_eq!(ended, ReadError::StreamNotFound { stream: stream.id });
        let refused = engine
            .append_here(&batch(&stream, "k", &["x"]).bytes)
            .unwrap_err();
        assert!(
            matches!(refused, AppendError::StreamNotActive { .. }),
            "{refused:?}"
        );
        reactor.sleep(Duration::from_millis(100)).await;
        let refused = engine
            .append_here(&batch(&stream, "k", &["x"]).bytes)
            .unwrap_err();
        assert_eq!(refused, AppendError::StreamNotFound { stream: stream.id });
        let second = create(&engine, asked("logs", 1, StreamMode::OnDemand)).await;
        assert!(second.id > stream.id);
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn admission_refuses_what_it_must() {
    let sim = machine(4);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = server.engines[0].clone();
        let creating = engine
            .create_stream(asked("logs", 1, StreamMode::Provisioned))
            .await;
        let creating = creating.unwrap();
        let early = engine
            .append_here(&batch(&creating, "k", &["x"]).bytes)
            .unwrap_err();
        assert!(
            matches!(early, AppendError::StreamNotActive { .. }),
            "{early:?}"
        );
        reactor.sleep(Duration::from_millis(50)).await;
        let stream = engine.streams().by_name("logs").unwrap().clone();

        let mut damaged = batch(&stream, "k", &["x"]).bytes;
        *damaged.last_mut().unwrap() ^= 1;
        let refused = engine.append_here(&damaged).unwrap_err();
        assert!(
            matches!(
                refused,
                AppendError::InvalidBatch(BatchError::PayloadChecksum { .. })
            ),
            "{refused:?}"
        );
        // Metered: a thousand records pass at once, then some are throttled.
        let many = vec!["x"; 500];
        for _ in 0..2 {
            engine
                .append_here(&batch(&stream, "k", &many).bytes)
                .unwrap();
        }
        let refused = engine
            .append_here(&batch(&stream, "k", &["x"]).bytes)
            .unwrap_err();
        assert!(
            matches!(refused, AppendError::Throttled { .. }),
            "{refused:?}"
        );
        assert_eq!(engine.counters().throttled_appends, 1);
        // The mode is a setting.
        let change = Change::Settings(StreamChange {
            mode: Some(StreamMode::OnDemand),
            ..StreamChange::default()
        });
        engine.change_stream(&stream.name, change).await.unwrap();
        engine
            .append_here(&batch(&stream, "k", &["x"]).bytes)
            .unwrap();
        assert_eq!(engine.counters().appended_records, 1_001);
        server.stop().await;
        let late = engine
            .append_here(&batch(&stream, "k", &["x"]).bytes)
            .unwrap_err();
        assert_eq!(late, AppendError::Stopping);
    })
    .unwrap();
}

#[test]
fn five_polls_a_second_of_a_metered_shard() {
    let sim = machine(5);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        let engine = server.engines[0].clone();
        let stream = create(&engine, asked("logs", 1, StreamMode::Provisioned)).await;
        let request = ReadRequest {
            shard: stream.shard_id(FIRST),
            from: ReadFrom::TrimHorizon,
            bytes_max: 1_000,
            wait_ms: 0,
            polling: true,
        };
        for _ in 0..5 {
            engine.read(request).await.unwrap();
        }
        assert!(matches!(
            engine.read(request).await,
            Err(ReadError::Throttled { .. })
        ));
        // The binary protocol's readers are not pollers.
        engine
            .read(ReadRequest {
                polling: false,
                ..request
            })
            .await
            .unwrap();
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn polls_are_charged_what_their_callers_give_out_from_any_core() {
    let sim = machine(7);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let engine = server.engines[0].clone();
        let stream = create(&engine, asked("logs", 2, StreamMode::Provisioned)).await;
        for shard in &stream.shards {
            let request = ReadRequest {
                shard: stream.shard_id(shard.index),
                from: ReadFrom::TrimHorizon,
                bytes_max: 1 << 20,
                wait_ms: 0,
                polling: true,
            };
            engine.read(request).await.unwrap();
            engine.charge_read(request.shard, 1 << 20);
            engine.read(request).await.unwrap();
            // A session that waited does not count the call twice, and still pays.
            engine.charge_read(request.shard, 3 << 20);
            engine.reactor().sleep(Duration::from_millis(900)).await;
            let refused = engine.read(request).await.unwrap_err();
            let what = "bytes read";
            let shard = request.shard;
            assert_eq!(refused, ReadError::Throttled { shard, what });
            engine.reactor().sleep(Duration::from_millis(200)).await;
            engine.read(request).await.unwrap();
        }
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn retention_forgets_and_a_clock_that_jumps_does_not() {
    let sim = machine(6);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    let (sent, jump) = std::sync::mpsc::channel();
    let first = async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = server.engines[0].clone();
        let mut short = asked("short", 1, StreamMode::OnDemand);
        short.retention_ms = Some(20_000);
        let stream = create(&engine, short).await;
        engine.append(vec![batch(&stream, "k", &["old"])]).await;
        sent.send((server, engine, stream)).ok();
    };
    sim.run(RunLimit::done(), first).unwrap();
    let (server, engine, stream) = jump.recv().unwrap();
    sim.jump_wall_clock(10 * 365 * 24 * 3_600_000);
    sim.run(RunLimit::done(), async move {
        engine.reactor().sleep(Duration::from_secs(10)).await;
        let kept = read_all(&engine, &stream, FIRST, ReadFrom::TrimHorizon).await;
        assert_eq!(kept.len(), 1, "ten years ahead deleted something early");
        engine.reactor().sleep(Duration::from_secs(30)).await;
        let kept = read_all(&engine, &stream, FIRST, ReadFrom::TrimHorizon).await;
        assert_eq!(kept.len(), 0, "retention is over");
        server.stop().await;
    })
    .unwrap();
}
