//! Streams: their ids, names, modes and states.

use std::fmt;

use thiserror::Error;

use crate::limits::STREAM_NAME_BYTES_MAX;

/// A stream's number in its folder; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// From the raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A stream's name: 1 to 128 of `[a-zA-Z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Box<str>);

impl StreamName {
    /// Checks length and characters.
    pub fn new(name: &str) -> Result<Self, InvalidStreamName> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if name.is_empty() || name.len() > STREAM_NAME_BYTES_MAX || !name.bytes().all(legal) {
            let shown: String = name.chars().take(STREAM_NAME_BYTES_MAX).collect();
            return Err(InvalidStreamName {
                name: shown.escape_debug().to_string(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no stream can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{name}\" is not a stream name: expected 1 to {STREAM_NAME_BYTES_MAX} of a-z A-Z 0-9 _ . -"
)]
pub struct InvalidStreamName {
    /// The name, escaped and cut to the longest legal length.
    pub name: String,
}

/// What meters a stream's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamMode {
    /// Each shard takes what AWS's shard takes, and is throttled above it.
    Provisioned,
    /// Shards run at the hardware's speed.
    OnDemand,
}

impl StreamMode {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Provisioned => 1,
            Self::OnDemand => 2,
        }
    }

    /// From the byte on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Provisioned),
            2 => Some(Self::OnDemand),
            _ => None,
        }
    }

    /// AWS's word for it.
    pub const fn aws_name(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

/// Whether a stream's shards are metered, whatever its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StreamQuota {
    /// As the server is told.
    #[default]
    Server,
    /// By the stream's mode, also on a server that is told otherwise.
    Mode,
    /// As AWS meters a provisioned stream.
    Aws,
    /// Not at all.
    Off,
}

impl StreamQuota {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Server => 1,
            Self::Mode => 2,
            Self::Aws => 3,
            Self::Off => 4,
        }
    }

    /// From the byte on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Server),
            2 => Some(Self::Mode),
            3 => Some(Self::Aws),
            4 => Some(Self::Off),
            _ => None,
        }
    }

    /// Its word on the command line and in the catalog.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Mode => "mode",
            Self::Aws => "aws",
            Self::Off => "off",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Server, Self::Mode, Self::Aws, Self::Off]
            .into_iter()
            .find(|quota| quota.word() == word)
    }
}

/// Where a stream stands between its creation and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamStatus {
    /// Made durable, not usable yet.
    Creating,
    /// In use.
    Active,
    /// In use while its shards or settings change.
    Updating,
    /// On its way out.
    Deleting,
}

impl StreamStatus {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Creating => 1,
            Self::Active => 2,
            Self::Updating => 3,
            Self::Deleting => 4,
        }
    }

    /// From the byte on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Creating),
            2 => Some(Self::Active),
            3 => Some(Self::Updating),
            4 => Some(Self::Deleting),
            _ => None,
        }
    }

    /// AWS's word for it.
    pub const fn aws_name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_aws_pattern() {
        for name in ["a", "logs.eu-west_1", &"x".repeat(128)] {
            assert_eq!(StreamName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a b", "ü", "a/b", &"x".repeat(129)] {
            assert!(StreamName::new(name).is_err(), "{name}");
        }
    }
}
