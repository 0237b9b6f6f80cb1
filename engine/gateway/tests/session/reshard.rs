//! Split, merge and count: what a user sees, and what writers and readers see meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weir_stream::{QuotaSwitch, SubscriptionTimes};

use crate::rig::{Client, Server};

const MIDDLE: &str = "170141183460469231731687303715884105728";

fn shards(client: &mut Client, filter: &Value) -> Vec<Value> {
    let mut ask = json!({"StreamName": "logs"});
    if !filter.is_null() {
        ask["ShardFilter"] = filter.clone();
    }
    let mut found = Vec::new();
    loop {
        let page = client.call("ListShards", ask);
        found.extend(page["Shards"].as_array().unwrap().iter().cloned());
        match page.get("NextToken") {
            // A quick server makes thousands of shards in seconds.
            Some(token) => ask = json!({"NextToken": token}),
            None => return found,
        }
    }
}

fn names(shards: &[Value]) -> Vec<u64> {
    let number = |shard: &Value| {
        let name = shard["ShardId"].as_str().unwrap();
        name["shardId-".len()..].parse().unwrap()
    };
    shards.iter().map(number).collect()
}

fn open_ranges(client: &mut Client) -> Vec<(u128, u128)> {
    let open = shards(client, &json!({"Type": "AT_LATEST"}));
    let key = |shard: &Value, name: &str| {
        let text = shard["HashKeyRange"][name].as_str().unwrap();
        text.parse::<u128>().unwrap()
    };
    let mut ranges: Vec<_> = open
        .iter()
        .map(|s| (key(s, "StartingHashKey"), key(s, "EndingHashKey")))
        .collect();
    ranges.sort_unstable();
    ranges
}

fn create(client: &mut Client, shards: u32) {
    let ask = json!({"StreamName": "logs", "ShardCount": shards});
    client.call("CreateStream", ask);
    client.wait_active("logs");
}

fn split(shard: &str, at: &str) -> Value {
    json!({"StreamName": "logs", "ShardToSplit": shard, "NewStartingHashKey": at})
}

fn merge(shard: &str, adjacent: &str) -> Value {
    json!({"StreamName": "logs", "ShardToMerge": shard, "AdjacentShardToMerge": adjacent})
}

fn count(target: u32) -> Value {
    json!({"StreamName": "logs", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"})
}

#[test]
fn a_split_and_a_merge_as_a_user_sees_them() {
    let server = Server::start(2, Duration::from_millis(100));
    let mut client = server.connect();
    create(&mut client, 1);
    let put = json!({"StreamName": "logs", "PartitionKey": "A", "Data": "YQ=="});
    let before = client.call("PutRecord", put.clone());
    assert_eq!(
        client.call("SplitShard", split("shardId-0", MIDDLE)),
        Value::Null
    );
    let (_, kind, text) = client.refusal("SplitShard", split("0", MIDDLE));
    assert_eq!(kind, "ResourceInUseException");
    assert_eq!(
        text,
        "Stream logs under account 000000000000 not ACTIVE, instead in state UPDATING"
    );
    // Writes to the parent go on until the switch.
    let during = client.call("PutRecord", put.clone());
    assert_eq!(during["ShardId"], "shardId-000000000000");
    let described = client.wait_active("logs");
    assert_eq!(names(described["Shards"].as_array().unwrap()), [0, 1, 2]);
    let parent = &described["Shards"][0]["SequenceNumberRange"];
    let ending = parent["EndingSequenceNumber"].as_str().unwrap();
    let after = client.call("PutRecord", put);
    for child in [1, 2] {
        let child = &described["Shards"][child];
        assert_eq!(child["ParentShardId"], "shardId-000000000000");
        assert_eq!(child.get("AdjacentParentShardId"), None);
        let range = &child["SequenceNumberRange"];
        assert!(range["StartingSequenceNumber"].as_str().unwrap() > ending);
        assert_eq!(range.get("EndingSequenceNumber"), None);
    }
    assert!(before["SequenceNumber"].as_str() < during["SequenceNumber"].as_str());
    assert!(during["SequenceNumber"].as_str() < Some(ending));
    assert!(after["SequenceNumber"].as_str() > Some(ending));

    // The parent is read to its end, and names its children there.
    for kind in ["TRIM_HORIZON", "LATEST"] {
        let ask = json!({"StreamName": "logs", "ShardId": "0", "ShardIteratorType": kind});
        let iterator = client.call("GetShardIterator", ask);
        let mut iterator = iterator["ShardIterator"].clone();
        let (mut found, mut pages) = (0, 0);
        // The end is told when every core knows the children: a moment after ACTIVE at times.
        let page = loop {
            let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
            found += page["Records"].as_array().unwrap().len();
            pages += 1;
            match page.get("NextShardIterator") {
                Some(next) if pages < 1_000 => iterator = next.clone(),
                Some(_) => panic!("the shard does not end"),
                None => break page,
            }
        };
        assert_eq!(found, if kind == "LATEST" { 0 } else { 2 });
        let children = page["ChildShards"].as_array().unwrap();
        assert_eq!(names(children), [1, 2]);
        assert_eq!(children[0]["ParentShards"], json!(["shardId-000000000000"]));
        assert_eq!(children[1]["HashKeyRange"]["StartingHashKey"], MIDDLE);
    }

    client.call("MergeShards", merge("shardId-000000000002", "1"));
    let described = client.wait_active("logs");
    let child = &described["Shards"][3];
    assert_eq!(child["ParentShardId"], "shardId-000000000002");
    assert_eq!(child["AdjacentParentShardId"], "shardId-000000000001");
    assert_eq!(open_ranges(&mut client), [(0, u128::MAX)]);
    let filtered = |client: &mut Client, filter: Value| names(&shards(client, &filter));
    assert_eq!(filtered(&mut client, json!({"Type": "AT_LATEST"})), [3]);
    assert_eq!(
        filtered(&mut client, json!({"Type": "AT_TRIM_HORIZON"})),
        [0]
    );
    let all = [0, 1, 2, 3];
    assert_eq!(
        filtered(&mut client, json!({"Type": "FROM_TRIM_HORIZON"})),
        all
    );
    assert_eq!(filtered(&mut client, Value::Null), all);
    let behind = json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-1"});
    assert_eq!(filtered(&mut client, behind), [2, 3]);
}

#[test]
fn refusals_have_the_words_of_aws() {
    let server = Server::start(1, Duration::from_millis(20));
    let mut client = server.connect();
    create(&mut client, 3);
    let of = "in stream logs under account 000000000000";
    let cases = [
        (
            "SplitShard",
            split("shardId-5", "7"),
            "ResourceNotFoundException",
            format!("Could not find shard shardId-000000000005 {of}."),
        ),
        (
            "SplitShard",
            split("x", "7"),
            "ResourceNotFoundException",
            format!("Could not find shard x {of}."),
        ),
        (
            "MergeShards",
            merge("0", "2"),
            "InvalidArgumentException",
            format!(
                "Shards shardId-000000000000 and shardId-000000000002 {of} are not an adjacent \
                 pair of shards eligible for merging"
            ),
        ),
        (
            "UpdateShardCount",
            count(7),
            "InvalidArgumentException",
            "UpdateShardCount cannot scale up over double your current open shard count. Current \
             open shard count: 3 Target shard count: 7"
                .to_owned(),
        ),
        (
            "UpdateShardCount",
            count(1),
            "InvalidArgumentException",
            "UpdateShardCount cannot scale down over half of your current open shard count. \
             Current open shard count: 3 Target shard count: 1"
                .to_owned(),
        ),
    ];
    for (operation, body, expected, words) in cases {
        let (status, kind, text) = client.refusal(operation, body);
        assert_eq!((status, kind.as_str()), (400, expected), "{text}");
        assert_eq!(text, words);
    }
    // Both children get at least two keys; no digits are too many.
    let third = "113427455640312821154458202477256070485";
    for key in ["0", "1", third, &"9".repeat(39)] {
        let (_, kind, text) = client.refusal("SplitShard", split("0", key));
        assert_eq!(kind, "InvalidArgumentException");
        assert_eq!(
            text,
            format!(
                "NewStartingHashKey {key} used in SplitShard() on shard shardId-000000000000 {of} \
                 is not both greater than one plus the shard's StartingHashKey 0 and less than \
                 the shard's EndingHashKey 113427455640312821154458202477256070484."
            )
        );
    }
    client.call("SplitShard", split("0", "2"));
    client.wait_active("logs");
    for (operation, body) in [
        ("SplitShard", split("0", "10")),
        ("MergeShards", merge("0", "1")),
    ] {
        let (_, kind, text) = client.refusal(operation, body);
        assert_eq!(kind, "InvalidArgumentException");
        assert_eq!(
            text,
            format!(
                "Shard shardId-000000000000 {of} has already been merged or split, and thus is \
                 not eligible for merging or splitting."
            )
        );
    }
    let modes = json!({"StreamMode": "ON_DEMAND"});
    client.call(
        "CreateStream",
        json!({"StreamName": "free", "StreamModeDetails": modes}),
    );
    client.wait_active("free");
    let mut ask = count(8);
    ask["StreamName"] = json!("free");
    let (_, kind, text) = client.refusal("UpdateShardCount", ask);
    assert_eq!(kind, "ValidationException");
    assert_eq!(
        text,
        "Request is invalid. Stream free under account 000000000000 is in On-Demand mode."
    );
}

#[test]
fn any_count_gives_the_even_division() {
    let server = Server::start(2, Duration::ZERO);
    let mut client = server.connect();
    create(&mut client, 2);
    let mut current = 2;
    for target in [3, 6, 4, 2, 4, 5] {
        let answer = client.call("UpdateShardCount", count(target));
        assert_eq!(answer["CurrentShardCount"], current);
        assert_eq!(answer["TargetShardCount"], target);
        assert_eq!(
            answer["StreamARN"],
            "arn:aws:kinesis:eu-west-1:000000000000:stream/logs"
        );
        client.wait_active("logs");
        let size = u128::MAX / u128::from(target) + u128::from(target.is_power_of_two());
        let starts: Vec<u128> = (0..u128::from(target)).map(|part| part * size).collect();
        let found = open_ranges(&mut client);
        assert!(found.iter().map(|(start, _)| start).eq(&starts), "{target}");
        for pair in found.windows(2) {
            assert_eq!(pair[0].1 + 1, pair[1].0);
        }
        assert_eq!(found.last().unwrap().1, u128::MAX);
        current = target;
    }
}

#[test]
fn writers_notice_nothing_and_readers_miss_nothing() {
    let server = Server::start_metered(
        2,
        Duration::ZERO,
        SubscriptionTimes::default(),
        QuotaSwitch::Off,
    );
    let mut client = server.connect();
    create(&mut client, 2);
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, over) = (server.connect(), Arc::clone(&over));
            std::thread::spawn(move || write(&mut client, writer, &over))
        })
        .collect();
    let began = std::time::Instant::now();
    let mut changes = 0;
    while began.elapsed() < Duration::from_secs(3) {
        let open = open_ranges(&mut client).len() as u32;
        let target = if open < 6 {
            open * 2 - changes % 2
        } else {
            open.div_ceil(2)
        };
        client.call("UpdateShardCount", count(target.max(1)));
        client.wait_active("logs");
        changes += 1;
    }
    over.store(true, Ordering::Relaxed);
    let written: Vec<Vec<u64>> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    assert!(changes > 5, "{changes} changes");

    // By number order over all shards: children come after their parents.
    let mut found: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for shard in shards(&mut client, &Value::Null) {
        let ask = json!({"StreamName": "logs", "ShardId": shard["ShardId"],
                         "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = client.call("GetShardIterator", ask)["ShardIterator"].clone();
        loop {
            let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
            for record in page["Records"].as_array().unwrap() {
                let data = base64_simd::STANDARD
                    .decode_to_vec(record["Data"].as_str().unwrap())
                    .unwrap();
                let number = String::from_utf8(data).unwrap().parse().unwrap();
                let key = record["PartitionKey"].as_str().unwrap().to_owned();
                let sequence = record["SequenceNumber"].as_str().unwrap().to_owned();
                found.entry(key).or_default().push((sequence, number));
            }
            iterator = page["NextShardIterator"].clone();
            if iterator.is_null() || page["MillisBehindLatest"] == 0 {
                break;
            }
        }
    }
    for (writer, keys) in written.iter().enumerate() {
        for (key, last) in keys.iter().enumerate() {
            let mut records = found.remove(&format!("{writer}-{key}")).unwrap_or_default();
            records.sort();
            let numbers = records.iter().map(|(_, number)| *number);
            assert!(
                numbers.eq(1..=*last),
                "writer {writer} key {key} up to {last}"
            );
        }
    }
    assert!(found.is_empty());
}

/// Writes batches of records with eight keys, and one alone now and then; how many of each key.
fn write(client: &mut Client, writer: usize, over: &AtomicBool) -> Vec<u64> {
    let mut next = vec![0_u64; 8];
    let mut call = 0;
    while !over.load(Ordering::Relaxed) {
        call += 1;
        let mut record = |key: usize| {
            next[key] += 1;
            let data = base64_simd::STANDARD.encode_to_string(next[key].to_string());
            json!({"PartitionKey": format!("{writer}-{key}"), "Data": data})
        };
        if call % 8 == 0 {
            let mut one = record(call / 8 % 8);
            one["StreamName"] = json!("logs");
            client.call("PutRecord", one);
        } else {
            let records: Vec<Value> = (0..24).map(|i| record((call + i * i) % 8)).collect();
            let ask = json!({"StreamName": "logs", "Records": records});
            let answer = client.call("PutRecords", ask);
            assert_eq!(answer["FailedRecordCount"], 0, "{answer}");
        }
    }
    next
}
