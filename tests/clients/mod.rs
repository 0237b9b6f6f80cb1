//! Suites with clients of others: each is a program in the client's language, started here.
//!
//! A program runs its checks in order, prints one line for each, and ends with 1 at the first that
//! fails, after saying what was expected and found. With `WEIR_TEST_ALL=1` (`./scripts/test --all`)
//! rounds are many and waits are long.

mod javascript;
mod python;
mod rust_sdk;

use std::process::Command;
use std::time::Duration;

use crate::harness::{Victim, run};

const REGION: &str = "us-east-1";

/// Runs a suite against `victim` to its end, which must be a good one, and prints its checks.
#[track_caller]
fn succeeds(mut suite: Command, victim: &Victim, patience: Duration) {
    suite.env("WEIR_TEST_HTTP", format!("http://{}", victim.http));
    let ran = run(&mut suite, [], patience).succeeded();
    print!("{}", ran.text());
}
