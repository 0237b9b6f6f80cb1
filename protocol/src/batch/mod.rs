//! The batch: records of one shard, exactly as the producer wrote them, from its memory to the
//! consumer's.
//!
//! A batch says nothing about where it lies. The producer writes the header and the payload; the
//! server stamps the first offset, the arrival time and the header checksum, and never touches the
//! payload. `docs/format.md` draws the bytes; a test compares it with the constants here.
//!
//! This file is the layout; [`BatchHeader`] reads the header, [`BatchView`] a whole batch,
//! [`BatchBuilder`] writes one.

mod builder;
mod error;
mod header;
#[cfg(test)]
mod tests;
mod view;

pub use builder::{BatchBuilder, BatchFull, ProducerMark};
pub use error::BatchError;
pub use header::{BatchHeader, stamp};
pub use view::{BatchView, RecordView, Records};

/// First four bytes of a batch, "WRB1".
pub const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"WRB1");
/// The batch layout that this code writes.
pub const BATCH_VERSION: u8 = 1;
/// The payload is as the records are: no compression.
pub const CODEC_NONE: u8 = 0;

/// Places of the header's fields, each chained from the one before.
pub mod field {
    /// `u32` [`super::BATCH_MAGIC`].
    pub const MAGIC: usize = 0;
    /// `u8` layout version.
    pub const VERSION: usize = MAGIC + 4;
    /// `u8` codec of the payload.
    pub const CODEC: usize = VERSION + 1;
    /// `u16` attribute bits; unknown ones are refused.
    pub const ATTRIBUTES: usize = CODEC + 1;
    /// `u64` stream id.
    pub const STREAM: usize = ATTRIBUTES + 2;
    /// `u32` shard index.
    pub const SHARD: usize = STREAM + 8;
    /// `u32` version of the shard map the producer routed by.
    pub const MAP_VERSION: usize = SHARD + 4;
    /// `u32` number of records.
    pub const RECORDS: usize = MAP_VERSION + 4;
    /// `u32` payload length in bytes.
    pub const PAYLOAD_BYTES: usize = RECORDS + 4;
    /// `u32` CRC-32C of the payload.
    pub const PAYLOAD_CRC: usize = PAYLOAD_BYTES + 4;
    /// `u32` CRC-32C of the header with this field as zero.
    pub const HEADER_CRC: usize = PAYLOAD_CRC + 4;
    /// `u64` producer id, 0 when the producer has none.
    pub const PRODUCER: usize = HEADER_CRC + 4;
    /// `u64` the producer's own number of this batch.
    pub const PRODUCER_SEQUENCE: usize = PRODUCER + 8;
    /// `u64` offset of the first record; 0 until the server stamps it.
    pub const FIRST_OFFSET: usize = PRODUCER_SEQUENCE + 8;
    /// `u64` arrival time in milliseconds; 0 until the server stamps it.
    pub const ARRIVAL: usize = FIRST_OFFSET + 8;
    /// Length of the header.
    pub const END: usize = ARRIVAL + 8;
}

/// Length of a batch header in bytes.
pub const BATCH_HEADER_BYTES: usize = field::END;
/// Length of a record's header in bytes: `u32` data length, `u16` key length, `u16` attributes.
pub const RECORD_HEADER_BYTES: usize = 8;

const _: () = assert!(BATCH_HEADER_BYTES == 72);
