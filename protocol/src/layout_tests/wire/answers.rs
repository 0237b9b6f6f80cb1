//! Control parts of answers.

use super::super::table::{Part, encoded, part, varying};
use super::{name, name_parts};
use crate::model::{
    Count, HashKey, HashKeyRange, Offset, ShardIndex, StreamId, StreamMode, StreamQuota,
    StreamStatus, Timestamp,
};
use crate::wire::error::{ErrorCode, WireError};
use crate::wire::frame::{self, Correlation};
use crate::wire::request::kind;
use crate::wire::response::{
    AppendOutcome, ReadAnswer, Response, ShardDescription, StreamDescription, StreamSummary,
};

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

pub(super) fn appended() -> String {
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

pub(super) fn refused() -> String {
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

pub(super) fn records() -> String {
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

pub(super) fn stream() -> String {
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
        quota: StreamQuota::Server,
        record_bytes_max: 92,
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
        part("quota", [StreamQuota::Server.code()]),
        part(
            "longest record in bytes, data plus partition key",
            92_u32.to_le_bytes(),
        ),
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

pub(super) fn streams() -> String {
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

pub(super) fn error() -> String {
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
