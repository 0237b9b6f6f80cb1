//! Stands a core's shards still: nothing is taken for them until they are let go.
//!
//! Up: [`super::drive`], here or on another core. Down: admission in [`crate::append`], which asks
//! every shard whether it stands still.

use thiserror::Error;
use weir_log::LogState;
use weir_protocol::model::{Offset, Position, ShardId};
use weir_reactor::Reactor;

use crate::engine::Engine;

/// Why shards did not come to a stand, so that none of them may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NoStandstill {
    /// Its stream was deleted meanwhile.
    #[error("shard {0} is gone")]
    Gone(ShardId),
    /// What was taken before may or may not be stored: the log is being opened again to find out.
    #[error("the log that holds it is being opened again")]
    LogReopens,
    /// The log takes nothing more until the server is restarted.
    #[error("the log that holds it failed")]
    LogFailed,
    /// The core has too many requests waiting.
    #[error("a core has no room for the request")]
    Overloaded,
    /// The new map could not be written.
    #[error("the catalog could not be written")]
    CatalogFailed,
    /// The server is stopping; the next start goes on.
    #[error("the server is stopping")]
    Stopping,
}

impl<R: Reactor> Engine<R> {
    /// Takes nothing more for `shards` of this core, waits until everything taken before is durable,
    /// and answers where each ends, in the order given. They stand still until
    /// [`Self::let_go_here`], also after an error.
    pub(crate) async fn stand_still_here(
        &self,
        shards: &[ShardId],
    ) -> Result<Vec<Offset>, NoStandstill> {
        let mut last = Vec::with_capacity(shards.len());
        for shard in shards {
            let end = self.with_homed(*shard, |homed| {
                homed.stands_still = true;
                homed.last_end
            });
            last.push(end.ok_or(NoStandstill::Gone(*shard))?);
        }
        self.all_decided(last.iter().copied().max()).await?;
        let ends = shards.iter().map(|shard| {
            let tip = self.log().tip(*shard).ok_or(NoStandstill::Gone(*shard))?;
            #[cfg(test)]
            if self.forgets_the_last_record() {
                let raw = tip.durable_next.get();
                let before = raw.checked_sub(1).and_then(Offset::new);
                let before = before.filter(|b| b.epoch() == tip.durable_next.epoch());
                return Ok(before.unwrap_or(tip.durable_next));
            }
            Ok(tip.durable_next)
        });
        ends.collect()
    }

    /// Returns when what was appended up to `last` is durable, or known to be lost.
    async fn all_decided(&self, last: Option<Position>) -> Result<(), NoStandstill> {
        #[cfg(test)]
        if self.switches_before_the_drain() {
            return Ok(());
        }
        if let Some(last) = last {
            // An error is of interest only if the log has not been recovered since.
            self.wait_durable(last).await.ok();
        }
        match self.log().state() {
            LogState::Writable | LogState::Full => Ok(()),
            LogState::Failed => Err(NoStandstill::LogReopens),
            LogState::ReadOnly => Err(NoStandstill::LogFailed),
            LogState::Closed => Err(NoStandstill::Stopping),
        }
    }

    /// Lets go of `shards` of this core: who waited to append tries again, and is told of the new
    /// map if they were closed; who waited to read is told that nothing more comes.
    pub(crate) fn let_go_here(&self, shards: &[ShardId]) {
        for shard in shards {
            self.with_homed(*shard, |homed| homed.stands_still = false);
            self.log().wake_readers(*shard);
        }
        self.wake_released();
    }

    /// Completes when `shard` of this core does not stand still: to be awaited after
    /// [`crate::AppendError::Resharding`], before trying again.
    pub async fn released(&self, shard: ShardId) {
        loop {
            let seen = self.released_count();
            let waits = self.with_homed(shard, |homed| homed.stands_still);
            if waits != Some(true) || self.is_stopping() {
                return;
            }
            self.released_after(seen).await;
        }
    }
}
