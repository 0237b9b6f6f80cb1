//! What a user of the AWS CLI does, field by field.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Client, Server};

#[test]
fn the_session_of_the_readme() {
    let server = Server::start(1, Duration::from_millis(50));
    let mut client = server.connect();
    let none = client.call("ListStreams", json!({}));
    assert_eq!(none["StreamNames"], json!([]));
    let create = json!({"StreamName": "test", "ShardCount": 1});
    assert_eq!(client.call("CreateStream", create.clone()), Value::Null);
    let created = client.call("DescribeStream", json!({"StreamName": "test"}));
    assert_eq!(created["StreamDescription"]["StreamStatus"], "CREATING");
    assert_eq!(created["StreamDescription"]["Shards"], json!([]));
    let (status, kind, text) = client.refusal("CreateStream", create);
    assert_eq!((status, kind.as_str()), (400, "ResourceInUseException"));
    assert_eq!(
        text,
        "Stream test under account 000000000000 already exists."
    );

    let described = client.wait_active("test");
    assert_eq!(described["RetentionPeriodHours"], 24);
    assert_eq!(described["StreamModeDetails"]["StreamMode"], "PROVISIONED");
    assert_eq!(
        described["StreamARN"],
        "arn:aws:kinesis:eu-west-1:000000000000:stream/test"
    );
    let shard = &described["Shards"][0];
    assert_eq!(shard["ShardId"], "shardId-000000000000");
    assert_eq!(
        shard["HashKeyRange"]["EndingHashKey"],
        "340282366920938463463374607431768211455"
    );
    let start = shard["SequenceNumberRange"]["StartingSequenceNumber"].as_str();
    assert_eq!(start.unwrap().len(), 56);
    let summary = client.call(
        "DescribeStreamSummary",
        json!({"StreamARN": described["StreamARN"]}),
    );
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 1);

    let put = json!({
        "StreamName": "test", "PartitionKey": "A", "Data": "aGFwcHkgc3RyZWFtaW5n"
    });
    let first = client.call("PutRecord", put.clone());
    assert_eq!(first["ShardId"], "shardId-000000000000");
    let mut ordered = put;
    ordered["SequenceNumberForOrdering"] = first["SequenceNumber"].clone();
    let second = client.call("PutRecord", ordered);
    assert!(second["SequenceNumber"].as_str() > first["SequenceNumber"].as_str());

    let iterator = client.call(
        "GetShardIterator",
        json!({"StreamName": "test", "ShardId": "shardId-000000000000",
               "ShardIteratorType": "TRIM_HORIZON"}),
    );
    let ask = json!({"ShardIterator": iterator["ShardIterator"], "Limit": 1});
    let page = client.call("GetRecords", ask);
    let record = &page["Records"][0];
    assert_eq!(record["Data"], "aGFwcHkgc3RyZWFtaW5n");
    assert_eq!(record["PartitionKey"], "A");
    assert_eq!(record["SequenceNumber"], first["SequenceNumber"]);
    let arrival = record["ApproximateArrivalTimestamp"].as_f64().unwrap();
    assert!(arrival > 1.7e9 && arrival < 1e11, "{arrival} are seconds");
    let rest = client.call(
        "GetRecords",
        json!({"ShardIterator": page["NextShardIterator"]}),
    );
    assert_eq!(
        rest["Records"][0]["SequenceNumber"],
        second["SequenceNumber"]
    );
    assert_eq!(rest["MillisBehindLatest"], 0);

    client.call("DeleteStream", json!({"StreamName": "test"}));
    for _ in 0..500 {
        let names = client.call("ListStreams", json!({}));
        if names["StreamNames"] == json!([]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (status, kind, text) = client.refusal("DescribeStream", json!({"StreamName": "test"}));
    assert_eq!((status, kind.as_str()), (400, "ResourceNotFoundException"));
    assert_eq!(text, "Stream test under account 000000000000 not found.");
    let (_, kind, text) = client.refusal(
        "GetRecords",
        json!({"ShardIterator": rest["NextShardIterator"]}),
    );
    assert_eq!(kind, "ResourceNotFoundException");
    assert_eq!(
        text,
        "Shard shardId-000000000000 in stream test under account 000000000000 does not exist"
    );
}

#[test]
fn many_records_come_back_once_and_in_order_from_every_core() {
    let server = Server::start(2, Duration::ZERO);
    let mut clients = [server.connect(), server.connect()];
    let create = json!({
        "StreamName": "many", "ShardCount": 8, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}
    });
    clients[0].call("CreateStream", create);
    let described = clients[1].wait_active("many");
    assert_eq!(described["Shards"].as_array().unwrap().len(), 8);

    let mut sent: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 8];
    for call in 0..40 {
        let data: Vec<String> = (0..100)
            .map(|i| format!("call {call} record {i}"))
            .collect();
        let records: Vec<Value> = data
            .iter()
            .map(|d| {
                let key = format!("key {}", d.len() * 7 + d.as_bytes()[d.len() - 1] as usize);
                json!({"PartitionKey": key, "Data": base64_simd::STANDARD.encode_to_string(d)})
            })
            .collect();
        let answer = clients[call % 2].call(
            "PutRecords",
            json!({"StreamName": "many", "Records": records}),
        );
        assert_eq!(answer["FailedRecordCount"], 0);
        let outcomes = answer["Records"].as_array().unwrap();
        assert_eq!(outcomes.len(), 100);
        for (data, outcome) in data.iter().zip(outcomes) {
            let shard = outcome["ShardId"].as_str().unwrap();
            let index: usize = shard["shardId-".len()..].parse().unwrap();
            sent[index].push(data.clone().into_bytes());
        }
    }
    for (index, expected) in sent.iter().enumerate() {
        let shard = format!("shardId-{index:012}");
        let found = clients[index % 2].read_shard("many", &shard);
        assert_eq!(&found, expected, "{shard}");
    }
}

#[test]
fn iterators_point_where_they_were_made() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "s"}));
    client.wait_active("s");
    let mut put = |data: &str| {
        let data = base64_simd::STANDARD.encode_to_string(data);
        let ask = json!({"StreamName": "s", "PartitionKey": "k", "Data": data,
                         "ExplicitHashKey": "0"});
        client.call("PutRecord", ask)["SequenceNumber"].clone()
    };
    let (_one, two) = (put("one"), put("two"));
    let mut client = server.connect();
    let mut at = |mut ask: Value| {
        ask["StreamName"] = json!("s");
        ask["ShardId"] = json!("0");
        client.call("GetShardIterator", ask)["ShardIterator"].clone()
    };
    let latest = at(json!({"ShardIteratorType": "LATEST"}));
    let at_two =
        at(json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": two}));
    let after_two =
        at(json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": two}));
    let long_ago = at(json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_000_000_000}));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let now_ms = now.as_millis() as u64;
    let at_now = at(json!({
        "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": now_ms as f64 / 1000.0
    }));
    put_three(&server);
    let mut client = server.connect();
    let mut read = |iterator: &Value| -> Vec<String> {
        let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
        let records = page["Records"].as_array().unwrap();
        let data = |r: &Value| {
            let bytes = base64_simd::STANDARD.decode_to_vec(r["Data"].as_str().unwrap());
            String::from_utf8(bytes.unwrap()).unwrap()
        };
        records.iter().map(data).collect()
    };
    assert_eq!(read(&latest), ["three"]);
    assert_eq!(read(&at_two), ["two", "three"]);
    assert_eq!(read(&after_two), ["three"]);
    assert_eq!(read(&long_ago), ["one", "two", "three"]);
    // The two before may have arrived in the same millisecond as the iterator's time.
    assert_eq!(read(&at_now).last().unwrap(), "three");
}

fn put_three(server: &Server) {
    let ask = json!({"StreamName": "s", "PartitionKey": "k", "Data": "dGhyZWU=",
                     "ExplicitHashKey": "0"});
    server.connect().call("PutRecord", ask);
}

#[test]
fn a_metered_shard_throttles_what_is_too_much() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "q", "ShardCount": 1}));
    client.wait_active("q");
    let records: Vec<Value> = (0..500)
        .map(|_| json!({"PartitionKey": "k", "Data": ""}))
        .collect();
    let ask = json!({"StreamName": "q", "Records": records});
    let failed: Vec<u64> = (0..6)
        .map(|_| {
            let answer = client.call("PutRecords", ask.clone());
            answer["FailedRecordCount"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(failed[0], 0, "{failed:?}");
    assert!(failed[1..].contains(&500), "{failed:?}");
    let iterator = client.call(
        "GetShardIterator",
        json!({"StreamName": "q", "ShardId": "0", "ShardIteratorType": "LATEST"}),
    );
    let ask = json!({"ShardIterator": iterator["ShardIterator"]});
    let refused = (0..20).find_map(|_| {
        let (status, kind, text) = client.refusal("GetRecords", ask.clone());
        (status != 200).then_some((status, kind, text))
    });
    let (status, kind, text) = refused.expect("twenty reads at once are too many");
    assert_eq!(status, 400);
    assert_eq!(kind, "ProvisionedThroughputExceededException");
    assert_eq!(
        text,
        "Rate exceeded for shard shardId-000000000000 in stream q under account 000000000000."
    );
}

/// The bytes of whole batches were charged once, so that a small Limit on a large batch was throttled.
#[test]
fn a_metered_shard_charges_reads_for_what_they_give() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "q", "ShardCount": 2}));
    client.wait_active("q");
    // One call, so one batch of 10 MB; the quota of writes may go into debt by a call.
    let data = base64_simd::STANDARD.encode_to_string(vec![7; 1_000_000]);
    for shard in ["0", "170141183460469231731687303715884105728"] {
        let record = json!({"PartitionKey": "k", "ExplicitHashKey": shard, "Data": data});
        let ask = json!({"StreamName": "q", "Records": vec![record; 10]});
        assert_eq!(client.call("PutRecords", ask)["FailedRecordCount"], 0);
    }
    let mut reads = |shard: &str, limit: u32| {
        let ask = json!({"StreamName": "q", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = client.call("GetShardIterator", ask)["ShardIterator"].clone();
        let ask = json!({"ShardIterator": iterator, "Limit": limit});
        let given = client.call("GetRecords", ask.clone());
        assert_eq!(given["Records"].as_array().unwrap().len(), limit as usize);
        let ask = Client::request("GetRecords", &ask.to_string());
        client.exchange(&ask).status
    };
    assert_eq!(reads("0", 1), 200, "1 MB of two is charged");
    assert_eq!(
        reads("1", 10),
        400,
        "10 MB are charged, which takes four seconds to pay"
    );
}
