//! `weir stream ...`, and what the shell is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use crate::server::{Server, WEIR, folder, stream_at, words};

#[test]
fn a_stream_lives_from_create_to_delete() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "2"]);
    assert!(
        server
            .done(&["create", "logs", "--shards", "4"], b"")
            .contains("4 shards")
    );
    let twice = server.stream(&["create", "logs", "--shards", "4"], b"");
    assert_eq!(twice.status.code(), Some(1));
    assert!(words(&twice).contains("already exists"));

    let list: Value = serde_json::from_str(&server.done(&["ls", "--output", "json"], b"")).unwrap();
    assert_eq!(list["streams"][0]["name"], "logs");
    assert_eq!(list["streams"][0]["status"], "ACTIVE");
    server.done(
        &["set", "logs", "--retention", "7d", "--retain-bytes", "2GiB"],
        b"",
    );
    let described = server.done(&["describe", "logs", "--output", "json"], b"");
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["retention_ms"], 604_800_000);
    assert_eq!(described["shards"].as_array().unwrap().len(), 4);
    assert_eq!(described["quota"], "server");
    let set = server.done(&["set", "logs", "--quota", "aws"], b"");
    assert!(set.contains("quota    aws"), "{set}");
    let none = server.stream(&["set", "logs"], b"");
    assert_eq!(none.status.code(), Some(2));

    server.done(&["delete", "logs"], b"");
    let gone = server.stream(&["tail", "logs"], b"");
    assert_eq!(gone.status.code(), Some(1));
    assert!(words(&gone).contains("logs"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn lines_come_back_byte_for_byte() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "one:1"]);
    let input = b"plain\ncarriage\r\n\n\xff\xfe not text\nlast without newline";
    server.done(&["put", "one", "--key", "k"], input);
    let output = server.stream(&["tail", "one"], b"");
    assert_eq!(output.stdout, [&input[..], b"\n"].concat());

    server.done(&["create", "two", "--shards", "1"], b"");
    server.done(
        &["put", "two", "--key", "k", "--crlf", "--skip-empty"],
        b"a\r\n\r\n\nb\r\n",
    );
    assert_eq!(server.done(&["tail", "two", "--keys"], b""), "k\ta\nk\tb\n");

    // One line over the limit: named, not sent, the others are; code 3.
    server.done(&["create", "three", "--shards", "1"], b"");
    let fits = "y".repeat((1 << 20) - 1);
    let input = format!("one\n{}\n{fits}\n{fits}z\nlast\n", "x".repeat(3 << 20));
    let put = server.stream(&["put", "three", "--key", "k"], input.as_bytes());
    assert_eq!(put.status.code(), Some(3), "{}", words(&put));
    assert!(words(&put).contains("line 2") && words(&put).contains("line 4"));
    let back = server.done(&["tail", "three"], b"");
    assert_eq!(back, format!("one\n{fits}\nlast\n"));

    // A stream that takes longer records gets longer lines.
    take_longer_records(&server, "three", 4096);
    let put = server.stream(&["put", "three", "--key", "k"], input.as_bytes());
    assert!(put.status.success(), "{}", words(&put));
    let back = server.done(&["tail", "three"], b"");
    assert!(back.ends_with(&input), "{} bytes", back.len());
}

/// Has the stream take records of so many KiB, by the Kinesis API.
fn take_longer_records(server: &Server, stream: &str, kib: u32) {
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}");
    let body = format!("{{\"StreamARN\":\"{arn}\",\"MaxRecordSizeInKiB\":{kib}}}");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: weir\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.UpdateMaxRecordSize\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host, Signature=0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(&server.http).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn keys_keep_their_order_over_all_shards_and_cores() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "2", "--stream", "logs:7"]);
    let lines: Vec<String> = (0..200_000)
        .map(|i| format!("{i} user={} some words", i * 7919 % 101))
        .collect();
    let text = lines.join("\n");
    let put = server.stream(
        &["put", "logs", "--key-regex", r"user=(\d+)"],
        text.as_bytes(),
    );
    assert!(put.status.success(), "{}", words(&put));
    assert!(words(&put).contains("200,000 records"), "{}", words(&put));
    let back = server.done(
        &["tail", "logs", "--from", "trim-horizon", "--output", "json"],
        b"",
    );
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut numbers: BTreeMap<String, String> = BTreeMap::new();
    for line in back.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let before = numbers.insert(text("shard"), text("sequence_number"));
        assert!(before.is_none_or(|before| before < text("sequence_number")));
        by_key
            .entry(text("partition_key"))
            .or_default()
            .push(text("data"));
    }
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (i, line) in lines.into_iter().enumerate() {
        expected
            .entry((i * 7919 % 101).to_string())
            .or_default()
            .push(line);
    }
    assert_eq!(by_key, expected);

    // A part of it: one shard, a time in the future, a time long ago.
    let one = server
        .done(&["tail", "logs", "--shard", "3"], b"")
        .lines()
        .count();
    assert!(one > 0 && one < 200_000);
    assert_eq!(
        server.done(&["tail", "logs", "--from", "2100-01-01"], b""),
        ""
    );
    assert_eq!(
        server
            .done(&["tail", "logs", "--from", "-1h"], b"")
            .lines()
            .count(),
        200_000
    );
}

#[test]
fn a_metered_stream_slows_put_down_and_loses_nothing() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1"]);
    server.done(
        &["create", "slow", "--shards", "1", "--mode", "provisioned"],
        b"",
    );
    let lines: Vec<String> = (0..2_500).map(|i| i.to_string()).collect();
    let text = lines.join("\n") + "\n";
    let put = server.stream(
        &["put", "slow", "--key", "k", "--batch-records", "200"],
        text.as_bytes(),
    );
    assert!(put.status.success(), "{}", words(&put));
    assert_eq!(server.done(&["tail", "slow"], b""), text);
}

#[test]
fn refusals_are_one_sentence_with_the_right_code() {
    let folder = folder();
    let server = Server::start(&folder, &["--cores", "1", "--stream", "logs:1"]);
    let folder_text = folder.path().to_str().unwrap();
    let loopback = "127.0.0.1:0";
    let serve = |arguments: &[&str]| {
        let output = Command::new(WEIR)
            .arg("serve")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), words(&output))
    };
    let ports = ["--http", loopback, "--wire", loopback, "--admin", loopback];
    let (code, text) = serve(&[&ports[..], &["--data-dir", folder_text]].concat());
    assert_eq!(code, Some(1));
    assert!(
        text.contains("in use by process") && text.lines().count() == 1,
        "{text}"
    );

    let other = crate::server::folder();
    let other_text = other.path().to_str().unwrap();
    let taken = [
        "--wire",
        &server.wire,
        "--http",
        loopback,
        "--data-dir",
        other_text,
    ];
    let (code, text) = serve(&taken);
    assert_eq!(code, Some(1));
    assert!(
        text.contains(&server.wire) && text.lines().count() == 1,
        "{text}"
    );

    let fresh = other.path().join("fresh");
    let fresh_text = fresh.to_str().unwrap();
    let (code, text) = serve(&["--reserve", "9000TiB", "--data-dir", fresh_text]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("free") && text.lines().count() == 1 && !fresh.exists(),
        "{text}"
    );
    std::fs::write(other.path().join("thesis.txt"), "words").unwrap();
    let (code, text) = serve(&[&ports[..], &["--data-dir", other_text]].concat());
    assert_eq!(code, Some(1));
    assert!(
        text.contains("thesis.txt") && text.lines().count() == 1,
        "{text}"
    );
    let odd = [&ports[..], &["--data-dir", fresh_text, "--segment-bytes"]].concat();
    let (code, text) = serve(&[&odd[..], &["5KiB"]].concat());
    assert_eq!(code, Some(2), "{text}");

    let unset = Command::new(WEIR)
        .args(["serve", "--memory", "1MiB"])
        .env("WEIR_RESERVE", "")
        .env("WEIR_INSECURE_LISTEN", "")
        .env("WEIR_STREAMS", "")
        .output()
        .unwrap();
    assert!(words(&unset).contains("256MiB"), "{}", words(&unset));

    let (code, text) = serve(&["--reserve", "8"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("no unit"), "{text}");
    let (code, text) = serve(&["--http", "0.0.0.0:0"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--insecure-listen"), "{text}");

    let nobody = stream_at("127.0.0.1:1", &["ls"], b"");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(words(&nobody).contains("weir serve"));
    let http = stream_at(&server.http, &["ls"], b"");
    assert_eq!(http.status.code(), Some(1));
    let bad = server.stream(&["put", "logs", "--key-regex", "("], b"x\n");
    assert_eq!(bad.status.code(), Some(2));
    let missing = server.stream(&["put", "logs", "/no/such/file"], b"");
    assert_eq!(missing.status.code(), Some(1));
    assert!(words(&missing).contains("/no/such/file"));
}
