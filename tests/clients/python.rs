//! Python: boto3, the AWS CLI, what others have built on botocore, and requests without any SDK.

use super::{REGION, setup, setup_with_tls, succeeds};
use crate::harness::{Setup, python_with_asyncio_clients, python_with_boto, temporary};

/// Runs a suite of boto3's Python against a server of its own.
#[track_caller]
fn suite(name: &str, change: impl FnOnce(Setup) -> Setup) {
    let folder = temporary(name);
    let victim = change(setup(folder.path())).start_on(2);
    let command = python_with_boto(&format!("clients/python/{name}.py"), REGION);
    succeeds(command, &victim);
    victim.stop();
}

#[test]
fn the_aws_cli_uses_each_command_it_has() {
    suite("cli", |setup| setup);
}

#[test]
fn boto3_and_streams() {
    suite("boto3_streams", |setup| setup);
}

#[test]
fn boto3_and_resharding() {
    suite("boto3_reshard", |setup| setup);
}

#[test]
fn boto3_and_subscriptions() {
    suite("boto3_fanout", |setup| setup);
}

#[test]
fn boto3_and_settings() {
    suite("boto3_settings", |setup| {
        setup.with("--state-delay", "1500ms")
    });
}

#[test]
fn boto3_and_tls() {
    let folder = temporary("boto3_tls");
    let victim = setup_with_tls(folder.path()).start_on(2);
    let command = python_with_boto("clients/python/boto3_tls.py", REGION);
    succeeds(command, &victim);
    victim.stop();
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
    let victim = setup(folder.path()).start_on(2);
    let command = python_with_asyncio_clients("clients/python/producers.py", REGION);
    succeeds(command, &victim);
    victim.stop();
}
