//! What becomes of the records of one call.

use std::cell::Cell;

use futures_util::FutureExt;

use super::*;
use crate::action::shape::example;
use crate::call::Ids;
use crate::encoding::Encoding;
use crate::member::Blob;
use crate::model::Operation;
use crate::model::example::checked;
use weir_protocol::batch::BatchView;
use weir_protocol::model::{HashKey, HashKeyRange, Offset, ShardId, Timestamp};
use weir_reactor::Spares;
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
    let records =
        vec![r#"{"Data":"eA=="},{"Data":"eQ==","PartitionKey":"k","ExplicitHashKey":"0"}"#; 250];
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
