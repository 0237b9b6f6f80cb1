//! The header of a batch: what the producer says, and what the server stamps.

use super::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BATCH_VERSION, BatchError, CODEC_NONE, RECORD_HEADER_BYTES,
    field,
};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum;
use crate::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::model::{Count, Offset, ShardId, ShardIndex, StreamId, Timestamp};

/// The header of a batch, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The shard whose records these are.
    pub shard: ShardId,
    /// Version of the shard map the producer routed by.
    pub map_version: u32,
    /// Number of records.
    pub records: Count,
    /// Payload length in bytes.
    pub payload_bytes: u32,
    /// CRC-32C of the payload.
    pub payload_crc: u32,
    /// CRC-32C of the header.
    pub header_crc: u32,
    /// Producer id, 0 for none.
    pub producer: u64,
    /// The producer's own number of this batch.
    pub producer_sequence: u64,
    /// Offset of the first record.
    pub first_offset: Offset,
    /// When the server took it in.
    pub arrival: Timestamp,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`: bounds, version and header checksum, not the
    /// payload.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < BATCH_HEADER_BYTES {
            return Err(BatchError::Truncated {
                found: bytes.len(),
                expected: BATCH_HEADER_BYTES,
            });
        }
        let magic = u32_at(bytes, field::MAGIC);
        if magic != BATCH_MAGIC {
            return Err(BatchError::Magic { found: magic });
        }
        let version = bytes[field::VERSION];
        if version != BATCH_VERSION {
            return Err(BatchError::Version { found: version });
        }
        let (codec, attributes) = (bytes[field::CODEC], u16_at(bytes, field::ATTRIBUTES));
        if codec != CODEC_NONE || attributes != 0 {
            return Err(BatchError::Attributes { codec, attributes });
        }
        let payload_bytes = u32_at(bytes, field::PAYLOAD_BYTES);
        if payload_bytes > BATCH_PAYLOAD_BYTES_MAX {
            return Err(BatchError::PayloadTooLong {
                bytes: payload_bytes,
            });
        }
        let records = u32_at(bytes, field::RECORDS);
        if records == 0 || records > BATCH_RECORDS_MAX {
            return Err(BatchError::RecordCount { records });
        }
        let header_crc = u32_at(bytes, field::HEADER_CRC);
        let computed = header_checksum(bytes);
        if header_crc != computed {
            return Err(BatchError::HeaderChecksum {
                found: header_crc,
                computed,
            });
        }
        // The checksum says nothing of a stranger's batch: its last record needs an offset, too.
        let raw = u64_at(bytes, field::FIRST_OFFSET);
        let first_offset = Offset::new(raw)
            .filter(|first| first.checked_add(Count(records)).is_some())
            .ok_or(BatchError::FirstOffset { found: raw })?;
        Ok(Self {
            shard: ShardId::new(
                StreamId::new(u64_at(bytes, field::STREAM)),
                ShardIndex(u32_at(bytes, field::SHARD)),
            ),
            map_version: u32_at(bytes, field::MAP_VERSION),
            records: Count(records),
            payload_bytes,
            payload_crc: u32_at(bytes, field::PAYLOAD_CRC),
            header_crc,
            producer: u64_at(bytes, field::PRODUCER),
            producer_sequence: u64_at(bytes, field::PRODUCER_SEQUENCE),
            first_offset,
            arrival: Timestamp::from_millis(u64_at(bytes, field::ARRIVAL)),
        })
    }

    /// Length of the whole batch in bytes.
    pub fn batch_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.payload_bytes as usize
    }

    /// What the records weigh against a quota: data plus partition keys, without our own headers.
    pub fn weight(&self) -> u64 {
        u64::from(self.payload_bytes)
            .saturating_sub(u64::from(self.records.0) * RECORD_HEADER_BYTES as u64)
    }

    /// One past the last record's offset.
    pub fn next_offset(&self) -> Offset {
        self.first_offset + self.records
    }
}

fn header_checksum(bytes: &[u8]) -> u32 {
    let before = checksum::crc(&bytes[..field::HEADER_CRC]);
    let zeroed = checksum::extend(before, &[0; 4]);
    checksum::extend(zeroed, &bytes[field::HEADER_CRC + 4..BATCH_HEADER_BYTES])
}

/// Writes what the server adds to an admitted batch: first offset, arrival time, header checksum.
/// Panics if `bytes` is shorter than a header.
pub fn stamp(bytes: &mut [u8], first_offset: Offset, arrival: Timestamp) -> u32 {
    bytes[field::FIRST_OFFSET..field::FIRST_OFFSET + 8]
        .copy_from_slice(&first_offset.get().to_le_bytes());
    bytes[field::ARRIVAL..field::ARRIVAL + 8].copy_from_slice(&arrival.as_millis().to_le_bytes());
    let crc = header_checksum(bytes);
    bytes[field::HEADER_CRC..field::HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}
