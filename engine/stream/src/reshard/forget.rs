//! Closed shards whose records retention has forgotten leave the map.
//!
//! Children go on naming them; a reader that still has a place in one is told that it does not
//! exist, as at AWS.

use weir_protocol::model::{Offset, ShardId, ShardIndex, Timestamp};
use weir_reactor::Reactor;

use crate::catalog::control::ControlRequest;
use crate::engine::Engine;
use crate::stream::Stream;

impl<R: Reactor> Engine<R> {
    /// Has the catalog forget closed shards of this core that hold nothing any more at `expiry`.
    /// What finds no room with the control thread is found again by the next tick.
    pub(crate) async fn forget_expired_shards(&self, expiry: Timestamp) {
        let streams = self.streams();
        for stream in streams.all().filter(|stream| stream.is_usable()) {
            let mut gone = Vec::new();
            for (index, end) in self.closed_before(stream, expiry) {
                let id = stream.shard_id(index);
                if self.holds_nothing(id, end).await {
                    gone.push(index);
                }
            }
            if !gone.is_empty() {
                let (stream, shards) = (stream.id, gone);
                self.control()
                    .send(ControlRequest::ForgetShards { stream, shards })
                    .ok();
            }
        }
    }

    /// Closed shards of this core that have been closed for longer than records are kept.
    fn closed_before(&self, stream: &Stream, expiry: Timestamp) -> Vec<(ShardIndex, Offset)> {
        let cutoff = expiry.minus_millis(stream.retention_ms);
        let here = stream.shards.iter().filter(|s| s.core == self.core());
        here.filter_map(|shard| {
            let closed = shard.closed.filter(|closed| closed.at < cutoff)?;
            Some((shard.index, closed.next))
        })
        .collect()
    }

    async fn holds_nothing(&self, shard: ShardId, end: Offset) -> bool {
        // A shard whose segments cannot be read is left for the operator.
        self.log()
            .horizon(shard)
            .await
            .is_ok_and(|horizon| horizon >= end)
    }
}
