//! Tables of refusals, and what reads them: a server is asked what a table says, in both encodings, and
//! must answer what it says.
//!
//! A case is an operation and its members, and below it the kind and the text of the refusal. A text
//! that begins with `~` instead of a blank has words of ours, because AWS's are not known; every other
//! one is AWS's. `<n>` stands for a text of n times `x`.
//!
//! `! Operation members` is done before the cases that follow. `! name = Operation members` also keeps
//! the token or ARN that came back: `<name>` stands for it, `<name's second>` for the second at its end.
//! `! wait name` waits until a stream is ACTIVE. After `! hold` streams and consumers stay in the states
//! that changes bring them to.
//!
//! After a change of a table run its test with `UPDATE_CASES=1` and read the difference against the
//! contract.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cbor;
use crate::rig::{Client, HttpReply, Server};

/// A shorter run of `x` in a text is not written as its length.
const RUN_MIN: usize = 10;
/// Longer than any test.
const HOLD: Duration = Duration::from_hours(1);

/// Asks everything in a table. Answers which kinds of refusal each operation gave.
pub(crate) fn check(table: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/session")
        .join(table);
    let cases = std::fs::read_to_string(&path).unwrap();
    let mut asked = Asked::new();
    let mut found = String::new();
    let mut kinds = BTreeMap::<String, BTreeSet<String>>::new();
    let mut lines = cases.lines().peekable();
    while let Some(line) = lines.next() {
        found += line;
        found.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(step) = line.strip_prefix("! ") {
            asked = asked.step(step);
            continue;
        }
        let outcome = asked.case(line);
        let operation = line.split(' ').next().unwrap().to_owned();
        let kind = outcome.split(' ').next().unwrap().to_owned();
        kinds.entry(operation).or_default().insert(kind);
        let is_outcome = |line: &&str| line.starts_with("  ") || line.starts_with("~ ");
        let expected = lines.next_if(is_outcome);
        let mark = expected.map_or("  ", |line| &line[..2]);
        writeln!(found, "{mark}{outcome}").unwrap();
    }
    if found == cases {
        return kinds;
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&path, found).unwrap();
        return kinds;
    }
    for (expected, found) in cases.lines().zip(found.lines()) {
        assert_eq!(found, expected, "see the head of this module");
    }
    panic!("the cases of {table} are not complete");
}

/// A server, and what it told that later cases need.
struct Asked {
    server: Server,
    client: Client,
    names: BTreeMap<String, String>,
}

impl Asked {
    fn new() -> Self {
        let server = Server::start(1, Duration::ZERO);
        Self {
            client: server.connect(),
            server,
            names: BTreeMap::new(),
        }
    }

    fn step(mut self, step: &str) -> Self {
        if step == "hold" {
            drop(self.client);
            let server = self.server.restart(HOLD);
            return Self {
                client: server.connect(),
                server,
                names: self.names,
            };
        }
        if let Some(stream) = step.strip_prefix("wait ") {
            self.client.wait_active(stream);
            return self;
        }
        let (name, call) = match step.split_once(" = ") {
            Some((name, call)) => (Some(name), call),
            None => (None, step),
        };
        let (operation, members) = call.split_once(' ').unwrap();
        let members = serde_json::from_str(&self.expand(members)).unwrap();
        let answer = self.client.call(operation, members);
        if let Some(name) = name {
            let places = ["/Consumer/ConsumerARN", "/ShardIterator", "/NextToken"];
            let token = places.iter().find_map(|place| answer.pointer(place));
            let token = token.and_then(Value::as_str).unwrap().to_owned();
            self.names.insert(name.to_owned(), token);
        }
        self
    }

    /// The kind and text of the refusal, as a table has it.
    fn case(&mut self, case: &str) -> String {
        let (operation, members) = case.split_once(' ').unwrap();
        let body = self.expand(members);
        let reply = self.client.exchange(&Client::request(operation, &body));
        let json = outcome(&reply, |bytes| serde_json::from_slice(bytes).unwrap());
        // JSON that is no value has no counterpart in CBOR.
        if let Ok(value) = serde_json::from_str::<Value>(&body) {
            let reply = cbor::call(&mut self.client, operation, &value);
            let cbor = outcome(&reply, cbor::decode);
            assert_eq!(cbor, json, "{case}, in CBOR and in JSON");
        }
        shorten(&self.name_again(members, json))
    }

    /// Writes the texts out that a case only names.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').unwrap();
            out += before;
            match name.parse() {
                Ok(count) => out += &"x".repeat(count),
                Err(_) => out += &self.names[name],
            }
            rest = after;
        }
        out + rest
    }

    /// The other way, for the names that the case speaks of.
    fn name_again(&self, members: &str, mut text: String) -> String {
        for (name, token) in &self.names {
            if !members.contains(&format!("<{name}>")) {
                continue;
            }
            text = text.replace(token, &format!("<{name}>"));
            if let Some((_, second)) = token.rsplit_once(':') {
                text = text.replace(second, &format!("<{name}'s second>"));
            }
        }
        text
    }
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

/// Writes long runs of `x` as their length.
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
