//! What a start makes of what an operator gave up.
//!
//! Owns: what cores are told of it, and when it is forgotten. Never: giving up, which is
//! [`crate::repair`].

use weir_log::{GivenUp, RecoveredLog};
use weir_protocol::model::{Offset, ShardId};
use weir_reactor::BlockingDisk;

use crate::catalog::given_up::{Fate, GivenUpRecords, GivenUpRows, GivenUpSegment};
use crate::catalog::store::{Catalog, CatalogError};
use crate::retention::ExpiryAccount;
use crate::stream::Streams;

/// What readers step over.
pub(crate) fn stepped_over(given_up: &GivenUpRows) -> Vec<GivenUp> {
    let range = |row: &GivenUpRecords| GivenUp {
        shard: row.shard,
        from: row.from,
        until: row.until,
    };
    given_up.records.iter().map(range).collect()
}

/// A line, so that it is not forgotten.
pub(crate) fn line_of(given_up: &GivenUpRows) -> Option<String> {
    let is_gone = |row: &&GivenUpSegment| row.fate == Fate::SetAside;
    let segments = given_up.segments.iter().filter(is_gone).count();
    let ranges = given_up.records.len();
    (ranges + segments > 0).then(|| {
        format!(
            "given up by weir repair: {ranges} ranges of records and {segments} segments; \
             \"weir check\" names them"
        )
    })
}

/// Forgets what was given up and would be gone by now all the same.
pub(crate) fn forget_outlived<D: BlockingDisk>(
    catalog: &Catalog<D>,
    given_up: &GivenUpRows,
    streams: &Streams,
    recovered: &[RecoveredLog],
    expiry: Option<ExpiryAccount>,
) -> Result<(), CatalogError> {
    if given_up.is_empty() {
        return Ok(());
    }
    let exists = |shard: ShardId| {
        let stream = streams.by_id(shard.stream);
        stream.is_some_and(|stream| stream.shard(shard.index).is_some())
    };
    // Where recovery itself found it, no later start needs to be told.
    let is_safe = |shard: ShardId, next: Offset| {
        let tips = recovered.iter().flat_map(|log| &log.shards);
        tips.filter(|tip| tip.shard == shard)
            .any(|tip| tip.next >= next)
    };
    let longest = streams.all().map(|stream| stream.retention_ms).max();
    let expiry = expiry.map(|expiry| expiry.effective_ms);
    let outlived = given_up.outlived(exists, is_safe, longest.unwrap_or(0), expiry);
    if outlived.is_empty() {
        return Ok(());
    }
    catalog.forget_given_up(&outlived)
}
