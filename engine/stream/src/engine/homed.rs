//! The shards of a core: what it knows of each, and how they come and go with the published map.

use std::sync::Arc;

use weir_log::ShardTip;
use weir_protocol::model::{Position, ShardId, StreamStatus};
use weir_reactor::Reactor;

use super::Engine;
use crate::homing::retention_of;
use crate::quota::{ReadQuota, WriteQuota};
use crate::settings::is_metered;
use crate::stream::{Closed, Stream, Streams};

/// A shard of this core.
#[derive(Debug)]
pub(crate) struct Homed {
    /// The map that closed it, if it is closed.
    pub(crate) map_version: u32,
    /// Whether its stream takes appends and reads.
    pub(crate) is_usable: bool,
    pub(crate) closed: Option<Closed>,
    /// Nothing is taken for it while a reshard is about to close it.
    pub(crate) stands_still: bool,
    /// Where its last append of this life ends in the log.
    pub(crate) last_end: Position,
    /// Longest record taken in bytes.
    pub(crate) record_bytes_max: u32,
    is_metered: bool,
    /// Made when the shard is first metered, and kept when it is so no longer: a bucket that was
    /// emptied must not be full again because a setting changed twice.
    write: Option<WriteQuota>,
    read: Option<ReadQuota>,
}

impl Homed {
    /// What producers may still send, if the shard is metered.
    pub(crate) fn write_quota(&mut self) -> Option<&mut WriteQuota> {
        self.write.as_mut().filter(|_| self.is_metered)
    }

    /// What pollers may still get, if the shard is metered.
    pub(crate) fn read_quota(&mut self) -> Option<&mut ReadQuota> {
        self.read.as_mut().filter(|_| self.is_metered)
    }
}

impl<R: Reactor> Engine<R> {
    /// The first step to a new snapshot: homes what is new or changed here.
    pub(crate) fn home_new(&self, streams: &Streams) {
        let before = self.streams();
        for stream in streams.all() {
            let known = before.by_id(stream.id);
            let is_same = known.is_some_and(|known| Arc::ptr_eq(known, stream));
            if !is_same && stream.status != StreamStatus::Deleting {
                self.home(stream);
            }
        }
    }

    /// The second step: works by the new snapshot, and forgets what is gone.
    pub(crate) fn show(&self, streams: Arc<Streams>) {
        let before = self.inner.published.replace(Arc::clone(&streams));
        for known in before.all() {
            match streams.by_id(known.id) {
                Some(now) if now.status != StreamStatus::Deleting => {
                    self.forget_missing(known, now);
                }
                Some(_) if known.status == StreamStatus::Deleting => {}
                Some(_) | None => self.forget(known),
            }
        }
        self.retire_consumers(&before, &streams);
    }

    /// Notes that what was taken in last has this number.
    pub(crate) fn note_publication(&self, number: u64) {
        self.inner.publication.set(number);
        self.inner.news.notify();
    }

    /// The number of what was published to this core last.
    pub(crate) fn publication(&self) -> u64 {
        self.inner.publication.get()
    }

    /// Waits until this core works by publication `number` or a later one.
    pub(crate) async fn caught_up(&self, number: u64) {
        loop {
            let seen = self.inner.news.count();
            if self.publication() >= number || self.is_stopping() {
                return;
            }
            self.inner.news.after(seen).await;
        }
    }

    fn home(&self, stream: &Stream) {
        let now = self.monotonic();
        let is_metered = is_metered(self.inner.quota, stream.settings.quota, stream.mode);
        let mut homed = self.inner.homed.borrow_mut();
        for (shard, retention) in stream.shards.iter().zip(retention_of(stream)) {
            let id = stream.shard_id(shard.index);
            if shard.core != self.core() {
                // This core's log may hold records of it from a run with other cores.
                self.inner.log.set_retention(id, retention);
                continue;
            }
            self.inner.log.add_shard(ShardTip::empty(id), retention);
            self.inner.log.set_retention(id, retention);
            let known = homed.remove(&id);
            // The map that closed it, not a newer one: that may not be everywhere yet.
            let map_version = known
                .as_ref()
                .filter(|known| known.closed.is_some())
                .map_or(stream.map_version, |known| known.map_version);
            let (stands_still, last_end) = known
                .as_ref()
                .map_or((false, Position(0)), |k| (k.stands_still, k.last_end));
            // A bucket that was emptied must not be full again because a setting changed.
            let (write, read) = known.map_or((None, None), |known| (known.write, known.read));
            let entry = Homed {
                map_version,
                is_usable: stream.is_usable(),
                closed: shard.closed,
                stands_still,
                last_end,
                record_bytes_max: stream.settings.record_bytes_max,
                is_metered,
                write: write.or_else(|| is_metered.then(|| WriteQuota::new(now))),
                read: read.or_else(|| is_metered.then(|| ReadQuota::new(now))),
            };
            homed.insert(id, entry);
        }
    }

    fn forget(&self, stream: &Stream) {
        for shard in &stream.shards {
            self.forget_shard(stream.shard_id(shard.index));
        }
        self.wake_released();
    }

    /// Forgets the shards that `before` had and `now` has not: closed ones, long read.
    fn forget_missing(&self, before: &Arc<Stream>, now: &Arc<Stream>) {
        if Arc::ptr_eq(before, now) {
            return;
        }
        for shard in before.shards.iter().filter(|s| s.closed.is_some()) {
            if now.shard(shard.index).is_none() {
                self.forget_shard(before.shard_id(shard.index));
            }
        }
    }

    fn forget_shard(&self, id: ShardId) {
        self.inner.homed.borrow_mut().remove(&id);
        self.inner.log.remove_shard(id);
    }

    /// Runs `act` on a shard of this core; `None` if it is not one.
    pub(crate) fn with_homed<T>(
        &self,
        shard: ShardId,
        act: impl FnOnce(&mut Homed) -> T,
    ) -> Option<T> {
        self.inner.homed.borrow_mut().get_mut(&shard).map(act)
    }

    /// Whether a shard of this core is metered; `None` if it is not one.
    pub(crate) fn is_metered(&self, shard: ShardId) -> Option<bool> {
        self.with_homed(shard, |homed| homed.is_metered)
    }

    /// Everybody who waits for a shard to be let go looks again.
    pub(crate) fn wake_released(&self) {
        self.inner.released.notify();
    }

    pub(crate) fn released_count(&self) -> u64 {
        self.inner.released.count()
    }

    pub(crate) async fn released_after(&self, seen: u64) {
        self.inner.released.after(seen).await;
    }
}
