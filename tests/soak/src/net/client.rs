//! Clients of one connection each: they send until they are done or the connection is, and note
//! what they were told.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{SequenceNumber, ShardId, Timestamp};
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};

use super::h2::Http2;
use super::notes::{Notes, Record};
use crate::chance::Chance;
use crate::judge::STREAM;
use crate::wire::Wire;

/// Longer than the server, or a fault, makes anybody wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const IN_FLIGHT: usize = 6;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Wire,
    Http1,
    Http2,
}

pub(super) const SPEECHES: [Speech; 3] = [Speech::Wire, Speech::Http1, Speech::Http2];

/// What a client is to do.
pub(super) struct Job<'a> {
    pub(super) at: SocketAddr,
    pub(super) stream: &'a StreamDescription,
    pub(super) batches: u64,
    pub(super) chance: Chance,
}

/// Sends until all is answered, or an error ends it.
pub(super) fn talk(speech: Speech, job: Job<'_>, notes: &mut [Notes]) -> io::Result<()> {
    match speech {
        Speech::Wire => wire(job, &mut notes[0], |_| true),
        Speech::Http1 => http1(job, &mut notes[0]),
        Speech::Http2 => http2(job, notes),
    }
}

/// The ledger keeps each connection's order, and requests of HTTP/2 have none among them: each of
/// those that may be under way at once is one for the ledger.
pub(super) fn lanes(speech: Speech) -> usize {
    if speech == Speech::Http2 { 4 } else { 1 }
}

/// The binary protocol; `go_on` is asked before each batch.
pub(super) fn wire(
    mut job: Job<'_>,
    notes: &mut Notes,
    mut go_on: impl FnMut(&Notes) -> bool,
) -> io::Result<()> {
    let core = (job.chance.next() % u64::from(job.stream.cores)) as u32;
    let owned: Vec<_> = job
        .stream
        .shards
        .iter()
        .filter(|s| s.core == core)
        .collect();
    let mut wire: Wire<(u64, ShardId, Timestamp)> = Wire::connect(job.at, core)?;
    let (mut left, mut batch) = (job.batches, Vec::new());
    loop {
        while left > 0 && wire.in_flight() < IN_FLIGHT && go_on(notes) {
            left -= 1;
            let shard = owned[(job.chance.next() % owned.len() as u64) as usize];
            let id = ShardId::new(job.stream.id, shard.index);
            let (serial, records) = notes.make(shard.index.0, &mut job.chance);
            batch.clear();
            let mark = ProducerMark::default();
            let mut builder = BatchBuilder::new(&mut batch, id, job.stream.map_version, mark);
            for record in &records {
                let pushed = builder.push(&record.key, &record.data);
                pushed.expect("a rig's batch fits");
            }
            builder.finish();
            let request = Request::Append {
                count: 1,
                batches: &batch,
            };
            // Its end is known once it is sent; if that fails, some of it may have gone.
            let before = wire.sent_bytes();
            let asked = wire.ask(&request, (serial, id, shard.created));
            if asked.is_ok() {
                notes.ends(serial, wire.sent_bytes());
            } else {
                notes.ends(serial, before + batch.len() as u64);
            }
            asked?;
        }
        if wire.in_flight() == 0 {
            return Ok(());
        }
        let (serial, number) = wire.answer(|(serial, id, created), response| {
            let number = match response {
                Response::Appended(outcomes) => match outcomes.first() {
                    Some(AppendOutcome::Stored {
                        first_offset,
                        arrival,
                    }) => {
                        let of = SequenceNumber::of_record;
                        Some(of(id.index, created, *first_offset, *arrival).to_string())
                    }
                    _ => None,
                },
                _ => None,
            };
            (serial, number)
        })?;
        notes.answered(serial, number);
    }
}

/// PutRecords for one shard.
pub(crate) fn body(stream: &StreamDescription, shard: usize, records: &[Record]) -> String {
    let hash = stream.shards[shard].range.start.get().to_string();
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "PartitionKey": record.key,
                "ExplicitHashKey": hash,
                "Data": base64(&record.data),
            })
        })
        .collect();
    json!({ "StreamName": STREAM, "Records": records }).to_string()
}

/// The first record's number, if all were stored.
pub(crate) fn number(status: u16, body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let stored = status == 200 && answer["FailedRecordCount"] == 0;
    let number = answer["Records"][0]["SequenceNumber"].as_str()?;
    stored.then(|| number.to_owned())
}

pub(crate) fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// HTTP/1.1, a few requests ahead of their answers.
fn http1(mut job: Job<'_>, notes: &mut Notes) -> io::Result<()> {
    let mut socket = BufReader::new(connect(job.at)?);
    let (mut left, mut sent) = (job.batches, 0);
    let mut waiting = VecDeque::new();
    loop {
        while left > 0 && waiting.len() < IN_FLIGHT / 2 {
            left -= 1;
            let shard = (job.chance.next() % job.stream.shards.len() as u64) as usize;
            let index = job.stream.shards[shard].index.0;
            let (serial, records) = notes.make(index, &mut job.chance);
            let body = body(job.stream, shard, &records);
            let request = format!(
                "POST / HTTP/1.1\r\nhost: soak\r\ncontent-type: application/x-amz-json-1.1\r\n\
                 x-amz-target: Kinesis_20131202.PutRecords\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            sent += request.len() as u64;
            notes.ends(serial, sent);
            socket.get_mut().write_all(request.as_bytes())?;
            waiting.push_back(serial);
        }
        let Some(serial) = waiting.pop_front() else {
            return Ok(());
        };
        let (status, body) = answer(&mut socket)?;
        notes.answered(serial, number(status, &body));
    }
}

/// One answer of HTTP/1.1.
pub(crate) fn answer(socket: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<u8>)> {
    let (mut status, mut length, mut line) = (None, 0, String::new());
    loop {
        line.clear();
        if socket.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if status.is_none() {
            status = Some(line.split(' ').nth(1).and_then(|code| code.parse().ok()));
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    let status = status.flatten();
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body))
}

/// HTTP/2, several requests beside each other.
fn http2(mut job: Job<'_>, notes: &mut [Notes]) -> io::Result<()> {
    let mut http = Http2::connect(job.at)?;
    let mut left = job.batches;
    let mut waiting: Vec<Option<(u32, u64)>> = vec![None; notes.len()];
    loop {
        for lane in 0..notes.len() {
            if left == 0 || waiting[lane].is_some() {
                continue;
            }
            left -= 1;
            let shard = (job.chance.next() % job.stream.shards.len() as u64) as usize;
            let index = job.stream.shards[shard].index.0;
            let (serial, records) = notes[lane].make(index, &mut job.chance);
            let body = body(job.stream, shard, &records);
            let (stream, asked) = http.ask(body.as_bytes());
            notes[lane].ends(serial, http.sent);
            asked?;
            waiting[lane] = Some((stream, serial));
        }
        if waiting.iter().all(Option::is_none) {
            return Ok(());
        }
        let (stream, status, body) = http.answer()?;
        let lane = waiting
            .iter()
            .position(|waits| waits.is_some_and(|(id, _)| id == stream));
        let lane = lane.ok_or(io::ErrorKind::InvalidData)?;
        let (_, serial) = waiting[lane].take().ok_or(io::ErrorKind::InvalidData)?;
        notes[lane].answered(serial, number(status, &body));
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let held = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= part.len() {
                let digit = held >> (18 - 6 * place) & 63;
                text.push(char::from(DIGITS[digit as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod proofs {
    #[test]
    fn base64_is_written() {
        assert_eq!(super::base64(b"weir"), "d2Vpcg==");
        assert_eq!(super::base64(b"weir/"), "d2Vpci8=");
        assert_eq!(super::base64(b"wei"), "d2Vp");
    }
}
