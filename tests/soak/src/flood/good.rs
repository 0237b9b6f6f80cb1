//! Clients that mean well, while others do not: each asks, waits for the answer, and notes both.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{SequenceNumber, ShardId};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};

use crate::chance::Chance;
use crate::net::client;
use crate::net::notes::Notes;
use crate::server::Ports;
use crate::wire::Wire;

/// One call in so many reads.
const READS: u64 = 4;
/// They are there to be answered, not to be the load.
const PAUSE: Duration = Duration::from_millis(5);

/// What they have been answered so far.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    phase: AtomicU64,
    /// Microseconds of each call, by phase.
    took: Mutex<[Vec<u32>; 2]>,
}

pub(super) struct Good {
    tally: Arc<Tally>,
    answers: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Good {
    /// One client for each of `notes`; every other one speaks HTTP.
    pub(super) fn start(
        ports: Ports,
        stream: &Arc<StreamDescription>,
        notes: Vec<Notes>,
        seed: u64,
    ) -> Self {
        let mut good = Self {
            tally: Arc::default(),
            answers: Vec::new(),
            threads: Vec::new(),
        };
        for (nth, notes) in (0..).zip(notes) {
            let answers = Arc::<AtomicU64>::default();
            good.answers.push(Arc::clone(&answers));
            let (tally, stream) = (Arc::clone(&good.tally), Arc::clone(stream));
            let chance = Chance::new(seed ^ nth << 32);
            good.threads.push(thread::spawn(move || {
                let asking = Asking {
                    stream,
                    notes,
                    chance,
                    tally,
                    answers,
                };
                let asked = if nth % 2 == 0 {
                    asking.wire(ports)
                } else {
                    asking.http(ports)
                };
                asked.context("a client that means well was not answered")
            }));
        }
        good
    }

    /// From now on, calls are those of another phase.
    pub(super) fn begin(&self, phase: u64) {
        self.tally.phase.store(phase, Ordering::SeqCst);
    }

    pub(super) fn so_far(&self) -> Vec<u64> {
        let count = |count: &Arc<AtomicU64>| count.load(Ordering::SeqCst);
        self.answers.iter().map(count).collect()
    }

    /// Says why, if one of them ended early.
    pub(super) fn still_ask(&mut self) -> Result<()> {
        match self.threads.iter().position(JoinHandle::is_finished) {
            None => Ok(()),
            Some(ended) => {
                let thread = self.threads.swap_remove(ended);
                thread.join().map_err(|_| anyhow!("a client panicked"))??;
                Err(anyhow!("a client that means well has ended"))
            }
        }
    }

    /// Ends them; the median and the 99th percentile of each phase in microseconds, and how many
    /// calls there were.
    pub(super) fn end(self) -> Result<[(u32, u32, usize); 2]> {
        self.tally.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        let mut took = self
            .tally
            .took
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::array::from_fn(|phase| {
            let took = &mut took[phase];
            took.sort_unstable();
            let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(0);
            (at(50), at(99), took.len())
        }))
    }
}

struct Asking {
    stream: Arc<StreamDescription>,
    notes: Notes,
    chance: Chance,
    tally: Arc<Tally>,
    answers: Arc<AtomicU64>,
}

impl Asking {
    /// Counts a call; false when it was the last.
    fn goes_on(&self, began: Instant) -> bool {
        let micros = began.elapsed().as_micros() as u32;
        let phase = self.tally.phase.load(Ordering::SeqCst) as usize;
        let mut took = self
            .tally
            .took
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        took[phase].push(micros);
        drop(took);
        self.answers.fetch_add(1, Ordering::SeqCst);
        thread::sleep(PAUSE);
        !self.tally.over.load(Ordering::SeqCst)
    }

    fn close(self) -> Result<()> {
        let (_, refused, _) = self.notes.close(u64::MAX)?;
        ensure!(refused == 0, "{refused} of its batches were refused");
        Ok(())
    }

    fn wire(mut self, ports: Ports) -> Result<()> {
        let core = (self.chance.next() % u64::from(self.stream.cores)) as u32;
        let stream = Arc::clone(&self.stream);
        let owned: Vec<_> = stream.shards.iter().filter(|s| s.core == core).collect();
        let mut wire: Wire<()> = Wire::connect(ports.wire, core)?;
        let mut batch = Vec::new();
        loop {
            let shard = owned[(self.chance.next() % owned.len() as u64) as usize];
            let id = ShardId::new(stream.id, shard.index);
            let began = Instant::now();
            if self.chance.one_in(READS) {
                let read = ReadRequest {
                    shard: id,
                    from: ReadFrom::TrimHorizon,
                    bytes_max: 64 << 10,
                    wait_ms: 0,
                };
                wire.ask(&Request::Read(read), ())?;
                wire.answer(|(), response| match response {
                    Response::Records(_) => Ok(()),
                    other => Err(anyhow!("a read was answered with {other:?}")),
                })??;
            } else {
                let (serial, records) = self.notes.make(shard.index.0, &mut self.chance);
                batch.clear();
                let mark = ProducerMark::default();
                let mut builder = BatchBuilder::new(&mut batch, id, stream.map_version, mark);
                for record in &records {
                    let pushed = builder.push(&record.key, &record.data);
                    pushed.expect("a rig's batch fits");
                }
                builder.finish();
                let request = Request::Append {
                    count: 1,
                    batches: &batch,
                };
                wire.ask(&request, ())?;
                let number = wire.answer(|(), response| match response {
                    Response::Appended(outcomes) => match outcomes.first() {
                        Some(AppendOutcome::Stored {
                            first_offset,
                            arrival,
                        }) => {
                            let of = SequenceNumber::of_record;
                            Some(of(id.index, shard.created, *first_offset, *arrival).to_string())
                        }
                        _ => None,
                    },
                    _ => None,
                })?;
                self.notes.answered(serial, number);
            }
            if !self.goes_on(began) {
                return self.close();
            }
        }
    }

    fn http(mut self, ports: Ports) -> Result<()> {
        let stream = Arc::clone(&self.stream);
        let mut socket = BufReader::new(client::connect(ports.http)?);
        loop {
            let shard = (self.chance.next() % stream.shards.len() as u64) as usize;
            let index = stream.shards[shard].index.0;
            let began = Instant::now();
            if self.chance.one_in(READS) {
                let body = json!({
                    "StreamName": crate::judge::STREAM,
                    "ShardId": format!("shardId-{index:012}"),
                    "ShardIteratorType": "TRIM_HORIZON",
                });
                let answer = call(&mut socket, "GetShardIterator", &body)?;
                let body = json!({ "ShardIterator": answer["ShardIterator"], "Limit": 20 });
                call(&mut socket, "GetRecords", &body)?;
            } else {
                let (serial, records) = self.notes.make(index, &mut self.chance);
                let body = client::body(&stream, shard, &records);
                send(socket.get_mut(), "PutRecords", &body)?;
                let (status, body) = client::answer(&mut socket)?;
                self.notes.answered(serial, client::number(status, &body));
            }
            if !self.goes_on(began) {
                return self.close();
            }
        }
    }
}

fn send(socket: &mut TcpStream, operation: &str, body: &str) -> Result<()> {
    write!(
        socket,
        "POST / HTTP/1.1\r\nhost: soak\r\ncontent-type: application/x-amz-json-1.1\r\n\
         x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// A call that is answered with 200.
pub(super) fn call(
    socket: &mut BufReader<TcpStream>,
    operation: &str,
    body: &serde_json::Value,
) -> Result<serde_json::Value> {
    send(socket.get_mut(), operation, &body.to_string())?;
    let (status, body) = client::answer(socket)?;
    ensure!(
        status == 200,
        "{operation}: {status} {}",
        String::from_utf8_lossy(&body)
    );
    if body.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    Ok(serde_json::from_slice(&body)?)
}
