//! Seals full segments in the background: footer, trailer, and the catalog is told.

use std::rc::Rc;
use std::sync::Arc;

use weir_protocol::model::Position;
use weir_reactor::{File, Reactor};

use crate::discipline::Discipline;
use crate::error::LedgerFailed;
use crate::extent::Extent;
use crate::ledger::LedgerChange;
use crate::log::{FileOf, Log, Mode, Segment, State};
use crate::sealed::SealedSegment;
use crate::segment::{BuiltFooter, FooterBatch, FooterBuilder, TRAILER_BYTES, Trailer};

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Seals segments as they become full and durable; ends with the log.
    pub(crate) async fn run_seals(self) {
        loop {
            let seen = self.inner.seal.count();
            let mode = self.inner.state.borrow().mode;
            match mode {
                Mode::Closed => return,
                Mode::Open | Mode::Closing => {
                    if self.oldest_is_full() {
                        match self.seal_oldest(false).await {
                            Ok(()) => continue,
                            Err(error) => self.fault(&format!("sealing a segment failed: {error}")),
                        }
                    }
                }
                Mode::Failed | Mode::ReadOnly => {}
            }
            self.inner.seal.after(seen).await;
        }
    }

    /// Whether the oldest unsealed segment is full and all of it is durable.
    pub(crate) fn oldest_is_full(&self) -> bool {
        let state = self.inner.state.borrow();
        state
            .segments
            .front()
            .and_then(|s| s.end.as_ref())
            .is_some_and(|end| end.position <= state.durable)
    }

    /// Seals the oldest segment; one seal at a time, so a second caller waits for the first.
    pub(crate) async fn seal_oldest(&self, clean: bool) -> std::io::Result<()> {
        loop {
            let seen = self.inner.seal.count();
            if !std::mem::replace(&mut self.inner.state.borrow_mut().sealing, true) {
                break;
            }
            self.inner.seal.after(seen).await;
        }
        // The one before may have sealed what this one came for.
        let result = if clean || self.oldest_is_full() {
            self.write_seal(clean).await
        } else {
            Ok(())
        };
        self.inner.state.borrow_mut().sealing = false;
        self.inner.seal.notify();
        result
    }

    /// Writes the oldest segment's footer and trailer, lets go of its extents, and tells the
    /// catalog. The segment has an end and is durable up to it.
    async fn write_seal(&self, clean: bool) -> std::io::Result<()> {
        let (file, trailer, bytes, sealed) = {
            let state = self.inner.state.borrow();
            let segment = state.segments.front().expect("a segment is to be sealed");
            let (trailer, bytes) = self.footer_of(&state, segment, clean)?;
            let sealed = Arc::new(SealedSegment {
                log: self.inner.log,
                generation: segment.generation,
                slot: segment.slot,
                ordinal: segment.ordinal,
                trailer,
            });
            (Rc::clone(&segment.file), trailer, bytes, sealed)
        };
        write_all::<R>(&file, &bytes, trailer.footer_at).await?;
        {
            let mut state = self.inner.state.borrow_mut();
            let same = state
                .segments
                .front()
                .is_some_and(|s| s.generation == sealed.generation);
            assert!(same, "only one task seals");
            let segment = state.segments.pop_front().expect("it was looked at above");
            let end = segment.end.as_ref().expect("it has an end").position;
            drop_extents(&mut state, &segment, end);
            state.list_version += 1;
            state.counters.sealed += 1;
            state.sealed.insert(Arc::clone(&sealed), true, false);
        }
        self.record_sealed().await;
        Ok(())
    }

    /// Tells the catalog of every sealed segment it has not heard of. They go in one change: were a
    /// later one recorded without an earlier one, the next start would take that for dropped.
    pub(crate) async fn record_sealed(&self) {
        let (unrecorded, begun): (Vec<u64>, u64) = {
            let state = self.inner.state.borrow();
            let entries = state.sealed.entries().iter();
            let ours = entries.filter(|e| e.meta.log == self.inner.log && e.owned && !e.recorded);
            let unrecorded = ours.map(|e| e.meta.generation).collect();
            // The segment that followed is noted with it: that costs no transaction of its own.
            (unrecorded, state.begun_unnoted())
        };
        let Some(newest) = unrecorded.iter().max() else {
            return;
        };
        let change = LedgerChange {
            log: self.inner.log,
            known_generation: *newest,
            begun,
            added: unrecorded.clone(),
            removed: Vec::new(),
        };
        match self.inner.ledger.record(change).await {
            Ok(()) => {
                let mut state = self.inner.state.borrow_mut();
                state.begun_noted = state.begun_noted.max(begun);
                for generation in unrecorded {
                    if let Some(entry) = state.sealed.entry_mut(self.inner.log, generation) {
                        entry.recorded = true;
                    }
                }
            }
            // The next tick tries again. Until then they are not given back, and a start finds
            // them by their headers.
            Err(error) => tracing::warn!(log = self.inner.log.0, %error, "segments not recorded"),
        }
    }

    /// Tells the catalog of the newest segment that was begun, if it has not heard of it: one whose file
    /// is gone at a start is missed then, as a sealed one is.
    pub(crate) async fn note_begun(&self) -> Result<(), LedgerFailed> {
        let begun = self.inner.state.borrow().begun_unnoted();
        if begun == 0 {
            return Ok(());
        }
        let change = LedgerChange {
            log: self.inner.log,
            known_generation: 0,
            begun,
            added: Vec::new(),
            removed: Vec::new(),
        };
        self.inner.ledger.record(change).await?;
        let mut state = self.inner.state.borrow_mut();
        state.begun_noted = state.begun_noted.max(begun);
        Ok(())
    }

    fn footer_of(
        &self,
        state: &State<R>,
        segment: &Segment<R>,
        clean: bool,
    ) -> std::io::Result<(Trailer, Vec<u8>)> {
        let segment_bytes = self.inner.identity.segment_bytes;
        let base = segment.base(segment_bytes);
        let end = segment.end.as_ref().expect("a sealed segment has an end");
        let mut builder = FooterBuilder::default();
        for entry in &end.shards {
            let known = state.shards.get(&entry.shard);
            let extents = known.into_iter().flat_map(|s| s.extents.iter());
            let inside = extents
                .take_while(|e| e.position < end.position)
                .map(|e| footer_batch(e, base));
            builder.push(entry.shard, entry.next, entry.last_arrival, inside);
        }
        for (shard, hole) in state.holes() {
            builder.push_hole(shard, hole);
        }
        let built = builder.finish();
        build_trailer(
            built,
            Trailer {
                clean,
                folder: self.inner.identity.folder,
                log: self.inner.log,
                generation: segment.generation,
                incarnation: self.inner.settings.incarnation,
                end: end.position,
                next_generation: end.next_generation,
                ..Trailer::blank()
            },
            end.position.0 - base.0,
            segment_bytes,
        )
    }
}

/// Fills a trailer in from a footer that lies right before it; returns both as one write. An error
/// if the footer would reach into the `used` bytes before it.
pub(crate) fn build_trailer(
    built: BuiltFooter,
    trailer: Trailer,
    used: u64,
    segment_bytes: u64,
) -> std::io::Result<(Trailer, Vec<u8>)> {
    let taken = (TRAILER_BYTES + built.bytes.len()) as u64;
    if used + taken > segment_bytes {
        let what = format!("a footer of {taken} bytes does not fit behind {used} bytes");
        return Err(std::io::Error::other(what));
    }
    let footer_at = segment_bytes - taken;
    let trailer = Trailer {
        shards: built.shards,
        footer_at,
        batches: built.batches,
        holes: built.holes,
        newest: built.newest,
        batch_bytes: built.batch_bytes,
        footer_crc: built.crc,
        ..trailer
    };
    let mut bytes = built.bytes;
    bytes.extend_from_slice(&trailer.encode());
    Ok((trailer, bytes))
}

pub(crate) fn footer_batch(extent: &Extent, base: Position) -> FooterBatch {
    FooterBatch {
        first: extent.first,
        arrival: extent.arrival,
        file_offset: (extent.position.0 - base.0) as u32,
        bytes: extent.bytes,
        records: extent.records,
    }
}

fn drop_extents<R: Reactor>(state: &mut State<R>, segment: &Segment<R>, end: Position) {
    for shard in &segment.present {
        if let Some(known) = state.shards.get_mut(shard) {
            while known.extents.front().is_some_and(|e| e.position < end) {
                known.extents.pop_front();
            }
        }
    }
}

/// Writes whole blocks, at most a MiB at a time. Durable when it returns.
pub(crate) async fn write_all<R: Reactor>(
    file: &FileOf<R>,
    bytes: &[u8],
    at: u64,
) -> std::io::Result<()> {
    for (i, piece) in bytes.chunks(1 << 20).enumerate() {
        let mut buffer = file.buffer(piece.len());
        buffer.as_mut().copy_from_slice(piece);
        file.write(Rc::new(buffer), at + (i << 20) as u64).await?;
    }
    Ok(())
}
