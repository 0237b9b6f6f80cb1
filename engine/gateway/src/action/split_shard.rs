//! `SplitShard`.

use weir_protocol::model::{HashKey, ShardIndex};
use weir_reactor::Reactor;
use weir_stream::{ControlError, Reshard, ReshardRules, Stream};

use crate::call::Call;
use crate::error::{About, ServiceError};
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Begins to split a shard in two; the answer is empty and the stream UPDATING.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let about = call.about(name);
    let shard = named_shard(members.text("ShardToSplit"), about)?;
    let stream = call.stream(name)?;
    require_shard(shard, &stream, about)?;
    let key = members.text("NewStartingHashKey").unwrap_or_default();
    // No shard can be split above every hash key there is; the engine says so in its turn.
    let at = HashKey::parse_decimal(key).unwrap_or(HashKey::MAX);
    let split = Reshard::Split { shard, at };
    match call
        .engine
        .reshard_stream(&stream.name, split, ReshardRules::Aws)
        .await
    {
        Ok(_) => Ok(Vec::new()),
        // The key in the client's own digits.
        Err(ControlError::SplitKey { range, .. }) => Err(about.split_key(shard, key, range)),
        Err(error) => Err(call.control_refused(name, &error)),
    }
}

/// The shard that a member names. A name that names no number is refused before the stream is looked
/// for, as at AWS.
pub(super) fn named_shard(
    text: Option<&str>,
    about: About<'_>,
) -> Result<ShardIndex, ServiceError> {
    let text = text.unwrap_or_default();
    ShardIndex::parse(text).ok_or_else(|| about.unresolved_shard(text))
}

/// Refuses a shard that the stream does not have. Shards are looked for before the stream's state is
/// looked at, as at AWS.
pub(super) fn require_shard(
    shard: ShardIndex,
    stream: &Stream,
    about: About<'_>,
) -> Result<(), ServiceError> {
    match stream.shard(shard) {
        Some(_) => Ok(()),
        None => Err(about.shard_not_found(shard)),
    }
}
