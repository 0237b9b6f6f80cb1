//! Records as producers send them: the members that `PutRecord` and one item of `PutRecords` share.

use weir_protocol::model::HashKey;
use weir_stream::Stream;

use crate::call::Ids;
use crate::error::ServiceError;
use crate::member::{Blob, Members};

/// How often a call's records are routed anew when their shards are split or merged meanwhile. Each
/// time takes at least a change of the shard map, so more is no accident but a loop.
pub(super) const ROUTES_MAX: u32 = 32;

/// A record to be stored; its data is still base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentRecord<'v> {
    pub(crate) key: Option<&'v str>,
    pub(crate) explicit: Option<&'v str>,
    pub(crate) data: Option<Blob<'v>>,
}

impl<'v> SentRecord<'v> {
    /// Reads the members.
    pub(super) fn read(members: Members<'v>) -> Self {
        Self {
            key: members.text("PartitionKey"),
            explicit: members.text("ExplicitHashKey"),
            data: members.blob("Data"),
        }
    }

    /// What it weighs: data plus partition key, of a record that was checked.
    pub(super) fn weight(&self) -> usize {
        self.key.map_or(0, str::len) + self.data.map_or(0, Blob::bytes)
    }

    /// Refuses a record whose data and key together are too long for the stream.
    pub(super) fn check_weight(&self, stream: &Stream) -> Result<(), ServiceError> {
        let (weight, most) = (self.weight(), stream.settings.record_bytes_max);
        if weight <= most as usize {
            return Ok(());
        }
        Err(ServiceError::invalid_argument(format!(
            "Data and partition key of a record have {weight} bytes together, at most {most} are \
             allowed."
        )))
    }

    /// [`Self::hash_key`] of each, all at once.
    pub(super) fn hash_keys(records: &[Self]) -> Result<Vec<HashKey>, ServiceError> {
        if records.iter().any(|record| record.explicit.is_some()) {
            return records.iter().map(Self::hash_key).collect();
        }
        let keys = records.iter().map(|record| record.key.unwrap_or_default());
        Ok(HashKey::of_partition_keys(keys))
    }

    /// The point of the hash space that decides its shard.
    pub(super) fn hash_key(&self) -> Result<HashKey, ServiceError> {
        match self.explicit {
            None => Ok(HashKey::of_partition_key(self.key.unwrap_or_default())),
            Some(text) => HashKey::parse_decimal(text).map_err(|_| {
                ServiceError::invalid_argument(format!(
                    "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                     Specified value was {text}"
                ))
            }),
        }
    }
}

/// Any point of the hash space: where a stream that spreads its records puts the next of them,
/// whatever keys they have.
pub(super) fn any_hash_key(ids: &Ids) -> HashKey {
    HashKey::new((u128::from(ids.next()) << 64) | u128::from(ids.next()))
}
