//! What a server answers.

use crate::bytes::{Reader, Writer};
use crate::limits::{FRAME_BATCHES_MAX, LIST_NAMES_MAX};
use crate::model::{
    HashKey, HashKeyRange, Offset, ShardIndex, StreamId, StreamMode, StreamName, StreamQuota,
    StreamStatus, Timestamp,
};
use crate::wire::error::{ErrorCode, WireError};
use crate::wire::frame::{Correlation, FrameWriter, WireFrame};
use crate::wire::request::{Malformed, end, kind, mode, name, offset, put_name, quota};

/// What became of one batch of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is durable.
    Stored {
        /// Offset of its first record.
        first_offset: Offset,
        /// When the server took it in.
        arrival: Timestamp,
    },
    /// Nothing of it is stored.
    Refused {
        /// Why.
        code: ErrorCode,
        /// With `NotOwner`: the core to connect to.
        owner: u32,
        /// With `NotOwner` and `ShardClosed`: the version of the map that says so.
        map_version: u32,
    },
}

const OUTCOME_BYTES: usize = 24;

/// Records of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAnswer<'a> {
    /// Where the next read begins.
    pub next: Offset,
    /// One past the newest durable record.
    pub tip: Offset,
    /// Age of the next unread record in milliseconds; 0 at the tip.
    pub behind_ms: u64,
    /// The shard is closed and this was its end.
    pub at_end: bool,
    /// How many batches there are. The first may begin before the offset that was asked for, the
    /// last may end after `next`: skip what is outside.
    pub count: u32,
    /// The batches, as their producers sent them.
    pub batches: &'a [u8],
}

const READ_ANSWER_BYTES: usize = 29;

/// A shard, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardDescription {
    /// Its index.
    pub index: ShardIndex,
    /// The core that owns it.
    pub core: u32,
    /// Its part of the hash space.
    pub range: HashKeyRange,
    /// When it was created.
    pub created: Timestamp,
    /// Whether a split or merge ended it: it takes no more records.
    pub closed: bool,
}

/// Bytes of one shard in a description.
pub const SHARD_BYTES: usize = 49;

/// A stream, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its name.
    pub name: StreamName,
    /// Its id.
    pub id: StreamId,
    /// Where it stands.
    pub status: StreamStatus,
    /// What meters it.
    pub mode: StreamMode,
    /// Retention in milliseconds.
    pub retention_ms: u64,
    /// Byte cap; 0 for none.
    pub retain_bytes: u64,
    /// Whether it is metered, beside the server's switch.
    pub quota: StreamQuota,
    /// Longest record it takes in bytes, data plus partition key.
    pub record_bytes_max: u32,
    /// When it was created.
    pub created: Timestamp,
    /// Version of the shard map below.
    pub map_version: u32,
    /// How many cores the server has.
    pub cores: u32,
    /// Its shards in index order.
    pub shards: Vec<ShardDescription>,
}

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub name: StreamName,
    /// Its id.
    pub id: StreamId,
    /// Where it stands.
    pub status: StreamStatus,
    /// What meters it.
    pub mode: StreamMode,
    /// Its open shards.
    pub shards: u32,
    /// Retention in milliseconds.
    pub retention_ms: u64,
}

/// An answer, its batches borrowed from the received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// What became of each batch, in the order they were sent.
    Appended(Vec<AppendOutcome>),
    /// Records of a shard.
    Records(ReadAnswer<'a>),
    /// A described, created or changed stream.
    Stream(StreamDescription),
    /// The stream is gone.
    Deleted,
    /// Streams in name order, and whether more follow.
    Streams {
        /// The streams.
        streams: Vec<StreamSummary>,
        /// Whether more follow.
        more: bool,
    },
    /// Nothing but an answer.
    Pong,
    /// The request was refused as a whole.
    Error(WireError),
}

fn status(r: &mut Reader<'_>) -> Result<StreamStatus, Malformed> {
    let code = r.u8()?;
    StreamStatus::from_code(code).ok_or(Malformed::Value {
        what: "stream status",
        found: u64::from(code),
    })
}

/// Appends the answer to an append to `out`, without a vector of outcomes in between.
pub fn encode_appended(
    outcomes: impl ExactSizeIterator<Item = AppendOutcome>,
    correlation: Correlation,
    out: &mut Vec<u8>,
) {
    let frame = FrameWriter::start(out, kind::APPEND | kind::ANSWER, correlation);
    let mut w = Writer::new(out);
    w.u32(outcomes.len() as u32);
    for outcome in outcomes {
        match outcome {
            AppendOutcome::Stored {
                first_offset,
                arrival,
            } => {
                w.u16(0)
                    .u16(0)
                    .u32(0)
                    .u64(first_offset.get())
                    .u64(arrival.as_millis());
            }
            AppendOutcome::Refused {
                code,
                owner,
                map_version,
            } => {
                w.u16(code.code())
                    .u16(0)
                    .u32(owner)
                    .u64(u64::from(map_version))
                    .u64(0);
            }
        }
    }
    frame.finish(out);
}

/// Starts an answer of records: the caller appends the batches to `out` and then calls
/// [`RecordsWriter::finish`] with what it learned on the way.
pub struct RecordsWriter {
    frame: FrameWriter,
    control_at: usize,
}

impl RecordsWriter {
    /// Starts the frame at the end of `out` and makes room for its control part.
    pub fn start(correlation: Correlation, out: &mut Vec<u8>) -> Self {
        let mut frame = FrameWriter::start(out, kind::READ | kind::ANSWER, correlation);
        let control_at = out.len();
        out.resize(control_at + READ_ANSWER_BYTES, 0);
        frame.bulk(out);
        Self { frame, control_at }
    }

    /// Writes the control part; `answer.batches` is not looked at.
    pub fn finish(self, answer: &ReadAnswer<'_>, out: &mut [u8]) {
        let mut control = Vec::with_capacity(READ_ANSWER_BYTES);
        Writer::new(&mut control)
            .u64(answer.next.get())
            .u64(answer.tip.get())
            .u64(answer.behind_ms)
            .u8(u8::from(answer.at_end))
            .u32(answer.count);
        out[self.control_at..self.control_at + READ_ANSWER_BYTES].copy_from_slice(&control);
        self.frame.finish(out);
    }
}

impl<'a> Response<'a> {
    /// Gives an answering frame its meaning.
    pub fn decode(frame: &WireFrame<'a>) -> Result<Self, Malformed> {
        let mut r = Reader::new(frame.control);
        if frame.kind == kind::ERROR {
            return Ok(Self::Error(WireError::decode(&mut r)?));
        }
        if frame.kind & kind::ANSWER == 0 {
            return Err(Malformed::Kind { found: frame.kind });
        }
        let response = match frame.kind & !kind::ANSWER {
            kind::APPEND => Self::Appended(decode_appended(&mut r)?),
            kind::READ => Self::Records(ReadAnswer {
                next: offset(&mut r)?,
                tip: offset(&mut r)?,
                behind_ms: r.u64()?,
                at_end: r.u8()? != 0,
                count: r.u32()?,
                batches: frame.bulk,
            }),
            kind::DESCRIBE | kind::CREATE | kind::SET | kind::RESHARD => {
                Self::Stream(decode_stream(&mut r)?)
            }
            kind::DELETE => Self::Deleted,
            kind::LIST => {
                let more = r.u8()? != 0;
                let count = r.u32()?;
                if count > LIST_NAMES_MAX {
                    let found = u64::from(count);
                    return Err(Malformed::Value {
                        what: "stream count",
                        found,
                    });
                }
                let streams = (0..count)
                    .map(|_| decode_summary(&mut r))
                    .collect::<Result<_, _>>();
                Self::Streams {
                    streams: streams?,
                    more,
                }
            }
            kind::PING => Self::Pong,
            _ => return Err(Malformed::Kind { found: frame.kind }),
        };
        end(&r)?;
        Ok(response)
    }

    /// Appends the answer to a request of kind `request_kind` as one frame to `out`.
    pub fn encode(&self, request_kind: u16, correlation: Correlation, out: &mut Vec<u8>) {
        match self {
            Self::Appended(outcomes) => {
                return encode_appended(outcomes.iter().copied(), correlation, out);
            }
            Self::Records(answer) => {
                let writer = RecordsWriter::start(correlation, out);
                out.extend_from_slice(answer.batches);
                return writer.finish(answer, out);
            }
            _ => {}
        }
        let frame_kind = match self {
            Self::Error(_) => kind::ERROR,
            _ => request_kind | kind::ANSWER,
        };
        let frame = FrameWriter::start(out, frame_kind, correlation);
        match self {
            Self::Stream(stream) => encode_stream(stream, out),
            Self::Streams { streams, more } => {
                Writer::new(out)
                    .u8(u8::from(*more))
                    .u32(streams.len() as u32);
                for stream in streams {
                    encode_summary(stream, out);
                }
            }
            Self::Error(error) => error.encode(out),
            Self::Deleted | Self::Pong | Self::Appended(_) | Self::Records(_) => {}
        }
        frame.finish(out);
    }
}

fn decode_appended(r: &mut Reader<'_>) -> Result<Vec<AppendOutcome>, Malformed> {
    let count = r.u32()?;
    if count > FRAME_BATCHES_MAX || r.rest().len() != count as usize * OUTCOME_BYTES {
        return Err(Malformed::Value {
            what: "outcome count",
            found: u64::from(count),
        });
    }
    (0..count)
        .map(|_| {
            let code = r.u16()?;
            let _reserved = r.u16()?;
            let owner = r.u32()?;
            if code == 0 {
                return Ok(AppendOutcome::Stored {
                    first_offset: offset(r)?,
                    arrival: Timestamp::from_millis(r.u64()?),
                });
            }
            let map_version = r.u64()? as u32;
            let _reserved = r.u64()?;
            let found = u64::from(code);
            let code = ErrorCode::from_code(code).ok_or(Malformed::Value {
                what: "error code",
                found,
            })?;
            Ok(AppendOutcome::Refused {
                code,
                owner,
                map_version,
            })
        })
        .collect()
}

fn decode_stream(r: &mut Reader<'_>) -> Result<StreamDescription, Malformed> {
    let name = name(r)?;
    let id = StreamId::new(r.u64()?);
    let status = status(r)?;
    let mode = mode(r)?;
    let (retention_ms, retain_bytes) = (r.u64()?, r.u64()?);
    let quota = quota(r.u8()?)?;
    let record_bytes_max = r.u32()?;
    let created = Timestamp::from_millis(r.u64()?);
    let (map_version, cores, count) = (r.u32()?, r.u32()?, r.u32()?);
    if r.rest().len() != count as usize * SHARD_BYTES {
        return Err(Malformed::Value {
            what: "shard count",
            found: u64::from(count),
        });
    }
    let shards = (0..count)
        .map(|_| {
            Ok(ShardDescription {
                index: ShardIndex(r.u32()?),
                core: r.u32()?,
                range: HashKeyRange {
                    start: HashKey::new(r.u128()?),
                    end: HashKey::new(r.u128()?),
                },
                created: Timestamp::from_millis(r.u64()?),
                closed: r.u8()? != 0,
            })
        })
        .collect::<Result<_, Malformed>>()?;
    Ok(StreamDescription {
        name,
        id,
        status,
        mode,
        retention_ms,
        retain_bytes,
        quota,
        record_bytes_max,
        created,
        map_version,
        cores,
        shards,
    })
}

fn encode_stream(stream: &StreamDescription, out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    put_name(&mut w, &stream.name);
    w.u64(stream.id.get())
        .u8(stream.status.code())
        .u8(stream.mode.code());
    w.u64(stream.retention_ms)
        .u64(stream.retain_bytes)
        .u8(stream.quota.code())
        .u32(stream.record_bytes_max)
        .u64(stream.created.as_millis());
    w.u32(stream.map_version)
        .u32(stream.cores)
        .u32(stream.shards.len() as u32);
    for shard in &stream.shards {
        w.u32(shard.index.0).u32(shard.core);
        w.u128(shard.range.start.get()).u128(shard.range.end.get());
        w.u64(shard.created.as_millis()).u8(u8::from(shard.closed));
    }
}

fn decode_summary(r: &mut Reader<'_>) -> Result<StreamSummary, Malformed> {
    Ok(StreamSummary {
        name: name(r)?,
        id: StreamId::new(r.u64()?),
        status: status(r)?,
        mode: mode(r)?,
        shards: r.u32()?,
        retention_ms: r.u64()?,
    })
}

fn encode_summary(stream: &StreamSummary, out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    put_name(&mut w, &stream.name);
    w.u64(stream.id.get())
        .u8(stream.status.code())
        .u8(stream.mode.code());
    w.u32(stream.shards).u64(stream.retention_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Count, ShardId};
    use crate::wire::frame;
    use crate::wire::request::{
        CreateRequest, ListRequest, ReadFrom, ReadRequest, Request, ReshardRequest, SetRequest,
        ShardChange,
    };
    use proptest::prelude::*;

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
}
