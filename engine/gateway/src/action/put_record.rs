//! `PutRecord`: one record, stored before it is answered.

use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{Offset, SequenceNumber, ShardId, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_stream::{AppendError, Shard, ShardBatch, Stream};

use super::record::{ROUTES_MAX, SentRecord, any_hash_key};
use super::shape;
use crate::call::{Call, spreads};
use crate::error::{About, ServiceError};
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Stores the record and answers its shard and sequence number.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let ordering = members.text("SequenceNumberForOrdering");
    let record = SentRecord::read(members);
    let name = StreamReference::read(members).resolve()?;
    let stream = call.usable_stream(name)?;
    let hash_key = if spreads(&stream) {
        any_hash_key(call.ids)
    } else {
        record.hash_key()?
    };
    record.check_weight(&stream)?;
    let ordering = match ordering {
        None => None,
        Some(text) => Some((text, check_ordering(text, call.now(), call.about(name))?)),
    };
    let mut stream = stream;
    let mut routes = 0;
    let (shard, stored) = loop {
        let shard = stream.route(hash_key).clone();
        if let Some((text, number)) = ordering
            && is_of(number, &shard)
        {
            let sought = call
                .engine
                .seek(stream.shard_id(shard.index), ReadFrom::Latest)
                .await;
            let next = sought.map_err(|e| call.about(name).read_refused(shard.index, &e))?;
            if !was_given_out(number, next) {
                return Err(invalid_ordering(text, call.about(name)));
            }
        }
        members.refuse_dry_run()?;
        let batch = batch_of(&record, stream.shard_id(shard.index), &stream)?;
        routes += 1;
        match call.engine.append(vec![batch]).await.pop() {
            Some(Ok(stored)) => break (shard, stored),
            // It was split or merged: its children take the key.
            Some(Err(AppendError::ShardClosed { .. })) if routes < ROUTES_MAX => {}
            Some(Err(error)) => return Err(call.about(name).append_refused(shard.index, &error)),
            None => return Err(ServiceError::internal("the append was not answered")),
        }
        stream = call.stream_again(&stream)?;
    };

    let number = SequenceNumber::of_record(
        shard.index,
        shard.created,
        stored.first_offset,
        stored.arrival,
    );
    let mut out = call.writer(128);
    out.open_map();
    out.member("ShardId").plain(shard.index);
    out.member("SequenceNumber")
        .ascii(number.digits().as_bytes());
    shape::encryption_if_any(&mut out, &stream);
    out.close_map();
    Ok(out.into_bytes())
}

fn batch_of(
    record: &SentRecord<'_>,
    shard: ShardId,
    stream: &Stream,
) -> Result<ShardBatch, ServiceError> {
    let mut bytes = Vec::with_capacity(128 + record.weight());
    let mark = ProducerMark::default();
    let mut batch = BatchBuilder::new(&mut bytes, shard, stream.map_version, mark);
    if let Some(data) = record.data {
        batch
            .push_with(record.key.unwrap_or_default(), data.bytes(), |out| {
                data.decode_into(out);
            })
            .map_err(|full| ServiceError::internal(full.to_string()))?;
    }
    batch.finish();
    Ok(ShardBatch { shard, bytes })
}

/// The number that the new one shall be above: one that was given out before, so not of the future.
fn check_ordering(
    text: &str,
    now: Timestamp,
    about: About<'_>,
) -> Result<SequenceNumber, ServiceError> {
    match SequenceNumber::parse(text) {
        Ok(number) if number.time() <= now => Ok(number),
        _ => Err(invalid_ordering(text, about)),
    }
}

fn invalid_ordering(text: &str, about: About<'_>) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {} under account {} is \
         invalid.",
        about.stream, about.account
    ))
}

/// Whether the number is one of this shard, or says so. Only then are numbers compared.
fn is_of(number: SequenceNumber, shard: &Shard) -> bool {
    !number.is_ancient()
        && number.shard() == shard.index
        && number.shard_created().as_secs() == shard.created.as_secs()
}

/// Whether a number of a shard stands for nothing at or behind `next`. Every number that the shard
/// gives out from then on is above it: they only rise.
fn was_given_out(number: SequenceNumber, next: Offset) -> bool {
    number.index() <= next.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::ShardIndex;

    #[test]
    fn numbers_of_the_future_are_refused_for_ordering() {
        let now = Timestamp::from_millis(1_763_900_000_999);
        let about = About {
            stream: "logs",
            account: "000000000000",
        };
        let number = |time: u64| {
            let time = Timestamp::from_millis(time);
            SequenceNumber::of_record(ShardIndex(0), now, Offset::ZERO, time).to_string()
        };
        assert!(check_ordering(&number(1_763_900_000_000), now, about).is_ok());
        assert!(check_ordering("0", now, about).is_ok());
        let future = number(1_763_900_001_000);
        assert_eq!(
            check_ordering(&future, now, about)
                .unwrap_err()
                .text
                .unwrap(),
            format!(
                "ExclusiveMinimumSequenceNumber {future} used in PutRecord on stream logs under \
                 account 000000000000 is invalid."
            )
        );
        assert!(check_ordering(&"9".repeat(56), now, about).is_err());
    }
}
