//! Tells a torn tail from a rotten middle, by the durable mark that every frame carries.

use std::collections::BTreeMap;

use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, Position, ShardId, Timestamp};

use super::scan::{Scan, ScannedBatch, ScannedFrame, arrival};
use super::slots::{Slots, Unsealed};
use super::{Standing, Tips, add_hole, epoch_after, raise};
use crate::discipline::Discipline;
use crate::segment::{FooterBatch, StartEntry};
use crate::shard::Hole;

/// A segment that stays, to be sealed.
pub(crate) struct KeptSegment {
    pub(crate) slot: u32,
    pub(crate) ordinal: u64,
    pub(crate) generation: u64,
    pub(crate) end: Position,
    /// The log was cut here: what follows belongs to later lives only.
    pub(crate) is_cut: bool,
    /// Per shard: where it stood at the segment's end, and its batches.
    pub(crate) shards: BTreeMap<ShardId, (Offset, Timestamp, Vec<FooterBatch>)>,
}

/// What becomes of the unsealed segments.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) kept: Vec<KeptSegment>,
    /// Slots of segments that hold nothing that counts, with generation and ordinal.
    pub(crate) void: Vec<(u32, u64, u64)>,
    /// Where the log ends now.
    pub(crate) end: Position,
    /// Everything below this was durable once.
    pub(crate) mark: Position,
    pub(crate) dropped_frames: usize,
    pub(crate) rotten: usize,
    pub(crate) new_holes: usize,
}

/// A stretch below the mark whose content is unknown: what shards it may have held records of is
/// known once the rest was read.
struct Gap {
    /// Where each shard stood before it.
    before: BTreeMap<ShardId, Offset>,
}

/// `before` is, for each segment, where shards stood at the end of the newest sealed one that is older;
/// `behind` the start table of a sealed one that follows it.
pub(crate) fn judge<D: Discipline>(
    unsealed: &[Unsealed],
    scans: &[Scan],
    slots: &Slots,
    segment_bytes: u64,
    (before, behind): (&[Standing], &[Vec<StartEntry>]),
    tips: &mut Tips,
) -> Judged {
    let mut judged = Judged::default();
    let known_mark = durable_mark(unsealed, scans, slots);
    judged.mark = known_mark;
    // It goes on while the frames are walked.
    let mut standing = before.first().cloned().unwrap_or_default();
    if let Some(first) = scans.first() {
        // Its own table is newer than the footer before it, and later tables say what came after.
        for entry in &first.start_table {
            standing.insert(entry.shard, (entry.next, entry.last_arrival));
        }
    }
    let mut gaps: Vec<Gap> = Vec::new();
    let mut seen_after: Vec<BTreeMap<ShardId, Offset>> = Vec::new();
    let mut incarnation = 0;
    let mut torn = false;
    let mut least_generation = 0;
    let around = before.iter().zip(behind);
    for ((segment, scan), (before, behind)) in unsealed.iter().zip(scans).zip(around) {
        let base = segment.base(segment_bytes);
        let mark = if segment.was_sealed {
            known_mark.max(Position(base.0 + segment_bytes))
        } else {
            known_mark
        };
        let limit = limit_of(segment, base, segment_bytes, slots);
        let sealed_before = slots.least_generation(segment.ordinal);
        let cut_off = segment.generation < sealed_before.max(least_generation);
        least_generation = least_generation.max(segment.next_generation);
        if torn || cut_off || limit.is_some_and(|l| l <= base) {
            judged.dropped_frames += scan.frames.len();
            judged
                .void
                .push((segment.slot, segment.generation, segment.ordinal));
            continue;
        }
        // Sealed segments lie between this one and the one walked before it.
        for (shard, (next, last_arrival)) in before {
            reach(&mut standing, *shard, *next, *last_arrival);
        }
        note_table(scan, &mut seen_after, &mut standing);
        let mut expected = Position(base.0 + scan.first_frame);
        let mut kept = KeptSegment {
            slot: segment.slot,
            ordinal: segment.ordinal,
            generation: segment.generation,
            end: expected,
            is_cut: false,
            shards: BTreeMap::new(),
        };
        if let Some(header) = segment.header {
            incarnation = incarnation.max(header.incarnation);
        }
        let first_possible = Position(base.0 + u64::from(BLOCK_BYTES));
        if scan.header_damaged && first_possible < mark.max(expected) {
            // Where its first frame lay is not known: some may be missing before the first found,
            // which may be the very one that carries the mark over them.
            judged.rotten += 1;
            gaps.push(open_gap(&standing));
            seen_after.push(BTreeMap::new());
        }
        let mut ended = false;
        for frame in &scan.frames {
            let position = frame.header.position;
            if torn || ended || limit.is_some_and(|l| position >= l) {
                judged.dropped_frames += 1;
                continue;
            }
            let stale = frame.header.incarnation < incarnation;
            let half_written = D::REFUSE_SHORT_FRAMES && position >= mark && !frame.is_whole();
            if stale || half_written {
                // A frame of an earlier life, or one that was being written: as if none were there.
                judged.dropped_frames += 1;
                continue;
            }
            if position != expected {
                if expected >= mark || !D::PASS_ROT {
                    torn = true;
                    judged.dropped_frames += 1;
                    continue;
                }
                judged.rotten += 1;
                gaps.push(open_gap(&standing));
                seen_after.push(BTreeMap::new());
            }
            incarnation = frame.header.incarnation;
            keep(
                frame,
                &mut kept,
                &mut standing,
                &mut seen_after,
                tips,
                &mut judged,
            );
            expected = frame.end();
            kept.end = expected;
            ended = frame.header.last;
        }
        if !ended && !torn && limit != Some(kept.end) {
            if kept.end >= mark {
                // No last frame and nothing more: the tail ends here, and so does the log.
                torn = true;
            } else {
                judged.rotten += 1;
                gaps.push(open_gap(&standing));
                seen_after.push(BTreeMap::new());
                kept.end = limit.unwrap_or(kept.end);
            }
        }
        end_gaps(behind, &mut seen_after);
        let named: Vec<(ShardId, (Offset, Timestamp))> = standing
            .iter()
            .filter(|(shard, _)| in_footer(scan, &kept, **shard))
            .map(|(shard, at)| (*shard, *at))
            .collect();
        for (shard, (next, last_arrival)) in named {
            let slot = kept
                .shards
                .entry(shard)
                .or_insert((next, last_arrival, Vec::new()));
            (slot.0, slot.1) = (next, last_arrival);
        }
        kept.is_cut = torn;
        judged.end = kept.end;
        judged.kept.push(kept);
    }
    for (shard, (next, last_arrival)) in &standing {
        raise(tips, *shard, *next, *last_arrival);
    }
    for (gap, after) in gaps.iter().zip(&seen_after) {
        judged.new_holes += holes_of(gap, after, tips);
    }
    judged
}

/// Everything below this was durable when something that survived was written.
fn durable_mark(unsealed: &[Unsealed], scans: &[Scan], slots: &Slots) -> Position {
    let frames = scans
        .iter()
        .flat_map(|s| s.frames.iter())
        .map(|f| f.header.durable_mark);
    let headers = unsealed
        .iter()
        .filter_map(|u| u.header.map(|h| h.durable_mark));
    let ends = unsealed.iter().filter_map(|u| u.known_end);
    frames
        .chain(headers)
        .chain(ends)
        .chain([slots.sealed_end()])
        .max()
        .unwrap_or_default()
}

/// Where a segment is known to end: by its trailer, or by the header of the next one, which may be
/// older than a fault that ended the segment before that.
fn limit_of(
    segment: &Unsealed,
    base: Position,
    segment_bytes: u64,
    slots: &Slots,
) -> Option<Position> {
    let next = slots
        .previous_ends
        .iter()
        .find(|(ordinal, _)| *ordinal > segment.ordinal);
    let by_next = next.map(|(_, end)| *end).filter(|end| end.0 > 0);
    // Behind this segment's last byte: it speaks of one that was given up and is not looked at.
    let by_next = by_next.filter(|end| end.0 <= base.0 + segment_bytes);
    // The next segment's header speaks of its direct predecessor; one in between is void.
    let by_next = by_next.map(|end| if end < base { base } else { end });
    segment.known_end.or(by_next)
}

/// A later segment's start table tells where shards stood: a gap before it is closed for those.
fn note_table(scan: &Scan, seen_after: &mut [BTreeMap<ShardId, Offset>], standing: &mut Standing) {
    end_gaps(&scan.start_table, seen_after);
    for entry in &scan.start_table {
        reach(standing, entry.shard, entry.next, entry.last_arrival);
    }
}

/// A shard stands at least there.
fn reach(standing: &mut Standing, shard: ShardId, next: Offset, last_arrival: Timestamp) {
    let at = standing.entry(shard).or_insert((next, last_arrival));
    at.0 = at.0.max(next);
    at.1 = at.1.max(last_arrival);
}

/// Where shards stood behind the gaps that were found so far.
fn end_gaps(table: &[StartEntry], seen_after: &mut [BTreeMap<ShardId, Offset>]) {
    for after in seen_after {
        for entry in table {
            after.entry(entry.shard).or_insert(entry.next);
        }
    }
}

fn open_gap(standing: &Standing) -> Gap {
    Gap {
        before: standing.iter().map(|(s, (next, _))| (*s, *next)).collect(),
    }
}

fn keep(
    frame: &ScannedFrame,
    kept: &mut KeptSegment,
    standing: &mut Standing,
    seen_after: &mut [BTreeMap<ShardId, Offset>],
    tips: &mut Tips,
    judged: &mut Judged,
) {
    for scanned in &frame.batches {
        for after in seen_after.iter_mut() {
            after.entry(scanned.shard).or_insert(scanned.first);
        }
        reach(standing, scanned.shard, scanned.next, arrival(scanned));
        if let Some(batch) = scanned.batch {
            let entry = kept.shards.entry(scanned.shard).or_insert((
                Offset::ZERO,
                Timestamp::ZERO,
                Vec::new(),
            ));
            entry.2.push(batch);
        } else {
            judged.rotten += 1;
            judged.new_holes += usize::from(add_hole(tips, scanned.shard, hole(scanned)));
        }
    }
}

fn hole(batch: &ScannedBatch) -> Hole {
    Hole {
        from: batch.first,
        until: batch.next,
    }
}

/// Whether a shard belongs into the footer: the segment's own table named it, or it is present.
fn in_footer(scan: &Scan, kept: &KeptSegment, shard: ShardId) -> bool {
    scan.header_damaged
        || kept.shards.contains_key(&shard)
        || scan
            .start_table
            .binary_search_by_key(&shard, |e| e.shard)
            .is_ok()
}

/// Marks what may be missing from a gap: shards whose numbers go on without a break are whole.
fn holes_of(gap: &Gap, after: &BTreeMap<ShardId, Offset>, tips: &mut Tips) -> usize {
    let fresh = epoch_after(tips.values());
    let known: Vec<(ShardId, Offset)> = tips
        .keys()
        .map(|s| (*s, gap.before.get(s).copied().unwrap_or(Offset::ZERO)))
        .collect();
    let mut found = 0;
    for (shard, before) in known {
        let until = match after.get(&shard) {
            Some(next) if *next <= before => continue,
            Some(next) => *next,
            // Not seen again: whatever follows carries an epoch that nothing had so far.
            None => fresh.map_or(Offset::MAX, |epoch| before.raised_to(epoch)),
        };
        found += usize::from(add_hole(
            tips,
            shard,
            Hole {
                from: before,
                until,
            },
        ));
    }
    found
}
