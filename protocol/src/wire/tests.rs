//! Requests and answers survive their bytes, and any bytes are a value or an error.

use proptest::prelude::*;

use crate::model::{
    Count, HashKey, HashKeyRange, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamName,
    StreamQuota, StreamStatus, Timestamp,
};
use crate::wire::error::{ErrorCode, WireError};
use crate::wire::frame::{self, Correlation, WireFrame};
use crate::wire::request::{
    CreateRequest, ListRequest, ReadFrom, ReadRequest, Request, ReshardRequest, SetRequest,
    ShardChange, kind,
};
use crate::wire::response::{
    AppendOutcome, ReadAnswer, Response, ShardDescription, StreamDescription, StreamSummary,
};

fn stream_name() -> StreamName {
    StreamName::new("logs").unwrap()
}

#[test]
fn every_request_survives_its_bytes() {
    let shard = ShardId::new(StreamId::new(3), ShardIndex(4));
    let read = |from| {
        Request::Read(ReadRequest {
            shard,
            from,
            bytes_max: 9,
            wait_ms: 8,
        })
    };
    let reshard = |change| {
        let name = stream_name();
        Request::Reshard(ReshardRequest { name, change })
    };
    let requests = [
        reshard(ShardChange::Split {
            shard: ShardIndex(1),
            at: HashKey::new(u128::MAX - 1),
        }),
        reshard(ShardChange::Merge {
            shard: ShardIndex(2),
            adjacent: ShardIndex(3),
        }),
        reshard(ShardChange::Count { target: 12 }),
        Request::Append {
            count: 2,
            batches: b"batches",
        },
        read(ReadFrom::Offset(Offset::ZERO + Count(5))),
        read(ReadFrom::TrimHorizon),
        read(ReadFrom::Latest),
        read(ReadFrom::Time(Timestamp::from_millis(77))),
        Request::Describe(stream_name()),
        Request::Create(CreateRequest {
            name: stream_name(),
            shards: 4,
            mode: StreamMode::OnDemand,
            retention_ms: Some(5),
            retain_bytes: None,
        }),
        Request::Delete(stream_name()),
        Request::List(ListRequest {
            after: Some(stream_name()),
            limit: 10,
        }),
        Request::List(ListRequest {
            after: None,
            limit: 10,
        }),
        Request::Set(SetRequest {
            name: stream_name(),
            mode: None,
            retention_ms: None,
            retain_bytes: Some(0),
            quota: Some(StreamQuota::Aws),
        }),
        Request::Ping,
    ];
    for request in requests {
        let mut bytes = Vec::new();
        request.encode(Correlation(5), &mut bytes);
        let (frame, length) = frame::decode(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(Request::decode(&frame), Ok(request));
    }
}

#[test]
fn every_answer_survives_its_bytes() {
    let description = StreamDescription {
        name: stream_name(),
        id: StreamId::new(1),
        status: StreamStatus::Active,
        mode: StreamMode::Provisioned,
        retention_ms: 2,
        retain_bytes: 3,
        quota: StreamQuota::Off,
        record_bytes_max: 7,
        created: Timestamp::from_millis(4),
        map_version: 5,
        cores: 6,
        shards: HashKeyRange::divide(3)
            .enumerate()
            .map(|(i, range)| ShardDescription {
                index: ShardIndex(i as u32),
                core: 1,
                range,
                created: Timestamp::from_millis(4),
                closed: i == 1,
            })
            .collect(),
    };
    let summary = StreamSummary {
        name: stream_name(),
        id: StreamId::new(1),
        status: StreamStatus::Creating,
        mode: StreamMode::OnDemand,
        shards: 2,
        retention_ms: 3,
    };
    let refused = AppendOutcome::Refused {
        code: ErrorCode::NotOwner,
        owner: 1,
        map_version: 2,
    };
    let stored = AppendOutcome::Stored {
        first_offset: Offset::ZERO + Count(7),
        arrival: Timestamp::from_millis(8),
    };
    let responses = [
        (kind::APPEND, Response::Appended(vec![stored, refused])),
        (
            kind::READ,
            Response::Records(ReadAnswer {
                next: Offset::ZERO + Count(1),
                tip: Offset::ZERO + Count(2),
                behind_ms: 3,
                at_end: true,
                count: 1,
                batches: b"bytes",
            }),
        ),
        (kind::CREATE, Response::Stream(description.clone())),
        (kind::RESHARD, Response::Stream(description)),
        (kind::DELETE, Response::Deleted),
        (
            kind::LIST,
            Response::Streams {
                streams: vec![summary],
                more: true,
            },
        ),
        (kind::PING, Response::Pong),
        (
            kind::SET,
            Response::Error(WireError::new(
                ErrorCode::StreamNotFound,
                "no stream \"logs\"",
            )),
        ),
    ];
    for (request_kind, response) in responses {
        let mut bytes = Vec::new();
        response.encode(request_kind, Correlation(5), &mut bytes);
        let (frame, length) = frame::decode(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(Response::decode(&frame), Ok(response));
    }
}

#[test]
fn error_codes_are_dense_and_known() {
    for (i, code) in ErrorCode::ALL.iter().enumerate() {
        assert_eq!(usize::from(code.code()), i + 1);
        assert_eq!(ErrorCode::from_code(code.code()), Some(*code));
    }
    assert_eq!(ErrorCode::from_code(0), None);
    assert_eq!(ErrorCode::from_code(20), None);
}

proptest! {
    #[test]
    fn any_control_part_decodes_to_a_value_or_an_error(
        frame_kind in prop_oneof![0_u16..12, 0x8000_u16..0x8010, Just(kind::ERROR)],
        control in proptest::collection::vec(any::<u8>(), 0..200),
        bulk in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let frame = WireFrame {
            kind: frame_kind,
            correlation: Correlation(1),
            control: &control,
            bulk: &bulk,
        };
        let _ = Request::decode(&frame);
        let _ = Response::decode(&frame);
    }
}
