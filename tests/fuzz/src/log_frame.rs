//! Commit frames, as recovery meets them at any block of a segment.

use weir_protocol::checksum;
use weir_protocol::frame::{
    DIRECTORY_ENTRY_BYTES, FRAME_HEADER_BYTES, FrameHeader, field, frame_bytes,
};
use weir_protocol::limits::{BLOCK_BYTES, FRAME_BYTES_MAX};

const MENDED: u8 = 1;

/// The first byte says whether the checksums of what follows are to be mended.
pub(crate) fn check(data: &[u8]) {
    let Some((&switches, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if switches & MENDED != 0 {
        mend(&mut bytes);
    }
    let Ok(header) = FrameHeader::decode(&bytes) else {
        return;
    };
    assert!(header.frame_bytes <= FRAME_BYTES_MAX);
    assert!(header.frame_bytes.is_multiple_of(BLOCK_BYTES));
    let mut again = vec![0; FRAME_HEADER_BYTES];
    header.encode(&mut again);
    assert_eq!(again, bytes[..FRAME_HEADER_BYTES]);
    let Ok(directory) = header.directory(&bytes) else {
        return;
    };
    assert_eq!(directory.len(), header.batches as usize);
    let total: usize = directory.iter().map(|entry| entry.bytes as usize).sum();
    assert_eq!(total, header.batches_bytes as usize);
    assert_eq!(
        frame_bytes(directory.len(), total),
        header.frame_bytes as usize
    );
    let start = FRAME_HEADER_BYTES + total;
    let stored = bytes[start..].chunks_exact(DIRECTORY_ENTRY_BYTES);
    for (entry, stored) in directory.iter().zip(stored) {
        let mut out = [0; DIRECTORY_ENTRY_BYTES];
        entry.encode(&mut out);
        assert_eq!(out, stored);
    }
}

fn mend(bytes: &mut [u8]) {
    if bytes.len() < FRAME_HEADER_BYTES {
        return;
    }
    let number = |at: usize| {
        let field = bytes[at..at + 4].try_into().expect("it is four bytes");
        u32::from_le_bytes(field) as usize
    };
    let start = FRAME_HEADER_BYTES.saturating_add(number(field::BATCHES_BYTES));
    let length = number(field::BATCHES).saturating_mul(DIRECTORY_ENTRY_BYTES);
    if let Some(directory) = bytes.get(start..start.saturating_add(length)) {
        let crc = checksum::crc(directory).to_le_bytes();
        bytes[field::DIRECTORY_CRC..field::HEADER_CRC].copy_from_slice(&crc);
    }
    let crc = checksum::crc(&bytes[..field::HEADER_CRC]).to_le_bytes();
    bytes[field::HEADER_CRC..FRAME_HEADER_BYTES].copy_from_slice(&crc);
}

#[cfg(test)]
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    use weir_protocol::frame::DirectoryEntry;
    use weir_protocol::model::{Count, LogId, Offset, Position, ShardId, ShardIndex, StreamId};

    let frame = |batches: u32, last: bool| {
        let batches_bytes = batches * 100;
        let length = frame_bytes(batches as usize, batches_bytes as usize);
        let mut out = vec![0; length];
        for i in 0..batches {
            let at =
                FRAME_HEADER_BYTES + batches_bytes as usize + i as usize * DIRECTORY_ENTRY_BYTES;
            let entry = DirectoryEntry {
                shard: ShardId::new(StreamId::new(1), ShardIndex(i)),
                bytes: 100,
                first_offset: Offset::ZERO,
                records: Count(3),
                header_crc: 7,
            };
            entry.encode(&mut out[at..at + DIRECTORY_ENTRY_BYTES]);
        }
        let header = FrameHeader {
            last,
            folder: 1,
            log: LogId(0),
            batches,
            generation: 1,
            incarnation: 1,
            position: Position(4096),
            durable_mark: Position(4096),
            frame_bytes: length as u32,
            batches_bytes,
            directory_crc: 0,
        };
        header.encode(&mut out);
        mend(&mut out);
        out
    };
    let with = |switches: u8, bytes: &[u8]| [&[switches], bytes].concat();
    vec![
        (
            "empty".into(),
            with(0, &frame(0, false)[..FRAME_HEADER_BYTES]),
        ),
        (
            "last".into(),
            with(0, &frame(0, true)[..FRAME_HEADER_BYTES]),
        ),
        ("two".into(), with(0, &frame(2, false)[..400])),
        ("cut".into(), with(0, &frame(2, false)[..200])),
        ("mended".into(), with(MENDED, &frame(3, true)[..600])),
    ]
}
