//! The SDK's two clients through everything a program does with streams.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::program::java;
use crate::harness::{Setup, Victim, run, temporary};

const PATIENCE: Duration = Duration::from_mins(3);

/// Calls of 10 MiB into one shard want more than the smallest segments.
fn setup(folder: &Path) -> Setup {
    Setup::new(folder).with("--segment-bytes", "32MiB")
}

/// Runs a program of ours against `victim`, and prints what it says.
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

/// Runs a session on a server of its own, plain HTTP, two cores.
#[track_caller]
fn over_http(name: &str, arguments: &[&str]) {
    let folder = temporary(name);
    let victim = setup(folder.path()).start_on(2);
    let endpoint = format!("http://{}", victim.http);
    succeeds(&victim, &[arguments, &[&endpoint]].concat());
    victim.stop();
}

#[test]
fn the_synchronous_client() {
    over_http("java-sync", &["SdkSession", "sync"]);
}

#[test]
fn the_asynchronous_client() {
    over_http("java-async", &["SdkSession", "async"]);
}

#[test]
fn fan_out() {
    over_http("java-fan-out", &["FanOutSession"]);
}

#[test]
fn both_speak_tls() {
    let folder = temporary("java-tls");
    let setup = setup(folder.path()).switch("--tls-self-signed");
    let victim = setup.with("--https", "127.0.0.1:0").start_on(2);
    let address = victim.https.expect("there is a certificate");
    let endpoint = format!("https://{address}");
    for kind in ["sync", "async"] {
        let parts = ["records", "places", "largest", "refusals"];
        succeeds(
            &victim,
            &[&["SdkSession", kind, &endpoint], &parts[..]].concat(),
        );
    }
    succeeds(&victim, &["FanOutSession", &endpoint]);
    victim.stop();
}

#[test]
fn signatures_are_verified() {
    let folder = temporary("java-signed");
    let keys = folder.path().join("keys");
    let text = "[java]\naws_access_key_id = JAVAKEY\naws_secret_access_key = s+e/c=ret\n";
    fs::write(&keys, text).expect("the test's folder can be written");
    let setup = setup(folder.path()).with("--auth", "verify");
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
