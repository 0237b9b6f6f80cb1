//! The first blocks of a segment: what the slot holds, and where each shard stood before it.

use weir_protocol::bytes::{u16_at, u32_at, u64_at};
use weir_protocol::checksum;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{LogId, Offset, Position, ShardId, ShardIndex, StreamId, Timestamp};

use super::blocks;
use crate::settings::FolderIdentity;

/// First four bytes of a segment, "WRS1".
const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"WRS1");
/// The segment layout that this code writes.
const SEGMENT_VERSION: u16 = 1;

mod field {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = MAGIC + 4;
    pub(super) const KIND: usize = VERSION + 2;
    pub(super) const FOLDER: usize = KIND + 2;
    pub(super) const LOG: usize = FOLDER + 8;
    pub(super) const ENTRIES: usize = LOG + 4;
    pub(super) const GENERATION: usize = ENTRIES + 4;
    pub(super) const ORDINAL: usize = GENERATION + 8;
    pub(super) const INCARNATION: usize = ORDINAL + 8;
    pub(super) const SEGMENT_BYTES: usize = INCARNATION + 8;
    pub(super) const PREVIOUS_END: usize = SEGMENT_BYTES + 8;
    pub(super) const DURABLE_MARK: usize = PREVIOUS_END + 8;
    pub(super) const TABLE_CRC: usize = DURABLE_MARK + 8;
    pub(super) const HEADER_CRC: usize = TABLE_CRC + 4;
    pub(super) const END: usize = HEADER_CRC + 4;
}

const START_ENTRY_BYTES: usize = 28;

/// Fields of the segment header as (offset, bytes, name), and its length: for the document's test.
pub fn layout() -> (Vec<(usize, usize, &'static str)>, usize) {
    let fields = vec![
        (field::MAGIC, 4, "magic \"WRS1\""),
        (field::VERSION, 2, "version, 1"),
        (field::KIND, 2, "kind: 1 log, 2 settled, 3 void"),
        (field::FOLDER, 8, "folder"),
        (field::LOG, 4, "log"),
        (field::ENTRIES, 4, "entries of the start table"),
        (field::GENERATION, 8, "generation"),
        (field::ORDINAL, 8, "ordinal"),
        (field::INCARNATION, 8, "incarnation"),
        (field::SEGMENT_BYTES, 8, "segment bytes"),
        (
            field::PREVIOUS_END,
            8,
            "log position where the segment before ends",
        ),
        (field::DURABLE_MARK, 8, "durable mark when this was written"),
        (field::TABLE_CRC, 4, "CRC-32C of the start table"),
        (field::HEADER_CRC, 4, "CRC-32C of the bytes above"),
    ];
    (fields, field::END)
}

/// Fields of a start table entry as (offset, bytes, name), and its length: for the document's test.
pub fn start_layout() -> (Vec<(usize, usize, &'static str)>, usize) {
    let fields = vec![
        (0, 8, "stream"),
        (8, 4, "shard"),
        (12, 8, "its next offset"),
        (20, 8, "its last arrival time, ms"),
    ];
    (fields, START_ENTRY_BYTES)
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// Commit frames, as they were appended.
    Log,
    /// Live batches of older segments, clustered by shard.
    Settled,
    /// Nothing: what the slot held was cut off. Its generation stays used.
    Void,
}

/// Where a shard stood when the segment was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartEntry {
    pub(crate) shard: ShardId,
    pub(crate) next: Offset,
    pub(crate) last_arrival: Timestamp,
}

/// The header without its start table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) kind: SegmentKind,
    pub(crate) folder: u64,
    pub(crate) log: LogId,
    pub(crate) entries: u32,
    /// Never reused in its log.
    pub(crate) generation: u64,
    /// Log position of byte 0, divided by the segment size. Of the last input in a settled segment.
    pub(crate) ordinal: u64,
    pub(crate) incarnation: u64,
    pub(crate) segment_bytes: u64,
    /// Where the log's previous segment ends: nothing behind it there counts.
    pub(crate) previous_end: Position,
    pub(crate) durable_mark: Position,
    pub(crate) table_crc: u32,
}

/// Length of a header with `entries` of the start table, in whole blocks.
pub(crate) const fn header_bytes(entries: usize) -> usize {
    blocks(field::END + entries * START_ENTRY_BYTES)
}

impl SegmentHeader {
    /// Writes header and start table; fills `entries` and `table_crc` in from the table.
    pub(crate) fn encode(mut self, table: &[StartEntry]) -> Vec<u8> {
        let mut out = vec![0; header_bytes(table.len())];
        for (entry, at) in table
            .iter()
            .zip(out[field::END..].chunks_exact_mut(START_ENTRY_BYTES))
        {
            at[0..8].copy_from_slice(&entry.shard.stream.get().to_le_bytes());
            at[8..12].copy_from_slice(&entry.shard.index.0.to_le_bytes());
            at[12..20].copy_from_slice(&entry.next.get().to_le_bytes());
            at[20..28].copy_from_slice(&entry.last_arrival.as_millis().to_le_bytes());
        }
        self.entries = table.len() as u32;
        self.table_crc =
            checksum::crc(&out[field::END..field::END + table.len() * START_ENTRY_BYTES]);
        let kind: u16 = match self.kind {
            SegmentKind::Log => 1,
            SegmentKind::Settled => 2,
            SegmentKind::Void => 3,
        };
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(field::MAGIC, &SEGMENT_MAGIC.to_le_bytes());
        put(field::VERSION, &SEGMENT_VERSION.to_le_bytes());
        put(field::KIND, &kind.to_le_bytes());
        put(field::FOLDER, &self.folder.to_le_bytes());
        put(field::LOG, &self.log.0.to_le_bytes());
        put(field::ENTRIES, &self.entries.to_le_bytes());
        put(field::GENERATION, &self.generation.to_le_bytes());
        put(field::ORDINAL, &self.ordinal.to_le_bytes());
        put(field::INCARNATION, &self.incarnation.to_le_bytes());
        put(field::SEGMENT_BYTES, &self.segment_bytes.to_le_bytes());
        put(field::PREVIOUS_END, &self.previous_end.0.to_le_bytes());
        put(field::DURABLE_MARK, &self.durable_mark.0.to_le_bytes());
        put(field::TABLE_CRC, &self.table_crc.to_le_bytes());
        let crc = checksum::crc(&out[..field::HEADER_CRC]);
        out[field::HEADER_CRC..field::END].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the front of a segment's first block; `None` if none is there, as in a
    /// slot that was never used or whose header is damaged.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        if block.len() < field::END
            || u32_at(block, field::MAGIC) != SEGMENT_MAGIC
            || u32_at(block, field::HEADER_CRC) != checksum::crc(&block[..field::HEADER_CRC])
            || u16_at(block, field::VERSION) != SEGMENT_VERSION
        {
            return None;
        }
        Some(Self {
            kind: match u16_at(block, field::KIND) {
                1 => SegmentKind::Log,
                2 => SegmentKind::Settled,
                3 => SegmentKind::Void,
                _ => return None,
            },
            folder: u64_at(block, field::FOLDER),
            log: LogId(u32_at(block, field::LOG)),
            entries: u32_at(block, field::ENTRIES),
            generation: u64_at(block, field::GENERATION),
            ordinal: u64_at(block, field::ORDINAL),
            incarnation: u64_at(block, field::INCARNATION),
            segment_bytes: u64_at(block, field::SEGMENT_BYTES),
            previous_end: Position(u64_at(block, field::PREVIOUS_END)),
            durable_mark: Position(u64_at(block, field::DURABLE_MARK)),
            table_crc: u32_at(block, field::TABLE_CRC),
        })
    }

    /// The first block of a slot whose segment was cut off.
    pub(crate) fn void(
        identity: FolderIdentity,
        log: LogId,
        generation: u64,
        ordinal: u64,
    ) -> Vec<u8> {
        let header = Self {
            kind: SegmentKind::Void,
            folder: identity.folder,
            log,
            entries: 0,
            generation,
            ordinal,
            incarnation: 0,
            segment_bytes: identity.segment_bytes,
            previous_end: Position(0),
            durable_mark: Position(0),
            table_crc: 0,
        };
        header.encode(&[])
    }

    /// Its numbers can be reckoned with: nothing overflows, the start table lies inside, and the
    /// segment before ends where this one's bytes begin, or earlier.
    pub(crate) fn is_possible(&self) -> bool {
        let base = self.ordinal.checked_mul(self.segment_bytes);
        let end = base.and_then(|base| base.checked_add(self.segment_bytes));
        end.is_some()
            && self.bytes() as u64 <= self.segment_bytes
            && base.is_some_and(|base| self.previous_end.0 <= base)
            && self.generation < u64::MAX
    }

    /// Length of header and start table in whole blocks.
    pub(crate) fn bytes(&self) -> usize {
        header_bytes(self.entries as usize)
    }

    /// Reads the start table from the segment's first [`Self::bytes`]; `None` if it is damaged.
    pub(crate) fn table(&self, bytes: &[u8]) -> Option<Vec<StartEntry>> {
        let end = field::END + self.entries as usize * START_ENTRY_BYTES;
        let table = bytes.get(field::END..end)?;
        if checksum::crc(table) != self.table_crc {
            return None;
        }
        table
            .chunks_exact(START_ENTRY_BYTES)
            .map(|at| {
                Some(StartEntry {
                    shard: ShardId::new(StreamId::new(u64_at(at, 0)), ShardIndex(u32_at(at, 8))),
                    next: Offset::new(u64_at(at, 12))?,
                    last_arrival: Timestamp::from_millis(u64_at(at, 20)),
                })
            })
            .collect()
    }
}

const _: () = assert!(field::END + START_ENTRY_BYTES <= BLOCK_BYTES as usize);
