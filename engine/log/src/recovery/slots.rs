//! What each slot of a log holds, from its first and last block.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{LogId, Position};
use weir_reactor::{Disk, File, Reactor};

use super::{Recovery, base_of};
use crate::error::RecoveryError;
use crate::ledger::LedgerState;
use crate::open::LogSeed;
use crate::sealed::{SealedSegment, read_footer};
use crate::segment::{
    SegmentHeader, SegmentKind, TRAILER_BYTES, Trailer, log_folder, slot_number, slot_path,
};
use crate::shard::ShardTip;

/// A sealed segment.
pub(crate) struct Found {
    pub(crate) segment: Arc<SealedSegment>,
    pub(crate) unrecorded: bool,
    /// `None` if the header's block is damaged.
    pub(crate) header: Option<SegmentHeader>,
}

impl Found {
    pub(crate) fn new(segment: Arc<SealedSegment>, unrecorded: bool) -> Self {
        Self {
            segment,
            unrecorded,
            header: None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.header.is_some_and(|h| h.kind == SegmentKind::Settled)
    }
}

/// A log segment without a valid trailer, or whose footer does not verify.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsealed {
    pub(crate) slot: u32,
    pub(crate) ordinal: u64,
    pub(crate) generation: u64,
    /// `None` if the header's block is damaged: frames are believed by their own.
    pub(crate) header: Option<SegmentHeader>,
    /// Where it is known to end, from its own trailer.
    pub(crate) known_end: Option<Position>,
    /// The least generation that may follow it, from its own trailer: it was cut, and what came after
    /// is void. 0 if it was not, or has no trailer.
    pub(crate) next_generation: u64,
    /// The catalog has it as sealed: all of it was durable once, and nothing of it can be torn.
    pub(crate) was_sealed: bool,
}

/// All slots of a log.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) sealed: Vec<Found>,
    pub(crate) unsealed: Vec<Unsealed>,
    pub(crate) free: Vec<u32>,
    /// Slots that begin with zeros: never used, unless their beginning was lost.
    pub(crate) blank: Vec<u32>,
    /// Files that were being made when the server died.
    half_made: Vec<String>,
    /// Slots that hold a segment which was given up.
    pub(crate) set_aside: usize,
    /// Slots with a generation of which blocks went astray to them.
    pub(crate) astray: BTreeSet<(u32, u64)>,
    /// Generations that a void header names.
    pub(crate) voided: BTreeSet<u64>,
    pub(crate) end: Position,
    /// What the catalog says is being written; 0 if it is recorded, or was given up.
    begun: u64,
    next_slot: u32,
    generation_max: u64,
    ordinal_max: u64,
    /// Ordinals with where they say their predecessor ended.
    pub(crate) previous_ends: Vec<(u64, Position)>,
}

impl Slots {
    /// Sealed segments, newest first.
    pub(crate) fn newest_first(&self) -> Vec<(Arc<SealedSegment>, bool)> {
        let mut all: Vec<_> = self
            .sealed
            .iter()
            .map(|f| (Arc::clone(&f.segment), f.is_settled()))
            .collect();
        all.sort_by_key(|(segment, settled)| (std::cmp::Reverse(segment.ordinal), *settled));
        all
    }

    pub(crate) fn note_set_aside(&mut self, generation: u64) {
        self.set_aside += 1;
        self.generation_max = self.generation_max.max(generation);
    }

    fn note_used(&mut self, trailer: &Trailer) {
        let used = trailer
            .generation
            .max(trailer.next_generation.saturating_sub(1));
        self.generation_max = self.generation_max.max(used);
    }

    /// What a header says is true of its segment, whatever slot it lies in.
    fn note_header(&mut self, header: &SegmentHeader, ledger: &LedgerState) {
        self.generation_max = self.generation_max.max(header.generation);
        let counts = ledger.segments.contains(&header.generation)
            || header.generation > ledger.known_generation;
        match header.kind {
            SegmentKind::Void => {
                self.ordinal_max = self.ordinal_max.max(header.ordinal);
                self.voided.insert(header.generation);
            }
            SegmentKind::Log if counts => {
                self.ordinal_max = self.ordinal_max.max(header.ordinal);
                let ends = (header.ordinal, header.previous_end);
                self.previous_ends.push(ends);
            }
            SegmentKind::Log | SegmentKind::Settled => {}
        }
    }

    /// The newest segment was sealed by a clean stop. A newer one that a recovery voided, and that was
    /// stopped itself then, was of a life that gave out numbers. A log without a segment of its own
    /// cannot tell, and leaves it to the catalog: one that was left behind when cores became fewer has
    /// settled segments, or none, for ever.
    pub(crate) fn newest_is_clean(&self) -> bool {
        let logs = self.sealed.iter().filter(|f| !f.is_settled());
        let newest = logs.max_by_key(|f| f.segment.ordinal);
        newest.is_none_or(|f| f.segment.trailer.clean && f.segment.ordinal == self.ordinal_max)
    }

    /// Has a sealed log segment scanned again, up to the end its trailer names.
    pub(crate) fn unseal(&mut self, generation: u64) {
        let Some(at) = self
            .sealed
            .iter()
            .position(|f| f.segment.generation == generation)
        else {
            return;
        };
        let found = self.sealed.remove(at);
        self.unsealed.push(Unsealed {
            slot: found.segment.slot,
            ordinal: found.segment.ordinal,
            generation,
            header: found.header,
            known_end: Some(found.segment.trailer.end),
            next_generation: found.segment.trailer.next_generation,
            was_sealed: true,
        });
        self.unsealed.sort_by_key(|u| u.ordinal);
    }

    /// The least generation that a segment of this ordinal may have: older ones were cut off.
    pub(crate) fn least_generation(&self, ordinal: u64) -> u64 {
        let before = self.sealed.iter().filter(|f| f.segment.ordinal < ordinal);
        before
            .map(|f| f.segment.trailer.next_generation)
            .max()
            .unwrap_or(0)
    }

    /// The generation that the next segment gets.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation_max + 1
    }

    /// Everything below this is durable: sealed segments say so.
    pub(crate) fn sealed_end(&self) -> Position {
        self.sealed
            .iter()
            .map(|f| f.segment.trailer.end)
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn seed(self, log: LogId, tips: Vec<ShardTip>) -> LogSeed {
        let newest_log_generation = self
            .sealed
            .iter()
            .filter(|f| !f.is_settled())
            .map(|f| f.segment.generation)
            .max()
            .unwrap_or(0);
        LogSeed {
            log,
            unrecorded: self
                .sealed
                .iter()
                .filter(|f| f.unrecorded)
                .map(|f| f.segment.generation)
                .collect(),
            begun: self.begun,
            sealed: self.sealed.into_iter().map(|f| f.segment).collect(),
            free_slots: self.free,
            set_aside: self.set_aside,
            next_slot: self.next_slot,
            next_ordinal: self.ordinal_max + 1,
            next_generation: self.generation_max + 1,
            end: self.end,
            newest_log_generation,
            tips,
        }
    }
}

/// How much of a slot without a header is read before it is taken for one that was never used, as long
/// as nothing is missed.
const LOOK_BYTES: u64 = 1 << 20;

impl<R: Reactor> Recovery<'_, R> {
    /// Looks at each slot of the log's folder; a folder that is not there has none.
    pub(crate) async fn find_slots(&self, ledger: &LedgerState) -> Result<Slots, RecoveryError> {
        let folder = log_folder(self.log);
        let mut slots = Slots {
            generation_max: ledger.known_generation.max(ledger.begun),
            begun: ledger.being_written().unwrap_or(0),
            ..Slots::default()
        };
        let entries = match self.reactor.disk().list(&folder).await {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(self.read_failed(&folder, 0, &e)),
        };
        for entry in entries {
            let Some(number) = slot_number(&entry.name) else {
                continue;
            };
            slots.next_slot = slots.next_slot.max(number + 1);
            if entry.bytes == self.identity.segment_bytes {
                self.look_at(number, ledger, &mut slots).await?;
            } else {
                self.look_at_half_made(number, entry.bytes, ledger, &mut slots)
                    .await?;
            }
        }
        self.tell_apart(ledger, &mut slots).await?;
        if missing(ledger, &slots).is_some() {
            // It may lie behind the zeros that a slot begins with.
            self.look_into_blank(ledger, &mut slots).await?;
        }
        if let Some(generation) = missing(ledger, &slots) {
            let log = self.log;
            return Err(RecoveryError::Missing { log, generation });
        }
        for path in std::mem::take(&mut slots.half_made) {
            let removed = self.reactor.disk().remove(&path).await;
            removed.map_err(|e| self.write_failed(&path, &e))?;
        }
        self.make_anew(ledger, &mut slots).await?;
        slots.unsealed.sort_by_key(|u| u.ordinal);
        slots.previous_ends.sort_by_key(|(ordinal, _)| *ordinal);
        slots.end = slots.sealed_end();
        Ok(slots)
    }

    /// Has segments scanned again whose footer an operator wants made anew.
    pub(crate) async fn make_anew(
        &self,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        for generation in &ledger.made_anew {
            let mut sealed = slots.sealed.iter().filter(|found| !found.is_settled());
            let Some(found) = sealed.find(|found| found.segment.generation == *generation) else {
                continue;
            };
            let segment = Arc::clone(&found.segment);
            let path = segment.path();
            let file = self.open(&path).await?;
            let trailer = &segment.trailer;
            let footer = read_footer::<R>(&file, trailer, self.identity.segment_bytes).await;
            let footer = footer.map_err(|e| self.read_failed(&path, trailer.footer_at, &e))?;
            if footer.is_none() {
                slots.unseal(*generation);
            }
        }
        Ok(())
    }

    /// A file of another length than a segment's. One that was being made when the server died holds
    /// nothing but zeros, and goes; one that holds anything else was a segment.
    async fn look_at_half_made(
        &self,
        number: u32,
        bytes: u64,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        let path = slot_path(self.log, number);
        let what = match self.header_of(&path, bytes).await? {
            Some(header) if self.is_set_aside(&header, ledger) => {
                slots.note_set_aside(header.generation);
                return Ok(());
            }
            Some(header) if self.is_dropped(&header, ledger) => None,
            Some(_) => Some("a segment of"),
            None if self.is_zeros(&path, bytes).await? => None,
            None => Some("no header at its front, and not empty:"),
        };
        let Some(what) = what else {
            slots.half_made.push(path);
            return Ok(());
        };
        let expected = self.identity.segment_bytes;
        Err(RecoveryError::Foreign {
            log: self.log,
            file: path,
            what: format!("{what} {bytes} bytes, expected {expected}"),
        })
    }

    /// The header at a file's front, if the file has a whole block and the header verifies.
    pub(crate) async fn header_of(
        &self,
        path: &str,
        bytes: u64,
    ) -> Result<Option<SegmentHeader>, RecoveryError> {
        if bytes < u64::from(BLOCK_BYTES) {
            return Ok(None);
        }
        let file = self.open(path).await?;
        let head = file.read(0, BLOCK_BYTES as usize).await;
        let head = head.map_err(|e| self.read_failed(path, 0, &e))?;
        Ok(SegmentHeader::decode(head.as_ref()))
    }

    /// Whether every whole block of a file is zeros: less than a block holds no frame.
    pub(crate) async fn is_zeros(&self, path: &str, bytes: u64) -> Result<bool, RecoveryError> {
        let until = bytes - bytes % u64::from(BLOCK_BYTES);
        let file = self.open(path).await?;
        let mut at = 0;
        while at < until {
            let piece = file.read(at, (until - at).min(LOOK_BYTES) as usize).await;
            let piece = piece.map_err(|e| self.read_failed(path, at, &e))?;
            if piece.as_ref().iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += piece.as_ref().len() as u64;
        }
        Ok(true)
    }

    pub(crate) async fn look_at(
        &self,
        number: u32,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        let path = slot_path(self.log, number);
        let segment_bytes = self.identity.segment_bytes;
        let file = self.open(&path).await?;
        let head = file.read(0, BLOCK_BYTES as usize).await;
        let head = head.map_err(|e| self.read_failed(&path, 0, &e))?;
        let last = segment_bytes - TRAILER_BYTES as u64;
        let tail = file.read(last, TRAILER_BYTES).await;
        let tail = tail.map_err(|e| self.read_failed(&path, last, &e))?;
        let header = SegmentHeader::decode(head.as_ref())
            .filter(|header| !slots.astray.contains(&(number, header.generation)));
        if let Some(header) = &header {
            if self.is_set_aside(header, ledger) {
                slots.note_set_aside(header.generation);
                return Ok(());
            }
            self.check_origin(&path, header)?;
        }
        let ours = |t: &Trailer| {
            t.folder == self.identity.folder && t.log == self.log && t.is_possible(segment_bytes)
        };
        let mut trailer = Trailer::decode(tail.as_ref())
            .filter(ours)
            .filter(|trailer| !slots.astray.contains(&(number, trailer.generation)));
        if let Some(named) = &header
            && self
                .header_is_astray(&path, &file, (named, trailer.as_ref()), ledger)
                .await?
        {
            slots.note_header(named, ledger);
            slots.astray.insert((number, named.generation));
            return Box::pin(self.look_at(number, ledger, slots)).await;
        }
        let Some(header) = header else {
            if let Some(trailer) = &trailer {
                // Whatever becomes of it, its generation is never used again: this slot may be, and
                // then its old trailer must not pass for a new segment's.
                slots.note_used(trailer);
            }
            return match trailer {
                // The header's block is damaged, the trailer names a segment that counts.
                Some(trailer) if ledger.segments.contains(&trailer.generation) => {
                    self.found_sealed(number, trailer, None, false, slots);
                    Ok(())
                }
                Some(trailer) if ledger.set_aside.contains(&trailer.generation) => {
                    slots.note_set_aside(trailer.generation);
                    Ok(())
                }
                trailer => {
                    self.look_for_frames(number, &file, (head.as_ref(), trailer), ledger, slots)
                        .await
                }
            };
        };
        trailer = trailer
            .filter(|t| t.generation == header.generation && t.incarnation >= header.incarnation);
        slots.note_header(&header, ledger);
        let counts = ledger.segments.contains(&header.generation);
        let unknown = header.generation > ledger.known_generation;
        match header.kind {
            SegmentKind::Settled => match trailer {
                Some(trailer) if counts => {
                    self.found_sealed(number, trailer, Some(header), false, slots);
                }
                None if counts => {
                    let what = "the trailer of a settled segment does not verify".into();
                    return Err(RecoveryError::Foreign {
                        log: self.log,
                        file: path,
                        what,
                    });
                }
                _ => slots.free.push(number),
            },
            SegmentKind::Log if counts || unknown => match trailer {
                Some(trailer) => {
                    self.found_sealed(number, trailer, Some(header), !counts, slots);
                }
                None => slots.unsealed.push(Unsealed {
                    slot: number,
                    ordinal: header.ordinal,
                    generation: header.generation,
                    header: Some(header),
                    known_end: None,
                    next_generation: 0,
                    was_sealed: counts,
                }),
            },
            SegmentKind::Log | SegmentKind::Void => slots.free.push(number),
        }
        Ok(())
    }

    /// Whether a segment of ours was given up: its file stays as it is.
    pub(crate) fn is_set_aside(&self, header: &SegmentHeader, ledger: &LedgerState) -> bool {
        header.folder == self.identity.folder
            && header.log == self.log
            && ledger.set_aside.contains(&header.generation)
    }

    /// Whether the catalog has dropped a segment of ours: it may have been given up, and outlived.
    pub(crate) fn is_dropped(&self, header: &SegmentHeader, ledger: &LedgerState) -> bool {
        header.folder == self.identity.folder
            && header.log == self.log
            && header.generation <= ledger.known_generation
            && !ledger.segments.contains(&header.generation)
    }

    fn check_origin(&self, path: &str, header: &SegmentHeader) -> Result<(), RecoveryError> {
        let identity = &self.identity;
        let what = if header.folder != identity.folder {
            format!(
                "folder id {:#x}, expected {:#x}",
                header.folder, identity.folder
            )
        } else if header.log != self.log {
            format!("a segment of {}", header.log)
        } else if header.segment_bytes != identity.segment_bytes {
            format!("segments of {} bytes", header.segment_bytes)
        } else if !header.is_possible() {
            "numbers that no segment has".into()
        } else {
            return Ok(());
        };
        Err(RecoveryError::Foreign {
            log: self.log,
            file: path.into(),
            what,
        })
    }

    fn found_sealed(
        &self,
        slot: u32,
        trailer: Trailer,
        header: Option<SegmentHeader>,
        unrecorded: bool,
        slots: &mut Slots,
    ) {
        let ordinal = self.ordinal_of(&trailer);
        slots.note_used(&trailer);
        slots.ordinal_max = slots.ordinal_max.max(ordinal);
        let segment = SealedSegment {
            log: self.log,
            generation: trailer.generation,
            slot,
            ordinal,
            trailer,
        };
        slots.sealed.push(Found {
            segment: Arc::new(segment),
            unrecorded,
            header,
        });
    }

    /// A segment's end lies behind its base and not behind its last byte.
    fn ordinal_of(&self, trailer: &Trailer) -> u64 {
        (trailer.end.0.max(1) - 1) / self.identity.segment_bytes
    }

    /// A slot without a readable header: never used, free, or a segment whose first block is
    /// damaged. Frames of a generation that nobody dropped tell; a trailer of that generation, whose
    /// seal the catalog did not live to hear of, has them sealed as they are.
    async fn look_for_frames(
        &self,
        slot: u32,
        file: &crate::log::FileOf<R>,
        (head, trailer): (&[u8], Option<Trailer>),
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        if trailer.is_none() && head.iter().all(|b| *b == 0) {
            // A slot that was never used is zeros further on, too; a lost first block is not.
            let path = slot_path(self.log, slot);
            let bytes = self.identity.segment_bytes.min(LOOK_BYTES) as usize;
            let start = file.read(0, bytes).await;
            let start = start.map_err(|e| self.read_failed(&path, 0, &e))?;
            if start.as_ref().iter().all(|b| *b == 0) {
                let is_all = bytes as u64 == self.identity.segment_bytes;
                let kind = if is_all {
                    &mut slots.free
                } else {
                    &mut slots.blank
                };
                kind.push(slot);
                return Ok(());
            }
        }
        self.sort_by_frames(slot, file, trailer, ledger, slots)
            .await
    }

    /// Reads to the end what seemed never to have been used: more than that may have been lost of its
    /// beginning, and what is left of it must not be written over.
    pub(crate) async fn look_into_blank(
        &self,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        for slot in std::mem::take(&mut slots.blank) {
            let file = self.open(&slot_path(self.log, slot)).await?;
            self.sort_by_frames(slot, &file, None, ledger, slots)
                .await?;
        }
        self.tell_apart(ledger, slots).await
    }

    /// What a slot without a header holds, as its frames tell.
    async fn sort_by_frames(
        &self,
        slot: u32,
        file: &crate::log::FileOf<R>,
        trailer: Option<Trailer>,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        let frames = self.frames_in(&slot_path(self.log, slot), file).await?;
        let at_home = |(generation, _): &_| !slots.astray.contains(&(slot, *generation));
        match frames.into_iter().filter(at_home).max() {
            Some((generation, _)) if ledger.set_aside.contains(&generation) => {
                slots.note_set_aside(generation);
            }
            Some((generation, position))
                if generation > ledger.known_generation
                    || ledger.segments.contains(&generation) =>
            {
                let ordinal = position.0 / self.identity.segment_bytes;
                slots.generation_max = slots.generation_max.max(generation);
                let sealed = trailer.filter(|trailer| trailer.generation == generation);
                // Frames behind the end were cut, or rotted.
                let is_here = |t: &Trailer| self.ordinal_of(t) == ordinal;
                if let Some(trailer) = sealed.filter(is_here) {
                    let unrecorded = !ledger.segments.contains(&generation);
                    self.found_sealed(slot, trailer, None, unrecorded, slots);
                    return Ok(());
                }
                slots.ordinal_max = slots.ordinal_max.max(ordinal);
                slots.unsealed.push(Unsealed {
                    slot,
                    ordinal,
                    generation,
                    header: None,
                    known_end: None,
                    next_generation: 0,
                    was_sealed: ledger.segments.contains(&generation),
                });
            }
            _ => slots.free.push(slot),
        }
        Ok(())
    }
}

/// A generation that counts, or was being written, and that no slot holds, if there is one. A segment is
/// dropped in the catalog before its slot is used again: one that counts and is nowhere was lost, and
/// reads would pass over its records in silence.
pub(crate) fn missing(ledger: &LedgerState, slots: &Slots) -> Option<u64> {
    let sealed = slots.sealed.iter().map(|found| found.segment.generation);
    let unsealed = slots.unsealed.iter().map(|segment| segment.generation);
    let found: BTreeSet<u64> = sealed.chain(unsealed).collect();
    let mut counted = ledger.segments.iter();
    let counted = counted.find(|g| !found.contains(g)).copied();
    let is_there = |g: &u64| found.contains(g) || slots.voided.contains(g);
    counted.or_else(|| ledger.being_written().filter(|g| !is_there(g)))
}

impl Unsealed {
    /// Log position of the segment's first byte.
    pub(crate) fn base(&self, segment_bytes: u64) -> Position {
        base_of(self.ordinal, segment_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recovery voided the newest segment and died before it opened the log: what is left looks as the
    /// clean stop before left it, and the numbers of the life between were handed out.
    #[test]
    fn a_void_behind_a_clean_stop_is_no_clean_stop() {
        let trailer = Trailer {
            clean: true,
            ..Trailer::blank()
        };
        let segment = SealedSegment {
            log: LogId(0),
            generation: 1,
            slot: 0,
            ordinal: 3,
            trailer,
        };
        let mut slots = Slots::default();
        assert!(slots.newest_is_clean(), "nothing was ever there");
        slots.sealed.push(Found::new(Arc::new(segment), false));
        slots.ordinal_max = 3;
        assert!(slots.newest_is_clean());
        slots.ordinal_max = 4;
        assert!(!slots.newest_is_clean());
        slots.sealed.clear();
        assert!(slots.newest_is_clean(), "it cannot tell");
    }
}
