//! Changes of which nobody knew that they were made.

use std::time::Duration;

use weir_protocol::model::{ConsumerName, StreamMode, StreamStatus};
use weir_reactor::Reactor;
use weir_reactor::sim::RunLimit;

use super::{Server, asked, create, machine, name, options};
use crate::consumer::ConsumerStatus;
use crate::request::{Change, ConsumersOnDelete};
use crate::reshard::{Reshard, ReshardRules};
use crate::settings::Tags;

const WAYS: u64 = 4;

/// The catalog's disk stops amid a change, so that it can neither be written nor opened again, and works
/// later: whoever asked was told of an error. What is found then is seen through all the same.
#[test]
fn a_change_that_was_made_after_all_is_seen_through() {
    let mut found = [0; WAYS as usize];
    for stop_after in 0..30 {
        for way in 0..WAYS {
            let sim = machine(stop_after);
            let (reactor, disk) = (sim.reactor(), sim.disk());
            let was_made = sim.run(RunLimit::done(), async move {
                let server = Server::start(reactor.clone(), disk.clone(), options(2));
                let server = server.await.unwrap();
                let engine = &server.engines[1];
                let old = name("old");
                create(engine, asked("old", 2, StreamMode::Provisioned)).await;
                let before = engine.streams().by_name("old").cloned();
                disk.stop_plain_operations_after(Some(stop_after));
                let told = match way {
                    0 => {
                        let new = asked("new", 2, StreamMode::Provisioned);
                        engine.create_stream(new).await.map(drop)
                    }
                    1 => {
                        let consumers = ConsumersOnDelete::Delete;
                        engine.delete_stream(&old, consumers).await
                    }
                    2 => {
                        let count = Reshard::Count { target: 4 };
                        let rules = ReshardRules::Operator;
                        let begun = engine.reshard_stream(&old, count, rules);
                        begun.await.map(drop)
                    }
                    _ => {
                        let consumer = Change::RegisterConsumer {
                            name: ConsumerName::new("reader").unwrap(),
                            tags: Tags::new(),
                        };
                        let changed = engine.change_stream(&old, consumer);
                        changed.await.map(drop)
                    }
                };
                reactor.sleep(Duration::from_millis(100)).await;
                disk.stop_plain_operations_after(None);
                reactor.sleep(Duration::from_mins(1)).await;
                let streams = engine.streams();
                for stream in streams.in_name_order() {
                    let is_over = stream.status == StreamStatus::Active && stream.pending.is_none();
                    let mut consumers = stream.consumers.iter();
                    let settled = consumers.all(|one| one.status == ConsumerStatus::Active);
                    assert!(is_over && settled, "stopped after {stop_after}: {stream:?}");
                }
                let is_there = match way {
                    0 => streams.by_name("new").is_some(),
                    1 => streams.by_name("old").is_none(),
                    _ => streams.by_name("old").cloned() != before,
                };
                // A reshard may be given up when the catalog takes no writes.
                assert!(is_there || told.is_err() || way == 2, "way {way}: {told:?}");
                server.stop().await;
                is_there && told.is_err()
            });
            found[way as usize] += u32::from(was_made == Some(true));
        }
    }
    println!("made although told otherwise, by way: {found:?}");
    assert!(found.iter().all(|times| *times > 0), "{found:?}");
}
