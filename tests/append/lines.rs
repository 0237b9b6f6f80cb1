//! What `put` makes of every odd line, seen through `tail --output json`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ran, Setup, Victim, run, temporary};

const PATIENCE: Duration = Duration::from_secs(30);

struct Lines {
    victim: Victim,
    folder: tempfile::TempDir,
}

impl Lines {
    fn new() -> Self {
        let folder = temporary("lines");
        let victim = Setup::new(folder.path()).start();
        Self { victim, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.victim.stream(arguments)
    }

    /// Puts `input` into a fresh stream of one shard; what put said, and the records as JSON.
    fn put(&self, stream: &str, flags: &[&str], input: &[u8]) -> (Ran, Vec<Value>) {
        let create = ["create", stream, "--shards", "1"];
        run(&mut self.command(&create), [], PATIENCE).succeeded();
        let put = [&["put", stream], flags].concat();
        let ran = run(&mut self.command(&put), input, PATIENCE);
        let tail = ["tail", stream, "--from", "trim-horizon", "--output", "json"];
        let tail = run(&mut self.command(&tail), [], PATIENCE).succeeded();
        let text = tail.text();
        let records = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"));
        (ran, records.collect())
    }

    /// Raw bytes of the stream as `tail` prints them.
    fn raw(&self, stream: &str) -> Vec<u8> {
        let tail = ["tail", stream, "--from", "trim-horizon"];
        run(&mut self.command(&tail), [], PATIENCE)
            .succeeded()
            .stdout
    }
}

fn members(records: &[Value], member: &str) -> Vec<String> {
    let text = |record: &Value| record[member].as_str().unwrap_or("?").to_owned();
    records.iter().map(text).collect()
}

#[test]
fn a_line_is_a_record_without_its_newline() {
    let lines = Lines::new();
    let (ran, records) = lines.put("plain", &["--key", "k"], b"one\n\ntwo\r\nlast");
    assert!(ran.succeeded().stderr.contains("4 records"), "four lines");
    assert_eq!(members(&records, "data"), ["one", "", "two\r", "last"]);
    assert_eq!(members(&records, "partition_key"), ["k"; 4]);
    for record in &records {
        let number = record["sequence_number"].as_str().expect("a string");
        assert!(number.len() == 56 && number.starts_with("49"), "{number}");
    }
    assert_eq!(lines.raw("plain"), b"one\n\ntwo\r\nlast\n");

    let flags = ["--key", "k", "--crlf", "--skip-empty"];
    let (ran, records) = lines.put("trimmed", &flags, b"one\r\n\n\r\ntwo\n");
    ran.succeeded();
    assert_eq!(members(&records, "data"), ["one", "two"]);

    let (ran, records) = lines.put("nothing", &[], b"");
    ran.succeeded();
    assert!(records.is_empty());
    lines.victim.stop();
}

#[test]
fn bytes_that_are_not_text_stay_as_they_are() {
    let lines = Lines::new();
    let input = b"\xff\xfe status ok\x00\n\x80\x81\n";
    let flags = ["--key-regex", r"status (\w+)"];
    let (ran, records) = lines.put("bytes", &flags, input);
    ran.succeeded();
    assert_eq!(lines.raw("bytes"), input);
    assert_eq!(members(&records, "partition_key"), ["ok", "-"]);
    assert!(records[0].get("data_base64").is_some(), "{}", records[0]);
    lines.victim.stop();
}

#[test]
fn keys_come_out_of_lines() {
    let lines = Lines::new();
    let input = b"status a x\nnothing here\nstatus b y\n";
    let (ran, records) = lines.put("group", &["--key-regex", r"status (\S+)"], input);
    let said = ran.succeeded().stderr;
    assert!(said.contains("1 line without a match"), "{said}");
    assert_eq!(members(&records, "partition_key"), ["a", "-", "b"]);

    let flags = ["--key-regex", "status", "--no-match-key", "other"];
    let (ran, records) = lines.put("whole", &flags, input);
    ran.succeeded();
    assert_eq!(
        members(&records, "partition_key"),
        ["status", "other", "status"]
    );

    let flags = ["--key-regex", r"status (\S+)", "--skip-no-match"];
    let (ran, records) = lines.put("skip", &flags, input);
    ran.succeeded();
    assert_eq!(members(&records, "partition_key"), ["a", "b"]);
    lines.victim.stop();
}

#[test]
fn a_line_over_one_mebibyte_is_named_and_the_others_are_sent() {
    let lines = Lines::new();
    let mut input = b"before\n".to_vec();
    // With its key of one character the second line fits exactly; the third is one byte more.
    input.resize(input.len() + (1 << 20) - 1, b'x');
    input.push(b'\n');
    input.resize(input.len() + (1 << 20), b'y');
    input.push(b'\n');
    input.resize(input.len() + (40 << 20), b'z');
    input.extend_from_slice(b"\nafter\n");
    let (ran, records) = lines.put("long", &["--key", "k"], &input);
    let said = ran.refused(3, "line 3").stderr;
    assert!(said.contains("line 4"), "{said}");
    let lengths: Vec<_> = members(&records, "data").iter().map(String::len).collect();
    assert_eq!(lengths, [6, (1 << 20) - 1, 5]);
    lines.victim.stop();
}

#[test]
fn a_file_is_read_like_stdin_and_a_missing_one_is_named() {
    let lines = Lines::new();
    let file = lines.folder.path().join("input");
    std::fs::write(&file, "a\nb\n").unwrap();
    let path = file.to_str().expect("a path of ours");
    let (ran, records) = lines.put("file", &[path], b"not read");
    ran.succeeded();
    assert_eq!(members(&records, "data"), ["a", "b"]);
    let (ran, _) = lines.put("missing", &["/nowhere/at/all"], b"");
    ran.refused(1, "/nowhere/at/all");
    lines.victim.stop();
}
