//! Clients that mean harm: each sends its bytes at its own pace, takes its answers as it likes, and
//! comes again when it is sent away.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{ShardId, ShardIndex};
use weir_protocol::wire::frame::{Correlation, FrameWriter};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};

use super::Target;
use crate::chance::Chance;
use crate::net::h2;

/// What each of them does; they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The head of a request, one byte at a time.
    SlowHead,
    /// Half a head, and then nothing.
    HalfHead,
    /// A body is announced, and nothing of it sent.
    EmptyBody,
    /// A body is announced, and trickles.
    SlowBody,
    /// Lengths that nothing has.
    GiantLength,
    /// Requests of HTTP one after another, and no answer is taken.
    Pipeline,
    /// Answers as long as can be, taken in sips.
    SlowReader,
    /// Requests of HTTP/2 that are cancelled as soon as they are made.
    ResetFlood,
    /// Heads of HTTP/2 without an end.
    EndlessHead,
    /// Bytes without a meaning, to every port.
    Garbage,
    /// A hello, and then bytes that are no frame.
    WrongFrame,
    /// The longest frame is announced, and trickles.
    SlowFrame,
    /// Megabytes of the longest frame, and then nothing.
    HalfFrame,
    /// Reads of the binary protocol without end, and no answer is taken.
    ReadFlood,
    /// A hello that does not end.
    HalfHello,
}

pub(super) const KINDS: [Kind; 15] = [
    Kind::SlowHead,
    Kind::HalfHead,
    Kind::EmptyBody,
    Kind::SlowBody,
    Kind::GiantLength,
    Kind::Pipeline,
    Kind::SlowReader,
    Kind::ResetFlood,
    Kind::EndlessHead,
    Kind::Garbage,
    Kind::WrongFrame,
    Kind::SlowFrame,
    Kind::HalfFrame,
    Kind::ReadFlood,
    Kind::HalfHello,
];

/// Those that a server without bounds would give the most memory.
pub(super) const GREEDY: [Kind; 2] = [Kind::HalfFrame, Kind::ReadFlood];

/// Bytes of answers that one visit takes.
const SIP_BYTES: usize = 4 << 10;
/// Bytes that one visit sends, where nothing is said.
const SEND_BYTES: usize = 64 << 10;

pub(super) struct Hostile {
    kind: Kind,
    chance: Chance,
    socket: Option<TcpStream>,
    bytes: Vec<u8>,
    sent: usize,
    /// How often it was sent away.
    pub(super) ended: u64,
}

impl Hostile {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            chance: Chance::new(seed),
            socket: None,
            bytes: Vec::new(),
            sent: 0,
            ended: 0,
        }
    }

    /// Goes on a little. Whatever goes wrong is the server's good right.
    pub(super) fn visit(&mut self, target: &Target) {
        if self.go_on(target).is_none() && self.socket.take().is_some() {
            self.ended += 1;
        }
    }

    fn go_on(&mut self, target: &Target) -> Option<()> {
        if self.socket.is_none() {
            let ports = target.ports;
            let at = match self.kind {
                Kind::WrongFrame
                | Kind::SlowFrame
                | Kind::HalfFrame
                | Kind::ReadFlood
                | Kind::HalfHello => ports.wire,
                Kind::Garbage => {
                    [ports.wire, ports.http, ports.admin][(self.chance.next() % 3) as usize]
                }
                _ => ports.http,
            };
            let socket = TcpStream::connect(at).ok()?;
            socket.set_nonblocking(true).ok()?;
            self.bytes = self.words(target);
            self.sent = 0;
            self.socket = Some(socket);
        }
        let mut socket = self.socket.as_ref()?;
        let rest = &self.bytes[self.sent..];
        let pace = match self.kind {
            Kind::SlowHead | Kind::SlowBody | Kind::SlowFrame | Kind::HalfHello => 1,
            _ => SEND_BYTES,
        };
        if !rest.is_empty() {
            match socket.write(&rest[..rest.len().min(pace)]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        } else if self.repeats() {
            // The hello, the preface or nothing comes first, and once.
            self.sent = self.begins();
        }
        // Who takes no answers must still see that it was sent away: a peek takes nothing.
        let mut piece = [0; SIP_BYTES];
        let taken = match self.kind {
            Kind::Pipeline | Kind::ReadFlood => socket.peek(&mut piece[..1]),
            _ => socket.read(&mut piece),
        };
        match taken {
            Ok(0) => None,
            Err(error) if error.kind() != ErrorKind::WouldBlock => None,
            _ => Some(()),
        }
    }

    fn repeats(&self) -> bool {
        matches!(
            self.kind,
            Kind::Pipeline | Kind::ResetFlood | Kind::ReadFlood | Kind::SlowReader | Kind::EndlessHead
        ) && self.sent == self.bytes.len()
            // Streams of HTTP/2 have numbers that must rise: it comes again instead.
            && self.kind != Kind::ResetFlood
    }

    fn begins(&self) -> usize {
        match self.kind {
            Kind::ReadFlood => ClientHello::new(CORE_ANY).encode().len(),
            // Whole frames.
            Kind::EndlessHead => self.bytes.len() - 38 * 105,
            _ => 0,
        }
    }

    /// What it sends.
    fn words(&mut self, target: &Target) -> Vec<u8> {
        let post = |operation: &str, length: u64, body: &str| {
            format!(
                "POST / HTTP/1.1\r\nhost: soak\r\ncontent-type: application/x-amz-json-1.1\r\n\
                 x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        };
        let list = || post("ListStreams", 2, "{}");
        match self.kind {
            Kind::SlowHead => list(),
            Kind::HalfHead => list()[..60].to_vec(),
            Kind::EmptyBody => post("PutRecords", 15_000_000, ""),
            Kind::SlowBody => post("PutRecords", 15_000_000, &"x".repeat(10_000)),
            Kind::GiantLength => {
                let length =
                    [99_999_999_999, u64::MAX, 16_777_217][(self.chance.next() % 3) as usize];
                post("PutRecords", length, "{\"StreamName\"")
            }
            Kind::Pipeline => list().repeat(200),
            Kind::SlowReader => {
                let iterator = target.iterator.as_str();
                let body = format!("{{\"ShardIterator\":\"{iterator}\"}}");
                post("GetRecords", body.len() as u64, &body)
            }
            Kind::ResetFlood => reset_flood(),
            Kind::EndlessHead => {
                let mut out = h2::opening();
                // No END_HEADERS: what follows is a part of the same head.
                h2::frame(h2::HEADERS, 0, 1, &h2::head("PutRecords"), &mut out);
                for _ in 0..40 {
                    let mut block = vec![0, 3, b'x', b'-', b'a', 90];
                    block.resize(96, b'y');
                    h2::frame(9, 0, 1, &block, &mut out);
                }
                out
            }
            Kind::Garbage => (0..2_000).map(|_| self.chance.next() as u8).collect(),
            Kind::WrongFrame => self.wrong_frame(),
            Kind::SlowFrame => [hello(), long_frame()[..50_000].to_vec()].concat(),
            Kind::HalfFrame => [hello(), long_frame()[..4_000_000].to_vec()].concat(),
            Kind::ReadFlood => {
                let mut out = hello();
                for number in 0..200 {
                    let read = ReadRequest {
                        shard: target.bulk,
                        from: ReadFrom::TrimHorizon,
                        bytes_max: 4 << 20,
                        wait_ms: 0,
                    };
                    Request::Read(read).encode(Correlation(number), &mut out);
                }
                out
            }
            Kind::HalfHello => hello()[..40].to_vec(),
        }
    }

    fn wrong_frame(&mut self) -> Vec<u8> {
        let mut out = hello();
        let at = out.len();
        let shard = ShardId::new(weir_protocol::model::StreamId::new(1), ShardIndex(0));
        let mut batch = Vec::new();
        let mut builder = BatchBuilder::new(&mut batch, shard, 1, ProducerMark::default());
        let pushed = builder.push("key", b"data");
        pushed.expect("a short record fits");
        builder.finish();
        let request = Request::Append {
            count: 1 + (self.chance.next() % 3) as u32,
            batches: &batch,
        };
        request.encode(Correlation(1), &mut out);
        // A length, a count or a checksum is another one.
        let byte = at + (self.chance.next() % 28) as usize;
        out[byte] ^= 1 << (self.chance.next() % 8);
        out
    }
}

fn hello() -> Vec<u8> {
    ClientHello::new(CORE_ANY).encode().to_vec()
}

/// The longest frame there is, of an append.
fn long_frame() -> Vec<u8> {
    let mut out = Vec::new();
    let mut frame = FrameWriter::start(&mut out, 1, Correlation(1));
    out.extend_from_slice(&1_u32.to_le_bytes());
    frame.bulk(&out);
    out.resize(16 << 20, 7);
    frame.finish(&mut out);
    out
}

fn reset_flood() -> Vec<u8> {
    let mut out = h2::opening();
    for number in 0..2_000 {
        let stream = number * 2 + 1;
        h2::frame(
            h2::HEADERS,
            h2::END_HEADERS,
            stream,
            &h2::head("ListStreams"),
            &mut out,
        );
        h2::frame(h2::RESET, 0, stream, &[0, 0, 0, 8], &mut out);
    }
    out
}
