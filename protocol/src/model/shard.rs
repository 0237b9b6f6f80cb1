//! Shards, logs, and the keys that choose between them.

use std::fmt;

use thiserror::Error;

use super::StreamId;
use crate::limits::PARTITION_KEY_CHARS_MAX;

/// A shard's number within its stream: rises in creation order, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardIndex(pub u32);

impl ShardIndex {
    /// Reads the name AWS clients use. As AWS does, the part after the first `-`, or the whole, is
    /// the index if it is all digits and at most 2147483647.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.split_once('-').map_or(name, |(_, rest)| rest);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let index: i32 = digits.parse().ok()?;
        Some(Self(index as u32))
    }
}

impl fmt::Display for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

/// A shard of the folder: a stream's id and the index within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its number there.
    pub index: ShardIndex,
}

impl ShardId {
    /// The shard `index` of `stream`.
    pub const fn new(stream: StreamId, index: ShardIndex) -> Self {
        Self { stream, index }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream.get(), self.index.0)
    }
}

/// One append log of a folder. Today each core runs one; a log is not a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}", self.0)
    }
}

/// A byte position in a log: segment ordinal times segment size plus offset in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What decides a record's shard: 1 to 256 Unicode characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionKey<'a>(&'a str);

impl<'a> PartitionKey<'a> {
    /// Checks the length.
    pub fn new(key: &'a str) -> Result<Self, InvalidPartitionKey> {
        // A key of at most 256 bytes has at most 256 characters: the count is for the rest.
        let chars = if key.len() <= PARTITION_KEY_CHARS_MAX {
            key.len()
        } else {
            key.chars().count()
        };
        if chars == 0 || chars > PARTITION_KEY_CHARS_MAX {
            return Err(InvalidPartitionKey { chars });
        }
        Ok(Self(key))
    }

    /// The characters.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A partition key of no or too many characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("partition key has {chars} characters, expected 1 to {PARTITION_KEY_CHARS_MAX}")]
pub struct InvalidPartitionKey {
    /// Characters found.
    pub chars: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_names_resolve_as_leniently_as_at_aws() {
        for name in ["shardId-000000000007", "shardId-7", "7", "x-7"] {
            assert_eq!(ShardIndex::parse(name), Some(ShardIndex(7)), "{name}");
        }
        for name in ["", "shardId-", "shardId-x", "a-b-7", "2147483648", "-1x"] {
            assert_eq!(ShardIndex::parse(name), None, "{name}");
        }
        assert_eq!(ShardIndex(7).to_string(), "shardId-000000000007");
    }

    #[test]
    fn keys_are_counted_in_characters() {
        assert!(PartitionKey::new("").is_err());
        assert!(PartitionKey::new(&"é".repeat(256)).is_ok());
        assert_eq!(
            PartitionKey::new(&"é".repeat(257)),
            Err(InvalidPartitionKey { chars: 257 })
        );
    }
}
