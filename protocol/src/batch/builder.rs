//! Builds a batch on the producer's side.

use thiserror::Error;

use super::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BATCH_VERSION, CODEC_NONE, RECORD_HEADER_BYTES, field, stamp,
};
use crate::checksum;
use crate::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::model::{Offset, ShardId, Timestamp};

/// Builds one batch in a vector, on the producer's side.
///
/// The vector may already hold other bytes: the batch is appended, so that several batches and
/// the frame around them are written in place.
#[derive(Debug)]
pub struct BatchBuilder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    records: u32,
}

/// Who wrote a batch, for dropping duplicates later. Zero means no producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerMark {
    /// Chosen at random by the producer.
    pub producer: u64,
    /// Rises by one with each of its batches.
    pub sequence: u64,
}

/// The record does not fit the batch any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the batch is full")]
pub struct BatchFull;

impl<'a> BatchBuilder<'a> {
    /// Starts a batch for `shard` at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, shard: ShardId, map_version: u32, mark: ProducerMark) -> Self {
        let start = out.len();
        out.resize(start + BATCH_HEADER_BYTES, 0);
        let header = &mut out[start..];
        header[field::MAGIC..field::MAGIC + 4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        header[field::VERSION] = BATCH_VERSION;
        header[field::CODEC] = CODEC_NONE;
        header[field::STREAM..field::STREAM + 8].copy_from_slice(&shard.stream.get().to_le_bytes());
        header[field::SHARD..field::SHARD + 4].copy_from_slice(&shard.index.0.to_le_bytes());
        header[field::MAP_VERSION..field::MAP_VERSION + 4]
            .copy_from_slice(&map_version.to_le_bytes());
        header[field::PRODUCER..field::PRODUCER + 8].copy_from_slice(&mark.producer.to_le_bytes());
        header[field::PRODUCER_SEQUENCE..field::PRODUCER_SEQUENCE + 8]
            .copy_from_slice(&mark.sequence.to_le_bytes());
        Self {
            out,
            start,
            records: 0,
        }
    }

    /// Appends a record. The caller checked the key's and the record's length.
    pub fn push(&mut self, key: &str, data: &[u8]) -> Result<(), BatchFull> {
        self.push_header(key, data.len())?;
        self.out.extend_from_slice(data);
        Ok(())
    }

    /// Appends a record whose `data_bytes` of data `fill` writes in place: for data that is decoded
    /// from something else. The caller checked the lengths.
    pub fn push_with(
        &mut self,
        key: &str,
        data_bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), BatchFull> {
        self.push_header(key, data_bytes)?;
        let at = self.out.len();
        self.out.resize(at + data_bytes, 0);
        fill(&mut self.out[at..]);
        Ok(())
    }

    /// Appends all of a record but its data, and makes room for that.
    fn push_header(&mut self, key: &str, data_bytes: usize) -> Result<(), BatchFull> {
        let bytes = RECORD_HEADER_BYTES + key.len() + data_bytes;
        if self.records == BATCH_RECORDS_MAX
            || self.payload_bytes() + bytes > BATCH_PAYLOAD_BYTES_MAX as usize
        {
            return Err(BatchFull);
        }
        self.out.reserve(bytes);
        self.out
            .extend_from_slice(&(data_bytes as u32).to_le_bytes());
        self.out
            .extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.out.extend_from_slice(&[0; 2]);
        self.out.extend_from_slice(key.as_bytes());
        self.records += 1;
        Ok(())
    }

    /// Records pushed so far.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Payload bytes pushed so far.
    pub fn payload_bytes(&self) -> usize {
        self.out.len() - self.start - BATCH_HEADER_BYTES
    }

    /// Writes counts and checksums. Panics if no record was pushed.
    pub fn finish(self) {
        assert!(self.records > 0, "a batch has at least one record");
        let (header, payload) = self.out[self.start..].split_at_mut(BATCH_HEADER_BYTES);
        let payload_crc = checksum::crc(payload);
        header[field::RECORDS..field::RECORDS + 4].copy_from_slice(&self.records.to_le_bytes());
        header[field::PAYLOAD_BYTES..field::PAYLOAD_BYTES + 4]
            .copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[field::PAYLOAD_CRC..field::PAYLOAD_CRC + 4]
            .copy_from_slice(&payload_crc.to_le_bytes());
        stamp(header, Offset::ZERO, Timestamp::ZERO);
    }
}
