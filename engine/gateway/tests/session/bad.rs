//! What a broken client does, and that the server lives on.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{Client, Server};

#[test]
fn refusals_are_told_in_the_words_of_aws() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let (status, kind, text) = client.refusal("PutRecord", json!({"StreamName": 1}));
    assert_eq!((status, kind.as_str()), (400, "SerializationException"));
    assert!(
        text.ends_with("can not be converted to an String"),
        "{text}"
    );
    let (_, kind, text) = client.refusal("PutRecord", json!({"StreamName": "a"}));
    assert_eq!(kind, "ValidationException");
    assert!(text.starts_with("2 validation errors detected: "), "{text}");
    let (_, kind, _) = client.refusal("GetRecords", json!({"ShardIterator": "x"}));
    assert_eq!(kind, "InvalidArgumentException");
    let (_, kind, _) = client.refusal("Nonsense", json!({}));
    assert_eq!(kind, "UnknownOperationException");
    let put = json!({"StreamName": "none", "PartitionKey": "k", "Data": ""});
    let (_, kind, _) = client.refusal("PutRecord", put);
    assert_eq!(kind, "ResourceNotFoundException");

    let unsigned = "POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n\
                    Content-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\n\r\n{}";
    let reply = client.exchange(unsigned.as_bytes());
    assert_eq!(
        reply.json()["__type"],
        "MissingAuthenticationTokenException"
    );
    let reply = client.exchange(&Client::request("ListStreams", "{"));
    assert_eq!(reply.body, br#"{"__type":"SerializationException"}"#);
    let reply = client.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let reply = client.exchange(b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n");
    assert_eq!((reply.status, reply.body.len()), (200, 0));

    let reply = client.exchange(&Client::request("ListStreams", "{}"));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("x-amzn-requestid").unwrap().len(), 36);
    assert_eq!(reply.header("x-amz-id-2").unwrap().len(), 96);
    assert!(reply.header("date").unwrap().ends_with(" GMT"));
    let content_type = reply.header("content-type");
    assert_eq!(content_type, Some("application/x-amz-json-1.1"));
}

#[test]
fn a_body_with_broken_chunks_is_a_400() {
    let server = Server::start(1, Duration::ZERO);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n\
                Content-Type: application/x-amz-json-1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["ZZ\r\n{}\r\n0\r\n\r\n", "2\r\n{}x"] {
        let reply = server
            .connect()
            .exchange(format!("{head}{chunks}").as_bytes());
        assert_eq!((reply.status, reply.body.len()), (400, 0), "{chunks}");
    }
}

#[test]
fn a_body_over_the_limit_is_a_413() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let body = " ".repeat(16 * 1024 * 1024 + 1);
    let reply = client.exchange(&Client::request("PutRecords", &body));
    assert_eq!(reply.status, 413);
    // The longest legal call is not too long: ten records of 1 MiB less their keys.
    let mut client = server.connect();
    client.call("CreateStream", json!({"StreamName": "big"}));
    client.wait_active("big");
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 1024 * 1024 - 1]);
    let record = json!({"PartitionKey": "k", "Data": data});
    let records = vec![record; 10];
    let answer = client.call(
        "PutRecords",
        json!({"StreamName": "big", "Records": records}),
    );
    assert_eq!(answer["FailedRecordCount"], 0);
    let shard = answer["Records"][0]["ShardId"].as_str().unwrap().to_owned();
    let found = client.read_shard("big", &shard);
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|data| data.len() == 1024 * 1024 - 1));
}

#[test]
fn a_path_over_the_limit_is_a_414() {
    let server = Server::start(1, Duration::ZERO);
    let call = Client::request("ListStreams", "{}");
    let rest = &call["POST /".len()..];
    let with_path = |bytes: usize| [&b"POST /"[..], &vec![b'x'; bytes - 1], rest].concat();
    let mut client = server.connect();
    assert_eq!(client.exchange(&with_path(8 * 1024)).status, 200);
    let reply = client.exchange(&with_path(8 * 1024 + 1));
    assert_eq!((reply.status, reply.body.len()), (414, 0));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(client.try_reply(Duration::from_secs(20)).is_none());
    // A query is a part of it, and a head over its own limit is refused as one.
    let query = format!("POST /?X-Amz-Security-Token={} ", "t".repeat(8 * 1024));
    let query = [query.as_bytes(), &rest[1..]].concat();
    assert_eq!(server.connect().exchange(&query).status, 414);
    let head = with_path(32 * 1024 + 1);
    assert_eq!(server.connect().exchange(&head).status, 431);
}

#[test]
fn long_bodies_of_strangers_are_not_held() {
    let server = Server::start(1, Duration::ZERO);
    for (bytes, expected) in [
        (64 * 1024, "SerializationException"),
        (64 * 1024 + 1, "MissingAuthenticationTokenException"),
        (12 * 1024 * 1024, "MissingAuthenticationTokenException"),
    ] {
        let body = "x".repeat(bytes);
        let signed = server
            .connect()
            .exchange(&Client::request("PutRecords", &body));
        assert_eq!(signed.json()["__type"], "SerializationException");
        let head = "POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\n\
                    Content-Type: application/x-amz-json-1.1\r\n";
        let whole = format!("{head}Content-Length: {bytes}\r\n\r\n{body}");
        let answer = server.connect().exchange(whole.as_bytes());
        assert_eq!(answer.json()["__type"], expected, "{bytes} bytes");
        // One that does not say its length.
        let chunked =
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n");
        let answer = server.connect().exchange(chunked.as_bytes());
        assert_eq!(answer.json()["__type"], expected, "{bytes} bytes in chunks");
    }
}

#[test]
fn who_fails_too_often_is_refused_late_and_nobody_else_waits() {
    let server = Server::start(1, Duration::ZERO);
    let unsigned = b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n\
                     Content-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\n\r\n{}";
    let mut client = server.connect();
    for _ in 0..20 {
        let reply = client.exchange(unsigned);
        assert_eq!((reply.status, reply.header("connection")), (400, None));
    }
    let began = Instant::now();
    client.socket.write_all(unsigned).unwrap();
    // From the same address, and known: it is answered at once, on a connection of its own.
    let list = Client::request("ListStreams", "{}");
    let mut known = server.connect();
    assert_eq!(known.exchange(&list).status, 200);
    assert!(client.try_reply(Duration::from_millis(1)).is_none());
    let reply = client.try_reply(Duration::from_secs(20)).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        (reply.status, reply.header("connection")),
        (400, Some("close"))
    );
    assert!(client.try_reply(Duration::from_secs(20)).is_none());
    // A connection that others have shown themselves on is not taken from them.
    let began = Instant::now();
    assert_eq!(known.exchange(unsigned).header("connection"), None);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(known.exchange(&list).status, 200);
    // New connections change nothing, and neither do long bodies, which nobody reads.
    let began = Instant::now();
    let long = String::from_utf8_lossy(unsigned).replace("Length: 2", "Length: 70000");
    let long = long.replace("{}", &"x".repeat(70_000));
    let reply = server.connect().exchange(long.as_bytes());
    assert_eq!(
        reply.json()["__type"],
        "MissingAuthenticationTokenException"
    );
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn clients_that_vanish_harm_nobody() {
    let server = Server::start(1, Duration::ZERO);
    let whole = Client::request("ListStreams", "{}");
    for cut in 0..whole.len() {
        let mut client = server.connect();
        client.socket.write_all(&whole[..cut]).unwrap();
    }
    let reply = server.connect().exchange(&whole);
    assert_eq!(reply.status, 200);
}

/// What a client sees: its answers' states and lengths, and none more than `answers`.
fn seen(client: &mut Client, pieces: &[&[u8]], answers: usize) -> Vec<(u16, usize)> {
    let mut replies = Vec::new();
    for piece in pieces {
        client.socket.write_all(piece).unwrap();
        // The server sees the pieces apart.
        replies.extend(client.try_reply(Duration::from_millis(2)));
    }
    while replies.len() < answers {
        let Some(reply) = client.try_reply(Duration::from_secs(1)) else {
            break;
        };
        replies.push(reply);
    }
    replies.extend(client.try_reply(Duration::from_millis(5)));
    let seen = replies.iter().map(|reply| (reply.status, reply.body.len()));
    seen.collect()
}

#[test]
fn a_connection_that_was_put_to_sleep_goes_on_where_it_was() {
    // More than a core keeps awake: the last ones are put to sleep after each answer.
    let server = Server::start(1, Duration::ZERO);
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let list = Client::request("ListStreams", "{}");
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.exchange(&list).status, 200);
        }
    }
    let two = [list.as_slice(), &list].concat();
    let (early, late) = (two[..list.len() + 40].to_vec(), &two[list.len() + 40..]);
    // A body that nobody reads, made to look like a call.
    let length = list.len();
    let smuggled = [
        format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        &list,
    ]
    .concat();
    let chunked = [
        format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n")
            .as_bytes(),
        &list,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for pieces in [
        vec![early.as_slice(), late],
        vec![&two[..]],
        vec![&smuggled[..]],
        vec![&smuggled[..smuggled.len() - length], &list],
        vec![
            &chunked[..chunked.len() - length - 7],
            &chunked[chunked.len() - length - 7..],
        ],
    ] {
        let awake = seen(&mut clients.remove(0), &pieces, 2);
        for _ in 0..5 {
            let asleep = seen(&mut clients.pop().unwrap(), &pieces, awake.len());
            assert_eq!(asleep, awake, "{:?}", String::from_utf8_lossy(pieces[0]));
        }
    }
    let mut last = clients.pop().unwrap();
    last.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(last.try_reply(Duration::from_secs(20)).is_none());
}
