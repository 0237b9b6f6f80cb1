//! Shard iterators: a place in a shard that a client carries.
//!
//! Owns: what is in an iterator and how long it lives. Never: the reading; that is
//! [`crate::action::get_records`].

use weir_protocol::bytes::{Reader, Writer};
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId, StreamName, Timestamp};

use crate::clock_text;
use crate::error::{ErrorKind, ServiceError};
use crate::seal::{Seal, TOKEN_AGE_MS_MAX, TokenKind};

/// A place in a shard. It names the stream by its number, so that a new stream of the same name is
/// another one, and keeps the name for the errors' sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardIterator {
    pub(crate) shard: ShardId,
    pub(crate) name: StreamName,
    /// The next record to return.
    pub(crate) offset: Offset,
}

impl ShardIterator {
    /// The token for it, made at `now`.
    pub(crate) fn seal(&self, seal: &Seal, now: Timestamp, nonce: u64) -> String {
        let mut payload = Vec::with_capacity(20 + self.name.as_str().len());
        Writer::new(&mut payload)
            .u64(self.shard.stream.get())
            .u32(self.shard.index.0)
            .u64(self.offset.get())
            .raw(self.name.as_str().as_bytes());
        seal.close(TokenKind::Iterator, now, nonce, &payload)
    }

    /// Reads a token that is at most five minutes old.
    pub(crate) fn open(seal: &Seal, token: &str, now: Timestamp) -> Result<Self, ServiceError> {
        let invalid = || ServiceError::invalid_argument("Invalid ShardIterator.");
        let opened = seal.open(TokenKind::Iterator, token).ok_or_else(invalid)?;
        let iterator = Self::decode(&opened.payload).ok_or_else(invalid)?;
        if now.millis_since(opened.created) > TOKEN_AGE_MS_MAX {
            return Err(expired(opened.created, now));
        }
        Ok(iterator)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader::new(payload);
        let stream = StreamId::new(payload.u64().ok()?);
        let index = ShardIndex(payload.u32().ok()?);
        let offset = Offset::new(payload.u64().ok()?)?;
        let name = std::str::from_utf8(payload.rest()).ok()?;
        Some(Self {
            shard: ShardId::new(stream, index),
            name: StreamName::new(name).ok()?,
            offset,
        })
    }
}

fn expired(created: Timestamp, now: Timestamp) -> ServiceError {
    ServiceError::new(
        ErrorKind::ExpiredIterator,
        format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which \
             is further in the future than the tolerated delay of {TOKEN_AGE_MS_MAX} milliseconds.",
            clock_text::java(created),
            clock_text::java(now)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_421_889_722_000);

    fn iterator() -> ShardIterator {
        ShardIterator {
            shard: ShardId::new(StreamId::new(9), ShardIndex(3)),
            name: StreamName::new(&"x".repeat(128)).unwrap(),
            offset: Offset::new(77).unwrap(),
        }
    }

    #[test]
    fn a_place_survives_its_token() {
        let seal = Seal::new(&[1; 32]);
        let token = iterator().seal(&seal, NOW, 5);
        assert!(token.len() <= 512, "{}", token.len());
        let later = Timestamp::from_millis(NOW.as_millis() + TOKEN_AGE_MS_MAX);
        assert_eq!(ShardIterator::open(&seal, &token, later), Ok(iterator()));
        // A clock that went back makes no iterator invalid.
        let earlier = NOW.minus_millis(60_000);
        assert_eq!(ShardIterator::open(&seal, &token, earlier), Ok(iterator()));
    }

    #[test]
    fn five_minutes_later_it_is_expired() {
        let seal = Seal::new(&[1; 32]);
        let token = iterator().seal(&seal, NOW, 5);
        let late = Timestamp::from_millis(NOW.as_millis() + TOKEN_AGE_MS_MAX + 1);
        let error = ShardIterator::open(&seal, &token, late).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ExpiredIterator);
        assert_eq!(
            error.text.unwrap(),
            "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while \
             right now it is Thu Jan 22 01:27:02 UTC 2015 which is further in the future than the \
             tolerated delay of 300000 milliseconds."
        );
    }

    #[test]
    fn garbage_is_no_iterator() {
        let seal = Seal::new(&[1; 32]);
        for token in ["", "garbage", "AAAAAAAAAAE="] {
            let error = ShardIterator::open(&seal, token, NOW).unwrap_err();
            assert_eq!(error.text.unwrap(), "Invalid ShardIterator.");
        }
    }
}
