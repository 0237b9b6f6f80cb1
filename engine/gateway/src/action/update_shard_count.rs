//! `UpdateShardCount`.

use weir_reactor::Reactor;
use weir_stream::{Reshard, ReshardRules};

use crate::arn::StreamArn;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Begins to divide the stream evenly among another number of shards, and answers both numbers.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let stream = call.stream(StreamReference::read(members).resolve()?)?;
    let name = stream.name.as_str();
    // The one scaling type there is was checked with the other members.
    let target = members.integer("TargetShardCount").unwrap_or(0);
    let target = u32::try_from(target).unwrap_or(u32::MAX);
    let count = Reshard::Count { target };
    let updating = call
        .engine
        .reshard_stream(&stream.name, count, ReshardRules::Aws)
        .await;
    let updating = updating.map_err(|error| call.control_refused(name, &error))?;
    let arn = StreamArn {
        region: &call.identity.region,
        account: &call.identity.account,
        stream: name,
    };
    let mut out = call.writer(256);
    out.open_map();
    out.member("StreamName").plain(name);
    out.member("StreamARN").plain(arn);
    out.member("CurrentShardCount")
        .number(updating.open_shards().count() as u64);
    out.member("TargetShardCount").number(u64::from(target));
    out.close_map();
    Ok(out.into_bytes())
}
