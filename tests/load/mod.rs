//! `weir-load` against the server: what it proves, and how it fails.

mod reshard;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::{ListRequest, Request};
use weir_protocol::wire::response::Response;

use crate::harness::{Setup, Wire, alone, run, temporary, wait_for};

const PATIENCE: Duration = Duration::from_mins(1);

/// The generator is another package's program: cargo puts it next to ours.
fn generator() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_victim")).with_file_name("weir-load");
    assert!(
        path.exists(),
        "this test needs weir-load: run ./scripts/test, or cargo build -p weir-loadgen"
    );
    path
}

#[test]
fn a_short_run_holds_and_verifies_every_record() {
    let _machine = alone();
    let folder = temporary("load");
    let victim = Setup::new(folder.path())
        .with("--segment-bytes", "32MiB")
        .start();
    let mut command = Command::new(generator());
    command.args([
        "run",
        "--shards",
        "4",
        "--duration",
        "2s",
        "--warmup",
        "500ms",
    ]);
    command.args(["--output", "json", "--server", &victim.wire.to_string()]);
    let ran = run(&mut command, [], PATIENCE).succeeded();
    let report: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!(report["exit_code"], 0, "{report}");
    let acknowledged = report["records_acknowledged"].as_u64().expect("a count");
    let verified = &report["verification"];
    assert!(acknowledged > 1_000, "{report}");
    assert_eq!(
        verified["records_found"].as_u64(),
        Some(acknowledged),
        "{verified}"
    );
    assert_eq!(verified["records_trimmed"], 0, "{verified}");
    assert_eq!(verified["first_wrong"], Value::Null, "{verified}");
    println!(
        "{acknowledged} records in 2.5 s, all verified: {}",
        report["rate"]
    );
    victim.stop();
}

#[test]
fn a_server_that_dies_in_the_middle_gives_exit_code_1() {
    let _machine = alone();
    let folder = temporary("load-killed");
    let victim = Setup::new(folder.path()).start();
    let mut command = Command::new(generator());
    command.args([
        "run",
        "--shards",
        "2",
        "--duration",
        "20s",
        "--warmup",
        "0s",
    ]);
    command.args(["--stream", "killed", "--server", &victim.wire.to_string()]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("it is there");
    let mut wire: Wire = Wire::connect(victim.wire, CORE_ANY).unwrap();
    wait_for("the load's stream", PATIENCE, || {
        let list = Request::List(ListRequest {
            after: None,
            limit: 10,
        });
        let listed = wire.call(&list, |response| match response {
            Response::Streams { streams, .. } => streams.len(),
            other => panic!("not a list: {other:?}"),
        });
        (listed.unwrap() > 0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    victim.kill();
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("weir-load: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn nobody_there_and_bad_usage_have_their_codes() {
    let generator = generator();
    let run_with = |arguments: &[&str]| {
        let mut command = Command::new(&generator);
        command.arg("run").args(arguments);
        run(&mut command, [], PATIENCE)
    };
    run_with(&["--server", "127.0.0.1:1"]).refused(1, "127.0.0.1:1");
    run_with(&["--duration", "10"]).refused(2, "no unit");
}
