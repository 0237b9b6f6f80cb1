//! Forgets: expiry is logical per record, physical per segment.
//!
//! A record is gone for readers when its time or its shard's byte cap says so. Its segment is given
//! back when nothing in it is alive, and its slot is used again when the last reader let go.

use std::sync::Arc;
use std::time::Duration;

use weir_protocol::model::{LogId, Offset, ShardId, Timestamp};
use weir_reactor::{Disk, Reactor};

use crate::discipline::Discipline;
use crate::ledger::LedgerChange;
use crate::log::{Log, Mode, State};
use crate::sealed::SealedSegment;
use crate::segment::{Footer, FooterShard};
use crate::shard::Retention;

/// What a capped shard has in one sealed segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) bytes: u64,
    /// One past its last record there.
    pub(crate) next: Offset,
}

/// Between two tries to tell the catalog of a settled segment.
const RETRY: Duration = Duration::from_millis(500);

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Moves the clock that retention is measured against. It never goes back; the caller sees to
    /// it that it never runs ahead of elapsed time.
    pub fn expire(&self, now: Timestamp) {
        let mut state = self.inner.state.borrow_mut();
        state.expiry = state.expiry.max(now);
        state.expired_at = self.inner.reactor.monotonic();
    }

    /// From now on no record is stamped with a time that is further behind the monotonic clock than
    /// `ahead_ms` says: an expiry clock that goes on after a restart may be there already.
    pub fn stamp_from(&self, ahead_ms: i64) {
        self.inner.state.borrow_mut().stamp_ahead_ms = ahead_ms;
    }

    /// Looks at the sealed segments that may hold nothing alive, and gives back those that do not.
    pub(crate) async fn look_for_expired(&self) {
        let mut dead = Vec::new();
        for meta in self.segments_to_look_at() {
            // A segment whose footer cannot be read is left for the operator.
            let Ok(loaded) = self.load(&meta).await else {
                continue;
            };
            let mut state = self.inner.state.borrow_mut();
            state.count_shares(&meta, &loaded.footer);
            state.trim_to_caps();
            let (live_bytes, look_again) = state.live_bytes(&loaded.footer);
            let is_read_here = state.has_live_records_here(&loaded.footer);
            let deletions = state.deletions;
            let Some(entry) = state.sealed.entry_mut(meta.log, meta.generation) else {
                continue;
            };
            entry.live_bytes = Some(live_bytes);
            // A dead one that has to stay for now, or that the catalog does not let go, is due again.
            entry.look_again = if live_bytes == 0 {
                Timestamp::ZERO
            } else {
                look_again
            };
            entry.looked_at = deletions;
            if !entry.owned {
                if !is_read_here {
                    // Its owner gives the slot back when nobody else holds it.
                    state.sealed.remove(meta.log, meta.generation);
                }
                continue;
            }
            let may_go = live_bytes == 0 && entry.recorded;
            if may_go && !state.must_stay(&meta) {
                dead.push(meta);
            }
        }
        if !D::RETIRE_DEAD_ONLY && !dead.is_empty() {
            dead.extend(self.oldest_alive());
        }
        for meta in dead {
            self.retire(&[meta], None).await;
        }
        self.give_back_retired().await;
    }

    /// The bug of [`Discipline::RETIRE_DEAD_ONLY`]: the next segment goes with the dead ones.
    fn oldest_alive(&self) -> Option<Arc<SealedSegment>> {
        let state = self.inner.state.borrow();
        let alive = state.sealed.entries().iter().filter(|entry| {
            entry.owned && entry.recorded && entry.live_bytes.is_some_and(|bytes| bytes > 0)
        });
        let alive = alive.filter(|entry| !state.must_stay(&entry.meta));
        let oldest = alive.min_by_key(|entry| entry.meta.ordinal);
        oldest.map(|entry| Arc::clone(&entry.meta))
    }

    fn segments_to_look_at(&self) -> Vec<Arc<SealedSegment>> {
        let mut state = self.inner.state.borrow_mut();
        state.trim_to_caps();
        let capped = state.shards.values().any(|s| s.retention.bytes.is_some());
        let (expiry, deletions) = (state.expiry, state.deletions);
        let due = state.sealed.entries().iter().filter(|e| {
            (capped && !e.counted) || e.looked_at != deletions || e.look_again <= expiry
        });
        due.map(|e| Arc::clone(&e.meta)).collect()
    }

    /// Takes segments out: the catalog first, then the list, and the slots when nobody reads them.
    /// `output` takes their place.
    pub(crate) async fn retire(
        &self,
        metas: &[Arc<SealedSegment>],
        output: Option<Arc<SealedSegment>>,
    ) {
        let change = LedgerChange {
            log: metas[0].log,
            known_generation: 0,
            begun: 0,
            added: output.iter().map(|o| o.generation).collect(),
            removed: metas.iter().map(|m| m.generation).collect(),
        };
        while let Err(error) = self.inner.ledger.record(change.clone()).await {
            tracing::warn!(log = self.inner.log.0, %error, "segments not given back yet");
            // Dead segments stay, and are looked at again. With an output the change may be on disk
            // all the same, and then it alone counts: it is said again until that is known. A stop
            // in between is fine, for either list is whole.
            if output.is_none() || self.inner.state.borrow().mode != Mode::Open {
                return;
            }
            self.inner.reactor.sleep(RETRY).await;
        }
        let mut state = self.inner.state.borrow_mut();
        state.list_version += 1;
        for meta in metas {
            if let Some(entry) = state.sealed.remove(meta.log, meta.generation) {
                state.sealed.retiring.push(entry.meta);
                state.counters.retired += 1;
            }
        }
        if let Some(output) = output {
            let (log, generation) = (output.log, output.generation);
            state.sealed.insert(output, true, true);
            if let Some(entry) = state.sealed.entry_mut(log, generation) {
                // Its inputs were counted; their shares stand for it.
                entry.counted = true;
            }
        }
    }

    /// Gives back the slots of retired segments that nobody reads any more.
    pub(crate) async fn give_back_retired(&self) {
        let free: Vec<(LogId, Arc<SealedSegment>)> = {
            let mut state = self.inner.state.borrow_mut();
            let free = state.sealed.retiring.take_free();
            free.into_iter().map(|meta| (meta.log, meta)).collect()
        };
        for (log, meta) in free {
            if log == self.inner.log {
                self.inner.state.borrow_mut().pool.give_back(meta.slot);
                self.inner.pool.notify();
            } else if let Err(error) = self.inner.reactor.disk().remove(&meta.path()).await {
                tracing::warn!(file = meta.path(), %error, "an expired segment was not removed");
            }
        }
    }
}

impl<R: Reactor> State<R> {
    /// Records that arrived before this are gone for `shard`.
    pub(crate) fn cutoff(&self, shard: ShardId) -> Timestamp {
        self.retention_of(shard).cutoff(self.expiry)
    }

    fn retention_of(&self, shard: ShardId) -> Retention {
        let homed = self.shards.get(&shard).map(|s| s.retention);
        homed
            .or_else(|| self.elsewhere.get(&shard).copied())
            .unwrap_or(Retention::FOREVER)
    }

    /// Bytes of a segment that are alive, and the earliest time at which fewer may be.
    fn live_bytes(&self, footer: &Footer) -> (u64, Timestamp) {
        let mut live = 0;
        let mut look_again = Timestamp::from_millis(u64::MAX);
        for share in footer.shards().filter(|s| s.batches > 0) {
            if !self.is_live(&share) {
                continue;
            }
            live += u64::from(share.bytes);
            let kept = self.retention_of(share.shard).millis;
            let until = share
                .last_arrival
                .as_millis()
                .saturating_add(kept)
                .saturating_add(1);
            look_again = look_again.min(Timestamp::from_millis(until));
        }
        (live, look_again)
    }

    /// Whether a dead segment stays all the same: the newest footer of a log is the second copy of
    /// where idle shards stand, beside the start table of the segment that is being written, and the
    /// only memory of holes.
    fn must_stay(&self, meta: &SealedSegment) -> bool {
        let newest = self
            .sealed
            .entries()
            .iter()
            .filter(|e| e.meta.log == meta.log);
        newest.map(|e| e.meta.ordinal).max() == Some(meta.ordinal)
    }

    /// Whether anything of the segment is alive for shards that are homed here.
    fn has_live_records_here(&self, footer: &Footer) -> bool {
        let mut shares = footer.shards().filter(|s| s.batches > 0);
        shares.any(|s| self.shards.contains_key(&s.shard) && self.is_live(&s))
    }

    /// Whether a shard's share of a segment has anything alive.
    pub(crate) fn is_live(&self, share: &FooterShard) -> bool {
        let in_time = share.last_arrival >= self.cutoff(share.shard);
        match self.shards.get(&share.shard) {
            Some(shard) => in_time && share.next > shard.horizon,
            None => in_time && self.elsewhere.contains_key(&share.shard),
        }
    }

    /// Adds a segment's shares to the shards with a byte cap, once.
    fn count_shares(&mut self, meta: &SealedSegment, footer: &Footer) {
        let Some(entry) = self.sealed.entry_mut(meta.log, meta.generation) else {
            return;
        };
        if std::mem::replace(&mut entry.counted, true) {
            return;
        }
        for share in footer.shards().filter(|s| s.batches > 0) {
            let homed = self.shards.get(&share.shard);
            if homed.is_none_or(|shard| shard.retention.bytes.is_none()) {
                continue;
            }
            let last = footer.batch(&share, share.batches - 1);
            let shares = self.caps.entry(share.shard).or_default();
            let at = shares.partition_point(|s| s.next < last.next());
            shares.insert(
                at,
                Share {
                    bytes: u64::from(share.bytes),
                    next: last.next(),
                },
            );
        }
    }

    /// Moves the horizon of each capped shard so that it keeps its cap and little more.
    fn trim_to_caps(&mut self) {
        let mut trimmed = false;
        for (id, shard) in &mut self.shards {
            let (Some(cap), Some(shares)) = (shard.retention.bytes, self.caps.get_mut(id)) else {
                continue;
            };
            let unsealed: u64 = shard.extents.iter().map(|e| u64::from(e.bytes)).sum();
            let mut total = unsealed + shares.iter().map(|s| s.bytes).sum::<u64>();
            while let Some(oldest) = shares.front() {
                if total - oldest.bytes < cap {
                    break;
                }
                total -= oldest.bytes;
                shard.horizon = shard.horizon.max(oldest.next);
                shares.pop_front();
                trimmed = true;
            }
        }
        if trimmed {
            self.deletions += 1;
        }
    }
}
