//! Looks at one log as recovery would, verifies every byte that counts, and changes nothing.
//!
//! A torn tail is what a crash leaves, and no damage; rot behind the durable mark cannot be told from it.
//! All else that does not verify is damage. Memory: one segment, and what is known of each shard.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::batch::{BATCH_HEADER_BYTES, BatchHeader, BatchView};
use weir_protocol::frame::FrameHeader;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{LogId, Offset, Position, ShardId, Timestamp};
use weir_reactor::{Disk, File, Reactor};

use super::judge::{KeptSegment, judge};
use super::scan::{Scan, ScannedBatch, arrival};
use super::slots::{Found, Slots, Unsealed};
use super::{Recovery, Tips, raise};
use crate::discipline::Sound;
use crate::error::RecoveryError;
use crate::ledger::LedgerState;
use crate::segment::{
    Footer, FooterBatch, SegmentHeader, SegmentKind, TRAILER_BYTES, log_folder, slot_number,
    slot_path,
};
use crate::settings::FolderIdentity;
use crate::shard::{Hole, ShardTip};

/// Damages that are told one by one; more are counted.
const DAMAGES_MAX: usize = 10_000;

/// What a look at a log found.
#[derive(Debug, Clone)]
pub struct LogCheck {
    /// The log.
    pub log: LogId,
    /// Sealed segments that count.
    pub sealed: u64,
    /// Settled segments that count.
    pub settled: u64,
    /// Segments that were being written.
    pub unsealed: u64,
    /// Slots without anything that counts.
    pub free: u64,
    /// Files that were being made.
    pub half_made: u64,
    /// Files of segments that an operator gave up.
    pub set_aside: u64,
    /// Newest generation of the log segments that count and are there; 0 if none is.
    pub newest_generation: u64,
    /// Where its shards stand.
    pub tips: Vec<ShardTip>,
    /// Bytes of the segments that were read.
    pub bytes: u64,
    /// Frames that verify.
    pub frames: u64,
    /// Batches that verify.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Log position below which everything was durable.
    pub durable_mark: Position,
    /// Where the log ends.
    pub end: Position,
    /// Where a stop without warning cut it.
    pub torn: Option<TornTail>,
    /// What does not verify.
    pub damage: Vec<Damage>,
    /// Damages beyond those.
    pub more_damage: u64,
    /// Which records of each shard lie here, neighbours joined.
    pub spans: BTreeMap<ShardId, Vec<Span>>,
    /// Records that recovery knows, or would find, to be missing.
    pub holes: Vec<(ShardId, Hole)>,
}

/// The end of a log that was not closed: normal after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub file: String,
    /// Its byte where the log ends.
    pub at: u64,
    /// Frames behind it that the next start drops. None was acknowledged, unless what lay before them
    /// rotted at or behind the durable mark.
    pub dropped_frames: u64,
}

/// Bytes that do not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, in the data folder.
    pub file: String,
    /// Where the damaged stretch begins.
    pub at: u64,
    /// Its length.
    pub bytes: u64,
    /// What was found, and what it does.
    pub what: String,
    /// Records that cannot be read because of it, where that is known.
    pub lost: Vec<Lost>,
    /// The segment's, where it is known.
    pub generation: Option<u64>,
    /// What becomes of it.
    pub kind: DamageKind,
}

/// What damage does, and so what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Records cannot be read: `lost` says which.
    Records,
    /// Nothing stands still by it. If records are lost, a hole tells which.
    Harmless,
    /// The next start mends it.
    Passing,
    /// A log segment whose footer has to be made anew from its frames.
    Footer,
    /// A segment that cannot be used as a whole, or is gone.
    Segment,
    /// A file of another folder or log.
    Foreign,
    /// What is said twice is said differently: nothing can be given up to mend it.
    Contradiction,
}

/// Where damage lies.
#[derive(Clone, Copy)]
struct Site<'a> {
    file: &'a str,
    generation: Option<u64>,
    at: u64,
    bytes: u64,
}

/// Records of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The shard.
    pub shard: ShardId,
    /// The first of them.
    pub from: Offset,
    /// One past the last.
    pub until: Offset,
}

/// A run of records of a shard without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first record.
    pub first: Offset,
    /// One past the last.
    pub next: Offset,
    /// When the first of them arrived, or soon after.
    pub first_arrival: Timestamp,
    /// When the last one arrived.
    pub last_arrival: Timestamp,
}

/// Looks at a log of a folder that no server uses. Changes nothing. An error is a read that the
/// disk refused.
pub async fn check_log<R: Reactor>(
    reactor: &R,
    identity: FolderIdentity,
    log: LogId,
    ledger: &LedgerState,
) -> Result<LogCheck, RecoveryError> {
    let recovery = Recovery {
        reactor,
        identity,
        log,
        incarnation: 0,
    };
    recovery.check(ledger).await
}

impl LogCheck {
    fn new(log: LogId) -> Self {
        Self {
            log,
            sealed: 0,
            settled: 0,
            unsealed: 0,
            free: 0,
            half_made: 0,
            set_aside: 0,
            newest_generation: 0,
            tips: Vec::new(),
            bytes: 0,
            frames: 0,
            batches: 0,
            records: 0,
            durable_mark: Position(0),
            end: Position(0),
            torn: None,
            damage: Vec::new(),
            more_damage: 0,
            spans: BTreeMap::new(),
            holes: Vec::new(),
        }
    }

    fn damaged(&mut self, site: Site<'_>, kind: DamageKind, what: String, lost: Vec<Lost>) {
        if self.damage.len() == DAMAGES_MAX {
            self.more_damage += 1;
            return;
        }
        self.damage.push(Damage {
            file: site.file.to_owned(),
            at: site.at,
            bytes: site.bytes,
            what,
            lost,
            generation: site.generation,
            kind,
        });
    }

    fn sound(&mut self, batch: &FooterBatch) {
        self.batches += 1;
        self.records += u64::from(batch.records.0);
    }

    fn span(&mut self, shard: ShardId, first: Offset, next: Offset, arrival: Timestamp) {
        let spans = self.spans.entry(shard).or_default();
        match spans.last_mut() {
            Some(last) if last.next == first => {
                last.next = next;
                last.last_arrival = last.last_arrival.max(arrival);
            }
            _ => spans.push(Span {
                first,
                next,
                first_arrival: arrival,
                last_arrival: arrival,
            }),
        }
    }
}

impl<R: Reactor> Recovery<'_, R> {
    async fn check(&self, ledger: &LedgerState) -> Result<LogCheck, RecoveryError> {
        let mut out = LogCheck::new(self.log);
        let mut slots = self.look_at_all(ledger, &mut out).await?;
        let mut tips = Tips::new();
        let sealed = slots.sealed.iter();
        let footers: BTreeMap<u64, u64> = sealed
            .map(|f| (f.segment.generation, f.segment.trailer.footer_at))
            .collect();
        self.newest_footer(&mut slots, &mut tips).await?;
        out.free = slots.free.len() as u64;
        out.unsealed = slots.unsealed.len() as u64;
        let mut scans = Vec::new();
        let unsealed = std::mem::take(&mut slots.unsealed);
        for segment in &unsealed {
            scans.push(self.scan::<Sound>(segment).await?);
        }
        for entry in scans.iter().flat_map(|scan| &scan.start_table) {
            raise(&mut tips, entry.shard, entry.next, entry.last_arrival);
        }
        let size = self.identity.segment_bytes;
        let before = self.standing_before(&unsealed, &slots).await?;
        let behind = self.tables_behind(&unsealed, &slots).await?;
        let around = (before.as_slice(), behind.as_slice());
        let judged = judge::<Sound>(&unsealed, &scans, &slots, size, around, &mut tips);
        out.durable_mark = judged.mark;
        out.end = slots.end.max(judged.end);
        slots
            .sealed
            .sort_by_key(|f| (f.segment.ordinal, f.segment.generation));
        for found in &slots.sealed {
            self.check_sealed(found, &mut out).await?;
        }
        for kept in &judged.kept {
            let which = unsealed
                .iter()
                .zip(&scans)
                .find(|(u, _)| u.slot == kept.slot);
            let (segment, scan) = which.expect("what is kept was scanned");
            let recorded = ledger.segments.contains(&segment.generation);
            match footers.get(&segment.generation) {
                Some(at) => self.remake(segment, *at, "footer", &mut out),
                None if recorded => {
                    let last = size - TRAILER_BYTES as u64;
                    self.remake(segment, last, "trailer", &mut out);
                }
                None => {}
            }
            self.check_unsealed(segment, scan, kept, judged.mark, &mut out)
                .await?;
            if kept.is_cut {
                out.torn = Some(TornTail {
                    file: slot_path(self.log, kept.slot),
                    at: kept.end.0 - segment.base(size).0,
                    dropped_frames: judged.dropped_frames as u64,
                });
            }
        }
        out.tips = tips.into_values().collect();
        let holes = |tip: &ShardTip| {
            let shard = tip.shard;
            tip.holes.clone().into_iter().map(move |hole| (shard, hole))
        };
        out.holes = out.tips.iter().flat_map(holes).collect();
        let logs = slots.sealed.iter().filter(|found| !found.is_settled());
        let sealed = logs.map(|found| found.segment.generation);
        let kept = judged.kept.iter().map(|kept| kept.generation);
        out.newest_generation = sealed.chain(kept).max().unwrap_or(0);
        Ok(out)
    }

    /// As [`Self::find_slots`], without removing what is half made, and past what is foreign.
    async fn look_at_all(
        &self,
        ledger: &LedgerState,
        out: &mut LogCheck,
    ) -> Result<Slots, RecoveryError> {
        let folder = log_folder(self.log);
        let entries = self.reactor.disk().list(&folder).await;
        let entries = match entries {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            entries => entries.map_err(|e| self.read_failed(&folder, 0, &e))?,
        };
        let mut slots = Slots::default();
        let mut strange = BTreeSet::new();
        for entry in entries {
            let Some(number) = slot_number(&entry.name) else {
                continue;
            };
            let path = slot_path(self.log, number);
            let whole = entry.bytes == self.identity.segment_bytes;
            let looked = if whole {
                self.look_at(number, ledger, &mut slots).await
            } else {
                Ok(())
            };
            match &looked {
                Ok(()) if whole => continue,
                Err(RecoveryError::Foreign { .. }) | Ok(()) => {}
                Err(error) => return Err(error.clone()),
            }
            let Some(header) = self.header_of(&path, entry.bytes).await? else {
                self.tell_half_made(&path, entry.bytes, out).await?;
                continue;
            };
            if self.is_set_aside(&header, ledger) {
                slots.note_set_aside(header.generation);
                continue;
            }
            if !whole && self.is_dropped(&header, ledger) {
                out.half_made += 1;
                continue;
            }
            strange.insert(header.generation);
            self.tell_strange(&path, entry.bytes, &header, looked.err(), out)
                .await?;
        }
        self.tell_apart(ledger, &mut slots).await?;
        self.look_into_blank(ledger, &mut slots).await?;
        slots.free.append(&mut slots.blank);
        self.make_anew(ledger, &mut slots).await?;
        slots.unsealed.sort_by_key(|u| u.ordinal);
        slots.previous_ends.sort_by_key(|(ordinal, _)| *ordinal);
        slots.end = slots.sealed_end();
        out.set_aside = slots.set_aside as u64;
        let sealed = slots.sealed.iter().map(|f| f.segment.generation);
        strange.extend(sealed.chain(slots.unsealed.iter().map(|u| u.generation)));
        let counted = ledger.segments.iter().map(|g| (*g, "counts"));
        let begun = ledger.being_written().filter(|g| !slots.voided.contains(g));
        let begun = begun.map(|g| (g, "has seen the beginning of"));
        for (generation, says) in counted.chain(begun) {
            if strange.contains(&generation) {
                continue;
            }
            let what = format!(
                "the catalog {says} a segment of generation {generation}, and no file holds it: a \
                 server does not start without it"
            );
            let site = Site {
                file: &folder,
                generation: Some(generation),
                at: 0,
                bytes: 0,
            };
            out.damaged(site, DamageKind::Segment, what, Vec::new());
        }
        Ok(slots)
    }

    /// A file of another length than a segment's, without a header.
    async fn tell_half_made(
        &self,
        path: &str,
        bytes: u64,
        out: &mut LogCheck,
    ) -> Result<(), RecoveryError> {
        if self.is_zeros(path, bytes).await? {
            out.half_made += 1;
            return Ok(());
        }
        let expected = self.identity.segment_bytes;
        let what = format!(
            "{bytes} bytes, expected {expected}, no header at its front, and not empty: a server \
             does not start with it"
        );
        let site = Site {
            file: path,
            generation: None,
            at: 0,
            bytes,
        };
        out.damaged(site, DamageKind::Foreign, what, Vec::new());
        Ok(())
    }

    /// A file that a server does not start with, whose header makes sense.
    async fn tell_strange(
        &self,
        path: &str,
        bytes: u64,
        header: &SegmentHeader,
        error: Option<RecoveryError>,
        out: &mut LogCheck,
    ) -> Result<(), RecoveryError> {
        let size = self.identity.segment_bytes;
        let last = size - TRAILER_BYTES as u64;
        let is_ours = header.folder == self.identity.folder
            && header.log == self.log
            && header.segment_bytes == size;
        let (at, length, what) = match error {
            Some(RecoveryError::Foreign { what, .. }) if header.kind == SegmentKind::Settled => {
                (last, TRAILER_BYTES as u64, what)
            }
            Some(RecoveryError::Foreign { what, .. }) => (0, u64::from(BLOCK_BYTES), what),
            _ => {
                let what = format!("{bytes} bytes, expected {size}");
                (bytes.min(size), size.abs_diff(bytes), what)
            }
        };
        let what = format!("{what}: a server does not start with it");
        let site = Site {
            file: path,
            generation: Some(header.generation),
            at,
            bytes: length,
        };
        if !is_ours {
            out.damaged(site, DamageKind::Foreign, what, Vec::new());
            return Ok(());
        }
        let lost = self.held_by(path, bytes.min(size), header).await?;
        out.damaged(site, DamageKind::Segment, what, lost);
        Ok(())
    }

    /// What numbers a file held, as far as it still tells.
    async fn held_by(
        &self,
        path: &str,
        length: u64,
        header: &SegmentHeader,
    ) -> Result<Vec<Lost>, RecoveryError> {
        let file = self.open(path).await?;
        let mut bytes = Vec::new();
        let whole = length / u64::from(BLOCK_BYTES) * u64::from(BLOCK_BYTES);
        while (bytes.len() as u64) < whole {
            let (at, left) = (bytes.len() as u64, whole - bytes.len() as u64);
            let read = file.read(at, left.min(1 << 20) as usize).await;
            let read = read.map_err(|e| self.read_failed(path, at, &e))?;
            bytes.extend_from_slice(read.as_ref());
        }
        if header.kind == SegmentKind::Settled {
            return Ok(lost_of(&settled_batches(&bytes, header)));
        }
        if !header.is_possible() {
            return Ok(Vec::new());
        }
        let segment = Unsealed {
            slot: 0,
            ordinal: header.ordinal,
            generation: header.generation,
            header: Some(*header),
            known_end: None,
            next_generation: 0,
            was_sealed: false,
        };
        let scan = self.scan_bytes(&segment, &bytes);
        let batches = scan.frames.iter().flat_map(|frame| &frame.batches);
        Ok(lost_of(&batches.copied().collect::<Vec<_>>()))
    }

    async fn check_sealed(&self, found: &Found, out: &mut LogCheck) -> Result<(), RecoveryError> {
        let sealed = &found.segment;
        let path = slot_path(self.log, sealed.slot);
        let site = |at, bytes| Site {
            file: &path,
            generation: Some(sealed.generation),
            at,
            bytes,
        };
        let file = self.open(&path).await?;
        let bytes = self.read_segment::<Sound>(&path, &file).await?;
        out.bytes += bytes.len() as u64;
        let mut intact = Vec::new();
        let mut present = Vec::new();
        if found.is_settled() {
            out.settled += 1;
        } else {
            out.sealed += 1;
            let segment = Unsealed {
                slot: sealed.slot,
                ordinal: sealed.ordinal,
                generation: sealed.generation,
                header: found.header,
                known_end: Some(sealed.trailer.end),
                next_generation: sealed.trailer.next_generation,
                was_sealed: true,
            };
            let scan = self.scan_bytes(&segment, &bytes);
            let base = segment.base(self.identity.segment_bytes);
            if scan.header_damaged {
                let what = "header or start table does not verify: \
                            no record is lost, the footer finds them";
                let head = segment
                    .header
                    .map_or(u64::from(BLOCK_BYTES), |h| h.bytes() as u64);
                out.damaged(site(0, head), DamageKind::Harmless, what.into(), Vec::new());
            }
            let kept = frames_until(&scan, base, sealed.trailer.end, segment.header.is_none());
            out.frames += kept.frames;
            for (from, until) in kept.gaps {
                let what = format!(
                    "{}: records of it that can be read are found by the footer",
                    found_instead(&bytes, from)
                );
                let site = site(from, until - from);
                out.damaged(site, DamageKind::Harmless, what, Vec::new());
            }
            present = kept.batches;
            intact = present
                .iter()
                .filter_map(|b| b.batch.map(|batch| (b.shard, batch)))
                .collect();
            intact.sort_unstable_by_key(|(_, batch)| batch.file_offset);
        }
        let trailer = &sealed.trailer;
        let footer = Footer::length(trailer, self.identity.segment_bytes).and_then(|length| {
            let from = trailer.footer_at as usize;
            Footer::decode(trailer, bytes[from..from + length].to_vec())
        });
        let Some(footer) = footer else {
            let what = "the footer does not verify: nothing in this segment can be read".to_owned();
            let last = self.identity.segment_bytes - TRAILER_BYTES as u64;
            let at = trailer.footer_at.min(last);
            let kind = if found.is_settled() {
                present = found
                    .header
                    .map_or_else(Vec::new, |h| settled_batches(&bytes, &h));
                DamageKind::Segment
            } else {
                DamageKind::Footer
            };
            out.damaged(site(at, last - at), kind, what, lost_of(&present));
            for batch in &present {
                note(batch, out);
            }
            return Ok(());
        };
        check_footer(&footer, site(0, 0), &bytes, &intact, &present, out);
        Ok(())
    }

    /// A sealed segment's end that does not verify; its frames are scanned instead.
    fn remake(&self, segment: &Unsealed, at: u64, part: &str, out: &mut LogCheck) {
        let what = format!("the {part} does not verify: the next start makes it anew");
        let bytes = match part {
            "footer" => self.identity.segment_bytes - TRAILER_BYTES as u64 - at,
            _ => TRAILER_BYTES as u64,
        };
        let site = Site {
            file: &slot_path(self.log, segment.slot),
            generation: Some(segment.generation),
            at,
            bytes,
        };
        out.damaged(site, DamageKind::Passing, what, Vec::new());
    }

    async fn check_unsealed(
        &self,
        segment: &Unsealed,
        scan: &Scan,
        kept: &KeptSegment,
        mark: Position,
        out: &mut LogCheck,
    ) -> Result<(), RecoveryError> {
        let path = slot_path(self.log, segment.slot);
        let size = self.identity.segment_bytes;
        let base = segment.base(size);
        let site = |at, bytes| Site {
            file: &path,
            generation: Some(segment.generation),
            at,
            bytes,
        };
        out.bytes += size;
        if scan.header_damaged && base.0 + scan.first_frame < mark.0 {
            let what = "header or start table does not verify: \
                        records before the first frame may be lost";
            let site = site(0, scan.first_frame);
            out.damaged(site, DamageKind::Harmless, what.into(), Vec::new());
        }
        let walked = frames_until(scan, base, kept.end, segment.header.is_none());
        out.frames += walked.frames;
        if !walked.gaps.is_empty() {
            let file = self.open(&path).await?;
            let bytes = self.read_segment::<Sound>(&path, &file).await?;
            for (from, until) in walked.gaps {
                let what = found_instead(&bytes, from);
                let site = site(from, until - from);
                out.damaged(site, DamageKind::Harmless, what, Vec::new());
            }
        }
        for batch in &walked.batches {
            note(batch, out);
            if let Some(sound) = &batch.batch {
                out.sound(sound);
                continue;
            }
            let what = "the batch does not verify".to_owned();
            let lost = lost_of(std::slice::from_ref(batch));
            let site = site(batch.file_offset, u64::from(batch.bytes));
            out.damaged(site, DamageKind::Records, what, lost);
        }
        Ok(())
    }
}

/// What of a segment lies before an end.
struct Walked {
    frames: u64,
    batches: Vec<ScannedBatch>,
    /// File offsets of stretches where a frame should be.
    gaps: Vec<(u64, u64)>,
}

/// Walks the frames as the judge does.
fn frames_until(scan: &Scan, base: Position, end: Position, is_first_unknown: bool) -> Walked {
    let mut walked = Walked {
        frames: 0,
        batches: Vec::new(),
        gaps: Vec::new(),
    };
    let mut expected = base.0 + scan.first_frame;
    let mut incarnation = 0;
    for frame in &scan.frames {
        let position = frame.header.position;
        if position >= end {
            break;
        }
        if frame.header.incarnation < incarnation {
            continue;
        }
        if position.0 != expected {
            walked.gaps.push((expected - base.0, position.0 - base.0));
        }
        incarnation = frame.header.incarnation;
        expected = frame.end().0;
        walked.frames += 1;
        walked.batches.extend_from_slice(&frame.batches);
    }
    let nothing_known = is_first_unknown && walked.frames == 0;
    if expected < end.0 && !nothing_known {
        walked.gaps.push((expected - base.0, end.0 - base.0));
    }
    walked
}

/// What lies where a frame should be.
fn found_instead(bytes: &[u8], at: u64) -> String {
    let Some(rest) = bytes.get(at as usize..) else {
        return "nothing lies where a frame should be".to_owned();
    };
    match FrameHeader::decode(rest) {
        Err(error) => format!("a frame should be here: {error}"),
        Ok(header) => match header.directory(rest) {
            Err(error) => format!("a frame should be here: {error}"),
            Ok(_) => format!(
                "a frame of log position {} and generation {} lies where another should be",
                header.position.0, header.generation
            ),
        },
    }
}

/// The batches of a settled segment whose footer is lost, as their own headers tell: they lie one
/// after the other, and what lies behind the first that makes no sense is not known.
fn settled_batches(bytes: &[u8], header: &SegmentHeader) -> Vec<ScannedBatch> {
    let mut found = Vec::new();
    let mut at = header.bytes();
    while let Some(Ok(batch)) = bytes.get(at..).map(BatchHeader::decode) {
        let length = BATCH_HEADER_BYTES + batch.payload_bytes as usize;
        let first = batch.first_offset;
        let whole = at + length <= bytes.len();
        let next = first.checked_add(batch.records).filter(|_| whole);
        let Some(next) = next else { break };
        let place = FooterBatch {
            first,
            arrival: batch.arrival,
            file_offset: at as u32,
            bytes: length as u32,
            records: batch.records,
        };
        found.push(ScannedBatch {
            shard: batch.shard,
            batch: Some(place),
            first,
            next,
            file_offset: at as u64,
            bytes: length as u32,
        });
        at += length;
    }
    found
}

fn lost_of(batches: &[ScannedBatch]) -> Vec<Lost> {
    let mut by_shard: BTreeMap<ShardId, Vec<Lost>> = BTreeMap::new();
    for batch in batches {
        let runs = by_shard.entry(batch.shard).or_default();
        match runs.last_mut() {
            Some(last) if last.until == batch.first => last.until = batch.next,
            _ => runs.push(Lost {
                shard: batch.shard,
                from: batch.first,
                until: batch.next,
            }),
        }
    }
    by_shard.into_values().flatten().collect()
}

fn note(batch: &ScannedBatch, out: &mut LogCheck) {
    out.span(batch.shard, batch.first, batch.next, arrival(batch));
}

/// Holds a footer against the bytes: each batch it names is there and verifies, and no batch of a
/// frame is left out but those that it calls missing.
fn check_footer(
    footer: &Footer,
    segment: Site<'_>,
    bytes: &[u8],
    intact: &[(ShardId, FooterBatch)],
    present: &[ScannedBatch],
    out: &mut LogCheck,
) {
    let mut named = BTreeSet::new();
    for share in footer.shards() {
        for index in 0..share.batches {
            let batch = footer.batch(&share, index);
            named.insert(u64::from(batch.file_offset));
            out.span(share.shard, batch.first, batch.next(), batch.arrival);
            let known = intact.binary_search_by_key(&batch.file_offset, |(_, b)| b.file_offset);
            let is_known = known.is_ok_and(|at| intact[at] == (share.shard, batch));
            let fault = if is_known {
                None
            } else {
                fault_of(share.shard, &batch, bytes)
            };
            match fault {
                None => out.sound(&batch),
                Some(what) => {
                    let lost = Lost {
                        shard: share.shard,
                        from: batch.first,
                        until: batch.next(),
                    };
                    let site = Site {
                        at: u64::from(batch.file_offset),
                        bytes: u64::from(batch.bytes),
                        ..segment
                    };
                    out.damaged(site, DamageKind::Records, what, vec![lost]);
                }
            }
        }
    }
    let holes: Vec<(ShardId, Hole)> = footer.holes().collect();
    for batch in present.iter().filter(|b| !named.contains(&b.file_offset)) {
        let is_missing = |(shard, hole): &(ShardId, Hole)| {
            *shard == batch.shard && hole.from <= batch.first && batch.next <= hole.until
        };
        if !holes.iter().any(is_missing) {
            let what = "the footer does not name this batch".to_owned();
            let lost = lost_of(std::slice::from_ref(batch));
            let site = Site {
                at: batch.file_offset,
                bytes: u64::from(batch.bytes),
                ..segment
            };
            out.damaged(site, DamageKind::Records, what, lost);
        }
    }
}

/// Why the bytes at a footer's place are not the batch that it names.
fn fault_of(shard: ShardId, batch: &FooterBatch, bytes: &[u8]) -> Option<String> {
    let from = batch.file_offset as usize;
    let Some(raw) = bytes.get(from..from + batch.bytes as usize) else {
        return Some("the batch lies beyond the file's end".to_owned());
    };
    match BatchView::decode(raw) {
        Err(error) => Some(error.to_string()),
        Ok(view) => {
            let header = &view.header;
            let is_it = header.shard == shard
                && header.first_offset == batch.first
                && header.records == batch.records
                && view.as_bytes().len() == raw.len();
            (!is_it).then(|| {
                format!(
                    "a batch of {} from number {} lies where another should be",
                    header.shard,
                    header.first_offset.get()
                )
            })
        }
    }
}
