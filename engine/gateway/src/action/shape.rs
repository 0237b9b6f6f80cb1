//! Structures that several answers share.

use weir_protocol::model::SequenceNumber;
use weir_stream::{Consumer, Shard, Stream};

use crate::arn::{ConsumerArn, StreamArn};
use crate::identity::Identity;
use crate::writer::Writer;

const HOUR_MS: u64 = 3_600_000;

/// `StreamName`, `StreamARN`, `StreamStatus`, `StreamModeDetails`, `StreamCreationTimestamp`.
pub(super) fn stream_members(out: &mut Writer, stream: &Stream, identity: &Identity) {
    stream_names(out, stream, identity);
    out.member("StreamStatus").plain(stream.status.aws_name());
    out.member("StreamModeDetails").open_map();
    out.member("StreamMode").plain(stream.mode.aws_name());
    out.close_map();
    out.member("StreamCreationTimestamp").time(stream.created);
}

/// `StreamName` and `StreamARN`.
pub(super) fn stream_names(out: &mut Writer, stream: &Stream, identity: &Identity) {
    out.member("StreamName").plain(&stream.name);
    stream_arn(out, stream, identity);
}

/// `StreamARN`.
pub(super) fn stream_arn(out: &mut Writer, stream: &Stream, identity: &Identity) {
    out.member("StreamARN").plain(arn_of(stream, identity));
}

fn arn_of<'a>(stream: &'a Stream, identity: &'a Identity) -> StreamArn<'a> {
    StreamArn {
        region: &identity.region,
        account: &identity.account,
        stream: stream.name.as_str(),
    }
}

/// What all answers about a consumer say.
pub(super) fn consumer_members(
    out: &mut Writer,
    stream: &Stream,
    consumer: &Consumer,
    identity: &Identity,
) {
    let arn = ConsumerArn {
        stream: arn_of(stream, identity),
        consumer: consumer.name.as_str(),
        registered_secs: consumer.created.as_secs(),
    };
    out.member("ConsumerName").plain(&consumer.name);
    out.member("ConsumerARN").plain(arn);
    out.member("ConsumerStatus")
        .plain(consumer.status.aws_name());
    out.member("ConsumerCreationTimestamp")
        .time(consumer.created);
}

/// `WarmThroughput`: what is aimed at, and what is held ready.
pub(super) fn warm_throughput(out: &mut Writer, target_mibps: u32, current_mibps: u32) {
    out.member("WarmThroughput").open_map();
    out.member("TargetMiBps").number(u64::from(target_mibps));
    out.member("CurrentMiBps").number(u64::from(current_mibps));
    out.close_map();
}

/// What both descriptions have beyond [`stream_members`]. Retention is shown in whole hours, at
/// least one, though a stream may keep its records for seconds.
pub(super) fn description_members(out: &mut Writer, stream: &Stream) {
    out.member("RetentionPeriodHours")
        .number(stream.retention_ms.div_ceil(HOUR_MS));
    match &stream.settings.encryption_key {
        None => drop(out.member("EncryptionType").plain("NONE")),
        Some(key) => {
            out.member("EncryptionType").plain("KMS");
            out.member("KeyId").text(key);
        }
    }
    out.member("EnhancedMonitoring").open_list().open_map();
    out.member("ShardLevelMetrics").open_list();
    for name in stream.settings.monitoring.names() {
        out.plain(name);
    }
    out.close_list();
    out.close_map().close_list();
}

/// `EncryptionType`, where the stream was asked to encrypt: answers about records name no other.
pub(super) fn encryption_if_any(out: &mut Writer, stream: &Stream) {
    if stream.settings.encryption_key.is_some() {
        out.member("EncryptionType").plain("KMS");
    }
}

/// One shard.
pub(super) fn shard(out: &mut Writer, shard: &Shard) {
    out.open_map();
    out.member("ShardId").plain(shard.index);
    if let Some(parent) = shard.parent {
        out.member("ParentShardId").plain(parent);
    }
    if let Some(parent) = shard.adjacent_parent {
        out.member("AdjacentParentShardId").plain(parent);
    }
    hash_key_range(out, shard);
    out.member("SequenceNumberRange").open_map();
    let start = SequenceNumber::of_shard_start(shard.index, shard.created);
    out.member("StartingSequenceNumber").plain(start);
    if let Some(closed) = shard.closed {
        let end = SequenceNumber::of_shard_end(shard.index, shard.created, closed.at);
        out.member("EndingSequenceNumber").plain(end);
    }
    out.close_map().close_map();
}

/// The member `HashKeyRange`.
pub(super) fn hash_key_range(out: &mut Writer, shard: &Shard) {
    out.member("HashKeyRange").open_map();
    out.member("StartingHashKey").plain(shard.range.start);
    out.member("EndingHashKey").plain(shard.range.end);
    out.close_map();
}

#[cfg(test)]
pub(super) mod example {
    //! A stream for the actions' tests.

    use weir_protocol::model::{HashKeyRange, ShardIndex, StreamId, StreamName, Timestamp};
    use weir_stream::{Shard, Stream};

    pub(in crate::action) const CREATED: Timestamp = Timestamp::from_millis(1_763_900_000_000);

    /// An active stream "logs" of `shards` shards.
    pub(in crate::action) fn stream(shards: u32) -> Stream {
        let shards = HashKeyRange::divide(shards)
            .enumerate()
            .map(|(index, range)| Shard {
                index: ShardIndex(index as u32),
                range,
                created: CREATED,
                opened: CREATED,
                core: 0,
                parent: None,
                adjacent_parent: None,
                closed: None,
            })
            .collect();
        let name = StreamName::new("logs").unwrap();
        Stream::of_shards(StreamId::new(7), name, shards).unwrap()
    }
}
