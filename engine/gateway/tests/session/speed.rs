//! A first look at rates, by hand: `cargo test -p weir-gateway --release -- --ignored --nocapture`.
//! Client and server share the machine's CPUs; the load generator measures properly.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{Client, Server};

const LENGTH: Duration = Duration::from_secs(4);

/// Calls in a loop on `connections` threads; prints calls and records a second.
fn measure(name: &str, connections: usize, records: u64, request: &[u8], server: &Server) {
    let total: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = server.connect();
                    let end = Instant::now() + LENGTH;
                    let mut calls = 0;
                    while Instant::now() < end {
                        let reply = client.exchange(request);
                        assert_eq!(reply.status, 200);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    let calls = total as f64 / LENGTH.as_secs_f64();
    println!(
        "{name}: {calls:.0} calls/s, {:.0} records/s",
        calls * records as f64
    );
}

#[test]
#[ignore = "a measurement, not a test"]
fn rates_of_one_core() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "s"}));
    client.wait_active("s");
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 1000]);
    let one = json!({"StreamName": "s", "PartitionKey": "key", "Data": data}).to_string();
    measure(
        "PutRecord, 32 connections",
        32,
        1,
        &Client::request("PutRecord", &one),
        &server,
    );
    let records: Vec<_> = (0..500)
        .map(|i| json!({"PartitionKey": format!("key-{i}"), "Data": data}))
        .collect();
    let many = json!({"StreamName": "s", "Records": records}).to_string();
    measure(
        "PutRecords of 500, 4 connections",
        4,
        500,
        &Client::request("PutRecords", &many),
        &server,
    );
    let ask = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = client.call("GetShardIterator", ask)["ShardIterator"].clone();
    let ask = json!({"ShardIterator": iterator}).to_string();
    let page = client.call("GetRecords", json!({"ShardIterator": iterator}));
    let count = page["Records"].as_array().unwrap().len() as u64;
    measure(
        "GetRecords",
        2,
        count,
        &Client::request("GetRecords", &ask),
        &server,
    );
}
