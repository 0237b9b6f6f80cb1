//! JavaScript: the AWS SDK v3 in Node with its default handler, and Node's own HTTP/2 client.

use std::time::Duration;

use super::{REGION, succeeds};
use crate::harness::{Setup, node, temporary};

#[test]
fn the_javascript_sdk_speaks_http2_to_the_plain_port() {
    let folder = temporary("javascript");
    let setup = Setup::new(folder.path()).with("--segment-bytes", "32MiB");
    let victim = setup.start_on(2);
    let suite = node("clients/node/kinesis.js", REGION);
    succeeds(suite, &victim, Duration::from_mins(2));
    victim.stop();
}

#[test]
fn odd_http2_streams_leave_the_session_whole() {
    let folder = temporary("http2");
    let setup = Setup::new(folder.path()).with("--segment-bytes", "32MiB");
    let victim = setup.start_on(2);
    let suite = node("clients/node/raw_http2.js", REGION);
    succeeds(suite, &victim, Duration::from_mins(1));
    victim.stop();
}
