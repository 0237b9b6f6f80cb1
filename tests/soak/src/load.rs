//! Load whose every record is in the ledger before it is sent, and every answer after it came.
//!
//! The ledger is lines of text: "sent SERIAL SHARD KEY:DATA ..." with a pair of hashes for each
//! record, "stored SERIAL NUMBER MOMENT", and "held SERIAL" of what a network kept from the server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{SequenceNumber, ShardId, Timestamp};
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};

use crate::blocks::journal;
use crate::chance::{Chance, hash, mix};
use crate::wire::{self, Wire};

/// Records of a batch, and bytes of a record, at most.
const RECORDS_MAX: u64 = 60;
const BYTES_MAX: u64 = 1_000;
/// What keeps a server busy and lets it answer soon.
pub(crate) const IN_FLIGHT: usize = 8;
/// Connections to each core that owns shards.
const CONNECTIONS: u64 = 2;

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: PathBuf,
    /// Sets this life's batches apart from all others in the ledger, below 2^16.
    pub(crate) life: u64,
    pub(crate) seed: u64,
    /// Bytes per second of each connection.
    pub(crate) rate: u64,
    /// Batches of each connection that wait for their answer, at most.
    pub(crate) in_flight: usize,
    /// What is written beside each acknowledgement: how far a block log was when it came.
    pub(crate) moment: Moment,
    /// The planted bug: a batch counts as acknowledged once it is sent, as with a server that
    /// answers before it flushes.
    pub(crate) early: bool,
}

/// The clock of a block log: how far it is; 0 for ever where nothing is recorded.
#[derive(Debug, Default, Clone)]
pub(crate) struct Moment(Option<Arc<File>>);

impl Moment {
    /// Of the journal in this file.
    pub(crate) fn of(journal: Arc<File>) -> Self {
        Self(Some(journal))
    }

    fn now(&self) -> io::Result<u64> {
        self.0.as_ref().map_or(Ok(0), |file| journal::moment(file))
    }
}

/// What a load did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Connections that ended before anybody asked them to.
    pub(crate) broken: u64,
}

/// What a running load was told so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// Why batches were refused.
    reasons: Mutex<BTreeSet<String>>,
}

impl Heard {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn reasons(&self) -> BTreeSet<String> {
        self.reasons.lock().expect("nobody panics with it").clone()
    }

    fn note_refused(&self, reason: String) {
        self.refused.fetch_add(1, Ordering::SeqCst);
        let mut reasons = self.reasons.lock().expect("nobody panics with it");
        reasons.insert(reason);
    }
}

/// Connections that send until the server goes, or until they are stopped.
pub(crate) struct Load {
    threads: Vec<JoinHandle<Result<Sent>>>,
    began: Receiver<()>,
    /// What each core acknowledged so far.
    progress: BTreeMap<u32, Arc<AtomicU64>>,
    stop: Arc<AtomicBool>,
    heard: Arc<Heard>,
}

impl Load {
    pub(crate) fn start(plan: &Plan) -> Result<Self> {
        let stream = wire::describe(plan.address)?;
        let mut owned: HashMap<u32, Vec<(ShardId, Timestamp)>> = HashMap::new();
        for shard in &stream.shards {
            let id = ShardId::new(stream.id, shard.index);
            owned
                .entry(shard.core)
                .or_default()
                .push((id, shard.created));
        }
        let (begin, began) = sync_channel(1);
        let mut threads = Vec::new();
        let mut progress = BTreeMap::new();
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Heard::default());
        for (core, shards) in owned {
            let acknowledged = Arc::new(AtomicU64::new(0));
            progress.insert(core, Arc::clone(&acknowledged));
            for _ in 0..CONNECTIONS {
                let connection = plan.life << 48 | (threads.len() as u64) << 40;
                let writer = Writer {
                    plan: plan.clone(),
                    stream: stream.clone(),
                    shards: shards.clone(),
                    chance: Chance::new(mix(plan.seed) ^ connection),
                    next: connection,
                    ledger: Ledger::open(&plan.ledger)?,
                    sent: Sent::default(),
                    acknowledged: Arc::clone(&acknowledged),
                    stop: Arc::clone(&stop),
                    heard: Arc::clone(&heard),
                };
                let begin = begin.clone();
                threads.push(thread::spawn(move || writer.run(core, &begin)));
            }
        }
        Ok(Self {
            threads,
            began,
            progress,
            stop,
            heard,
        })
    }

    /// What each core acknowledged so far, by core.
    pub(crate) fn progress(&self) -> BTreeMap<u32, u64> {
        let cores = self.progress.iter();
        cores
            .map(|(core, count)| (*core, count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Waits for the first acknowledgement of any connection.
    pub(crate) fn began(&self) -> Result<()> {
        let began = self.began.recv_timeout(Duration::from_secs(30));
        began.context("nothing was acknowledged within 30 s")
    }

    /// What all connections together were told so far.
    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Lets every connection end once what it sent is answered.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until every connection has ended by itself: after [`Self::stop`], or after the server was killed.
    pub(crate) fn join(self) -> Result<Sent> {
        let mut all = Sent::default();
        for thread in self.threads {
            let sent = thread.join().map_err(|_| anyhow!("a writer panicked"))??;
            all.acknowledged += sent.acknowledged;
            all.refused += sent.refused;
            all.broken += sent.broken;
        }
        Ok(all)
    }
}

/// Lines on their way into the ledger; whole lines only, since several threads add to one file.
pub(crate) struct Ledger {
    file: File,
    pub(crate) lines: String,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            file,
            lines: String::new(),
        })
    }

    pub(crate) fn flush(&mut self, above: usize) -> io::Result<()> {
        if self.lines.len() > above {
            self.file.write_all(self.lines.as_bytes())?;
            self.lines.clear();
        }
        Ok(())
    }
}

/// A batch in flight: its serial, its shard, and when that was created.
type Token = (u64, ShardId, Timestamp);

struct Writer {
    plan: Plan,
    stream: StreamDescription,
    shards: Vec<(ShardId, Timestamp)>,
    chance: Chance,
    next: u64,
    ledger: Ledger,
    sent: Sent,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    heard: Arc<Heard>,
}

impl Writer {
    fn run(mut self, core: u32, begin: &SyncSender<()>) -> Result<Sent> {
        // The server goes while we send: that is what the rigs are there for.
        if self.send(core, begin).is_err() {
            self.sent.broken += 1;
        }
        self.ledger.flush(0)?;
        Ok(self.sent)
    }

    fn send(&mut self, core: u32, begin: &SyncSender<()>) -> io::Result<()> {
        let mut wire: Wire<Token> = Wire::connect(self.plan.address, core)?;
        let (started, mut bytes) = (Instant::now(), 0);
        let mut batch = Vec::new();
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            if stopping && wire.in_flight() == 0 {
                return Ok(());
            }
            while !stopping && wire.in_flight() < self.plan.in_flight {
                batch.clear();
                let token = self.make(&mut batch);
                bytes += batch.len() as u64;
                let request = Request::Append {
                    count: 1,
                    batches: &batch,
                };
                wire.ask(&request, token)?;
                if self.plan.early {
                    self.note_stored(token.0, "-")?;
                }
            }
            self.take(&mut wire)?;
            let _ = begin.try_send(());
            self.ledger.flush(1 << 16)?;
            let due = Duration::from_secs_f64(bytes as f64 / self.plan.rate as f64);
            if stopping {
                continue;
            }
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }

    /// A batch is in the ledger before its first byte is sent.
    fn make(&mut self, out: &mut Vec<u8>) -> Token {
        let serial = self.next;
        self.next += 1;
        let shards = self.shards.len() as u64;
        let (shard, created) = self.shards[(self.chance.next() % shards) as usize];
        let mut builder =
            BatchBuilder::new(out, shard, self.stream.map_version, ProducerMark::default());
        let lines = &mut self.ledger.lines;
        let _ = write!(lines, "sent {serial:x} {}", shard.index.0);
        for place in 0..self.chance.between(1, RECORDS_MAX) {
            let key = format!("key-{:02}", self.chance.next() % 100);
            let data = content(serial, place, self.chance.between(16, BYTES_MAX));
            let pushed = builder.push_with(&key, data.len(), |room| room.copy_from_slice(&data));
            pushed.expect("a rig's batch fits");
            let _ = write!(lines, " {:x}:{:x}", hash(key.as_bytes()), hash(&data));
        }
        lines.push('\n');
        builder.finish();
        (serial, shard, created)
    }

    fn note_stored(&mut self, serial: u64, number: &str) -> io::Result<()> {
        // Behind the answer: the flush that it stands on is in the journal before.
        let moment = self.plan.moment.now()?;
        let _ = writeln!(self.ledger.lines, "stored {serial:x} {number} {moment}");
        self.sent.acknowledged += 1;
        Ok(())
    }

    fn take(&mut self, wire: &mut Wire<Token>) -> io::Result<()> {
        let answered = wire.answer(|(serial, shard, created), response| match response {
            Response::Appended(outcomes) => match outcomes.first() {
                Some(AppendOutcome::Stored {
                    first_offset,
                    arrival,
                }) => {
                    let number =
                        SequenceNumber::of_record(shard.index, created, *first_offset, *arrival);
                    Ok((serial, number.to_string()))
                }
                Some(AppendOutcome::Refused { code, .. }) => Err(format!("{code:?}")),
                None => Err("no outcome".to_owned()),
            },
            Response::Error(error) => Err(format!("{:?}", error.code)),
            other => Err(format!("{other:?}")),
        })?;
        match answered {
            Ok((serial, number)) => {
                self.note_stored(serial, &number)?;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.heard.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(reason) => {
                self.sent.refused += 1;
                self.heard.note_refused(reason);
            }
        }
        Ok(())
    }
}

/// Bytes that no other record has.
pub(crate) fn content(serial: u64, place: u64, bytes: u64) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes as usize + 8);
    data.extend_from_slice(&serial.to_le_bytes());
    data.extend_from_slice(&place.to_le_bytes());
    let mut state = mix(serial) ^ place;
    while (data.len() as u64) < bytes {
        state = mix(state);
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(bytes as usize);
    data
}
