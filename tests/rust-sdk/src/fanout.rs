//! SubscribeToShard as an event stream.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};

use crate::{active, arn, connect, create, shard_id};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn check(endpoint: &str) {
    let client = connect(endpoint, 1);
    events_come_and_end(&client).await;
    println!("ok events come, and end with the children");
}

/// A consumer that is ACTIVE; its ARN.
async fn consumer(client: &Client, stream: &str, name: &str) -> String {
    let call = client
        .register_stream_consumer()
        .stream_arn(arn(stream))
        .consumer_name(name);
    let made = call
        .send()
        .await
        .expect("a consumer")
        .consumer
        .expect("it is told");
    let until = Instant::now() + PATIENCE;
    loop {
        let call = client
            .describe_stream_consumer()
            .consumer_arn(&made.consumer_arn);
        let found = call.send().await.expect("the consumer is there");
        let found = found.consumer_description.expect("it is described");
        if found.consumer_status == ConsumerStatus::Active {
            return made.consumer_arn;
        }
        assert!(
            Instant::now() < until,
            "{name} is {:?}",
            found.consumer_status
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn subscribe(client: &Client, consumer: &str, shard: u32) -> SubscribeToShardOutput {
    let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
    let position = position.build().expect("a type is all it needs");
    let call = client
        .subscribe_to_shard()
        .consumer_arn(consumer)
        .shard_id(shard_id(shard));
    call.starting_position(position)
        .send()
        .await
        .expect("a subscription")
}

/// The next event; `None` at the end of the stream.
async fn next(events: &mut SubscribeToShardOutput) -> Option<SubscribeToShardEvent> {
    let event = tokio::time::timeout(PATIENCE, events.event_stream.recv()).await;
    match event
        .expect("an event comes in time")
        .expect("a good event")?
    {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => Some(event),
        other => panic!("an unknown event: {other:?}"),
    }
}

async fn put(client: &Client, data: &str) {
    let call = client.put_record().stream_name("fanned").partition_key("k");
    call.data(Blob::new(data)).send().await.expect("a put");
}

async fn events_come_and_end(client: &Client) {
    create(client, "fanned", 1, true).await;
    let reader = consumer(client, "fanned", "reader").await;
    put(client, "0").await;
    let mut events = subscribe(client, &reader, 0).await;
    let mut found = Vec::new();
    for i in 1..10 {
        while found.len() < i {
            let event = next(&mut events).await.expect("the stream goes on");
            assert_eq!(event.continuation_sequence_number.len(), 56);
            found.extend(event.records);
        }
        put(client, &i.to_string()).await;
    }
    let middle = (1_u128 << 127).to_string();
    let call = client
        .split_shard()
        .stream_name("fanned")
        .shard_to_split(shard_id(0));
    call.new_starting_hash_key(middle)
        .send()
        .await
        .expect("a split");
    let mut last = None;
    while let Some(event) = next(&mut events).await {
        found.extend(event.records.iter().cloned());
        last = Some(event);
    }
    let found = found.iter().map(|record| record.data.as_ref().to_vec());
    let expected = (0..10).map(|i| i.to_string().into_bytes());
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let children = last
        .expect("an event")
        .child_shards
        .expect("children at the end");
    let children = children
        .into_iter()
        .map(|child| (child.shard_id, child.parent_shards));
    let expected = [1, 2].map(|index| (shard_id(index), vec![shard_id(0)]));
    assert_eq!(children.collect::<Vec<_>>(), expected);
    active(client, "fanned").await;
    put(client, "child").await;
    let asked = client
        .subscribe_to_shard()
        .consumer_arn(&reader)
        .shard_id(shard_id(9));
    let position = StartingPosition::builder().r#type(ShardIteratorType::Latest);
    let asked = asked.starting_position(position.build().expect("a type is all it needs"));
    let error = asked
        .send()
        .await
        .expect_err("there is no such shard")
        .into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
}
