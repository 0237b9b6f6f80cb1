//! Where reading a shard begins, in the five ways that AWS has for it.
//!
//! Owns: what GetShardIterator and SubscribeToShard understand alike, and refuse alike.

use weir_protocol::model::{Offset, SequenceNumber, ShardId, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_stream::{Engine, Shard};

use crate::error::{About, ServiceError};

/// What a request says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartingPosition<'v> {
    /// The operation that was called, for its errors.
    pub(super) operation: &'static str,
    pub(super) kind: &'v str,
    pub(super) number: Option<&'v str>,
    pub(super) time_ms: Option<i64>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Known without asking the shard. Below the horizon means at it, also when it moves.
    At(Offset),
    /// The shard's core knows.
    Seek(ReadFrom),
}

impl Start {
    /// The offset of it in `shard`.
    pub(super) async fn seek<R: Reactor>(
        self,
        engine: &Engine<R>,
        shard: ShardId,
        about: About<'_>,
    ) -> Result<Offset, ServiceError> {
        let from = match self {
            Self::At(offset) => return Ok(offset),
            Self::Seek(from) => from,
        };
        let sought = engine.seek(shard, from).await;
        sought.map_err(|error| about.read_refused(shard.index, &error))
    }
}

impl StartingPosition<'_> {
    /// What it means for `shard`.
    pub(super) fn resolve(
        &self,
        shard: &Shard,
        now: Timestamp,
        about: About<'_>,
    ) -> Result<Start, ServiceError> {
        match (self.kind, self.number) {
            ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", Some(number)) => {
                self.at_number(number, shard, about)
            }
            ("TRIM_HORIZON", None) => Ok(Start::At(Offset::ZERO)),
            ("LATEST", None) => Ok(Start::Seek(ReadFrom::Latest)),
            ("AT_TIMESTAMP", None) => at_time(self.time_ms, now).map(Start::Seek),
            (kind, number) => {
                let found = if number.is_some() {
                    "and also a StartingSequenceNumber."
                } else {
                    "and no StartingSequenceNumber."
                };
                Err(ServiceError::invalid_argument(format!(
                    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                     StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no \
                     StartingSequenceNumber. Request specified {kind} {found}"
                )))
            }
        }
    }

    /// The offset that a sequence number of this shard stands for, or the one after it.
    fn at_number(
        &self,
        text: &str,
        shard: &Shard,
        about: About<'_>,
    ) -> Result<Start, ServiceError> {
        let (operation, index) = (self.operation, shard.index);
        let after = self.kind == "AFTER_SEQUENCE_NUMBER";
        let refuse = |number: &str, why: &str| {
            ServiceError::invalid_argument(format!(
                "StartingSequenceNumber {number} used in {operation} on shard {index} in stream {} \
                 under account {} is invalid{why}",
                about.stream, about.account
            ))
        };
        let number = SequenceNumber::parse(text).map_err(|_| refuse(text, "."))?;
        if number.shard() != index {
            return Err(ServiceError::invalid_argument(format!(
                "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard \
                 with {index}",
                number.shard()
            )));
        }
        if number.is_ancient() || number.shard_created().as_secs() != shard.created.as_secs() {
            // An ancient number is told in the form that it was read as.
            let why = " because it did not come from this stream.";
            return Err(refuse(&number.to_string(), why));
        }
        Ok(Start::At(match number.offset() {
            // A number of progress stands for a place behind its record, however it is asked for.
            Some(offset) if after || number.is_progress() => {
                Offset::new(offset.get() + 1).unwrap_or(Offset::MAX)
            }
            Some(offset) => offset,
            // The start of the shard, or its end: the one before all records, the other after.
            None if number.index() == 0 => Offset::ZERO,
            None => shard.closed.map_or(Offset::MAX, |closed| closed.next),
        }))
    }
}

fn at_time(time_ms: Option<i64>, now: Timestamp) -> Result<ReadFrom, ServiceError> {
    let Some(time) = time_ms else {
        return Err(ServiceError::invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current \
             request has no timestamp parameter.",
        ));
    };
    let now = now.as_millis();
    let time = u64::try_from(time).unwrap_or(0);
    if time > now {
        return Err(ServiceError::invalid_argument(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
             timestampInMillis: {time}, currentTimestampInMillis: {now}"
        )));
    }
    Ok(ReadFrom::Time(Timestamp::from_millis(time)))
}
