//! Memory has a ceiling that readers do not lift, however slowly they take what they asked for.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Http, Setup, Victim, alone, mib, temporary};

const SHARDS: usize = 4;
const READERS: usize = 64;
/// What the server is told, and does not exceed.
const MEMORY_BYTES: u64 = 464 << 20;
/// A reader takes so much at a time, in turn with the others.
const SIP_BYTES: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_mins(2);

/// Bytes that the server has for itself; mapped files are the kernel's, which takes them back.
fn memory_of(victim: &Victim) -> u64 {
    let path = format!("/proc/{}/status", victim.process_id());
    let text = std::fs::read_to_string(path).expect("the server runs");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kibibytes: u64 = number.unwrap().trim().parse().unwrap();
    kibibytes << 10
}

/// A connection that asked for as many records as one answer may have.
struct SlowReader {
    socket: TcpStream,
    answer: Vec<u8>,
    /// Bytes of head and body together, once the head is there.
    whole: Option<usize>,
}

impl SlowReader {
    fn ask(victim: &Victim, iterator: &Value) -> Self {
        let mut socket = TcpStream::connect(victim.http).expect("the server takes connections");
        let request = Http::request("GetRecords", &json!({ "ShardIterator": iterator }));
        socket.write_all(&request).expect("the server reads");
        socket.set_nonblocking(true).expect("it is a socket");
        Self {
            socket,
            answer: Vec::new(),
            whole: None,
        }
    }

    fn is_done(&self) -> bool {
        self.whole == Some(self.answer.len())
    }

    /// Takes a little of the answer, if there is any; whether there was.
    fn sip(&mut self) -> bool {
        let mut piece = [0; SIP_BYTES];
        let count = match self.socket.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        };
        assert!(count > 0, "the server closed the connection");
        self.answer.extend_from_slice(&piece[..count]);
        if self.whole.is_none()
            && let Some(end) = self.answer.windows(4).position(|w| w == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.split("content-length:").nth(1).expect("it has one");
            let length = length.lines().next().unwrap().trim();
            self.whole = Some(end + 4 + length.parse::<usize>().unwrap());
        }
        true
    }
}

/// Fills four shards with 12 MB each, and returns an iterator at the beginning of each.
fn fill(victim: &Victim) -> Vec<Value> {
    let mut http = Http::connect(victim.http);
    let mode = json!({"StreamMode": "ON_DEMAND"});
    let create = json!({"StreamName": "s", "ShardCount": SHARDS, "StreamModeDetails": mode});
    http.call("CreateStream", &create);
    let until = Instant::now() + PATIENCE;
    let name = json!({"StreamName": "s"});
    while http.call("DescribeStreamSummary", &name)["StreamDescriptionSummary"]["StreamStatus"]
        != "ACTIVE"
    {
        assert!(Instant::now() < until, "the stream is not active");
    }
    // 999 bytes in base64.
    let data = "QUFB".repeat(333);
    for call in 0..24 * SHARDS {
        let hash = u128::MAX / SHARDS as u128 * (call % SHARDS) as u128 + 1_000;
        let record =
            json!({"PartitionKey": "k", "ExplicitHashKey": hash.to_string(), "Data": data});
        let put = json!({"StreamName": "s", "Records": vec![record; 500]});
        assert_eq!(http.call("PutRecords", &put)["FailedRecordCount"], 0);
    }
    let iterator = |shard: usize| {
        let id = format!("shardId-{shard:012}");
        let ask = json!({"StreamName": "s", "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"});
        http.call("GetShardIterator", &ask)["ShardIterator"].clone()
    };
    (0..SHARDS).map(iterator).collect()
}

#[test]
fn sixty_four_slow_readers_stay_within_the_ceiling_and_get_their_answers() {
    let _machine = alone();
    let folder = temporary("slow-readers");
    let setup = Setup::new(folder.path())
        .with("--memory", "464MiB")
        .with("--segment-bytes", "16MiB")
        .with("--auth", "off");
    let victim = setup.start_on(2);
    let iterators = fill(&victim);
    let filled = memory_of(&victim);
    let mut readers: Vec<_> = (0..READERS)
        .map(|nth| SlowReader::ask(&victim, &iterators[nth % SHARDS]))
        .collect();
    let (mut most, mut answers) = (filled, Vec::new());
    let until = Instant::now() + PATIENCE;
    while !readers.is_empty() {
        let mut some = false;
        for reader in &mut readers {
            some |= reader.sip();
        }
        for done in readers.extract_if(.., |reader| reader.is_done()) {
            answers.push(done.answer);
        }
        most = most.max(memory_of(&victim));
        assert!(Instant::now() < until, "{} are not answered", readers.len());
        if !some {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let bytes: usize = answers.iter().map(Vec::len).sum();
    println!(
        "{READERS} answers of {} KiB on average; {} MiB filled, {} MiB at most",
        (bytes / READERS) >> 10,
        mib(filled),
        mib(most)
    );
    assert_eq!(answers.len(), READERS);
    for answer in &answers {
        let body = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let page: Value = serde_json::from_slice(&answer[body..]).expect("answers are JSON");
        assert!(!page["Records"].as_array().unwrap().is_empty());
        assert!(page["NextShardIterator"].is_string());
        assert!(page["MillisBehindLatest"].as_u64().unwrap() > 0);
    }
    assert!(most <= MEMORY_BYTES, "{} MiB of 464", mib(most));
}
