//! Streams and shards as clients see them.

use crate::bytes::{Reader, Writer};
use crate::model::{
    HashKey, HashKeyRange, ShardIndex, StreamId, StreamMode, StreamName, StreamQuota, StreamStatus,
    Timestamp,
};
use crate::wire::request::{Malformed, mode, name, put_name, quota};

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

fn status(r: &mut Reader<'_>) -> Result<StreamStatus, Malformed> {
    let code = r.u8()?;
    StreamStatus::from_code(code).ok_or(Malformed::Value {
        what: "stream status",
        found: u64::from(code),
    })
}

pub(super) fn decode_stream(r: &mut Reader<'_>) -> Result<StreamDescription, Malformed> {
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

pub(super) fn encode_stream(stream: &StreamDescription, out: &mut Vec<u8>) {
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

pub(super) fn decode_summary(r: &mut Reader<'_>) -> Result<StreamSummary, Malformed> {
    Ok(StreamSummary {
        name: name(r)?,
        id: StreamId::new(r.u64()?),
        status: status(r)?,
        mode: mode(r)?,
        shards: r.u32()?,
        retention_ms: r.u64()?,
    })
}

pub(super) fn encode_summary(stream: &StreamSummary, out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    put_name(&mut w, &stream.name);
    w.u64(stream.id.get())
        .u8(stream.status.code())
        .u8(stream.mode.code());
    w.u32(stream.shards).u64(stream.retention_ms);
}
