//! The judge's client: Kinesis JSON over one connection, and nothing of ours in it.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Http {
    socket: BufReader<TcpStream>,
    body: Vec<u8>,
}

/// One record as GetRecords gives it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) partition_key: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

impl Record<'_> {
    pub(super) fn data(&self) -> Result<Vec<u8>> {
        base64(self.data.as_bytes()).context("data that is not base64")
    }
}

/// What GetRecords answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) records: Vec<Record<'a>>,
    pub(super) next_shard_iterator: Option<String>,
    pub(super) millis_behind_latest: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shards {
    shards: Vec<Shard>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shard {
    shard_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

impl Http {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: BufReader::with_capacity(1 << 16, socket),
            body: Vec::new(),
        })
    }

    /// The names of a stream's shards. A server that was ended before the stream was ACTIVE goes on
    /// making it when it starts again: until then the contract has it refuse.
    pub(super) fn shards(&mut self, stream: &str) -> Result<Vec<String>> {
        let body = json!({ "StreamName": stream });
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.call("ListShards", &body)?;
            let is_being_made = status == 400 && self.said().contains("ResourceInUseException");
            if !is_being_made || Instant::now() > until {
                self.expect_well("ListShards", status)?;
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let shards: Shards = self.answer()?;
        if shards.next_token.is_some() {
            bail!("more shards than one answer holds");
        }
        Ok(shards
            .shards
            .into_iter()
            .map(|shard| shard.shard_id)
            .collect())
    }

    /// An iterator behind a number, or at the start.
    pub(super) fn iterator(
        &mut self,
        stream: &str,
        shard: &str,
        after: Option<&str>,
    ) -> Result<String> {
        let mut body = json!({
            "StreamName": stream,
            "ShardId": shard,
            "ShardIteratorType": "TRIM_HORIZON",
        });
        if let Some(after) = after {
            body["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER".into();
            body["StartingSequenceNumber"] = after.into();
        }
        self.ask("GetShardIterator", &body)?;
        let iterator: Iterator = self.answer()?;
        Ok(iterator.shard_iterator)
    }

    pub(super) fn records(&mut self, iterator: &str) -> Result<Part<'_>> {
        self.ask("GetRecords", &json!({ "ShardIterator": iterator }))?;
        serde_json::from_slice(&self.body).context("an answer that is not as the contract says")
    }

    fn answer<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).context("an answer that is not as the contract says")
    }

    /// Calls an operation that must be answered well; its answer is in `body`.
    fn ask(&mut self, operation: &str, body: &serde_json::Value) -> Result<()> {
        let status = self.call(operation, body)?;
        self.expect_well(operation, status)
    }

    fn expect_well(&self, operation: &str, status: u16) -> Result<()> {
        if status != 200 {
            bail!("{operation}: {status} {}", self.said());
        }
        Ok(())
    }

    fn said(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Calls an operation; its status is returned, its answer is in `body`.
    fn call(&mut self, operation: &str, body: &serde_json::Value) -> Result<u16> {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: judge\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.get_mut().write_all(request.as_bytes())?;
        self.receive()
            .with_context(|| format!("{operation} was not answered"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_ascii_lowercase())
    }

    fn receive(&mut self) -> Result<u16> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = 0;
        loop {
            let header = self.line()?;
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        self.body.resize(length, 0);
        self.socket.read_exact(&mut self.body)?;
        status.with_context(|| format!("not an HTTP answer: {first}"))
    }
}

/// Bytes out of padded base64; `None` if it is something else.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in unpadded {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    text.len().is_multiple_of(4).then_some(out)
}

#[cfg(test)]
mod proofs {
    use super::base64;

    #[test]
    fn base64_is_read() {
        assert_eq!(base64(b"d2Vpcg==").as_deref(), Some(&b"weir"[..]));
        assert_eq!(base64(b"d2Vpci8=").as_deref(), Some(&b"weir/"[..]));
        assert_eq!(base64(b"d2Vp").as_deref(), Some(&b"wei"[..]));
        assert_eq!(base64(b"d2V"), None);
        assert_eq!(base64(b"d2V-"), None);
    }
}
