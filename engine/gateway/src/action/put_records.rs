//! `PutRecords`: up to 500 records, split by shard once, stored before they are answered.
//!
//! Each shard's records become one batch, which its core admits or throttles as a whole.

use rustc_hash::FxHashMap;
use weir_protocol::batch::{BATCH_HEADER_BYTES, BatchBuilder, ProducerMark, RECORD_HEADER_BYTES};
use weir_protocol::limits::MIB;
use weir_protocol::model::{Count, HashKey, SequenceNumber, ShardIndex, Timestamp};
use weir_reactor::{Reactor, Spares};
use weir_stream::{AppendError, ShardBatch, Stored, Stream};

use super::record::{ROUTES_MAX, SentRecord, any_hash_key};
use super::shape;
use crate::call::{Call, Ids, spreads};
use crate::error::{About, ErrorKind, ServiceError};
use crate::member::Members;
use crate::scan::PutRecordsCall;
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// Most bytes of data and keys of one call (AWS: 10 MiB).
const CALL_BYTES_MAX: usize = 10 * MIB as usize;
/// Records of a call that a stream which spreads them puts into one shard before it takes another:
/// enough to make a batch worth its overhead.
const SPREAD_RECORDS: usize = 100;

/// Stores the records and answers each one's fate, in the order they came.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let records = read(members)?;
    let name = StreamReference::read(members).resolve()?;
    let stream = call.usable_stream(name)?;
    let split = Split::build(&records, &stream, &call)?;
    members.refuse_dry_run()?;
    store(call, &stream, &records, split).await
}

/// [`answer`] for a call that was read without a tree; `None` if there is anything about it that
/// the general way had better look at.
pub(crate) async fn answer_scanned<R: Reactor>(
    call: Call<'_, R>,
    sent: PutRecordsCall<'_>,
) -> Option<Result<Vec<u8>, ServiceError>> {
    let reference = StreamReference::new(sent.stream_name, sent.stream_arn);
    let stream = call.usable_stream(reference.resolve().ok()?).ok()?;
    let longest = stream.settings.record_bytes_max as usize;
    if sent.records.iter().any(|record| record.weight() > longest) {
        return None;
    }
    let split = Split::build(&sent.records, &stream, &call).ok()?;
    Some(store(call, &stream, &sent.records, split).await)
}

async fn store<R: Reactor>(
    call: Call<'_, R>,
    stream: &Stream,
    records: &[SentRecord<'_>],
    mut split: Split,
) -> Result<Vec<u8>, ServiceError> {
    let about = call.about(stream.name.as_str());
    let outcomes = append_all(
        &mut split,
        records,
        async |batches| call.engine.append(batches).await,
        // Every core knows the children by now.
        |moved| {
            let stream = call.stream_again(stream)?;
            Split::build(moved, &stream, &call)
        },
    )
    .await?;
    if let Some(refusal) = refused_whole(&split.shards, &outcomes, about) {
        return Err(refusal);
    }
    let out = call.writer(64 + 128 * split.places.len());
    Ok(write_answer(out, stream, &split, &outcomes, about))
}

/// Appends the batches, and the records whose shards were closed meanwhile again: one outcome for
/// each of `split.shards`, which grow with every round.
async fn append_all(
    split: &mut Split,
    records: &[SentRecord<'_>],
    append: impl AsyncFn(Vec<ShardBatch>) -> Vec<Result<Stored, AppendError>>,
    split_again: impl Fn(&[SentRecord<'_>]) -> Result<Split, ServiceError>,
) -> Result<Vec<Result<Stored, AppendError>>, ServiceError> {
    let mut outcomes = Vec::new();
    for round in 1..=ROUTES_MAX {
        let batches = std::mem::take(&mut split.batches);
        outcomes.extend(append(batches).await);
        if outcomes.len() != split.shards.len() {
            return Err(ServiceError::internal("the append was not answered"));
        }
        let moved = split.refused_by_closed_shards(&outcomes);
        if moved.is_empty() || round == ROUTES_MAX {
            break;
        }
        let again: Vec<SentRecord<'_>> = moved.iter().map(|at| records[*at]).collect();
        match split_again(&again) {
            Ok(again) => split.go_on(&moved, again),
            Err(refusal) if outcomes.iter().all(is_closed) => return Err(refusal),
            // A refusal of the call would have what is stored already sent again.
            Err(_) => break,
        }
    }
    Ok(outcomes)
}

fn is_closed(outcome: &Result<Stored, AppendError>) -> bool {
    matches!(outcome, Err(AppendError::ShardClosed { .. }))
}

fn read(members: Members<'_>) -> Result<Vec<SentRecord<'_>>, ServiceError> {
    let items = members.list("Records").unwrap_or_default().iter();
    items
        .map(|item| Ok(SentRecord::read(members.inner(item)?)))
        .collect()
}

/// The points of the hash space that decide the records' shards.
fn hash_keys(
    records: &[SentRecord<'_>],
    stream: &Stream,
    ids: &Ids,
) -> Result<Vec<HashKey>, ServiceError> {
    if !spreads(stream) {
        return SentRecord::hash_keys(records);
    }
    let groups = records.chunks(SPREAD_RECORDS);
    Ok(groups
        .flat_map(|group| std::iter::repeat_n(any_hash_key(ids), group.len()))
        .collect())
}

/// Where a record went: which of the call's shards, and which record of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: u32,
    nth: Count,
}

/// A call's records, split by shard.
struct Split {
    /// One batch for each of `shards`, or for the last of them if the others were asked already.
    batches: Vec<ShardBatch>,
    shards: Vec<ShardIndex>,
    /// By shard: the time that its numbers begin with.
    created: Vec<Timestamp>,
    /// One for each record, in the order they came.
    places: Vec<Place>,
}

impl Split {
    fn build<R: Reactor>(
        records: &[SentRecord<'_>],
        stream: &Stream,
        call: &Call<'_, R>,
    ) -> Result<Self, ServiceError> {
        Self::build_in(records, stream, call.ids, call.engine.spares())
    }

    fn build_in(
        records: &[SentRecord<'_>],
        stream: &Stream,
        ids: &Ids,
        spares: &Spares,
    ) -> Result<Self, ServiceError> {
        let mut slots: FxHashMap<ShardIndex, u32> = FxHashMap::default();
        let mut shards: Vec<ShardIndex> = Vec::new();
        let mut created: Vec<Timestamp> = Vec::new();
        let mut fill: Vec<(Count, usize)> = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        let mut total = 0;
        let keys = hash_keys(records, stream, ids)?;
        for (record, key) in records.iter().zip(keys) {
            record.check_weight(stream)?;
            total += record.weight();
            let shard = stream.route(key);
            let slot = *slots.entry(shard.index).or_insert_with(|| {
                shards.push(shard.index);
                created.push(shard.created);
                fill.push((Count(0), 0));
                shards.len() as u32 - 1
            });
            let (count, bytes) = &mut fill[slot as usize];
            places.push(Place { slot, nth: *count });
            count.0 += 1;
            *bytes += RECORD_HEADER_BYTES + record.weight();
        }
        if total > CALL_BYTES_MAX {
            return Err(ServiceError::invalid_argument(
                "Records size exceeds 10 MB limit",
            ));
        }
        let mut batches: Vec<ShardBatch> = shards
            .iter()
            .zip(&fill)
            .map(|(shard, (_, bytes))| ShardBatch {
                shard: stream.shard_id(*shard),
                bytes: spares.take(BATCH_HEADER_BYTES + bytes),
            })
            .collect();
        let mut builders: Vec<BatchBuilder<'_>> = batches
            .iter_mut()
            .map(|ShardBatch { shard, bytes }| {
                BatchBuilder::new(bytes, *shard, stream.map_version, ProducerMark::default())
            })
            .collect();
        for (record, place) in records.iter().zip(&places) {
            if let Some(data) = record.data {
                builders[place.slot as usize]
                    .push_with(record.key.unwrap_or_default(), data.bytes(), |out| {
                        data.decode_into(out);
                    })
                    .map_err(|full| ServiceError::internal(full.to_string()))?;
            }
        }
        builders.into_iter().for_each(BatchBuilder::finish);
        Ok(Self {
            batches,
            shards,
            created,
            places,
        })
    }

    /// The records whose shards were split or merged before they came there, in their order.
    fn refused_by_closed_shards(&self, outcomes: &[Result<Stored, AppendError>]) -> Vec<usize> {
        if !outcomes.iter().any(is_closed) {
            return Vec::new();
        }
        let places = self.places.iter().enumerate();
        let moved = places.filter(|(_, place)| is_closed(&outcomes[place.slot as usize]));
        moved.map(|(at, _)| at).collect()
    }

    /// Has the records `moved` go where `again` splits them to.
    fn go_on(&mut self, moved: &[usize], again: Self) {
        let asked = self.shards.len() as u32;
        for (at, place) in moved.iter().zip(again.places) {
            let slot = asked + place.slot;
            self.places[*at] = Place { slot, ..place };
        }
        self.shards.extend(again.shards);
        self.created.extend(again.created);
        self.batches = again.batches;
    }
}

/// What the call as a whole answers instead of a list: when nothing was stored and no quota was
/// the reason.
fn refused_whole(
    shards: &[ShardIndex],
    outcomes: &[Result<Stored, AppendError>],
    about: About<'_>,
) -> Option<ServiceError> {
    let mut first = None;
    for (shard, outcome) in shards.iter().zip(outcomes) {
        match outcome {
            Ok(_) | Err(AppendError::Throttled { .. }) => return None,
            // Its records went elsewhere.
            Err(AppendError::ShardClosed { .. }) => {}
            Err(error) => {
                first.get_or_insert((*shard, error));
            }
        }
    }
    first.map(|(shard, error)| about.append_refused(shard, error))
}

fn write_answer(
    mut out: Writer,
    stream: &Stream,
    split: &Split,
    outcomes: &[Result<Stored, AppendError>],
    about: About<'_>,
) -> Vec<u8> {
    let Split {
        shards,
        created,
        places,
        ..
    } = split;
    let is_failed = |place: &&Place| outcomes[place.slot as usize].is_err();
    let failed = places.iter().filter(is_failed).count();
    out.open_map();
    out.member("FailedRecordCount").number(failed as u64);
    out.member("Records").open_list();
    let names: Vec<String> = shards.iter().map(ToString::to_string).collect();
    for place in places {
        let index = shards[place.slot as usize];
        out.open_map();
        match &outcomes[place.slot as usize] {
            Ok(stored) => {
                let created = created[place.slot as usize];
                let offset = stored.first_offset + place.nth;
                let number = SequenceNumber::of_record(index, created, offset, stored.arrival);
                out.member("SequenceNumber")
                    .ascii(number.digits().as_bytes());
                out.member("ShardId")
                    .ascii(names[place.slot as usize].as_bytes());
            }
            Err(AppendError::Throttled { .. }) => {
                let code = ErrorKind::ProvisionedThroughputExceeded.name();
                out.member("ErrorCode").plain(code);
                out.member("ErrorMessage")
                    .text(&about.rate_exceeded_text(index));
            }
            Err(_) => {
                out.member("ErrorCode")
                    .plain(ErrorKind::InternalFailure.name());
                out.member("ErrorMessage").plain("Internal Service Failure");
            }
        }
        out.close_map();
    }
    out.close_list();
    shape::encryption_if_any(&mut out, stream);
    out.close_map();
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::super::shape::example;
    use super::*;
    use crate::encoding::Encoding;
    use crate::member::Blob;
    use crate::model::Operation;
    use crate::model::example::checked;
    use weir_protocol::batch::BatchView;
    use weir_protocol::model::{HashKey, HashKeyRange, Offset, ShardId};
    use weir_stream::{Closed, RecordDistribution, Shard};

    fn body(records: &[(&str, &str)]) -> String {
        let records: Vec<_> = records
            .iter()
            .map(|(key, data)| {
                let data = base64_simd::STANDARD.encode_to_string(data);
                serde_json::json!({"PartitionKey": key, "Data": data})
            })
            .collect();
        serde_json::json!({"StreamName": "logs", "Records": records}).to_string()
    }

    fn split(body: &str, stream: &Stream) -> Result<Split, ServiceError> {
        let build = |members: Members<'_>| {
            Split::build_in(&read(members)?, stream, &Ids::new(1), &Spares::default())
        };
        let named = body.replacen('{', "{\"StreamName\":\"logs\",", 1);
        let named = named.replace(",}", "}");
        checked(Operation::PutRecords, &named, build)
            .unwrap_or_else(|text| Err(ServiceError::new(ErrorKind::Validation, text)))
    }

    #[test]
    fn records_go_to_the_shard_of_their_key_and_are_answered_in_their_order() {
        let stream = example::stream(3);
        let keys: Vec<String> = (0..50).map(|i| format!("key-{i}")).collect();
        let records: Vec<_> = keys.iter().map(|k| (k.as_str(), k.as_str())).collect();
        let split = split(&body(&records), &stream).unwrap();
        assert_eq!(split.places.len(), 50);
        let mut seen = 0;
        for batch in &split.batches {
            let view = BatchView::decode(&batch.bytes).unwrap();
            view.check_records(1024).unwrap();
            assert_eq!(view.header.shard, batch.shard);
            let shard = stream.shard(batch.shard.index).unwrap();
            for record in view.records() {
                let key = std::str::from_utf8(record.key).unwrap();
                assert!(shard.range.contains(HashKey::of_partition_key(key)));
                assert_eq!(record.key, record.data);
                seen += 1;
            }
        }
        assert_eq!(seen, 50);
        for (key, place) in keys.iter().zip(&split.places) {
            let batch = &split.batches[place.slot as usize];
            let view = BatchView::decode(&batch.bytes).unwrap();
            let record = view.records().nth(place.nth.0 as usize).unwrap();
            assert_eq!(record.key, key.as_bytes());
        }
    }

    #[test]
    fn a_stream_that_spreads_ignores_keys_and_needs_none() {
        let mut stream = example::stream(8);
        stream.settings.distribution = RecordDistribution::Auto;
        let records = vec![
            r#"{"Data":"eA=="},{"Data":"eQ==","PartitionKey":"k","ExplicitHashKey":"0"}"#;
            250
        ];
        let body = format!(
            r#"{{"StreamName":"logs","Records":[{}]}}"#,
            records.join(",")
        );
        let value = crate::json::parse(body.as_bytes()).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        let records = read(members).unwrap();
        let split = Split::build_in(&records, &stream, &Ids::new(1), &Spares::default()).unwrap();
        assert!(
            (2..=6).contains(&split.batches.len()),
            "{}",
            split.batches.len()
        );
        let mut keyless = 0;
        for batch in &split.batches {
            let view = BatchView::decode(&batch.bytes).unwrap();
            view.check_records(1024).unwrap();
            keyless += view
                .records()
                .filter(|record| record.key.is_empty())
                .count();
        }
        assert_eq!((keyless, split.places.len()), (250, 500));
    }

    #[test]
    fn a_throttled_shard_fails_its_records_only() {
        let stream = example::stream(2);
        let keys: Vec<String> = (0..20).map(|i| format!("key-{i}")).collect();
        let records: Vec<_> = keys.iter().map(|k| (k.as_str(), "x")).collect();
        let split = split(&body(&records), &stream).unwrap();
        assert_eq!(split.shards.len(), 2);
        let outcomes = [
            Ok(Stored {
                first_offset: Offset::new(10).unwrap(),
                arrival: Timestamp::from_millis(1_763_900_005_000),
            }),
            Err(AppendError::Throttled {
                shard: split.batches[1].shard,
                what: "records",
            }),
        ];
        let about = About {
            stream: "logs",
            account: "000000000000",
        };
        assert_eq!(refused_whole(&split.shards, &outcomes, about), None);
        let out = Writer::new(Encoding::Json, 0);
        let bytes = write_answer(out, &stream, &split, &outcomes, about);
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let failed = split.places.iter().filter(|p| p.slot == 1).count();
        assert_eq!(answer["FailedRecordCount"], failed);
        for (place, record) in split
            .places
            .iter()
            .zip(answer["Records"].as_array().unwrap())
        {
            let shard = split.shards[place.slot as usize];
            if place.slot == 0 {
                assert_eq!(record["ShardId"], shard.to_string());
                let number = record["SequenceNumber"].as_str().unwrap();
                let number = SequenceNumber::parse(number).unwrap();
                assert_eq!(number.offset().unwrap().get(), 10 + u64::from(place.nth.0));
            } else {
                assert_eq!(
                    record["ErrorCode"],
                    "ProvisionedThroughputExceededException"
                );
                assert_eq!(
                    record["ErrorMessage"],
                    format!(
                        "Rate exceeded for shard {shard} in stream logs under account 000000000000."
                    )
                );
            }
        }
    }

    #[test]
    fn a_call_that_stored_nothing_fails_as_a_whole() {
        let about = About {
            stream: "logs",
            account: "000000000000",
        };
        let shards = [ShardIndex(0), ShardIndex(1)];
        let outcomes = [Err(AppendError::DiskFull), Err(AppendError::LogFailed)];
        let refusal = refused_whole(&shards, &outcomes, about).unwrap();
        assert_eq!(refusal.kind, ErrorKind::InternalFailure);
    }

    #[test]
    fn records_of_a_closed_shard_go_to_its_children_in_their_order() {
        let before = example::stream(1);
        let mut shards = before.shards.clone();
        shards[0].closed = Some(Closed {
            at: example::CREATED,
            next: Offset::ZERO,
        });
        let halves = HashKeyRange::divide(2)
            .zip(1..)
            .map(|(range, index)| Shard {
                index: ShardIndex(index),
                range,
                parent: Some(ShardIndex(0)),
                closed: None,
                ..before.shards[0].clone()
            });
        shards.extend(halves);
        let after = Stream::of_shards(before.id, before.name.clone(), shards).unwrap();
        let keys: Vec<String> = (0..40).map(|i| format!("key-{i}")).collect();
        let records: Vec<_> = keys.iter().map(|k| (k.as_str(), k.as_str())).collect();
        let body = body(&records);
        let mut rerouted = split(&body, &before).unwrap();
        let shard = before.shard_id(ShardIndex(0));
        let map_version = 2;
        let closed = Err(AppendError::ShardClosed { shard, map_version });
        let moved = rerouted.refused_by_closed_shards(std::slice::from_ref(&closed));
        assert!(moved.iter().copied().eq(0..40));
        rerouted.go_on(&moved, split(&body, &after).unwrap());
        assert_eq!(rerouted.shards.len(), 3);
        assert_eq!(rerouted.batches.len(), 2);
        for (key, place) in keys.iter().zip(&rerouted.places) {
            let batch = &rerouted.batches[place.slot as usize - 1];
            let view = BatchView::decode(&batch.bytes).unwrap();
            let record = view.records().nth(place.nth.0 as usize).unwrap();
            assert_eq!(record.key, key.as_bytes());
            let shard = after.shard(batch.shard.index).unwrap();
            assert!(shard.range.contains(HashKey::of_partition_key(key)));
        }
        let full = || Err(AppendError::DiskFull);
        let about = About {
            stream: "logs",
            account: "000000000000",
        };
        assert!(refused_whole(&rerouted.shards, &[closed, full(), full()], about).is_some());
    }

    /// What comes of two records, one to each of two shards, if appends and splits go so.
    fn after_rounds(
        append: impl Fn(usize, ShardBatch) -> Result<Stored, AppendError>,
        refusal: impl Fn(usize) -> Option<ServiceError>,
    ) -> Result<serde_json::Value, ServiceError> {
        let stream = example::stream(2);
        let border = "170141183460469231731687303715884105728";
        let record = |explicit| SentRecord {
            key: Some("k"),
            explicit: Some(explicit),
            data: Some(Blob::Raw(b"x")),
        };
        let records = [record("0"), record(border)];
        let build = |records: &[SentRecord<'_>]| {
            Split::build_in(records, &stream, &Ids::new(1), &Spares::default())
        };
        let mut split = build(&records)?;
        let round = Cell::new(0);
        let append = async |batches: Vec<ShardBatch>| {
            round.set(round.get() + 1);
            let batches = batches.into_iter();
            batches.map(|batch| append(round.get(), batch)).collect()
        };
        let appending = append_all(&mut split, &records, append, |moved| {
            refusal(round.get()).map_or_else(|| build(moved), Err)
        });
        let outcomes = appending.now_or_never().unwrap()?;
        let about = About {
            stream: "logs",
            account: "000000000000",
        };
        let out = Writer::new(Encoding::Json, 0);
        let bytes = write_answer(out, &stream, &split, &outcomes, about);
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    fn closed(shard: ShardId) -> Result<Stored, AppendError> {
        let map_version = 2;
        Err(AppendError::ShardClosed { shard, map_version })
    }

    #[test]
    fn shards_that_close_for_ever_fail_their_records() {
        let answer = after_rounds(|_, batch| closed(batch.shard), |_| None).unwrap();
        assert_eq!(answer["FailedRecordCount"], 2);
        assert_eq!(answer["Records"][1]["ErrorCode"], "InternalFailure");
    }

    #[test]
    fn what_is_stored_is_told_though_the_rest_has_nowhere_to_go() {
        let gone = |_| Some(ServiceError::internal("gone"));
        let first_only = |_, batch: ShardBatch| match batch.shard.index {
            ShardIndex(0) => Ok(Stored {
                first_offset: Offset::ZERO,
                arrival: Timestamp::from_millis(1_763_900_005_000),
            }),
            _ => closed(batch.shard),
        };
        let answer = after_rounds(first_only, gone).unwrap();
        assert_eq!(answer["FailedRecordCount"], 1);
        assert!(answer["Records"][0]["SequenceNumber"].is_string());
        assert_eq!(answer["Records"][1]["ErrorCode"], "InternalFailure");
        // With nothing stored the call is refused.
        let refused = after_rounds(|_, batch| closed(batch.shard), gone).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InternalFailure);
    }

    #[test]
    fn limits_are_told_by_record() {
        let stream = example::stream(1);
        let refusal = |body: &str| split(body, &stream).err().unwrap();
        let none = refusal("{}").text.unwrap();
        assert!(none.contains("Value null at 'records'"), "{none}");
        let empty = refusal(r#"{"Records":[]}"#).text.unwrap();
        assert!(empty.contains("Value '[]' at 'records' failed"), "{empty}");
        let many: Vec<_> = (0..501).map(|_| ("k", "")).collect();
        let many = refusal(&body(&many)).text.unwrap();
        assert!(many.ends_with("Member must have length less than or equal to 500"));
        let bare = refusal(r#"{"Records":[{}]}"#).text.unwrap();
        assert!(
            bare.starts_with(
                "2 validation errors detected: Value null at 'records.1.member.partitionKey'"
            ),
            "{bare}"
        );
        let long = "x".repeat(1_048_577);
        let long = refusal(&body(&[("k", &long)])).text.unwrap();
        assert_eq!(
            long,
            "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 \
             cap=1048577]' at 'records.1.member.data' failed to satisfy constraint: Member must \
             have length less than or equal to 1048576"
        );
        let much = "x".repeat(1_000_000);
        let much: Vec<_> = (0..11).map(|_| ("k", much.as_str())).collect();
        let much = refusal(&body(&much));
        assert_eq!(much.kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn an_explicit_hash_key_decides() {
        let stream = example::stream(2);
        let border = "170141183460469231731687303715884105728";
        let record = |explicit: &str| {
            format!(
                r#"{{"Records":[{{"PartitionKey":"a","ExplicitHashKey":"{explicit}","Data":""}}]}}"#
            )
        };
        let shard_of = |explicit: &str| split(&record(explicit), &stream).unwrap().shards[0];
        assert_eq!(shard_of("0"), ShardIndex(0));
        assert_eq!(shard_of(border), ShardIndex(1));
        let over = "340282366920938463463374607431768211456";
        let error = split(&record(over), &stream).err().unwrap();
        assert_eq!(
            error.text.unwrap(),
            format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                 Specified value was {over}"
            )
        );
    }
}
