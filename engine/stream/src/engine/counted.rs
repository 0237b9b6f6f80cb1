//! What a core counts, and how others ask for it.

use futures_util::future::join_all;
use weir_reactor::Reactor;

use super::Engine;
use crate::request::CoreCounters;

/// What this crate counts.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) appended_batches: u64,
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) throttled_appends: u64,
    pub(crate) refused_appends: u64,
    pub(crate) reads: u64,
    pub(crate) read_records: u64,
    pub(crate) read_bytes: u64,
    pub(crate) throttled_reads: u64,
    pub(crate) reshards: u64,
    pub(crate) from_other_cores: u64,
    pub(crate) deliveries: u64,
    pub(crate) delivered_bytes: u64,
}

impl<R: Reactor> Engine<R> {
    pub(crate) fn count(&self, act: impl FnOnce(&mut Counted)) {
        act(&mut self.inner.counted.borrow_mut());
    }

    /// This core's counters.
    pub fn counters(&self) -> CoreCounters {
        let counted = self.inner.counted.borrow();
        CoreCounters {
            core: self.core(),
            shards: self.open_shards(),
            appended_batches: counted.appended_batches,
            appended_records: counted.appended_records,
            appended_bytes: counted.appended_bytes,
            throttled_appends: counted.throttled_appends,
            refused_appends: counted.refused_appends,
            reads: counted.reads,
            read_records: counted.read_records,
            read_bytes: counted.read_bytes,
            throttled_reads: counted.throttled_reads,
            reshards: counted.reshards,
            from_other_cores: counted.from_other_cores,
            subscriptions: self.with_subscriptions(|all| all.open()) as u64,
            deliveries: counted.deliveries,
            delivered_bytes: counted.delivered_bytes,
            waiting_bytes: self.inner.held_bytes.get() as u64,
            log_state: self.inner.log.state(),
            log: self.inner.log.counters(),
        }
    }

    fn open_shards(&self) -> u64 {
        let homed = self.inner.homed.borrow();
        homed
            .values()
            .filter(|homed| homed.closed.is_none())
            .count() as u64
    }

    /// Every core's counters, in core order; a core that cannot answer now is left out.
    pub async fn all_counters(&self) -> Vec<CoreCounters> {
        let asked = (0..self.cores()).map(|core| async move {
            if core == self.core() {
                Some(self.counters())
            } else {
                self.counters_there(core).await
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}
