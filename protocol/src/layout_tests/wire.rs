//! What `docs/wire.md` says of hellos, frames, requests and answers.

use super::table::{Part, compare, encoded, fixed, part, plain, varying};
use crate::limits;
use crate::model::{
    Count, HashKey, HashKeyRange, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamName,
    StreamStatus, Timestamp,
};
use crate::wire::error::{ErrorCode, WireError};
use crate::wire::frame::{self, Correlation, field};
use crate::wire::hello::{ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use crate::wire::request::{
    CreateRequest, ListRequest, ReadFrom, ReadRequest, Request, SetRequest, kind,
};
use crate::wire::response::{
    AppendOutcome, ReadAnswer, Response, ShardDescription, StreamDescription, StreamSummary,
};

fn name() -> StreamName {
    StreamName::new("logs").expect("it is a name")
}

fn name_parts() -> [Part; 2] {
    [
        part("bytes of the name", 4_u16.to_le_bytes()),
        varying("stream name", "n", b"logs"),
    ]
}

fn request(request: &Request<'_>, parts: &[Part]) -> String {
    let mut bytes = Vec::new();
    request.encode(Correlation(1), &mut bytes);
    let (frame, _) = frame::decode(&bytes)
        .expect("a frame")
        .expect("a whole one");
    encoded(frame.control, parts)
}

fn answer(response: &Response<'_>, parts: &[Part]) -> String {
    encoded(&control_of(response), parts)
}

fn control_of(response: &Response<'_>) -> Vec<u8> {
    let asked = match response {
        Response::Appended(_) => kind::APPEND,
        Response::Records(_) => kind::READ,
        Response::Streams { .. } => kind::LIST,
        _ => kind::DESCRIBE,
    };
    let mut bytes = Vec::new();
    response.encode(asked, Correlation(1), &mut bytes);
    let (frame, _) = frame::decode(&bytes)
        .expect("a frame")
        .expect("a whole one");
    frame.control.to_vec()
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

fn append() -> String {
    let asked = Request::Append {
        count: 2,
        batches: b"",
    };
    request(
        &asked,
        &[part("batches in the bulk part", 2_u32.to_le_bytes())],
    )
}

fn read() -> String {
    let asked = Request::Read(ReadRequest {
        shard: ShardId::new(StreamId::new(21), ShardIndex(22)),
        from: ReadFrom::Offset(Offset::ZERO + Count(23)),
        bytes_max: 24,
        wait_ms: 25,
    });
    let parts = [
        part("stream id", 21_u64.to_le_bytes()),
        part("shard index", 22_u32.to_le_bytes()),
        part("where to begin", [1]),
        part(
            "the offset or time to begin at, 0 otherwise",
            23_u64.to_le_bytes(),
        ),
        part("bytes of batches wanted at most", 24_u32.to_le_bytes()),
        part("ms to wait for the first record", 25_u32.to_le_bytes()),
    ];
    request(&asked, &parts)
}

fn read_from() -> String {
    let row = |(from, meaning): (ReadFrom, &str)| {
        let asked = Request::Read(ReadRequest {
            shard: ShardId::new(StreamId::new(1), ShardIndex(2)),
            from,
            bytes_max: 0,
            wait_ms: 0,
        });
        let mut bytes = Vec::new();
        asked.encode(Correlation(1), &mut bytes);
        let code = bytes[frame::WIRE_HEADER_BYTES + 12];
        vec![code.to_string(), meaning.to_owned()]
    };
    let all = [
        (
            ReadFrom::Offset(Offset::ZERO),
            "at this offset, or the next one kept",
        ),
        (ReadFrom::TrimHorizon, "at the oldest record kept"),
        (
            ReadFrom::Latest,
            "after the newest durable record, as of this request",
        ),
        (
            ReadFrom::Time(Timestamp::ZERO),
            "at the first record that arrived at or after this time, ms since 1970",
        ),
    ];
    plain(&["code", "where a read begins"], &all.map(row))
}

fn named() -> String {
    let asked = request(&Request::Describe(name()), &name_parts());
    assert_eq!(asked, request(&Request::Delete(name()), &name_parts()));
    asked
}

fn create() -> String {
    let asked = Request::Create(CreateRequest {
        name: name(),
        shards: 31,
        mode: StreamMode::OnDemand,
        retention_ms: Some(32),
        retain_bytes: None,
    });
    let [length, text] = name_parts();
    let parts = [
        length,
        text,
        part("shards", 31_u32.to_le_bytes()),
        part("mode", [StreamMode::OnDemand.code()]),
        part(
            "retention in ms; all ones: the default",
            32_u64.to_le_bytes(),
        ),
        part(
            "byte cap of the stream; all ones: none",
            u64::MAX.to_le_bytes(),
        ),
    ];
    request(&asked, &parts)
}

fn list() -> String {
    let asked = Request::List(ListRequest {
        after: Some(name()),
        limit: 41,
    });
    let [length, text] = name_parts();
    let parts = [
        part("names wanted at most", 41_u32.to_le_bytes()),
        part(
            "0: from the first, and nothing follows; 1: after the name that follows",
            [1],
        ),
        length,
        text,
    ];
    request(&asked, &parts)
}

fn set() -> String {
    let asked = Request::Set(SetRequest {
        name: name(),
        mode: Some(StreamMode::Provisioned),
        retention_ms: None,
        retain_bytes: Some(51),
    });
    let [length, text] = name_parts();
    let parts = [
        length,
        text,
        part("mode; 0: unchanged", [StreamMode::Provisioned.code()]),
        part(
            "retention in ms; all ones: unchanged",
            u64::MAX.to_le_bytes(),
        ),
        part(
            "byte cap; all ones: unchanged; 0: none",
            51_u64.to_le_bytes(),
        ),
    ];
    request(&asked, &parts)
}

fn appended() -> String {
    let stored = AppendOutcome::Stored {
        first_offset: Offset::ZERO + Count(61),
        arrival: Timestamp::from_millis(62),
    };
    let parts = [
        part(
            "outcomes, one for each batch in the order sent",
            1_u32.to_le_bytes(),
        ),
        part("each: 0, stored", 0_u16.to_le_bytes()),
        part("zero", [0; 2]),
        part("zero", [0; 4]),
        part("offset of the batch's first record", 61_u64.to_le_bytes()),
        part("arrival time, ms since 1970", 62_u64.to_le_bytes()),
    ];
    answer(&Response::Appended(vec![stored]), &parts)
}

fn refused() -> String {
    let refused = AppendOutcome::Refused {
        code: ErrorCode::NotOwner,
        owner: 63,
        map_version: 64,
    };
    let bytes = control_of(&Response::Appended(vec![refused]));
    let parts = [
        part("each: error code", ErrorCode::NotOwner.code().to_le_bytes()),
        part("zero", [0; 2]),
        part("`NotOwner`: the core to connect to", 63_u32.to_le_bytes()),
        part(
            "`NotOwner`, `ShardClosed`: version of the shard map",
            64_u64.to_le_bytes(),
        ),
        part("zero", [0; 8]),
    ];
    encoded(&bytes[4..], &parts)
}

fn records() -> String {
    let found = ReadAnswer {
        next: Offset::ZERO + Count(71),
        tip: Offset::ZERO + Count(72),
        behind_ms: 73,
        at_end: true,
        count: 0,
        batches: b"",
    };
    let parts = [
        part("offset where the next read begins", 71_u64.to_le_bytes()),
        part("one past the newest durable record", 72_u64.to_le_bytes()),
        part(
            "age of the next unread record, ms; 0 at the tip",
            73_u64.to_le_bytes(),
        ),
        part("1: the shard is closed and this was its end", [1]),
        part("batches in the bulk part", 0_u32.to_le_bytes()),
    ];
    answer(&Response::Records(found), &parts)
}

fn stream() -> String {
    let shard = ShardDescription {
        index: ShardIndex(81),
        core: 82,
        range: HashKeyRange {
            start: HashKey::new(83),
            end: HashKey::new(84),
        },
        created: Timestamp::from_millis(85),
        closed: true,
    };
    let described = StreamDescription {
        name: name(),
        id: StreamId::new(86),
        status: StreamStatus::Active,
        mode: StreamMode::OnDemand,
        retention_ms: 87,
        retain_bytes: 88,
        created: Timestamp::from_millis(89),
        map_version: 90,
        cores: 91,
        shards: vec![shard],
    };
    let [length, text] = name_parts();
    let parts = [
        length,
        text,
        part("stream id", 86_u64.to_le_bytes()),
        part("status", [StreamStatus::Active.code()]),
        part("mode", [StreamMode::OnDemand.code()]),
        part("retention in ms", 87_u64.to_le_bytes()),
        part("byte cap; 0: none", 88_u64.to_le_bytes()),
        part("created, ms since 1970", 89_u64.to_le_bytes()),
        part("version of the shard map", 90_u32.to_le_bytes()),
        part("cores the server has", 91_u32.to_le_bytes()),
        part("shards, in index order", 1_u32.to_le_bytes()),
        part("each: index", 81_u32.to_le_bytes()),
        part("core that owns it", 82_u32.to_le_bytes()),
        part("first hash key", 83_u128.to_le_bytes()),
        part("last hash key", 84_u128.to_le_bytes()),
        part("created, ms since 1970", 85_u64.to_le_bytes()),
        part("1: a split or merge closed it", [1]),
    ];
    answer(&Response::Stream(described), &parts)
}

fn streams() -> String {
    let summary = StreamSummary {
        name: name(),
        id: StreamId::new(101),
        status: StreamStatus::Creating,
        mode: StreamMode::Provisioned,
        shards: 102,
        retention_ms: 103,
    };
    let found = Response::Streams {
        streams: vec![summary],
        more: true,
    };
    let parts = [
        part("1: more follow", [1]),
        part("streams, in name order", 1_u32.to_le_bytes()),
        part("each: bytes of the name", 4_u16.to_le_bytes()),
        varying("stream name", "n", b"logs"),
        part("stream id", 101_u64.to_le_bytes()),
        part("status", [StreamStatus::Creating.code()]),
        part("mode", [StreamMode::Provisioned.code()]),
        part("open shards", 102_u32.to_le_bytes()),
        part("retention in ms", 103_u64.to_le_bytes()),
    ];
    answer(&found, &parts)
}

fn error() -> String {
    let refusal = WireError {
        owner: 111,
        map_version: 112,
        ..WireError::new(ErrorCode::NotOwner, "why")
    };
    let parts = [
        part("error code", ErrorCode::NotOwner.code().to_le_bytes()),
        part("1: the same request may succeed later", [1]),
        part("zero", [0]),
        part("`NotOwner`: the core to connect to", 111_u32.to_le_bytes()),
        part(
            "`NotOwner`, `ShardClosed`: version of the shard map",
            112_u32.to_le_bytes(),
        ),
        part("bytes of the text", 3_u16.to_le_bytes()),
        varying("a sentence for a person, UTF-8", "n", b"why"),
    ];
    answer(&Response::Error(refusal), &parts)
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
    let rows: Vec<Vec<String>> = modes.into_iter().chain(statuses).collect();
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
        ("append", append()),
        ("appended", appended()),
        ("refused", refused()),
        ("read", read()),
        ("read-from", read_from()),
        ("records", records()),
        ("named", named()),
        ("create", create()),
        ("set", set()),
        ("stream", stream()),
        ("list", list()),
        ("streams", streams()),
        ("error", error()),
        ("codes", codes()),
        ("words", words()),
        ("caps", caps()),
    ];
    compare("wire.md", &tables);
}
