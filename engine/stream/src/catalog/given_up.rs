//! How what an operator gave up is written in the catalog: JSON with a version, as streams are.
//!
//! Owns: the rows. Never: the decision, which is [`crate::repair`]'s to propose and a person's to take.

use serde::{Deserialize, Serialize};
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId};

use super::entry::{EntryError, VersionOnly, wrong};

const GIVEN_UP_VERSION: u32 = 1;

/// Everything that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GivenUpRows {
    pub(crate) records: Vec<GivenUpRecords>,
    pub(crate) segments: Vec<GivenUpSegment>,
}

/// Where damage was found, and when it was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) when_ms: u64,
    pub(crate) file: String,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
    pub(crate) what: String,
}

/// Numbers of a shard that readers step over. No number below `until` is given out any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUpRecords {
    pub(crate) shard: ShardId,
    pub(crate) from: Offset,
    pub(crate) until: Offset,
    pub(crate) found: Found,
}

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It counts no more, and its file stays as it is.
    SetAside,
    /// Its footer is made anew from its frames.
    MadeAnew,
    /// It stays, with damage that costs no record.
    Kept,
}

/// Damage of a segment that is not about known numbers of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUpSegment {
    pub(crate) log: LogId,
    pub(crate) generation: u64,
    pub(crate) fate: Fate,
    /// Numbers below these are not given out any more: the segment may have held them.
    pub(crate) least_next: Vec<(ShardId, Offset)>,
    pub(crate) found: Vec<Found>,
}

#[derive(Serialize, Deserialize)]
struct RecordsEntry {
    version: u32,
    until: u64,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize, Deserialize)]
struct SegmentEntry {
    version: u32,
    fate: Fate,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    least_next: Vec<(u64, u32, u64)>,
    found: Vec<Found>,
}

/// The key of a row about records.
pub(super) fn key_of(row: &GivenUpRecords) -> (u64, u32, u64) {
    let shard = row.shard;
    (shard.stream.get(), shard.index.0, row.from.get())
}

pub(crate) fn encode_records(row: &GivenUpRecords) -> Vec<u8> {
    let entry = RecordsEntry {
        version: GIVEN_UP_VERSION,
        until: row.until.get(),
        found: row.found.clone(),
    };
    serde_json::to_vec(&entry).expect("plain structs become JSON")
}

pub(crate) fn decode_records(
    key: (u64, u32, u64),
    value: &[u8],
) -> Result<GivenUpRecords, EntryError> {
    check_version(value)?;
    let entry: RecordsEntry = serde_json::from_slice(value)?;
    Ok(GivenUpRecords {
        shard: shard_of(key.0, key.1),
        from: offset(key.2)?,
        until: offset(entry.until)?,
        found: entry.found,
    })
}

pub(crate) fn encode_segment(row: &GivenUpSegment) -> Vec<u8> {
    let least = row.least_next.iter();
    let entry = SegmentEntry {
        version: GIVEN_UP_VERSION,
        fate: row.fate,
        least_next: least
            .map(|(shard, next)| (shard.stream.get(), shard.index.0, next.get()))
            .collect(),
        found: row.found.clone(),
    };
    serde_json::to_vec(&entry).expect("plain structs become JSON")
}

pub(crate) fn decode_segment(key: (u32, u64), value: &[u8]) -> Result<GivenUpSegment, EntryError> {
    check_version(value)?;
    let entry: SegmentEntry = serde_json::from_slice(value)?;
    let least = entry.least_next.into_iter();
    Ok(GivenUpSegment {
        log: LogId(key.0),
        generation: key.1,
        fate: entry.fate,
        least_next: least
            .map(|(stream, index, next)| Ok((shard_of(stream, index), offset(next)?)))
            .collect::<Result<_, EntryError>>()?,
        found: entry.found,
    })
}

fn offset(raw: u64) -> Result<Offset, EntryError> {
    Offset::new(raw).ok_or_else(|| wrong("number", raw))
}

fn shard_of(stream: u64, index: u32) -> ShardId {
    ShardId::new(StreamId::new(stream), ShardIndex(index))
}

fn check_version(value: &[u8]) -> Result<(), EntryError> {
    let VersionOnly { version } = serde_json::from_slice(value)?;
    if version == GIVEN_UP_VERSION {
        return Ok(());
    }
    let (found, known) = (version, GIVEN_UP_VERSION);
    Err(EntryError::Version { found, known })
}

impl GivenUpRows {
    /// The least number that a shard's next record may have.
    pub(crate) fn least_next(&self, shard: ShardId) -> Offset {
        let records = self.records.iter().filter(|row| row.shard == shard);
        let ends = records.map(|row| row.until);
        let raised = self.segments.iter().flat_map(|row| &row.least_next);
        let raised = raised.filter(|(id, _)| *id == shard).map(|(_, next)| *next);
        ends.chain(raised).max().unwrap_or(Offset::ZERO)
    }

    /// Whether all numbers from `from` to `until` were given up.
    pub(crate) fn covers(&self, shard: ShardId, from: Offset, until: Offset) -> bool {
        let mut at = from;
        loop {
            let rows = self.records.iter().filter(|row| row.shard == shard);
            let here = rows.filter(|row| row.from <= at && at < row.until);
            match here.map(|row| row.until).max() {
                _ if at >= until => return true,
                Some(next) => at = next,
                None => return false,
            }
        }
    }

    /// Whether a place of a segment was told and given up.
    pub(crate) fn has_place(&self, log: u32, generation: u64, at: u64, bytes: u64) -> bool {
        let of_it = self
            .segments
            .iter()
            .filter(|row| row.log.0 == log && row.generation == generation);
        let mut places = of_it.flat_map(|row| &row.found);
        places.any(|found| at < found.at + found.bytes.max(1) && found.at < at + bytes.max(1))
    }

    /// Nothing was given up.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.segments.is_empty()
    }

    /// What need not be remembered any more: records of shards that are gone, and segments all of
    /// whose records have expired, and whose numbers `is_safe` from being given out again. No record
    /// is kept for longer than `longest_ms`; `expiry_ms` is the expiry clock, if it was ever noted.
    pub(crate) fn outlived(
        &self,
        exists: impl Fn(ShardId) -> bool,
        is_safe: impl Fn(ShardId, Offset) -> bool,
        longest_ms: u64,
        expiry_ms: Option<u64>,
    ) -> Self {
        let records = self.records.iter().filter(|row| !exists(row.shard));
        let is_expired = |row: &&GivenUpSegment| {
            let newest = row.found.iter().map(|found| found.when_ms).max();
            let until = newest.unwrap_or(0).saturating_add(longest_ms);
            let is_noted =
                |(shard, next): &(ShardId, Offset)| !exists(*shard) || is_safe(*shard, *next);
            expiry_ms.is_some_and(|expiry| expiry > until) && row.least_next.iter().all(is_noted)
        };
        Self {
            records: records.cloned().collect(),
            segments: self.segments.iter().filter(is_expired).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(when_ms: u64) -> Found {
        Found {
            when_ms,
            file: "log-0000/slot-000003".to_owned(),
            at: 4096,
            bytes: 900,
            what: "payload checksum".to_owned(),
        }
    }

    #[test]
    fn rows_give_back_what_was_given_up() {
        let row = GivenUpRecords {
            shard: shard_of(7, 2),
            from: Offset::new(10).unwrap(),
            until: Offset::new(1 << 50).unwrap(),
            found: found(5),
        };
        let (key, value) = (key_of(&row), encode_records(&row));
        assert_eq!(decode_records(key, &value).unwrap(), row);
        assert!(decode_records((7, 2, u64::MAX), &value).is_err());
        let row = GivenUpSegment {
            log: LogId(1),
            generation: 9,
            fate: Fate::SetAside,
            least_next: vec![(shard_of(7, 2), Offset::new(77).unwrap())],
            found: vec![found(5), found(6)],
        };
        let value = encode_segment(&row);
        assert_eq!(decode_segment((1, 9), &value).unwrap(), row);
        let later = String::from_utf8(value).unwrap();
        let later = later.replace("\"version\":1", "\"version\":2");
        assert!(decode_segment((1, 9), later.as_bytes()).is_err());
    }

    #[test]
    fn a_segment_is_remembered_until_the_last_of_its_records_has_expired() {
        let rows = GivenUpRows {
            records: Vec::new(),
            segments: vec![GivenUpSegment {
                log: LogId(0),
                generation: 1,
                fate: Fate::SetAside,
                least_next: vec![(shard_of(1, 0), Offset::MAX)],
                found: vec![found(1_000)],
            }],
        };
        let outlived = |is_safe, expiry| {
            let rows = rows.outlived(|_| true, |_, _| is_safe, 500, expiry);
            rows.segments.len()
        };
        let gone = |expiry| outlived(true, expiry);
        assert_eq!(gone(None), 0);
        assert_eq!(gone(Some(1_500)), 0);
        assert_eq!(gone(Some(1_501)), 1);
        assert_eq!(outlived(false, Some(1_501)), 0);
    }
}
