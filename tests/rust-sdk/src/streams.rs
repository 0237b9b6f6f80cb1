//! Records in and out, places, throttling, errors.

use std::collections::HashMap;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::describe_stream::DescribeStreamError;
use aws_sdk_kinesis::operation::put_record::PutRecordError;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, ShardIteratorType};

use crate::{ACCOUNT, arn, connect, create, shard_id};

pub(crate) async fn check(endpoint: &str) {
    let client = connect(endpoint, 1);
    records_come_back(&client).await;
    println!("ok records come back");
    parallel_puts(&client).await;
    println!("ok parallel puts");
    errors_are_typed(&client).await;
    println!("ok errors are typed");
    throttling_is_retried(endpoint, &client).await;
    println!("ok throttling is retried");
}

/// All records from a place to the tip.
async fn read(client: &Client, name: &str, shard: u32, kind: ShardIteratorType) -> Vec<Record> {
    let call = client
        .get_shard_iterator()
        .stream_name(name)
        .shard_id(shard_id(shard));
    let answer = call
        .shard_iterator_type(kind)
        .send()
        .await
        .expect("an iterator");
    let mut at = answer.shard_iterator;
    let mut records = Vec::new();
    while let Some(iterator) = at {
        let answer = client.get_records().shard_iterator(iterator).send().await;
        let answer = answer.expect("records");
        if answer.records.is_empty() && answer.millis_behind_latest == Some(0) {
            break;
        }
        records.extend(answer.records);
        at = answer.next_shard_iterator;
    }
    records
}

async fn records_come_back(client: &Client) {
    create(client, "rust", 2, false).await;
    let data = [Vec::new(), (0..=255).collect(), vec![7; (1 << 20) - 8]];
    let entries = data.iter().enumerate().map(|(i, data)| {
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(data.clone()));
        let entry = entry.partition_key(format!("kä{i}")).explicit_hash_key("0");
        entry.build().expect("data is all it needs")
    });
    let call = client.put_records().stream_arn(arn("rust"));
    let put = call
        .set_records(Some(entries.collect()))
        .send()
        .await
        .expect("a batch");
    assert_eq!(put.failed_record_count, Some(0));
    let found = read(client, "rust", 0, ShardIteratorType::TrimHorizon).await;
    assert_eq!(found.len(), data.len());
    for (i, record) in found.iter().enumerate() {
        assert_eq!(record.partition_key, Some(format!("kä{i}")));
        assert!(record.data.as_ref() == data[i], "data of record {i}");
        assert_eq!(
            Some(&record.sequence_number),
            put.records[i].sequence_number.as_ref()
        );
        assert_eq!(record.encryption_type, None);
    }
    // At the time of the last record, to the millisecond, and one later.
    let arrival = found[2].approximate_arrival_timestamp.expect("a time");
    // The SDK reads times as floats and cuts them to nanoseconds, a little below the millisecond.
    let arrival = (arrival.as_secs_f64() * 1000.0).round() as i64;
    for (time, expected) in [(arrival, true), (arrival + 1, false)] {
        let call = client
            .get_shard_iterator()
            .stream_name("rust")
            .shard_id(shard_id(0));
        let call = call.shard_iterator_type(ShardIteratorType::AtTimestamp);
        let call = call.timestamp(DateTime::from_millis(time));
        let at = call.send().await.expect("an iterator").shard_iterator;
        let answer = client
            .get_records()
            .set_shard_iterator(at)
            .send()
            .await
            .expect("records");
        let last = answer
            .records
            .last()
            .and_then(|record| record.partition_key.as_deref());
        assert_eq!(last == Some("kä2"), expected, "at {time}");
    }
    let pages = client.list_streams().limit(1).into_paginator().send();
    let mut pages = pages;
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        names.extend(page.expect("a page").stream_names);
    }
    assert!(names.contains(&"rust".to_owned()), "{names:?}");
}

async fn parallel_puts(client: &Client) {
    create(client, "parallel", 4, false).await;
    let puts = (0..200).map(|i| {
        let call = client
            .put_record()
            .stream_name("parallel")
            .partition_key(format!("{i}"));
        tokio::spawn(call.data(Blob::new(format!("{i}").into_bytes())).send())
    });
    let mut placed = HashMap::new();
    for (i, put) in puts.collect::<Vec<_>>().into_iter().enumerate() {
        let put = put.await.expect("a put does not panic").expect("a put");
        placed.insert((put.shard_id, put.sequence_number), i);
    }
    assert_eq!(placed.len(), 200, "each at its own place");
    for shard in 0..4 {
        for record in read(client, "parallel", shard, ShardIteratorType::TrimHorizon).await {
            let i = placed.remove(&(shard_id(shard), record.sequence_number));
            let text = i.map(|i| i.to_string());
            assert_eq!(record.partition_key, text);
        }
    }
    assert!(placed.is_empty(), "not found: {placed:?}");
}

async fn errors_are_typed(client: &Client) {
    let asked = client.describe_stream().stream_name("nowhere").send().await;
    let Err(SdkError::ServiceError(refused)) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(refused.raw().status().as_u16(), 400);
    let error = refused.into_err();
    let DescribeStreamError::ResourceNotFoundException(_) = &error else {
        panic!("{error:?}");
    };
    let text = format!("Stream nowhere under account {ACCOUNT} not found.");
    assert_eq!(error.message(), Some(text.as_str()));

    let asked = client.put_record().stream_name("rust").partition_key("k");
    let asked = asked.data(Blob::new(vec![0; (1 << 20) + 1])).send().await;
    let error = asked
        .expect_err("a record is at most 1 MiB")
        .into_service_error();
    assert_eq!(error.code(), Some("ValidationException"), "{error:?}");

    let asked = client.get_records().shard_iterator("nonsense").send().await;
    let error = asked.expect_err("it is no iterator").into_service_error();
    assert!(error.is_invalid_argument_exception(), "{error:?}");
    assert_eq!(error.message(), Some("Invalid ShardIterator."));

    let asked = client
        .create_stream()
        .stream_name("rust")
        .shard_count(1)
        .send()
        .await;
    let error = asked.expect_err("it is there").into_service_error();
    assert!(error.is_resource_in_use_exception(), "{error:?}");
}

async fn throttling_is_retried(endpoint: &str, client: &Client) {
    create(client, "metered", 1, true).await;
    let put = |client: &Client| {
        let call = client
            .put_record()
            .stream_name("metered")
            .partition_key("k");
        call.data(Blob::new(vec![1; 200_000])).send()
    };
    let mut throttled = None;
    for _ in 0..100 {
        if let Err(error) = put(client).await {
            throttled = Some(error.into_service_error());
            break;
        }
    }
    let error = throttled.expect("a shard takes 1 MB a second");
    let PutRecordError::ProvisionedThroughputExceededException(_) = &error else {
        panic!("{error:?}");
    };
    let text = format!(
        "Rate exceeded for shard {} in stream metered under account {ACCOUNT}.",
        shard_id(0)
    );
    assert_eq!(error.message(), Some(text.as_str()));
    let patient = connect(endpoint, 10);
    for _ in 0..8 {
        put(&patient)
            .await
            .expect("the SDK tries again until it is taken");
    }
}
