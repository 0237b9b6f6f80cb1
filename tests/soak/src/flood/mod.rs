//! S10: ten thousand idle connections and a thousand hostile ones, while a few clients that mean
//! well write and read.
//!
//! All that the good ones ask is answered, memory stays below its ceiling, health answers at all
//! times, and when it is over the server has as many sockets as before, and another crowd finds
//! room in the memory that the first one left. Connections that the ceiling has no room for are
//! refused and counted; those that were taken stay.

mod good;
mod hostile;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::json;
use weir_protocol::model::ShardId;
use weir_protocol::wire::hello::{CORE_ANY, ClientHello, HELLO_BYTES};

use self::good::Good;
use self::hostile::{GREEDY, Hostile, KINDS, Kind};
use crate::admin::{self, Metrics};
use crate::judge::Hearing;
use crate::net::notes::Notes;
use crate::net::{client, h2};
use crate::rig::{Done, Missing, Order};
use crate::server::{MEMORY, MEMORY_BYTES, Place, Ports, Server, Setup};
use crate::{folder, process, wire};

const SHARDS: u32 = 6;
const GOOD: usize = 8;
/// One in so many connections is hostile.
const HOSTILE_PART: usize = 11;
/// Beside the connections: files of the server's logs, ports, and pipes.
const OTHER_FILES: u64 = 1_000;
/// Threads that open idle connections, and that visit hostile ones.
const HANDS: usize = 4;
/// Between two rounds of the hostile ones.
const ROUND: Duration = Duration::from_millis(20);
/// Answers that each good client gets without the others, and with them.
const ANSWERS: u64 = 60;
/// Longer than begun frames may hold what others wait for.
const FLOOD: Duration = Duration::from_secs(12);
/// The same with fewer connections than this, where it is shorter.
const FLOOD_SHORT: (usize, Duration) = (5_000, Duration::from_secs(3));
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);
/// What readers of long answers find: so many calls of so many bytes.
const BULK: (usize, usize) = (40, 900_000);
/// Every other seed has room for all connections; the others for a part of them.
const ROOMY: (&str, u64) = ("1GiB", 1 << 30);
const NARROW: (&str, u64) = (MEMORY, MEMORY_BYTES);
/// What another crowd of idle connections may need beside what the first one left.
const AGAIN_BYTES: u64 = 64 << 20;

/// How many connections there are.
#[derive(Debug, Default, Clone, Copy)]
struct Size {
    idle: usize,
    hostile: usize,
}

impl Size {
    fn of(connections: u64) -> Self {
        let hostile = (connections as usize / HOSTILE_PART).max(KINDS.len());
        let idle = (connections as usize).saturating_sub(hostile);
        Self { idle, hostile }
    }

    fn lasts(self) -> Duration {
        if self.idle < FLOOD_SHORT.0 {
            FLOOD_SHORT.1
        } else {
            FLOOD
        }
    }
}

/// What hostile clients aim at.
pub(super) struct Target {
    pub(super) ports: Ports,
    /// A shard with much in it, and an iterator at its beginning.
    pub(super) bulk: ShardId,
    pub(super) iterator: String,
}

/// What one flood showed.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    quiet: (u32, u32, usize),
    flood: (u32, u32, usize),
    quiet_bytes: u64,
    left_bytes: u64,
    again_bytes: u64,
    most_bytes: u64,
    idle: usize,
    refused: usize,
    sent_away: u64,
    healthy: u64,
    malformed: f64,
    timed_out: f64,
    records: u64,
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    let needed = order.count + OTHER_FILES;
    if process::open_files() < needed {
        return Err(Missing(format!("{needed} descriptors")).into());
    }
    let size = Size::of(order.count);
    let memory = if order.seed.is_multiple_of(2) {
        ROOMY
    } else {
        NARROW
    };
    prove(order.seed, memory.1)?;
    let seen = flood(order.seed, size, memory).with_context(|| {
        let Order { seed, count, .. } = order;
        format!("replay: ./scripts/soak flood --seed {seed} --count {count}")
    })?;
    Ok(Done::new(order.count, seen.note(size, memory.0))
        .on(&folder::filesystem(Path::new(folder::PLACE))))
}

impl Seen {
    fn note(&self, size: Size, memory: &str) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let calls = |(p50, p99, calls): (u32, u32, usize)| format!("{p50} and {p99} us ({calls})");
        format!(
            "{} idle and {} hostile connections beside {GOOD} good clients: memory at most {} MiB of \
             {memory} ({} with the good ones only, {} when all had left, {} with as many idle ones \
             again); {} idle ones stayed and {} were refused, hostile ones were {} times sent away, \
             {} malformed and {} too slow counted, health answered {} times, {} records judged; p50, \
             p99 and number of the good ones' calls: quiet {}, flooded {}; proven on a server told of \
             more memory",
            size.idle,
            size.hostile,
            mib(self.most_bytes),
            mib(self.quiet_bytes),
            mib(self.left_bytes),
            mib(self.again_bytes),
            self.idle,
            self.refused,
            self.sent_away,
            self.malformed,
            self.timed_out,
            self.healthy,
            self.records,
            calls(self.quiet),
            calls(self.flood),
        )
    }
}

/// A server, its streams, and who watches its memory.
struct Scene {
    server: Server,
    target: Arc<Target>,
    ledger: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn open(memory: &str) -> Result<Self> {
        let folder = folder::temporary("flood")?;
        let place = Place {
            data: folder.path().join("data"),
            log: folder.path().join("server.log"),
        };
        let ledger = folder.path().join("ledger");
        std::fs::write(&ledger, "")?;
        let (server, ports) = Server::start_as(&place, &Setup::new(2).with("--memory", memory))?;
        wire::create(ports.wire, SHARDS)?;
        Ok(Self {
            target: Arc::new(fill(ports)?),
            server,
            ledger,
            _folder: folder,
        })
    }
}

/// A stream of long records that nobody judges.
fn fill(ports: Ports) -> Result<Target> {
    let mut socket = std::io::BufReader::new(client::connect(ports.http)?);
    let mut call =
        |operation: &str, body: &serde_json::Value| good::call(&mut socket, operation, body);
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    let create = json!({ "StreamName": "bulk", "ShardCount": 1, "StreamModeDetails": mode });
    call("CreateStream", &create)?;
    process::until(PATIENCE, || {
        let summary = call("DescribeStreamSummary", &json!({ "StreamName": "bulk" }))?;
        let status = &summary["StreamDescriptionSummary"]["StreamStatus"];
        Ok((status != "ACTIVE").then(|| format!("the stream is {status}")))
    })?;
    // All zeros, in base64.
    let data = "A".repeat(BULK.1 / 3 * 4);
    for _ in 0..BULK.0 {
        let put = json!({ "StreamName": "bulk", "PartitionKey": "k", "Data": data });
        call("PutRecord", &put)?;
    }
    let from = json!({
        "StreamName": "bulk",
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let iterator = call("GetShardIterator", &from)?["ShardIterator"].clone();
    let stream = wire::describe_named(ports.wire, "bulk")?;
    let shard = stream.shards.first().context("it has a shard")?;
    Ok(Target {
        ports,
        bulk: ShardId::new(stream.id, shard.index),
        iterator: iterator.as_str().context("an iterator is text")?.to_owned(),
    })
}

/// Threads that act until told to stop.
struct Crowd {
    over: Arc<AtomicBool>,
    sent_away: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(kinds: &[Kind], count: usize, target: &Arc<Target>, seed: u64) -> Self {
        let over = Arc::<AtomicBool>::default();
        let sent_away = Arc::<AtomicU64>::default();
        let hand = |hand: usize| {
            let mut crowd: Vec<_> = (hand..count)
                .step_by(HANDS)
                .map(|nth| Hostile::new(kinds[nth % kinds.len()], seed ^ (nth as u64) << 20))
                .collect();
            let (over, sent_away) = (Arc::clone(&over), Arc::clone(&sent_away));
            let target = Arc::clone(target);
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    for hostile in &mut crowd {
                        hostile.visit(&target);
                        sent_away.fetch_add(std::mem::take(&mut hostile.ended), Ordering::SeqCst);
                    }
                    thread::sleep(ROUND);
                }
            })
        };
        Self {
            threads: (0..HANDS).map(hand).collect(),
            over,
            sent_away,
        }
    }

    fn end(self) -> Result<u64> {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("the crowd panicked"))?;
        }
        Ok(self.sent_away.load(Ordering::SeqCst))
    }
}

/// Memory of a server, and whether it says that it is well, while something else goes on.
struct Watch {
    id: u32,
    admin: SocketAddr,
    ceiling: u64,
    most: u64,
    healthy: u64,
    asked: Instant,
}

impl Watch {
    fn new(server: &Server, ports: Ports, ceiling: u64) -> Self {
        Self {
            id: server.process_id(),
            admin: ports.admin,
            ceiling,
            most: 0,
            healthy: 0,
            asked: Instant::now(),
        }
    }

    fn look(&mut self) -> Result<()> {
        self.look_at_memory()?;
        if self.asked.elapsed() > 5 * LOOK {
            for page in ["/healthz", "/readyz"] {
                let (status, text) = admin::get(self.admin, page)?;
                ensure!(status == 200, "{page} says {status} {text}");
                self.healthy += 1;
            }
            self.asked = Instant::now();
        }
        Ok(())
    }

    fn look_at_memory(&mut self) -> Result<()> {
        let now = process::memory(self.id)?;
        self.most = self.most.max(now);
        ensure!(
            now <= self.ceiling,
            "{} MiB are above the ceiling of {}",
            now >> 20,
            self.ceiling >> 20
        );
        Ok(())
    }

    /// Looks until each good client has so many answers more than `before`, and for `least` at least.
    fn while_answered(&mut self, good: &mut Good, least: Duration) -> Result<()> {
        let (before, began) = (good.so_far(), Instant::now());
        process::until(least + PATIENCE, || {
            self.look()?;
            good.still_ask()?;
            let now = good.so_far();
            let all = now
                .iter()
                .zip(&before)
                .all(|(now, before)| now - before >= ANSWERS);
            let is_done = all && began.elapsed() >= least;
            thread::sleep(LOOK);
            Ok((!is_done).then(|| format!("answers went from {before:?} to {now:?}")))
        })
    }
}

/// A server that holds more than the rig allows must be found out.
fn prove(seed: u64, ceiling: u64) -> Result<()> {
    let scene = Scene::open("8GiB")?;
    let crowd = Crowd::start(&GREEDY, 300, &scene.target, seed);
    let mut watch = Watch::new(&scene.server, scene.target.ports, ceiling);
    let looked = process::until(PATIENCE, || {
        watch.look_at_memory()?;
        Ok(Some("it is below the ceiling".to_owned()))
    });
    crowd.end()?;
    scene.server.kill()?;
    match looked {
        Err(wrong) if format!("{wrong:#}").contains("above the ceiling") => Ok(()),
        other => bail!(
            "a server of 8 GiB holds {} MiB, and: {other:?}",
            watch.most >> 20
        ),
    }
}

fn flood(seed: u64, size: Size, memory: (&str, u64)) -> Result<Seen> {
    let scene = Scene::open(memory.0)?;
    let (target, ports) = (&scene.target, scene.target.ports);
    let mut judge = Hearing::open(&scene.ledger, None)?;
    let notes = (1..=GOOD as u64).map(|nth| Notes::open(&scene.ledger, nth));
    let notes = notes.collect::<Result<Vec<_>>>()?;
    let stream = Arc::new(wire::describe(ports.wire)?);
    let mut watch = Watch::new(&scene.server, ports, memory.1);
    let sockets = process::sockets(watch.id)?;
    let mut seen = Seen::default();

    let mut good = Good::start(ports, &stream, notes, seed);
    watch.while_answered(&mut good, Duration::from_secs(1))?;
    seen.quiet_bytes = watch.most;
    ensure!(seen.quiet_bytes > 0, "memory is not measured");
    good.begin(1);
    let crowd = Crowd::start(&KINDS, size.hostile, target, seed);
    let idle = open_idle(ports, size.idle)?;
    let watched = watch
        .while_answered(&mut good, size.lasts())
        .with_context(|| format!("with {} idle ones", idle.len()));
    let metrics = Metrics::read(ports.admin)?;
    seen.sent_away = crowd.end()?;
    watched?;
    seen.malformed = metrics.sum("weir_malformed_requests_total", "");
    seen.timed_out = metrics.sum("weir_connections_timed_out_total", "");
    let refused = metrics.sum("weir_connections_refused_total", "");
    seen.idle = still_there(&idle);
    drop(idle);
    seen.refused = size.idle - seen.idle;
    [seen.quiet, seen.flood] = good.end()?;
    ensure!(
        seen.refused == 0 || (memory == NARROW && refused >= seen.refused as f64),
        "of {} idle connections {} are left, and the server refused {refused}",
        size.idle,
        seen.idle,
    );
    ensure!(
        seen.malformed > 0.0 && seen.sent_away > 0,
        "the hostile were not refused"
    );

    let all_left = || {
        let now = process::sockets(watch.id)?;
        Ok((now > sockets).then(|| {
            let [http, wire, admin] = [ports.http, ports.wire, ports.admin]
                .map(|port| process::connections_to(port.port()));
            format!(
                "{now} sockets are open, {sockets} were before; http: {http}; binary: {wire}; \
                 admin: {admin}"
            )
        }))
    };
    process::until(PATIENCE, all_left)?;
    watch.look()?;
    seen.left_bytes = process::memory(watch.id)?;
    let idle = open_idle(ports, size.idle)?;
    watch.look()?;
    seen.again_bytes = process::memory(watch.id)?;
    drop(idle);
    ensure!(
        seen.again_bytes <= seen.left_bytes + AGAIN_BYTES,
        "as many idle connections again take {} MiB; it was {} when all had left",
        seen.again_bytes >> 20,
        seen.left_bytes >> 20,
    );
    let verdict = judge.check(ports.http, true)?;
    scene.server.kill()?;
    seen.most_bytes = watch.most;
    seen.healthy = watch.healthy;
    seen.records = verdict.records;
    Ok(seen)
}

/// Connections that are open and ask nothing: some never did, some did once. Those that the server
/// refuses are left out.
fn open_idle(ports: Ports, count: usize) -> Result<Vec<TcpStream>> {
    const ASK: &[u8] = b"POST / HTTP/1.1\r\nhost: soak\r\n\
        content-type: application/x-amz-json-1.1\r\n\
        x-amz-target: Kinesis_20131202.ListStreams\r\ncontent-length: 2\r\n\r\n{}";
    let open = move |nth: usize| -> Result<Option<TcpStream>> {
        let at = if nth.is_multiple_of(2) {
            ports.wire
        } else {
            ports.http
        };
        let mut socket = client::connect(at)?;
        let (words, answer) = match nth % 8 {
            0 | 2 | 4 | 6 => (ClientHello::new(CORE_ANY).encode().to_vec(), HELLO_BYTES),
            1 | 3 => (ASK.to_vec(), 1),
            5 if nth % 64 == 5 => (h2::opening(), 1),
            _ => (Vec::new(), 0),
        };
        let mut bytes = [0; HELLO_BYTES];
        let answered = socket
            .write_all(&words)
            .and_then(|()| socket.read_exact(&mut bytes[..answer]));
        match answered.map_err(|error| error.kind()) {
            Ok(()) => Ok(Some(socket)),
            Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(None)
            }
            Err(kind) => bail!("connection {nth}: {kind}"),
        }
    };
    let hand = |hand: usize| {
        thread::spawn(move || {
            let mine = (hand..count).step_by(HANDS);
            mine.filter_map(|nth| open(nth).transpose())
                .collect::<Result<Vec<_>>>()
        })
    };
    let hands: Vec<_> = (0..HANDS).map(hand).collect();
    let mut idle = Vec::new();
    for hand in hands {
        let opened = hand.join().map_err(|_| anyhow!("a hand panicked"))?;
        idle.extend(opened.context("an idle connection was not taken")?);
    }
    Ok(idle)
}

/// How many were not closed.
fn still_there(idle: &[TcpStream]) -> usize {
    let is_there = |socket: &&TcpStream| {
        // What an answer left behind is no end; nothing at all is none either.
        let _ = socket.set_nonblocking(true);
        match socket.peek(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    };
    idle.iter().filter(is_there).count()
}
