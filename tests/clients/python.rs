//! Python: boto3, and what others have built on botocore.

use std::time::Duration;

use super::{REGION, succeeds};
use crate::harness::{Setup, python_with_asyncio_clients, python_with_boto, temporary};

#[test]
fn aggregated_records_go_through_unchanged() {
    let folder = temporary("aggregated");
    let victim = Setup::new(folder.path()).start_on(2);
    let suite = python_with_boto("clients/python/aggregated.py", REGION);
    succeeds(suite, &victim, Duration::from_mins(1));
    victim.stop();
}

#[test]
fn aiokpl_and_async_kinesis_produce_and_consume() {
    let folder = temporary("producers");
    let victim = Setup::new(folder.path()).start_on(2);
    let suite = python_with_asyncio_clients("clients/python/producers.py", REGION);
    succeeds(suite, &victim, Duration::from_mins(2));
    victim.stop();
}

#[test]
fn every_odd_request_is_answered_as_aws_answers_it() {
    let folder = temporary("raw");
    let victim = Setup::new(folder.path()).start_on(2);
    let suite = python_with_boto("clients/python/raw.py", REGION);
    succeeds(suite, &victim, Duration::from_mins(1));
    victim.stop();
}

#[test]
fn boto3_and_streams() {
    let folder = temporary("boto3-streams");
    // A call of 10 MiB into one shard wants more than the smallest segments.
    let setup = Setup::new(folder.path()).with("--segment-bytes", "32MiB");
    let victim = setup.start_on(2);
    let suite = python_with_boto("clients/python/boto3_streams.py", REGION);
    succeeds(suite, &victim, Duration::from_mins(3));
    victim.stop();
}
