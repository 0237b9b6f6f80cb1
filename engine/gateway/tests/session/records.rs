//! What a record may be, by the settings of its stream, and calls that are only tried.

use std::time::Duration;

use serde_json::{Value, json};
use weir_protocol::model::{Offset, SequenceNumber, ShardIndex};
use weir_stream::{Change, RecordDistribution};

use crate::rig::Server;

#[test]
fn a_stream_that_spreads_its_records_needs_no_keys() {
    let server = Server::start(2, Duration::ZERO);
    let mut client = server.connect();
    let create = json!({
        "StreamName": "s", "ShardCount": 4, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}
    });
    client.call("CreateStream", create);
    client.wait_active("s");
    let keyless = json!({"StreamName": "s", "Data": "eA=="});
    let (_, kind, text) = client.refusal("PutRecord", keyless.clone());
    assert_eq!(kind, "ValidationException");
    assert!(text.contains("Value null at 'partitionKey'"), "{text}");

    server.change("s", Change::Distribution(RecordDistribution::Auto));
    client.wait_active("s");
    let mut shards = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = client.call("PutRecord", keyless.clone());
        shards.insert(answer["ShardId"].as_str().unwrap().to_owned());
    }
    assert!(shards.len() > 1, "{shards:?}");
    let keyed = json!({
        "StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": "eQ=="
    });
    let shard = client.call("PutRecord", keyed)["ShardId"].clone();
    let ask = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = client.call("GetShardIterator", ask)["ShardIterator"].clone();
    let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
    let records = page["Records"].as_array().unwrap();
    let last = records.last().unwrap();
    assert_eq!(last["PartitionKey"], "k");
    let keyless = records.iter().filter(|r| r.get("PartitionKey").is_none());
    assert_eq!(keyless.count(), records.len() - 1);

    let records = vec![json!({"Data": "eg=="}); 500];
    let put = json!({"StreamName": "s", "Records": records});
    assert_eq!(client.call("PutRecords", put)["FailedRecordCount"], 0);
}

#[test]
fn the_longest_record_is_the_streams() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "s"}));
    client.wait_active("s");
    let data = base64_simd::STANDARD.encode_to_string(vec![7; 1_500_000]);
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": data});
    let (_, kind, text) = client.refusal("PutRecord", put.clone());
    assert_eq!(kind, "ValidationException");
    assert!(text.ends_with("less than or equal to 1048576"), "{text}");
    server.change("s", Change::RecordBytesMax(2 * 1024 * 1024));
    client.wait_active("s");
    let shard = client.call("PutRecord", put)["ShardId"].clone();
    let found = client.read_shard("s", shard.as_str().unwrap());
    assert_eq!(found, [vec![7; 1_500_000]]);
}

#[test]
fn a_call_that_is_only_tried_changes_nothing() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "s"}));
    client.wait_active("s");
    let place = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = client.call("GetShardIterator", place.clone())["ShardIterator"].clone();
    let record = json!({"PartitionKey": "k", "ExplicitHashKey": "0", "Data": "eA=="});
    let mut put = record.clone();
    put["StreamName"] = json!("s");
    for (operation, mut ask) in [
        ("PutRecord", put),
        (
            "PutRecords",
            json!({"StreamName": "s", "Records": [record]}),
        ),
        ("GetShardIterator", place),
        ("GetRecords", json!({"ShardIterator": iterator})),
    ] {
        ask["DryRun"] = json!(true);
        let (status, kind, _) = client.refusal(operation, ask.clone());
        assert_eq!((status, kind.as_str()), (400, "DryRunOperationException"));
        // What would be refused is refused for that.
        ask["DryRun"] = json!("perhaps");
        let (_, kind, _) = client.refusal(operation, ask);
        assert_eq!(kind, "SerializationException");
    }
    let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
    assert_eq!(page["Records"], json!([]));
    let other = json!({
        "ShardIterator": page["NextShardIterator"],
        "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/other"
    });
    let (_, kind, _) = client.refusal("GetRecords", other);
    assert_eq!(kind, "InvalidArgumentException");
    assert!(page["NextShardIterator"] != Value::Null);
}

#[test]
fn a_number_is_above_the_one_it_is_asked_to_be_above() {
    let server = Server::start(2, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "s", "ShardCount": 2}));
    client.wait_active("s");
    let put = |ordering: Option<&SequenceNumber>| {
        json!({
            "StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": "eA==",
            "SequenceNumberForOrdering": ordering.map(ToString::to_string),
        })
    };
    let number = |answer: &Value| {
        let text = answer["SequenceNumber"].as_str().unwrap();
        SequenceNumber::parse(text).unwrap()
    };
    let first = number(&client.call("PutRecord", put(None)));
    let second = number(&client.call("PutRecord", put(Some(&first))));
    assert!(second > first);

    let made = |shard, index| {
        let offset = Offset::new(index).unwrap();
        SequenceNumber::of_record(shard, first.shard_created(), offset, first.time())
    };
    // One that the third record would get, and one far above it.
    for index in [second.index(), second.index() + 1_000] {
        let ahead = made(first.shard(), index);
        let (_, kind, text) = client.refusal("PutRecord", put(Some(&ahead)));
        assert_eq!(kind, "InvalidArgumentException");
        assert_eq!(
            text,
            format!(
                "ExclusiveMinimumSequenceNumber {ahead} used in PutRecord on stream s under account \
                 000000000000 is invalid."
            )
        );
    }
    let other = made(ShardIndex(1), second.index() + 1_000);
    let third = number(&client.call("PutRecord", put(Some(&other))));
    assert!(third > second);
    let found = client.read_shard("s", "shardId-000000000000");
    assert_eq!(found.len(), 3, "nothing that was refused is stored");
}
