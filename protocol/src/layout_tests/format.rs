//! What `docs/format.md` says of batches and frames. The log's crate has its own such test.

use super::table::{compare, encoded, fixed, part, plain, varying};
use crate::batch::{self, BATCH_HEADER_BYTES, BatchBuilder, ProducerMark, RECORD_HEADER_BYTES};
use crate::frame::{self, DIRECTORY_ENTRY_BYTES, DirectoryEntry};
use crate::limits;
use crate::model::{Count, Offset, ShardId, ShardIndex, StreamId};

fn batch_header() -> String {
    use batch::field;
    let fields = [
        (field::MAGIC, "magic `WRB1`"),
        (field::VERSION, "version, 1"),
        (field::CODEC, "codec; 0: the records are not compressed"),
        (
            field::ATTRIBUTES,
            "attribute bits; none exist, others are refused",
        ),
        (field::STREAM, "stream id"),
        (field::SHARD, "shard index"),
        (
            field::MAP_VERSION,
            "version of the shard map the producer routed by",
        ),
        (field::RECORDS, "records"),
        (field::PAYLOAD_BYTES, "bytes of the payload"),
        (field::PAYLOAD_CRC, "CRC-32C of the payload"),
        (
            field::HEADER_CRC,
            "CRC-32C of this header, this field as zero",
        ),
        (field::PRODUCER, "producer id; 0 for none"),
        (
            field::PRODUCER_SEQUENCE,
            "the producer's own number of this batch",
        ),
        (
            field::FIRST_OFFSET,
            "offset of the first record; 0 until the server stamps it",
        ),
        (
            field::ARRIVAL,
            "arrival time, ms since 1970; 0 until the server stamps it",
        ),
    ];
    fixed(&fields, field::END)
}

fn record() -> String {
    let mut bytes = Vec::new();
    let shard = ShardId::new(StreamId::new(1), ShardIndex(2));
    let mut batch = BatchBuilder::new(&mut bytes, shard, 0, ProducerMark::default());
    batch.push("key", b"data!").expect("it fits");
    batch.finish();
    let parts = [
        part("bytes of data", 5_u32.to_le_bytes()),
        part("bytes of partition key", 3_u16.to_le_bytes()),
        part("attribute bits; none exist, others are refused", [0; 2]),
        varying(
            "partition key, UTF-8; of a record without one, nothing",
            "k",
            b"key",
        ),
        varying("data", "n", b"data!"),
    ];
    assert_eq!(bytes.len(), BATCH_HEADER_BYTES + RECORD_HEADER_BYTES + 8);
    encoded(&bytes[BATCH_HEADER_BYTES..], &parts)
}

fn frame_header() -> String {
    use frame::field;
    let fields = [
        (field::MAGIC, "magic `WRF1`"),
        (field::VERSION, "version, 1"),
        (
            field::FLAGS,
            "flags; 1: no frame follows in this segment; others are refused",
        ),
        (field::FOLDER, "random number of the data folder"),
        (field::LOG, "log id"),
        (
            field::BATCHES,
            "batches; 0 in a frame that only carries the mark",
        ),
        (field::GENERATION, "generation of the segment"),
        (field::INCARNATION, "incarnation of the server"),
        (field::POSITION, "log position of this byte 0"),
        (
            field::DURABLE_MARK,
            "durable mark: all below was durable when this was submitted",
        ),
        (field::FRAME_BYTES, "bytes of the frame, header to padding"),
        (
            field::BATCHES_BYTES,
            "bytes of all batches; the directory follows them",
        ),
        (field::DIRECTORY_CRC, "CRC-32C of the directory"),
        (field::HEADER_CRC, "CRC-32C of the bytes above"),
    ];
    fixed(&fields, field::END)
}

fn directory_entry() -> String {
    let entry = DirectoryEntry {
        shard: ShardId::new(StreamId::new(11), ShardIndex(12)),
        bytes: 13,
        first_offset: Offset::ZERO + Count(14),
        records: Count(15),
        header_crc: 16,
    };
    let mut bytes = [0; DIRECTORY_ENTRY_BYTES];
    entry.encode(&mut bytes);
    let parts = [
        part("stream id", 11_u64.to_le_bytes()),
        part("shard index", 12_u32.to_le_bytes()),
        part("bytes of the batch", 13_u32.to_le_bytes()),
        part("offset of its first record", 14_u64.to_le_bytes()),
        part("its records", 15_u32.to_le_bytes()),
        part("its header checksum", 16_u32.to_le_bytes()),
    ];
    encoded(&bytes, &parts)
}

fn bounds() -> String {
    let rows = [
        ("block", u64::from(limits::BLOCK_BYTES)),
        (
            "record: data and key, as a stream allows unless set",
            u64::from(limits::RECORD_BYTES_MAX),
        ),
        (
            "record: data and key, whatever the stream",
            u64::from(limits::RECORD_BYTES_CEILING),
        ),
        (
            "partition key, in characters",
            limits::PARTITION_KEY_CHARS_MAX as u64,
        ),
        ("records of a batch", u64::from(limits::BATCH_RECORDS_MAX)),
        (
            "payload of a batch",
            u64::from(limits::BATCH_PAYLOAD_BYTES_MAX),
        ),
        ("batches of a frame", u64::from(limits::FRAME_BATCHES_MAX)),
        ("frame", u64::from(limits::FRAME_BYTES_MAX)),
        ("epoch of an offset", u64::from(limits::EPOCH_MAX)),
        ("count of an offset", (1 << limits::OFFSET_COUNT_BITS) - 1),
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, value)| vec![(*name).to_owned(), value.to_string()])
        .collect();
    plain(&["bytes, unless said", "at most"], &rows)
}

#[test]
fn the_format_document_says_what_the_code_does() {
    let tables = [
        ("batch-header", batch_header()),
        ("record", record()),
        ("frame-header", frame_header()),
        ("directory-entry", directory_entry()),
        ("bounds", bounds()),
    ];
    compare("format.md", &tables);
}
