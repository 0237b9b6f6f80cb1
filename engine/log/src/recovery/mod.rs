//! Finds a log again after a stop of any kind.
//!
//! 1. [`slots`]: read each slot's first and last block: sealed, unsealed, or free.
//! 2. [`scan`]: read every unsealed segment block by block, past bad ones.
//! 3. [`judge`]: M is the highest durable mark in any valid frame, X the first position without a
//!    valid frame. From X on everything is dropped if X is not below M: a torn tail. Below M it
//!    is rot: go on behind it, and mark what may be missing.
//! 4. Flush what was scanned, wipe what was dropped, seal what stays.
//!
//! It is idempotent: a crash in the middle leaves a folder that recovers to the same state. A read
//! *error* is not a tear: the log stops for the operator, and nothing is changed.

mod astray;
mod check;
mod judge;
mod scan;
mod slots;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use weir_protocol::model::{Epoch, LogId, Offset, Position, ShardId, Timestamp};
use weir_reactor::{Disk, File, Reactor};

use crate::discipline::{Discipline, Sound};
use crate::error::RecoveryError;
use crate::ledger::LedgerState;
use crate::log::FileOf;
use crate::open::LogSeed;
use crate::seal::{build_trailer, write_all};
use crate::sealed::{SealedSegment, read_footer};
use crate::segment::{
    BuiltFooter, Footer, FooterBuilder, SegmentHeader, StartEntry, TRAILER_BYTES, Trailer,
    slot_path,
};
use crate::settings::FolderIdentity;
use crate::shard::{Hole, ShardTip};

pub use check::{Damage, DamageKind, LogCheck, Lost, Span, TornTail, check_log};
use judge::{Judged, KeptSegment};
use scan::Scan;
use slots::{Found, Slots, Unsealed};

/// A log that was found again.
#[derive(Debug, Clone)]
pub struct RecoveredLog {
    /// The log.
    pub log: LogId,
    /// Nothing in it says that it was not closed in good order: no epoch needs to rise if the catalog
    /// says the same.
    pub clean: bool,
    /// Where the shards stand that this log knows.
    pub shards: Vec<ShardTip>,
    /// What [`crate::Log::open`] needs.
    pub seed: LogSeed,
    /// What was done.
    pub report: RecoveryReport,
}

/// What recovery did, for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The log.
    pub log: u32,
    /// Sealed segments found.
    pub sealed: usize,
    /// Unsealed segments scanned.
    pub scanned: usize,
    /// Valid frames found in them.
    pub frames: usize,
    /// Frames dropped behind the first gap at or above the durable mark.
    pub dropped_frames: usize,
    /// Stretches below the durable mark that do not verify.
    pub rotten: usize,
    /// Holes in shards.
    pub holes: usize,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "log {}: {} sealed segments, {} scanned with {} frames, {} frames of a torn tail \
             dropped, {} rotten stretches, {} holes",
            self.log,
            self.sealed,
            self.scanned,
            self.frames,
            self.dropped_frames,
            self.rotten,
            self.holes
        )
    }
}

/// The epoch behind every number that any of these shards is known to have. After an unclean stop
/// all shards go on in it: one whose newest numbers rotted away takes none of them again, as long as
/// anything at all still names its last epoch; the end of a hole is such a name, though it may lie
/// behind the tip where blocks changed places. `None` when the epochs are used up.
pub fn epoch_after<'a>(tips: impl IntoIterator<Item = &'a ShardTip>) -> Option<Epoch> {
    let ends = |tip: &ShardTip| tip.holes.iter().map(|hole| hole.until.epoch()).max();
    let newest = tips
        .into_iter()
        .map(|tip| ends(tip).max(Some(tip.next.epoch())));
    newest.max().flatten().unwrap_or_default().next()
}

/// One life of recovery: what it works on, and under which incarnation it seals.
pub(crate) struct Recovery<'a, R: Reactor> {
    pub(crate) reactor: &'a R,
    pub(crate) identity: FolderIdentity,
    pub(crate) log: LogId,
    pub(crate) incarnation: u64,
}

/// Where shards stand, gathered from headers, footers and frames.
pub(crate) type Tips = BTreeMap<ShardId, ShardTip>;

/// Where shards stand at a place of the log: next offset and last arrival time.
pub(crate) type Standing = BTreeMap<ShardId, (Offset, Timestamp)>;

pub(crate) fn raise(tips: &mut Tips, shard: ShardId, next: Offset, last_arrival: Timestamp) {
    let tip = tips.entry(shard).or_insert_with(|| ShardTip::empty(shard));
    tip.next = tip.next.max(next);
    tip.last_arrival = tip.last_arrival.max(last_arrival);
}

/// Recovers one log of a folder. `incarnation` is the new life's, made durable before this call.
pub async fn recover<R: Reactor>(
    reactor: &R,
    identity: FolderIdentity,
    log: LogId,
    incarnation: u64,
    ledger: &LedgerState,
) -> Result<RecoveredLog, RecoveryError> {
    recover_with::<R, Sound>(reactor, identity, log, incarnation, ledger).await
}

/// As [`recover`], under a [`Discipline`] that a test may have broken.
pub async fn recover_with<R: Reactor, D: Discipline>(
    reactor: &R,
    identity: FolderIdentity,
    log: LogId,
    incarnation: u64,
    ledger: &LedgerState,
) -> Result<RecoveredLog, RecoveryError> {
    let recovery = Recovery {
        reactor,
        identity,
        log,
        incarnation,
    };
    recovery.run::<D>(ledger).await
}

impl<R: Reactor> Recovery<'_, R> {
    async fn run<D: Discipline>(self, ledger: &LedgerState) -> Result<RecoveredLog, RecoveryError> {
        let mut slots = self.find_slots(ledger).await?;
        let mut tips = Tips::new();
        self.newest_footer(&mut slots, &mut tips).await?;
        let mut report = RecoveryReport {
            log: self.log.0,
            sealed: slots.sealed.len(),
            scanned: slots.unsealed.len(),
            ..RecoveryReport::default()
        };
        let (unsealed, scanned) = self.scan_all::<D>(ledger, &mut slots).await?;
        for scan in &scanned {
            report.frames += scan.frames.len();
            for entry in &scan.start_table {
                raise(&mut tips, entry.shard, entry.next, entry.last_arrival);
            }
        }
        let before = self.standing_before(&unsealed, &slots).await?;
        let behind = self.tables_behind(&unsealed, &slots).await?;
        let was_clean = unsealed.is_empty() && slots.newest_is_clean();
        let judged = judge::judge::<D>(
            &unsealed,
            &scanned,
            &slots,
            self.identity.segment_bytes,
            (&before, &behind),
            &mut tips,
        );
        report.scanned = unsealed.len();
        report.dropped_frames = judged.dropped_frames;
        report.rotten = judged.rotten;
        report.holes = judged.new_holes;
        self.settle_on_disk::<D>(&unsealed, judged, &tips, &mut slots)
            .await?;

        let clean = was_clean || !D::NEW_INCARNATION_AFTER_CUT;
        let tips: Vec<ShardTip> = tips.into_values().collect();
        Ok(RecoveredLog {
            log: self.log,
            clean,
            shards: tips.clone(),
            seed: slots.seed(self.log, tips),
            report,
        })
    }

    /// Scans every unsealed segment. Slots that seem never to have been used are read to their end where
    /// one of them may hold the newest segment: not after a clean stop, nor if that one is known to have
    /// been found.
    async fn scan_all<D: Discipline>(
        &self,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(Vec<Unsealed>, Vec<Scan>), RecoveryError> {
        loop {
            let unsealed = std::mem::take(&mut slots.unsealed);
            let mut scans = Vec::new();
            for segment in &unsealed {
                scans.push(self.scan::<D>(segment).await?);
            }
            let newest = unsealed.last().zip(scans.last());
            let newest_is_here = newest.is_some_and(|(segment, scan)| {
                let is_ended = scan.frames.iter().any(|frame| frame.header.last);
                segment.generation == ledger.begun && !is_ended
            });
            if !(ledger.closed || newest_is_here || slots.blank.is_empty()) {
                slots.unsealed.clone_from(&unsealed);
                self.look_into_blank(ledger, slots).await?;
                slots.unsealed.sort_by_key(|segment| segment.ordinal);
                let places = |segments: &[Unsealed]| {
                    let place = |segment: &Unsealed| (segment.slot, segment.generation);
                    segments.iter().map(place).collect::<Vec<_>>()
                };
                if places(&slots.unsealed) != places(&unsealed) {
                    continue;
                }
                slots.unsealed.clear();
            }
            slots.free.append(&mut slots.blank);
            return Ok((unsealed, scans));
        }
    }

    /// Reads the newest sealed segment's footer: it names every shard the log knew. If it does not
    /// verify, the segment is scanned again, and the next older footer is read.
    async fn newest_footer(&self, slots: &mut Slots, tips: &mut Tips) -> Result<(), RecoveryError> {
        for (newest, settled) in slots.newest_first() {
            let path = slot_path(self.log, newest.slot);
            let file = self.open(&path).await?;
            let footer =
                read_footer::<R>(&file, &newest.trailer, self.identity.segment_bytes).await;
            let footer =
                footer.map_err(|e| self.read_failed(&path, newest.trailer.footer_at, &e))?;
            if let Some(footer) = footer {
                for share in footer.shards() {
                    raise(tips, share.shard, share.next, share.last_arrival);
                }
                for (shard, hole) in footer.holes() {
                    add_hole(tips, shard, hole);
                }
                return self
                    .later_holes(slots, newest.trailer.incarnation, tips)
                    .await;
            }
            // Settled segments have no frames to scan: they stay, and reads of them say why not.
            if !settled {
                slots.unseal(newest.generation);
            }
        }
        Ok(())
    }

    /// Where shards stood before each unsealed segment, by the newest footer that is older: newer ones
    /// know what came of it, and would hide what is missing in between.
    async fn standing_before(
        &self,
        unsealed: &[Unsealed],
        slots: &Slots,
    ) -> Result<Vec<Standing>, RecoveryError> {
        let newest_first = slots.newest_first();
        let mut before = Vec::new();
        for segment in unsealed {
            let older = newest_first.iter().map(|(sealed, _)| sealed);
            let older = older.filter(|sealed| sealed.ordinal < segment.ordinal);
            before.push(self.standing_after(older).await?);
        }
        Ok(before)
    }

    /// Where shards stood at the end of the first of these segments whose footer verifies.
    async fn standing_after(
        &self,
        segments: impl Iterator<Item = &Arc<SealedSegment>>,
    ) -> Result<Standing, RecoveryError> {
        for segment in segments {
            let path = segment.path();
            let file = self.open(&path).await?;
            let trailer = &segment.trailer;
            let footer = read_footer::<R>(&file, trailer, self.identity.segment_bytes).await;
            let footer = footer.map_err(|e| self.read_failed(&path, trailer.footer_at, &e))?;
            if let Some(footer) = footer {
                let stood = footer.shards().map(|s| (s.shard, (s.next, s.last_arrival)));
                return Ok(stood.collect());
            }
        }
        Ok(Standing::new())
    }

    /// The start table of the sealed segment that follows each unsealed one, where one does: it ends a
    /// gap at the end of the unsealed one, as a scanned segment's own table would.
    async fn tables_behind(
        &self,
        unsealed: &[Unsealed],
        slots: &Slots,
    ) -> Result<Vec<Vec<StartEntry>>, RecoveryError> {
        let mut tables = Vec::new();
        for (at, segment) in unsealed.iter().enumerate() {
            let limit = unsealed.get(at + 1).map_or(u64::MAX, |next| next.ordinal);
            let sealed = slots.sealed.iter().filter(|found| !found.is_settled());
            let follows = sealed.filter(|found| {
                let ordinal = found.segment.ordinal;
                segment.ordinal < ordinal && ordinal < limit
            });
            let next = follows.min_by_key(|found| found.segment.ordinal);
            tables.push(match next {
                Some(next) => self.start_table_of(next).await?,
                None => Vec::new(),
            });
        }
        Ok(tables)
    }

    /// A sealed segment's start table; empty if it does not verify.
    async fn start_table_of(&self, found: &Found) -> Result<Vec<StartEntry>, RecoveryError> {
        let Some(header) = found.header else {
            return Ok(Vec::new());
        };
        let length = header.bytes().min(self.identity.segment_bytes as usize);
        let path = found.segment.path();
        let file = self.open(&path).await?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = bytes.len() as u64;
            let read = file.read(at, (length - bytes.len()).min(1 << 20)).await;
            let read = read.map_err(|e| self.read_failed(&path, at, &e))?;
            bytes.extend_from_slice(read.as_ref());
        }
        Ok(header.table(&bytes).unwrap_or_default())
    }

    /// Holes that recovery found in older segments after the newest one was sealed: no footer but
    /// theirs has them until the log seals again.
    async fn later_holes(
        &self,
        slots: &Slots,
        incarnation: u64,
        tips: &mut Tips,
    ) -> Result<(), RecoveryError> {
        let trailers = slots.sealed.iter().map(|found| &found.segment);
        let later = trailers.filter(|s| s.trailer.holes > 0 && s.trailer.incarnation > incarnation);
        for segment in later {
            let path = slot_path(self.log, segment.slot);
            let file = self.open(&path).await?;
            let trailer = &segment.trailer;
            let footer = read_footer::<R>(&file, trailer, self.identity.segment_bytes).await;
            let footer = footer.map_err(|e| self.read_failed(&path, trailer.footer_at, &e))?;
            for (shard, hole) in footer.iter().flat_map(Footer::holes) {
                add_hole(tips, shard, hole);
            }
        }
        Ok(())
    }

    /// Makes the judgement durable: flush, wipe what was dropped, seal what stays.
    async fn settle_on_disk<D: Discipline>(
        &self,
        unsealed: &[Unsealed],
        judged: Judged,
        tips: &Tips,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        if D::FLUSH_BEFORE_SERVING {
            // A seal that the last life did not live to record may be in caches only.
            let sealing = slots.sealed.iter().filter(|found| found.unrecorded);
            let sealing = sealing.map(|found| found.segment.slot);
            for slot in unsealed.iter().map(|segment| segment.slot).chain(sealing) {
                let path = slot_path(self.log, slot);
                let file = self.open(&path).await?;
                let mut flushed = file.flush().await;
                if !D::FLUSH_ONCE && flushed.is_err() {
                    flushed = file.flush().await;
                }
                if D::HEED_FLUSH_ERROR {
                    flushed.map_err(|e| self.write_failed(&path, &e))?;
                }
            }
        }
        // Newest first: a crash between leaves a chain that is judged the same way.
        for (slot, generation, ordinal) in judged.void.iter().rev() {
            if D::NEW_INCARNATION_AFTER_CUT {
                let path = slot_path(self.log, *slot);
                let file = self.open(&path).await?;
                let header = SegmentHeader::void(self.identity, self.log, *generation, *ordinal);
                let wiped = write_all::<R>(&file, &header, 0).await;
                wiped.map_err(|e| self.write_failed(&path, &e))?;
            }
            slots.free.push(*slot);
        }
        for kept in judged.kept {
            let next_generation = if kept.is_cut {
                slots.next_generation()
            } else {
                0
            };
            let sealed = self.seal(&kept, next_generation, tips).await?;
            slots.sealed.push(Found::new(sealed, true));
        }
        slots.end = slots.end.max(judged.end);
        Ok(())
    }

    async fn seal(
        &self,
        kept: &KeptSegment,
        next_generation: u64,
        tips: &Tips,
    ) -> Result<Arc<SealedSegment>, RecoveryError> {
        let path = slot_path(self.log, kept.slot);
        let segment_bytes = self.identity.segment_bytes;
        let used = kept.end.0 - kept.ordinal * segment_bytes;
        let room = (segment_bytes - used) as usize;
        let mut built = footer_of(kept, tips, false);
        if built.bytes.len() + TRAILER_BYTES > room {
            // One hole from the first to the last of each shard: more is refused than is lost, but
            // nothing is passed over in silence.
            built = footer_of(kept, tips, true);
        }
        let blank = Trailer {
            folder: self.identity.folder,
            log: self.log,
            generation: kept.generation,
            incarnation: self.incarnation,
            end: kept.end,
            next_generation,
            ..Trailer::blank()
        };
        let trailer = build_trailer(built, blank, used, segment_bytes);
        let (trailer, bytes) = trailer.map_err(|e| self.write_failed(&path, &e))?;
        let file = self.open(&path).await?;
        let written = write_all::<R>(&file, &bytes, trailer.footer_at).await;
        written.map_err(|e| self.write_failed(&path, &e))?;
        Ok(Arc::new(SealedSegment {
            log: self.log,
            generation: kept.generation,
            slot: kept.slot,
            ordinal: kept.ordinal,
            trailer,
        }))
    }

    pub(crate) async fn open(&self, path: &str) -> Result<FileOf<R>, RecoveryError> {
        self.reactor
            .disk()
            .open(path)
            .await
            .map_err(|e| self.read_failed(path, 0, &e))
    }

    pub(crate) fn read_failed(&self, file: &str, at: u64, error: &std::io::Error) -> RecoveryError {
        RecoveryError::Read {
            log: self.log,
            file: file.into(),
            at,
            what: error.to_string(),
        }
    }

    pub(crate) fn write_failed(&self, file: &str, error: &std::io::Error) -> RecoveryError {
        RecoveryError::Write {
            log: self.log,
            file: file.into(),
            what: error.to_string(),
        }
    }
}

/// A recovered segment's footer. Every hole goes in, whatever shards the segment names: the newest
/// footer is what remembers them.
fn footer_of(kept: &KeptSegment, tips: &Tips, merge_holes: bool) -> BuiltFooter {
    let mut builder = FooterBuilder::default();
    for (shard, (next, last_arrival, batches)) in &kept.shards {
        builder.push(*shard, *next, *last_arrival, batches.iter().copied());
    }
    for (shard, tip) in tips {
        let from = tip.holes.iter().map(|hole| hole.from).min();
        let until = tip.holes.iter().map(|hole| hole.until).max();
        match (from, until) {
            (Some(from), Some(until)) if merge_holes => {
                builder.push_hole(*shard, Hole { from, until });
            }
            _ => tip
                .holes
                .iter()
                .for_each(|hole| builder.push_hole(*shard, *hole)),
        }
    }
    builder.finish()
}

/// Adds a hole to a shard, once.
pub(crate) fn add_hole(tips: &mut Tips, shard: ShardId, hole: Hole) -> bool {
    let tip = tips.entry(shard).or_insert_with(|| ShardTip::empty(shard));
    let known = tip.holes.contains(&hole);
    if !known {
        tip.holes.push(hole);
    }
    !known
}

pub(crate) const fn base_of(ordinal: u64, segment_bytes: u64) -> Position {
    Position(ordinal * segment_bytes)
}

#[cfg(test)]
mod tests;
