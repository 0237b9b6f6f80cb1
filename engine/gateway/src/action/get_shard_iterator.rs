//! `GetShardIterator`: a place in a shard, fixed when it is asked for.

use weir_protocol::model::{Offset, SequenceNumber, ShardIndex, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_stream::Shard;

use crate::call::Call;
use crate::error::{About, ServiceError};
use crate::iterator::ShardIterator;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// A request whose members have their form.
#[derive(Debug, Clone, Copy)]
struct Request<'v> {
    shard: &'v str,
    kind: &'v str,
    number: Option<&'v str>,
    time_ms: Option<i64>,
    reference: StreamReference<'v>,
}

fn read(members: Members<'_>) -> Request<'_> {
    Request {
        shard: members.text("ShardId").unwrap_or_default(),
        kind: members.text("ShardIteratorType").unwrap_or_default(),
        number: members.text("StartingSequenceNumber"),
        time_ms: members.time_ms("Timestamp"),
        reference: StreamReference::read(members),
    }
}

/// Answers an iterator for the place.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let request = read(members);
    let name = request.reference.resolve()?;
    let about = call.about(name);
    let index =
        ShardIndex::parse(request.shard).ok_or_else(|| about.unresolved_shard(request.shard))?;
    let stream = call
        .usable_stream(name)
        .map_err(|_| about.missing_shard(index))?;
    let shard = stream
        .shard(index)
        .ok_or_else(|| about.missing_shard(index))?;
    let place = place(&request, shard, call.now(), about)?;
    members.refuse_dry_run()?;
    let offset = match place {
        Place::At(offset) => offset,
        Place::Seek(from) => call
            .engine
            .seek(stream.shard_id(index), from)
            .await
            .map_err(|error| about.read_refused(index, &error))?,
    };
    let iterator = ShardIterator {
        shard: stream.shard_id(index),
        name: stream.name.clone(),
        offset,
    };
    let token = iterator.seal(call.seal, call.now(), call.ids.next());
    let mut out = call.writer(512);
    out.open_map().member("ShardIterator").plain(token);
    out.close_map();
    Ok(out.into_bytes())
}

/// Where an iterator points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Known without asking the shard. Below the horizon means at it, also when it moves.
    At(Offset),
    /// The shard's core knows.
    Seek(ReadFrom),
}

fn place(
    request: &Request<'_>,
    shard: &Shard,
    now: Timestamp,
    about: About<'_>,
) -> Result<Place, ServiceError> {
    match (request.kind, request.number) {
        ("AT_SEQUENCE_NUMBER", Some(number)) => {
            Ok(Place::At(at_number(number, shard, false, about)?))
        }
        ("AFTER_SEQUENCE_NUMBER", Some(number)) => {
            Ok(Place::At(at_number(number, shard, true, about)?))
        }
        ("TRIM_HORIZON", None) => Ok(Place::At(Offset::ZERO)),
        ("LATEST", None) => Ok(Place::Seek(ReadFrom::Latest)),
        ("AT_TIMESTAMP", None) => at_time(request.time_ms, now).map(Place::Seek),
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

/// The offset that a sequence number of this shard stands for, or the one after it.
fn at_number(
    text: &str,
    shard: &Shard,
    after: bool,
    about: About<'_>,
) -> Result<Offset, ServiceError> {
    let index = shard.index;
    let refuse = |why: &str| {
        ServiceError::invalid_argument(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {index} in stream {} \
             under account {} is invalid{why}",
            about.stream, about.account
        ))
    };
    let number = SequenceNumber::parse(text).map_err(|_| refuse("."))?;
    if !number.is_ancient() && number.shard() != index {
        return Err(ServiceError::invalid_argument(format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard \
             with {index}",
            number.shard()
        )));
    }
    if number.is_ancient() || number.shard_created().as_secs() != shard.created.as_secs() {
        return Err(refuse(" because it did not come from this stream."));
    }
    Ok(match number.offset() {
        // A number of progress stands for a place behind its record, however it is asked for.
        Some(offset) if after || number.is_progress() => {
            Offset::new(offset.get() + 1).unwrap_or(Offset::MAX)
        }
        Some(offset) => offset,
        // The start of the shard, or its end: the one before all records, the other after.
        None if number.index() == 0 => Offset::ZERO,
        None => shard.closed.map_or(Offset::MAX, |closed| closed.next),
    })
}

#[cfg(test)]
mod tests {
    use super::super::shape::example;
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    const NOW: Timestamp = Timestamp::from_millis(example::CREATED.as_millis() + 60_000);
    const ABOUT: About<'_> = About {
        stream: "logs",
        account: "000000000000",
    };

    fn place_of(members: &str) -> Result<Place, String> {
        let body = format!("{{\"StreamName\":\"logs\",\"ShardId\":\"1\",{members}}}");
        let stream = example::stream(2);
        checked(Operation::GetShardIterator, &body, |members| {
            place(&read(members), &stream.shards[1], NOW, ABOUT).map_err(|e| e.text.unwrap())
        })?
    }

    fn number(shard: u32, created: Timestamp, offset: u64) -> String {
        let offset = Offset::new(offset).unwrap();
        SequenceNumber::of_record(ShardIndex(shard), created, offset, NOW).to_string()
    }

    fn by_number(kind: &str, number: &str) -> Result<Place, String> {
        place_of(&format!(
            r#""ShardIteratorType":"{kind}","StartingSequenceNumber":"{number}""#
        ))
    }

    #[test]
    fn five_types() {
        let at = |raw| Ok(Place::At(Offset::new(raw).unwrap()));
        let own = number(1, example::CREATED, 41);
        assert_eq!(by_number("AT_SEQUENCE_NUMBER", &own), at(41));
        assert_eq!(by_number("AFTER_SEQUENCE_NUMBER", &own), at(42));
        let start = SequenceNumber::of_shard_start(ShardIndex(1), example::CREATED).to_string();
        assert_eq!(by_number("AT_SEQUENCE_NUMBER", &start), at(0));
        assert_eq!(by_number("AFTER_SEQUENCE_NUMBER", &start), at(0));
        assert_eq!(place_of(r#""ShardIteratorType":"TRIM_HORIZON""#), at(0));
        assert_eq!(
            place_of(r#""ShardIteratorType":"LATEST""#),
            Ok(Place::Seek(ReadFrom::Latest))
        );
        let time = Timestamp::from_millis(1_763_900_001_500);
        assert_eq!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":1763900001.5"#),
            Ok(Place::Seek(ReadFrom::Time(time)))
        );
        // Before 1970 is before every horizon.
        assert_eq!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":-5"#),
            Ok(Place::Seek(ReadFrom::Time(Timestamp::ZERO)))
        );
    }

    #[test]
    fn progress_neither_repeats_nor_skips_a_record() {
        let next = Offset::new(42).unwrap();
        let number = SequenceNumber::of_progress(ShardIndex(1), example::CREATED, next, NOW);
        for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
            assert_eq!(by_number(kind, &number.to_string()), Ok(Place::At(next)));
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let own = number(1, example::CREATED, 41);
        assert_eq!(
            by_number("LATEST", &own).unwrap_err(),
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified LATEST and also a StartingSequenceNumber."
        );
        assert!(
            place_of(r#""ShardIteratorType":"AT_SEQUENCE_NUMBER""#)
                .unwrap_err()
                .ends_with("Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber.")
        );
        assert!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP""#)
                .unwrap_err()
                .starts_with("Must specify timestampInMillis")
        );
        assert_eq!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":1763900061"#).unwrap_err(),
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
             timestampInMillis: 1763900061000, currentTimestampInMillis: 1763900060000"
        );
        assert!(
            place_of(r#""ShardIteratorType":"EARLIEST""#)
                .unwrap_err()
                .contains(
                    "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, \
                     TRIM_HORIZON]"
                )
        );
    }

    #[test]
    fn foreign_numbers_are_refused() {
        let other_shard = number(0, example::CREATED, 41);
        assert_eq!(
            by_number("AT_SEQUENCE_NUMBER", &other_shard).unwrap_err(),
            "Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in \
             a call to a shard with shardId-000000000001"
        );
        let other_stream = number(1, example::CREATED.minus_millis(86_400_000), 41);
        for foreign in [other_stream.as_str(), "0", "5"] {
            assert_eq!(
                by_number("AT_SEQUENCE_NUMBER", foreign).unwrap_err(),
                format!(
                    "StartingSequenceNumber {foreign} used in GetShardIterator on shard \
                     shardId-000000000001 in stream logs under account 000000000000 is invalid \
                     because it did not come from this stream."
                )
            );
        }
        let nonsense = "9".repeat(56);
        assert!(
            by_number("AT_SEQUENCE_NUMBER", &nonsense)
                .unwrap_err()
                .ends_with("is invalid.")
        );
    }
}
