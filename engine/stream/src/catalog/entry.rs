//! How streams are written in the catalog: JSON with a version, so that a later build can read
//! what this one wrote and an older one says that it cannot.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_protocol::model::{
    HashKey, HashKeyRange, Offset, ShardIndex, StreamId, StreamMode, StreamName, StreamStatus,
    Timestamp,
};

use super::settings_entry::{ConsumerEntry, SettingsEntry};
use crate::reshard::Reshard;
use crate::shard::placement::core_of;
use crate::shard::routing::Routes;
use crate::stream::{Closed, Shard, Stream};

/// Version of the entries that this build writes. It reads version 1 too, which had neither settings
/// nor consumers nor reshards.
pub(crate) const ENTRY_VERSION: u32 = 2;

/// A stream as the catalog keeps it; its name is the key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamEntry {
    version: u32,
    id: u64,
    status: String,
    mode: String,
    retention_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired_before_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retain_bytes: Option<u64>,
    created_ms: u64,
    map_version: u32,
    shards: Vec<ShardEntry>,
    #[serde(default)]
    settings: SettingsEntry,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mode_changes_ms: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<PendingEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    count_updates_ms: Vec<u64>,
}

/// A reshard that is under way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PendingEntry {
    Split { shard: u32, at: String },
    Merge { shard: u32, adjacent: u32 },
    Count { target: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
struct ShardEntry {
    index: u32,
    /// Both ends of the range in hexadecimal: JSON numbers end at 2^53 for many readers.
    start: String,
    end: String,
    created_ms: u64,
    /// Absent where it is the time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adjacent_parent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<ClosedEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClosedEntry {
    at_ms: u64,
    next: u64,
}

/// Only the version, which every build can read.
#[derive(Debug, Deserialize)]
pub(super) struct VersionOnly {
    pub(super) version: u32,
}

/// Why an entry makes no sense.
#[derive(Debug, Error)]
pub(crate) enum EntryError {
    /// It is not JSON of the expected form.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A later build wrote it.
    #[error("entry version {found}, this build reads up to {known}")]
    Version {
        /// The version found.
        found: u32,
        /// The latest that this build reads.
        known: u32,
    },
    /// A value that cannot be.
    #[error("{what} {found:?}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What was found.
        found: String,
    },
}

pub(super) fn wrong(what: &'static str, found: impl ToString) -> EntryError {
    EntryError::Value {
        what,
        found: found.to_string(),
    }
}

/// The entry of `stream`.
pub(crate) fn encode(stream: &Stream) -> Vec<u8> {
    let shard = |shard: &Shard| ShardEntry {
        index: shard.index.0,
        start: format!("{:032x}", shard.range.start.get()),
        end: format!("{:032x}", shard.range.end.get()),
        created_ms: shard.created.as_millis(),
        opened_ms: (shard.opened != shard.created).then(|| shard.opened.as_millis()),
        parent: shard.parent.map(|index| index.0),
        adjacent_parent: shard.adjacent_parent.map(|index| index.0),
        closed: shard.closed.map(|closed| ClosedEntry {
            at_ms: closed.at.as_millis(),
            next: closed.next.get(),
        }),
    };
    let entry = StreamEntry {
        version: ENTRY_VERSION,
        id: stream.id.get(),
        status: stream.status.aws_name().to_owned(),
        mode: stream.mode.aws_name().to_owned(),
        retention_ms: stream.retention_ms,
        expired_before_ms: Some(stream.expired_before.as_millis()).filter(|millis| *millis > 0),
        retain_bytes: stream.retain_bytes,
        created_ms: stream.created.as_millis(),
        map_version: stream.map_version,
        shards: stream.shards.iter().map(shard).collect(),
        settings: SettingsEntry::of(&stream.settings),
        consumers: stream.consumers.iter().map(ConsumerEntry::of).collect(),
        mode_changes_ms: stream
            .mode_changes
            .iter()
            .map(|changed| changed.as_millis())
            .collect(),
        pending: stream.pending.map(encode_pending),
        count_updates_ms: stream
            .count_updates
            .iter()
            .map(|at| at.as_millis())
            .collect(),
    };
    serde_json::to_vec(&entry).expect("plain structs become JSON")
}

fn encode_pending(reshard: Reshard) -> PendingEntry {
    match reshard {
        Reshard::Split { shard, at } => PendingEntry::Split {
            shard: shard.0,
            at: format!("{:032x}", at.get()),
        },
        Reshard::Merge { shard, adjacent } => PendingEntry::Merge {
            shard: shard.0,
            adjacent: adjacent.0,
        },
        Reshard::Count { target } => PendingEntry::Count { target },
    }
}

fn decode_pending(entry: &PendingEntry) -> Result<Reshard, EntryError> {
    Ok(match entry {
        PendingEntry::Split { shard, at } => Reshard::Split {
            shard: ShardIndex(*shard),
            at: hash_key(at)?,
        },
        PendingEntry::Merge { shard, adjacent } => Reshard::Merge {
            shard: ShardIndex(*shard),
            adjacent: ShardIndex(*adjacent),
        },
        PendingEntry::Count { target: 0 } => return Err(wrong("shard count", 0)),
        PendingEntry::Count { target } => Reshard::Count { target: *target },
    })
}

fn hash_key(text: &str) -> Result<HashKey, EntryError> {
    let raw = u128::from_str_radix(text, 16).map_err(|_| wrong("hash key", text))?;
    Ok(HashKey::new(raw))
}

/// The stream called `name` in an entry, its shards homed on `cores` cores.
pub(crate) fn decode(name: &str, bytes: &[u8], cores: u32) -> Result<Stream, EntryError> {
    let VersionOnly { version } = serde_json::from_slice(bytes)?;
    if version == 0 || version > ENTRY_VERSION {
        let (found, known) = (version, ENTRY_VERSION);
        return Err(EntryError::Version { found, known });
    }
    let entry: StreamEntry = serde_json::from_slice(bytes)?;
    let id = StreamId::new(entry.id);
    let shards = entry
        .shards
        .iter()
        .map(|shard| decode_shard(id, shard, cores))
        .collect::<Result<Vec<_>, _>>()?;
    if !shards.is_sorted_by(|a, b| a.index < b.index) {
        return Err(wrong("shards out of order in stream", name));
    }
    let routes =
        Routes::new(&shards).map_err(|gap| wrong("hash ranges do not meet at", gap.shard))?;
    let consumers = entry
        .consumers
        .into_iter()
        .map(ConsumerEntry::into_consumer)
        .collect::<Result<Vec<_>, _>>()?;
    if !consumers.is_sorted_by(|a, b| a.name < b.name) {
        return Err(wrong("consumers out of order in stream", name));
    }
    Ok(Stream {
        id,
        name: StreamName::new(name).map_err(|_| wrong("stream name", name))?,
        status: status(&entry.status)?,
        mode: mode(&entry.mode)?,
        retention_ms: entry.retention_ms,
        expired_before: Timestamp::from_millis(entry.expired_before_ms.unwrap_or(0)),
        retain_bytes: entry.retain_bytes,
        created: Timestamp::from_millis(entry.created_ms),
        map_version: entry.map_version,
        pending: entry.pending.as_ref().map(decode_pending).transpose()?,
        count_updates: entry
            .count_updates_ms
            .into_iter()
            .map(Timestamp::from_millis)
            .collect(),
        shards,
        settings: entry.settings.into_settings()?,
        consumers,
        mode_changes: entry
            .mode_changes_ms
            .into_iter()
            .map(Timestamp::from_millis)
            .collect(),
        routes,
    })
}

fn decode_shard(stream: StreamId, entry: &ShardEntry, cores: u32) -> Result<Shard, EntryError> {
    let index = ShardIndex(entry.index);
    let closed = match &entry.closed {
        None => None,
        Some(closed) => Some(Closed {
            at: Timestamp::from_millis(closed.at_ms),
            next: Offset::new(closed.next).ok_or_else(|| wrong("offset", closed.next))?,
        }),
    };
    Ok(Shard {
        index,
        range: HashKeyRange {
            start: hash_key(&entry.start)?,
            end: hash_key(&entry.end)?,
        },
        created: Timestamp::from_millis(entry.created_ms),
        opened: Timestamp::from_millis(entry.opened_ms.unwrap_or(entry.created_ms)),
        core: core_of(stream, index, cores),
        parent: entry.parent.map(ShardIndex),
        adjacent_parent: entry.adjacent_parent.map(ShardIndex),
        closed,
    })
}

fn status(text: &str) -> Result<StreamStatus, EntryError> {
    [
        StreamStatus::Creating,
        StreamStatus::Active,
        StreamStatus::Updating,
        StreamStatus::Deleting,
    ]
    .into_iter()
    .find(|status| status.aws_name() == text)
    .ok_or_else(|| wrong("stream status", text))
}

fn mode(text: &str) -> Result<StreamMode, EntryError> {
    [StreamMode::Provisioned, StreamMode::OnDemand]
        .into_iter()
        .find(|mode| mode.aws_name() == text)
        .ok_or_else(|| wrong("stream mode", text))
}

#[cfg(test)]
mod tests {
    use weir_protocol::model::{ConsumerName, StreamQuota};

    use super::*;
    use crate::consumer::{Consumer, ConsumerStatus};
    use crate::settings::{RecordDistribution, ShardMetrics, StreamSettings};

    #[test]
    fn an_entry_gives_the_stream_back() {
        let shards: Vec<Shard> = HashKeyRange::divide(3)
            .zip(0..)
            .map(|(range, index)| Shard {
                index: ShardIndex(index),
                range,
                created: Timestamp::from_millis(77),
                opened: Timestamp::from_millis(70),
                core: core_of(StreamId::new(9), ShardIndex(index), 2),
                parent: None,
                adjacent_parent: None,
                closed: None,
            })
            .collect();
        let stream = Stream {
            id: StreamId::new(9),
            name: StreamName::new("logs").unwrap(),
            status: StreamStatus::Deleting,
            mode: StreamMode::Provisioned,
            retention_ms: 5_000,
            expired_before: Timestamp::from_millis(77),
            retain_bytes: Some(1 << 40),
            created: Timestamp::from_millis(76),
            map_version: 4,
            pending: None,
            count_updates: vec![Timestamp::from_millis(78)],
            routes: Routes::new(&shards).unwrap(),
            shards,
            settings: StreamSettings {
                tags: [("a".to_owned(), "ü".to_owned())].into(),
                encryption_key: Some("alias/k".to_owned()),
                monitoring: ShardMetrics::named("OutgoingBytes").unwrap(),
                policy: Some("{}".to_owned()),
                warm_throughput_mibps: Some(9),
                record_bytes_max: 2 << 20,
                distribution: RecordDistribution::Auto,
                quota: StreamQuota::Off,
            },
            consumers: vec![Consumer {
                name: ConsumerName::new("app").unwrap(),
                created: Timestamp::from_millis(99),
                status: ConsumerStatus::Creating,
                tags: [("b".to_owned(), String::new())].into(),
                policy: Some("{}".to_owned()),
            }],
            mode_changes: vec![Timestamp::from_millis(80)],
        };
        let split = Reshard::Split {
            shard: ShardIndex(1),
            at: HashKey::new(u128::MAX / 2),
        };
        let merge = Reshard::Merge {
            shard: ShardIndex(1),
            adjacent: ShardIndex(0),
        };
        let count = Reshard::Count { target: 7 };
        for pending in [None, Some(split), Some(merge), Some(count)] {
            let stream = Stream {
                pending,
                ..stream.clone()
            };
            assert_eq!(decode("logs", &encode(&stream), 2).unwrap(), stream);
        }
    }

    #[test]
    fn an_entry_of_the_first_version_is_read() {
        let first = include_bytes!("entry-version-1.json");
        let stream = decode("logs", first, 2).unwrap();
        assert_eq!(stream.mode, StreamMode::Provisioned);
        assert_eq!(stream.retain_bytes, Some(1 << 40));
        assert_eq!(stream.shards.len(), 2);
        assert_eq!(stream.settings, StreamSettings::default());
        assert!(stream.consumers.is_empty());
        assert_eq!(stream.shards[1].opened, stream.shards[1].created);
        assert_eq!(stream.pending, None);
        assert_eq!(decode("logs", &encode(&stream), 2).unwrap(), stream);
    }

    #[test]
    fn a_later_version_and_nonsense_are_refused_by_name() {
        let error = decode("a", br#"{"version":3,"more":1}"#, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "entry version 3, this build reads up to 2"
        );
        assert!(decode("a", b"", 1).is_err());
        let no_shards = br#"{"version":1,"id":1,"status":"LOST","mode":"ON_DEMAND",
            "retention_ms":1,"created_ms":1,"map_version":1,"shards":[]}"#;
        assert_eq!(
            decode("a", no_shards, 1).unwrap_err().to_string(),
            "stream status \"LOST\""
        );
    }
}
