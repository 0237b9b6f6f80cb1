//! `DescribeStream`.

use weir_protocol::model::{ShardIndex, StreamStatus};
use weir_reactor::Reactor;
use weir_stream::Stream;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::identity::Identity;
use crate::member::Members;
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// Shards of an answer when the client asks for no number.
const SHARDS_DEFAULT: usize = 100;

/// Describes the stream and a page of its shards, closed ones included.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let limit = members.integer("Limit");
    let after = members.text("ExclusiveStartShardId");
    let name = StreamReference::read(members).resolve()?;
    let stream = call.stream(name)?;
    let after = match after {
        None => None,
        Some(shard) => {
            Some(ShardIndex::parse(shard).ok_or_else(|| call.about(name).unresolved_shard(shard))?)
        }
    };
    let limit = limit.map_or(SHARDS_DEFAULT, |limit| limit as usize);
    let out = call.writer(512 + 400 * limit.min(stream.shards.len()));
    Ok(describe(out, &stream, call.identity, after, limit))
}

fn describe(
    mut out: Writer,
    stream: &Stream,
    identity: &Identity,
    after: Option<ShardIndex>,
    limit: usize,
) -> Vec<u8> {
    // A stream that is being created shows no shards yet.
    let shards = match stream.status {
        StreamStatus::Creating => &[][..],
        _ => &stream.shards[..],
    };
    let begin = shards.partition_point(|s| after.is_some_and(|after| s.index <= after));
    let end = shards.len().min(begin.saturating_add(limit));
    out.open_map().member("StreamDescription").open_map();
    shape::stream_members(&mut out, stream, identity);
    shape::description_members(&mut out, stream);
    out.member("Shards").open_list();
    for shard in &shards[begin..end] {
        shape::shard(&mut out, shard);
    }
    out.close_list();
    out.member("HasMoreShards").boolean(end < shards.len());
    out.close_map().close_map();
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use serde_json::Value;

    fn describe_json(stream: &Stream, after: Option<ShardIndex>, limit: usize) -> Value {
        let identity = Identity {
            account: "000000000000".to_owned(),
            region: "eu-west-1".to_owned(),
        };
        let out = Writer::new(Encoding::Json, 0);
        let bytes = describe(out, stream, &identity, after, limit);
        serde_json::from_slice::<Value>(&bytes).unwrap()["StreamDescription"].take()
    }

    #[test]
    fn one_shard_takes_the_whole_hash_space() {
        let stream = shape::example::stream(1);
        let found = describe_json(&stream, None, 100);
        assert_eq!(found["StreamStatus"], "ACTIVE");
        assert_eq!(found["RetentionPeriodHours"], 24);
        assert_eq!(found["StreamCreationTimestamp"], 1_763_900_000);
        assert_eq!(
            found["StreamARN"],
            "arn:aws:kinesis:eu-west-1:000000000000:stream/logs"
        );
        assert_eq!(found["HasMoreShards"], false);
        assert_eq!(found["EncryptionType"], "NONE");
        assert_eq!(
            found["EnhancedMonitoring"],
            serde_json::json!([{"ShardLevelMetrics": []}])
        );
        let shard = &found["Shards"][0];
        assert_eq!(shard["ShardId"], "shardId-000000000000");
        assert_eq!(shard["HashKeyRange"]["StartingHashKey"], "0");
        assert_eq!(
            shard["HashKeyRange"]["EndingHashKey"],
            "340282366920938463463374607431768211455"
        );
        let start = shard["SequenceNumberRange"]["StartingSequenceNumber"]
            .as_str()
            .unwrap();
        assert_eq!(start.len(), 56);
        assert_eq!(shard.get("ParentShardId"), None);
    }

    #[test]
    fn shards_come_in_pages() {
        let stream = shape::example::stream(5);
        let first = describe_json(&stream, None, 2);
        assert_eq!(first["Shards"].as_array().unwrap().len(), 2);
        assert_eq!(first["HasMoreShards"], true);
        let last = describe_json(&stream, Some(ShardIndex(2)), 2);
        assert_eq!(last["Shards"][0]["ShardId"], "shardId-000000000003");
        assert_eq!(last["HasMoreShards"], false);
        let none = describe_json(&stream, Some(ShardIndex(9)), 2);
        assert_eq!(none["Shards"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn a_stream_being_created_has_no_shards_yet() {
        let mut stream = shape::example::stream(5);
        stream.status = StreamStatus::Creating;
        let found = describe_json(&stream, None, 100);
        assert_eq!(found["Shards"].as_array().unwrap().len(), 0);
        assert_eq!(found["HasMoreShards"], false);
        assert_eq!(found["StreamStatus"], "CREATING");
    }
}
