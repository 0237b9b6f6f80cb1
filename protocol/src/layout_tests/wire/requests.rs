//! Control parts of requests.

use super::super::table::{Part, encoded, part, plain};
use super::{name, name_parts};
use crate::model::{
    Count, HashKey, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamQuota, Timestamp,
};
use crate::wire::frame::{self, Correlation};
use crate::wire::request::{
    CreateRequest, ListRequest, ReadFrom, ReadRequest, Request, ReshardRequest, SetRequest,
    ShardChange,
};

fn request(request: &Request<'_>, parts: &[Part]) -> String {
    let mut bytes = Vec::new();
    request.encode(Correlation(1), &mut bytes);
    let (frame, _) = frame::decode(&bytes)
        .expect("a frame")
        .expect("a whole one");
    encoded(frame.control, parts)
}

pub(super) fn append() -> String {
    let asked = Request::Append {
        count: 2,
        batches: b"",
    };
    request(
        &asked,
        &[part("batches in the bulk part", 2_u32.to_le_bytes())],
    )
}

pub(super) fn read() -> String {
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

pub(super) fn read_from() -> String {
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

pub(super) fn named() -> String {
    let asked = request(&Request::Describe(name()), &name_parts());
    assert_eq!(asked, request(&Request::Delete(name()), &name_parts()));
    asked
}

pub(super) fn create() -> String {
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

pub(super) fn list() -> String {
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

pub(super) fn set() -> String {
    let asked = Request::Set(SetRequest {
        name: name(),
        mode: Some(StreamMode::Provisioned),
        retention_ms: None,
        retain_bytes: Some(51),
        quota: Some(StreamQuota::Aws),
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
        part("quota; 0: unchanged", [StreamQuota::Aws.code()]),
    ];
    request(&asked, &parts)
}

fn change(change: ShardChange) -> Request<'static> {
    Request::Reshard(ReshardRequest {
        name: name(),
        change,
    })
}

pub(super) fn reshard() -> String {
    let split = change(ShardChange::Split {
        shard: ShardIndex(91),
        at: HashKey::new(92),
    });
    let [length, text] = name_parts();
    let parts = [
        length,
        text,
        part("what becomes of the shards", [1]),
        part(
            "split, merge: the shard; count: open shards afterwards",
            91_u32.to_le_bytes(),
        ),
        part("merge: its neighbour; 0 otherwise", 0_u32.to_le_bytes()),
        part(
            "split: first hash key of the upper child; 0 otherwise",
            92_u128.to_le_bytes(),
        ),
    ];
    request(&split, &parts)
}

pub(super) fn shard_changes() -> String {
    let row = |(asked, meaning): (ShardChange, &str)| {
        let mut bytes = Vec::new();
        change(asked).encode(Correlation(1), &mut bytes);
        let code = bytes[frame::WIRE_HEADER_BYTES + 2 + name().as_str().len()];
        vec![code.to_string(), meaning.to_owned()]
    };
    let shard = ShardIndex(0);
    let all = [
        (
            ShardChange::Split {
                shard,
                at: HashKey::new(0),
            },
            "split: the shard becomes two",
        ),
        (
            ShardChange::Merge {
                shard,
                adjacent: shard,
            },
            "merge: the shard and its neighbour become one",
        ),
        (
            ShardChange::Count { target: 1 },
            "count: the hash space is divided evenly",
        ),
    ];
    plain(&["code", "what becomes of the shards"], &all.map(row))
}
