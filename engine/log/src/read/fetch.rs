//! Brings batches from a disk: by a mapping where that is resident, else by direct reads.
//!
//! Whatever comes from here was verified: checksum, shard and offset.

use std::ops::Range;
use std::rc::Rc;

use weir_protocol::batch::BatchView;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, Position, ShardId};
use weir_reactor::{File, Map, Reactor};

use super::batches::{Chunk, ReadBatches};
use crate::discipline::Discipline;
use crate::error::ReadError;
use crate::extent::Extent;
use crate::log::{FileOf, Log, MapOf};
use crate::sealed::Loaded;
use crate::segment::FooterBatch;

/// A batch to be read: where it lies in a file, and what it must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    file_offset: u64,
    bytes: usize,
    first: Offset,
    next: Offset,
}

/// Longest stretch that one disk read covers.
const STRETCH_BYTES_MAX: u64 = 1 << 20;
/// Bytes of other shards that a stretch may carry along rather than begin a new read.
const GAP_BYTES_MAX: u64 = 32 << 10;

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Reads from a sealed segment: by its mapping where that is resident, else by direct reads;
    /// what is wanted a second time is brought into memory.
    pub(super) async fn read_loaded(
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
    pub(super) async fn read_wanted(
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
}

impl Wanted {
    pub(super) fn of_extent(extent: &Extent, base: Position) -> Wanted {
        Wanted {
            file_offset: extent.position.0 - base.0,
            bytes: extent.bytes as usize,
            first: extent.first,
            next: extent.next(),
        }
    }

    pub(super) fn of_footer(batch: &FooterBatch) -> Wanted {
        Wanted {
            file_offset: u64::from(batch.file_offset),
            bytes: batch.bytes as usize,
            first: batch.first,
            next: batch.next(),
        }
    }
}
