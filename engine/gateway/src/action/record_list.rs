//! Records out, and the shards that go on where one ended: what GetRecords and SubscribeToShard
//! say alike.

use weir_protocol::batch::{BatchError, BatchView};
use weir_protocol::model::{Count, Offset, SequenceNumber, Timestamp};
use weir_stream::{Shard, Stream};

use super::shape;
use crate::writer::Writer;

/// What a record takes in an answer beside its key and data, and the answer beside its records.
pub(crate) const RECORD_ROOM: usize = 192;
pub(crate) const PAGE_ROOM: usize = 1024;
/// What divisions lose.
const SLACK: usize = 8;

/// What a permit must cover for a read of `bytes`: a copy of it, and the answer in JSON. One in
/// CBOR is shorter.
pub(crate) fn permit_bytes(bytes: usize, records: usize) -> usize {
    bytes + bytes.div_ceil(3) * 4 + SLACK + records * RECORD_ROOM + PAGE_ROOM
}

/// What a permit has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) records: usize,
    /// Of batches that are read, and of keys and data in the answer.
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) fn of(permitted: usize, records: usize) -> Self {
        // If many records are wanted and little is permitted, a quarter is for what comes with each.
        let records = records.min((permitted / 4 / RECORD_ROOM).max(1));
        let left = permitted.saturating_sub(records * RECORD_ROOM + PAGE_ROOM);
        Self {
            records,
            bytes: left.saturating_sub(3) * 3 / 7,
        }
    }
}

/// How much one list holds. The first record comes in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListBounds {
    pub(crate) records_max: usize,
    /// Most bytes of data and keys.
    pub(crate) bytes_max: usize,
}

/// Writes records of batches from a place on, until the list is full.
#[derive(Debug)]
pub(crate) struct RecordList<'l> {
    shard: &'l Shard,
    /// Whether a key was set for the stream; it has no other effect.
    is_encrypted: bool,
    bounds: ListBounds,
    records: usize,
    /// Bytes of data and keys written.
    pub(crate) bytes: usize,
    /// One past the last record; the place asked for if there was none.
    pub(crate) next: Offset,
    /// When the last record arrived.
    pub(crate) last_arrival: Option<Timestamp>,
    /// Whether a record did not fit.
    pub(crate) is_cut: bool,
}

impl<'l> RecordList<'l> {
    /// A list of records of `shard`, one of `stream`'s, from `from` on.
    pub(crate) fn new(stream: &Stream, shard: &'l Shard, from: Offset, bounds: ListBounds) -> Self {
        Self {
            shard,
            is_encrypted: stream.settings.encryption_key.is_some(),
            bounds,
            records: 0,
            bytes: 0,
            next: from,
            last_arrival: None,
            is_cut: false,
        }
    }

    /// Writes the records of whole batches that follow those written before.
    pub(crate) fn write(&mut self, mut rest: &[u8], out: &mut Writer) -> Result<(), BatchError> {
        while !rest.is_empty() && !self.is_cut {
            let batch = BatchView::decode(rest)?;
            rest = &rest[batch.as_bytes().len()..];
            self.write_batch(&batch, out);
        }
        Ok(())
    }

    fn write_batch(&mut self, batch: &BatchView<'_>, out: &mut Writer) {
        let arrival = batch.header.arrival;
        for (nth, record) in batch.records().enumerate() {
            let offset = batch.header.first_offset + Count(nth as u32);
            if offset < self.next {
                continue;
            }
            let weight = record.key.len() + record.data.len();
            let is_heavy = self.records > 0 && self.bytes + weight > self.bounds.bytes_max;
            if is_heavy || self.records == self.bounds.records_max {
                self.is_cut = true;
                return;
            }
            self.records += 1;
            self.bytes += weight;
            self.next = offset + Count(1);
            self.last_arrival = Some(arrival);
            let (index, created) = (self.shard.index, self.shard.created);
            let number = SequenceNumber::of_record(index, created, offset, arrival);
            out.open_map();
            out.member("SequenceNumber")
                .ascii(number.digits().as_bytes());
            out.member("ApproximateArrivalTimestamp").time(arrival);
            out.member("Data").blob(record.data);
            if !record.key.is_empty() {
                out.member("PartitionKey");
                match std::str::from_utf8(record.key) {
                    Ok(key) => out.text(key),
                    Err(_) => out.text(&String::from_utf8_lossy(record.key)),
                };
            }
            if self.is_encrypted {
                out.member("EncryptionType").plain("KMS");
            }
            out.close_map();
        }
    }
}

/// The member `ChildShards`: the shards that go on where `ended` did.
pub(crate) fn child_shards(out: &mut Writer, stream: &Stream, ended: &Shard) {
    let index = Some(ended.index);
    out.member("ChildShards").open_list();
    for child in &stream.shards {
        if child.parent != index && child.adjacent_parent != index {
            continue;
        }
        out.open_map();
        out.member("ShardId").plain(child.index);
        out.member("ParentShards").open_list();
        for parent in [child.parent, child.adjacent_parent].into_iter().flatten() {
            out.plain(parent);
        }
        out.close_list();
        shape::hash_key_range(out, child);
        out.close_map();
    }
    out.close_list();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_has_room_for_what_it_was_asked_for() {
        for records in [1, 100, 10_000] {
            for bytes in [64 * 1024, 1_234_567, 10 << 20, 13 << 20] {
                let room = Room::of(permit_bytes(bytes, records), records);
                assert!(room.bytes >= bytes, "{bytes} {records}: {room:?}");
            }
        }
        // However little it is, it has room for something.
        let room = Room::of(512 * 1024, 10_000);
        assert!(room.records > 500 && room.bytes > 150_000, "{room:?}");
        // What is read, and what is written of it, is covered.
        let text = room.bytes * 4 / 3 + room.records * RECORD_ROOM + PAGE_ROOM;
        assert!(room.bytes + text <= 512 * 1024);
    }
}
