//! Records that say what they are: each can be checked alone, without knowing who sent it.
//!
//! Data is the number of its batch, its place there, the batch's length and its own, then bytes
//! that follow from the first two.

use std::ops::RangeInclusive;

use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::ShardId;

const HEAD_BYTES: usize = 20;

/// How large batches and records are; both are drawn evenly.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) records: RangeInclusive<u32>,
    /// Data bytes of a record, at least 20.
    pub(crate) bytes: RangeInclusive<usize>,
}

/// What a record says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) batch: u64,
    pub(crate) index: u32,
    pub(crate) records: u32,
}

/// A well mixed function of its input (Steele, Lea and Flood's `SplitMix64`).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn draw(number: u64, range: &RangeInclusive<u64>) -> u64 {
    range.start() + mix(number) % (range.end() - range.start() + 1)
}

fn write(content: Content, out: &mut [u8]) {
    let bytes = out.len() as u32;
    let (head, rest) = out.split_at_mut(HEAD_BYTES);
    head[0..8].copy_from_slice(&content.batch.to_le_bytes());
    head[8..12].copy_from_slice(&content.index.to_le_bytes());
    head[12..16].copy_from_slice(&content.records.to_le_bytes());
    head[16..20].copy_from_slice(&bytes.to_le_bytes());
    let mut state = mix(content.batch) ^ u64::from(content.index);
    for part in rest.chunks_mut(8) {
        state = mix(state);
        part.copy_from_slice(&state.to_le_bytes()[..part.len()]);
    }
}

/// Appends batch number `batch` for `shard` to `out`; how many records it has.
pub(crate) fn fill(out: &mut Vec<u8>, shard: ShardId, map: u32, batch: u64, shape: &Shape) -> u32 {
    let range = u64::from(*shape.records.start())..=u64::from(*shape.records.end());
    let records = draw(batch, &range) as u32;
    let bytes = *shape.bytes.start() as u64..=*shape.bytes.end() as u64;
    let mut builder = BatchBuilder::new(out, shard, map, ProducerMark::default());
    for index in 0..records {
        let bytes = draw(batch.rotate_left(20) ^ u64::from(index), &bytes) as usize;
        let content = Content {
            batch,
            index,
            records,
        };
        let key = format!("key-{:02}", (batch ^ u64::from(index)) % 100);
        builder
            .push_with(&key, bytes, |data| write(content, data))
            .expect("a test's batch fits");
    }
    builder.finish();
    records
}

/// Reads a record and checks every byte of it. The error says what is wrong.
pub(crate) fn parse(data: &[u8]) -> Result<Content, String> {
    let Some((head, _)) = data.split_at_checked(HEAD_BYTES) else {
        return Err(format!("a record of {} bytes is not ours", data.len()));
    };
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let content = Content {
        batch: u64::from_le_bytes(head[0..8].try_into().expect("eight bytes")),
        index: number(8),
        records: number(12),
    };
    let mut expected = vec![0; data.len()];
    write(content, &mut expected);
    if expected == data {
        Ok(content)
    } else {
        Err(format!("damaged record, it says {content:?}"))
    }
}
