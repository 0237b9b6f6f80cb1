//! A whole batch, verified, and the records in it.

use super::{BATCH_HEADER_BYTES, BatchError, BatchHeader, RECORD_HEADER_BYTES};
use crate::bytes::{u16_at, u32_at};
use crate::checksum;
use crate::limits::{PARTITION_KEY_BYTES_MAX, PARTITION_KEY_CHARS_MAX};

/// A record inside a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The partition key's bytes; UTF-8 in a batch that was admitted.
    pub key: &'a [u8],
    /// The record's data.
    pub data: &'a [u8],
}

/// A whole batch whose header and payload checksums hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    /// The decoded header.
    pub header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Reads the batch at the front of `bytes` and verifies both checksums. Later bytes are
    /// ignored.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let view = Self::decode_unverified(bytes)?;
        let computed = checksum::crc(view.payload());
        if computed != view.header.payload_crc {
            let found = view.header.payload_crc;
            return Err(BatchError::PayloadChecksum { found, computed });
        }
        Ok(view)
    }

    /// Reads the batch at the front of `bytes` without looking at its payload: for bytes that were
    /// verified before and never left memory.
    pub fn decode_unverified(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(bytes)?;
        let expected = header.batch_bytes();
        if bytes.len() < expected {
            return Err(BatchError::Truncated {
                found: bytes.len(),
                expected,
            });
        }
        Ok(Self {
            header,
            bytes: &bytes[..expected],
        })
    }

    /// Walks the records once, as admission does: they tile the payload, keep the limits, and are
    /// as many as the header says.
    pub fn check_records(&self, record_bytes_max: u32) -> Result<(), BatchError> {
        let payload = self.payload();
        let (mut at, mut record) = (0, 0_u32);
        while at < payload.len() {
            if payload.len() - at < RECORD_HEADER_BYTES {
                return Err(BatchError::RecordOverrun { record });
            }
            let data_bytes = u32_at(payload, at);
            let key_bytes = u16_at(payload, at + 4);
            let attributes = u16_at(payload, at + 6);
            if attributes != 0 {
                return Err(BatchError::RecordAttributes { record, attributes });
            }
            let key_at = at + RECORD_HEADER_BYTES;
            let data_at = key_at + key_bytes as usize;
            let end = data_at.saturating_add(data_bytes as usize);
            if end > payload.len() {
                return Err(BatchError::RecordOverrun { record });
            }
            if !is_partition_key(&payload[key_at..data_at]) {
                return Err(BatchError::PartitionKey {
                    record,
                    bytes: key_bytes,
                });
            }
            let bytes = data_bytes + u32::from(key_bytes);
            if bytes > record_bytes_max {
                return Err(BatchError::RecordTooLong {
                    record,
                    bytes,
                    limit: record_bytes_max,
                });
            }
            at = end;
            record += 1;
        }
        if record == self.header.records.0 {
            Ok(())
        } else {
            Err(BatchError::RecordMiscount {
                claimed: self.header.records.0,
                found: record,
            })
        }
    }

    /// The records, in order. Ends early where the payload is malformed, which a batch that
    /// passed [`Self::check_records`] is not.
    pub fn records(&self) -> Records<'a> {
        Records {
            rest: self.payload(),
        }
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }

    /// The whole batch.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// A record of a stream that spreads its records itself may come without a key: an empty one.
fn is_partition_key(key: &[u8]) -> bool {
    if key.len() > PARTITION_KEY_BYTES_MAX {
        return false;
    }
    match std::str::from_utf8(key) {
        Ok(text) => {
            key.len() <= PARTITION_KEY_CHARS_MAX || text.chars().count() <= PARTITION_KEY_CHARS_MAX
        }
        Err(_) => false,
    }
}

/// Iterates over the records of a batch.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        if self.rest.len() < RECORD_HEADER_BYTES {
            return None;
        }
        let data_bytes = u32_at(self.rest, 0) as usize;
        let key_bytes = u16_at(self.rest, 4) as usize;
        let (key, rest) = self.rest[RECORD_HEADER_BYTES..].split_at_checked(key_bytes)?;
        let (data, rest) = rest.split_at_checked(data_bytes)?;
        self.rest = rest;
        Some(RecordView { key, data })
    }
}
