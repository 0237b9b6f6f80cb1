//! The last block of a segment: says that it is sealed, where it ends, and where its footer lies.

use weir_protocol::bytes::{u16_at, u32_at, u64_at};
use weir_protocol::checksum;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{LogId, Position, Timestamp};

/// First four bytes of a trailer, "WRT1".
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"WRT1");
/// The trailer layout that this code writes.
const TRAILER_VERSION: u16 = 1;
/// Length of the trailer: the file's last block.
pub(crate) const TRAILER_BYTES: usize = BLOCK_BYTES as usize;
/// The server stopped in good order after this segment: nothing was lost, no epoch rises.
const FLAG_CLEAN: u16 = 1;

mod field {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = MAGIC + 4;
    pub(super) const FLAGS: usize = VERSION + 2;
    pub(super) const FOLDER: usize = FLAGS + 2;
    pub(super) const LOG: usize = FOLDER + 8;
    pub(super) const SHARDS: usize = LOG + 4;
    pub(super) const GENERATION: usize = SHARDS + 4;
    pub(super) const INCARNATION: usize = GENERATION + 8;
    pub(super) const END_POSITION: usize = INCARNATION + 8;
    pub(super) const NEXT_GENERATION: usize = END_POSITION + 8;
    pub(super) const FOOTER_AT: usize = NEXT_GENERATION + 8;
    pub(super) const BATCHES: usize = FOOTER_AT + 8;
    pub(super) const HOLES: usize = BATCHES + 4;
    pub(super) const NEWEST: usize = HOLES + 4;
    pub(super) const BATCH_BYTES: usize = NEWEST + 8;
    pub(super) const FOOTER_CRC: usize = BATCH_BYTES + 8;
    pub(super) const TRAILER_CRC: usize = FOOTER_CRC + 4;
    pub(super) const END: usize = TRAILER_CRC + 4;
}

/// Fields of the trailer as (offset, bytes, name): for the document's test.
pub fn layout() -> (Vec<(usize, usize, &'static str)>, usize) {
    let fields = vec![
        (field::MAGIC, 4, "magic \"WRT1\""),
        (field::VERSION, 2, "version, 1"),
        (field::FLAGS, 2, "flags: 1 sealed by a clean stop"),
        (field::FOLDER, 8, "folder"),
        (field::LOG, 4, "log"),
        (field::SHARDS, 4, "shards in the footer"),
        (field::GENERATION, 8, "generation"),
        (field::INCARNATION, 8, "incarnation that sealed it"),
        (
            field::END_POSITION,
            8,
            "log position where the segment ends",
        ),
        (
            field::NEXT_GENERATION,
            8,
            "after a cut: least generation that may follow; else 0",
        ),
        (field::FOOTER_AT, 8, "file offset of the footer"),
        (field::BATCHES, 4, "batches in the footer"),
        (field::HOLES, 4, "holes in the footer"),
        (field::NEWEST, 8, "newest arrival time in the segment, ms"),
        (field::BATCH_BYTES, 8, "bytes of batches in the segment"),
        (field::FOOTER_CRC, 4, "CRC-32C of the footer"),
        (field::TRAILER_CRC, 4, "CRC-32C of the bytes above"),
    ];
    (fields, field::END)
}

/// The trailer of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) clean: bool,
    pub(crate) folder: u64,
    pub(crate) log: LogId,
    pub(crate) shards: u32,
    pub(crate) generation: u64,
    pub(crate) incarnation: u64,
    pub(crate) end: Position,
    /// Segments behind this one with a lower generation were cut off.
    pub(crate) next_generation: u64,
    pub(crate) footer_at: u64,
    pub(crate) batches: u32,
    pub(crate) holes: u32,
    pub(crate) newest: Timestamp,
    pub(crate) batch_bytes: u64,
    pub(crate) footer_crc: u32,
}

impl Trailer {
    /// A trailer to be filled in.
    pub(crate) fn blank() -> Self {
        Self {
            clean: false,
            folder: 0,
            log: LogId(0),
            shards: 0,
            generation: 0,
            incarnation: 0,
            end: Position(0),
            next_generation: 0,
            footer_at: 0,
            batches: 0,
            holes: 0,
            newest: Timestamp::ZERO,
            batch_bytes: 0,
            footer_crc: 0,
        }
    }

    /// The block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; TRAILER_BYTES];
        let flags = if self.clean { FLAG_CLEAN } else { 0 };
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(field::MAGIC, &TRAILER_MAGIC.to_le_bytes());
        put(field::VERSION, &TRAILER_VERSION.to_le_bytes());
        put(field::FLAGS, &flags.to_le_bytes());
        put(field::FOLDER, &self.folder.to_le_bytes());
        put(field::LOG, &self.log.0.to_le_bytes());
        put(field::SHARDS, &self.shards.to_le_bytes());
        put(field::GENERATION, &self.generation.to_le_bytes());
        put(field::INCARNATION, &self.incarnation.to_le_bytes());
        put(field::END_POSITION, &self.end.0.to_le_bytes());
        put(field::NEXT_GENERATION, &self.next_generation.to_le_bytes());
        put(field::FOOTER_AT, &self.footer_at.to_le_bytes());
        put(field::BATCHES, &self.batches.to_le_bytes());
        put(field::HOLES, &self.holes.to_le_bytes());
        put(field::NEWEST, &self.newest.as_millis().to_le_bytes());
        put(field::BATCH_BYTES, &self.batch_bytes.to_le_bytes());
        put(field::FOOTER_CRC, &self.footer_crc.to_le_bytes());
        let crc = checksum::crc(&out[..field::TRAILER_CRC]);
        out[field::TRAILER_CRC..field::END].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the block; `None` if the segment is not sealed, or its trailer is damaged.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        if block.len() < field::END
            || u32_at(block, field::MAGIC) != TRAILER_MAGIC
            || u32_at(block, field::TRAILER_CRC) != checksum::crc(&block[..field::TRAILER_CRC])
            || u16_at(block, field::VERSION) != TRAILER_VERSION
        {
            return None;
        }
        Some(Self {
            clean: u16_at(block, field::FLAGS) & FLAG_CLEAN != 0,
            folder: u64_at(block, field::FOLDER),
            log: LogId(u32_at(block, field::LOG)),
            shards: u32_at(block, field::SHARDS),
            generation: u64_at(block, field::GENERATION),
            incarnation: u64_at(block, field::INCARNATION),
            end: Position(u64_at(block, field::END_POSITION)),
            next_generation: u64_at(block, field::NEXT_GENERATION),
            footer_at: u64_at(block, field::FOOTER_AT),
            batches: u32_at(block, field::BATCHES),
            holes: u32_at(block, field::HOLES),
            newest: Timestamp::from_millis(u64_at(block, field::NEWEST)),
            batch_bytes: u64_at(block, field::BATCH_BYTES),
            footer_crc: u32_at(block, field::FOOTER_CRC),
        })
    }

    /// Its numbers can be reckoned with: nothing overflows, and the footer lies inside.
    pub(crate) fn is_possible(&self, segment_bytes: u64) -> bool {
        self.end.0 <= u64::MAX - segment_bytes
            && self.generation < u64::MAX
            && self.next_generation < u64::MAX
            && super::Footer::length(self, segment_bytes).is_some()
    }
}
