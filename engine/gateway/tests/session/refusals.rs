//! What every operation refuses, text by text, in both encodings: the cases stand in
//! `refusals.txt`, next to this file.
//!
//! A case is an operation and its members, and below it the kind and the text of the refusal;
//! `<n>` stands for a text of n times `x`. After a change of the table run the test with
//! `UPDATE_CASES=1` and read the difference against the contract.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cbor;
use crate::rig::{Client, HttpReply, Server};

/// A shorter run of `x` in a text is not written as its length.
const RUN_MIN: usize = 10;

#[test]
fn every_operation_refuses_in_the_words_of_aws() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/session/refusals.txt");
    let cases = std::fs::read_to_string(&path).unwrap();
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let (mut found, mut operations) = (String::new(), std::collections::BTreeSet::new());
    let mut lines = cases.lines().peekable();
    while let Some(line) = lines.next() {
        found += line;
        found.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (operation, members) = line.split_once(' ').unwrap();
        operations.insert(operation.to_owned());
        let body = expand(members);
        let reply = client.exchange(&Client::request(operation, &body));
        let json = outcome(&reply, |bytes| serde_json::from_slice(bytes).unwrap());
        // JSON that is no value has no counterpart in CBOR.
        if let Ok(value) = serde_json::from_str::<Value>(&body) {
            let reply = cbor::call(&mut client, operation, &value);
            let cbor = outcome(&reply, cbor::decode);
            assert_eq!(cbor, json, "{operation} {members}, in CBOR and in JSON");
        }
        writeln!(found, "  {}", shorten(&json)).unwrap();
        lines.next_if(|line| line.starts_with("  "));
    }
    assert_eq!(operations.len(), 57, "every operation has its cases");
    if found == cases {
        return;
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    for (expected, found) in cases.lines().zip(found.lines()) {
        assert_eq!(found, expected, "see the head of this test");
    }
    panic!("the cases are not complete");
}

/// The kind and the text of a refusal, and that nothing else is in it.
fn outcome(reply: &HttpReply, decode: impl Fn(&[u8]) -> Value) -> String {
    if reply.status == 200 {
        return "200".to_owned();
    }
    assert_eq!(
        reply.status,
        400,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    let body = decode(&reply.body);
    let kind = body["__type"].as_str().unwrap();
    // Only mistyped members are told with a capital letter.
    let member = match kind {
        "SerializationException" => "Message",
        _ => "message",
    };
    let members = body.as_object().unwrap().len();
    match body.get(member).and_then(Value::as_str) {
        Some(text) if members == 2 => format!("{kind} {text}"),
        _ => {
            assert_eq!(members, 1, "{body}");
            kind.to_owned()
        }
    }
}

/// Writes the texts out that a case only names.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let (count, after) = after.split_once('>').unwrap();
        out += before;
        out += &"x".repeat(count.parse().unwrap());
        rest = after;
    }
    out + rest
}

/// The other way.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('x') {
        let run = rest[at..].bytes().take_while(|b| *b == b'x').count();
        out += &rest[..at];
        if run < RUN_MIN {
            out += &rest[at..at + run];
        } else {
            write!(out, "<{run}>").unwrap();
        }
        rest = &rest[at + run..];
    }
    out + rest
}
