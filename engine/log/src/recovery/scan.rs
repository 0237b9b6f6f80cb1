//! Reads an unsealed segment block by block, past bad ones.

use weir_protocol::batch::BatchView;
use weir_protocol::frame::{FRAME_HEADER_BYTES, FrameHeader};
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, Position, ShardId, Timestamp};
use weir_reactor::{File, Reactor};

use super::Recovery;
use super::slots::Unsealed;
use crate::discipline::{Discipline, Sound};
use crate::error::RecoveryError;
use crate::log::FileOf;
use crate::segment::{FooterBatch, StartEntry, slot_path};

/// A batch of a scanned frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScannedBatch {
    pub(crate) shard: ShardId,
    /// `None` if the batch does not verify: what the directory says of it is all there is.
    pub(crate) batch: Option<FooterBatch>,
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    /// Where it lies in the file.
    pub(crate) file_offset: u64,
    pub(crate) bytes: u32,
}

/// A frame whose header and directory verify.
#[derive(Debug, Clone)]
pub(crate) struct ScannedFrame {
    pub(crate) header: FrameHeader,
    pub(crate) batches: Vec<ScannedBatch>,
}

impl ScannedFrame {
    pub(crate) fn end(&self) -> Position {
        Position(self.header.position.0 + u64::from(self.header.frame_bytes))
    }

    /// Whether every batch verifies: a frame that was torn while it was written is not.
    pub(crate) fn is_whole(&self) -> bool {
        self.batches.iter().all(|b| b.batch.is_some())
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) start_table: Vec<StartEntry>,
    /// The header's own start table did not verify.
    pub(crate) header_damaged: bool,
    /// Where frames begin; the first frame's place if the header is damaged.
    pub(crate) first_frame: u64,
    pub(crate) frames: Vec<ScannedFrame>,
}

const READ_BYTES: usize = 1 << 20;

impl<R: Reactor> Recovery<'_, R> {
    /// Reads a whole segment into memory.
    pub(crate) async fn read_segment<D: Discipline>(
        &self,
        path: &str,
        file: &FileOf<R>,
    ) -> Result<Vec<u8>, RecoveryError> {
        let total = self.identity.segment_bytes as usize;
        let mut bytes = Vec::with_capacity(total);
        while bytes.len() < total {
            let at = bytes.len() as u64;
            let read = file.read(at, READ_BYTES.min(total - bytes.len())).await;
            if !D::STOP_AT_READ_ERROR && read.is_err() {
                bytes.resize(total, 0);
                break;
            }
            let read = read.map_err(|e| self.read_failed(path, at, &e))?;
            bytes.extend_from_slice(read.as_ref());
        }
        Ok(bytes)
    }

    pub(crate) async fn scan<D: Discipline>(
        &self,
        segment: &Unsealed,
    ) -> Result<Scan, RecoveryError> {
        let path = slot_path(self.log, segment.slot);
        let file = self.open(&path).await?;
        let bytes = self.read_segment::<D>(&path, &file).await?;
        Ok(self.scan_bytes(segment, &bytes))
    }

    /// Finds the frames of a segment that is in memory.
    pub(crate) fn scan_bytes(&self, segment: &Unsealed, bytes: &[u8]) -> Scan {
        let mut scan = Scan::default();
        if let Some(header) = segment.header {
            scan.first_frame = header.bytes() as u64;
            let table = bytes.get(..header.bytes()).and_then(|b| header.table(b));
            scan.header_damaged = table.is_none();
            scan.start_table = table.unwrap_or_default();
        } else {
            // A header has at least a block, and no segment ends before it.
            scan.first_frame = u64::from(BLOCK_BYTES);
            scan.header_damaged = true;
        }
        let base = segment.base(self.identity.segment_bytes);
        let block = BLOCK_BYTES as usize;
        let mut at = scan.first_frame as usize;
        while at + block <= bytes.len() {
            match self.frame_at(bytes, at, base, segment.generation) {
                Some(frame) => {
                    at += frame.header.frame_bytes as usize;
                    scan.frames.push(frame);
                }
                None => at += block,
            }
        }
        if let (None, Some(first)) = (segment.header, scan.frames.first()) {
            scan.first_frame = first.header.position.0 - base.0;
        }
        scan
    }

    /// The frame at a place of a segment, if one of this segment's life lies there.
    fn frame_at(
        &self,
        bytes: &[u8],
        at: usize,
        base: Position,
        generation: u64,
    ) -> Option<ScannedFrame> {
        let header = FrameHeader::decode(&bytes[at..]).ok()?;
        let ours = header.folder == self.identity.folder
            && header.log == self.log
            && header.generation == generation
            && header.position == Position(base.0 + at as u64);
        if !ours {
            return None;
        }
        let frame = bytes.get(at..at + header.frame_bytes as usize)?;
        let directory = header.directory(frame).ok()?;
        let mut batch_at = FRAME_HEADER_BYTES;
        let mut batches = Vec::with_capacity(directory.len());
        for entry in directory {
            let next = entry.first_offset.checked_add(entry.records)?;
            let raw = &frame[batch_at..batch_at + entry.bytes as usize];
            let view = BatchView::decode(raw).ok().filter(|view| {
                view.header.shard == entry.shard
                    && view.header.first_offset == entry.first_offset
                    && view.header.header_crc == entry.header_crc
                    && view.as_bytes().len() == entry.bytes as usize
            });
            let batch = view.map(|view| FooterBatch {
                first: entry.first_offset,
                arrival: view.header.arrival,
                file_offset: (at + batch_at) as u32,
                bytes: entry.bytes,
                records: entry.records,
            });
            let (shard, first) = (entry.shard, entry.first_offset);
            batches.push(ScannedBatch {
                shard,
                batch,
                first,
                next,
                file_offset: (at + batch_at) as u64,
                bytes: entry.bytes,
            });
            batch_at += entry.bytes as usize;
        }
        Some(ScannedFrame { header, batches })
    }

    /// Generation and position of the frames in a slot, of whatever life, that lie at their place.
    pub(crate) async fn frames_in(
        &self,
        path: &str,
        file: &FileOf<R>,
    ) -> Result<Vec<(u64, Position)>, RecoveryError> {
        let bytes = self.read_segment::<Sound>(path, file).await?;
        Ok(self.frames_of(&bytes))
    }

    /// As [`Self::frames_in`], of the first bytes of a slot.
    pub(crate) fn frames_of(&self, bytes: &[u8]) -> Vec<(u64, Position)> {
        let blocks = bytes.chunks_exact(BLOCK_BYTES as usize).enumerate();
        let frames = blocks.filter_map(|(i, b)| FrameHeader::decode(b).ok().map(|h| (i, h)));
        let at_home = frames.filter(|(i, h)| {
            let offset = h.position.0 % self.identity.segment_bytes;
            h.folder == self.identity.folder
                && h.log == self.log
                && offset == *i as u64 * u64::from(BLOCK_BYTES)
        });
        at_home.map(|(_, h)| (h.generation, h.position)).collect()
    }
}

/// Arrival time of a scanned batch, if it verified.
pub(crate) fn arrival(batch: &ScannedBatch) -> Timestamp {
    batch.batch.map_or(Timestamp::ZERO, |b| b.arrival)
}
