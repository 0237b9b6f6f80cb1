//! `CreateStream`.

use weir_protocol::limits::{KIB, STREAM_SHARDS_MAX};
use weir_protocol::model::{StreamMode, StreamName};
use weir_reactor::Reactor;
use weir_stream::{CreateStream, RecordDistribution, StreamSettings};

use super::tags;
use crate::call::Call;
use crate::error::{About, ServiceError, shard_limit};
use crate::member::Members;

/// Shards of an on-demand stream when it starts (AWS: 4 MB/s).
const ON_DEMAND_SHARDS: u32 = 4;

/// A valid request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: StreamName,
    shards: u32,
    mode: StreamMode,
}

fn read(members: Members<'_>) -> Result<Request, ServiceError> {
    let shards = members.integer("ShardCount");
    let details = members.structure("StreamModeDetails");
    let mode = details.map(|details| details.text("StreamMode"));
    let name = members.text("StreamName");

    let mode = match mode.flatten() {
        Some("ON_DEMAND") => StreamMode::OnDemand,
        Some(_) => StreamMode::Provisioned,
        // A count is what makes a stream provisioned; without one AWS makes it on demand.
        None if shards.is_some() => StreamMode::Provisioned,
        None => StreamMode::OnDemand,
    };
    let shards = match (shards, mode) {
        (Some(count), _) => count as u32,
        (None, StreamMode::OnDemand) => ON_DEMAND_SHARDS,
        (None, StreamMode::Provisioned) => {
            return Err(ServiceError::invalid_argument(
                "ShardCount must be provided for a stream in PROVISIONED mode.",
            ));
        }
    };
    let name = StreamName::new(name.unwrap_or_default())
        .map_err(|error| ServiceError::invalid_argument(error.to_string()))?;
    Ok(Request { name, shards, mode })
}

fn settings(
    members: Members<'_>,
    mode: StreamMode,
    about: About<'_>,
) -> Result<StreamSettings, ServiceError> {
    let warm = members.integer("WarmThroughputMiBps");
    if warm.is_some() && mode != StreamMode::OnDemand {
        return Err(about.provisioned());
    }
    let default = StreamSettings::default();
    let size = members.integer("MaxRecordSizeInKiB");
    let strategy = members.text("RecordDistributionStrategy");
    Ok(StreamSettings {
        tags: tags::read(members, about)?,
        warm_throughput_mibps: warm.map(|mibps| mibps as u32),
        record_bytes_max: size.map_or(default.record_bytes_max, |size| size as u32 * KIB),
        distribution: strategy
            .and_then(RecordDistribution::from_aws_name)
            .unwrap_or_default(),
        ..default
    })
}

/// Makes the stream; the answer is empty, and the stream may still be CREATING then.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let request = read(members)?;
    let streams = call.engine.streams();
    let name = request.name.as_str();
    if streams.by_name(name).is_some() {
        return Err(call.about(name).already_exists());
    }
    if request.shards > STREAM_SHARDS_MAX {
        let open = |stream: &std::sync::Arc<weir_stream::Stream>| stream.open_shards().count();
        let current = streams.in_name_order().map(open).sum::<usize>() as u32;
        return Err(shard_limit(
            &call.identity.account,
            &call.identity.region,
            current,
            STREAM_SHARDS_MAX,
            request.shards,
        ));
    }
    let settings = settings(members, request.mode, call.about(name))?;
    let create = CreateStream {
        name: request.name.clone(),
        shards: request.shards,
        mode: request.mode,
        retention_ms: None,
        retain_bytes: None,
        settings,
    };
    match call.engine.create_stream(create).await {
        Ok(_stream) => Ok(Vec::new()),
        Err(error) => Err(call.control_refused(name, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    fn of(body: &str) -> Result<Request, String> {
        let read = checked(Operation::CreateStream, body, read)?;
        read.map_err(|error| error.text.unwrap())
    }

    #[test]
    fn the_mode_follows_the_shard_count() {
        let request = of(r#"{"StreamName":"test","ShardCount":1}"#).unwrap();
        assert_eq!(request.mode, StreamMode::Provisioned);
        assert_eq!(request.shards, 1);
        let request = of(r#"{"StreamName":"test"}"#).unwrap();
        assert_eq!(request.mode, StreamMode::OnDemand);
        assert_eq!(request.shards, 4);
        let body = r#"{"StreamName":"a","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}"#;
        assert_eq!(of(body).unwrap().mode, StreamMode::OnDemand);
        let body = r#"{"StreamName":"a","StreamModeDetails":{"StreamMode":"PROVISIONED"}}"#;
        assert!(of(body).is_err());
    }

    #[test]
    fn violations_are_listed_in_order() {
        assert_eq!(
            of(r#"{"ShardCount":0}"#).unwrap_err(),
            "2 validation errors detected: Value '0' at 'shardCount' failed to satisfy \
             constraint: Member must have value greater than or equal to 1; Value null at \
             'streamName' failed to satisfy constraint: Member must not be null"
        );
        let body = r#"{"StreamName":"a","StreamModeDetails":{"StreamMode":"X"}}"#;
        assert_eq!(
            of(body).unwrap_err(),
            "1 validation error detected: Value 'X' at 'streamModeDetails.streamMode' failed to \
             satisfy constraint: Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]"
        );
    }
}
