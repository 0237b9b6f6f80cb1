//! What a program with the AWS SDK for Rust does; each check is one thing AWS promises.
//!
//! Usage: `weir-rust-sdk ENDPOINT [streams] [fanout]`, both if none is named. Prints a line for each check, and ends with a panic that says
//! what was expected and found at the first that fails.
#![allow(
    clippy::disallowed_methods,
    reason = "a client of the server has a clock of its own"
)]

mod fanout;
mod streams;

use std::time::{Duration, Instant};

use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::types::{StreamMode, StreamModeDetails, StreamStatus};
use aws_sdk_kinesis::{Client, Config};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub(crate) const ACCOUNT: &str = "000000000000";
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that tries `attempts` times.
pub(crate) fn connect(endpoint: &str, attempts: u32) -> Client {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(Builder::new().tls_provider(tls).build_https())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .credentials_provider(Credentials::new("weir", "weir", None, None, "tests"))
        .build();
    Client::from_conf(config)
}

pub(crate) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

pub(crate) fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{stream}")
}

/// A new stream that is ACTIVE; on demand unless it shall be metered.
pub(crate) async fn create(client: &Client, name: &str, shards: i32, metered: bool) {
    let mut call = client.create_stream().stream_name(name).shard_count(shards);
    if !metered {
        let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand);
        call = call.stream_mode_details(mode.build().expect("a mode is all it needs"));
    }
    call.send().await.expect("the stream is made");
    active(client, name).await;
}

pub(crate) async fn active(client: &Client, name: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let call = client.describe_stream_summary().stream_name(name);
        let answer = call.send().await.expect("the stream is there");
        let summary = answer.stream_description_summary.expect("a summary");
        if summary.stream_status == StreamStatus::Active {
            return;
        }
        assert!(
            Instant::now() < until,
            "{name} is {:?}",
            summary.stream_status
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments
        .next()
        .expect("usage: weir-rust-sdk ENDPOINT [streams] [fanout]");
    let named: Vec<_> = arguments.collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if wanted("streams") {
        streams::check(&endpoint).await;
    }
    if wanted("fanout") {
        fanout::check(&endpoint).await;
    }
}
