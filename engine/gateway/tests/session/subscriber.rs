//! A subscriber of its own: one call over HTTP/1.1, then the chunks of its answer, the frames in
//! them, and what the frames say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Client, Server};

/// One frame of an event stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// `event` or `exception`.
    pub(crate) message: String,
    /// The event's or the exception's type.
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

impl Frame {
    /// The data of its records, as text.
    pub(crate) fn data(&self) -> Vec<String> {
        let records = self.payload["Records"].as_array().unwrap();
        let text = |record: &Value| {
            let data = record["Data"].as_str().unwrap();
            String::from_utf8(base64_simd::STANDARD.decode_to_vec(data).unwrap()).unwrap()
        };
        records.iter().map(text).collect()
    }

    /// Where to resume from.
    pub(crate) fn progress(&self) -> String {
        let number = &self.payload["ContinuationSequenceNumber"];
        number.as_str().unwrap().to_owned()
    }
}

/// An open event stream.
pub(crate) struct Subscriber {
    pub(crate) socket: TcpStream,
    received: Vec<u8>,
    frames: Vec<u8>,
    is_over: bool,
    pub(crate) head: String,
}

/// What a call that was refused said: status, type, text.
pub(crate) type Refusal = (u16, String, String);

impl Subscriber {
    /// Subscribes, and takes the first frame, which says nothing.
    pub(crate) fn open(server: &Server, arn: &str, shard: u32, position: Value) -> Self {
        match Self::try_open(server, arn, shard, position) {
            Ok(subscriber) => subscriber,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn try_open(
        server: &Server,
        arn: &str,
        shard: u32,
        position: Value,
    ) -> Result<Self, Refusal> {
        let ask = json!({
            "ConsumerARN": arn,
            "ShardId": format!("shardId-{shard:012}"),
            "StartingPosition": position,
        });
        Self::of_request(
            server,
            &Client::request("SubscribeToShard", &ask.to_string()),
        )
    }

    /// Subscribes by the bytes of a request.
    pub(crate) fn of_request(server: &Server, request: &[u8]) -> Result<Self, Refusal> {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_nodelay(true).unwrap();
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).unwrap();
        socket.write_all(request).unwrap();
        let mut subscriber = Self {
            socket,
            received: Vec::new(),
            frames: Vec::new(),
            is_over: false,
            head: String::new(),
        };
        subscriber.read_head();
        if !subscriber.head.starts_with("HTTP/1.1 200") {
            return Err(subscriber.refusal());
        }
        let first = subscriber.next().unwrap();
        assert_eq!(first.kind, "initial-response");
        assert_eq!(first.payload, json!({}));
        Ok(subscriber)
    }

    fn read_head(&mut self) {
        loop {
            if let Some(end) = self.received.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.received.drain(..end + 4).collect();
                self.head = String::from_utf8(head).unwrap();
                return;
            }
            self.receive();
        }
    }

    fn refusal(&mut self) -> Refusal {
        let status = self.head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_it = name.eq_ignore_ascii_case("content-length");
            is_it.then(|| value.trim().parse::<usize>().unwrap())
        });
        while self.received.len() < length.unwrap() {
            self.receive();
        }
        let error: Value = serde_json::from_slice(&self.received).unwrap();
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (status, text("__type"), text("message"))
    }

    fn receive(&mut self) {
        let mut piece = vec![0; 1 << 16];
        let count = self.socket.read(&mut piece).unwrap();
        assert!(count > 0, "the server closed the connection");
        self.received.extend_from_slice(&piece[..count]);
    }

    /// The next frame; `None` when the stream has ended in good order.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.is_over {
                assert!(self.frames.is_empty(), "the stream ends within a frame");
                return None;
            }
            if !self.take_chunk() {
                self.receive();
            }
        }
    }

    /// The next event with records in it.
    pub(crate) fn next_records(&mut self) -> Frame {
        loop {
            let frame = self.next().expect("there should be more records");
            assert_eq!(frame.kind, "SubscribeToShardEvent", "{frame:?}");
            if !frame.data().is_empty() {
                return frame;
            }
        }
    }

    /// The first frame that is no event, or `None` when the stream ends without one.
    pub(crate) fn end(&mut self) -> Option<Frame> {
        loop {
            match self.next() {
                Some(frame) if frame.message == "event" => {}
                other => return other,
            }
        }
    }

    /// Moves one chunk's bytes to the frames.
    fn take_chunk(&mut self) -> bool {
        let Some(end) = self.received.windows(2).position(|w| w == b"\r\n") else {
            return false;
        };
        let size = std::str::from_utf8(&self.received[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if self.received.len() < end + 2 + size + 2 {
            return false;
        }
        let chunk = &self.received[end + 2..end + 2 + size];
        self.frames.extend_from_slice(chunk);
        self.received.drain(..end + 2 + size + 2);
        self.is_over = size == 0;
        true
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let (frame, length) = decode(&self.frames)?;
        self.frames.drain(..length);
        Some(frame)
    }
}

/// The frame at the front of `bytes` and its length; `None` if it is not all there.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |n, b| (n << 8) | *b as usize);
    let total = number(bytes.get(..4)?);
    let frame = bytes.get(..total)?;
    assert_eq!(number(&frame[8..12]), crc(&frame[..8]) as usize);
    assert_eq!(
        number(&frame[total - 4..]),
        crc(&frame[..total - 4]) as usize
    );
    let headers_end = 12 + number(&frame[4..8]);
    let (mut message, mut kind) = (String::new(), String::new());
    let mut at = 12;
    while at < headers_end {
        let name_end = at + 1 + frame[at] as usize;
        let name = std::str::from_utf8(&frame[at + 1..name_end]).unwrap();
        assert_eq!(frame[name_end], 7, "every header is text");
        let value_at = name_end + 3;
        let value_end = value_at + number(&frame[name_end + 1..value_at]);
        let value = String::from_utf8(frame[value_at..value_end].to_vec()).unwrap();
        match name {
            ":message-type" => message = value,
            ":event-type" | ":exception-type" => kind = value,
            _ => assert_eq!(name, ":content-type"),
        }
        at = value_end;
    }
    let payload = serde_json::from_slice(&frame[headers_end..total - 4]).unwrap();
    let frame = Frame {
        message,
        kind,
        payload,
    };
    Some((frame, total))
}

/// CRC-32 of IEEE 802.3, bit by bit: the server's is another program's.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
