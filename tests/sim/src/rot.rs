//! Bytes that rot between two lives, and what may go with them.
//!
//! A block that rotted takes what it held, and recovery tells of it: a mark elsewhere says that it was
//! once durable. Where the marks were struck too, nothing is left to tell it from a torn write: then
//! the log may be cut there, and only then. What each strike left is read from the image itself, by
//! the format's document alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use weir_protocol::batch::BatchView;
use weir_protocol::bytes::{u16_at, u64_at};
use weir_protocol::frame::{DirectoryEntry, FRAME_HEADER_BYTES, FrameHeader};
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Offset, ShardId};
use weir_reactor::sim::{Dice, Sim};

use crate::story::{Menu, World, is_verbose};

const SECTOR: usize = 512;
const BLOCK: usize = BLOCK_BYTES as usize;

/// One round: bits and sectors of some slots, each struck once, so that something tells of each.
pub(crate) fn strike(sim: &Sim, dice: &mut Dice) -> u32 {
    let disk = sim.disk();
    let mut struck = BTreeSet::new();
    for _ in 0..dice.between(1, 3) {
        let paths = disk.paths();
        if paths.is_empty() {
            continue;
        }
        let path = &paths[dice.below(paths.len() as u64) as usize];
        let bytes = disk.durable_bytes(path).expect("a listed file can be read");
        let used: Vec<usize> = (0..bytes.len() / SECTOR)
            .filter(|s| bytes[s * SECTOR..(s + 1) * SECTOR].iter().any(|b| *b != 0))
            .collect();
        if used.is_empty() {
            continue;
        }
        // The first sector, of a segment's header, more often than its share.
        let sector = match dice.below(4) {
            0 => used[0],
            _ => used[dice.below(used.len() as u64) as usize],
        };
        let byte = (sector * SECTOR) as u64 + dice.below(SECTOR as u64);
        let bit = dice.coin().then(|| dice.below(8) as u8);
        if struck.insert(path.clone()) {
            damage(sim, path, byte, bit);
        }
    }
    struck.len() as u32
}

/// A round, and more strikes where they like, one slot more than once, and best where the log ends: a
/// frame may go with all that spoke of it, and is excused then.
pub(crate) fn strike_again(
    sim: &Sim,
    first: &mut Dice,
    dice: &mut Dice,
    world: &World,
    menu: Menu,
) -> u32 {
    let disk = sim.disk();
    let image = || -> BTreeMap<String, Vec<u8>> {
        let bytes = |path: &String| disk.durable_bytes(path).expect("a listed file can be read");
        let paths = disk.paths().into_iter();
        paths.map(|path| (path.clone(), bytes(&path))).collect()
    };
    let before = image();
    let mut strikes = strike(sim, first);
    let places = places(world, &before);
    if places.is_empty() {
        return strikes;
    }
    let newest = places.iter().map(|(position, ..)| *position);
    let newest = newest.max().unwrap_or(0) / world.identity.segment_bytes;
    let at_the_end = |place: &&Place| place.0 / world.identity.segment_bytes == newest;
    let last: Vec<_> = places.iter().filter(at_the_end).collect();
    for _ in 0..dice.between(2, 4) {
        strikes += 1;
        let (_, path, range) = if dice.below(3) == 0 {
            &places[dice.below(places.len() as u64) as usize]
        } else {
            last[last.len() - 1 - dice.below(last.len().min(5) as u64) as usize]
        };
        // Where it begins, as everything does that verifies, more often than its share.
        let byte = range.start as u64
            + match dice.below(3) {
                0 => dice.below(range.len() as u64),
                _ => dice.below(FRAME_HEADER_BYTES as u64),
            };
        let bit = dice.coin().then(|| dice.below(8) as u8);
        damage(sim, path, byte, bit);
    }
    let lost = cut(world, &before, &image());
    if is_verbose() && !lost.is_empty() {
        eprintln!("rot: {} records may be cut", lost.len());
    }
    if menu != Menu::NothingExcused {
        world.judge.borrow_mut().excuse(lost);
    }
    strikes
}

fn damage(sim: &Sim, path: &str, byte: u64, bit: Option<u8>) {
    if is_verbose() {
        eprintln!("rot: {path} at {byte}");
    }
    match bit {
        Some(bit) => sim.disk().rot_bit(path, byte, bit),
        None => sim.disk().zero_sector(path, byte),
    }
    .expect("the byte is inside the file");
}

/// Where something lies: its position in the log, and its slot and bytes there.
type Place<'a> = (u64, &'a str, Range<usize>);

/// Frames, headers and trailers of all log segments, in the order of the log.
fn places<'a>(world: &World, image: &'a BTreeMap<String, Vec<u8>>) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for (path, slot) in image {
        let Some(generation) = generation_of(world, slot) else {
            continue;
        };
        let frames = frames_of(world, generation, slot);
        let Some((_, first, _)) = frames.first() else {
            continue;
        };
        let base = first.position.0 / world.identity.segment_bytes * world.identity.segment_bytes;
        let last = slot.len() - BLOCK;
        places.push((base, path.as_str(), 0..BLOCK));
        places.push((base + last as u64, path, last..slot.len()));
        for (at, header, _) in &frames {
            let end = at + header.frame_bytes as usize;
            places.push((header.position.0, path, *at..end));
        }
    }
    places.sort_unstable_by_key(|(position, ..)| *position);
    places
}

/// A frame as it was before the strikes.
struct Frame {
    header: FrameHeader,
    directory: Vec<DirectoryEntry>,
    /// All of it still verifies.
    is_whole: bool,
    /// Everything below this is marked as durable for its segment.
    marked: u64,
}

impl Frame {
    fn end(&self) -> u64 {
        self.header.position.0 + u64::from(self.header.frame_bytes)
    }
}

/// The records that a recovery may take for the torn end of the log: those from the first broken frame
/// on that no mark covers.
fn cut(
    world: &World,
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Vec<(ShardId, Offset)> {
    let mut frames = Vec::new();
    let mut mark = 0;
    for (path, was) in before {
        let is = &after[path];
        let Some(generation) = generation_of(world, was) else {
            continue;
        };
        mark = mark.max(mark_of_ends(world, generation, was, is));
        let is_recorded = world.durable.borrow().segments.contains(&generation);
        for (at, header, directory) in frames_of(world, generation, was) {
            let found = decode(world, is, at).filter(|(left, _)| *left == header);
            if found.is_some() {
                mark = mark.max(header.durable_mark.0);
            }
            let batches = &is[at + FRAME_HEADER_BYTES..];
            frames.push(Frame {
                header,
                is_whole: found.is_some() && all_verify(batches, &directory),
                directory,
                marked: if is_recorded { u64::MAX } else { 0 },
            });
        }
    }
    let torn = |frame: &&Frame| !frame.is_whole && frame.end() > frame.marked.max(mark);
    let Some(from) = frames.iter().filter(torn).map(|f| f.header.position).min() else {
        return Vec::new();
    };
    let gone = frames.iter().filter(|frame| frame.header.position >= from);
    let entries = gone.flat_map(|frame| &frame.directory);
    let records = |entry: &DirectoryEntry| {
        let (shard, first) = (entry.shard, entry.first_offset.get());
        let numbers = first..first + u64::from(entry.records.0);
        numbers.map(move |number| (shard, Offset::new(number).expect("offsets are small here")))
    };
    entries.flat_map(records).collect()
}

/// Where a field of the segment's header or trailer lies, by its name in the format's document.
fn field((fields, _): (Vec<(usize, usize, &str)>, usize), name: &str) -> usize {
    let field = fields.iter().find(|(_, _, found)| found.starts_with(name));
    field.expect("the document names it").0
}

/// The generation of the log segment in a slot; `None` if it holds none.
fn generation_of(world: &World, slot: &[u8]) -> Option<u64> {
    let at = |name| field(weir_log::layout_of_header(), name);
    let is_header = &slot[..4] == b"WRS1" && u64_at(slot, at("folder")) == world.identity.folder;
    if is_header {
        let is_log = u16_at(slot, at("kind")) == 1;
        return is_log.then(|| u64_at(slot, at("generation")));
    }
    let blocks = (0..slot.len()).step_by(BLOCK);
    let found = blocks.filter_map(|at| decode(world, slot, at));
    found.map(|(header, _)| header.generation).max()
}

/// What the segment's header and its trailer say that was durable, if no strike met them.
fn mark_of_ends(world: &World, generation: u64, was: &[u8], is: &[u8]) -> u64 {
    let mut mark = 0;
    if was[..BLOCK] == is[..BLOCK] && &is[..4] == b"WRS1" {
        mark = u64_at(is, field(weir_log::layout_of_header(), "durable mark"));
    }
    let last = is.len() - BLOCK;
    let trailer = &is[last..];
    let at = |name| field(weir_log::layout_of_trailer(), name);
    let is_its_own = &trailer[..4] == b"WRT1"
        && u64_at(trailer, at("folder")) == world.identity.folder
        && u64_at(trailer, at("generation")) == generation;
    if was[last..] == *trailer && is_its_own {
        mark = mark.max(u64_at(trailer, at("log position")));
    }
    mark
}

/// The frames of a slot's segment, and where they lie.
fn frames_of(
    world: &World,
    generation: u64,
    slot: &[u8],
) -> Vec<(usize, FrameHeader, Vec<DirectoryEntry>)> {
    let blocks = (0..slot.len()).step_by(BLOCK);
    let found = blocks.filter_map(|at| {
        let (header, directory) = decode(world, slot, at)?;
        (header.generation == generation).then_some((at, header, directory))
    });
    found.collect()
}

fn decode(world: &World, slot: &[u8], at: usize) -> Option<(FrameHeader, Vec<DirectoryEntry>)> {
    let header = FrameHeader::decode(&slot[at..]).ok()?;
    let is_here = header.folder == world.identity.folder
        && header.position.0 % world.identity.segment_bytes == at as u64;
    let frame = slot.get(at..at + header.frame_bytes as usize)?;
    let directory = header.directory(frame).ok().filter(|_| is_here)?;
    Some((header, directory))
}

fn all_verify(mut batches: &[u8], directory: &[DirectoryEntry]) -> bool {
    directory.iter().all(|entry| {
        let (batch, rest) = batches.split_at(entry.bytes as usize);
        batches = rest;
        BatchView::decode(batch).is_ok()
    })
}
