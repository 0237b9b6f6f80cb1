//! A door for fuzzers: a segment's structures on their own, and checksums made true again.
//!
//! Each function panics if the log breaks a promise. Never in a release: the feature `fuzzing` is for
//! `tests/fuzz` alone.

use weir_protocol::bytes::{u32_at, u64_at};
use weir_protocol::checksum;
use weir_protocol::frame::{DIRECTORY_ENTRY_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, field};
use weir_protocol::limits::BLOCK_BYTES;

use crate::segment::{Footer, SegmentHeader, Trailer};

/// Reads bytes as the header, with its start table, and as the trailer and footer of a segment.
pub fn segment(bytes: &[u8]) {
    if let Some(header) = SegmentHeader::decode(bytes) {
        let table = header.table(bytes);
        let again = header.encode(&table.clone().unwrap_or_default());
        if let Some(table) = table {
            let decoded = SegmentHeader::decode(&again).expect("what was encoded decodes");
            assert_eq!(decoded, header);
            assert_eq!(decoded.table(&again), Some(table));
        }
    }
    let block = BLOCK_BYTES as usize;
    let Some(at) = bytes.len().checked_sub(block) else {
        return;
    };
    let Some(trailer) = Trailer::decode(&bytes[at..]) else {
        return;
    };
    assert_eq!(Trailer::decode(&trailer.encode()), Some(trailer));
    let Some(length) = Footer::length(&trailer, bytes.len() as u64) else {
        return;
    };
    let start = trailer.footer_at as usize;
    let Some(footer) = Footer::decode(&trailer, bytes[start..start + length].to_vec()) else {
        return;
    };
    for shard in footer.shards() {
        if let Some(found) = footer.find(shard.shard) {
            assert_eq!(found.shard, shard.shard);
        }
        for index in 0..shard.batches {
            let _next = footer.batch(&shard, index).next();
        }
        let _index = footer.first_batch_where(&shard, |batch| batch.arrival > shard.last_arrival);
    }
    assert_eq!(footer.holes().count(), trailer.holes as usize);
}

/// Makes the checksums true of whatever begins at `at`: a frame, a segment's header or its trailer.
pub fn mend(file: &mut [u8], at: usize) {
    let Some(magic) = file.get(at..at + 4) else {
        return;
    };
    if file.len() - at < FRAME_HEADER_BYTES + 24 {
        return;
    }
    if u32_at(magic, 0) == FRAME_MAGIC {
        mend_frame(&mut file[at..]);
    } else if magic == b"WRS1" {
        let entries = u32_at(file, at + 20) as usize;
        let start = at + 80;
        seal(file, start, entries.saturating_mul(28), at + 72);
        seal(file, at, 76, at + 76);
    } else if magic == b"WRT1" {
        let count = |field: usize| u32_at(file, at + field) as usize;
        let length = crate::segment::footer_bytes(count(20), count(64), count(68));
        let start = usize::try_from(u64_at(file, at + 56)).unwrap_or(usize::MAX);
        seal(file, start, length, at + 88);
        seal(file, at, 92, at + 92);
    }
}

fn mend_frame(frame: &mut [u8]) {
    let start = FRAME_HEADER_BYTES.saturating_add(u32_at(frame, field::BATCHES_BYTES) as usize);
    let length = u32_at(frame, field::BATCHES) as usize * DIRECTORY_ENTRY_BYTES;
    seal(frame, start, length, field::DIRECTORY_CRC);
    seal(frame, 0, field::HEADER_CRC, field::HEADER_CRC);
}

/// Writes the checksum of a range at a place, if the range lies inside.
fn seal(file: &mut [u8], start: usize, length: usize, at: usize) {
    if let Some(range) = file.get(start..start.saturating_add(length)) {
        let crc = checksum::crc(range).to_le_bytes();
        file[at..at + 4].copy_from_slice(&crc);
    }
}
