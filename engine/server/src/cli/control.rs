//! `weir stream create`, `ls`, `describe`, `set` and `delete`.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Value, json};
use weir_protocol::model::{SequenceNumber, StreamMode, StreamQuota};
use weir_protocol::wire::request::{CreateRequest, Request, SetRequest};
use weir_protocol::wire::response::{StreamDescription, StreamSummary};

use super::arguments::{Create, Named, Output, OutputArguments, Set};
use super::client::Client;
use super::failure::Failure;
use crate::units::{calendar, show_count, show_millis, show_size};

pub(crate) fn create(arguments: &Create) -> Result<(), Failure> {
    let request = Request::Create(CreateRequest {
        name: arguments.name.clone(),
        shards: arguments.shards,
        mode: arguments.mode.into(),
        retention_ms: arguments.retention,
        retain_bytes: arguments.retain_bytes,
    });
    let mut client = Client::connect(&arguments.show.server.server)?;
    client.stream(&request)?;
    let stream = client.describe_active(&arguments.name)?;
    match arguments.show.output {
        Output::Json => print(&format!("{}\n", description_json(&stream))),
        Output::Text => print(&format!(
            "created {} with {}, {}, kept {}\n",
            stream.name,
            count(stream.shards.len(), "shard"),
            mode_name(stream.mode),
            kept(&stream)
        )),
    }
}

pub(crate) fn set(arguments: &Set) -> Result<(), Failure> {
    let is_nothing = arguments.mode.is_none()
        && arguments.retention.is_none()
        && arguments.retain_bytes.is_none()
        && arguments.quota.is_none();
    if is_nothing {
        return Err(Failure::usage(
            "nothing to set: give --mode, --retention, --retain-bytes or --quota",
        ));
    }
    let request = Request::Set(SetRequest {
        name: arguments.name.clone(),
        mode: arguments.mode.map(Into::into),
        retention_ms: arguments.retention,
        retain_bytes: arguments.retain_bytes,
        quota: arguments.quota.map(Into::into),
    });
    let stream = Client::connect(&arguments.show.server.server)?.stream(&request)?;
    show(&stream, &arguments.show)
}

pub(crate) fn describe(arguments: &Named) -> Result<(), Failure> {
    let stream = Client::connect(&arguments.show.server.server)?.describe(&arguments.name)?;
    show(&stream, &arguments.show)
}

pub(crate) fn delete(arguments: &Named) -> Result<(), Failure> {
    Client::connect(&arguments.show.server.server)?.delete(&arguments.name)?;
    let name = &arguments.name;
    match arguments.show.output {
        Output::Json => print(&format!("{}\n", json!({ "deleted": name.as_str() }))),
        Output::Text => print(&format!("deleted {name}\n")),
    }
}

pub(crate) fn list(arguments: &OutputArguments) -> Result<(), Failure> {
    let streams = Client::connect(&arguments.server.server)?.list()?;
    match arguments.output {
        Output::Json => {
            let streams: Vec<_> = streams.iter().map(summary_json).collect();
            print(&format!("{}\n", json!({ "streams": streams })))
        }
        Output::Text if streams.is_empty() => {
            eprintln!("no streams: make one with \"weir stream create NAME --shards 4\"");
            Ok(())
        }
        Output::Text => print(&list_text(&streams)),
    }
}

/// Prints a stream and its shards.
pub(super) fn show(stream: &StreamDescription, arguments: &OutputArguments) -> Result<(), Failure> {
    match arguments.output {
        Output::Json => print(&format!("{}\n", description_json(stream))),
        Output::Text => print(&description_text(stream)),
    }
}

/// Writes to stdout; a reader that went away is the end of the work, not a failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::could_not_run(
            format!("cannot write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

fn mode_name(mode: StreamMode) -> &'static str {
    match mode {
        StreamMode::Provisioned => "provisioned",
        StreamMode::OnDemand => "on-demand",
    }
}

fn quota_words(quota: StreamQuota) -> &'static str {
    match quota {
        StreamQuota::Server => "as the server is told",
        quota => quota.word(),
    }
}

/// Open shards, and closed ones if there are any: their records are kept until retention has passed.
fn shard_counts(stream: &StreamDescription) -> String {
    let closed = stream.shards.iter().filter(|shard| shard.closed).count();
    let open = show_count((stream.shards.len() - closed) as u64);
    match closed {
        0 => open,
        closed => format!("{open} open, {} closed", show_count(closed as u64)),
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(number as u64))
}

fn kept(stream: &StreamDescription) -> String {
    let time = show_millis(stream.retention_ms);
    match stream.retain_bytes {
        0 => time,
        bytes => format!("{time} and at most {}", show_size(bytes)),
    }
}

fn list_text(streams: &[StreamSummary]) -> String {
    let width = streams.iter().map(|s| s.name.as_str().len()).max();
    let width = width.unwrap_or(0).max("NAME".len());
    let mut out = format!(
        "{:width$}  {:9} {:12} {:>6}  KEPT\n",
        "NAME", "STATUS", "MODE", "SHARDS"
    );
    for stream in streams {
        let _ = writeln!(
            out,
            "{:width$}  {:9} {:12} {:>6}  {}",
            stream.name.as_str(),
            stream.status.aws_name(),
            mode_name(stream.mode),
            stream.shards,
            show_millis(stream.retention_ms)
        );
    }
    out
}

fn description_text(stream: &StreamDescription) -> String {
    let mut out = format!(
        "name     {}\nstatus   {}\nmode     {}\nquota    {}\nkept     {}\nrecords  up to {}\n\
         created  {}\nshards   {}\n\n",
        stream.name,
        stream.status.aws_name(),
        mode_name(stream.mode),
        quota_words(stream.quota),
        kept(stream),
        show_size(u64::from(stream.record_bytes_max)),
        calendar(stream.created),
        shard_counts(stream),
    );
    let _ = writeln!(
        out,
        "{:20}  {:>4}  {:6}  HASH KEYS",
        "SHARD", "CORE", "STATE"
    );
    for shard in &stream.shards {
        let state = if shard.closed { "closed" } else { "open" };
        let _ = writeln!(
            out,
            "{:20}  {:>4}  {state:6}  {} - {}",
            shard.index.to_string(),
            shard.core,
            shard.range.start,
            shard.range.end
        );
    }
    out
}

fn summary_json(stream: &StreamSummary) -> Value {
    json!({
        "name": stream.name.as_str(),
        "status": stream.status.aws_name(),
        "mode": stream.mode.aws_name(),
        "shards": stream.shards,
        "retention_ms": stream.retention_ms,
    })
}

fn description_json(stream: &StreamDescription) -> Value {
    let shards: Vec<_> = stream
        .shards
        .iter()
        .map(|shard| {
            // 128-bit numbers are strings, as at AWS: no JSON reader keeps their digits.
            json!({
                "shard": shard.index.to_string(),
                "core": shard.core,
                "closed": shard.closed,
                "hash_key_start": shard.range.start.to_string(),
                "hash_key_end": shard.range.end.to_string(),
                "starting_sequence_number":
                    SequenceNumber::of_shard_start(shard.index, shard.created).to_string(),
            })
        })
        .collect();
    json!({
        "name": stream.name.as_str(),
        "id": stream.id.get(),
        "status": stream.status.aws_name(),
        "mode": stream.mode.aws_name(),
        "retention_ms": stream.retention_ms,
        "quota": stream.quota.word(),
        "record_bytes_max": stream.record_bytes_max,
        "retain_bytes": (stream.retain_bytes > 0).then_some(stream.retain_bytes),
        "created": calendar(stream.created),
        "map_version": stream.map_version,
        "shards": shards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::{
        HashKeyRange, ShardIndex, StreamId, StreamName, StreamStatus, Timestamp,
    };
    use weir_protocol::wire::response::ShardDescription;

    fn stream() -> StreamDescription {
        StreamDescription {
            name: StreamName::new("logs").unwrap(),
            id: StreamId::new(1),
            status: StreamStatus::Active,
            mode: StreamMode::OnDemand,
            retention_ms: 86_400_000,
            retain_bytes: 1 << 30,
            quota: StreamQuota::Off,
            record_bytes_max: 1 << 20,
            created: Timestamp::from_millis(1_763_900_000_000),
            map_version: 1,
            cores: 1,
            shards: HashKeyRange::divide(2)
                .enumerate()
                .map(|(i, range)| ShardDescription {
                    index: ShardIndex(i as u32),
                    core: 0,
                    range,
                    created: Timestamp::from_millis(1_763_900_000_000),
                    closed: false,
                })
                .collect(),
        }
    }

    #[test]
    fn a_description_names_what_a_user_asks_for() {
        let text = description_text(&stream());
        for wanted in [
            "logs",
            "ACTIVE",
            "on-demand",
            "24h and at most 1GiB",
            "quota    off",
            "up to 1MiB",
            "shardId-000000000001",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        let json = description_json(&stream());
        assert_eq!(json["shards"][1]["shard"], "shardId-000000000001");
        assert_eq!(json["shards"][0]["hash_key_start"], "0");
        assert_eq!(json["retain_bytes"], 1 << 30);
        assert_eq!(json["quota"], "off");
    }
}
