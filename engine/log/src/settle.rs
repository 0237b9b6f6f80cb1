//! Rewrites neighbouring sealed segments that are half dead into one: verify, write the live
//! batches clustered by shard, flush, one change in the catalog, give the inputs back.
//!
//! Works from a budget: after each stretch it rests four times as long as the stretch took, so that
//! it takes at most a fifth of what the disk does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use weir_protocol::batch::BatchView;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, Position, ShardId, Timestamp};
use weir_reactor::{File, Reactor};

use crate::append::holes_room;
use crate::discipline::Discipline;
use crate::log::{FileOf, Log, Mode};
use crate::seal::{build_trailer, write_all};
use crate::sealed::{Loaded, SealedSegment};
use crate::segment::{
    FooterBatch, FooterBuilder, SegmentHeader, SegmentKind, TRAILER_BYTES, Trailer, footer_bytes,
    header_bytes,
};

/// Segments that one round takes in at most.
const INPUTS_MAX: usize = 8;
/// Bytes written before a rest.
const STRETCH_BYTES: usize = 1 << 20;

/// A live batch: which input it lies in, and where.
struct Live {
    input: usize,
    batch: FooterBatch,
}

/// Why a round came to nothing.
enum SettleError {
    /// An input cannot be read or does not verify: it is left alone from now on.
    Input(String),
    /// The output cannot be written: a later round may.
    Output(String),
}

/// What goes into the output, by shard.
struct SettlePlan {
    shards: BTreeMap<ShardId, (Offset, Timestamp, Vec<Live>)>,
    bytes: usize,
    batches: usize,
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// One round, if there is a run of neighbours worth it.
    pub(crate) async fn settle_some(&self) {
        let inputs = self.settle_candidates();
        if inputs.len() < 2 {
            return;
        }
        let generations: Vec<u64> = inputs.iter().map(|m| m.generation).collect();
        match self.settle(&inputs).await {
            Ok(Some(bytes)) => {
                let mut state = self.inner.state.borrow_mut();
                state.counters.settled_bytes += bytes;
                tracing::debug!(log = self.inner.log.0, ?generations, bytes, "settled");
            }
            Ok(None) => {}
            Err(SettleError::Output(error)) => {
                tracing::warn!(
                    log = self.inner.log.0,
                    ?generations,
                    error,
                    "not settled now"
                );
            }
            Err(SettleError::Input(error)) => {
                // Left as they are: readers get the typed error, the operator the count.
                tracing::warn!(log = self.inner.log.0, ?generations, error, "not settled");
                let mut state = self.inner.state.borrow_mut();
                for generation in generations {
                    if let Some(entry) = state.sealed.entry_mut(self.inner.log, generation) {
                        entry.damaged = true;
                    }
                }
            }
        }
    }

    /// The first run of neighbours that are half dead and together fit one segment.
    fn settle_candidates(&self) -> Vec<Arc<SealedSegment>> {
        let state = self.inner.state.borrow();
        if state.mode != Mode::Open {
            return Vec::new();
        }
        let half = self.inner.identity.segment_bytes / 2;
        let room = self.inner.identity.segment_bytes / 8 * 7;
        let mut run: Vec<Arc<SealedSegment>> = Vec::new();
        let mut total = 0;
        for entry in state.sealed.entries() {
            let ours = entry.meta.log == self.inner.log && entry.owned && entry.recorded;
            let live = entry
                .live_bytes
                .filter(|b| ours && !entry.damaged && *b <= half)
                .map(|b| b + footer_share(&entry.meta.trailer, state.hole_count));
            match live {
                Some(bytes) if total + bytes <= room && run.len() < INPUTS_MAX => {
                    total += bytes;
                    run.push(Arc::clone(&entry.meta));
                }
                _ if run.len() >= 2 => break,
                Some(bytes) => {
                    run = vec![Arc::clone(&entry.meta)];
                    total = bytes;
                }
                None => {
                    run.clear();
                    total = 0;
                }
            }
        }
        run
    }

    async fn settle(&self, inputs: &[Arc<SealedSegment>]) -> Result<Option<u64>, SettleError> {
        let mut loaded = Vec::new();
        for meta in inputs {
            let input = self
                .load(meta)
                .await
                .map_err(|_| SettleError::Input(format!("{} cannot be read", meta.path())))?;
            loaded.push(input);
        }
        let plan = self.settle_plan(&loaded);
        let segment_bytes = self.inner.identity.segment_bytes;
        let holes = self.inner.state.borrow().hole_count;
        let room = holes_room(plan.shards.len(), holes);
        let footer = footer_bytes(plan.shards.len(), plan.batches, room) + TRAILER_BYTES;
        let head = header_bytes(0);
        let whole = head + (plan.bytes + BLOCK_BYTES as usize) + footer;
        if whole as u64 > segment_bytes {
            return Ok(None);
        }
        // Never the last ready segment: appends come first.
        let slot = {
            let mut state = self.inner.state.borrow_mut();
            if state.pool.ready() < 2 {
                drop(state);
                self.inner.pool.notify();
                return Ok(None);
            }
            state.pool.take().expect("two are ready")
        };
        let (generation, incarnation) = {
            let mut state = self.inner.state.borrow_mut();
            state.next_generation += 1;
            (state.next_generation - 1, self.inner.settings.incarnation)
        };
        self.inner.pool.notify();
        let last = inputs.last().expect("two or more inputs");
        let header = SegmentHeader {
            kind: SegmentKind::Settled,
            folder: self.inner.identity.folder,
            log: self.inner.log,
            entries: 0,
            generation,
            ordinal: last.ordinal,
            incarnation,
            segment_bytes,
            previous_end: Position(0),
            durable_mark: Position(0),
            table_crc: 0,
        };
        let written = self.write_settled(&slot.file, header, &loaded, &plan).await;
        let builder = match written {
            Ok(builder) => builder,
            Err(error) => {
                self.inner.state.borrow_mut().pool.give_back(slot.number);
                self.inner.pool.notify();
                return Err(error);
            }
        };
        let blank = Trailer {
            folder: self.inner.identity.folder,
            log: self.inner.log,
            generation,
            incarnation,
            end: last.trailer.end,
            ..Trailer::blank()
        };
        let used = written_bytes(&plan);
        let sealed = match build_trailer(builder.finish(), blank, used, segment_bytes) {
            Ok((trailer, bytes)) => write_all::<R>(&slot.file, &bytes, trailer.footer_at)
                .await
                .map(|()| trailer),
            Err(error) => Err(error),
        };
        let trailer = match sealed {
            Ok(trailer) => trailer,
            Err(error) => {
                self.inner.state.borrow_mut().pool.give_back(slot.number);
                self.inner.pool.notify();
                return Err(SettleError::Output(error.to_string()));
            }
        };
        let output = Arc::new(SealedSegment {
            log: self.inner.log,
            generation,
            slot: slot.number,
            ordinal: last.ordinal,
            trailer,
        });
        drop(loaded);
        self.retire(inputs, Some(output)).await;
        Ok(Some(plan.bytes as u64))
    }

    /// Live batches of the inputs, by shard and in offset order: the inputs come in that order.
    fn settle_plan(&self, inputs: &[Rc<Loaded<R>>]) -> SettlePlan {
        let state = self.inner.state.borrow();
        let mut plan = SettlePlan {
            shards: BTreeMap::new(),
            bytes: 0,
            batches: 0,
        };
        for (input, loaded) in inputs.iter().enumerate() {
            for share in loaded.footer.shards() {
                let exists = state.shards.contains_key(&share.shard)
                    || state.elsewhere.contains_key(&share.shard);
                if !exists {
                    continue;
                }
                let horizon = state
                    .shards
                    .get(&share.shard)
                    .map_or(Offset::ZERO, |s| s.horizon);
                let cutoff = state.cutoff(share.shard);
                let slot = plan
                    .shards
                    .entry(share.shard)
                    .or_insert_with(|| (share.next, share.last_arrival, Vec::new()));
                (slot.0, slot.1) = (share.next, share.last_arrival);
                for index in 0..share.batches {
                    let batch = loaded.footer.batch(&share, index);
                    let given_up = &state.given_up;
                    // No reader gets it any more, and it may be what cannot be copied.
                    let is_given_up = given_up.covers(share.shard, batch.first, batch.next());
                    if batch.next() > horizon && batch.arrival >= cutoff && !is_given_up {
                        plan.bytes += batch.bytes as usize;
                        plan.batches += 1;
                        slot.2.push(Live { input, batch });
                    }
                }
            }
        }
        plan
    }

    /// Writes header and batches; returns the footer's makings.
    async fn write_settled(
        &self,
        output: &FileOf<R>,
        header: SegmentHeader,
        inputs: &[Rc<Loaded<R>>],
        plan: &SettlePlan,
    ) -> Result<FooterBuilder, SettleError> {
        let io = |e: std::io::Error| SettleError::Output(e.to_string());
        let bad = SettleError::Input;
        let head = header.encode(&[]);
        write_all::<R>(output, &head, 0).await.map_err(io)?;
        let mut builder = FooterBuilder::default();
        let mut pending: Vec<u8> = Vec::with_capacity(STRETCH_BYTES + (64 << 10));
        let mut written_to = head.len() as u64;
        let block = BLOCK_BYTES as usize;
        let mut began = self.inner.reactor.monotonic();
        for (shard, (next, last_arrival, lives)) in &plan.shards {
            let mut placed = Vec::with_capacity(lives.len());
            for live in lives {
                let at = written_to + pending.len() as u64;
                let bytes = read_batch(&inputs[live.input], live.batch)
                    .await
                    .map_err(|e| bad(e.to_string()))?;
                let view = BatchView::decode(&bytes).map_err(|e| bad(e.to_string()))?;
                if view.header.shard != *shard || view.header.first_offset != live.batch.first {
                    let what = format!("shard {shard}: another batch lies at {}", live.batch.first);
                    return Err(bad(what));
                }
                pending.extend_from_slice(&bytes);
                placed.push(FooterBatch {
                    file_offset: at as u32,
                    ..live.batch
                });
                if pending.len() >= STRETCH_BYTES {
                    let whole = pending.len() / block * block;
                    write_all::<R>(output, &pending[..whole], written_to)
                        .await
                        .map_err(io)?;
                    pending.drain(..whole);
                    written_to += whole as u64;
                    let took = self.inner.reactor.monotonic().since(began);
                    self.inner.reactor.sleep(took * 4).await;
                    began = self.inner.reactor.monotonic();
                }
            }
            builder.push(*shard, *next, *last_arrival, placed.into_iter());
        }
        pending.resize(pending.len().next_multiple_of(block), 0);
        write_all::<R>(output, &pending, written_to)
            .await
            .map_err(io)?;
        for (shard, hole) in self.inner.state.borrow().holes() {
            builder.push_hole(shard, hole);
        }
        Ok(builder)
    }
}

/// Bytes that a segment's entries may take in the output's footer, at most.
fn footer_share(trailer: &Trailer, holes: usize) -> u64 {
    let shards = trailer.shards as usize;
    footer_bytes(shards, trailer.batches as usize, holes_room(shards, holes)) as u64
}

/// Bytes of the output before its footer.
fn written_bytes(plan: &SettlePlan) -> u64 {
    let batches = plan.bytes.next_multiple_of(BLOCK_BYTES as usize);
    (header_bytes(0) + batches) as u64
}

async fn read_batch<R: Reactor>(input: &Loaded<R>, batch: FooterBatch) -> std::io::Result<Vec<u8>> {
    let block = u64::from(BLOCK_BYTES);
    let start = u64::from(batch.file_offset) / block * block;
    let skip = (u64::from(batch.file_offset) - start) as usize;
    let length = (skip + batch.bytes as usize).next_multiple_of(block as usize);
    let read = input.file.read(start, length).await?;
    Ok(read.as_ref()[skip..skip + batch.bytes as usize].to_vec())
}
