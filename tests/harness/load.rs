//! Load whose every batch is noted: what was sent, and what was acknowledged at which number.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use weir_protocol::model::{Offset, ShardId};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};

use super::content::{Shape, fill, mix};
use super::wire::Wire;

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) stream: StreamDescription,
    /// Sets this load's batches apart from all others of the test, below 2^16.
    pub(crate) number: u64,
    /// Connections to each core that owns shards.
    pub(crate) connections: u64,
    /// Requests in flight on each connection.
    pub(crate) in_flight: usize,
    pub(crate) shape: Shape,
    /// Bytes per second over all connections; as many as are taken if `None`.
    pub(crate) bytes_per_second: Option<u64>,
}

/// A batch and its place: its shard's index, and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) batch: u64,
    pub(crate) records: u32,
    pub(crate) shard: u32,
    pub(crate) first: Offset,
}

/// What one or more connections noted.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Every batch that was sent, and its shard.
    pub(crate) sent: HashMap<u64, u32>,
    /// What was acknowledged, in the order of answers.
    pub(crate) stored: Vec<Placed>,
    /// Batches refused, by code.
    pub(crate) refused: HashMap<ErrorCode, u64>,
    /// Bytes of batches acknowledged.
    pub(crate) bytes: u64,
    /// Why connections ended, where they did not end by our wish.
    pub(crate) broken: Vec<String>,
}

impl Noted {
    fn merge(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.stored.extend(other.stored);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.bytes += other.bytes;
        self.broken.extend(other.broken);
    }

    pub(crate) fn records(&self) -> u64 {
        self.stored
            .iter()
            .map(|placed| u64::from(placed.records))
            .sum()
    }
}

/// Connections that send until they are told to stop, or the server goes.
#[derive(Debug)]
pub(crate) struct Load {
    threads: Vec<JoinHandle<Noted>>,
    stop: Arc<AtomicBool>,
    began: Receiver<()>,
    refused: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn start(plan: &Plan) -> Self {
        let mut owned: HashMap<u32, Vec<ShardId>> = HashMap::new();
        for shard in &plan.stream.shards {
            let id = ShardId::new(plan.stream.id, shard.index);
            owned.entry(shard.core).or_default().push(id);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let refused = Arc::new(AtomicU64::new(0));
        let (begin, began) = sync_channel(1);
        let budget = plan
            .bytes_per_second
            .map(|rate| Arc::new(Budget::new(rate)));
        let mut threads = Vec::new();
        for (core, shards) in owned {
            for _ in 0..plan.connections {
                let writer = Writer {
                    plan: plan.clone(),
                    shards: shards.clone(),
                    connection: threads.len() as u64,
                    next: 0,
                    noted: Noted::default(),
                    budget: budget.clone(),
                    refused: Arc::clone(&refused),
                };
                let (stop, begin) = (Arc::clone(&stop), begin.clone());
                threads.push(thread::spawn(move || writer.run(core, &stop, &begin)));
            }
        }
        Self {
            threads,
            stop,
            began,
            refused,
        }
    }

    /// How many batches were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits for the first acknowledgement of any connection.
    #[track_caller]
    pub(crate) fn wait_until_it_began(&self) {
        let began = self.began.recv_timeout(Duration::from_secs(30));
        began.expect("something is acknowledged within 30 s");
    }

    /// Stops sending, waits for what is in flight, and says what was noted.
    pub(crate) fn stop(self) -> Noted {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until every connection has ended by itself: after the server was killed.
    pub(crate) fn join(self) -> Noted {
        let mut all = Noted::default();
        for thread in self.threads {
            all.merge(thread.join().expect("a writer does not panic"));
        }
        all
    }
}

/// Bytes that may be sent by now.
#[derive(Debug)]
struct Budget {
    started: Instant,
    rate: u64,
    spent: AtomicU64,
}

impl Budget {
    fn new(rate: u64) -> Self {
        Self {
            started: Instant::now(),
            rate,
            spent: AtomicU64::new(0),
        }
    }

    fn spend(&self, bytes: u64) {
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed);
        let due = Duration::from_secs_f64(spent as f64 / self.rate as f64);
        thread::sleep(due.saturating_sub(self.started.elapsed()));
    }
}

type Token = Vec<(u64, u32, u32, u64)>;

struct Writer {
    plan: Plan,
    shards: Vec<ShardId>,
    connection: u64,
    next: u64,
    noted: Noted,
    budget: Option<Arc<Budget>>,
    refused: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, core: u32, stop: &AtomicBool, begin: &SyncSender<()>) -> Noted {
        if let Err(error) = self.send_until(core, stop, begin) {
            self.noted.broken.push(error.to_string());
        }
        self.noted
    }

    fn send_until(
        &mut self,
        core: u32,
        stop: &AtomicBool,
        begin: &SyncSender<()>,
    ) -> io::Result<()> {
        let mut wire: Wire<Token> = Wire::connect(self.plan.address, core)?;
        let mut batches = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            while wire.in_flight() < self.plan.in_flight {
                batches.clear();
                let token = self.make(&mut batches);
                if let Some(budget) = &self.budget {
                    budget.spend(batches.len() as u64);
                }
                let request = Request::Append {
                    count: token.len() as u32,
                    batches: &batches,
                };
                wire.ask(&request, token)?;
            }
            self.take(&mut wire)?;
            let _ = begin.try_send(());
        }
        while wire.in_flight() > 0 {
            self.take(&mut wire)?;
        }
        Ok(())
    }

    /// One to three batches. A batch counts as sent before its first byte is.
    fn make(&mut self, out: &mut Vec<u8>) -> Token {
        let count = 1 + mix(self.next) % 3;
        let mut token = Vec::new();
        for _ in 0..count {
            let batch = self.plan.number << 48 | self.connection << 40 | self.next;
            let shard = self.shards[(mix(batch) % self.shards.len() as u64) as usize];
            self.next += 1;
            let start = out.len();
            let map = self.plan.stream.map_version;
            let records = fill(out, shard, map, batch, &self.plan.shape);
            self.noted.sent.insert(batch, shard.index.0);
            token.push((batch, records, shard.index.0, (out.len() - start) as u64));
        }
        token
    }

    fn take(&mut self, wire: &mut Wire<Token>) -> io::Result<()> {
        let (noted, refused) = (&mut self.noted, &self.refused);
        wire.answer(|token, response| match response {
            Response::Appended(outcomes) => {
                assert_eq!(outcomes.len(), token.len(), "an outcome for each batch");
                for ((batch, records, shard, bytes), outcome) in token.into_iter().zip(outcomes) {
                    match outcome {
                        AppendOutcome::Stored { first_offset, .. } => {
                            noted.bytes += bytes;
                            noted.stored.push(Placed {
                                batch,
                                records,
                                shard,
                                first: first_offset,
                            });
                        }
                        AppendOutcome::Refused { code, .. } => {
                            *noted.refused.entry(code).or_default() += 1;
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
            Response::Error(error) => {
                *noted.refused.entry(error.code).or_default() += token.len() as u64;
                refused.fetch_add(token.len() as u64, Ordering::Relaxed);
            }
            other => panic!("not an answer to an append: {other:?}"),
        })
    }
}
