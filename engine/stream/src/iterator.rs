//! From the words a client begins a read with to an offset.
//!
//! Owns: what TRIM_HORIZON, LATEST and a time mean now. Never: sequence numbers and iterator
//! tokens, which are the faces that clients see.

use weir_protocol::model::{Offset, ShardId};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;

use crate::engine::Engine;
use crate::error::ReadError;

impl<R: Reactor> Engine<R> {
    /// The offset that `from` means now, for a shard of this core. LATEST is behind the newest
    /// durable record; a time that no record has reached is LATEST too.
    pub(crate) async fn seek_here(
        &self,
        shard: ShardId,
        from: ReadFrom,
    ) -> Result<Offset, ReadError> {
        let found = match from {
            ReadFrom::Offset(offset) => return Ok(offset),
            ReadFrom::Latest => {
                let tip = self.log().tip(shard).map(|tip| tip.durable_next);
                return tip.ok_or_else(|| self.gone(shard));
            }
            ReadFrom::TrimHorizon => self.log().horizon(shard).await,
            ReadFrom::Time(at) => self.log().seek_time(shard, at).await,
        };
        found.map_err(|error| self.unread(error))
    }
}
