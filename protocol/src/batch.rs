//! The batch: records of one shard, exactly as the producer wrote them, from its memory to the
//! consumer's.
//!
//! A batch says nothing about where it lies. The producer writes the header and the payload; the
//! server stamps the first offset, the arrival time and the header checksum, and never touches the
//! payload. `docs/format.md` draws the bytes; a test compares it with the constants here.

use thiserror::Error;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum;
use crate::limits::{
    BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, PARTITION_KEY_BYTES_MAX, PARTITION_KEY_CHARS_MAX,
};
use crate::model::{Count, Offset, ShardId, ShardIndex, StreamId, Timestamp};

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

/// A record inside a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The partition key's bytes; UTF-8 in a batch that was admitted.
    pub key: &'a [u8],
    /// The record's data.
    pub data: &'a [u8],
}

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
        // An offset with its top bit set cannot pass the checksum unless its writer made it so.
        let first_offset =
            Offset::new(u64_at(bytes, field::FIRST_OFFSET)).ok_or(BatchError::HeaderChecksum {
                found: header_crc,
                computed,
            })?;
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

fn is_partition_key(key: &[u8]) -> bool {
    if key.is_empty() || key.len() > PARTITION_KEY_BYTES_MAX {
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

#[cfg(test)]
mod tests {
    use super::*;
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
        let expected: [(&[u8], &[u8]); 3] =
            [(b"a", b"one"), (b"b", b""), ("ü".as_bytes(), b"three")];
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
        let keyless = build(&[("", b"x")]);
        assert_eq!(
            check(&keyless),
            Err(BatchError::PartitionKey {
                record: 0,
                bytes: 0
            })
        );
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
}
