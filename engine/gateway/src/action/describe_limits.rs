//! `DescribeLimits`.

use weir_protocol::model::StreamMode;
use weir_reactor::Reactor;
use weir_stream::FOLDER_SHARDS_MAX;

use crate::call::Call;

/// Counts what exists beside what may: shards are bounded, streams only by them.
pub(crate) fn answer<R: Reactor>(call: &Call<'_, R>) -> Vec<u8> {
    let streams = call.engine.streams();
    let (mut shards, mut on_demand) = (0, 0);
    for stream in streams.in_name_order() {
        shards += stream.open_shards().count() as u64;
        on_demand += u64::from(stream.mode == StreamMode::OnDemand);
    }
    let limit = u64::from(FOLDER_SHARDS_MAX);
    let mut out = call.writer(256);
    out.open_map();
    out.member("ShardLimit").number(limit);
    out.member("OpenShardCount").number(shards);
    out.member("OnDemandStreamCount").number(on_demand);
    out.member("OnDemandStreamCountLimit").number(limit);
    out.member("ChannelCount").number(0);
    out.member("ChannelCountLimit").number(0);
    out.close_map();
    out.into_bytes()
}
