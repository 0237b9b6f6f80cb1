//! What a client asks.
//!
//! Requests decode without allocating for their bulk: batches stay where they were received.

use thiserror::Error;

use crate::bytes::{Reader, Truncated, Writer};
use crate::limits::{FRAME_BATCHES_MAX, LIST_NAMES_MAX, READ_WAIT_MS_MAX};
use crate::model::{
    HashKey, InvalidStreamName, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamName,
    StreamQuota, Timestamp,
};
use crate::wire::frame::{Correlation, FrameWriter, WireFrame};

/// Kinds of request; an answer has the same kind with [`kind::ANSWER`] set.
pub mod kind {
    /// Append batches.
    pub const APPEND: u16 = 1;
    /// Read batches, waiting for them if asked to.
    pub const READ: u16 = 2;
    /// Describe a stream.
    pub const DESCRIBE: u16 = 3;
    /// Create a stream.
    pub const CREATE: u16 = 4;
    /// Delete a stream.
    pub const DELETE: u16 = 5;
    /// List streams.
    pub const LIST: u16 = 6;
    /// Change a stream's settings.
    pub const SET: u16 = 7;
    /// Nothing but an answer.
    pub const PING: u16 = 8;
    /// Split, merge or count the shards of a stream.
    pub const RESHARD: u16 = 9;
    /// Set in the kind of every answer.
    pub const ANSWER: u16 = 0x8000;
    /// An answer that refuses the whole request.
    pub const ERROR: u16 = 0x80ff;
}

/// Why a frame's control part makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("control part cut short: {0}")]
    Truncated(#[from] Truncated),
    /// It goes on after its last field.
    #[error("{bytes} bytes after the last field of the control part")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field holds what it cannot.
    #[error("{what} {found} is not known or out of bounds")]
    Value {
        /// The field.
        what: &'static str,
        /// What it holds.
        found: u64,
    },
    /// A name no stream can have.
    #[error(transparent)]
    Name(#[from] InvalidStreamName),
    /// Text that is not UTF-8.
    #[error("{what} is not UTF-8")]
    Text {
        /// The field.
        what: &'static str,
    },
    /// A kind of frame this code does not know.
    #[error("frame kind {found:#06x} is not known")]
    Kind {
        /// The kind found.
        found: u16,
    },
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At this offset, or the next one kept.
    Offset(Offset),
    /// At the oldest record kept.
    TrimHorizon,
    /// After the newest durable record, as of this request.
    Latest,
    /// At the first record that arrived at or after this time.
    Time(Timestamp),
}

/// Asks for records of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// The shard.
    pub shard: ShardId,
    /// Where to begin.
    pub from: ReadFrom,
    /// Most bytes of batches wanted; at least one batch comes if there is one.
    pub bytes_max: u32,
    /// How long the server may wait for the first record, in milliseconds; 0 for not at all.
    pub wait_ms: u32,
}

/// Asks for a new stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Its name.
    pub name: StreamName,
    /// How many shards.
    pub shards: u32,
    /// What meters them.
    pub mode: StreamMode,
    /// Retention in milliseconds; `None` for the default.
    pub retention_ms: Option<u64>,
    /// Byte cap of the stream; `None` for no cap.
    pub retain_bytes: Option<u64>,
}

/// Asks for changed settings; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRequest {
    /// The stream.
    pub name: StreamName,
    /// New mode.
    pub mode: Option<StreamMode>,
    /// New retention in milliseconds.
    pub retention_ms: Option<u64>,
    /// New byte cap; `Some(0)` lifts it.
    pub retain_bytes: Option<u64>,
    /// Whether its shards are metered, beside the server's switch.
    pub quota: Option<StreamQuota>,
}

/// Asks for other shards of a stream. The answer is the stream as the change begins, UPDATING; it is
/// over when the stream is ACTIVE again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReshardRequest {
    /// The stream.
    pub name: StreamName,
    /// What becomes of its shards.
    pub change: ShardChange,
}

/// What becomes of a stream's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardChange {
    /// One shard becomes two.
    Split {
        /// The shard.
        shard: ShardIndex,
        /// Where the upper child begins.
        at: HashKey,
    },
    /// Two neighbours become one.
    Merge {
        /// The shard that the child names as its parent.
        shard: ShardIndex,
        /// Its neighbour, on either side.
        adjacent: ShardIndex,
    },
    /// The hash space is divided evenly.
    Count {
        /// Open shards afterwards.
        target: u32,
    },
}

/// Asks for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Names after this one; need not exist.
    pub after: Option<StreamName>,
    /// Most names wanted.
    pub limit: u32,
}

/// A request, its batches borrowed from the received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Append these batches, one after the other in `batches`.
    Append {
        /// How many there are.
        count: u32,
        /// Their bytes.
        batches: &'a [u8],
    },
    /// Read a shard.
    Read(ReadRequest),
    /// Describe the stream of this name.
    Describe(StreamName),
    /// Create a stream.
    Create(CreateRequest),
    /// Delete the stream of this name.
    Delete(StreamName),
    /// List streams.
    List(ListRequest),
    /// Change a stream.
    Set(SetRequest),
    /// Nothing but an answer.
    Ping,
    /// Split, merge or count the shards of a stream.
    Reshard(ReshardRequest),
}

const FROM_OFFSET: u8 = 1;
const FROM_TRIM_HORIZON: u8 = 2;
const FROM_LATEST: u8 = 3;
const FROM_TIME: u8 = 4;

const CHANGE_SPLIT: u8 = 1;
const CHANGE_MERGE: u8 = 2;
const CHANGE_COUNT: u8 = 3;

pub(crate) fn name(r: &mut Reader<'_>) -> Result<StreamName, Malformed> {
    let bytes = r.u16()? as usize;
    let text = std::str::from_utf8(r.take(bytes)?).map_err(|_| Malformed::Text {
        what: "stream name",
    })?;
    Ok(StreamName::new(text)?)
}

pub(crate) fn put_name(w: &mut Writer<'_>, name: &StreamName) {
    w.u16(name.as_str().len() as u16)
        .raw(name.as_str().as_bytes());
}

pub(crate) fn end(r: &Reader<'_>) -> Result<(), Malformed> {
    match r.rest().len() {
        0 => Ok(()),
        bytes => Err(Malformed::Trailing { bytes }),
    }
}

pub(crate) fn mode(r: &mut Reader<'_>) -> Result<StreamMode, Malformed> {
    let code = r.u8()?;
    StreamMode::from_code(code).ok_or(Malformed::Value {
        what: "stream mode",
        found: u64::from(code),
    })
}

pub(crate) fn quota(code: u8) -> Result<StreamQuota, Malformed> {
    StreamQuota::from_code(code).ok_or(Malformed::Value {
        what: "stream quota",
        found: u64::from(code),
    })
}

/// An optional number: all ones stand for none, on the wire.
pub(crate) fn optional(r: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let raw = r.u64()?;
    Ok((raw != u64::MAX).then_some(raw))
}

pub(crate) fn put_optional(w: &mut Writer<'_>, value: Option<u64>) {
    w.u64(value.unwrap_or(u64::MAX));
}

pub(crate) fn offset(r: &mut Reader<'_>) -> Result<Offset, Malformed> {
    let raw = r.u64()?;
    Offset::new(raw).ok_or(Malformed::Value {
        what: "offset",
        found: raw,
    })
}

impl<'a> Request<'a> {
    /// Gives a frame its meaning.
    pub fn decode(frame: &WireFrame<'a>) -> Result<Self, Malformed> {
        let mut r = Reader::new(frame.control);
        let request = match frame.kind {
            kind::APPEND => {
                let count = r.u32()?;
                if count == 0 || count > FRAME_BATCHES_MAX {
                    let found = u64::from(count);
                    return Err(Malformed::Value {
                        what: "batch count",
                        found,
                    });
                }
                Self::Append {
                    count,
                    batches: frame.bulk,
                }
            }
            kind::READ => Self::Read(decode_read(&mut r)?),
            kind::DESCRIBE => Self::Describe(name(&mut r)?),
            kind::CREATE => Self::Create(CreateRequest {
                name: name(&mut r)?,
                shards: r.u32()?,
                mode: mode(&mut r)?,
                retention_ms: optional(&mut r)?,
                retain_bytes: optional(&mut r)?,
            }),
            kind::DELETE => Self::Delete(name(&mut r)?),
            kind::LIST => {
                let limit = r.u32()?.min(LIST_NAMES_MAX);
                let after = match r.u8()? {
                    0 => None,
                    _ => Some(name(&mut r)?),
                };
                Self::List(ListRequest { after, limit })
            }
            kind::SET => {
                let name = name(&mut r)?;
                let mode = match r.u8()? {
                    0 => None,
                    code => Some(StreamMode::from_code(code).ok_or(Malformed::Value {
                        what: "stream mode",
                        found: u64::from(code),
                    })?),
                };
                let retention_ms = optional(&mut r)?;
                let retain_bytes = optional(&mut r)?;
                let quota = match r.u8()? {
                    0 => None,
                    code => Some(quota(code)?),
                };
                Self::Set(SetRequest {
                    name,
                    mode,
                    retention_ms,
                    retain_bytes,
                    quota,
                })
            }
            kind::PING => Self::Ping,
            kind::RESHARD => Self::Reshard(ReshardRequest {
                name: name(&mut r)?,
                change: decode_change(&mut r)?,
            }),
            found => return Err(Malformed::Kind { found }),
        };
        end(&r)?;
        if frame.kind != kind::APPEND && !frame.bulk.is_empty() {
            return Err(Malformed::Trailing {
                bytes: frame.bulk.len(),
            });
        }
        Ok(request)
    }

    /// Appends the request as one frame to `out`.
    pub fn encode(&self, correlation: Correlation, out: &mut Vec<u8>) {
        let mut frame = FrameWriter::start(out, self.kind(), correlation);
        let mut w = Writer::new(out);
        match self {
            Self::Append { count, batches } => {
                w.u32(*count);
                frame.bulk(out);
                out.extend_from_slice(batches);
            }
            Self::Read(read) => encode_read(read, &mut w),
            Self::Describe(name) | Self::Delete(name) => put_name(&mut w, name),
            Self::Create(create) => {
                put_name(&mut w, &create.name);
                w.u32(create.shards).u8(create.mode.code());
                put_optional(&mut w, create.retention_ms);
                put_optional(&mut w, create.retain_bytes);
            }
            Self::List(list) => {
                w.u32(list.limit).u8(u8::from(list.after.is_some()));
                if let Some(name) = &list.after {
                    put_name(&mut w, name);
                }
            }
            Self::Set(set) => {
                put_name(&mut w, &set.name);
                w.u8(set.mode.map_or(0, StreamMode::code));
                put_optional(&mut w, set.retention_ms);
                put_optional(&mut w, set.retain_bytes);
                w.u8(set.quota.map_or(0, StreamQuota::code));
            }
            Self::Ping => {}
            Self::Reshard(reshard) => {
                put_name(&mut w, &reshard.name);
                encode_change(reshard.change, &mut w);
            }
        }
        frame.finish(out);
    }

    /// The frame kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Append { .. } => kind::APPEND,
            Self::Read(_) => kind::READ,
            Self::Describe(_) => kind::DESCRIBE,
            Self::Create(_) => kind::CREATE,
            Self::Delete(_) => kind::DELETE,
            Self::List(_) => kind::LIST,
            Self::Set(_) => kind::SET,
            Self::Ping => kind::PING,
            Self::Reshard(_) => kind::RESHARD,
        }
    }
}

fn decode_read(r: &mut Reader<'_>) -> Result<ReadRequest, Malformed> {
    let stream = StreamId::new(r.u64()?);
    let index = ShardIndex(r.u32()?);
    let from = r.u8()?;
    let value = r.u64()?;
    let from = match from {
        FROM_OFFSET => ReadFrom::Offset(Offset::new(value).ok_or(Malformed::Value {
            what: "offset",
            found: value,
        })?),
        FROM_TRIM_HORIZON => ReadFrom::TrimHorizon,
        FROM_LATEST => ReadFrom::Latest,
        FROM_TIME => ReadFrom::Time(Timestamp::from_millis(value)),
        _ => {
            return Err(Malformed::Value {
                what: "read position",
                found: u64::from(from),
            });
        }
    };
    let bytes_max = r.u32()?;
    let wait_ms = r.u32()?.min(READ_WAIT_MS_MAX);
    Ok(ReadRequest {
        shard: ShardId::new(stream, index),
        from,
        bytes_max,
        wait_ms,
    })
}

fn encode_read(read: &ReadRequest, w: &mut Writer<'_>) {
    let (from, value) = match read.from {
        ReadFrom::Offset(offset) => (FROM_OFFSET, offset.get()),
        ReadFrom::TrimHorizon => (FROM_TRIM_HORIZON, 0),
        ReadFrom::Latest => (FROM_LATEST, 0),
        ReadFrom::Time(time) => (FROM_TIME, time.as_millis()),
    };
    w.u64(read.shard.stream.get())
        .u32(read.shard.index.0)
        .u8(from)
        .u64(value);
    w.u32(read.bytes_max).u32(read.wait_ms);
}

fn decode_change(r: &mut Reader<'_>) -> Result<ShardChange, Malformed> {
    let what = r.u8()?;
    let (first, second) = (r.u32()?, r.u32()?);
    let at = HashKey::new(r.u128()?);
    Ok(match what {
        CHANGE_SPLIT => ShardChange::Split {
            shard: ShardIndex(first),
            at,
        },
        CHANGE_MERGE => ShardChange::Merge {
            shard: ShardIndex(first),
            adjacent: ShardIndex(second),
        },
        CHANGE_COUNT => ShardChange::Count { target: first },
        _ => {
            return Err(Malformed::Value {
                what: "shard change",
                found: u64::from(what),
            });
        }
    })
}

fn encode_change(change: ShardChange, w: &mut Writer<'_>) {
    let (what, first, second, at) = match change {
        ShardChange::Split { shard, at } => (CHANGE_SPLIT, shard.0, 0, at.get()),
        ShardChange::Merge { shard, adjacent } => (CHANGE_MERGE, shard.0, adjacent.0, 0),
        ShardChange::Count { target } => (CHANGE_COUNT, target, 0, 0),
    };
    w.u8(what).u32(first).u32(second).u128(at);
}
