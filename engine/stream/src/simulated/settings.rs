//! Settings and consumers through crashes, states of passage and quotas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::limits::{RECORD_BYTES_CEILING, RECORD_BYTES_MAX};
use weir_protocol::model::{ConsumerName, StreamMode, StreamQuota, StreamStatus};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_reactor::sim::{Crash, RunLimit, SimReactor};

use super::{Server, asked, batch, create, machine, options, read_all};
use crate::consumer::ConsumerStatus;
use crate::engine::Engine;
use crate::error::{AppendError, ControlError};
use crate::request::{Change, ConsumerKey, ConsumersOnDelete, StreamChange};
use crate::settings::Tags;
use crate::stream::Stream;

fn tag(key: String, value: String) -> Change {
    Change::Tag(Tags::from([(key, value)]))
}

fn register(text: &str) -> Change {
    Change::RegisterConsumer {
        name: ConsumerName::new(text).unwrap(),
        tags: Tags::new(),
    }
}

fn deregister(text: &str) -> Change {
    Change::DeregisterConsumer(ConsumerKey {
        name: ConsumerName::new(text).unwrap(),
        created_secs: None,
    })
}

/// Change `number` of a script that touches every kind of setting.
fn change(number: u64) -> Change {
    let consumer = format!("app{}", number / 6 % 3);
    match number % 6 {
        0 => tag(format!("k{}", number % 7), number.to_string()),
        1 => register(&consumer),
        2 => Change::IncreaseRetention(24 * 3_600_000 + number),
        3 => Change::Policy(Some(format!("{{\"n\":{number}}}"))),
        4 => deregister(&consumer),
        _ => Change::Settings(StreamChange {
            quota: Some(StreamQuota::Aws),
            retain_bytes: Some((1 << 20) + number),
            ..StreamChange::default()
        }),
    }
}

/// What outlives a crash: everything but states of passage and what they end.
fn lasting(stream: &Stream) -> (u64, Option<u64>, StreamQuota, Option<String>, Tags) {
    (
        stream.retention_ms,
        stream.retain_bytes,
        stream.settings.quota,
        stream.settings.policy.clone(),
        stream.settings.tags.clone(),
    )
}

async fn settled(engine: &Engine<SimReactor>, stream: &str) -> Arc<Stream> {
    loop {
        let found = engine.streams().by_name(stream).unwrap().clone();
        let calm = |status| status == ConsumerStatus::Active;
        if found.status == StreamStatus::Active && found.consumers.iter().all(|c| calm(c.status)) {
            return found;
        }
        engine.reactor().sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn acknowledged_settings_survive_crashes_and_passages_end() {
    for seed in 0..12 {
        let sim = machine(seed);
        let (mut number, mut known) = (0, None);
        for life in 0..4_u64 {
            let (reactor, disk) = (sim.reactor(), sim.disk());
            let before: Option<Stream> = known.clone();
            let (told, acknowledged) = std::sync::mpsc::channel();
            let limit = RunLimit::Steps(400 + seed * 131 % 2_500 + life * 300);
            sim.run(limit, async move {
                let server = Server::start(reactor, disk, options(2)).await.unwrap();
                let engine = &server.engines[1];
                let found = match engine.streams().by_name("logs") {
                    Some(found) => found.clone(),
                    None => create(engine, asked("logs", 2, StreamMode::OnDemand)).await,
                };
                assert_eq!(found.status, StreamStatus::Active);
                if let Some(before) = before {
                    // The change that was under way may be there too.
                    let next = change(number);
                    let after = crate::catalog::change::changed(&before, &next, &around());
                    let possible = [Some(before), after.ok()].into_iter().flatten();
                    let mut possible = possible.map(|stream| lasting(&stream));
                    assert!(possible.any(|one| one == lasting(&found)), "{found:?}");
                }
                let is_calm = |status| status == ConsumerStatus::Active;
                assert!(
                    found.consumers.iter().all(|c| is_calm(c.status)),
                    "{found:?}"
                );
                let mut known = found.clone();
                for number in number.. {
                    match engine.change_stream(&found.name, change(number)).await {
                        Ok(changed) => known = changed.after,
                        Err(
                            ControlError::ConsumerExists { .. }
                            | ControlError::ConsumerNotFound { .. }
                            | ControlError::RetentionNotLonger { .. },
                        ) => {}
                        Err(error) => panic!("{error}"),
                    }
                    told.send((number + 1, Stream::clone(&known))).unwrap();
                }
            });
            if let Some((next, stream)) = acknowledged.try_iter().last() {
                (number, known) = (next, Some(stream));
            }
            sim.crash(Crash::PowerCut);
        }
        assert!(number > 0, "seed {seed} changed nothing");
    }
}

fn around() -> crate::catalog::change::Surroundings {
    crate::catalog::change::Surroundings {
        now: weir_protocol::model::Timestamp::ZERO,
        expiry: weir_protocol::model::Timestamp::ZERO,
        quota: crate::folder::QuotaSwitch::Mode,
        is_committed: false,
        is_instant: false,
    }
}

#[test]
fn states_of_passage_are_seen_and_end() {
    let sim = machine(21);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let engine = &server.engines[0];
        let logs = create(engine, asked("logs", 1, StreamMode::OnDemand)).await;
        let mode = |mode| Change::Mode {
            mode,
            warm_throughput_mibps: None,
        };
        let changed = engine
            .change_stream(&logs.name, mode(StreamMode::Provisioned))
            .await
            .unwrap();
        assert_eq!(changed.before.mode, StreamMode::OnDemand);
        assert_eq!(changed.after.status, StreamStatus::Updating);
        let again = engine
            .change_stream(&logs.name, mode(StreamMode::OnDemand))
            .await;
        assert!(matches!(again, Err(ControlError::NotActive { .. })));
        let active = settled(engine, "logs").await;
        assert_eq!(active.mode, StreamMode::Provisioned);

        let created = engine
            .change_stream(&logs.name, register("app"))
            .await
            .unwrap();
        let status = |stream: &Arc<Stream>| stream.consumer("app").map(|consumer| consumer.status);
        assert_eq!(status(&created.after), Some(ConsumerStatus::Creating));
        assert_eq!(
            status(&settled(engine, "logs").await),
            Some(ConsumerStatus::Active)
        );
        let kept = engine
            .delete_stream(&logs.name, ConsumersOnDelete::Keep)
            .await;
        let has_consumers = ControlError::HasConsumers {
            name: logs.name.clone(),
        };
        assert_eq!(kept, Err(has_consumers));
        let leaving = engine
            .change_stream(&logs.name, deregister("app"))
            .await
            .unwrap();
        assert_eq!(status(&leaving.after), Some(ConsumerStatus::Deleting));
        assert_eq!(status(&settled(engine, "logs").await), None);
        engine
            .delete_stream(&logs.name, ConsumersOnDelete::Keep)
            .await
            .unwrap();
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_commitment_is_kept_and_seen_by_every_core() {
    let sim = machine(22);
    for life in 0..2 {
        let (reactor, disk) = (sim.reactor(), sim.disk());
        sim.run(RunLimit::done(), async move {
            let server = Server::start(reactor, disk, options(2)).await.unwrap();
            assert_eq!(
                server.engines[1].account_settings().commitment.is_enabled,
                life == 1
            );
            let settings = server.engines[0].update_account_settings(true).await;
            let settings = settings.unwrap();
            assert_eq!(server.engines[1].account_settings(), settings);
            assert!(settings.commitment.started.is_some());
        })
        .unwrap();
        sim.crash(Crash::PowerCut);
    }
}

#[test]
fn a_longer_record_passes_where_the_stream_takes_it() {
    let sim = machine(23);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let mut options = options(1);
        options.segment_bytes = Some(16 << 20);
        let server = Server::start(reactor, disk, options).await.unwrap();
        let engine = &server.engines[0];
        let logs = create(engine, asked("logs", 1, StreamMode::OnDemand)).await;
        let long = "x".repeat(RECORD_BYTES_MAX as usize);
        let refused = engine.append(vec![batch(&logs, "k", &[&long])]).await;
        assert!(
            matches!(refused[0], Err(AppendError::InvalidBatch(_))),
            "{refused:?}"
        );
        let change = Change::RecordBytesMax(RECORD_BYTES_CEILING);
        engine.change_stream(&logs.name, change).await.unwrap();
        let stored = engine.append(vec![batch(&logs, "k", &[&long])]).await;
        assert!(stored[0].is_ok(), "{stored:?}");
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn an_emptied_bucket_stays_empty_while_settings_change() {
    let sim = machine(24);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        let engine = &server.engines[0];
        let logs = create(engine, asked("logs", 1, StreamMode::Provisioned)).await;
        // Seconds of debt.
        let many = vec!["x"; 5_000];
        engine.append_here(&batch(&logs, "k", &many).bytes).unwrap();
        let quota = |quota| {
            Change::Settings(StreamChange {
                quota: Some(quota),
                ..StreamChange::default()
            })
        };
        let one = batch(&logs, "k", &["x"]).bytes;
        let mut passed = BTreeMap::new();
        for set in [
            StreamQuota::Server,
            StreamQuota::Off,
            StreamQuota::Aws,
            StreamQuota::Mode,
        ] {
            engine.change_stream(&logs.name, quota(set)).await.unwrap();
            passed.insert(set.word(), engine.append_here(&one).is_ok());
        }
        let expected = [
            ("aws", false),
            ("mode", false),
            ("off", true),
            ("server", false),
        ];
        assert_eq!(passed, BTreeMap::from(expected));
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_longer_retention_brings_nothing_back() {
    let sim = machine(31);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk.clone(), options(1))
            .await
            .unwrap();
        let engine = &server.engines[0];
        let mut asked = asked("logs", 1, StreamMode::OnDemand);
        asked.retention_ms = Some(2_000);
        let logs = create(engine, asked).await;
        engine.append(vec![batch(&logs, "k", &["old"])]).await[0]
            .as_ref()
            .unwrap();
        let index = logs.shards[0].index;
        let all = async |engine: &Engine<SimReactor>| -> Vec<String> {
            let from = ReadFrom::TrimHorizon;
            let read = read_all(engine, &logs, index, from).await;
            read.into_iter().map(|(_, data)| data).collect()
        };
        assert_eq!(all(engine).await, ["old"]);
        engine.reactor().sleep(Duration::from_secs(4)).await;
        assert!(all(engine).await.is_empty());
        engine.append(vec![batch(&logs, "k", &["young"])]).await[0]
            .as_ref()
            .unwrap();
        let longer = Change::IncreaseRetention(24 * 3_600_000);
        engine.change_stream(&logs.name, longer).await.unwrap();
        assert_eq!(all(engine).await, ["young"]);
        engine.reactor().sleep(Duration::from_secs(4)).await;
        assert_eq!(all(engine).await, ["young"]);
        server.stop().await;

        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        assert_eq!(all(&server.engines[0]).await, ["young"]);
        server.stop().await;
    })
    .unwrap();
}

/// The row of the stream names a horizon for good; the expiry clock of the next life goes on from its
/// last note, seconds before it, and the wall clock is an hour behind both.
#[test]
fn what_a_longer_retention_keeps_expired_takes_nothing_young() {
    let sim = machine(32);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        let engine = &server.engines[0];
        let mut asked = asked("logs", 1, StreamMode::OnDemand);
        asked.retention_ms = Some(2_000);
        let logs = create(engine, asked).await;
        engine.reactor().sleep(Duration::from_secs(8)).await;
        let longer = Change::IncreaseRetention(24 * 3_600_000);
        engine.change_stream(&logs.name, longer).await.unwrap();
    })
    .unwrap();
    sim.crash(Crash::Kill);
    sim.jump_wall_clock(-3_600_000);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(1)).await.unwrap();
        let engine = &server.engines[0];
        let logs = settled(engine, "logs").await;
        // The clock was noted anew at the start, as it stands now.
        engine.reactor().sleep(Duration::from_millis(1_500)).await;
        let stored = engine.append(vec![batch(&logs, "k", &["young"])]).await;
        let arrival = stored[0].as_ref().unwrap().arrival;
        assert!(arrival >= logs.expired_before, "{arrival}");
        let read = read_all(engine, &logs, logs.shards[0].index, ReadFrom::TrimHorizon).await;
        assert_eq!(read.len(), 1, "it has a day");
        server.stop().await;
    })
    .unwrap();
}
