//! JavaScript: the AWS SDK v3 in Node with its default handler, and Node's own HTTP/2 client.

use super::{REGION, setup, setup_with_tls, succeeds};
use crate::harness::{Setup, node, temporary};

#[track_caller]
fn suite(name: &str, setup: fn(&std::path::Path) -> Setup) {
    let folder = temporary(name);
    let victim = setup(folder.path()).start_on(2);
    succeeds(node(&format!("clients/node/{name}.js"), REGION), &victim);
    victim.stop();
}

#[test]
fn the_javascript_sdk_speaks_http2_to_the_plain_port() {
    suite("kinesis", setup);
}

#[test]
fn a_hundred_subscriptions_of_the_javascript_sdk() {
    suite("subscribe", setup);
}

#[test]
fn the_javascript_sdk_speaks_tls() {
    suite("tls", setup_with_tls);
}

#[test]
fn odd_http2_streams_leave_the_session_whole() {
    suite("raw_http2", setup);
}
