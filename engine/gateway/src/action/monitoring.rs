//! What the two operations about shard metrics share.

use weir_reactor::Reactor;
use weir_stream::{Changed, ShardMetrics};

use super::shape;
use crate::call::Call;
use crate::member::Members;

/// The metrics of a request.
pub(super) fn read(members: Members<'_>) -> ShardMetrics {
    members
        .texts("ShardLevelMetrics")
        .filter_map(ShardMetrics::named)
        .fold(ShardMetrics::default(), ShardMetrics::with)
}

/// The metrics before and after a change.
pub(super) fn answer<R: Reactor>(call: &Call<'_, R>, changed: &Changed) -> Vec<u8> {
    let mut out = call.writer(512);
    out.open_map();
    shape::stream_names(&mut out, &changed.after, call.identity);
    let lists = [
        ("CurrentShardLevelMetrics", &changed.before),
        ("DesiredShardLevelMetrics", &changed.after),
    ];
    for (member, stream) in lists {
        out.member(member).open_list();
        for name in stream.settings.monitoring.names() {
            out.plain(name);
        }
        out.close_list();
    }
    out.close_map();
    out.into_bytes()
}
