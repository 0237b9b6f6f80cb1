//! The reshard storm: splits, merges and counts at random, under load of both protocols, with a
//! ledger of every record.
//!
//! Ten seconds of it are part of the gate, a minute of `./scripts/test --all`. It ends with a kill
//! in the middle of a reshard, which the next start takes up.

mod commands;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_protocol::model::StreamMode;
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::CreateRequest;

use crate::harness::{Http, Setup, Victim, Wire, alone, name, signal, temporary, wait_for};

const STREAM: &str = "storm";
const PATIENCE: Duration = Duration::from_mins(1);
/// Keys of each writer.
const KEYS: u64 = 8;
/// Open shards at most: more would only take longer.
const SHARDS_MAX: u32 = 12;

fn storm_time() -> Duration {
    let all = std::env::var_os("WEIR_TEST_ALL").is_some();
    Duration::from_secs(if all { 60 } else { 10 })
}

fn about(more: &Value) -> Value {
    let mut body = json!({"StreamName": STREAM});
    for (name, value) in more.as_object().expect("members have names") {
        body[name] = value.clone();
    }
    body
}

/// A random number below `bound`.
fn below(state: &mut u64, bound: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

/// The open shards in hash order; panics unless they cover the hash space once.
fn open_shards(http: &mut Http) -> Vec<(String, u128, u128)> {
    let ask = about(&json!({"ShardFilter": {"Type": "AT_LATEST"}}));
    let answer = http.call("ListShards", &ask);
    let shards = answer["Shards"].as_array().expect("it is a list");
    let key = |shard: &Value, which: &str| -> u128 {
        let text = shard["HashKeyRange"][which].as_str().expect("a decimal");
        text.parse().expect("a decimal")
    };
    let mut open: Vec<_> = shards
        .iter()
        .map(|shard| {
            let name = shard["ShardId"].as_str().expect("a name").to_owned();
            (
                name,
                key(shard, "StartingHashKey"),
                key(shard, "EndingHashKey"),
            )
        })
        .collect();
    open.sort_by_key(|(_, start, _)| *start);
    let mut expected = Some(0);
    for (name, start, end) in &open {
        assert_eq!(
            expected,
            Some(*start),
            "{name} leaves a gap or overlaps: {open:?}"
        );
        expected = end.checked_add(1);
    }
    assert_eq!(expected, None, "the highest key is covered: {open:?}");
    open
}

fn wait_active(http: &mut Http) {
    wait_for("ACTIVE", PATIENCE, || {
        let answer = http.call("DescribeStreamSummary", &about(&json!({})));
        let status = &answer["StreamDescriptionSummary"]["StreamStatus"];
        (status == "ACTIVE").then_some(())
    });
}

/// Begins one change at random; what kind it was.
fn change(http: &mut Http, random: &mut u64) -> &'static str {
    let open = open_shards(http);
    let count = open.len() as u32;
    let any = below(random, u64::from(count)) as usize;
    let (operation, body) = match below(random, 3) {
        0 if count < SHARDS_MAX => {
            let (name, start, end) = &open[any];
            let at = start + (end - start) / (2 + u128::from(below(random, 5)));
            let at = at.to_string();
            (
                "SplitShard",
                json!({"ShardToSplit": name, "NewStartingHashKey": at}),
            )
        }
        1 if count > 1 => {
            let low = any.min(open.len() - 2);
            let (one, other) = (&open[low].0, &open[low + 1].0);
            let body = json!({"ShardToMerge": one, "AdjacentShardToMerge": other});
            ("MergeShards", body)
        }
        _ => {
            let least = count.div_ceil(2);
            let most = (count * 2).min(SHARDS_MAX).max(least);
            let target = least + below(random, u64::from(most - least + 1)) as u32;
            let body = json!({"TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"});
            ("UpdateShardCount", body)
        }
    };
    http.call(operation, &about(&body));
    operation
}

/// Puts records by HTTP until told to stop; how many of each key. A record's data is its number, in
/// digits that are base64 as they stand.
fn write(address: SocketAddr, writer: u64, over: &AtomicBool) -> BTreeMap<String, u64> {
    let mut http = Http::connect(address);
    let mut random = writer;
    let mut written = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        let records: Vec<Value> = (0..20)
            .map(|_| {
                let key = format!("h{writer}-{}", below(&mut random, KEYS));
                let number = written.entry(key.clone()).or_insert(0_u64);
                *number += 1;
                json!({"PartitionKey": key, "Data": format!("{number:08}")})
            })
            .collect();
        let answer = http.call("PutRecords", &about(&json!({ "Records": records })));
        assert_eq!(answer["FailedRecordCount"], 0, "{answer}");
    }
    written
}

/// Puts lines by the binary protocol's command until told to stop; how many of each key.
fn put(victim: &Victim, over: Arc<AtomicBool>) -> JoinHandle<BTreeMap<String, u64>> {
    let mut command = victim.stream(&["put", STREAM, "--key-regex", "^b-[0-9]"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut put = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let mut input = put.stdin.take().expect("stdin is piped");
    thread::spawn(move || {
        let mut random = 7;
        let mut written = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            for _ in 0..50 {
                let key = format!("b-{}", below(&mut random, KEYS));
                let number = written.entry(key.clone()).or_insert(0_u64);
                *number += 1;
                writeln!(input, "{key} {number}").expect("put reads");
            }
            // A tenth of what it could do: the storm is the test.
            thread::sleep(Duration::from_millis(5));
        }
        drop(input);
        let output = put.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        println!("put: {}", said.trim_end());
        written
    })
}

/// Follows all shards from the start by the binary protocol's command: each line of the writers by
/// the same protocol comes once, and a key's in order.
fn follow(victim: &Victim, seen: Arc<Mutex<BTreeMap<String, u64>>>) -> (Child, JoinHandle<()>) {
    let mut command = victim.stream(&["tail", STREAM, "--follow", "--from", "trim-horizon"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tail = command.spawn().expect("the program was built");
    let lines = BufReader::new(tail.stdout.take().expect("stdout is piped")).split(b'\n');
    let reader = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // What came by HTTP is not text.
            let Ok(line) = String::from_utf8(line) else {
                continue;
            };
            let Some((key, number)) = line.split_once(' ').filter(|(k, _)| k.starts_with("b-"))
            else {
                continue;
            };
            let number: u64 = number.parse().expect("a line ends in its number");
            let before = seen
                .lock()
                .expect("nobody panics")
                .insert(key.to_owned(), number);
            let before = before.unwrap_or(0);
            assert_eq!(number, before + 1, "tail: the line after {key} {before}");
        }
    });
    (tail, reader)
}

/// All that the stream holds: by key, sequence number and data of each record.
fn read_all(http: &mut Http) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut ask = about(&json!({}));
    loop {
        let page = http.call("ListShards", &ask);
        for shard in page["Shards"].as_array().expect("it is a list") {
            read_shard(http, shard, &mut found);
        }
        match &page["NextToken"] {
            Value::Null => return found,
            token => ask = json!({ "NextToken": token }),
        }
    }
}

fn read_shard(http: &mut Http, shard: &Value, found: &mut BTreeMap<String, Vec<(String, String)>>) {
    let ask = json!({"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
    let answer = http.call("GetShardIterator", &about(&ask));
    let is_closed = !shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null();
    let mut iterator = answer["ShardIterator"].clone();
    loop {
        let page = http.call("GetRecords", &json!({ "ShardIterator": iterator }));
        for record in page["Records"].as_array().expect("it is a list") {
            let text = |member: &str| record[member].as_str().expect("a text").to_owned();
            let entry = (text("SequenceNumber"), text("Data"));
            found.entry(text("PartitionKey")).or_default().push(entry);
        }
        iterator = page["NextShardIterator"].clone();
        if iterator.is_null() {
            assert!(is_closed, "{shard} ended");
            let children = page["ChildShards"].as_array().map_or(0, Vec::len);
            assert!(children == 1 || children == 2, "{page}");
            return;
        }
        if !is_closed && page["MillisBehindLatest"] == 0 {
            return;
        }
    }
}

fn compare(
    found: BTreeMap<String, Vec<(String, String)>>,
    written: &BTreeMap<String, u64>,
    put: &BTreeMap<String, u64>,
) {
    let mut found = found;
    for (key, last) in written {
        let mut records = found.remove(key).unwrap_or_default();
        // Numbers of one length: text order is number order, over shards too.
        records.sort();
        let numbers = records.iter().map(|(_, data)| data.parse().ok());
        assert!(
            numbers.eq((1..=*last).map(Some)),
            "{key}: {last} were acknowledged"
        );
    }
    for (key, last) in put {
        let records = found.remove(key).unwrap_or_default();
        assert_eq!(records.len() as u64, *last, "{key}");
    }
    assert!(found.is_empty(), "what nobody wrote: {:?}", found.keys());
}

#[test]
fn a_storm_of_splits_and_merges_loses_nothing() {
    let _machine = alone();
    let folder = temporary("reshard");
    let setup = Setup::new(folder.path())
        .with("--quota", "off")
        .with("--auth", "off");
    let victim = setup.start_on(2);
    Wire::<()>::connect(victim.wire, CORE_ANY)
        .expect("the server takes connections")
        .create_as(CreateRequest {
            name: name(STREAM),
            shards: 2,
            mode: StreamMode::Provisioned,
            retention_ms: None,
            retain_bytes: None,
        });
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::default();
    let (mut tail, reader) = follow(&victim, Arc::clone(&seen));
    let putter = put(&victim, Arc::clone(&over));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (address, over) = (victim.http, Arc::clone(&over));
            thread::spawn(move || write(address, writer, &over))
        })
        .collect();

    let mut http = Http::connect(victim.http);
    let (began, mut random) = (Instant::now(), 42);
    let mut changes: BTreeMap<&str, u32> = BTreeMap::new();
    while began.elapsed() < storm_time() && !writers.iter().any(JoinHandle::is_finished) {
        *changes.entry(change(&mut http, &mut random)).or_default() += 1;
        open_shards(&mut http);
        wait_active(&mut http);
    }
    over.store(true, Ordering::Relaxed);
    let mut written = BTreeMap::new();
    for writer in writers {
        written.extend(writer.join().expect("a writer is told of nothing"));
    }
    let put = putter.join().expect("put goes on over every change");
    let records: u64 = written.values().chain(put.values()).sum();
    println!("{changes:?}, {records} records");
    assert!(changes.values().sum::<u32>() > 20, "{changes:?}");

    compare(read_all(&mut http), &written, &put);
    wait_for("all lines in tail", PATIENCE, || {
        assert!(
            !reader.is_finished(),
            "tail ended early, or read out of order"
        );
        (*seen.lock().expect("the reader has not panicked") == put).then_some(())
    });
    signal(&tail, "INT");
    reader.join().expect("the follower reads in order");
    assert!(tail.wait().expect("it is our child").success());

    change(&mut http, &mut random);
    victim.kill();
    let victim = setup.start_on(2);
    let mut http = Http::connect(victim.http);
    open_shards(&mut http);
    wait_active(&mut http);
    open_shards(&mut http);
    compare(read_all(&mut http), &written, &put);
    let one = json!({"PartitionKey": "h0-0", "Data": "99999999"});
    http.call("PutRecord", &about(&one));
    victim.stop();
}
