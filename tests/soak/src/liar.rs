//! The judge's own proof: a stand-in for a server that lies in one way, and must be found out.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weir_protocol::model::{Offset, SequenceNumber, ShardIndex, Timestamp};

use crate::chance::{Chance, hash};
use crate::judge::Hearing;
use crate::rig::{Done, Order};

const BATCHES: u64 = 40;
const RECORDS: u64 = 5;
/// A batch of a third connection.
const NEVER_ANSWERED: u64 = 2 << 40 | 0x3e8;

/// A lie, what it does to what is there, and a word that the judge must say of it.
type Lie = (&'static str, fn(&mut Vec<Record>, usize), &'static str);

const LIES: [Lie; 10] = [
    (
        "one record is dropped",
        |records, at| drop(records.remove(at)),
        "hole",
    ),
    (
        "the newest batch is dropped",
        |records, _| records.truncate(records.len() - RECORDS as usize),
        "lost",
    ),
    (
        "the oldest batches are dropped",
        |records, at| drop(records.drain(..at - at % RECORDS as usize)),
        "expired early",
    ),
    ("a whole batch in the middle is gone", gone, "hole"),
    (
        "one record comes twice",
        |records, at| records.insert(at, records[at].clone()),
        "order",
    ),
    ("a batch is stored twice", again, "twice"),
    (
        "two records change places",
        |records, at| swap(records, at),
        "order",
    ),
    (
        "two batches change places",
        |records, at| swap_batches(records, at),
        "it is also at",
    ),
    (
        "one bit is wrong",
        |records, at| records[at].data[9] ^= 4,
        "never sent",
    ),
    (
        "one key is wrong",
        |records, at| records[at].key.push('x'),
        "key",
    ),
];

#[derive(Clone)]
struct Record {
    number: String,
    key: String,
    data: Vec<u8>,
}

/// A server that comes after one that told the truth: what it does to what is there, and what is
/// asked of it.
type LaterLie = (&'static str, fn(&mut Standing), Asked, &'static str);

const LATER_LIES: [LaterLie; 4] = [
    (
        "a number is given again in a later life",
        |there| {
            let end = there.records.len() - RECORDS as usize;
            there.records.truncate(end);
            for place in 0..RECORDS {
                let offset = end as u64 + place;
                there.records.push(record(NEVER_ANSWERED, place, offset));
            }
        },
        Asked::All,
        "this number was given to batch",
    ),
    (
        "a shard is gone, and nothing new was read",
        |there| there.has_shard = false,
        Asked::New,
        "gone from ListShards",
    ),
    (
        "all records are kept longer than they may be",
        |_| (),
        Asked::Gone,
        "expired late",
    ),
    (
        "one record is kept longer than it may be",
        |there| drop(there.records.drain(1..)),
        Asked::Gone,
        "expired late",
    ),
];

/// What the judge is asked of a later life.
#[derive(Debug, Clone, Copy)]
enum Asked {
    New,
    All,
    Gone,
}

/// What a stand-in has.
struct Standing {
    has_shard: bool,
    records: Vec<Record>,
}

/// Lets the judge hear each lie, and the truth.
pub(crate) fn run(order: &Order) -> Result<Done> {
    let mut caught = 0;
    for seed in (order.seed..).take(order.count as usize) {
        caught += round(seed)
            .with_context(|| format!("replay: ./scripts/soak judge --seed {seed} --count 1"))?;
    }
    let note = format!("{caught} lies, {caught} named");
    Ok(Done::new(order.count, note))
}

/// How many lies there are, each of them named.
fn round(seed: u64) -> Result<u64> {
    let mut chance = Chance::new(seed);
    hear(|_| ()).context("the truth was not believed")?;
    for (what, lie, word) in LIES {
        let at = chance.between(RECORDS + 1, (BATCHES - 2) * RECORDS) as usize;
        named(what, hear(|records| lie(records, at)), word)?;
    }
    for asked in [Asked::New, Asked::All] {
        hear_later(|_| (), asked).context("the truth was not believed a second time")?;
    }
    hear_later(|there| there.records.clear(), Asked::Gone)
        .context("what had its time and is gone was not believed")?;
    for (what, lie, asked, word) in LATER_LIES {
        named(what, hear_later(lie, asked), word)?;
    }
    Ok((LIES.len() + LATER_LIES.len()) as u64)
}

fn named(what: &str, heard: Result<()>, word: &str) -> Result<()> {
    let Err(wrong) = heard else {
        bail!("{what}, and the judge says nothing");
    };
    let wrong = format!("{wrong:#}");
    ensure!(wrong.contains(word), "{what}, and the judge says {wrong}");
    Ok(())
}

fn hear(lie: impl FnOnce(&mut Vec<Record>)) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger");
    let (mut records, text) = truth();
    fs::write(&ledger, text)?;
    lie(&mut records);
    let address = serve(Standing {
        has_shard: true,
        records,
    })?;
    Hearing::open(&ledger, None)?.check(address, true)?;
    Ok(())
}

/// The truth of one life, then a later one.
fn hear_later(lie: impl FnOnce(&mut Standing), asked: Asked) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger");
    let (records, mut text) = truth();
    // The newest batch was never answered, nor was another, of a third connection.
    let newest = text.rfind("stored").unwrap_or(0);
    text.truncate(newest);
    let _ = write!(text, "sent {NEVER_ANSWERED:x} 0");
    for place in 0..RECORDS {
        let record = record(NEVER_ANSWERED, place, 0);
        let _ = write!(text, " {:x}:{:x}", hash(b"key"), hash(&record.data));
    }
    text.push('\n');
    fs::write(&ledger, text)?;
    let mut judge = Hearing::open(&ledger, None)?;
    let (has_shard, records_before) = (true, records.clone());
    let before = serve(Standing {
        has_shard,
        records: records_before,
    })?;
    judge
        .check(before, false)
        .context("the truth was not believed at first")?;
    let mut there = Standing { has_shard, records };
    lie(&mut there);
    let later = serve(there)?;
    match asked {
        Asked::New => judge.check(later, false).map(|_| ()),
        Asked::All => judge.check(later, true).map(|_| ()),
        Asked::Gone => judge.gone(later),
    }
}

/// Batches of two connections in turn, all acknowledged.
fn truth() -> (Vec<Record>, String) {
    let (mut records, mut ledger) = (Vec::new(), String::new());
    for batch in 0..BATCHES {
        let serial = (batch % 2) << 40 | batch;
        let _ = write!(ledger, "sent {serial:x} 0");
        for place in 0..RECORDS {
            let record = record(serial, place, batch * RECORDS + place);
            let _ = write!(ledger, " {:x}:{:x}", hash(b"key"), hash(&record.data));
            records.push(record);
        }
        let _ = writeln!(ledger, "\nstored {serial:x} {} 0", number(batch * RECORDS));
    }
    (records, ledger)
}

/// A record of a batch, at an offset.
fn record(serial: u64, place: u64, offset: u64) -> Record {
    let data = [serial, place, 7];
    Record {
        number: number(offset),
        key: "key".to_owned(),
        data: data.iter().flat_map(|n| n.to_le_bytes()).collect(),
    }
}

fn number(offset: u64) -> String {
    let time = Timestamp::from_millis(1_700_000_000_000);
    let offset = Offset::new(offset).expect("a small offset");
    SequenceNumber::of_record(ShardIndex(0), time, offset, time).to_string()
}

/// What is there gets new numbers, so that only the records themselves tell the lie.
fn renumber(records: &mut [Record]) {
    for (offset, record) in (0..).zip(records) {
        record.number = number(offset);
    }
}

fn gone(records: &mut Vec<Record>, at: usize) {
    let first = at - at % RECORDS as usize;
    records.drain(first..first + RECORDS as usize);
}

fn again(records: &mut Vec<Record>, at: usize) {
    let first = at - at % RECORDS as usize;
    let batch = records[first..first + RECORDS as usize].to_vec();
    records.extend(batch);
    renumber(records);
}

fn swap(records: &mut [Record], at: usize) {
    let at = at - at % RECORDS as usize + 1;
    records.swap(at, at + 1);
    renumber(records);
}

fn swap_batches(records: &mut [Record], at: usize) {
    let first = at - at % RECORDS as usize;
    for place in 0..RECORDS as usize {
        records.swap(first + place, first + RECORDS as usize + place);
    }
    renumber(records);
}

/// Answers one client in Kinesis JSON until it leaves.
fn serve(there: Standing) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        if let Ok((socket, _)) = listener.accept() {
            // It ends when the judge closes its connection.
            let _ = answer(socket, &there);
        }
    });
    Ok(address)
}

fn answer(socket: TcpStream, there: &Standing) -> Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            ensure!(socket.read_line(&mut line)? > 0, "the client left");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.parse()?;
            }
            if let Some((_, name)) = line.split_once("Kinesis_20131202.") {
                name.clone_into(&mut operation);
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body)?;
        let asked: Value = serde_json::from_slice(&body)?;
        let said = say(&operation, &asked, there).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
        socket
            .get_mut()
            .write_all(&[head, said].concat().into_bytes())?;
    }
}

fn say(operation: &str, asked: &Value, there: &Standing) -> Value {
    let records = &there.records;
    match operation {
        "ListShards" if there.has_shard => {
            json!({ "Shards": [{ "ShardId": "shardId-000000000000" }] })
        }
        "ListShards" => json!({ "Shards": [] }),
        "GetShardIterator" => {
            let after = asked["StartingSequenceNumber"].as_str();
            let at = records
                .iter()
                .position(|record| Some(record.number.as_str()) == after);
            json!({ "ShardIterator": at.map_or(0, |at| at + 1).to_string() })
        }
        _ => {
            let from = asked["ShardIterator"]
                .as_str()
                .and_then(|at| at.parse().ok());
            let from: usize = from.unwrap_or(0);
            let from = from.min(records.len());
            let until = records.len().min(from + 64);
            let part: Vec<_> = records[from..until].iter().map(shown).collect();
            json!({
                "Records": part,
                "NextShardIterator": until.to_string(),
                "MillisBehindLatest": u64::from(until < records.len()),
            })
        }
    }
}

fn shown(record: &Record) -> Value {
    json!({
        "SequenceNumber": record.number,
        "PartitionKey": record.key,
        "Data": base64(&record.data),
    })
}

pub(crate) fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Data here is a multiple of three bytes: nothing to pad.
    let digits = data.chunks(3).flat_map(|three| {
        let held = three
            .iter()
            .fold(0_u32, |held, byte| held << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(held >> shift & 63) as usize]))
    });
    digits.collect()
}

#[cfg(test)]
mod proofs {
    use super::{BATCHES, RECORDS, base64, truth};

    #[test]
    fn the_truth_is_well_made() {
        assert_eq!(truth().0.len() as u64, BATCHES * RECORDS);
        assert_eq!(base64(b"weirws"), "d2VpcndzX".trim_end_matches('X'));
    }
}
