//! `GetShardIterator`: a place in a shard, fixed when it is asked for.

use weir_protocol::model::ShardIndex;
use weir_reactor::Reactor;

use super::starting_position::StartingPosition;
use crate::call::Call;
use crate::error::ServiceError;
use crate::iterator::ShardIterator;
use crate::member::Members;
use crate::stream_reference::StreamReference;

fn starting_position(members: Members<'_>) -> StartingPosition<'_> {
    StartingPosition {
        operation: "GetShardIterator",
        kind: members.text("ShardIteratorType").unwrap_or_default(),
        number: members.text("StartingSequenceNumber"),
        time_ms: members.time_ms("Timestamp"),
    }
}

/// Answers an iterator for the place.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let about = call.about(name);
    let asked = members.text("ShardId").unwrap_or_default();
    let index = ShardIndex::parse(asked).ok_or_else(|| about.unresolved_shard(asked))?;
    let stream = call
        .usable_stream(name)
        .map_err(|_| about.missing_shard(index))?;
    let shard = stream
        .shard(index)
        .ok_or_else(|| about.missing_shard(index))?;
    let start = starting_position(members).resolve(shard, call.now(), about)?;
    members.refuse_dry_run()?;
    let offset = start
        .seek(call.engine, stream.shard_id(index), about)
        .await?;
    let iterator = ShardIterator {
        shard: stream.shard_id(index),
        name: stream.name.clone(),
        offset,
    };
    let token = iterator.seal(call.seal, call.token_time(), call.ids.next());
    let mut out = call.writer(512);
    out.open_map().member("ShardIterator").plain(token);
    out.close_map();
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::shape::example;
    use super::super::starting_position::Start;
    use super::*;
    use crate::error::About;
    use crate::model::Operation;
    use crate::model::example::checked;
    use weir_protocol::model::{Offset, SequenceNumber, Timestamp};
    use weir_protocol::wire::request::ReadFrom;

    const NOW: Timestamp = Timestamp::from_millis(example::CREATED.as_millis() + 60_000);
    const ABOUT: About<'_> = About {
        stream: "logs",
        account: "000000000000",
    };

    fn place_of(members: &str) -> Result<Start, String> {
        let body = format!("{{\"StreamName\":\"logs\",\"ShardId\":\"1\",{members}}}");
        let stream = example::stream(2);
        checked(Operation::GetShardIterator, &body, |members| {
            let position = starting_position(members);
            position
                .resolve(&stream.shards[1], NOW, ABOUT)
                .map_err(|e| e.text.unwrap())
        })?
    }

    fn number(shard: u32, created: Timestamp, offset: u64) -> String {
        let offset = Offset::new(offset).unwrap();
        SequenceNumber::of_record(ShardIndex(shard), created, offset, NOW).to_string()
    }

    fn by_number(kind: &str, number: &str) -> Result<Start, String> {
        place_of(&format!(
            r#""ShardIteratorType":"{kind}","StartingSequenceNumber":"{number}""#
        ))
    }

    #[test]
    fn five_types() {
        let at = |raw| Ok(Start::At(Offset::new(raw).unwrap()));
        let own = number(1, example::CREATED, 41);
        assert_eq!(by_number("AT_SEQUENCE_NUMBER", &own), at(41));
        assert_eq!(by_number("AFTER_SEQUENCE_NUMBER", &own), at(42));
        let start = SequenceNumber::of_shard_start(ShardIndex(1), example::CREATED).to_string();
        assert_eq!(by_number("AT_SEQUENCE_NUMBER", &start), at(0));
        assert_eq!(by_number("AFTER_SEQUENCE_NUMBER", &start), at(0));
        assert_eq!(place_of(r#""ShardIteratorType":"TRIM_HORIZON""#), at(0));
        assert_eq!(
            place_of(r#""ShardIteratorType":"LATEST""#),
            Ok(Start::Seek(ReadFrom::Latest))
        );
        let time = Timestamp::from_millis(1_763_900_001_500);
        assert_eq!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":1763900001.5"#),
            Ok(Start::Seek(ReadFrom::Time(time)))
        );
        // Before 1970 is before every horizon.
        assert_eq!(
            place_of(r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":-5"#),
            Ok(Start::Seek(ReadFrom::Time(Timestamp::ZERO)))
        );
    }

    #[test]
    fn progress_neither_repeats_nor_skips_a_record() {
        let next = Offset::new(42).unwrap();
        let number = SequenceNumber::of_progress(ShardIndex(1), example::CREATED, next, NOW);
        for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
            assert_eq!(by_number(kind, &number.to_string()), Ok(Start::At(next)));
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
        // AWS adds 2^124 to numbers that lack it.
        let ancient = "21267647932558653966460912964485513217";
        for (foreign, told) in [
            (other_stream.as_str(), other_stream.as_str()),
            ("1", ancient),
        ] {
            assert_eq!(
                by_number("AT_SEQUENCE_NUMBER", foreign).unwrap_err(),
                format!(
                    "StartingSequenceNumber {told} used in GetShardIterator on shard \
                     shardId-000000000001 in stream logs under account 000000000000 is invalid \
                     because it did not come from this stream."
                )
            );
        }
        assert!(
            by_number("AT_SEQUENCE_NUMBER", "5")
                .unwrap_err()
                .starts_with("Invalid StartingSequenceNumber. It encodes shardId-000000000005,")
        );
        let nonsense = "9".repeat(56);
        assert!(
            by_number("AT_SEQUENCE_NUMBER", &nonsense)
                .unwrap_err()
                .ends_with("is invalid.")
        );
    }
}
