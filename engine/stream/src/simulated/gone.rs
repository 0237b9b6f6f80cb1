//! Askers that go away, and cores that are late.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use weir_log::LogState;
use weir_protocol::model::{ConsumerName, Offset, ShardId, StreamMode, StreamStatus};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::sim::{Faults, RunLimit, SimReactor};
use weir_reactor::{Lane, Reactor};

use super::{Server, asked, batch, create, machine, name, options};
use crate::boot::open_in;
use crate::engine::Engine;
use crate::error::ReadError;
use crate::request::{Change, ConsumerKey, ConsumersOnDelete, ReadRequest};
use crate::reshard::{Reshard, ReshardRules};
use crate::settings::Tags;
use crate::stream::Stream;
use crate::subscription::Subscriber;

/// Begins `work` and goes away, as a client does that resets its request.
async fn begin_and_go(work: impl Future) {
    let mut work = pin!(work);
    poll_fn(|context| {
        assert!(work.as_mut().poll(context).is_pending(), "it must wait");
        Poll::Ready(())
    })
    .await;
}

/// Waits until the stream `logs` is as `is_so` says.
async fn until(engine: &Engine<SimReactor>, is_so: impl Fn(Option<&Stream>) -> bool) {
    for _ in 0..1_000 {
        let streams = engine.streams();
        if is_so(streams.by_name("logs").map(|stream| &**stream)) {
            return;
        }
        engine.reactor().sleep(Duration::from_millis(5)).await;
    }
    let streams = engine.streams();
    panic!("it stays as it is: {:?}", streams.by_name("logs"));
}

fn is_active(stream: Option<&Stream>) -> bool {
    stream.is_some_and(|stream| stream.status == StreamStatus::Active)
}

#[test]
fn a_change_is_seen_through_although_its_asker_went_away() {
    let sim = machine(21);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor, disk, options(2)).await.unwrap();
        let (one, two) = (&server.engines[0], &server.engines[1]);
        let logs = name("logs");

        begin_and_go(one.create_stream(asked("logs", 2, StreamMode::Provisioned))).await;
        until(two, is_active).await;

        begin_and_go(two.reshard_stream(&logs, Reshard::Count { target: 4 }, ReshardRules::Aws))
            .await;
        until(one, |stream| {
            is_active(stream) && stream.unwrap().open_shards().count() == 4
        })
        .await;

        let consumer = ConsumerName::new("app").unwrap();
        let register = Change::RegisterConsumer {
            name: consumer.clone(),
            tags: Tags::default(),
        };
        begin_and_go(one.change_stream(&logs, register)).await;
        until(two, |stream| {
            let consumer = stream.unwrap().consumer("app");
            consumer.is_some_and(|consumer| consumer.status.aws_name() == "ACTIVE")
        })
        .await;
        let key = ConsumerKey {
            name: consumer,
            created_secs: None,
        };
        begin_and_go(one.change_stream(&logs, Change::DeregisterConsumer(key))).await;
        until(two, |stream| stream.unwrap().consumers.is_empty()).await;

        begin_and_go(one.delete_stream(&logs, ConsumersOnDelete::Keep)).await;
        until(two, |stream| stream.is_none()).await;
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn nobody_waits_for_a_core_that_has_not_started() {
    let sim = machine(22);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let opened = open_in(&reactor, &disk, &options(2)).await.unwrap();
        reactor.spawn(Lane::Background, opened.control.run());
        let mut seeds = opened.cores.into_iter();
        let mut start = async || {
            let seed = seeds.next().unwrap();
            Engine::start(reactor.clone(), seed).await.unwrap()
        };
        let first = start().await;
        // More publications than a core's mailbox holds.
        for number in 0..8 {
            create(
                &first,
                asked(&format!("s{number}"), 4, StreamMode::Provisioned),
            )
            .await;
        }
        let second = start().await;
        assert_eq!(second.publication(), first.publication());
        assert_eq!(second.streams().len(), 8);
        let stream = second.streams().by_name("s7").unwrap().clone();
        for key in 0..20 {
            let batch = batch(&stream, &format!("{key}"), &["x"]);
            for engine in [&first, &second] {
                engine.append(vec![batch.clone()]).await.remove(0).unwrap();
            }
        }
        let engines = vec![first, second];
        let server = Server {
            engines,
            stop: opened.stop,
        };
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn states_end_although_the_catalog_takes_no_writes_for_a_while() {
    let sim = machine(23);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk.clone(), options(2))
            .await
            .unwrap();
        let (one, two) = (&server.engines[0], &server.engines[1]);
        let logs = name("logs");
        let fails_for_a_while = async || {
            disk.stop_plain_operations_after(Some(0));
            reactor.sleep(Duration::from_millis(500)).await;
            disk.stop_plain_operations_after(None);
        };
        one.create_stream(asked("logs", 2, StreamMode::Provisioned))
            .await
            .unwrap();
        fails_for_a_while().await;
        until(two, is_active).await;
        // To the count that it has: over at once, which has to be written.
        one.reshard_stream(&logs, Reshard::Count { target: 2 }, ReshardRules::Aws)
            .await
            .unwrap();
        fails_for_a_while().await;
        until(two, is_active).await;
        one.delete_stream(&logs, ConsumersOnDelete::Keep)
            .await
            .unwrap();
        fails_for_a_while().await;
        until(two, |stream| stream.is_none()).await;
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_reshard_waits_for_a_log_that_is_being_opened_again() {
    let sim = machine(24);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = &server.engines[0];
        let stream = create(engine, asked("logs", 2, StreamMode::Provisioned)).await;
        reactor.set_faults(Faults {
            fail_next_writes: 1,
            disk_full: true,
            slow_operations: 10_000,
            ..Faults::default()
        });
        let stored = engine.append(vec![batch(&stream, "k", &["x"])]).await;
        assert!(stored[0].is_err());
        engine
            .reshard_stream(
                &stream.name,
                Reshard::Count { target: 4 },
                ReshardRules::Aws,
            )
            .await
            .unwrap();
        let mut was_failed = false;
        for _ in 0..20 {
            reactor.sleep(Duration::from_millis(1)).await;
            was_failed |= engine.log().state() == LogState::Failed;
        }
        assert!(was_failed, "otherwise nothing is shown");
        reactor.set_faults(Faults::default());
        until(engine, is_active).await;
        let streams = engine.streams();
        let stream = streams.by_name("logs").unwrap();
        assert_eq!(stream.open_shards().count(), 4);
        server.stop().await;
    })
    .unwrap();
}

#[test]
fn a_subscription_whose_asker_went_away_is_left() {
    let sim = machine(25);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(2))
            .await
            .unwrap();
        let one = &server.engines[0];
        create(one, asked("logs", 8, StreamMode::Provisioned)).await;
        let register = Change::RegisterConsumer {
            name: ConsumerName::new("app").unwrap(),
            tags: Tags::default(),
        };
        one.change_stream(&name("logs"), register).await.unwrap();
        let is_ready = |stream: Option<&Stream>| {
            let consumer = stream.unwrap().consumer("app");
            consumer.is_some_and(|consumer| consumer.status.aws_name() == "ACTIVE")
        };
        until(one, is_ready).await;
        let streams = one.streams();
        let stream = streams.by_name("logs").unwrap();
        let elsewhere = stream.shards.iter().find(|shard| shard.core == 1).unwrap();
        let shard: ShardId = stream.shard_id(elsewhere.index);
        let consumer = stream.consumer("app").unwrap();
        let subscriber = Subscriber {
            shard,
            consumer: consumer.name.clone(),
            registered: consumer.created,
        };
        let open = || server.engines[1].with_subscriptions(|all| all.open());
        let mut work = Box::pin(one.subscribe(subscriber));
        poll_fn(|context| {
            assert!(work.as_mut().poll(context).is_pending(), "it must wait");
            Poll::Ready(())
        })
        .await;
        // It is granted, and the answer lies there unread.
        reactor.sleep(Duration::from_millis(10)).await;
        assert_eq!(open(), 1);
        drop(work);
        reactor.sleep(Duration::from_millis(10)).await;
        assert_eq!(open(), 0);
        server.stop().await;
    })
    .unwrap();
}

/// Such a reader was told that there was no stream of its number, and a `tail` of all shards ended.
#[test]
fn a_shard_that_was_just_forgotten_is_the_one_that_does_not_exist() {
    let sim = machine(25);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let server = Server::start(reactor.clone(), disk, options(1))
            .await
            .unwrap();
        let engine = server.engines[0].clone();
        let stream = create(&engine, asked("logs", 2, StreamMode::OnDemand)).await;
        let [forgotten, kept] = [0, 1].map(|nth| stream.shard_id(stream.shards[nth].index));
        // The log goes first; what the core knows besides is still as it was.
        engine.log().remove_shard(forgotten);
        let read = |shard, from| ReadRequest {
            shard,
            from,
            bytes_max: 1_000,
            wait_ms: 0,
            polling: false,
        };
        let at = ReadFrom::Time(engine.wall());
        for from in [
            ReadFrom::TrimHorizon,
            ReadFrom::Latest,
            ReadFrom::Offset(Offset::ZERO),
            at,
        ] {
            let refused = engine.read(read(forgotten, from)).await.unwrap_err();
            assert_eq!(refused, ReadError::ShardNotFound { shard: forgotten });
            assert_eq!(
                refused.to_string(),
                format!("shard {forgotten} does not exist")
            );
            engine.read(read(kept, from)).await.unwrap();
        }
        server.stop().await;
    })
    .unwrap();
}
