//! The SDK's two clients through everything a program does with streams.

use std::fs;
use std::time::Duration;

use super::program::java;
use crate::harness::{Setup, Victim, run, temporary};

const PATIENCE: Duration = Duration::from_mins(3);

/// Runs a session on a server of its own, plain HTTP, two cores; of its parts those named, or all.
fn over_http(name: &str, arguments: &[&str], parts: &[&str]) {
    let folder = temporary(name);
    // Calls of 10 MiB into one shard want more than the smallest segments.
    let setup = Setup::new(folder.path()).with("--segment-bytes", "32MiB");
    let victim = setup.start_on(2);
    let endpoint = format!("http://{}", victim.http);
    succeeds(&victim, &[arguments, &[&endpoint], parts].concat());
    victim.stop();
}

#[track_caller]
fn succeeds(victim: &Victim, arguments: &[&str]) {
    let (name, arguments) = arguments.split_first().expect("a program's name");
    let mut command = java(name);
    command.args(arguments);
    let ran = run(&mut command, [], PATIENCE);
    if ran.code != Some(0) {
        eprintln!("the server said: {}", victim.said());
    }
    print!("{}", ran.succeeded().text());
}

/// What both clients can do by now.
const PARTS: [&str; 4] = ["records", "places", "largest", "throttled"];

#[test]
fn the_synchronous_client() {
    over_http("java-sync", &["SdkSession", "sync"], &PARTS);
}

#[test]
fn the_asynchronous_client() {
    over_http("java-async", &["SdkSession", "async"], &PARTS);
}

#[test]
fn signatures_are_verified() {
    let folder = temporary("java-signed");
    let keys = folder.path().join("keys");
    let text = "[java]\naws_access_key_id = JAVAKEY\naws_secret_access_key = s+e/c=ret\n";
    fs::write(&keys, text).expect("the test's folder can be written");
    let setup = Setup::new(folder.path()).with("--auth", "verify");
    let victim = setup
        .with("--keys", keys.to_str().expect("a path of ours"))
        .start();
    let endpoint = format!("http://{}", victim.http);
    for kind in ["sync", "async"] {
        let arguments = ["SignedSession", kind, &endpoint, "JAVAKEY", "s+e/c=ret"];
        succeeds(&victim, &arguments);
    }
    victim.stop();
}
