//! CBOR as the Java SDKs write it, for the tests' own client; and what a user does with it.
//!
//! Values are those of JSON, with two conventions: a text that begins with `bytes:` stands for
//! bytes, and `{"ms": n}` for a time of so many milliseconds.

use std::time::Duration;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value, json};

use crate::rig::{Client, HttpReply, Server};

const BYTES: &str = "bytes:";

pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    write(&mut out, value);
    out.into_writer()
}

fn write(out: &mut Encoder<Vec<u8>>, value: &Value) {
    match value {
        Value::Null => out.null().map(drop),
        Value::Bool(value) => out.bool(*value).map(drop),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => out.i64(whole).map(drop),
            None => out.f64(number.as_f64().unwrap()).map(drop),
        },
        Value::String(text) => match text.strip_prefix(BYTES) {
            Some(bytes) => out.bytes(bytes.as_bytes()).map(drop),
            None => out.str(text).map(drop),
        },
        Value::Array(items) => {
            out.begin_array().unwrap();
            for item in items {
                write(out, item);
            }
            out.end().map(drop)
        }
        Value::Object(members) if members.len() == 1 && members.contains_key("ms") => {
            out.tag(Tag::new(1)).unwrap();
            write(out, &members["ms"]);
            Ok(())
        }
        Value::Object(members) => {
            out.begin_map().unwrap();
            for (name, value) in members {
                out.str(name).unwrap();
                write(out, value);
            }
            out.end().map(drop)
        }
    }
    .unwrap();
}

pub(crate) fn decode(bytes: &[u8]) -> Value {
    let mut source = Decoder::new(bytes);
    let value = read(&mut source);
    assert_eq!(source.position(), bytes.len(), "nothing follows");
    value
}

fn read(source: &mut Decoder<'_>) -> Value {
    match source.datatype().unwrap() {
        Type::Bool => json!(source.bool().unwrap()),
        Type::String => json!(source.str().unwrap()),
        Type::Bytes => {
            let bytes = String::from_utf8_lossy(source.bytes().unwrap()).into_owned();
            json!(format!("{BYTES}{bytes}"))
        }
        Type::Tag => {
            assert_eq!(source.tag().unwrap().as_u64(), 1);
            json!({"ms": source.u64().unwrap()})
        }
        Type::ArrayIndef => {
            source.array().unwrap();
            let mut items = Vec::new();
            while source.datatype().unwrap() != Type::Break {
                items.push(read(source));
            }
            source.skip().unwrap();
            Value::Array(items)
        }
        Type::MapIndef => {
            source.map().unwrap();
            let mut members = Map::new();
            while source.datatype().unwrap() != Type::Break {
                let name = source.str().unwrap().to_owned();
                members.insert(name, read(source));
            }
            source.skip().unwrap();
            Value::Object(members)
        }
        _ => json!(source.u64().unwrap()),
    }
}

/// The bytes of a call in CBOR.
pub(crate) fn request(operation: &str, body: &[u8]) -> Vec<u8> {
    let json = Client::request(operation, "");
    let head = String::from_utf8(json).unwrap();
    let head = head.replace("x-amz-json-1.1", "x-amz-cbor-1.1").replace(
        "Content-Length: 0",
        &format!("Content-Length: {}", body.len()),
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn call(client: &mut Client, operation: &str, body: &Value) -> HttpReply {
    let reply = client.exchange(&request(operation, &encode(body)));
    let content_type = reply.header("content-type");
    assert_eq!(content_type, Some("application/x-amz-cbor-1.1"));
    reply
}

#[test]
fn the_session_in_cbor() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let mut ask = |operation: &str, body: Value| {
        let reply = call(&mut client, operation, &body);
        let answer = match reply.body.as_slice() {
            [] => Value::Null,
            bytes => decode(bytes),
        };
        assert_eq!(reply.status, 200, "{operation}: {answer}");
        answer
    };
    ask("CreateStream", json!({"StreamName": "java"}));
    let described = loop {
        let answer = ask("DescribeStream", json!({"StreamName": "java"}));
        if answer["StreamDescription"]["StreamStatus"] == "ACTIVE" {
            break answer["StreamDescription"].clone();
        }
    };
    let created = described["StreamCreationTimestamp"]["ms"].as_u64().unwrap();
    assert!((1_700_000_000_000..9_000_000_000_000).contains(&created));
    assert_eq!(described["HasMoreShards"], false);

    let put = |data: &str| json!({"StreamName": "java", "PartitionKey": "k", "Data": data});
    let first = ask("PutRecord", put("bytes:\0\u{1} raw"));
    let second = ask(
        "PutRecords",
        json!({"StreamName": "java", "Records": [
            {"PartitionKey": "k", "Data": "bytes:more"},
            {"PartitionKey": "k", "Data": "aW4gYmFzZTY0"},
        ]}),
    );
    assert_eq!(second["FailedRecordCount"], 0);
    let at = json!({
        "StreamName": "java", "ShardId": first["ShardId"],
        "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": {"ms": created}
    });
    let iterator = ask("GetShardIterator", at);
    let page = ask(
        "GetRecords",
        json!({"ShardIterator": iterator["ShardIterator"]}),
    );
    let data: Vec<_> = page["Records"].as_array().unwrap().iter().collect();
    assert_eq!(data[0]["Data"], "bytes:\0\u{1} raw");
    assert_eq!(data[1]["Data"], "bytes:more");
    assert_eq!(data[2]["Data"], "bytes:in base64");
    assert_eq!(data[0]["SequenceNumber"], first["SequenceNumber"]);
    let arrival = data[0]["ApproximateArrivalTimestamp"]["ms"]
        .as_u64()
        .unwrap();
    assert!((created..created + 600_000).contains(&arrival));
    assert_eq!(page["MillisBehindLatest"], 0);
}

#[test]
fn the_newer_protocol_in_cbor_is_not_spoken() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let reply = client.exchange(
        b"POST /service/Kinesis_20131202/operation/ListStreams HTTP/1.1\r\nHost: a\r\n\
          smithy-protocol: rpc-v2-cbor\r\nContent-Type: application/cbor\r\n\
          Content-Length: 2\r\n\r\n\xbf\xff",
    );
    assert_eq!(reply.status, 404);
    assert_eq!(reply.body, b"<UnknownOperationException/>\n");
}
