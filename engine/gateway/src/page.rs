//! Next tokens of lists: where the next page begins, carried by the client.
//!
//! Owns: what is in a next token. Never: the lists.

use weir_protocol::bytes::{Reader, Writer};
use weir_protocol::model::{ShardIndex, StreamId, Timestamp};

use crate::clock_text;
use crate::error::{ErrorKind, ServiceError};
use crate::seal::{Seal, TOKEN_AGE_MS_MAX, TokenKind};

/// Where a list of shards goes on. The filter is carried along: a call with a token has no other
/// members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardPage {
    pub(crate) stream: StreamId,
    /// The last shard returned.
    pub(crate) after: ShardIndex,
    pub(crate) filter: Filter,
}

/// Which shards a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Every shard that still holds or takes records.
    All,
    /// Those that take records.
    Open,
    /// Those that were open at this time.
    OpenAt(Timestamp),
    /// Those that were open at this time or opened later.
    From(Timestamp),
}

impl ShardPage {
    /// The token for it, made at `now`.
    pub(crate) fn seal(&self, seal: &Seal, now: Timestamp, nonce: u64) -> String {
        let (filter, at) = match self.filter {
            Filter::All => (0, Timestamp::ZERO),
            Filter::Open => (1, Timestamp::ZERO),
            Filter::OpenAt(at) => (2, at),
            Filter::From(at) => (3, at),
        };
        let mut payload = Vec::new();
        Writer::new(&mut payload)
            .u64(self.stream.get())
            .u32(self.after.0)
            .u8(filter)
            .u64(at.as_millis());
        seal.close(TokenKind::ShardPage, now, nonce, &payload)
    }

    /// Reads a token that is at most five minutes old.
    pub(crate) fn open(seal: &Seal, token: &str, now: Timestamp) -> Result<Self, ServiceError> {
        let payload = open(seal, TokenKind::ShardPage, token, now)?;
        Self::decode(&payload).ok_or_else(invalid)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader::new(payload);
        let stream = StreamId::new(payload.u64().ok()?);
        let after = ShardIndex(payload.u32().ok()?);
        let filter = payload.u8().ok()?;
        let at = Timestamp::from_millis(payload.u64().ok()?);
        let filter = match filter {
            0 => Filter::All,
            1 => Filter::Open,
            2 => Filter::OpenAt(at),
            3 => Filter::From(at),
            _ => return None,
        };
        Some(Self {
            stream,
            after,
            filter,
        })
    }
}

/// Where a list of consumers goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerPage {
    pub(crate) stream: StreamId,
    /// Name of the last consumer returned.
    pub(crate) after: String,
}

impl ConsumerPage {
    /// The token for it, made at `now`.
    pub(crate) fn seal(&self, seal: &Seal, now: Timestamp, nonce: u64) -> String {
        let mut payload = Vec::new();
        Writer::new(&mut payload)
            .u64(self.stream.get())
            .raw(self.after.as_bytes());
        seal.close(TokenKind::ConsumerPage, now, nonce, &payload)
    }

    /// Reads a token that is at most five minutes old.
    pub(crate) fn open(seal: &Seal, token: &str, now: Timestamp) -> Result<Self, ServiceError> {
        let payload = open(seal, TokenKind::ConsumerPage, token, now)?;
        let mut payload = Reader::new(&payload);
        let stream = StreamId::new(payload.u64().map_err(|_| invalid())?);
        let after = String::from_utf8(payload.rest().to_vec()).map_err(|_| invalid())?;
        Ok(Self { stream, after })
    }
}

/// The token for the streams after `name`.
pub(crate) fn seal_stream_page(seal: &Seal, name: &str, now: Timestamp, nonce: u64) -> String {
    seal.close(TokenKind::StreamPage, now, nonce, name.as_bytes())
}

/// The name in a token that is at most five minutes old.
pub(crate) fn open_stream_page(
    seal: &Seal,
    token: &str,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let payload = open(seal, TokenKind::StreamPage, token, now)?;
    String::from_utf8(payload).map_err(|_| invalid())
}

fn open(
    seal: &Seal,
    kind: TokenKind,
    token: &str,
    now: Timestamp,
) -> Result<Vec<u8>, ServiceError> {
    let opened = seal.open(kind, token).ok_or_else(invalid)?;
    if now.millis_since(opened.created) > TOKEN_AGE_MS_MAX {
        return Err(ServiceError::new(
            ErrorKind::ExpiredNextToken,
            format!(
                "NextToken expired. The token was created at time {} while right now it is {} \
                 which is further in the future than the tolerated delay of {TOKEN_AGE_MS_MAX} \
                 milliseconds.",
                clock_text::java(opened.created),
                clock_text::java(now)
            ),
        ));
    }
    Ok(opened.payload)
}

fn invalid() -> ServiceError {
    ServiceError::invalid_argument("Invalid NextToken.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_421_889_722_000);

    #[test]
    fn pages_survive_their_tokens_for_five_minutes() {
        let seal = Seal::new(&[1; 32]);
        let late = Timestamp::from_millis(NOW.as_millis() + TOKEN_AGE_MS_MAX + 1);
        for filter in [
            Filter::All,
            Filter::Open,
            Filter::OpenAt(NOW),
            Filter::From(NOW),
        ] {
            let page = ShardPage {
                stream: StreamId::new(4),
                after: ShardIndex(99),
                filter,
            };
            let token = page.seal(&seal, NOW, 1);
            assert_eq!(ShardPage::open(&seal, &token, NOW), Ok(page));
            let error = ShardPage::open(&seal, &token, late).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ExpiredNextToken);
            assert!(open_stream_page(&seal, &token, NOW).is_err());
        }
        let token = seal_stream_page(&seal, "logs", NOW, 1);
        assert_eq!(open_stream_page(&seal, &token, NOW), Ok("logs".to_owned()));
        let page = ConsumerPage {
            stream: StreamId::new(4),
            after: "app".to_owned(),
        };
        let token = page.seal(&seal, NOW, 1);
        assert_eq!(ConsumerPage::open(&seal, &token, NOW), Ok(page));
        assert!(open_stream_page(&seal, &token, NOW).is_err());
        let error = ShardPage::open(&seal, "x", NOW).unwrap_err();
        assert_eq!(error.text.unwrap(), "Invalid NextToken.");
    }
}
