//! Python: boto3, the AWS CLI, what others have built on botocore, and requests without any SDK.

use std::time::Duration;

use super::{REGION, succeeds};
use crate::harness::{Setup, python_with_asyncio_clients, python_with_boto, temporary};

/// Runs a suite of boto3's Python against a server of its own.
#[track_caller]
fn suite(name: &str, change: impl FnOnce(Setup) -> Setup) {
    let folder = temporary(name);
    // A call of 10 MiB into one shard wants more than the smallest segments.
    let setup = Setup::new(folder.path()).with("--segment-bytes", "32MiB");
    let victim = change(setup).start_on(2);
    let command = python_with_boto(&format!("clients/python/{name}.py"), REGION);
    succeeds(command, &victim, Duration::from_mins(5));
    victim.stop();
}

#[test]
fn boto3_and_streams() {
    suite("boto3_streams", |setup| setup);
}

#[test]
fn aggregated_records_go_through_unchanged() {
    suite("aggregated", |setup| setup);
}

#[test]
fn every_odd_request_is_answered_as_aws_answers_it() {
    suite("raw", |setup| setup);
}

#[test]
fn cbor_is_spoken_as_java_speaks_it() {
    suite("raw_cbor", |setup| setup);
}

#[test]
fn aiokpl_and_async_kinesis_produce_and_consume() {
    let folder = temporary("producers");
    let victim = Setup::new(folder.path()).start_on(2);
    let command = python_with_asyncio_clients("clients/python/producers.py", REGION);
    succeeds(command, &victim, Duration::from_mins(2));
    victim.stop();
}
