//! kill -9 under full load, twenty times; every fourth time recovery is killed as well.
//!
//! After each restart every acknowledged record is there exactly once, at its number, in order, and
//! so is what a consumer had read; no number ever names two records. The ledger lives in the test,
//! over all lives. A second test kills while segments are given back and rewritten.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use weir_protocol::model::Offset;
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::ReadFrom;
use weir_protocol::wire::response::StreamDescription;

use super::ledger::Ledger;
use crate::harness::{Load, Placed, Plan, Reader, Setup, Shape, Victim, Wire, alone, mib, parse};
use crate::harness::{bytes_on_disk, run, temporary, wait_for, weir};

const LIVES: u64 = 20;
const SHARDS: u32 = 8;

#[test]
fn twenty_kills_under_load_lose_nothing_and_reuse_no_number() {
    let _machine = alone();
    let folder = temporary("kill");
    let setup = Setup::new(folder.path()).with("--segment-bytes", "8MiB");
    let mut chance = Chance::new();
    let mut ledger = Ledger::new(SHARDS as usize);
    let mut records = 0;
    let mut unacknowledged = 0;
    let mut slowest_start = Duration::ZERO;

    let victim = setup.start();
    connect(&victim).create("ledger", SHARDS);
    victim.kill();
    for life in 1..=LIVES {
        // The folder is served by one core and by two in turn.
        let cores = 1 + (life as u32 / 3) % 2;
        if life % 4 == 0 {
            let starting = setup.spawn_on(cores);
            thread::sleep(Duration::from_millis(chance.between(1, 60)));
            starting.kill();
        }
        let started = Instant::now();
        let victim = setup.start_on(cores);
        slowest_start = slowest_start.max(started.elapsed());
        let stream = connect(&victim).describe("ledger");
        let audit = ledger.audit(&mut Reader::new(victim.wire), &stream);
        records += audit.records;
        unacknowledged += audit.unacknowledged;

        let load = Load::start(&plan(&victim, stream.clone(), life));
        let consumer = Consumer::start(&victim, stream, life as u32 % SHARDS);
        load.wait_until_it_began();
        thread::sleep(Duration::from_millis(chance.between(50, 800)));
        victim.kill();
        let noted = load.join();
        assert!(!noted.broken.is_empty(), "the kill came under load");
        ledger.note(noted);
        ledger.note_seen(consumer.join());
        if life % 5 == 0 {
            // What a kill leaves is no damage.
            check_is_sound(&setup);
        }
    }
    let victim = setup.start_on(2);
    let stream = connect(&victim).describe("ledger");
    let audit = ledger.audit(&mut Reader::new(victim.wire), &stream);
    records += audit.records;
    unacknowledged += audit.unacknowledged;
    // Once more from the start: what was audited before is still where it was.
    let audit = ledger.audit_all(&mut Reader::new(victim.wire), &stream);
    assert_eq!((audit.records, audit.unacknowledged), (records, 0));
    println!(
        "{LIVES} kills, {records} records in {} batches, {unacknowledged} batches durable before \
         their acknowledgement, {} MiB on disk, slowest start {slowest_start:?}",
        ledger.batches(),
        mib(bytes_on_disk(folder.path())),
    );
    victim.stop();
}

/// Most of what is written expires after a second, so that segments are rewritten and given back all
/// the time; what a second stream keeps must stay where it is through kills in the middle of that.
#[test]
fn kills_while_segments_are_rewritten_lose_nothing() {
    let _machine = alone();
    let folder = temporary("kill-settling");
    let setup = Setup::new(folder.path());
    let mut chance = Chance::new();
    let mut ledger = Ledger::new(2);
    let mut victim = setup.start();
    connect(&victim).create("kept", 2);
    let flags = ["create", "passing", "--shards", "2", "--retention", "1s"];
    run(&mut victim.stream(&flags), [], Duration::from_secs(20)).succeeded();
    let mut written = 0;
    for life in 1..=6 {
        let at_rate = |stream: &str, rate| {
            let stream = connect(&victim).describe(stream);
            let mut plan = plan(&victim, stream, life);
            plan.connections = 1;
            plan.bytes_per_second = Some(rate);
            Load::start(&plan)
        };
        let (kept, passing) = (at_rate("kept", 4_000_000), at_rate("passing", 60_000_000));
        kept.wait_until_it_began();
        thread::sleep(Duration::from_millis(chance.between(1_500, 3_000)));
        victim.kill();
        ledger.note(kept.join());
        written += passing.join().bytes;
        check_is_sound(&setup);
        victim = setup.start_on(1 + life as u32 % 2);
        let stream = connect(&victim).describe("kept");
        ledger.audit_all(&mut Reader::new(victim.wire), &stream);
    }
    let stream = connect(&victim).describe("kept");
    let settled = Duration::from_mins(1);
    let kept = ledger.audit_all(&mut Reader::new(victim.wire), &stream);
    let bytes = wait_for("the bytes of what expired", settled, || {
        let bytes = bytes_on_disk(&setup.data());
        (bytes < 4 * kept.records * 600 + (128 << 20)).then_some(bytes)
    });
    println!(
        "6 kills, {} records kept through {} MiB that passed, {} MiB on disk",
        kept.records,
        mib(written),
        mib(bytes)
    );
    let again = ledger.audit_all(&mut Reader::new(victim.wire), &stream);
    assert_eq!(again.records, kept.records);
    victim.stop();
}

fn check_is_sound(setup: &Setup) {
    let data = setup.data().display().to_string();
    let ran = run(&mut weir(["check", &data]), [], Duration::from_mins(1)).succeeded();
    println!("{}", ran.text());
}

fn connect(victim: &Victim) -> Wire {
    Wire::connect(victim.wire, CORE_ANY).expect("the server takes connections")
}

fn plan(victim: &Victim, stream: StreamDescription, life: u64) -> Plan {
    Plan {
        address: victim.wire,
        stream,
        number: life,
        connections: 4,
        in_flight: 8,
        shape: Shape {
            records: 1..=120,
            bytes: 20..=1_000,
        },
        bytes_per_second: None,
    }
}

/// Numbers between bounds from a seed that the test prints.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = now.map_or(1, |since| u64::from(since.subsec_nanos()));
        println!("seed of the kill times: {seed}");
        Self(seed | 1)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        // Xorshift, good enough for moments.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + self.0 % (high - low + 1)
    }
}

/// Reads one shard at its tip until the server is gone.
struct Consumer {
    thread: JoinHandle<Vec<Placed>>,
    gone: Arc<AtomicBool>,
}

impl Consumer {
    fn start(victim: &Victim, stream: StreamDescription, shard: u32) -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let (mut reader, ended) = (Reader::new(victim.wire), Arc::clone(&gone));
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut from = ReadFrom::Latest;
            while !ended.load(Ordering::Relaxed) {
                match consume(&mut reader, &stream, shard, from, &mut seen) {
                    Ok(next) => from = ReadFrom::Offset(next),
                    Err(_) => break,
                }
            }
            seen
        });
        Self { thread, gone }
    }

    fn join(self) -> Vec<Placed> {
        self.gone.store(true, Ordering::Relaxed);
        self.thread.join().expect("a consumer does not panic")
    }
}

fn consume(
    reader: &mut Reader,
    stream: &StreamDescription,
    shard: u32,
    from: ReadFrom,
    seen: &mut Vec<Placed>,
) -> io::Result<Offset> {
    let read = reader.some(stream, shard, from, 100, &mut |record| {
        let content = parse(record.data).unwrap_or_else(|wrong| panic!("{wrong}"));
        if content.index == 0 {
            seen.push(Placed {
                batch: content.batch,
                records: content.records,
                shard,
                first: record.offset,
            });
        }
    });
    read.map(|(next, _)| next)
}
