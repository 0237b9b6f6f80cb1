//! What a server says when it does not do what was asked.

use std::fmt;

use thiserror::Error;

use crate::bytes::{Reader, Writer};
use crate::wire::request::Malformed;

/// Why a request, or one batch of it, was refused. The number is the code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// The request's bytes make no sense.
    Malformed = 1,
    /// A kind of request that this server does not know.
    UnknownRequest = 2,
    /// A value outside its bounds.
    InvalidArgument = 3,
    /// No stream of that name or id.
    StreamNotFound = 4,
    /// The name is taken.
    StreamExists = 5,
    /// The stream is being created or deleted.
    StreamNotActive = 6,
    /// No shard of that index.
    ShardNotFound = 7,
    /// The shard was closed by a split or merge: ask for the new map.
    ShardClosed = 8,
    /// Another core owns the shard: `owner` tells which, `map_version` of what map.
    NotOwner = 9,
    /// The batch does not decode, or breaks a limit.
    InvalidBatch = 10,
    /// The shard's quota is used up for now.
    Throttled = 11,
    /// The server has no memory left for this now.
    Overloaded = 12,
    /// The disk has no room for more.
    DiskFull = 13,
    /// The log failed and is being recovered: nothing of this request is known to be stored.
    LogFailed = 14,
    /// The log takes no writes until an operator looks at it.
    ReadOnly = 15,
    /// Bytes of the shard that are damaged on disk.
    Damaged = 16,
    /// The server is stopping.
    Stopping = 17,
    /// The shard's numbers are used up.
    Exhausted = 18,
    /// Something that should not happen did.
    Internal = 19,
}

impl ErrorCode {
    /// All codes, in order.
    pub const ALL: [Self; 19] = [
        Self::Malformed,
        Self::UnknownRequest,
        Self::InvalidArgument,
        Self::StreamNotFound,
        Self::StreamExists,
        Self::StreamNotActive,
        Self::ShardNotFound,
        Self::ShardClosed,
        Self::NotOwner,
        Self::InvalidBatch,
        Self::Throttled,
        Self::Overloaded,
        Self::DiskFull,
        Self::LogFailed,
        Self::ReadOnly,
        Self::Damaged,
        Self::Stopping,
        Self::Exhausted,
        Self::Internal,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// From the number on the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether the same request may succeed later, unchanged.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::StreamNotActive
                | Self::NotOwner
                | Self::Throttled
                | Self::Overloaded
                | Self::DiskFull
                | Self::LogFailed
                | Self::Stopping
        )
    }
}

/// A refusal with all a client needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct WireError {
    /// What it is about.
    pub code: ErrorCode,
    /// With `NotOwner`: the core to connect to.
    pub owner: u32,
    /// With `NotOwner` and `ShardClosed`: the version of the map that says so.
    pub map_version: u32,
    /// One sentence for a person.
    pub text: String,
}

impl WireError {
    /// An error without the fields of `NotOwner`.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            owner: 0,
            map_version: 0,
            text: text.into(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let text = cut(&self.text, u16::MAX as usize);
        let mut w = Writer::new(out);
        w.u16(self.code.code())
            .u8(u8::from(self.code.is_retryable()))
            .u8(0);
        w.u32(self.owner).u32(self.map_version);
        w.u16(text.len() as u16).raw(text.as_bytes());
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = r.u16()?;
        let code = ErrorCode::from_code(code).ok_or(Malformed::Value {
            what: "error code",
            found: u64::from(code),
        })?;
        let _retryable = r.u8()?;
        let _reserved = r.u8()?;
        let (owner, map_version) = (r.u32()?, r.u32()?);
        let bytes = r.u16()? as usize;
        let text = String::from_utf8_lossy(r.take(bytes)?).into_owned();
        Ok(Self {
            code,
            owner,
            map_version,
            text,
        })
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
