//! Takes batches in: the single copy of the write path.
//!
//! A batch is stamped with its offset and arrival time while it is copied into the open frame.
//! Everything here is synchronous; [`crate::commit`] writes the frames.

use std::rc::Rc;

use weir_protocol::batch::{self, BatchView};
use weir_protocol::checksum;
use weir_protocol::frame::{
    DIRECTORY_ENTRY_BYTES, DirectoryEntry, FRAME_HEADER_BYTES, FrameHeader, frame_bytes,
};
use weir_protocol::limits::{BLOCK_BYTES, FRAME_BATCHES_MAX};
use weir_protocol::model::{Offset, Position, ShardId, Timestamp};
use weir_reactor::{Buffer, File, Reactor};

use crate::discipline::Discipline;
use crate::error::AppendError;
use crate::extent::Extent;
use crate::log::{BufferOf, FileOf, Inner, Log, Mode, Segment, SegmentEnd, State};
use crate::segment::{SegmentHeader, SegmentKind, TRAILER_BYTES, footer_bytes, header_bytes};
use crate::settings::{CLOSED_FRAMES_MAX, LogSettings};
use crate::tail::Tail;

/// A batch that was taken in. It is durable once the log is durable up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub first_offset: Offset,
    /// When it arrived.
    pub arrival: Timestamp,
    /// Log position that must become durable.
    pub end: Position,
}

/// One batch in a frame.
#[derive(Clone)]
pub(crate) struct FrameEntry {
    pub(crate) shard: ShardId,
    pub(crate) extent: Extent,
}

/// The frame that appends go into.
pub(crate) struct OpenFrame<R: Reactor> {
    buffer: BufferOf<R>,
    /// Bytes the allocator gave for it: a buffer that was cut before still holds them.
    capacity: usize,
    position: Position,
    /// Header and batches so far.
    used: usize,
    directory: Vec<u8>,
    entries: Vec<FrameEntry>,
}

/// A frame that waits for its write.
pub(crate) struct ClosedFrame<R: Reactor> {
    pub(crate) buffer: BufferOf<R>,
    pub(crate) capacity: usize,
    pub(crate) entries: Vec<FrameEntry>,
    pub(crate) header: FrameHeader,
    pub(crate) file: Rc<FileOf<R>>,
    pub(crate) file_offset: u64,
}

/// A frame whose write was submitted.
pub(crate) struct InFlight<R: Reactor> {
    pub(crate) buffer: Rc<BufferOf<R>>,
    pub(crate) capacity: usize,
    pub(crate) entries: Vec<FrameEntry>,
    pub(crate) header: FrameHeader,
    pub(crate) done: bool,
}

impl FrameEntry {
    fn header_bytes() -> usize {
        FRAME_HEADER_BYTES
    }
}

pub(crate) fn end_of(header: &FrameHeader) -> Position {
    Position(header.position.0 + u64::from(header.frame_bytes))
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Takes in one batch whose checksums and records the caller has verified: stamps it and copies
    /// it into the open frame. Whole or not at all.
    pub fn append(&self, batch: &BatchView<'_>) -> Result<Appended, AppendError> {
        let inner = &*self.inner;
        let shard = batch.header.shard;
        let mut state = inner.state.borrow_mut();
        match state.mode {
            Mode::Open => {}
            Mode::Failed => return Err(AppendError::Failed),
            Mode::ReadOnly => return Err(AppendError::ReadOnly),
            Mode::Closing | Mode::Closed => return Err(AppendError::Stopping),
        }
        let known = state
            .shards
            .get(&shard)
            .ok_or(AppendError::ShardNotFound { shard })?;
        let first = known.next;
        let next = first
            .checked_add(batch.header.records)
            .ok_or(AppendError::Exhausted { shard })?;
        let late = known.listed_in != state.active().ordinal;
        self.make_room(&mut state, batch.as_bytes().len(), late)?;

        let ordinal = state.active().ordinal;
        // The wall clock may have been set back behind the expiry clock: a record stamped with it
        // would seem older than it is, and be forgotten early. When the expiry clock shows itself
        // next, it may have moved by all the time that passed since it did last, and after a restart
        // by all that passed since it was noted. What a longer retention keeps expired is noted with
        // the stream, and may be ahead of the clock that a restart went on from.
        let monotonic = inner.reactor.monotonic();
        let passed = monotonic.since(state.expired_at).as_millis() as u64;
        let noted = state
            .stamp_ahead_ms
            .saturating_add_unsigned(monotonic.0 / 1_000_000);
        let now = state
            .expiry
            .plus_millis(passed)
            .max(Timestamp::from_millis(noted.max(0).cast_unsigned()))
            .max(Timestamp::from_millis(inner.reactor.wall_ms()));
        let known = state.shards.get_mut(&shard).expect("it was there above");
        let expired = known.retention.none_before;
        let arrival = known.last_arrival.max(now).max(expired);
        known.next = next;
        known.last_arrival = arrival;
        let newly_present = known.listed_in != ordinal;
        let is_extra = newly_present && known.since > ordinal;
        known.listed_in = ordinal;
        let active = state.active_mut();
        active.batches += 1;
        if newly_present {
            active.present.push(shard);
        }
        if is_extra {
            active.footer_shards += 1;
        }
        let open = state.open.as_mut().expect("room was made");
        let end = open.push(batch, first, arrival);
        drop(state);
        inner.kick.notify();
        Ok(Appended {
            first_offset: first,
            arrival,
            end,
        })
    }

    /// Sees to it that the open frame has room for a batch of `bytes`: closes it, opens the next
    /// one, rolls into the next segment.
    fn make_room(
        &self,
        state: &mut State<R>,
        bytes: usize,
        extra_shard: bool,
    ) -> Result<(), AppendError> {
        let settings = &self.inner.settings;
        let segment_bytes = self.inner.identity.segment_bytes;
        let extra = usize::from(extra_shard);
        if let Some(open) = &mut state.open {
            let need = open.bytes_with(bytes);
            let fits_frame = need <= open.bytes_max(settings.frame_bytes)
                && open.entries.len() < FRAME_BATCHES_MAX as usize;
            let active = state
                .segments
                .back()
                .expect("an open log has an active segment");
            let at = open.position.0 - active.base(segment_bytes).0;
            if fits_frame
                && active.fits(at + need as u64, 1, extra, state.hole_count, segment_bytes)
            {
                open.grow(need, settings.frame_bytes, &active.file, &mut state.tail);
                return Ok(());
            }
        }
        let busy = state.closed.len() >= CLOSED_FRAMES_MAX;
        if busy {
            return Err(AppendError::Busy);
        }
        let need = frame_bytes(1, bytes);
        let after_open = state.open.as_ref().map_or(0, OpenFrame::bytes);
        let active = state.active();
        let at = active.write_at + after_open as u64;
        if active.fits(at + need as u64, 1, extra, state.hole_count, segment_bytes) {
            self.close_open_frame(state, false);
        } else {
            let table = state.shards.len() + state.carried.len();
            if !fits_empty(need, table, state.hole_count, segment_bytes) {
                let limit = segment_bytes as usize;
                return Err(AppendError::TooLong { bytes, limit });
            }
            self.roll(state)?;
        }
        let spare = state
            .tail
            .take_spare(need, settings.frame_bytes.max(need / 2 * 3));
        let frame = OpenFrame::new(state.active(), need, spare, settings, segment_bytes);
        state.open = Some(frame);
        Ok(())
    }

    /// Ends the active segment with a last frame and goes on in a ready one.
    pub(crate) fn roll(&self, state: &mut State<R>) -> Result<(), AppendError> {
        if !state.pool.has_ready() {
            self.inner.pool.notify();
            return Err(if state.pool.is_full() {
                AppendError::DiskFull
            } else {
                AppendError::Busy
            });
        }
        if state.open.is_none() {
            let block = BLOCK_BYTES as usize;
            let frame = OpenFrame::new(
                state.active(),
                block,
                None,
                &self.inner.settings,
                self.inner.identity.segment_bytes,
            );
            state.open = Some(frame);
        }
        self.close_open_frame(state, true);
        self.end_active(state);
        self.begin_segment(state);
        Ok(())
    }

    /// Notes where the active segment ends and where every shard stands.
    pub(crate) fn end_active(&self, state: &mut State<R>) {
        let ordinal = state.active().ordinal;
        let mut shards = state.start_table();
        shards.retain(|entry| {
            state
                .shards
                .get(&entry.shard)
                .is_none_or(|s| s.since <= ordinal || s.listed_in == ordinal)
        });
        let active = state.active_mut();
        let base = active.base(self.inner.identity.segment_bytes);
        let position = Position(base.0 + active.write_at);
        active.end = Some(SegmentEnd {
            position,
            next_generation: 0,
            shards,
        });
    }

    /// Makes a ready slot the active segment and has its header written. The pool has one ready.
    pub(crate) fn begin_segment(&self, state: &mut State<R>) {
        let inner = &self.inner;
        let slot = state
            .pool
            .take()
            .expect("the caller checked that one is ready");
        let table = state.start_table();
        let previous_end = state
            .segments
            .back()
            .and_then(|s| s.end.as_ref().map(|e| e.position))
            .unwrap_or(state.durable);
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            folder: inner.identity.folder,
            log: inner.log,
            entries: 0,
            generation: state.next_generation,
            ordinal: state.next_ordinal,
            incarnation: inner.settings.incarnation,
            segment_bytes: inner.identity.segment_bytes,
            previous_end,
            durable_mark: state.durable,
            table_crc: 0,
        };
        state.next_generation += 1;
        state.next_ordinal += 1;
        if slot.unwritten {
            state.counters.unwritten_rolls += 1;
        }
        let bytes = header.encode(&table);
        let file = Rc::new(slot.file);
        state.segments.push_back(Segment {
            ordinal: header.ordinal,
            generation: header.generation,
            slot: slot.number,
            file: Rc::clone(&file),
            write_at: bytes.len() as u64,
            batches: 0,
            footer_shards: table.len(),
            present: Vec::new(),
            header_ready: false,
            end: None,
        });
        inner.pool.notify();
        self.write_header(state, header.generation, file, &bytes);
    }

    /// Closes the open frame, if there is one: it waits for its write from now on.
    pub(crate) fn close_open_frame(&self, state: &mut State<R>, last: bool) {
        let Some(open) = state.open.take() else {
            return;
        };
        let durable = state.durable;
        let active = state.active_mut();
        let frame = open.close(&self.inner, active, durable, last);
        active.write_at += u64::from(frame.header.frame_bytes);
        state.closed.push_back(frame);
    }
}

/// Room for holes in a footer: the known ones, and one more for each shard, which recovery may have
/// to add.
pub(crate) const fn holes_room(shards: usize, holes: usize) -> usize {
    shards + holes + 8
}

/// Whether a frame of `need` bytes fits a segment that holds nothing else.
fn fits_empty(need: usize, table: usize, holes: usize, segment_bytes: u64) -> bool {
    let head = header_bytes(table + 1) + need + BLOCK_BYTES as usize;
    (head + footer_bytes(table + 1, 2, holes_room(table + 1, holes)) + TRAILER_BYTES) as u64
        <= segment_bytes
}

impl<R: Reactor> Segment<R> {
    /// Whether frames up to `file_offset` leave room for a last frame, the footer and the trailer.
    pub(crate) fn fits(
        &self,
        file_offset: u64,
        batches: usize,
        extra_shards: usize,
        holes: usize,
        segment_bytes: u64,
    ) -> bool {
        let shards = self.footer_shards + extra_shards;
        let footer = footer_bytes(shards, self.batches + batches, holes_room(shards, holes));
        file_offset + u64::from(BLOCK_BYTES) + (footer + TRAILER_BYTES) as u64 <= segment_bytes
    }
}

fn fresh<R: Reactor>(file: &FileOf<R>, bytes: usize) -> (BufferOf<R>, usize) {
    (file.buffer(bytes), bytes)
}

/// First size of a frame's buffer: a lone record fits it without taking a megabyte.
const BUFFER_BYTES_FIRST: usize = 64 * 1024;

impl<R: Reactor> OpenFrame<R> {
    pub(crate) fn new(
        active: &Segment<R>,
        need: usize,
        spare: Option<(BufferOf<R>, usize)>,
        settings: &LogSettings,
        segment_bytes: u64,
    ) -> Self {
        let first = BUFFER_BYTES_FIRST.min(settings.frame_bytes);
        let (buffer, capacity) = spare.unwrap_or_else(|| fresh::<R>(&active.file, need.max(first)));
        Self {
            buffer,
            capacity,
            position: Position(active.base(segment_bytes).0 + active.write_at),
            used: FrameEntry::header_bytes(),
            directory: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn batches_bytes(&self) -> usize {
        self.used - FRAME_HEADER_BYTES
    }

    fn bytes(&self) -> usize {
        frame_bytes(self.entries.len(), self.batches_bytes())
    }

    fn bytes_with(&self, batch_bytes: usize) -> usize {
        frame_bytes(self.entries.len() + 1, self.batches_bytes() + batch_bytes)
    }

    /// Bytes at which this frame is full: a buffer that is nearly as large as a full frame is not
    /// exchanged for the last few blocks.
    fn bytes_max(&self, full: usize) -> usize {
        let room = self.buffer.as_ref().len();
        if room >= full / 4 * 3 {
            room.min(full)
        } else {
            full
        }
    }

    /// Makes the buffer hold `need` bytes: straight to about the full size, so that a frame is
    /// copied at most once.
    fn grow(&mut self, need: usize, full: usize, file: &FileOf<R>, tail: &mut Tail<BufferOf<R>>) {
        if need <= self.buffer.as_ref().len() {
            return;
        }
        let least = need.max(full / 4 * 3);
        let spare = tail.take_spare(least, full.max(need));
        let (mut larger, capacity) = spare.unwrap_or_else(|| fresh::<R>(file, need.max(full)));
        larger.as_mut()[..self.used].copy_from_slice(&self.buffer.as_ref()[..self.used]);
        self.buffer = larger;
        self.capacity = capacity;
    }

    /// Copies the batch and stamps the copy. Returns a log position inside the frame: the frame is
    /// durable once the log is durable up to it, because the mark only moves by whole frames.
    fn push(&mut self, batch: &BatchView<'_>, first: Offset, arrival: Timestamp) -> Position {
        let bytes = batch.as_bytes();
        let copy = &mut self.buffer.as_mut()[self.used..self.used + bytes.len()];
        copy.copy_from_slice(bytes);
        let header_crc = batch::stamp(copy, first, arrival);
        let position = Position(self.position.0 + self.used as u64);
        let shard = batch.header.shard;
        let entry = DirectoryEntry {
            shard,
            bytes: bytes.len() as u32,
            first_offset: first,
            records: batch.header.records,
            header_crc,
        };
        let at = self.directory.len();
        self.directory.resize(at + DIRECTORY_ENTRY_BYTES, 0);
        entry.encode(&mut self.directory[at..]);
        let extent = Extent {
            first,
            arrival,
            position,
            bytes: bytes.len() as u32,
            records: batch.header.records,
        };
        self.entries.push(FrameEntry { shard, extent });
        self.used += bytes.len();
        Position(position.0 + 1)
    }

    /// Ends the frame: directory, padding, and a header that only lacks its durable mark.
    fn close(
        mut self,
        inner: &Inner<R>,
        active: &Segment<R>,
        durable: Position,
        last: bool,
    ) -> ClosedFrame<R> {
        let length = self.bytes();
        let capacity = self.capacity;
        let (used, directory) = (self.used, &self.directory);
        let bytes = self.buffer.as_mut();
        bytes[used..used + directory.len()].copy_from_slice(directory);
        bytes[used + directory.len()..length].fill(0);
        self.buffer.truncate(length);
        let header = FrameHeader {
            last,
            folder: inner.identity.folder,
            log: inner.log,
            batches: self.entries.len() as u32,
            generation: active.generation,
            incarnation: inner.settings.incarnation,
            position: self.position,
            durable_mark: durable,
            frame_bytes: length as u32,
            batches_bytes: (used - FRAME_HEADER_BYTES) as u32,
            directory_crc: checksum::crc(directory),
        };
        ClosedFrame {
            buffer: self.buffer,
            capacity,
            entries: self.entries,
            header,
            file: Rc::clone(&active.file),
            file_offset: active.write_at,
        }
    }
}
