//! Why bytes are not a batch.

use thiserror::Error;

use super::BATCH_VERSION;
use crate::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, PARTITION_KEY_CHARS_MAX};

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than the header or the payload needs.
    #[error("batch of {found} bytes, expected {expected}")]
    Truncated {
        /// Bytes found.
        found: usize,
        /// Bytes that the header asks for.
        expected: usize,
    },
    /// The first bytes are not a batch's.
    #[error("not a batch: it starts with {found:#010x}")]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// A layout this code does not know.
    #[error("batch format version {found}, this build reads {BATCH_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A codec or attribute bits this code does not know.
    #[error("batch codec {codec} with attributes {attributes:#06x}, this build reads 0 and 0x0000")]
    Attributes {
        /// The codec found.
        codec: u8,
        /// The attribute bits found.
        attributes: u16,
    },
    /// A payload longer than a batch may have.
    #[error("batch payload of {bytes} bytes, at most {BATCH_PAYLOAD_BYTES_MAX} are allowed")]
    PayloadTooLong {
        /// Bytes that the header claims.
        bytes: u32,
    },
    /// No records, or more than a batch may have.
    #[error("batch of {records} records, expected 1 to {BATCH_RECORDS_MAX}")]
    RecordCount {
        /// Records that the header claims.
        records: u32,
    },
    /// The header's checksum does not match.
    #[error("batch header checksum {found:#010x}, computed {computed:#010x}")]
    HeaderChecksum {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A first offset that is none, or behind which not all records have one.
    #[error("batch begins at offset {found:#x}, where its records do not fit")]
    FirstOffset {
        /// The number found.
        found: u64,
    },
    /// The payload's checksum does not match.
    #[error("batch payload checksum {found:#010x}, computed {computed:#010x}")]
    PayloadChecksum {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The records do not tile the payload.
    #[error("record {record} of the batch does not fit its payload")]
    RecordOverrun {
        /// Which record, from 0.
        record: u32,
    },
    /// The header counts other records than the payload holds.
    #[error("batch header counts {claimed} records, the payload holds {found}")]
    RecordMiscount {
        /// Records that the header claims.
        claimed: u32,
        /// Records found.
        found: u32,
    },
    /// A partition key of no or too many bytes or characters, or not UTF-8.
    #[error(
        "record {record} of the batch has a partition key of {bytes} bytes, expected 1 to \
         {PARTITION_KEY_CHARS_MAX} characters of UTF-8"
    )]
    PartitionKey {
        /// Which record, from 0.
        record: u32,
        /// Bytes of the key.
        bytes: u16,
    },
    /// Attribute bits of a record that this code does not know.
    #[error("record {record} of the batch has attributes {attributes:#06x}, expected 0x0000")]
    RecordAttributes {
        /// Which record, from 0.
        record: u32,
        /// The bits found.
        attributes: u16,
    },
    /// A record of more bytes than the stream allows.
    #[error(
        "record {record} of the batch has {bytes} bytes of key and data, at most {limit} are allowed"
    )]
    RecordTooLong {
        /// Which record, from 0.
        record: u32,
        /// Bytes of key and data.
        bytes: u32,
        /// The most that is allowed.
        limit: u32,
    },
}
