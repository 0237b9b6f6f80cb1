//! `GetRecords`: what follows a shard iterator.

use weir_protocol::batch::BatchError;
use weir_protocol::limits::MIB;
use weir_protocol::model::{Offset, ShardId, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_stream::{ReadAnswer, ReadError, ReadRequest, Shard, Stream};

use super::record_list::{ListBounds, PAGE_ROOM, RecordList, Room, child_shards, permit_bytes};
use crate::call::Call;
use crate::error::ServiceError;
use crate::iterator::ShardIterator;
use crate::member::Members;
use crate::read_budget::{Permit, Wish};
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// Records of an answer when the client asks for no number (AWS API reference).
const RECORDS_DEFAULT: usize = 10_000;
/// Most bytes of data and keys in one answer (AWS: 10 MiB). The first record comes in any case.
const ANSWER_BYTES_MAX: usize = 10 * MIB as usize;
/// Bytes asked of the log for each record wanted: few records need no 10 MiB of batches.
const BYTES_PER_RECORD: usize = 16 * 1024;
const READ_BYTES_MIN: usize = 64 * 1024;
/// Room asked for at least: a batch of usual length comes whole, however few records are wanted.
const ROOM_BYTES_MIN: usize = 768 * 1024;
/// Answers the next records, and the iterator behind them.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<(Vec<u8>, Permit), ServiceError> {
    let limit = members.integer("Limit");
    let token = members.text("ShardIterator");
    let limit = limit.map_or(RECORDS_DEFAULT, |limit| limit as usize);
    let token = token.unwrap_or_default();
    let iterator = ShardIterator::open(call.seal, token, call.token_time())?;
    let named = StreamReference::read(members);
    if !named.is_absent() && named.resolve()? != iterator.name.as_str() {
        return Err(ServiceError::invalid_argument(
            "StreamARN and ShardIterator must identify the same stream.",
        ));
    }
    let index = iterator.shard.index;
    let missing = || call.about(iterator.name.as_str()).missing_shard(index);
    let streams = call.engine.streams();
    let stream = streams
        .by_id(iterator.shard.stream)
        .filter(|stream| stream.is_usable())
        .ok_or_else(missing)?;
    let shard = stream.shard(index).ok_or_else(missing)?;

    members.refuse_dry_run()?;
    let found = read(&call, iterator.shard, iterator.offset, limit).await;
    let (read, permit, room) = found.map_err(|error| {
        let about = call.about(iterator.name.as_str());
        about.read_refused(index, &error)
    })?;
    // A shard that ended while it was read has children that are newer than the look above.
    let streams = call.engine.streams();
    let page = Page {
        stream: streams.by_id(iterator.shard.stream).unwrap_or(stream),
        shard,
        from: iterator.offset,
        bounds: ListBounds {
            records_max: room.records,
            bytes_max: room.bytes.min(ANSWER_BYTES_MAX),
        },
        now: call.now(),
    };
    let next = |offset: Offset| {
        let next = ShardIterator {
            offset,
            ..iterator.clone()
        };
        next.seal(call.seal, call.token_time(), call.ids.next())
    };
    let out = call.writer(PAGE_ROOM + read.bytes().min(ANSWER_BYTES_MAX) * 3 / 2);
    let end = PageEnd {
        next: read.next(),
        behind_ms: read.behind_ms(),
        at_end: read.at_end(),
    };
    let written = page.write(out, read.chunks(), end, next);
    let (bytes, given) = written.map_err(|error| {
        ServiceError::internal(format!("shard {index} of {}: {error}", iterator.name))
    })?;
    call.engine.charge_read(iterator.shard, given);
    Ok((bytes, permit))
}

/// Reads what there is memory for: waits for a permit, and reads what that has room for.
async fn read<R: Reactor>(
    call: &Call<'_, R>,
    shard: ShardId,
    from: Offset,
    limit: usize,
) -> Result<(ReadAnswer<R>, Permit, Room), ReadError> {
    let wanted = limit.saturating_mul(BYTES_PER_RECORD);
    let wanted = wanted.clamp(READ_BYTES_MIN, ANSWER_BYTES_MAX);
    let records = limit.min(RECORDS_DEFAULT);
    let mut wish = Wish::up_to(permit_bytes(wanted.max(ROOM_BYTES_MIN), records));
    let mut polling = true;
    loop {
        let permit = call.budget.reserve(wish).await;
        let room = Room::of(permit.bytes(), records);
        let request = ReadRequest {
            shard,
            from: ReadFrom::Offset(from),
            bytes_max: wanted.min(room.bytes) as u32,
            wait_ms: 0,
            polling,
        };
        match call.engine.read_in_place(request, room.bytes).await {
            Ok(read) => return Ok((read, permit, room)),
            Err(ReadError::LongBatch { bytes, .. }) => {
                // The call was charged, and is made once more with the room it needs.
                polling = false;
                wish = Wish::exactly(permit_bytes(bytes, records));
            }
            Err(error) => return Err(error),
        }
    }
}

/// What an answer is about.
struct Page<'p> {
    stream: &'p Stream,
    shard: &'p Shard,
    from: Offset,
    bounds: ListBounds,
    now: Timestamp,
}

/// Where a read ended.
#[derive(Debug, Clone, Copy)]
struct PageEnd {
    next: Offset,
    behind_ms: u64,
    at_end: bool,
}

impl Page<'_> {
    /// The answer, and how many bytes of data and keys are in it.
    fn write<'b>(
        &self,
        mut out: Writer,
        chunks: impl Iterator<Item = &'b [u8]>,
        read: PageEnd,
        seal: impl Fn(Offset) -> String,
    ) -> Result<(Vec<u8>, u64), BatchError> {
        let mut list = RecordList::new(self.stream, self.shard, self.from, self.bounds);
        out.open_map().member("Records").open_list();
        for chunk in chunks {
            list.write(chunk, &mut out)?;
        }
        out.close_list();
        if read.at_end && !list.is_cut {
            child_shards(&mut out, self.stream, self.shard);
        } else {
            let next = if list.is_cut {
                list.next
            } else {
                read.next.max(list.next)
            };
            out.member("NextShardIterator").plain(seal(next));
        }
        let behind = match list.last_arrival {
            Some(arrival) if list.is_cut => self.now.millis_since(arrival),
            _ => read.behind_ms,
        };
        out.member("MillisBehindLatest").number(behind);
        out.close_map();
        Ok((out.into_bytes(), list.bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::example;
    use super::*;
    use crate::encoding::Encoding;
    use serde_json::Value;
    use weir_protocol::batch::{BatchBuilder, ProducerMark, stamp};
    use weir_stream::{Closed, ReadOwned};

    fn bounds(records_max: usize) -> ListBounds {
        ListBounds {
            records_max,
            bytes_max: ANSWER_BYTES_MAX,
        }
    }

    fn json() -> Writer {
        Writer::new(Encoding::Json, 0)
    }

    fn batch(stream: &Stream, first: u64, data: &[&str], arrival: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = stream.shard_id(stream.shards[0].index);
        let mut builder = BatchBuilder::new(&mut bytes, id, 1, ProducerMark::default());
        for data in data {
            builder.push("A", data.as_bytes()).unwrap();
        }
        builder.finish();
        stamp(
            &mut bytes,
            Offset::new(first).unwrap(),
            Timestamp::from_millis(arrival),
        );
        bytes
    }

    fn page(stream: &Stream, from: u64, limit: usize, read: &ReadOwned) -> Value {
        page_and_bytes(stream, from, limit, read).0
    }

    fn page_and_bytes(stream: &Stream, from: u64, limit: usize, read: &ReadOwned) -> (Value, u64) {
        let page = Page {
            stream,
            shard: &stream.shards[0],
            from: Offset::new(from).unwrap(),
            bounds: bounds(limit),
            now: Timestamp::from_millis(10_000),
        };
        let (bytes, given) = page
            .write(
                json(),
                [read.batches.as_slice()]
                    .into_iter()
                    .filter(|b| !b.is_empty()),
                end_of(read),
                |next| next.get().to_string(),
            )
            .unwrap();
        (serde_json::from_slice(&bytes).unwrap(), given)
    }

    fn end_of(read: &ReadOwned) -> PageEnd {
        PageEnd {
            next: read.next,
            behind_ms: read.behind_ms,
            at_end: read.at_end,
        }
    }

    fn read_of(batches: Vec<u8>, next: u64) -> ReadOwned {
        ReadOwned {
            batches,
            count: 0,
            from: Offset::ZERO,
            next: Offset::new(next).unwrap(),
            tip: Offset::new(next).unwrap(),
            behind_ms: 0,
            at_end: false,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_put() {
        let stream = example::stream(1);
        let read = read_of(batch(&stream, 0, &["happy streaming"], 1_500), 1);
        let answer = page(&stream, 0, 10, &read);
        let record = &answer["Records"][0];
        assert_eq!(record["Data"], "aGFwcHkgc3RyZWFtaW5n");
        assert_eq!(record["PartitionKey"], "A");
        assert_eq!(record["ApproximateArrivalTimestamp"], 1.5);
        assert_eq!(record["SequenceNumber"].as_str().unwrap().len(), 56);
        assert_eq!(record.get("EncryptionType"), None);
        assert_eq!(answer["NextShardIterator"], "1");
        assert_eq!(answer["MillisBehindLatest"], 0);
        assert_eq!(answer.get("ChildShards"), None);
    }

    #[test]
    fn pages_begin_and_end_inside_batches() {
        let stream = example::stream(1);
        let mut batches = batch(&stream, 5, &["a", "b", "c"], 1_000);
        batches.extend(batch(&stream, 8, &["d", "e"], 4_000));
        let read = read_of(batches, 10);
        let data = |answer: &Value| -> Vec<String> {
            let records = answer["Records"].as_array().unwrap();
            let text = |r: &Value| {
                let bytes = base64_simd::STANDARD
                    .decode_to_vec(r["Data"].as_str().unwrap())
                    .unwrap();
                String::from_utf8(bytes).unwrap()
            };
            records.iter().map(text).collect()
        };
        let answer = page(&stream, 6, 2, &read);
        assert_eq!(data(&answer), ["b", "c"]);
        assert_eq!(answer["NextShardIterator"], "8");
        assert_eq!(answer["MillisBehindLatest"], 9_000);
        let answer = page(&stream, 8, 2, &read);
        assert_eq!(data(&answer), ["d", "e"]);
        assert_eq!(answer["NextShardIterator"], "10");
        assert_eq!(answer["MillisBehindLatest"], 0);
        // Nothing new: the iterator stays, or moves over what is gone.
        let answer = page(&stream, 10, 2, &read_of(Vec::new(), 10));
        assert_eq!(answer["NextShardIterator"], "10");
        let answer = page(&stream, 3, 2, &read_of(Vec::new(), 10));
        assert_eq!(answer["NextShardIterator"], "10");
    }

    #[test]
    fn what_is_charged_is_what_is_in_the_answer() {
        let stream = example::stream(1);
        let read = read_of(batch(&stream, 0, &["one", "two", "three"], 1_000), 3);
        // Keys of one byte each.
        assert_eq!(page_and_bytes(&stream, 0, 2, &read).1, 4 + 4);
        assert_eq!(page_and_bytes(&stream, 2, 10, &read).1, 6);
        assert_eq!(page_and_bytes(&stream, 3, 10, &read_of(Vec::new(), 3)).1, 0);
    }

    #[test]
    fn an_answer_has_ten_mebibytes_and_always_one_record() {
        let stream = example::stream(1);
        let long = "x".repeat(1_000_000);
        let many: Vec<&str> = (0..12).map(|_| long.as_str()).collect();
        let mut batches = batch(&stream, 0, &many[..6], 1_000);
        batches.extend(batch(&stream, 6, &many[6..], 1_000));
        let answer = page(&stream, 0, 100, &read_of(batches, 12));
        assert_eq!(answer["Records"].as_array().unwrap().len(), 10);
        assert_eq!(answer["NextShardIterator"], "10");
    }

    #[test]
    fn the_end_of_a_closed_shard_names_its_children() {
        let mut stream = example::stream(3);
        let parent = stream.shards[0].index;
        stream.shards[0].closed = Some(Closed {
            at: example::CREATED,
            next: Offset::new(1).unwrap(),
        });
        stream.shards[1].parent = Some(parent);
        stream.shards[2].adjacent_parent = Some(parent);
        stream.shards[2].parent = Some(stream.shards[1].index);
        let mut read = read_of(batch(&stream, 0, &["last", "one"], 1_000), 2);
        read.at_end = true;
        let answer = page(&stream, 0, 10, &read);
        assert_eq!(answer.get("NextShardIterator"), None);
        let children = answer["ChildShards"].as_array().unwrap();
        assert_eq!(children.len(), 2);
        assert_eq!(children[0]["ShardId"], "shardId-000000000001");
        assert_eq!(
            children[1]["ParentShards"],
            serde_json::json!(["shardId-000000000001", "shardId-000000000000"])
        );
        // Not all of it fits: there is more to come, so it is not the end yet.
        let answer = page(&stream, 0, 1, &read);
        assert_eq!(answer["NextShardIterator"], "1");
        assert_eq!(answer.get("ChildShards"), None);
    }

    #[test]
    fn damage_is_an_error_and_no_record() {
        let stream = example::stream(1);
        let mut batches = batch(&stream, 0, &["data"], 1_000);
        *batches.last_mut().unwrap() ^= 1;
        let page = Page {
            stream: &stream,
            shard: &stream.shards[0],
            from: Offset::ZERO,
            bounds: bounds(1),
            now: Timestamp::ZERO,
        };
        let end = end_of(&read_of(Vec::new(), 1));
        let written = page.write(json(), [batches.as_slice()].into_iter(), end, |_| {
            String::new()
        });
        assert!(written.is_err());
    }
}
