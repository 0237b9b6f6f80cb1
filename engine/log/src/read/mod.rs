//! Gives batches back: from the tail in memory, from unsealed bytes behind it, from mapped sealed
//! segments, or from cold ones by direct reads. Never past the durable mark.
//!
//! This file decides where to look; [`search`] finds a place in the sealed segments, [`fetch`]
//! brings bytes from a disk and verifies them, [`batches`] is what a reader gets.

mod batches;
mod fetch;
mod search;

use std::rc::Rc;

use weir_protocol::model::{Offset, Position, ShardId, Timestamp};
use weir_reactor::Reactor;

use crate::discipline::Discipline;
use crate::error::ReadError;
use crate::extent::{first_arrived, first_behind};
use crate::log::{FileOf, Log};

use batches::Chunk;
pub use batches::ReadBatches;
use fetch::Wanted;

/// What one look at the state decides.
enum Plan<R: Reactor> {
    Done(ReadBatches<R>),
    Unsealed(Rc<FileOf<R>>, Vec<Wanted>),
    Sealed,
}

/// What a search of the sealed segments came to.
enum Sealed<R: Reactor> {
    Read(ReadBatches<R>),
    /// Nothing before the next stop.
    Nothing,
    /// What was found has expired: the oldest record kept is known now, and lies further on.
    Expired,
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Batches of `shard` from the one that holds `from`, or the next one kept, up to about
    /// `bytes_max`, at least one if there is one. Empty at the tip.
    pub async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<ReadBatches<R>, ReadError> {
        let mut from = from;
        loop {
            let version = self.list_version();
            from = self.start_of_read(shard, from)?;
            match self.plan(shard, from, bytes_max)? {
                Plan::Done(batches) => return Ok(batches),
                Plan::Unsealed(file, wanted) => {
                    let mut out = self.empty(shard, from)?;
                    self.inner.state.borrow_mut().counters.reads_unsealed += 1;
                    self.read_wanted(shard, &file, &wanted, &mut out).await?;
                    return Ok(out);
                }
                Plan::Sealed => {}
            }
            // Its unsealed batches, if any, all lie behind what the sealed segments still hold.
            let sealed = self.read_sealed(shard, from, bytes_max).await?;
            if self.list_version() != version {
                // A segment was sealed or given back meanwhile: what was searched is not what is.
                continue;
            }
            match sealed {
                Sealed::Read(batches) => return Ok(batches),
                Sealed::Expired => {}
                Sealed::Nothing => match self.skip_to_unsealed(shard, from)? {
                    Some(later) if later > from => from = later,
                    _ => return self.empty_at_tip(shard, from),
                },
            }
        }
    }

    fn start_of_read(&self, shard: ShardId, from: Offset) -> Result<Offset, ReadError> {
        let state = self.inner.state.borrow();
        let known = state
            .shards
            .get(&shard)
            .ok_or(ReadError::ShardNotFound { shard })?;
        Ok(state.start_of_read(known, shard, from))
    }

    fn list_version(&self) -> u64 {
        self.inner.state.borrow().list_version
    }

    fn empty(&self, shard: ShardId, from: Offset) -> Result<ReadBatches<R>, ReadError> {
        let tip = self.tip(shard).ok_or(ReadError::ShardNotFound { shard })?;
        Ok(ReadBatches::new(from, tip.durable_next))
    }

    fn empty_at_tip(&self, shard: ShardId, from: Offset) -> Result<ReadBatches<R>, ReadError> {
        let tip = self.tip(shard).ok_or(ReadError::ShardNotFound { shard })?;
        Ok(ReadBatches::new(
            from.max(tip.durable_next),
            tip.durable_next,
        ))
    }

    /// Where the shard goes on behind `from` when no sealed segment does: at its unsealed batches, or
    /// at a hole, which must not be stepped over in silence, or at what was given up.
    fn skip_to_unsealed(&self, shard: ShardId, from: Offset) -> Result<Option<Offset>, ReadError> {
        let state = self.inner.state.borrow();
        let known = state
            .shards
            .get(&shard)
            .ok_or(ReadError::ShardNotFound { shard })?;
        let unsealed = known
            .extents
            .front()
            .map(|e| e.first)
            .filter(|first| *first > from);
        let end = Some(state.end_of_read(known, shard, from)).filter(|end| *end < Offset::MAX);
        Ok(end.into_iter().chain(unsealed).min())
    }

    /// Answers from memory if that is possible, else says where to look. `from` is where the read
    /// begins.
    fn plan(&self, shard: ShardId, from: Offset, bytes_max: usize) -> Result<Plan<R>, ReadError> {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let cutoff = state.cutoff(shard);
        let known = state
            .shards
            .get(&shard)
            .ok_or(ReadError::ShardNotFound { shard })?;
        if let Some(hole) = known.hole_at(from) {
            let what = format!("records up to offset {} are missing", hole.until);
            return Err(ReadError::Damaged {
                shard,
                from: hole.from,
                what,
            });
        }
        let end = state.end_of_read(known, shard, from);
        if from >= known.durable_next {
            return Ok(Plan::Done(ReadBatches::new(from, known.durable_next)));
        }
        let mut index = first_behind(&known.extents, from);
        // Everything before the first unsealed batch may still be sealed.
        if index == 0 && known.extents.front().is_none_or(|e| e.first > from) {
            return Ok(Plan::Sealed);
        }
        while known.extents.get(index).is_some_and(|e| e.arrival < cutoff) {
            index += 1;
        }
        let mut out = ReadBatches::new(from, known.durable_next);
        let mut wanted: Vec<Wanted> = Vec::new();
        let segment_bytes = self.inner.identity.segment_bytes;
        let mut file: Option<(u64, Rc<FileOf<R>>)> = None;
        let mut bytes = 0;
        for extent in known.extents.range(index..) {
            if extent.first >= end || (bytes > 0 && bytes + extent.bytes as usize > bytes_max) {
                break;
            }
            bytes += extent.bytes as usize;
            match state.tail.find(extent.position) {
                Some((frame, at)) if wanted.is_empty() => {
                    let range = at..at + extent.bytes as usize;
                    out.push(
                        Chunk::Tail(frame, range),
                        extent.bytes as usize,
                        extent.next(),
                    );
                }
                // In memory behind what must be read first: the next call gives it.
                Some(_) => break,
                None if out.count > 0 => break,
                None => {
                    let ordinal = extent.position.0 / segment_bytes;
                    if file.is_none() {
                        let segment = state.segments.iter().find(|s| s.ordinal == ordinal);
                        let Some(segment) = segment else {
                            return Ok(Plan::Sealed);
                        };
                        file = Some((ordinal, Rc::clone(&segment.file)));
                    }
                    if file.as_ref().is_some_and(|(first, _)| *first != ordinal) {
                        break;
                    }
                    wanted.push(Wanted::of_extent(extent, Position(ordinal * segment_bytes)));
                }
            }
        }
        match file {
            Some((_, file)) if !wanted.is_empty() => Ok(Plan::Unsealed(file, wanted)),
            _ => {
                if out.is_empty() {
                    out.next = known.durable_next.min(end).max(from);
                }
                state.counters.reads_tail += 1;
                Ok(Plan::Done(out))
            }
        }
    }

    /// Batches of sealed segments from where a read begins.
    async fn read_sealed(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Sealed<R>, ReadError> {
        let (cutoff, end) = {
            let state = self.inner.state.borrow();
            let known = state
                .shards
                .get(&shard)
                .ok_or(ReadError::ShardNotFound { shard })?;
            (state.cutoff(shard), state.end_of_read(known, shard, from))
        };
        let Some(found) = self.locate(shard, from).await? else {
            return Ok(Sealed::Nothing);
        };
        let first = found.loaded.footer.batch(&found.shard, found.index);
        if first.arrival < cutoff {
            // Expired: go on at the first record that is not, and remember it.
            let horizon = self.seek(shard, cutoff).await?;
            let Some(horizon) = horizon else {
                return Ok(Sealed::Nothing);
            };
            if let Some(known) = self.inner.state.borrow_mut().shards.get_mut(&shard) {
                known.horizon = known.horizon.max(horizon);
            }
            // What lies there, a hole or what was given up, is looked at anew.
            if self.start_of_read(shard, from)? > from {
                return Ok(Sealed::Expired);
            }
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut bytes = 0;
        for index in found.index..found.shard.batches {
            let batch = found.loaded.footer.batch(&found.shard, index);
            let is_elsewhere = batch.first >= end || batch.first >= found.until;
            if is_elsewhere || (bytes > 0 && bytes + batch.bytes as usize > bytes_max) {
                break;
            }
            bytes += batch.bytes as usize;
            wanted.push(Wanted::of_footer(&batch));
        }
        if wanted.is_empty() {
            return Ok(Sealed::Nothing);
        }
        let mut out = self.empty(shard, from)?;
        self.read_loaded(shard, &found.loaded, &wanted, &mut out)
            .await?;
        Ok(Sealed::Read(out))
    }

    /// The first kept record that arrived at or after `at`; the tip if there is none.
    pub async fn seek_time(&self, shard: ShardId, at: Timestamp) -> Result<Offset, ReadError> {
        let at = {
            let state = self.inner.state.borrow();
            let known = state
                .shards
                .get(&shard)
                .ok_or(ReadError::ShardNotFound { shard })?;
            if known.durable_arrival < at {
                return Ok(known.durable_next);
            }
            at.max(state.cutoff(shard))
        };
        loop {
            let version = self.list_version();
            let sealed = self.seek(shard, at).await?;
            let state = self.inner.state.borrow();
            if state.list_version != version {
                continue;
            }
            let known = state
                .shards
                .get(&shard)
                .ok_or(ReadError::ShardNotFound { shard })?;
            let index = first_arrived(&known.extents, at);
            let unsealed = known.extents.get(index).map(|e| e.first);
            let found = sealed.or(unsealed).unwrap_or(known.durable_next);
            return Ok(found.max(known.horizon));
        }
    }

    /// The oldest record kept; the tip if there is none.
    pub async fn horizon(&self, shard: ShardId) -> Result<Offset, ReadError> {
        self.seek_time(shard, Timestamp::ZERO).await
    }
}
