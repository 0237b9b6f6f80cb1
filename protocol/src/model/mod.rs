//! The words: one type for each thing that has a name in Kinesis or in the log.
//!
//! A value in hand is valid: fields are private and the parser is the only way in.

mod consumer;
mod decimal;
mod hash_key;
mod key_hash;
mod offset;
mod sequence_number;
mod shard;
mod stream;
mod timestamp;

pub use consumer::{ConsumerName, InvalidConsumerName};
pub use decimal::Digits;
pub use hash_key::{HashKey, HashKeyRange, InvalidHashKey};
pub use offset::{Count, Epoch, Offset};
pub use sequence_number::{InvalidSequenceNumber, SequenceNumber};
pub use shard::{InvalidPartitionKey, LogId, PartitionKey, Position, ShardId, ShardIndex};
pub use stream::{InvalidStreamName, StreamId, StreamMode, StreamName, StreamQuota, StreamStatus};
pub use timestamp::Timestamp;
