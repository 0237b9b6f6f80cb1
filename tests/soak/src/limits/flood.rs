//! Clients that send as much as they can and clients that take nothing, over HTTP, on a stream that
//! no ledger knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::http::Client;
use crate::scene::wait_until;

const SENDERS: usize = 24;
const STALLED: usize = 24;
const SHARDS: u32 = 2;
/// Records of a call, and characters of base64 of each: 4 MB a call.
const RECORDS: usize = 400;
const CHARACTERS: usize = 13_332;
const PATIENCE: Duration = Duration::from_mins(1);

/// How many calls were answered how: "200", or a status and the error's name.
pub(super) type Answers = BTreeMap<String, u64>;

pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Answers>>,
    /// They asked and do not read.
    _stalled: Vec<Client>,
}

impl Flood {
    pub(super) fn start(http: SocketAddr) -> Result<Self> {
        let mut client = Client::connect(http)?;
        let mode = json!({ "StreamMode": "ON_DEMAND" });
        let create =
            json!({"StreamName": "flood", "ShardCount": SHARDS, "StreamModeDetails": mode});
        client.must("CreateStream", &create)?;
        let name = json!({ "StreamName": "flood" });
        wait_until("a stream to flood", PATIENCE, || {
            let said = client.must("DescribeStreamSummary", &name)?;
            Ok(said["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
        })?;
        let record = json!({ "PartitionKey": "k", "Data": "QUFB".repeat(CHARACTERS / 4) });
        let put = json!({ "StreamName": "flood", "Records": vec![record; RECORDS] });
        // So that there is something to be asked for.
        for _ in 0..4 {
            client.call("PutRecords", &put)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let request = Arc::new(client.request("PutRecords", &put)?);
        let send = |_| {
            let (stop, request) = (Arc::clone(&stop), Arc::clone(&request));
            thread::spawn(move || send(http, &request, &stop))
        };
        let threads = (0..SENDERS).map(send).collect();
        let mut stalled = Vec::new();
        for number in 0..STALLED {
            let shard = format!("shardId-{:012}", number as u32 % SHARDS);
            let at = json!({
                "StreamName": "flood", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
            });
            // The flood may have begun to be refused.
            let (status, iterator) = client.call("GetShardIterator", &at)?;
            if status == 200 {
                let mut reader = Client::connect(http)?;
                let request = reader.request("GetRecords", &iterator)?;
                reader.send(&request)?;
                stalled.push(reader);
            }
        }
        Ok(Self {
            stop,
            threads,
            _stalled: stalled,
        })
    }

    /// Ends it; how the calls were answered.
    pub(super) fn stop(self) -> Result<Answers> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Answers::new();
        for thread in self.threads {
            let answers = thread.join().map_err(|_| anyhow!("a sender panicked"))?;
            for (answer, count) in answers {
                *all.entry(answer).or_default() += count;
            }
        }
        Ok(all)
    }
}

fn send(http: SocketAddr, request: &[u8], stop: &AtomicBool) -> Answers {
    let mut answers = Answers::new();
    while !stop.load(Ordering::SeqCst) {
        // A server that is gone, or that closes the connection, is counted too.
        let answered = Client::connect(http).and_then(|mut client| {
            while !stop.load(Ordering::SeqCst) {
                client.send(request)?;
                let (status, body) = client.receive()?;
                let mut answer = status.to_string();
                if let Some(name) = body["__type"].as_str() {
                    answer = format!("{answer} {name}");
                } else if body["FailedRecordCount"] != 0 {
                    answer += " in part";
                }
                *answers.entry(answer).or_default() += 1;
            }
            Ok(())
        });
        if answered.is_err() {
            *answers.entry("closed".to_owned()).or_default() += 1;
            // One that refuses connections would be asked without end.
            thread::sleep(Duration::from_millis(10));
        }
    }
    answers
}
