//! `MergeShards`.

use weir_reactor::Reactor;
use weir_stream::{Reshard, ReshardRules};

use super::split_shard::{named_shard, require_shard};
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Begins to merge two neighbours into one shard; the answer is empty and the stream UPDATING.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let about = call.about(name);
    let shard = named_shard(members.text("ShardToMerge"), about)?;
    let adjacent = named_shard(members.text("AdjacentShardToMerge"), about)?;
    let stream = call.stream(name)?;
    require_shard(shard, &stream, about)?;
    require_shard(adjacent, &stream, about)?;
    let merge = Reshard::Merge { shard, adjacent };
    match call
        .engine
        .reshard_stream(&stream.name, merge, ReshardRules::Aws)
        .await
    {
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(call.control_refused(name, &error)),
    }
}
