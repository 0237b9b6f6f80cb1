//! What is sent: frames of one batch whose records prove themselves.
//!
//! Owns: the witness's record layout, and the template that is patched for every send. A record's
//! fill never changes, so its checksum is known; the checksums of a record and of the whole
//! payload are combined from it and from the few bytes that do change. That leaves the kernel's
//! copy as the one pass over the bytes.

use thiserror::Error;
use weir_protocol::batch::{
    BATCH_HEADER_BYTES, BatchBuilder, ProducerMark, RECORD_HEADER_BYTES, field as batch_field,
    stamp,
};
use weir_protocol::bytes::{u32_at, u64_at};
use weir_protocol::checksum;
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_protocol::wire::frame::{
    Correlation, FrameWriter, WIRE_HEADER_BYTES, field as frame_field,
};
use weir_protocol::wire::request::kind;

use crate::args::Shape;
use crate::plan::Random;

/// Bytes of every partition key of a run: one length for all shards keeps every frame alike.
pub(crate) const KEY_BYTES: usize = 16;

/// First four bytes of a record's data, "WLR1".
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"WLR1");

/// Places in a record's data; fill follows.
mod field {
    pub(super) const MAGIC: usize = 0;
    /// CRC-32C of all data bytes behind this field.
    pub(super) const CRC: usize = MAGIC + 4;
    pub(super) const RUN: usize = CRC + 4;
    pub(super) const WRITER: usize = RUN + 8;
    pub(super) const SHARD: usize = WRITER + 4;
    pub(super) const SEQUENCE: usize = SHARD + 4;
    /// Intended send in nanoseconds since 1970.
    pub(super) const INTENDED: usize = SEQUENCE + 8;
    pub(super) const END: usize = INTENDED + 8;
}

/// Bytes of data that the witness needs in each record.
pub(crate) const RECORD_HEAD_BYTES: usize = field::END;

const _: () = assert!(RECORD_HEAD_BYTES == 40);

/// Who sent a record, and as which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) run: u64,
    pub(crate) writer: u32,
    pub(crate) shard: ShardIndex,
    pub(crate) sequence: u64,
}

/// Why data is not a record of a load run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RecordError {
    #[error("its data of {bytes} bytes is no record of a load run")]
    Foreign { bytes: usize },
    #[error("its data has checksum {computed:#010x}, sent was {found:#010x}")]
    Checksum { found: u32, computed: u32 },
}

impl RecordHead {
    /// Reads and verifies a record's data.
    pub(crate) fn decode(data: &[u8]) -> Result<Self, RecordError> {
        if data.len() < RECORD_HEAD_BYTES || u32_at(data, field::MAGIC) != RECORD_MAGIC {
            return Err(RecordError::Foreign { bytes: data.len() });
        }
        let found = u32_at(data, field::CRC);
        let computed = checksum::crc(&data[field::RUN..]);
        if found != computed {
            return Err(RecordError::Checksum { found, computed });
        }
        Ok(Self {
            run: u64_at(data, field::RUN),
            writer: u32_at(data, field::WRITER),
            shard: ShardIndex(u32_at(data, field::SHARD)),
            sequence: u64_at(data, field::SEQUENCE),
        })
    }
}

/// What appending a fixed number of bytes does to a checksum, as four table look-ups. The
/// operation is linear, so the images of the 32 bits decide it.
struct Extension([[u32; 256]; 4]);

impl Extension {
    fn over(bytes: usize) -> Box<Self> {
        let mut tables = [[0_u32; 256]; 4];
        for (place, table) in tables.iter_mut().enumerate() {
            for bit in 0..8 {
                let image = checksum::combine(1 << (place * 8 + bit), 0, bytes);
                for value in (0..256).filter(|value| value >> bit & 1 == 1) {
                    table[value] ^= image;
                }
            }
        }
        Box::new(Self(tables))
    }

    fn apply(&self, crc: u32) -> u32 {
        let [a, b, c, d] = crc.to_le_bytes();
        self.0[0][a as usize]
            ^ self.0[1][b as usize]
            ^ self.0[2][c as usize]
            ^ self.0[3][d as usize]
    }
}

/// What differs from one frame to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Send<'a> {
    pub(crate) correlation: Correlation,
    pub(crate) map_version: u32,
    pub(crate) shard: ShardIndex,
    pub(crate) key: &'a [u8; KEY_BYTES],
    /// Which of the writer's batches under this key it is, from 0.
    pub(crate) batch: u64,
    /// Nanoseconds since 1970.
    pub(crate) intended: u64,
}

const BATCH_AT: usize = WIRE_HEADER_BYTES + 4;
const RECORDS_AT: usize = BATCH_AT + BATCH_HEADER_BYTES;
/// One append frame, and how to make the next one of it.
pub(crate) struct Template {
    shape: Shape,
    bytes: Vec<u8>,
    fill_crcs: Vec<u32>,
    over_fill: Box<Extension>,
    over_record: Box<Extension>,
}

impl Template {
    pub(crate) fn new(shape: Shape, run: u64, seed: u64, stream: StreamId) -> Self {
        let mut bytes = Vec::with_capacity(RECORDS_AT + shape.batch_bytes());
        let mut frame = FrameWriter::start(&mut bytes, kind::APPEND, Correlation(0));
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        frame.bulk(&bytes);
        let anywhere = ShardId::new(stream, ShardIndex(0));
        let mark = ProducerMark::default();
        let mut batch = BatchBuilder::new(&mut bytes, anywhere, 0, mark);
        let key = "0".repeat(KEY_BYTES);
        let mut random = Random::new(seed, u64::MAX);
        let mut data = vec![0; shape.record_bytes];
        let mut fill_crcs = Vec::with_capacity(shape.batch_records as usize);
        data[field::MAGIC..field::CRC].copy_from_slice(&RECORD_MAGIC.to_le_bytes());
        data[field::RUN..field::WRITER].copy_from_slice(&run.to_le_bytes());
        for _ in 0..shape.batch_records {
            let fill = &mut data[RECORD_HEAD_BYTES..];
            for chunk in fill.chunks_mut(8) {
                chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
            }
            fill_crcs.push(checksum::crc(fill));
            batch
                .push(&key, &data)
                .expect("the shape keeps the batch limits");
        }
        batch.finish();
        frame.finish(&mut bytes);
        Self {
            over_fill: Extension::over(shape.record_bytes - RECORD_HEAD_BYTES),
            over_record: Extension::over(shape.record_stride()),
            shape,
            bytes,
            fill_crcs,
        }
    }

    /// Bytes of each frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A buffer of `slots` frames, each to be patched before it is sent.
    pub(crate) fn buffer(&self, slots: usize) -> Vec<u8> {
        self.bytes.repeat(slots)
    }

    /// Makes `frame`, a slot of a buffer, the frame that `send` and `writer` say.
    pub(crate) fn patch(&self, frame: &mut [u8], writer: u32, send: &Send<'_>) {
        assert_eq!(frame.len(), self.bytes.len(), "a slot holds one frame");
        let payload_crc = self.patch_records(&mut frame[RECORDS_AT..], writer, send);
        let batch = &mut frame[BATCH_AT..RECORDS_AT];
        put_u32(batch, batch_field::SHARD, send.shard.0);
        put_u32(batch, batch_field::MAP_VERSION, send.map_version);
        put_u32(batch, batch_field::PAYLOAD_CRC, payload_crc);
        stamp(batch, Offset::ZERO, Timestamp::ZERO);
        put_u64(frame, frame_field::CORRELATION, send.correlation.0);
        let head = checksum::crc(&frame[..frame_field::CRC]);
        let crc = checksum::extend(head, &frame[WIRE_HEADER_BYTES..BATCH_AT]);
        put_u32(frame, frame_field::CRC, crc);
    }

    fn patch_records(&self, payload: &mut [u8], writer: u32, send: &Send<'_>) -> u32 {
        let first = send.batch * u64::from(self.shape.batch_records);
        // Header and key are the same for all records of a batch.
        let mut prefix = [0; RECORD_HEADER_BYTES + KEY_BYTES];
        prefix[..RECORD_HEADER_BYTES].copy_from_slice(&payload[..RECORD_HEADER_BYTES]);
        prefix[RECORD_HEADER_BYTES..].copy_from_slice(send.key);
        let prefix_crc = checksum::crc(&prefix);
        let records = payload.chunks_exact_mut(self.shape.record_stride());
        let mut payload_crc = 0;
        for ((record, fill_crc), sequence) in records.zip(&self.fill_crcs).zip(first..) {
            let (header_and_key, data) = record.split_at_mut(prefix.len());
            header_and_key.copy_from_slice(&prefix);
            let head = &mut data[..RECORD_HEAD_BYTES];
            put_u32(head, field::WRITER, writer);
            put_u32(head, field::SHARD, send.shard.0);
            put_u64(head, field::SEQUENCE, sequence);
            put_u64(head, field::INTENDED, send.intended);
            let data_crc = self.over_fill.apply(checksum::crc(&head[field::RUN..])) ^ fill_crc;
            put_u32(head, field::CRC, data_crc);
            let record_crc = self.over_fill.apply(checksum::extend(prefix_crc, head)) ^ fill_crc;
            payload_crc = self.over_record.apply(payload_crc) ^ record_crc;
        }
        payload_crc
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::batch::BatchView;
    use weir_protocol::wire::frame;
    use weir_protocol::wire::request::Request;

    fn patched(shape: Shape) -> Vec<u8> {
        let template = Template::new(shape, 77, 1, StreamId::new(5));
        let mut bytes = template.buffer(1);
        for batch in [0, 3] {
            let send = Send {
                correlation: Correlation(4),
                map_version: 9,
                shard: ShardIndex(6),
                key: b"abcdefghijklmnop",
                batch,
                intended: 123,
            };
            template.patch(&mut bytes, 2, &send);
        }
        bytes
    }

    #[test]
    fn combined_checksums_are_the_computed_ones() {
        for (record_bytes, batch_records) in [(40, 1), (41, 3), (1000, 500), (70_000, 2)] {
            let shape = Shape {
                record_bytes,
                batch_records,
            };
            let bytes = patched(shape);
            let (frame, length) = frame::decode(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len());
            assert_eq!(frame.correlation, Correlation(4));
            let Request::Append { count: 1, batches } = Request::decode(&frame).unwrap() else {
                panic!("an append of one batch");
            };
            assert_eq!(batches.len(), shape.batch_bytes());
            let view = BatchView::decode(batches).unwrap();
            view.check_records(1 << 20).unwrap();
            assert_eq!(view.header.map_version, 9);
            assert_eq!(
                view.header.shard,
                ShardId::new(StreamId::new(5), ShardIndex(6))
            );
            for (record, sequence) in view.records().zip(3 * u64::from(batch_records)..) {
                let head = RecordHead {
                    run: 77,
                    writer: 2,
                    shard: ShardIndex(6),
                    sequence,
                };
                assert_eq!(RecordHead::decode(record.data), Ok(head));
                assert_eq!(record.key, b"abcdefghijklmnop");
            }
        }
    }

    #[test]
    fn a_changed_bit_of_the_data_is_seen() {
        let bytes = patched(Shape {
            record_bytes: 50,
            batch_records: 1,
        });
        let data = &bytes[RECORDS_AT + RECORD_HEADER_BYTES + KEY_BYTES..];
        assert!(RecordHead::decode(data).is_ok());
        for bit in 0..data.len() * 8 {
            let mut damaged = data.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHead::decode(&damaged).is_err(), "bit {bit}");
        }
        assert!(RecordHead::decode(b"short").is_err());
    }

    /// A measurement: run with `--ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn speed_of_patching() {
        let shape = Shape {
            record_bytes: 1000,
            batch_records: 500,
        };
        let template = Template::new(shape, 77, 1, StreamId::new(5));
        let mut bytes = template.buffer(1);
        let rounds = 5_000_u32;
        let start = std::time::Instant::now();
        for round in 0..rounds {
            let send = Send {
                correlation: Correlation(4),
                map_version: 9,
                shard: ShardIndex(6),
                key: b"abcdefghijklmnop",
                batch: u64::from(round),
                intended: 123,
            };
            template.patch(&mut bytes, 2, &send);
        }
        println!(
            "{:?} a record",
            start.elapsed() / (rounds * shape.batch_records)
        );
    }
}
