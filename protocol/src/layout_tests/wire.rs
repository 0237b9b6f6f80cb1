//! What `docs/wire.md` says of hellos, frames, requests and answers.

mod answers;
mod requests;

use super::table::{Part, compare, encoded, fixed, part, plain, varying};
use crate::limits;
use crate::model::{StreamMode, StreamName, StreamQuota, StreamStatus};
use crate::wire::error::ErrorCode;
use crate::wire::frame::field;
use crate::wire::hello::{ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use crate::wire::request::kind;

fn name() -> StreamName {
    StreamName::new("logs").expect("it is a name")
}

fn name_parts() -> [Part; 2] {
    [
        part("bytes of the name", 4_u16.to_le_bytes()),
        varying("stream name", "n", b"logs"),
    ]
}

fn client_hello() -> String {
    let hello = ClientHello {
        features: 5,
        authentication: [6; 32],
        ..ClientHello::new(7)
    };
    let bytes = hello.encode();
    let parts = [
        part("magic `WEIR`", b"WEIR"),
        part("protocol version, 1", 1_u16.to_le_bytes()),
        part("zero", [0; 2]),
        part("feature bits; none exist yet", 5_u64.to_le_bytes()),
        part("wanted core; all ones: any", 7_u32.to_le_bytes()),
        part("zero", [0; 4]),
        part("room for authentication; zero while there is none", [6; 32]),
        part("zero", [0; 4]),
        part("CRC-32C of the bytes above", &bytes[HELLO_BYTES - 4..]),
    ];
    encoded(&bytes, &parts)
}

fn server_hello(status: HelloStatus) -> [u8; HELLO_BYTES] {
    ServerHello {
        version: 1,
        status,
        features: 5,
        core: 7,
        cores: 8,
        frame_bytes_max: 9,
        in_flight_bytes_max: 10,
    }
    .encode()
}

fn server_hello_table() -> String {
    let bytes = server_hello(HelloStatus::Busy);
    let parts = [
        part("magic `WEIR`", b"WEIR"),
        part("protocol version the server speaks", 1_u16.to_le_bytes()),
        part("status", 3_u16.to_le_bytes()),
        part("feature bits both sides use", 5_u64.to_le_bytes()),
        part("core this connection is on", 7_u32.to_le_bytes()),
        part("cores the server has", 8_u32.to_le_bytes()),
        part("bytes of the longest frame it takes", 9_u32.to_le_bytes()),
        part(
            "bytes of requests it takes before it stops reading",
            10_u32.to_le_bytes(),
        ),
        part("zero", [0; 28]),
        part("CRC-32C of the bytes above", &bytes[HELLO_BYTES - 4..]),
    ];
    encoded(&bytes, &parts)
}

fn hello_statuses() -> String {
    let row = |status: HelloStatus| {
        let meaning = match status {
            HelloStatus::Welcome => "requests may follow",
            HelloStatus::UnknownVersion => "the version is not spoken here; the answer's is",
            HelloStatus::UnknownCore => "no such core; the answer says how many there are",
            HelloStatus::Busy => "stopping or full; try again later",
        };
        let code = crate::bytes::u16_at(&server_hello(status), 6);
        vec![code.to_string(), format!("{status:?}"), meaning.to_owned()]
    };
    let all = [
        HelloStatus::Welcome,
        HelloStatus::UnknownVersion,
        HelloStatus::UnknownCore,
        HelloStatus::Busy,
    ];
    plain(&["status", "name", "meaning"], &all.map(row))
}

fn header() -> String {
    let fields = [
        (
            field::FRAME_BYTES,
            "bytes of the frame, this header included",
        ),
        (field::KIND, "kind"),
        (field::FLAGS, "flags; none exist, others are refused"),
        (
            field::CORRELATION,
            "correlation: chosen by the client, repeated in the answer",
        ),
        (
            field::CONTROL_BYTES,
            "bytes of the control part; the bulk part is the rest",
        ),
        (
            field::CRC,
            "CRC-32C of the header bytes above and the control part",
        ),
    ];
    fixed(&fields, field::END)
}

fn kinds() -> String {
    let rows = [
        (
            kind::APPEND,
            "append",
            "batches, one after the other",
            "nothing",
        ),
        (
            kind::READ,
            "read",
            "nothing",
            "batches, one after the other",
        ),
        (kind::DESCRIBE, "describe", "nothing", "nothing"),
        (kind::CREATE, "create", "nothing", "nothing"),
        (kind::DELETE, "delete", "nothing", "nothing"),
        (kind::LIST, "list", "nothing", "nothing"),
        (kind::SET, "set", "nothing", "nothing"),
        (kind::PING, "ping", "nothing", "nothing"),
        (kind::RESHARD, "reshard", "nothing", "nothing"),
    ];
    let mut rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(request, name, asked, answered)| {
            let answer = request | kind::ANSWER;
            vec![
                (*name).to_owned(),
                format!("`{request:#06x}`"),
                format!("`{answer:#06x}`"),
                (*asked).to_owned(),
                (*answered).to_owned(),
            ]
        })
        .collect();
    rows.push(vec![
        "error".into(),
        "none".into(),
        format!("`{:#06x}`", kind::ERROR),
        "none".into(),
        "nothing".into(),
    ]);
    let head = [
        "name",
        "request",
        "answer",
        "bulk of the request",
        "bulk of the answer",
    ];
    plain(&head, &rows)
}

fn codes() -> String {
    let meaning = |code| match code {
        ErrorCode::Malformed => "the bytes of the request make no sense",
        ErrorCode::UnknownRequest => "a kind this server does not know",
        ErrorCode::InvalidArgument => "a value outside its bounds",
        ErrorCode::StreamNotFound => "no stream of that name or id",
        ErrorCode::StreamExists => "the name is taken",
        ErrorCode::StreamNotActive => "the stream is being created or deleted",
        ErrorCode::ShardNotFound => "no shard of that index",
        ErrorCode::ShardClosed => "a split or merge closed the shard: ask for the new map",
        ErrorCode::NotOwner => "another core owns the shard: connect to that one",
        ErrorCode::InvalidBatch => "the batch does not decode, or breaks a limit",
        ErrorCode::Throttled => "the shard's quota is used up for now",
        ErrorCode::Overloaded => "no memory left for this now",
        ErrorCode::DiskFull => "no room on the disk",
        ErrorCode::LogFailed => "the log failed and reopens; the batch may or may not be stored",
        ErrorCode::ReadOnly => "the log takes no writes until an operator looks at it",
        ErrorCode::Damaged => "bytes of the shard are damaged on the disk",
        ErrorCode::Stopping => "the server is stopping",
        ErrorCode::Exhausted => "the shard's numbers are used up",
        ErrorCode::Internal => "something that should not happen did",
    };
    let row = |code: ErrorCode| {
        let retry = if code.is_retryable() { "yes" } else { "no" };
        vec![
            code.code().to_string(),
            format!("`{code:?}`"),
            retry.to_owned(),
            meaning(code).to_owned(),
        ]
    };
    plain(
        &["code", "name", "retry", "meaning"],
        &ErrorCode::ALL.map(row),
    )
}

fn words() -> String {
    let modes = [StreamMode::Provisioned, StreamMode::OnDemand]
        .map(|mode| vec!["mode".into(), mode.code().to_string(), format!("{mode:?}")]);
    let statuses = [
        StreamStatus::Creating,
        StreamStatus::Active,
        StreamStatus::Updating,
        StreamStatus::Deleting,
    ]
    .map(|status| {
        vec![
            "status".into(),
            status.code().to_string(),
            format!("{status:?}"),
        ]
    });
    let quotas = [
        (StreamQuota::Server, "as the server is told"),
        (StreamQuota::Mode, "metered if the stream is provisioned"),
        (StreamQuota::Aws, "metered"),
        (StreamQuota::Off, "not metered"),
    ]
    .map(|(quota, meaning)| vec!["quota".into(), quota.code().to_string(), meaning.into()]);
    let rows: Vec<Vec<String>> = modes.into_iter().chain(statuses).chain(quotas).collect();
    plain(&["field", "code", "meaning"], &rows)
}

fn caps() -> String {
    let rows = [
        ("bytes of a frame", u64::from(limits::WIRE_FRAME_BYTES_MAX)),
        (
            "bytes of a control part",
            u64::from(limits::WIRE_CONTROL_BYTES_MAX),
        ),
        ("batches of an append", u64::from(limits::FRAME_BATCHES_MAX)),
        (
            "bytes of requests in flight on one connection",
            u64::from(limits::CONNECTION_IN_FLIGHT_BYTES_MAX),
        ),
        (
            "requests in flight on one connection",
            limits::CONNECTION_REQUESTS_MAX as u64,
        ),
        (
            "ms that a read waits; more is taken as this",
            u64::from(limits::READ_WAIT_MS_MAX),
        ),
        (
            "names of a list; more is taken as this",
            u64::from(limits::LIST_NAMES_MAX),
        ),
        (
            "bytes of a stream name",
            limits::STREAM_NAME_BYTES_MAX as u64,
        ),
        ("shards of a stream", u64::from(limits::STREAM_SHARDS_MAX)),
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, value)| vec![(*name).to_owned(), value.to_string()])
        .collect();
    plain(&["what", "at most"], &rows)
}

#[test]
fn the_wire_document_says_what_the_code_does() {
    let tables = [
        ("client-hello", client_hello()),
        ("server-hello", server_hello_table()),
        ("hello-status", hello_statuses()),
        ("frame-header", header()),
        ("kinds", kinds()),
        ("append", requests::append()),
        ("appended", answers::appended()),
        ("refused", answers::refused()),
        ("read", requests::read()),
        ("read-from", requests::read_from()),
        ("records", answers::records()),
        ("named", requests::named()),
        ("create", requests::create()),
        ("set", requests::set()),
        ("reshard", requests::reshard()),
        ("shard-changes", requests::shard_changes()),
        ("stream", answers::stream()),
        ("list", requests::list()),
        ("streams", answers::streams()),
        ("error", answers::error()),
        ("codes", codes()),
        ("words", words()),
        ("caps", caps()),
    ];
    compare("wire.md", &tables);
}
