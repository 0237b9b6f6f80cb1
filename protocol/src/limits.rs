//! Every bound that clients and servers share, each with its unit, its source and its proof.
//!
//! Owns: numbers that are promises. Never: tuning; that sits in the server's configuration.

/// One KiB in bytes.
pub const KIB: u32 = 1024;
/// One MiB in bytes. Kinesis' "MB" is this number.
pub const MIB: u32 = 1024 * KIB;

/// The block of the disk layout: every frame starts and ends on a multiple of it. `ext4` serialises
/// direct writes that are not whole blocks.
pub const BLOCK_BYTES: u32 = 4 * KIB;

/// Longest record in bytes: data plus partition key (AWS: "maximum size of the data payload of a
/// record before base64-encoding is up to 1 MiB", raised per stream by `MaxRecordSizeInKiB`).
pub const RECORD_BYTES_MAX: u32 = MIB;
/// Longest record that any stream may ever allow, in bytes (AWS: 10,240 KiB).
pub const RECORD_BYTES_CEILING: u32 = 10 * MIB;
/// Longest partition key in Unicode characters (AWS API reference, `PutRecord`).
pub const PARTITION_KEY_CHARS_MAX: usize = 256;
/// Longest partition key in bytes: 256 characters of four UTF-8 bytes.
pub const PARTITION_KEY_BYTES_MAX: usize = 4 * PARTITION_KEY_CHARS_MAX;

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: u32 = 16_384;
/// Longest payload of one batch in bytes.
pub const BATCH_PAYLOAD_BYTES_MAX: u32 = 12 * MIB;
/// Most batches in one commit frame, and in one append request.
pub const FRAME_BATCHES_MAX: u32 = 16_384;
/// Longest commit frame in bytes.
pub const FRAME_BYTES_MAX: u32 = 16 * MIB;

/// Longest wire frame in bytes, checked before anything is allocated for it.
pub const WIRE_FRAME_BYTES_MAX: u32 = 16 * MIB;
/// Longest control part of a wire frame in bytes.
pub const WIRE_CONTROL_BYTES_MAX: u32 = 4 * MIB;
/// Bytes of requests that one connection may have in flight before the server stops reading it.
pub const CONNECTION_IN_FLIGHT_BYTES_MAX: u32 = 32 * MIB;
/// Requests that one connection may have in flight before the server stops reading it.
pub const CONNECTION_REQUESTS_MAX: usize = 4_096;
/// Longest a read may wait for data, in milliseconds.
pub const READ_WAIT_MS_MAX: u32 = 60_000;
/// Most names in one answer to a list request.
pub const LIST_NAMES_MAX: u32 = 10_000;

/// Longest stream name in bytes (AWS: 1 to 128 of `[a-zA-Z0-9_.-]`).
pub const STREAM_NAME_BYTES_MAX: usize = 128;
/// Most shards of one stream (AWS: 10,000 per `UpdateShardCount`).
pub const STREAM_SHARDS_MAX: u32 = 10_000;
/// Shortest retention in milliseconds. AWS's 24 hours are enforced on the AWS face only.
pub const RETENTION_MS_MIN: u64 = 1_000;
/// Default retention in milliseconds: AWS's 24 hours.
pub const RETENTION_MS_DEFAULT: u64 = 24 * 3_600_000;
/// Longest retention in milliseconds: AWS's 8,760 hours.
pub const RETENTION_MS_MAX: u64 = 8_760 * 3_600_000;
/// Least byte cap of a stream that has one.
pub const RETAIN_BYTES_MIN: u64 = 1024 * 1024;

/// Most tags of one stream or consumer (AWS: 50).
pub const RESOURCE_TAGS_MAX: usize = 50;
/// Longest resource policy in bytes (AWS: 20 KB).
pub const POLICY_BYTES_MAX: usize = 20 * 1024;
/// Most registered consumers of one stream (AWS quota).
pub const STREAM_CONSUMERS_MAX: usize = 20;
/// The same for an on-demand stream of an account with a committed minimum throughput (AWS:
/// "On-demand Advantage").
pub const STREAM_CONSUMERS_COMMITTED_MAX: usize = 50;
/// Most consumers of one stream that are being created (AWS quota).
pub const STREAM_CONSUMERS_CREATING_MAX: usize = 5;
/// Changes of a stream's mode within a day (AWS: 2); kept where a stream is metered as AWS only.
pub const STREAM_MODE_CHANGES_PER_DAY: usize = 2;
/// Changes of a stream's shard count within a day (AWS: 10); kept where a stream is metered as AWS
/// only.
pub const COUNT_UPDATES_PER_DAY: usize = 10;

/// Bytes per second that a metered shard takes in (AWS quota: 1 MB/s, MB being 2^20).
pub const SHARD_WRITE_BYTES_PER_SECOND: u64 = 1024 * 1024;
/// Records per second that a metered shard takes in (AWS quota).
pub const SHARD_WRITE_RECORDS_PER_SECOND: u64 = 1_000;
/// Bytes per second that pollers together get from a metered shard (AWS quota: 2 MB/s).
pub const SHARD_READ_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;
/// Bytes per second that each subscribed consumer gets from a metered shard (AWS quota: 2 MB/s).
pub const CONSUMER_READ_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;
/// Read calls per second that a metered shard answers (AWS quota).
pub const SHARD_READ_CALLS_PER_SECOND: u64 = 5;

/// Bits of an offset that count records; the 15 above them are the epoch.
pub const OFFSET_COUNT_BITS: u32 = 48;
/// Highest epoch an offset can carry.
pub const EPOCH_MAX: u16 = (1 << 15) - 1;

/// Default port of the Kinesis HTTP API.
pub const PORT_HTTP: u16 = 4567;
/// Default port of the binary protocol.
pub const PORT_WIRE: u16 = 4568;
/// Default port of metrics and health.
pub const PORT_ADMIN: u16 = 4569;
/// Default port of the Kinesis HTTP API behind TLS.
pub const PORT_HTTPS: u16 = 4570;

const _: () = assert!(RECORD_BYTES_MAX <= RECORD_BYTES_CEILING);
const _: () = assert!(
    RECORD_BYTES_CEILING + crate::batch::RECORD_HEADER_BYTES as u32 <= BATCH_PAYLOAD_BYTES_MAX,
    "the longest record fits a batch of its own"
);
const _: () = assert!(
    BATCH_PAYLOAD_BYTES_MAX + MIB <= FRAME_BYTES_MAX,
    "the longest batch fits a commit frame with its header, directory and padding"
);
const _: () = assert!(
    BATCH_PAYLOAD_BYTES_MAX + MIB <= WIRE_FRAME_BYTES_MAX,
    "the longest batch fits a wire frame"
);
const _: () = assert!(
    WIRE_FRAME_BYTES_MAX <= CONNECTION_IN_FLIGHT_BYTES_MAX,
    "one frame of any legal size can always be in flight"
);
const _: () = assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
