//! Batches: those that a stranger made, and those that the builder makes of any records.

use weir_protocol::batch::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, BatchView, ProducerMark, field, stamp,
};
use weir_protocol::checksum;
use weir_protocol::limits::{PARTITION_KEY_CHARS_MAX, RECORD_BYTES_MAX};
use weir_protocol::model::{Count, Offset, ShardId, ShardIndex, StreamId, Timestamp};

const MENDED: u8 = 1;
const BUILT: u8 = 2;

/// The first byte says whether the rest is a batch, one whose checksums are to be mended, or records
/// for the builder.
pub(crate) fn check(data: &[u8]) {
    let Some((&switches, rest)) = data.split_first() else {
        return;
    };
    if switches & BUILT != 0 {
        built(rest);
        return;
    }
    let mut bytes = rest.to_vec();
    if switches & MENDED != 0 {
        mend(&mut bytes);
    }
    if let Ok(view) = BatchView::decode(&bytes) {
        is_sound(&view, RECORD_BYTES_MAX);
        stamped(&view);
    }
}

/// Makes the lengths and checksums true, and leaves everything else.
fn mend(bytes: &mut [u8]) {
    let Some((header, payload)) = bytes.split_at_mut_checked(BATCH_HEADER_BYTES) else {
        return;
    };
    let length = (payload.len() as u32).to_le_bytes();
    header[field::PAYLOAD_BYTES..field::PAYLOAD_BYTES + 4].copy_from_slice(&length);
    let crc = checksum::crc(payload).to_le_bytes();
    header[field::PAYLOAD_CRC..field::PAYLOAD_CRC + 4].copy_from_slice(&crc);
    header[field::HEADER_CRC..field::HEADER_CRC + 4].fill(0);
    let crc = checksum::crc(header).to_le_bytes();
    header[field::HEADER_CRC..field::HEADER_CRC + 4].copy_from_slice(&crc);
}

/// What holds of every batch that decodes.
pub(crate) fn is_sound(view: &BatchView<'_>, record_bytes_max: u32) {
    let header = view.header;
    assert!(header.records > Count(0));
    assert!(header.next_offset() > header.first_offset);
    assert_eq!(header.batch_bytes(), view.as_bytes().len());
    assert_eq!(BatchHeader::decode(view.as_bytes()), Ok(header));
    let inside: usize = view.records().map(|r| r.key.len() + r.data.len() + 8).sum();
    assert!(inside <= view.payload().len());
    if view.check_records(record_bytes_max).is_err() {
        return;
    }
    assert_eq!(inside, view.payload().len(), "records fill the payload");
    assert_eq!(view.records().count(), header.records.0 as usize);
    let weight: usize = view.records().map(|r| r.key.len() + r.data.len()).sum();
    assert_eq!(header.weight(), weight as u64);
    for record in view.records() {
        let key = std::str::from_utf8(record.key).expect("a key is text");
        assert!(key.chars().count() <= PARTITION_KEY_CHARS_MAX);
        assert!(record.key.len() + record.data.len() <= record_bytes_max as usize);
    }
}

/// A stamp changes three fields and no more, and another bit makes it no batch.
fn stamped(view: &BatchView<'_>) {
    let mut bytes = view.as_bytes().to_vec();
    let (first, arrival) = (
        Offset::new(77).expect("it is small"),
        Timestamp::from_millis(5),
    );
    let crc = stamp(&mut bytes, first, arrival);
    let again = BatchView::decode(&bytes).expect("a stamped batch is a batch");
    let expected = BatchHeader {
        first_offset: first,
        arrival,
        header_crc: crc,
        ..view.header
    };
    assert_eq!(again.header, expected);
    assert_eq!(again.payload(), view.payload());
    let bit = view.header.payload_crc as usize % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    assert!(BatchView::decode(&bytes).is_err(), "bit {bit} was flipped");
}

/// Lines are records: a key, a colon, data.
fn built(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let records: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.chars().count() <= PARTITION_KEY_CHARS_MAX)
        .collect();
    if records.is_empty() {
        return;
    }
    let mut bytes = b"before".to_vec();
    let shard = ShardId::new(StreamId::new(9), ShardIndex(2));
    let mark = ProducerMark {
        producer: 3,
        sequence: 4,
    };
    let mut builder = BatchBuilder::new(&mut bytes, shard, 5, mark);
    for (key, data) in &records {
        builder
            .push(key, data.as_bytes())
            .expect("a few lines have room");
    }
    builder.finish();
    let view = BatchView::decode(&bytes[6..]).expect("what was built decodes");
    assert_eq!((view.header.shard, view.header.map_version), (shard, 5));
    assert_eq!(view.check_records(RECORD_BYTES_MAX), Ok(()));
    is_sound(&view, RECORD_BYTES_MAX);
    let found: Vec<_> = view.records().map(|r| (r.key, r.data)).collect();
    let expected: Vec<_> = records
        .iter()
        .map(|(key, data)| (key.as_bytes(), data.as_bytes()))
        .collect();
    assert_eq!(found, expected);
    stamped(&view);
}

#[cfg(test)]
pub(crate) fn sample(records: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
    let mut builder = BatchBuilder::new(&mut bytes, shard, 1, ProducerMark::default());
    for i in 0..records {
        let data = vec![b'd'; i as usize * 7];
        builder.push(&format!("key{i}"), &data).unwrap();
    }
    builder.finish();
    bytes
}

#[cfg(test)]
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let with = |switches: u8, bytes: &[u8]| [&[switches], bytes].concat();
    let mut last_offset = sample(2);
    last_offset[field::FIRST_OFFSET..field::FIRST_OFFSET + 8]
        .copy_from_slice(&((1_u64 << 48) - 1).to_le_bytes());
    vec![
        ("one".into(), with(0, &sample(1))),
        ("three".into(), with(0, &sample(3))),
        ("cut".into(), with(0, &sample(3)[..90])),
        ("mended".into(), with(MENDED, &sample(5))),
        ("mended_cut".into(), with(MENDED, &sample(5)[..100])),
        ("past_the_last_offset".into(), with(MENDED, &last_offset)),
        ("built".into(), with(BUILT, b"key:data\n:no key\nk:\n")),
    ]
}
