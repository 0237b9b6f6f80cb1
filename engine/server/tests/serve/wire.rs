//! The binary protocol by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::frame::{self, Correlation};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};

use crate::server::{Server, folder};

struct Wire {
    socket: TcpStream,
    bytes: Vec<u8>,
}

/// An answer that owns what it says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Appended(Vec<AppendOutcome>),
    Records {
        next: Offset,
        tip: Offset,
        data: Vec<Vec<u8>>,
    },
    Error(ErrorCode),
    Other,
}

fn connect(address: &str, hello: ClientHello) -> (TcpStream, ServerHello) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.write_all(&hello.encode()).unwrap();
    let mut bytes = [0; HELLO_BYTES];
    socket.read_exact(&mut bytes).unwrap();
    (socket, ServerHello::decode(&bytes).unwrap())
}

impl Wire {
    fn connect(server: &Server, core: u32) -> Self {
        let (socket, hello) = connect(&server.wire, ClientHello::new(core));
        assert_eq!(hello.status, HelloStatus::Welcome);
        assert!(core == CORE_ANY || hello.core == core);
        Self {
            socket,
            bytes: Vec::new(),
        }
    }

    fn ask(&mut self, correlation: u64, request: &Request<'_>) {
        let mut bytes = Vec::new();
        request.encode(Correlation(correlation), &mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    /// The next answer; `None` if the connection ended.
    fn answer(&mut self) -> Option<(u64, Answer)> {
        loop {
            if let Some((frame, length)) = frame::decode(&self.bytes).unwrap() {
                let answer = match Response::decode(&frame).unwrap() {
                    Response::Appended(outcomes) => Answer::Appended(outcomes),
                    Response::Records(records) => {
                        let (mut rest, mut data) = (records.batches, Vec::new());
                        for _ in 0..records.count {
                            let batch = BatchView::decode(rest).unwrap();
                            data.extend(batch.records().map(|record| record.data.to_vec()));
                            rest = &rest[batch.as_bytes().len()..];
                        }
                        assert!(rest.is_empty());
                        Answer::Records {
                            next: records.next,
                            tip: records.tip,
                            data,
                        }
                    }
                    Response::Error(error) => Answer::Error(error.code),
                    _ => Answer::Other,
                };
                let correlation = frame.correlation.0;
                self.bytes.drain(..length);
                return Some((correlation, answer));
            }
            let mut piece = vec![0; 64 * 1024];
            match self.socket.read(&mut piece) {
                Ok(count @ 1..) => self.bytes.extend_from_slice(&piece[..count]),
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn describe(server: &Server, name: &str) -> StreamDescription {
    let (mut socket, _) = connect(&server.wire, ClientHello::new(CORE_ANY));
    let mut bytes = Vec::new();
    let name = weir_protocol::model::StreamName::new(name).unwrap();
    Request::Describe(name).encode(Correlation(1), &mut bytes);
    socket.write_all(&bytes).unwrap();
    let mut received = Vec::new();
    loop {
        if let Some((frame, _)) = frame::decode(&received).unwrap() {
            let Response::Stream(stream) = Response::decode(&frame).unwrap() else {
                panic!("a description");
            };
            return stream;
        }
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0);
        received.extend_from_slice(&piece[..count]);
    }
}

fn batch(shard: ShardId, data: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut batch = BatchBuilder::new(&mut bytes, shard, 1, ProducerMark::default());
    for data in data {
        batch.push("key", data).unwrap();
    }
    batch.finish();
    bytes
}

fn read(shard: ShardId, from: ReadFrom, wait_ms: u32) -> Request<'static> {
    Request::Read(ReadRequest {
        shard,
        from,
        bytes_max: 1 << 20,
        wait_ms,
    })
}

#[test]
fn pipelined_appends_are_answered_in_order_though_nobody_reads_for_a_while() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "logs:2"]);
    let stream = describe(&server, "logs");
    let shard = |index| ShardId::new(stream.id, ShardIndex(index));
    let mut wire = Wire::connect(&server, 0);
    // More requests than may be in flight, and more bytes: the server stops reading, nobody dies.
    let count = 10_000_u64;
    let mut sender = wire.socket.try_clone().unwrap();
    let shards = [shard(0), shard(1)];
    let sending = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        for i in 0..count {
            let data = vec![i as u8; 5_000];
            let one = batch(shards[i as usize % 2], &[&i.to_le_bytes(), &data]);
            let request = Request::Append {
                count: 1,
                batches: &one,
            };
            request.encode(Correlation(i), &mut bytes);
            if bytes.len() > 1 << 20 {
                sender.write_all(&bytes).unwrap();
                bytes.clear();
            }
        }
        sender.write_all(&bytes).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut next = [Offset::ZERO; 2];
    for i in 0..count {
        let (correlation, answer) = wire.answer().unwrap();
        assert_eq!(correlation, i);
        let Answer::Appended(outcomes) = answer else {
            panic!("{answer:?}")
        };
        let [AppendOutcome::Stored { first_offset, .. }] = outcomes[..] else {
            panic!("{outcomes:?}");
        };
        let slot = i as usize % 2;
        assert_eq!(first_offset, next[slot]);
        next[slot] = first_offset + weir_protocol::model::Count(2);
    }
    sending.join().unwrap();
    // Everything comes back, in order.
    let mut wire = Wire::connect(&server, CORE_ANY);
    let (mut from, mut seen) = (ReadFrom::TrimHorizon, 0_u64);
    loop {
        wire.ask(7, &read(shard(1), from, 0));
        let Some((7, Answer::Records { next, tip, data })) = wire.answer() else {
            panic!("records");
        };
        for pair in data.chunks(2) {
            assert_eq!(pair[0], (seen * 2 + 1).to_le_bytes());
            seen += 1;
        }
        if next == tip {
            break;
        }
        from = ReadFrom::Offset(next);
    }
    assert_eq!(seen, count / 2);
}

#[test]
fn a_waiting_read_wakes_when_data_comes_and_holds_up_nobody() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "logs:1"]);
    let shard = ShardId::new(describe(&server, "logs").id, ShardIndex(0));
    let mut wire = Wire::connect(&server, 0);
    wire.ask(1, &read(shard, ReadFrom::Latest, 20_000));
    wire.ask(2, &Request::Ping);
    assert_eq!(wire.answer(), Some((2, Answer::Other)));
    let start = Instant::now();
    wire.ask(
        3,
        &Request::Append {
            count: 1,
            batches: &batch(shard, &[b"news"]),
        },
    );
    let mut answers = [wire.answer().unwrap(), wire.answer().unwrap()];
    answers.sort_by_key(|answer| answer.0);
    let data = vec![b"news".to_vec()];
    let next = Offset::new(1).unwrap();
    assert_eq!(
        answers[0],
        (
            1,
            Answer::Records {
                next,
                tip: next,
                data
            }
        )
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    // Nothing comes: an empty answer when the time is over.
    let start = Instant::now();
    wire.ask(4, &read(shard, ReadFrom::Latest, 300));
    assert_eq!(
        wire.answer(),
        Some((
            4,
            Answer::Records {
                next,
                tip: next,
                data: Vec::new()
            }
        ))
    );
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "{:?}",
        start.elapsed()
    );
}

/// Reads that waited for their data were not charged at all once.
#[test]
fn a_waiting_read_is_charged_for_what_came() {
    let folder = folder();
    let metered = ["--cores", "1", "--quota", "aws", "--stream", "logs:1"];
    let server = Server::start(&folder, &metered);
    let shard = ShardId::new(describe(&server, "logs").id, ShardIndex(0));
    let mut wire = Wire::connect(&server, 0);
    // Four of the five calls that a second has.
    for correlation in 1..=4 {
        wire.ask(correlation, &read(shard, ReadFrom::TrimHorizon, 20_000));
    }
    wire.ask(5, &Request::Ping);
    assert_eq!(wire.answer(), Some((5, Answer::Other)));
    let large = vec![7; 1_000_000];
    wire.ask(
        6,
        &Request::Append {
            count: 1,
            batches: &batch(shard, &[&large, &large]),
        },
    );
    for _ in 0..5 {
        let (correlation, answer) = wire.answer().unwrap();
        match answer {
            Answer::Records { data, .. } => assert_eq!(data.len(), 2),
            other => assert!(
                matches!((correlation, &other), (6, Answer::Appended(_))),
                "{correlation}: {other:?}"
            ),
        }
    }
    // 8 MB were given out, of 2 MiB a second.
    wire.ask(7, &read(shard, ReadFrom::TrimHorizon, 0));
    let throttled = Answer::Error(ErrorCode::Throttled);
    assert_eq!(wire.answer(), Some((7, throttled)));
}

#[test]
fn nonsense_is_refused_and_harms_nobody_else() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "2", "--stream", "logs:2"]);
    let stream = describe(&server, "logs");
    // No hello of ours: closed without a word.
    let mut socket = TcpStream::connect(&server.wire).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.write_all(&[b'x'; 200]).unwrap();
    // A reset is as good an end as a close.
    let mut rest = Vec::new();
    assert!(socket.read_to_end(&mut rest).is_err() || rest.is_empty());
    let newer = ClientHello {
        version: 77,
        ..ClientHello::new(0)
    };
    assert_eq!(
        connect(&server.wire, newer).1.status,
        HelloStatus::UnknownVersion
    );
    let (_, hello) = connect(&server.wire, ClientHello::new(9));
    assert_eq!((hello.status, hello.cores), (HelloStatus::UnknownCore, 2));

    // A frame longer than any may be: an error, then the end.
    let mut wire = Wire::connect(&server, 0);
    let mut bytes = Vec::new();
    Request::Ping.encode(Correlation(1), &mut bytes);
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    wire.socket.write_all(&bytes).unwrap();
    assert_eq!(
        wire.answer(),
        Some((0, Answer::Error(ErrorCode::Malformed)))
    );
    assert_eq!(wire.answer(), None);

    // Batches that do not fill their frame: the same.
    let shard = |index: u32| ShardId::new(stream.id, ShardIndex(index));
    let mut wire = Wire::connect(&server, 0);
    let whole = batch(shard(0), &[b"data"]);
    wire.ask(
        1,
        &Request::Append {
            count: 2,
            batches: &whole,
        },
    );
    assert_eq!(
        wire.answer(),
        Some((1, Answer::Error(ErrorCode::Malformed)))
    );
    assert_eq!(wire.answer(), None);

    // A damaged batch, an unknown stream, a wrong core: refused one by one, the rest is stored.
    let mut wire = Wire::connect(&server, 0);
    let here = stream.shards.iter().find(|s| s.core == 0).unwrap().index;
    let there = stream.shards.iter().find(|s| s.core == 1).unwrap().index;
    let mut damaged = batch(shard(here.0), &[b"data"]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let unknown = batch(ShardId::new(StreamId::new(999), ShardIndex(0)), &[b"data"]);
    let elsewhere = batch(shard(there.0), &[b"data"]);
    let good = batch(shard(here.0), &[b"data"]);
    let all = [&damaged[..], &unknown, &elsewhere, &good].concat();
    wire.ask(
        5,
        &Request::Append {
            count: 4,
            batches: &all,
        },
    );
    let Some((5, Answer::Appended(outcomes))) = wire.answer() else {
        panic!("outcomes")
    };
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            AppendOutcome::Stored { .. } => None,
            AppendOutcome::Refused { code, owner, .. } => Some((*code, *owner)),
        })
        .collect();
    let expected = [
        Some((ErrorCode::InvalidBatch, 0)),
        Some((ErrorCode::StreamNotFound, 0)),
        Some((ErrorCode::NotOwner, 1)),
        None,
    ];
    assert_eq!(codes, expected);
    wire.ask(6, &read(shard(there.0), ReadFrom::TrimHorizon, 0));
    assert_eq!(wire.answer(), Some((6, Answer::Error(ErrorCode::NotOwner))));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_connection_that_says_nothing_is_given_up() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1"]);
    let mut socket = TcpStream::connect(&server.wire).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let start = Instant::now();
    assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
    let waited = start.elapsed();
    assert!((4..15).contains(&waited.as_secs()), "{waited:?}");
}
