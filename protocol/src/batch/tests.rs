//! What goes in comes out; damage and lies are seen.

use super::*;
use crate::checksum;
use crate::limits::BATCH_RECORDS_MAX;
use crate::model::{Offset, ShardId, ShardIndex, StreamId, Timestamp};
use proptest::prelude::*;

fn shard() -> ShardId {
    ShardId::new(StreamId::new(7), ShardIndex(3))
}

fn build(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mark = ProducerMark {
        producer: 5,
        sequence: 6,
    };
    let mut batch = BatchBuilder::new(&mut out, shard(), 9, mark);
    for (key, data) in records {
        batch.push(key, data).unwrap();
    }
    batch.finish();
    out
}

#[test]
fn what_goes_in_comes_out() {
    let mut bytes = build(&[("a", b"one"), ("b", b""), ("ü", b"three")]);
    stamp(
        &mut bytes,
        Offset::new(41).unwrap(),
        Timestamp::from_millis(1234),
    );
    bytes.extend_from_slice(b"what follows is not ours");
    let view = BatchView::decode(&bytes).unwrap();
    view.check_records(1024).unwrap();
    assert_eq!(view.header.shard, shard());
    assert_eq!(view.header.map_version, 9);
    assert_eq!(view.header.next_offset().get(), 44);
    assert_eq!(view.header.arrival.as_millis(), 1234);
    assert_eq!(view.header.weight(), 1 + 3 + 1 + 2 + 5);
    let records: Vec<_> = view.records().map(|r| (r.key, r.data)).collect();
    let expected: [(&[u8], &[u8]); 3] = [(b"a", b"one"), (b"b", b""), ("ü".as_bytes(), b"three")];
    assert_eq!(records, expected);
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = build(&[("key", b"some data"), ("k2", b"x")]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(BatchView::decode(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn every_cut_is_seen() {
    let bytes = build(&[("key", b"some data")]);
    for length in 0..bytes.len() {
        assert!(
            BatchView::decode(&bytes[..length]).is_err(),
            "{length} bytes"
        );
    }
}

/// Rewrites the checksums, as a malicious producer would.
fn reseal(bytes: &mut [u8]) {
    let crc = checksum::crc(&bytes[BATCH_HEADER_BYTES..]);
    bytes[field::PAYLOAD_CRC..field::PAYLOAD_CRC + 4].copy_from_slice(&crc.to_le_bytes());
    stamp(bytes, Offset::ZERO, Timestamp::ZERO);
}

#[test]
fn a_producers_lies_are_refused_at_admission() {
    let check = |bytes: &[u8]| BatchView::decode(bytes).and_then(|b| b.check_records(100));
    let honest = build(&[("key", b"some data"), ("k2", b"x")]);
    check(&honest).unwrap();

    let mut miscounted = honest.clone();
    miscounted[field::RECORDS] = 3;
    reseal(&mut miscounted);
    assert_eq!(
        check(&miscounted),
        Err(BatchError::RecordMiscount {
            claimed: 3,
            found: 2
        })
    );

    let mut overrun = honest.clone();
    overrun[BATCH_HEADER_BYTES] = 200;
    reseal(&mut overrun);
    assert_eq!(
        check(&overrun),
        Err(BatchError::RecordOverrun { record: 0 })
    );

    let mut no_utf8 = honest.clone();
    no_utf8[BATCH_HEADER_BYTES + RECORD_HEADER_BYTES] = 0xff;
    reseal(&mut no_utf8);
    assert_eq!(
        check(&no_utf8),
        Err(BatchError::PartitionKey {
            record: 0,
            bytes: 3
        })
    );

    let mut future = honest.clone();
    future[field::ATTRIBUTES] = 1;
    reseal(&mut future);
    assert_eq!(
        check(&future),
        Err(BatchError::Attributes {
            codec: 0,
            attributes: 1
        })
    );

    let long = build(&[("k", &[0; 100])]);
    assert_eq!(
        check(&long),
        Err(BatchError::RecordTooLong {
            record: 0,
            bytes: 101,
            limit: 100
        })
    );
    // A record without a key is none: streams may spread their records themselves.
    assert_eq!(check(&build(&[("", b"x")])), Ok(()));
}

#[test]
fn a_full_batch_says_so() {
    let mut out = Vec::new();
    let mut batch = BatchBuilder::new(&mut out, shard(), 0, ProducerMark::default());
    for _ in 0..BATCH_RECORDS_MAX {
        batch.push("k", b"").unwrap();
    }
    assert_eq!(batch.push("k", b""), Err(BatchFull));
    batch.finish();
    BatchView::decode(&out)
        .unwrap()
        .check_records(1024)
        .unwrap();
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_value_or_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        honest_magic in any::<bool>(),
    ) {
        if honest_magic && bytes.len() >= BATCH_HEADER_BYTES {
            bytes[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
            bytes[4..8].copy_from_slice(&[1, 0, 0, 0]);
            stamp(&mut bytes, Offset::ZERO, Timestamp::ZERO);
        }
        if let Ok(view) = BatchView::decode_unverified(&bytes) {
            let _ = view.check_records(1000);
            let _ = view.records().count();
        }
    }
}
