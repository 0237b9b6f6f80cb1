//! Bytes that rot between two lives, and what may go with them.
//!
//! A block that rotted takes what it held, and recovery tells of it: a mark elsewhere says that it was
//! once durable. Where the marks were struck too, nothing is left to tell it from a torn write: then
//! the log may be cut there, and only then. Otherwise each loss is told, and is of the frames that were
//! struck. What each strike left is read from the image itself, by the format's document alone.

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

type Image = BTreeMap<String, Vec<u8>>;

/// One round. With `again` a slot may be struck more than once, and best where the log ends: a frame may go
/// with all that spoke of it, and is excused then.
pub(crate) fn strike(
    sim: &Sim,
    first: &mut Dice,
    again: Option<&mut Dice>,
    world: &World,
    menu: Menu,
) -> u32 {
    let disk = sim.disk();
    let image = || -> Image {
        let bytes = |path: &String| disk.durable_bytes(path).expect("a listed file can be read");
        let paths = disk.paths().into_iter();
        paths.map(|path| (path.clone(), bytes(&path))).collect()
    };
    let before = image();
    let mut strikes = strike_once_each(sim, first);
    let is_again = again.is_some();
    if let Some(dice) = again {
        strikes += strike_again(sim, dice, world, &before);
    }
    let after = image();
    let (frames, mark) = frames(world, &before, &after);
    let mut judge = world.judge.borrow_mut();
    let broken = frames.iter().filter(|frame| !frame.is_whole);
    let spreads = before
        .iter()
        .any(|(path, was)| spreads(world, was, &after[path]));
    judge.strike(broken.flat_map(Frame::records), spreads);
    if is_again && menu != Menu::NothingExcused {
        let lost = cut(&frames, mark);
        if is_verbose() && !lost.is_empty() {
            eprintln!("rot: {} records may be cut", lost.len());
        }
        judge.excuse(lost);
        judge.excuse_all(nameless(world, &frames, &before, &after));
    }
    strikes
}

/// Bits and sectors of some slots, each struck once, so that something tells of each.
fn strike_once_each(sim: &Sim, dice: &mut Dice) -> u32 {
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

fn strike_again(sim: &Sim, dice: &mut Dice, world: &World, image: &Image) -> u32 {
    let places = places(world, image);
    let segment = |position: u64| position / world.identity.segment_bytes;
    let Some(newest) = places.iter().map(|place| segment(place.0)).max() else {
        return 0;
    };
    let last: Vec<_> = places
        .iter()
        .filter(|place| segment(place.0) == newest)
        .collect();
    let strikes = dice.between(2, 4) as u32;
    for _ in 0..strikes {
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
fn places<'a>(world: &World, image: &'a Image) -> Vec<Place<'a>> {
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
    /// Its header and directory still verify.
    is_named: bool,
    /// All of it still verifies.
    is_whole: bool,
    /// Everything below this is marked as durable for its segment.
    marked: u64,
}

impl Frame {
    fn end(&self) -> u64 {
        self.header.position.0 + u64::from(self.header.frame_bytes)
    }

    fn records(&self) -> impl Iterator<Item = (ShardId, Offset)> {
        self.directory.iter().flat_map(|entry| {
            let (shard, first) = (entry.shard, entry.first_offset.get());
            let numbers = first..first + u64::from(entry.records.0);
            numbers.map(move |number| (shard, Offset::new(number).expect("offsets are small here")))
        })
    }
}

/// All frames of the image before, with what became of them, and the highest mark that is left.
fn frames(world: &World, before: &Image, after: &Image) -> (Vec<Frame>, u64) {
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
                is_named: found.is_some(),
                is_whole: found.is_some() && all_verify(batches, &directory),
                directory,
                marked: if is_recorded { u64::MAX } else { 0 },
            });
        }
    }
    (frames, mark)
}

/// The records that a recovery may take for the torn end of the log: those from the first broken frame
/// on that no mark covers.
fn cut(frames: &[Frame], mark: u64) -> Vec<(ShardId, Offset)> {
    let torn = |frame: &&Frame| !frame.is_whole && frame.end() > frame.marked.max(mark);
    let Some(from) = frames.iter().filter(torn).map(|f| f.header.position).min() else {
        return Vec::new();
    };
    let gone = frames.iter().filter(|frame| frame.header.position >= from);
    gone.flat_map(Frame::records).collect()
}

/// Shards that nothing left in the log names: recovery tells of a gap for the shards it knows. Where every header and footer was struck and every frame that named a shard, it knows nothing of it.
fn nameless(world: &World, frames: &[Frame], before: &Image, after: &Image) -> Vec<ShardId> {
    let footer_at = field(weir_log::layout_of_trailer(), "file offset of the footer");
    let keeps_a_table = before.iter().any(|(path, was)| {
        let (is, last) = (&after[path], was.len() - BLOCK);
        let header = was[..BLOCK] == is[..BLOCK] && &is[..4] == b"WRS1";
        let footer = &was[last..last + 4] == b"WRT1" && {
            let from = (u64_at(was, last + footer_at) as usize).min(last);
            was[from..] == is[from..]
        };
        generation_of(world, was).is_some() && (header || footer)
    });
    if keeps_a_table {
        return Vec::new();
    }
    let left = frames.iter().filter(|frame| frame.is_named);
    let named: BTreeSet<ShardId> = left
        .flat_map(|frame| frame.directory.iter().map(|entry| entry.shard))
        .collect();
    let all = world.shards.iter().map(|(shard, _)| *shard);
    all.filter(|shard| !named.contains(shard)).collect()
}

/// Whether a slot was struck where it says of others where they lie: its header, footer or trailer, or
/// anywhere if it was settled. A footer that is lost takes a whole segment with it until an operator
/// has it made anew.
fn spreads(world: &World, was: &[u8], is: &[u8]) -> bool {
    let kind = field(weir_log::layout_of_header(), "kind");
    let is_settled = &was[..4] == b"WRS1" && u16_at(was, kind) == 2;
    let Some(generation) = generation_of(world, was) else {
        return is_settled && was != is;
    };
    let frames = frames_of(world, generation, was);
    let end = |(at, header, _): &(usize, FrameHeader, _)| at + header.frame_bytes as usize;
    let from = frames.first().map_or(was.len(), |(at, ..)| *at);
    let until = frames.last().map_or(0, end);
    (0..was.len()).any(|at| was[at] != is[at] && !(from..until).contains(&at))
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
