//! Enough of HTTP/2 to ask a server we know, written here so that every byte of it is the rig's.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::client::connect;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
const DATA_BYTES_MAX: usize = 16_384;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = payload.len();
    out.extend_from_slice(&[(length >> 16) as u8, (length >> 8) as u8, length as u8]);
    out.extend_from_slice(&[kind, flags]);
    out.extend((0..4).rev().map(|byte| (stream >> (8 * byte)) as u8));
    out.extend_from_slice(payload);
}

/// What a connection begins with: no settings of ours, and a window that is never used up.
pub(crate) fn opening() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    frame(SETTINGS, 0, 0, &[], &mut out);
    frame(WINDOW, 0, 0, &[0x7f, 0, 0, 0], &mut out);
    out
}

/// A request's head, every name and value spelled out.
pub(crate) fn head(operation: &str) -> Vec<u8> {
    let target = format!("Kinesis_20131202.{operation}");
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "soak"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", &target),
    ] {
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

pub(super) struct Http2 {
    socket: TcpStream,
    /// Bytes given to the connection, or tried to.
    pub(super) sent: u64,
    next: u32,
    received: Vec<u8>,
    answers: HashMap<u32, (u16, Vec<u8>)>,
}

impl Http2 {
    pub(super) fn connect(at: SocketAddr) -> io::Result<Self> {
        let mut http = Self {
            socket: connect(at)?,
            sent: 0,
            next: 1,
            received: Vec::new(),
            answers: HashMap::new(),
        };
        http.send(&opening())?;
        Ok(http)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sent += bytes.len() as u64;
        self.socket.write_all(bytes)
    }

    /// Puts records; the request's number, by which its answer is known.
    pub(super) fn ask(&mut self, body: &[u8]) -> (u32, io::Result<()>) {
        let stream = self.next;
        self.next += 2;
        let mut out = Vec::new();
        frame(HEADERS, END_HEADERS, stream, &head("PutRecords"), &mut out);
        let mut pieces = body.chunks(DATA_BYTES_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() {
                END_STREAM
            } else {
                0
            };
            frame(DATA, flags, stream, piece, &mut out);
        }
        (stream, self.send(&out))
    }

    /// The next answer that is whole.
    pub(super) fn answer(&mut self) -> io::Result<(u32, u16, Vec<u8>)> {
        loop {
            while let Some(end) = self.whole() {
                let bytes: Vec<u8> = self.received.drain(..end).collect();
                if let Some(stream) = self.take(&bytes)? {
                    let (status, body) = self.answers.remove(&stream).unwrap_or_default();
                    return Ok((stream, status, body));
                }
            }
            let mut piece = [0; DATA_BYTES_MAX];
            let count = self.socket.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&piece[..count]);
        }
    }

    /// Where the first frame ends, if it is here.
    fn whole(&self) -> Option<usize> {
        let [a, b, c] = *self.received.first_chunk()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let end = HEADER_BYTES + length;
        (self.received.len() >= end).then_some(end)
    }

    /// Takes one frame in; the answer that it ends.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Option<u32>> {
        let (kind, flags, payload) = (bytes[3], bytes[4], &bytes[HEADER_BYTES..]);
        let stream = bytes[5..9]
            .iter()
            .fold(0, |id, byte| id << 8 | u32::from(*byte));
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let mut out = Vec::new();
                frame(SETTINGS, ACK, 0, &[], &mut out);
                self.send(&out)?;
            }
            PING if flags & ACK == 0 => {
                let mut out = Vec::new();
                frame(PING, ACK, 0, payload, &mut out);
                self.send(&out)?;
            }
            HEADERS => {
                // The status comes first and is a number of the static table: 200 is the eighth.
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                let status = if first == Some(&0x88) { 200 } else { 500 };
                self.answers.insert(stream, (status, Vec::new()));
            }
            DATA => {
                let answer = self.answers.entry(stream).or_default();
                answer.1.extend_from_slice(payload);
            }
            RESET | GOAWAY => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        let ends = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
        Ok(ends.then_some(stream))
    }
}
