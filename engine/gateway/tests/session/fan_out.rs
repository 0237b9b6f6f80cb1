//! SubscribeToShard: what a registered consumer sees, over real sockets and cores.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_protocol::model::{ConsumerName, StreamQuota};
use weir_stream::{Change, ConsumerKey, StreamChange, SubscriptionTimes, Tags};

use crate::cbor;
use crate::rig::{Client, Server};
use crate::subscriber::Subscriber;

const HEARTBEAT: Duration = Duration::from_millis(150);

/// Times that a test can wait for.
pub(crate) fn quick() -> SubscriptionTimes {
    SubscriptionTimes {
        life: Duration::from_secs(30),
        heartbeat: HEARTBEAT,
        take_over: Duration::from_millis(1_500),
        call_interval: Duration::from_millis(200),
    }
}

pub(crate) fn server(cores: usize) -> Server {
    Server::start_with(cores, Duration::ZERO, quick())
}

/// An on-demand stream "s" of `shards` shards.
pub(crate) fn create(client: &mut Client, shards: u32) {
    let mode = json!({"StreamMode": "ON_DEMAND"});
    client.call(
        "CreateStream",
        json!({"StreamName": "s", "StreamModeDetails": mode, "ShardCount": shards}),
    );
    client.wait_active("s");
}

/// Registers a consumer of "s" and returns its ARN.
pub(crate) fn register(server: &Server, name: &str) -> String {
    let change = Change::RegisterConsumer {
        name: ConsumerName::new(name).unwrap(),
        tags: Tags::new(),
    };
    let after = server.change("s", change).after;
    let consumer = after.consumers.iter().find(|c| c.name == *name).unwrap();
    arn(name, consumer.created.as_secs())
}

fn arn(name: &str, registered_secs: u64) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/{name}:{registered_secs}")
}

fn deregister(server: &Server, name: &str) {
    let key = ConsumerKey {
        name: ConsumerName::new(name).unwrap(),
        created_secs: None,
    };
    server.change("s", Change::DeregisterConsumer(key));
}

/// Puts one record into shard `shard` of `shards`.
pub(crate) fn put(client: &mut Client, shard: u32, shards: u32, data: &str) -> Value {
    let hash = u128::MAX / u128::from(shards) * u128::from(shard) + 7;
    let data = base64_simd::STANDARD.encode_to_string(data);
    client.call(
        "PutRecord",
        json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": hash.to_string(),
               "Data": data}),
    )
}

fn horizon() -> Value {
    json!({"Type": "TRIM_HORIZON"})
}

pub(crate) fn latest() -> Value {
    json!({"Type": "LATEST"})
}

#[test]
fn records_come_as_they_are_put_and_progress_resumes_after_them() {
    let server = server(1);
    let mut client = server.connect();
    create(&mut client, 1);
    let arn = register(&server, "app");
    let first = put(&mut client, 0, 1, "one");
    let mut events = Subscriber::open(&server, &arn, 0, horizon());
    let head = events.head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/vnd.amazon.eventstream"));
    assert!(head.contains("transfer-encoding: chunked") && head.contains("x-amzn-requestid"));
    let event = events.next().unwrap();
    assert_eq!(event.data(), ["one"]);
    let record = &event.payload["Records"][0];
    assert_eq!(record["SequenceNumber"], first["SequenceNumber"]);
    assert_eq!(record["PartitionKey"], "k");
    assert_eq!(event.payload["MillisBehindLatest"], 0);
    assert_eq!(event.payload.get("ChildShards"), None);
    put(&mut client, 0, 1, "two");
    let event = events.next_records();
    assert_eq!(event.data(), ["two"]);
    let after_two = event.progress();
    // Nothing new: progress rises all the same.
    let mut idle = events.next().unwrap();
    assert!(idle.data().is_empty());
    let began = Instant::now();
    while idle.progress() <= after_two {
        idle = events.next().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    drop(events);
    put(&mut client, 0, 1, "three");
    // Each of them says "after two", with every type that takes a number.
    for number in [after_two, idle.progress()] {
        for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
            let other = register(&server, &format!("{kind}-{}", &number[40..]));
            let position = json!({"Type": kind, "SequenceNumber": number});
            let mut events = Subscriber::open(&server, &other, 0, position);
            assert_eq!(events.next().unwrap().data(), ["three"]);
            deregister(
                &server,
                other
                    .split('/')
                    .next_back()
                    .unwrap()
                    .split(':')
                    .next()
                    .unwrap(),
            );
        }
    }
}

#[test]
fn five_starting_positions() {
    let server = server(1);
    let mut client = server.connect();
    create(&mut client, 1);
    let first = put(&mut client, 0, 1, "one");
    // Times count milliseconds.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    put(&mut client, 0, 1, "two");
    let iterator = client.call(
        "GetShardIterator",
        json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}),
    );
    let page = client.call(
        "GetRecords",
        json!({"ShardIterator": iterator["ShardIterator"]}),
    );
    let number = first["SequenceNumber"].clone();
    let time = page["Records"][1]["ApproximateArrivalTimestamp"].clone();
    for (nth, (position, expected)) in [
        (horizon(), "one"),
        (
            json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": number}),
            "one",
        ),
        (
            json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number}),
            "two",
        ),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": time}), "two"),
    ]
    .into_iter()
    .enumerate()
    {
        let arn = register(&server, &format!("app{nth}"));
        let mut events = Subscriber::open(&server, &arn, 0, position);
        assert_eq!(events.next().unwrap().data()[0], expected);
    }
    let arn = register(&server, "last");
    let mut events = Subscriber::open(&server, &arn, 0, latest());
    put(&mut client, 0, 1, "three");
    assert_eq!(events.next_records().data(), ["three"]);
}

#[test]
fn a_client_that_asks_in_cbor_gets_events_in_json() {
    let server = server(1);
    let mut client = server.connect();
    create(&mut client, 1);
    let arn = register(&server, "app");
    put(&mut client, 0, 1, "one");
    let ask = json!({
        "ConsumerARN": arn,
        "ShardId": "shardId-000000000000",
        "StartingPosition": {"Type": "AT_TIMESTAMP", "Timestamp": {"ms": 1_500_000_000_000_u64}},
    });
    let request = cbor::request("SubscribeToShard", &cbor::encode(&ask));
    let mut events = Subscriber::of_request(&server, &request).ok().unwrap();
    assert_eq!(events.next().unwrap().data(), ["one"]);
}

#[test]
fn what_is_found_before_the_stream_begins_is_an_ordinary_error() {
    let server = Server::start_with(1, Duration::from_millis(600), quick());
    let mut client = server.connect();
    create(&mut client, 1);
    let creating = register(&server, "app");
    let refused = |arn: &str, shard: u32, position: Value| {
        let refusal = Subscriber::try_open(&server, arn, shard, position);
        refusal.err().expect("this should be refused")
    };
    let (status, kind, text) = refused(&creating, 0, latest());
    assert_eq!((status, kind.as_str()), (400, "ResourceInUseException"));
    assert!(
        text.starts_with("Consumer app with creation timestamp "),
        "{text}"
    );
    assert!(text.ends_with(" under stream: s , account 000000000000 is not in ACTIVE status."));
    let (status, kind, text) = refused(&arn("none", 1), 0, latest());
    assert_eq!((status, kind.as_str()), (400, "ResourceNotFoundException"));
    assert_eq!(text, "Consumer none, account 000000000000 not found.");
    // Of another registration under the same name.
    assert_eq!(
        refused(&arn("app", 1), 0, latest()).1,
        "ResourceNotFoundException"
    );
    let began = Instant::now();
    let mut events = loop {
        match Subscriber::try_open(&server, &creating, 0, latest()) {
            Ok(events) => break events,
            Err((_, kind, _)) => assert_eq!(kind, "ResourceInUseException"),
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    };
    assert!(events.next().is_some());
    let (_, kind, text) = refused(&creating, 9, latest());
    assert_eq!(kind, "ResourceNotFoundException");
    assert!(
        text.starts_with("Shard shardId-000000000009 in stream s"),
        "{text}"
    );
    let (_, kind, text) = refused(&creating, 0, json!({"Type": "AT_TIMESTAMP"}));
    assert_eq!(kind, "InvalidArgumentException");
    assert!(text.starts_with("Must specify timestampInMillis"), "{text}");
    let (_, kind, text) = refused(&creating, 0, json!({"Type": "EARLIEST"}));
    assert_eq!(kind, "ValidationException");
    assert!(text.contains("'startingPosition.type'"), "{text}");
    let dry = json!({"ConsumerARN": creating, "ShardId": "shardId-000000000000",
                     "StartingPosition": latest(), "DryRun": true});
    let (_, kind, _) = client.refusal("SubscribeToShard", dry);
    assert_eq!(kind, "DryRunOperationException");
}

#[test]
fn a_second_subscription_is_refused_and_later_takes_over() {
    let server = server(2);
    let mut client = server.connect();
    create(&mut client, 2);
    let arn = register(&server, "app");
    for shard in 0..2 {
        let began = Instant::now();
        let mut old = Subscriber::open(&server, &arn, shard, latest());
        let refusal = Subscriber::try_open(&server, &arn, shard, latest());
        let (status, kind, text) = refusal.err().unwrap();
        assert_eq!((status, kind.as_str()), (400, "ResourceInUseException"));
        assert_eq!(
            text,
            format!(
                "Another active subscription exists for this consumer: \
                 000000000000:s:shardId-{shard:012}:app"
            )
        );
        let mut new = loop {
            match Subscriber::try_open(&server, &arn, shard, latest()) {
                Ok(events) => break events,
                Err((_, kind, _)) => assert_eq!(kind, "ResourceInUseException"),
            }
        };
        assert!(began.elapsed() >= quick().take_over);
        let end = old.end().expect("the old one is told");
        assert_eq!(
            (end.message.as_str(), end.kind.as_str()),
            ("exception", "ResourceInUseException")
        );
        assert_eq!(end.payload["message"], text);
        assert_eq!(old.next(), None);
        put(&mut client, shard, 2, "still");
        assert_eq!(new.next_records().data(), ["still"]);
    }
}

#[test]
fn a_life_ends_without_an_error_and_so_does_a_server() {
    let times = SubscriptionTimes {
        life: Duration::from_millis(500),
        ..quick()
    };
    let server = Server::start_with(2, Duration::ZERO, times);
    let mut client = server.connect();
    create(&mut client, 2);
    let arn = register(&server, "app");
    let began = Instant::now();
    for shard in 0..2 {
        let mut events = Subscriber::open(&server, &arn, shard, latest());
        assert_eq!(events.end(), None);
    }
    let took = began.elapsed();
    assert!(
        took >= 2 * times.life && took < Duration::from_secs(10),
        "{took:?}"
    );
    let mut events = [0, 1].map(|shard| Subscriber::open(&server, &arn, shard, latest()));
    server.end_subscriptions();
    for events in &mut events {
        assert_eq!(events.end(), None);
    }
}

#[test]
fn who_is_deregistered_or_loses_the_stream_is_told() {
    let server = server(2);
    let mut client = server.connect();
    create(&mut client, 2);
    let mut events: Vec<_> = (0..4)
        .map(|nth| {
            let arn = register(&server, &format!("app{nth}"));
            Subscriber::open(&server, &arn, nth % 2, latest())
        })
        .collect();
    for (nth, events) in events[..2].iter_mut().enumerate() {
        deregister(&server, &format!("app{nth}"));
        let end = events.end().unwrap();
        assert_eq!(end.kind, "ResourceNotFoundException");
        assert_eq!(
            end.payload["message"],
            format!("Consumer app{nth}, account 000000000000 not found.")
        );
        assert_eq!(events.next(), None);
    }
    client.call(
        "DeleteStream",
        json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
    );
    for events in &mut events[2..] {
        assert_eq!(events.end().unwrap().kind, "ResourceNotFoundException");
        assert_eq!(events.next(), None);
    }
}

#[test]
fn two_hundred_subscribers_get_every_record_in_order() {
    let server = server(2);
    let mut client = server.connect();
    create(&mut client, 10);
    let consumers: Vec<_> = (0..20)
        .map(|nth| register(&server, &format!("app{nth}")))
        .collect();
    let mut subscribers = Vec::new();
    for arn in &consumers {
        for shard in 0..10 {
            let events = Subscriber::open(&server, arn, shard, latest());
            subscribers.push((shard, events));
        }
    }
    for round in 0..3 {
        for shard in 0..10 {
            put(&mut client, shard, 10, &format!("{shard}-{round}"));
        }
    }
    for (shard, events) in &mut subscribers {
        let mut found = Vec::new();
        while found.len() < 3 {
            found.extend(events.next_records().data());
        }
        let expected: Vec<_> = (0..3).map(|round| format!("{shard}-{round}")).collect();
        assert_eq!(found, expected);
    }
}

/// Records of 100 kB in one call.
fn put_bulk(client: &mut Client, calls: usize) {
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 100_000]);
    let records: Vec<_> = (0..50)
        .map(|_| json!({"PartitionKey": "k", "Data": data}))
        .collect();
    let ask = json!({"StreamName": "s", "Records": records});
    for _ in 0..calls {
        assert_eq!(
            client.call("PutRecords", ask.clone())["FailedRecordCount"],
            0
        );
    }
}

#[test]
fn a_metered_shard_gives_two_mebibytes_a_second() {
    let server = server(1);
    let mut client = server.connect();
    create(&mut client, 1);
    put_bulk(&mut client, 2);
    let metered = StreamChange {
        quota: Some(StreamQuota::Aws),
        ..StreamChange::default()
    };
    server.change("s", Change::Settings(metered));
    let arn = register(&server, "app");
    let mut events = Subscriber::open(&server, &arn, 0, horizon());
    let began = Instant::now();
    let (mut records, mut behind) = (0, 0);
    while records < 100 {
        let event = events.next().unwrap();
        let found = event.payload["Records"].as_array().unwrap().len();
        assert!(found <= 7, "an event has 640 KiB at most");
        records += found;
        let told = event.payload["MillisBehindLatest"].as_u64().unwrap();
        behind = behind.max(told);
        assert!(!event.progress().is_empty());
    }
    // 10 MB, of which one second's worth was there at once and the last event may run into debt.
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(behind > 0);
}

#[test]
fn who_does_not_read_holds_up_nobody_and_loses_nothing() {
    let server = server(2);
    let mut client = server.connect();
    create(&mut client, 1);
    let stalled = register(&server, "stalled");
    let other = register(&server, "other");
    let mut stalled = Subscriber::open(&server, &stalled, 0, horizon());
    put_bulk(&mut client, 8);
    let mut events = Subscriber::open(&server, &other, 0, horizon());
    for events in [&mut events, &mut stalled] {
        let mut records = 0;
        while records < 400 {
            records += events.next_records().data().len();
        }
        assert_eq!(records, 400);
    }
}
