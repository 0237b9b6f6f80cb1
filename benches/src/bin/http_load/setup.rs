//! What must be there before the clock starts: requests, and iterators for readers.

use anyhow::{Context, bail};
use memchr::memmem;
use minicbor::{Decoder, Encoder};
use mio::{Events, Interest, Poll, Token};

use crate::arguments::{Arguments, Encoding, Operation};
use crate::bodies;
use crate::connection::Connection;
use crate::dial::Dial;

/// What connections send.
pub(crate) enum Prepared {
    /// These in turn.
    Puts(Vec<Vec<u8>>),
    /// Each connection reads on from where its last answer ended, and begins again here.
    Horizons(Vec<String>),
}

pub(crate) fn prepare(arguments: &Arguments, dial: &Dial) -> anyhow::Result<Prepared> {
    if arguments.operation != Operation::GetRecords {
        return Ok(Prepared::Puts(bodies::puts(arguments)));
    }
    let json = Arguments {
        encoding: Encoding::Json,
        ..arguments.clone()
    };
    let shards = call(
        &json,
        dial,
        "ListShards",
        &format!("{{\"StreamName\":\"{}\"}}", json.stream),
    )?;
    let shards: serde_json::Value = serde_json::from_slice(&shards)?;
    let shards = shards["Shards"].as_array().context("no shards")?;
    let mut horizons = Vec::new();
    for shard in shards {
        let body = serde_json::json!({
            "StreamName": json.stream, "ShardId": shard["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let answer = call(&json, dial, "GetShardIterator", &body.to_string())?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let token = answer["ShardIterator"].as_str().context("no iterator")?;
        horizons.push(token.to_owned());
    }
    if horizons.is_empty() {
        bail!("the stream has no shards");
    }
    Ok(Prepared::Horizons(horizons))
}

/// The request that reads on at `token`.
pub(crate) fn read_at(arguments: &Arguments, token: &str) -> Vec<u8> {
    let body = match arguments.encoding {
        Encoding::Json => format!("{{\"ShardIterator\":\"{token}\"}}").into_bytes(),
        Encoding::Cbor => {
            let mut body = Vec::new();
            Encoder::new(&mut body)
                .map(1)
                .and_then(|cbor| cbor.str("ShardIterator"))
                .and_then(|cbor| cbor.str(token))
                .expect("a vector takes every byte");
            body
        }
    };
    bodies::request(arguments, "GetRecords", &body)
}

/// The iterator in an answer to `GetRecords`; it is text of 200 and some characters.
pub(crate) fn next_token(answer: &[u8], encoding: Encoding) -> Option<String> {
    const NAME: &[u8] = b"NextShardIterator";
    let at = memmem::rfind(answer, NAME)? + NAME.len();
    let rest = &answer[at..];
    let token = match encoding {
        Encoding::Json => {
            let rest = rest.strip_prefix(b"\":\"")?;
            &rest[..memchr::memchr(b'"', rest)?]
        }
        Encoding::Cbor => return Decoder::new(rest).str().ok().map(str::to_owned),
    };
    std::str::from_utf8(token).ok().map(str::to_owned)
}

/// One call on a connection of its own.
pub(crate) fn call(
    arguments: &Arguments,
    dial: &Dial,
    operation: &str,
    body: &str,
) -> anyhow::Result<Vec<u8>> {
    let request = bodies::request(arguments, operation, body.as_bytes());
    let mut connection = Connection::open(dial)?;
    let mut poll = Poll::new()?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry()
        .register(&mut connection.stream, Token(0), interest)?;
    let mut events = Events::with_capacity(4);
    loop {
        poll.poll(&mut events, None)?;
        if connection.send(&request)?
            && let Some(answer) = connection.receive()?
        {
            return Ok(answer.to_vec());
        }
    }
}
