//! Gives batches back: from the tail in memory, from unsealed bytes behind it, from mapped sealed
//! segments, or from cold ones by direct reads. Never past the durable mark.
//!
//! What comes from a disk is verified before it is handed out: checksum, shard and offset.

use std::ops::Range;
use std::rc::Rc;

use weir_protocol::batch::BatchView;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, Position, ShardId, Timestamp};
use weir_reactor::{File, Map, Reactor};

use crate::discipline::Discipline;
use crate::error::ReadError;
use crate::extent::{Extent, first_arrived, first_behind};
use crate::log::{BufferOf, BytesOf, FileOf, Log, MapOf};
use crate::sealed::{LoadError, Loaded};
use crate::segment::{FooterBatch, FooterShard};
use crate::tail::FrameBytes;

/// Memory that some batches lie in.
enum Chunk<R: Reactor> {
    Tail(FrameBytes<BufferOf<R>>, Range<usize>),
    Disk(Rc<BytesOf<R>>, Range<usize>),
    /// The segment goes along: its slot is not used again while somebody reads the mapping.
    Map {
        _segment: Rc<Loaded<R>>,
        map: Rc<MapOf<R>>,
        range: Range<usize>,
    },
}

/// Batches of one shard, in offset order. Holds the memory they lie in: drop it before waiting for
/// a slow client.
pub struct ReadBatches<R: Reactor> {
    chunks: Vec<Chunk<R>>,
    /// How many batches.
    pub count: u32,
    /// Their bytes.
    pub bytes: usize,
    /// Where the next read begins.
    pub next: Offset,
    /// One past the newest durable record.
    pub durable_next: Offset,
}

impl<R: Reactor> std::fmt::Debug for ReadBatches<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadBatches")
            .field("count", &self.count)
            .field("bytes", &self.bytes)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<R: Reactor> ReadBatches<R> {
    fn new(next: Offset, durable_next: Offset) -> Self {
        Self {
            chunks: Vec::new(),
            count: 0,
            bytes: 0,
            next,
            durable_next,
        }
    }

    /// The batches, in runs of whole ones.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|chunk| match chunk {
            Chunk::Tail(bytes, range) => bytes.slice(range.clone()),
            Chunk::Disk(bytes, range) => &(**bytes).as_ref()[range.clone()],
            Chunk::Map { map, range, .. } => map.slice(range.clone()),
        })
    }

    /// No batches.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn push(&mut self, chunk: Chunk<R>, bytes: usize, next: Offset) {
        self.count += 1;
        self.bytes += bytes;
        self.next = next;
        self.chunks.push(chunk);
    }
}

/// A batch to be read: where it lies in a file, and what it must be.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    file_offset: u64,
    bytes: usize,
    first: Offset,
    next: Offset,
}

/// What one look at the state decides.
enum Plan<R: Reactor> {
    Done(ReadBatches<R>),
    Unsealed(Rc<FileOf<R>>, Vec<Wanted>),
    Sealed,
}

/// Longest stretch that one disk read covers.
const STRETCH_BYTES_MAX: u64 = 1 << 20;
/// Bytes of other shards that a stretch may carry along rather than begin a new read.
const GAP_BYTES_MAX: u64 = 32 << 10;

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
            match self.read_sealed(shard, from, bytes_max).await? {
                Some(batches) => return Ok(batches),
                None => match self.skip_to_unsealed(shard, from)? {
                    Some(later) if later > from => from = later,
                    _ => return self.empty_at_tip(shard, from),
                },
            }
        }
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
    /// at a hole, which must not be stepped over in silence.
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
        Ok(known.next_hole(from).into_iter().chain(unsealed).min())
    }

    /// Answers from memory if that is possible, else says where to look.
    fn plan(&self, shard: ShardId, from: Offset, bytes_max: usize) -> Result<Plan<R>, ReadError> {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let cutoff = state.cutoff(shard);
        let known = state
            .shards
            .get(&shard)
            .ok_or(ReadError::ShardNotFound { shard })?;
        let from = from.max(known.horizon);
        if let Some(hole) = known.hole_at(from) {
            let what = format!("records up to offset {} are missing", hole.until);
            return Err(ReadError::Damaged {
                shard,
                from: hole.from,
                what,
            });
        }
        let end = known.next_hole(from).unwrap_or(Offset::MAX);
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
                    wanted.push(wanted_extent(extent, Position(ordinal * segment_bytes)));
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

    /// Batches of sealed segments; `None` when none of them holds anything from `from` on.
    async fn read_sealed(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<ReadBatches<R>>, ReadError> {
        let (from, cutoff, end) = {
            let state = self.inner.state.borrow();
            let known = state
                .shards
                .get(&shard)
                .ok_or(ReadError::ShardNotFound { shard })?;
            let from = from.max(known.horizon);
            (
                from,
                state.cutoff(shard),
                known.next_hole(from).unwrap_or(Offset::MAX),
            )
        };
        let Some(mut found) = self.locate(shard, from).await? else {
            return Ok(None);
        };
        let first = found.loaded.footer.batch(&found.shard, found.index);
        if first.arrival < cutoff {
            // Expired: go on at the first record that is not, and remember it.
            let horizon = self.seek(shard, cutoff).await?;
            let Some(horizon) = horizon else {
                return Ok(None);
            };
            if let Some(known) = self.inner.state.borrow_mut().shards.get_mut(&shard) {
                known.horizon = known.horizon.max(horizon);
            }
            match self.locate(shard, horizon.max(from)).await? {
                Some(later) => found = later,
                None => return Ok(None),
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
            wanted.push(wanted_batch(&batch));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut out = self.empty(shard, from)?;
        self.read_loaded(shard, &found.loaded, &wanted, &mut out)
            .await?;
        Ok(Some(out))
    }

    /// The first batch of the sealed segments that ends behind `from`.
    async fn locate(&self, shard: ShardId, from: Offset) -> Result<Option<Found<R>>, ReadError> {
        self.search(shard, from, |s| s.next > from, |b| b.next() > from)
            .await
    }

    /// The offset of the first sealed batch that arrived at or after `at`.
    async fn seek(&self, shard: ShardId, at: Timestamp) -> Result<Option<Offset>, ReadError> {
        let found = self
            .search(
                shard,
                Offset::ZERO,
                |s| s.last_arrival >= at,
                |b| b.arrival >= at,
            )
            .await?;
        Ok(found.map(|f| f.first))
    }

    /// Searches each log's segments by a predicate that, once true for a shard, stays true; the
    /// earliest batch of all logs wins.
    async fn search(
        &self,
        shard: ShardId,
        from: Offset,
        segment_holds: impl Fn(&FooterShard) -> bool,
        batch_holds: impl Fn(&FooterBatch) -> bool,
    ) -> Result<Option<Found<R>>, ReadError> {
        let logs = self.inner.state.borrow().sealed.by_log();
        let mut best: Option<Found<R>> = None;
        for segments in logs {
            let (mut low, mut high) = (0, segments.len());
            while low < high {
                let middle = usize::midpoint(low, high);
                let loaded = self.load_for(shard, from, &segments[middle]).await?;
                if loaded.footer.find(shard).is_some_and(|s| segment_holds(&s)) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            // The first segment that reaches far enough may hold none of the shard's batches.
            for meta in &segments[low..] {
                let loaded = self.load_for(shard, from, meta).await?;
                let Some(share) = loaded.footer.find(shard) else {
                    continue;
                };
                let index = loaded.footer.first_batch_where(&share, &batch_holds);
                if index < share.batches {
                    let first = loaded.footer.batch(&share, index).first;
                    let candidate = Found {
                        first,
                        until: Offset::MAX,
                        loaded,
                        shard: share,
                        index,
                    };
                    best = Some(match best {
                        None => candidate,
                        Some(best) => best.or_earlier(candidate),
                    });
                    break;
                }
            }
        }
        Ok(best)
    }

    async fn load_for(
        &self,
        shard: ShardId,
        from: Offset,
        meta: &std::sync::Arc<crate::sealed::SealedSegment>,
    ) -> Result<Rc<Loaded<R>>, ReadError> {
        self.load(meta).await.map_err(|error| match error {
            LoadError::Io(error) => ReadError::Io {
                shard,
                what: format!("{}: {error}", meta.path()),
            },
            LoadError::Footer => {
                self.inner.state.borrow_mut().counters.damaged += 1;
                let what = format!("the footer of {} does not verify", meta.path());
                ReadError::Damaged { shard, from, what }
            }
        })
    }

    /// Reads from a sealed segment: by its mapping where that is resident, else by direct reads;
    /// what is wanted a second time is brought into memory.
    async fn read_loaded(
        &self,
        shard: ShardId,
        loaded: &Rc<Loaded<R>>,
        wanted: &[Wanted],
        out: &mut ReadBatches<R>,
    ) -> Result<(), ReadError> {
        let start = wanted[0].file_offset as usize;
        let last = wanted[wanted.len() - 1];
        let range = start..last.file_offset as usize + last.bytes;
        if let Some(map) = self.resident_map(loaded, &range).await {
            self.inner.state.borrow_mut().counters.reads_mapped += 1;
            for batch in wanted {
                let at = batch.file_offset as usize;
                let range = at..at + batch.bytes;
                if let Err(error) = self.verify(shard, batch, map.slice(range.clone())) {
                    return if out.is_empty() { Err(error) } else { Ok(()) };
                }
                out.push(
                    Chunk::Map {
                        _segment: Rc::clone(loaded),
                        map: Rc::clone(&map),
                        range,
                    },
                    batch.bytes,
                    batch.next,
                );
            }
            return Ok(());
        }
        self.inner.state.borrow_mut().counters.reads_cold += 1;
        self.read_wanted(shard, &loaded.file, wanted, out).await
    }

    /// The segment's mapping, if `range` is resident or worth being made so.
    async fn resident_map(
        &self,
        loaded: &Rc<Loaded<R>>,
        range: &Range<usize>,
    ) -> Option<Rc<MapOf<R>>> {
        let mapped = loaded.map.borrow().clone();
        if let Some(map) = &mapped
            && map.is_resident(range.clone())
        {
            return mapped;
        }
        let mebibytes = range.start >> 20..=(range.end - 1) >> 20;
        let again = {
            let mut before = loaded.read_before.borrow_mut();
            let flags = &mut before[mebibytes];
            let again = flags.iter().all(|flag| *flag);
            flags.fill(true);
            again
        };
        if !again {
            return None;
        }
        let map = if let Some(map) = mapped {
            map
        } else {
            let map = Rc::new(loaded.file.map().await.ok()??);
            *loaded.map.borrow_mut() = Some(Rc::clone(&map));
            map
        };
        // A page that cannot be read is left to a direct read, which gives the typed error.
        map.populate(range.clone()).await.ok()?;
        map.is_resident(range.clone()).then_some(map)
    }

    /// Reads batches by direct reads, neighbours in one stretch.
    async fn read_wanted(
        &self,
        shard: ShardId,
        file: &FileOf<R>,
        wanted: &[Wanted],
        out: &mut ReadBatches<R>,
    ) -> Result<(), ReadError> {
        let block = u64::from(BLOCK_BYTES);
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let start = first.file_offset / block * block;
            let mut end = first.file_offset + first.bytes as u64;
            let mut count = 1;
            for batch in &rest[1..] {
                let batch_end = batch.file_offset + batch.bytes as u64;
                let near = batch.file_offset >= end && batch.file_offset - end <= GAP_BYTES_MAX;
                if !near || batch_end - start > STRETCH_BYTES_MAX {
                    break;
                }
                end = batch_end;
                count += 1;
            }
            let length = (end - start).next_multiple_of(block) as usize;
            let bytes = match file.read(start, length).await {
                Ok(bytes) => Rc::new(bytes),
                Err(_) if !out.is_empty() => return Ok(()),
                Err(error) => {
                    return Err(ReadError::Io {
                        shard,
                        what: error.to_string(),
                    });
                }
            };
            for batch in &rest[..count] {
                let at = (batch.file_offset - start) as usize;
                let range = at..at + batch.bytes;
                let view = &(*bytes).as_ref()[range.clone()];
                if let Err(error) = self.verify(shard, batch, view) {
                    return if out.is_empty() { Err(error) } else { Ok(()) };
                }
                out.push(
                    Chunk::Disk(Rc::clone(&bytes), range),
                    batch.bytes,
                    batch.next,
                );
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Checks that bytes from a disk are the batch that was wanted.
    fn verify(&self, shard: ShardId, wanted: &Wanted, bytes: &[u8]) -> Result<(), ReadError> {
        if !D::VERIFY_READS {
            return Ok(());
        }
        let what = match BatchView::decode(bytes) {
            Ok(view) if view.header.shard != shard => {
                format!("a batch of shard {} lies there", view.header.shard)
            }
            Ok(view) if view.header.first_offset != wanted.first => {
                format!(
                    "a batch from offset {} lies there",
                    view.header.first_offset
                )
            }
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        self.inner.state.borrow_mut().counters.damaged += 1;
        let what = format!("{what} (at byte {} of its segment)", wanted.file_offset);
        Err(ReadError::Damaged {
            shard,
            from: wanted.first,
            what,
        })
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
        let sealed = self.seek(shard, at).await?;
        let state = self.inner.state.borrow();
        let known = state
            .shards
            .get(&shard)
            .ok_or(ReadError::ShardNotFound { shard })?;
        let index = first_arrived(&known.extents, at);
        let unsealed = known.extents.get(index).map(|e| e.first);
        let found = sealed.or(unsealed).unwrap_or(known.durable_next);
        Ok(found.max(known.horizon))
    }

    /// The oldest record kept; the tip if there is none.
    pub async fn horizon(&self, shard: ShardId) -> Result<Offset, ReadError> {
        self.seek_time(shard, Timestamp::ZERO).await
    }
}

struct Found<R: Reactor> {
    first: Offset,
    /// Where another log goes on: a settled segment may hold batches from before and after a time
    /// in which other cores, and so another log, had the shard.
    until: Offset,
    loaded: Rc<Loaded<R>>,
    shard: FooterShard,
    index: u32,
}

impl<R: Reactor> Found<R> {
    /// The earlier of two logs' next batches; it is good for as long as the other has none.
    fn or_earlier(self, other: Self) -> Self {
        let (mut earlier, later) = if other.first < self.first {
            (other, self)
        } else {
            (self, other)
        };
        earlier.until = earlier.until.min(later.first);
        earlier
    }
}

fn wanted_extent(extent: &Extent, base: Position) -> Wanted {
    Wanted {
        file_offset: extent.position.0 - base.0,
        bytes: extent.bytes as usize,
        first: extent.first,
        next: extent.next(),
    }
}

fn wanted_batch(batch: &FooterBatch) -> Wanted {
    Wanted {
        file_offset: u64::from(batch.file_offset),
        bytes: batch.bytes as usize,
        first: batch.first,
        next: batch.next(),
    }
}
