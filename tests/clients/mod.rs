//! Suites with clients of others: each is a program in the client's language, started here.
//!
//! A program runs its checks in order, prints one line for each, and ends with 1 at the first that
//! fails, after saying what was expected and found. With `WEIR_TEST_ALL=1` (`./scripts/test --all`)
//! rounds are many and waits are long.

mod javascript;
mod python;
mod rust_sdk;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Setup, Victim, run};

const REGION: &str = "us-east-1";

/// A server for a suite, on two cores. A call of 10 MiB into one shard wants more than the smallest
/// segments.
fn setup(folder: &Path) -> Setup {
    Setup::new(folder).with("--segment-bytes", "32MiB")
}

/// A server that speaks TLS too, with a certificate of its own making.
fn setup_with_tls(folder: &Path) -> Setup {
    let setup = setup(folder).with("--https", "127.0.0.1:0");
    setup.switch("--tls-self-signed")
}

/// Whether this is `./scripts/test --all`.
fn all() -> bool {
    std::env::var_os("WEIR_TEST_ALL").is_some_and(|value| value == "1")
}

/// Runs a suite against `victim` to its end, which must be a good one, and prints its checks.
#[track_caller]
fn succeeds(mut suite: Command, victim: &Victim) {
    suite.env("WEIR_TEST_HTTP", format!("http://{}", victim.http));
    if let Some(address) = victim.https {
        let certificate = victim.data().join("tls-self-signed.pem");
        suite
            .env("WEIR_TEST_HTTPS", format!("https://{address}"))
            .env("AWS_CA_BUNDLE", &certificate)
            .env("NODE_EXTRA_CA_CERTS", &certificate);
    }
    let patience = Duration::from_mins(if all() { 15 } else { 5 });
    let ran = run(&mut suite, [], patience).succeeded();
    print!("{}", ran.text());
}
