//! A server in memory, small enough to be trusted, that can be told to do one thing wrong.
//!
//! It speaks the protocol from blocking threads, admits batches as strictly as the real one, and
//! keeps them as they came.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark, RecordView, stamp};
use weir_protocol::limits::{RECORD_BYTES_MAX, WIRE_FRAME_BYTES_MAX};
use weir_protocol::model::{
    HashKey, HashKeyRange, Offset, ShardIndex, StreamId, StreamName, StreamQuota, StreamStatus,
    Timestamp,
};
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::{self, Correlation, WIRE_HEADER_BYTES};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use weir_protocol::wire::request::{CreateRequest, ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{
    AppendOutcome, ReadAnswer, Response, ShardDescription, StreamDescription,
};

const CORES: u32 = 2;
/// Which batch, counted over all shards, a flaw hits.
const FLAWED: u64 = 20;

/// What the server does wrong, once, with one batch; or from it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    DropRecord,
    DoubleRecord,
    SwapRecords,
    /// A data byte, with all of the batch's checksums made right again.
    CorruptData,
    /// A payload byte, on the way out.
    FlipByte,
    LoseBatch,
    DoubleBatch,
    /// Refuses, and stores.
    StoreRefused,
    Refuse(ErrorCode),
    /// Every tenth batch is throttled.
    Throttle,
    Stall(Duration),
    Die,
    FallSilent,
    /// Acknowledges and keeps nothing: for measuring the generator.
    Sink,
}

struct Shard {
    range: HashKeyRange,
    next: u64,
    oldest: usize,
    batches: Vec<(u64, Vec<u8>)>,
}

struct Stream {
    id: StreamId,
    create: CreateRequest,
    shards: Vec<Mutex<Shard>>,
    /// Descriptions until it is active.
    asked: Mutex<u32>,
}

pub(crate) struct State {
    flaw: Flaw,
    appended: Mutex<u64>,
    streams: Mutex<HashMap<StreamName, Arc<Stream>>>,
}

pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
}

/// Nothing more is said on this connection.
struct HungUp;

impl StandIn {
    pub(crate) fn start(flaw: Flaw) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            flaw,
            appended: Mutex::new(0),
            streams: Mutex::new(HashMap::new()),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(socket));
            }
        });
        Self { address, state }
    }

    pub(crate) fn streams(&self) -> usize {
        self.state.streams.lock().unwrap().len()
    }
}

impl State {
    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        socket.set_nodelay(true).ok()?;
        let mut hello = [0; HELLO_BYTES];
        socket.read_exact(&mut hello).ok()?;
        let hello = ClientHello::decode(&hello).ok()?;
        let known = hello.core == CORE_ANY || hello.core < CORES;
        let core = if hello.core == CORE_ANY {
            0
        } else {
            hello.core
        };
        let answer = ServerHello {
            version: 1,
            status: if known {
                HelloStatus::Welcome
            } else {
                HelloStatus::UnknownCore
            },
            features: 0,
            core,
            cores: CORES,
            frame_bytes_max: WIRE_FRAME_BYTES_MAX,
            in_flight_bytes_max: WIRE_FRAME_BYTES_MAX,
        };
        socket.write_all(&answer.encode()).ok()?;
        let (mut received, mut out, mut filled) = (vec![0; 1 << 20], Vec::new(), 0);
        loop {
            let count = socket.read(&mut received[filled..]).ok()?;
            if count == 0 {
                return None;
            }
            filled += count;
            let mut at = 0;
            while let Some((frame, length)) = frame::decode(&received[at..filled]).ok()? {
                let request = Request::decode(&frame).ok()?;
                self.answer(core, &request, frame.correlation, &mut out)
                    .ok()?;
                at += length;
            }
            received.copy_within(at..filled, 0);
            filled -= at;
            if filled >= WIRE_HEADER_BYTES {
                let length = frame::frame_length(&received[..filled]).ok()??;
                received.resize(received.len().max(length), 0);
            }
            socket.write_all(&out).ok()?;
            out.clear();
        }
    }

    fn answer(
        &self,
        core: u32,
        request: &Request<'_>,
        correlation: Correlation,
        out: &mut Vec<u8>,
    ) -> Result<(), HungUp> {
        let response = match request {
            Request::Append { batches, .. } => {
                Response::Appended(vec![self.append(core, batches)?])
            }
            Request::Read(read) => {
                self.read(core, read, correlation, out);
                return Ok(());
            }
            Request::Create(create) => {
                let mut streams = self.streams.lock().unwrap();
                let stream = Arc::new(Stream::new(streams.len() as u64 + 1, create.clone()));
                let description = stream.describe();
                streams.insert(create.name.clone(), stream);
                Response::Stream(description)
            }
            Request::Describe(name) => match self.streams.lock().unwrap().get(name) {
                Some(stream) => Response::Stream(stream.describe()),
                None => Response::Error(WireError::new(ErrorCode::StreamNotFound, "no such")),
            },
            Request::Delete(name) => {
                self.streams.lock().unwrap().remove(name);
                Response::Deleted
            }
            _ => Response::Error(WireError::new(ErrorCode::UnknownRequest, "not here")),
        };
        response.encode(request.kind(), correlation, out);
        Ok(())
    }

    fn stream(&self, id: StreamId) -> Option<Arc<Stream>> {
        let streams = self.streams.lock().unwrap();
        streams.values().find(|stream| stream.id == id).cloned()
    }

    fn append(&self, core: u32, bytes: &[u8]) -> Result<AppendOutcome, HungUp> {
        let refused = |code| AppendOutcome::Refused {
            code,
            owner: 0,
            map_version: 0,
        };
        let arrival = Timestamp::from_millis(1);
        let number = {
            let mut appended = self.appended.lock().unwrap();
            *appended += 1;
            *appended
        };
        if self.flaw == Flaw::Sink {
            return Ok(AppendOutcome::Stored {
                first_offset: Offset::ZERO,
                arrival,
            });
        }
        let Ok(view) = BatchView::decode(bytes) else {
            return Ok(refused(ErrorCode::InvalidBatch));
        };
        let Some(stream) = self.stream(view.header.shard.stream) else {
            return Ok(refused(ErrorCode::StreamNotFound));
        };
        let index = view.header.shard.index.0;
        if index % CORES != core {
            return Ok(refused(ErrorCode::NotOwner));
        }
        let mut shard = stream.shards[index as usize].lock().unwrap();
        let keys_fit = view.records().all(|record| {
            let key = std::str::from_utf8(record.key).unwrap();
            shard.range.contains(HashKey::of_partition_key(key))
        });
        if view.check_records(RECORD_BYTES_MAX).is_err() || !keys_fit {
            return Ok(refused(ErrorCode::InvalidBatch));
        }
        let first = shard.next;
        let hit = number == FLAWED;
        let mut copies = 1;
        match self.flaw {
            Flaw::LoseBatch if hit => copies = 0,
            Flaw::DoubleBatch if hit => copies = 2,
            Flaw::StoreRefused if hit => {
                shard.keep(bytes.to_vec(), stream.create.retain_bytes);
                return Ok(refused(ErrorCode::Throttled));
            }
            Flaw::Refuse(code) if hit => return Ok(refused(code)),
            Flaw::Throttle if number.is_multiple_of(10) => {
                return Ok(refused(ErrorCode::Throttled));
            }
            Flaw::Die if number >= FLAWED => return Err(HungUp),
            Flaw::FallSilent if number >= FLAWED => {
                std::thread::sleep(Duration::from_mins(1));
                return Err(HungUp);
            }
            Flaw::Stall(time) if hit => std::thread::sleep(time),
            _ => {}
        }
        if copies == 0 {
            shard.next += u64::from(view.header.records.0);
        }
        for _ in 0..copies {
            let kept = if hit {
                altered(self.flaw, &view)
            } else {
                bytes.to_vec()
            };
            shard.keep(kept, stream.create.retain_bytes);
        }
        Ok(AppendOutcome::Stored {
            first_offset: Offset::new(first).unwrap(),
            arrival,
        })
    }

    fn read(&self, core: u32, read: &ReadRequest, correlation: Correlation, out: &mut Vec<u8>) {
        let stream = self.stream(read.shard.stream).unwrap();
        assert_eq!(read.shard.index.0 % CORES, core, "readers know the owner");
        let shard = stream.shards[read.shard.index.0 as usize].lock().unwrap();
        let from = match read.from {
            ReadFrom::Offset(offset) => offset.get(),
            ReadFrom::TrimHorizon => 0,
            _ => unreachable!("not asked by the generator"),
        };
        let mut batches = Vec::new();
        let (mut count, mut next) = (0, from.min(shard.next));
        for (first, bytes) in &shard.batches[shard.oldest..] {
            let view = BatchView::decode_unverified(bytes).unwrap();
            if first + u64::from(view.header.records.0) <= from {
                continue;
            }
            if count > 0 && batches.len() + bytes.len() > read.bytes_max as usize {
                break;
            }
            let place = batches.len() + bytes.len() - 1;
            batches.extend_from_slice(bytes);
            if self.flaw == Flaw::FlipByte && *first > 0 {
                batches[place] ^= 1;
            }
            count += 1;
            next = view.header.next_offset().get();
        }
        if count == 0 {
            next = shard.next;
        }
        let answer = ReadAnswer {
            next: Offset::new(next).unwrap(),
            tip: Offset::new(shard.next).unwrap(),
            behind_ms: 0,
            at_end: false,
            count,
            batches: &batches,
        };
        Response::Records(answer).encode(2, correlation, out);
    }
}

/// The batch as a flawed server would keep it.
fn altered(flaw: Flaw, view: &BatchView<'_>) -> Vec<u8> {
    let mut data: Vec<(&[u8], Vec<u8>)> = view
        .records()
        .map(|RecordView { key, data }| (key, data.to_vec()))
        .collect();
    match flaw {
        Flaw::DropRecord => drop(data.remove(3)),
        Flaw::DoubleRecord => data.insert(3, data[3].clone()),
        Flaw::SwapRecords => data.swap(3, 4),
        Flaw::CorruptData => *data[3].1.last_mut().unwrap() ^= 1,
        _ => return view.as_bytes().to_vec(),
    }
    let mut out = Vec::new();
    let header = view.header;
    let mark = ProducerMark::default();
    let mut batch = BatchBuilder::new(&mut out, header.shard, header.map_version, mark);
    for (key, data) in &data {
        batch.push(std::str::from_utf8(key).unwrap(), data).unwrap();
    }
    batch.finish();
    out
}

impl Shard {
    fn keep(&mut self, mut bytes: Vec<u8>, retain_bytes: Option<u64>) {
        let first = self.next;
        stamp(
            &mut bytes,
            Offset::new(first).unwrap(),
            Timestamp::from_millis(1),
        );
        let view = BatchView::decode_unverified(&bytes).unwrap();
        self.next = view.header.next_offset().get();
        self.batches.push((first, bytes));
        // The real cap is the stream's; a shard that keeps three batches shows the same.
        if retain_bytes.is_some() {
            self.oldest = self.batches.len().saturating_sub(3);
        }
    }
}

impl Stream {
    fn new(id: u64, create: CreateRequest) -> Self {
        let shards = HashKeyRange::divide(create.shards).map(|range| {
            Mutex::new(Shard {
                range,
                next: 0,
                oldest: 0,
                batches: Vec::new(),
            })
        });
        Self {
            id: StreamId::new(id),
            shards: shards.collect(),
            create,
            asked: Mutex::new(0),
        }
    }

    fn describe(&self) -> StreamDescription {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        StreamDescription {
            name: self.create.name.clone(),
            id: self.id,
            status: if *asked > 2 {
                StreamStatus::Active
            } else {
                StreamStatus::Creating
            },
            mode: self.create.mode,
            retention_ms: 86_400_000,
            retain_bytes: self.create.retain_bytes.unwrap_or(0),
            quota: StreamQuota::Server,
            record_bytes_max: RECORD_BYTES_MAX,
            created: Timestamp::ZERO,
            map_version: 1,
            cores: CORES,
            shards: (0..)
                .zip(&self.shards)
                .map(|(index, shard)| ShardDescription {
                    index: ShardIndex(index),
                    core: index % CORES,
                    range: shard.lock().unwrap().range,
                    created: Timestamp::ZERO,
                    closed: false,
                })
                .collect(),
        }
    }
}
